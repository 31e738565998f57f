/* SPDX-License-Identifier: MIT */
/* Limits by format. */
#include "cavage/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const enum conf_id keys[LIMIT_COUNT] = {
    [LIMIT_PIXELS_IN] = CONF_LIMITS_PIXELS_IN,
    [LIMIT_FRAMES_IN] = CONF_LIMITS_FRAMES_IN,
    [LIMIT_TOTAL_PIXELS_IN] = CONF_LIMITS_TOTAL_PIXELS_IN,
    [LIMIT_PIXELS_OUT] = CONF_LIMITS_PIXELS_OUT,
    [LIMIT_BYTES_OUT] = CONF_LIMITS_BYTES_OUT,
    [LIMIT_AUTO_PIXELS_OUT] = CONF_LIMITS_AUTO_PIXELS_OUT,
};

/* Around the two numbers: what there is, and what may be. */
static const struct {
    const char *before, *between, *after;
} words[LIMIT_COUNT] = {
    [LIMIT_PIXELS_IN] = {"The image has ", " pixels; at most ", " are taken in its format."},
    [LIMIT_FRAMES_IN] = {"The image has ", " frames or pages; at most ", " are taken in its format."},
    [LIMIT_TOTAL_PIXELS_IN] = {"The image has ", " pixels, all its pages together; at most ",
                               " are taken in its format."},
    [LIMIT_PIXELS_OUT] = {"The result would have ", " pixels; at most ", " are made in its format."},
    [LIMIT_BYTES_OUT] = {"The result has ", " bytes; at most ", " are made in its format."},
    [LIMIT_AUTO_PIXELS_OUT] = {"The result would have ", " pixels; its format is chosen for at most ", "."},
};

void limits_read(const struct conf *conf, struct limits *out)
{
    for (size_t limit = 0; limit < LIMIT_COUNT; limit++)
        for (size_t format = 0; format < IMAGE_FORMAT_COUNT; format++)
            out->of[limit][format] = (uint64_t)conf_format(conf, keys[limit], (enum image_format)format);
    out->svg = conf_int(conf, CONF_LIMITS_SVG) != 0;
}

uint64_t limits_most(const struct limits *limits, enum limit limit)
{
    uint64_t most = 0;
    for (size_t format = 0; format < IMAGE_FORMAT_COUNT; format++)
        most = limits->of[limit][format] > most ? limits->of[limit][format] : most;
    return most;
}

bool limits_know(const struct limits *limits, enum image_format format)
{
    return format != IMAGE_UNKNOWN && (format != IMAGE_SVG || limits->svg);
}

static bool within(uint64_t allowed, enum limit limit, uint64_t actual, struct limits_breach *why)
{
    if (actual <= allowed)
        return true;
    *why = (struct limits_breach){limit, allowed, actual};
    return false;
}

bool limits_take(const struct limits *limits, const struct image_header *in, struct limits_breach *why)
{
    const uint64_t actual[] = {
        [LIMIT_PIXELS_IN] = (uint64_t)in->width * in->height,
        [LIMIT_FRAMES_IN] = in->pages,
        [LIMIT_TOTAL_PIXELS_IN] = image_header_pixels(in),
    };
    for (size_t i = 0; i < sizeof(actual) / sizeof(actual[0]); i++)
        if (!within(limits->of[i][in->format], (enum limit)i, actual[i], why))
            return false;
    return true;
}

bool limits_give(const struct limits *limits, const struct image_header *result, uint64_t bytes,
                 struct limits_breach *why)
{
    return within(limits->of[LIMIT_PIXELS_OUT][result->format], LIMIT_PIXELS_OUT, image_header_pixels(result), why) &&
           within(limits->of[LIMIT_BYTES_OUT][result->format], LIMIT_BYTES_OUT, bytes, why);
}

/* Pixels that a result has at least, whatever the image: those of the box, when all of it is filled. */
static uint64_t least_pixels(const struct params *p)
{
    uint32_t width, height;
    params_box(p, &width, &height);
    bool filled = p->fit == FIT_CONTAIN || (p->enlarge && p->fit != FIT_INSIDE);
    return filled ? (uint64_t)width * height : 0;
}

bool limits_admit(const struct limits *limits, const struct params *params, struct limits_breach *why)
{
    uint64_t most = params->format != IMAGE_UNKNOWN ? limits->of[LIMIT_PIXELS_OUT][params->format]
                                                    : limits_most(limits, LIMIT_PIXELS_OUT);
    return within(most, LIMIT_PIXELS_OUT, least_pixels(params), why);
}

const char *limits_tell(const struct limits_breach *why, char out[LIMITS_TEXT_SIZE])
{
    snprintf(out, LIMITS_TEXT_SIZE, "%s%" PRIu64 "%s%" PRIu64 "%s", words[why->limit].before, why->actual,
             words[why->limit].between, why->allowed, words[why->limit].after);
    return out;
}
