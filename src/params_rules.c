/* SPDX-License-Identifier: MIT */
/* The rules that join several options. */
#include "params_parts.h"

#include <stdio.h>
#include <string.h>

/* What can be said of a format's encoding. */
static const struct encoding {
    bool lossless, progressive, chroma;
    bool has_effort;
    uint32_t effort_min, effort_max;
} encodings[IMAGE_FORMAT_COUNT] = {
    [IMAGE_JPEG] = {.progressive = true, .chroma = true},
    [IMAGE_PNG] = {.progressive = true, .has_effort = true, .effort_max = 9},
    [IMAGE_WEBP] = {.lossless = true, .has_effort = true, .effort_max = 6},
    [IMAGE_AVIF] = {.lossless = true, .chroma = true, .has_effort = true, .effort_max = 9},
    [IMAGE_GIF] = {.has_effort = true, .effort_min = 1, .effort_max = 10},
};

/* Whether an option was given, by its canonical name. */
static bool given(const bool *seen, const char *name)
{
    size_t i = params_option_find(name);
    return i < params_option_count && seen[i];
}

static int check_size(const struct params *p, const bool *seen, struct params_problem *problem)
{
    static const char *const need_size[] = {"fit", "enlarge", "dpr", "kernel"};
    uint32_t width, height;
    char message[64];
    bool sized = p->width > 0 || p->height > 0;
    for (size_t i = 0; i < sizeof(need_size) / sizeof(need_size[0]); i++) {
        /* Saying the default is no harm. */
        bool usual = strcmp(need_size[i], "fit") == 0 && p->fit == FIT_INSIDE;
        if (sized || usual || !given(seen, need_size[i]))
            continue;
        snprintf(message, sizeof(message), "%s needs width or height", need_size[i]);
        return params_refuse(problem, need_size[i], message);
    }
    params_box(p, &width, &height);
    if (width > PARAMS_DIMENSION_MAX || height > PARAMS_DIMENSION_MAX)
        return params_refuse(problem, "dpr", "dpr times width or height must be 1 to 16383");
    return 0;
}

static int check_position(const struct params *p, const bool *seen, struct params_problem *problem)
{
    if (!given(seen, "position"))
        return 0;
    if ((p->fit != FIT_COVER && p->fit != FIT_CONTAIN) || p->width == 0 || p->height == 0)
        return params_refuse(problem, "position", "position needs width and height, and fit=cover or fit=contain");
    if (p->fit == FIT_CONTAIN && p->position >= POSITION_ENTROPY)
        return params_refuse(problem, "position",
                             "position with fit=contain must be centre, north, northeast, east, southeast, south, "
                             "southwest, west or northwest");
    return 0;
}

static int check_encoding(const struct params *p, const bool *seen, struct params_problem *problem)
{
    const struct encoding *e = &encodings[p->format];
    char message[64];
    if (p->lossless && !e->lossless)
        return params_refuse(problem, "lossless", "lossless needs format=webp or format=avif");
    if (p->progressive && !e->progressive)
        return params_refuse(problem, "progressive", "progressive needs format=jpeg or format=png");
    if (p->chroma && !e->chroma)
        return params_refuse(problem, "chroma", "chroma needs format=jpeg or format=avif");
    if (given(seen, "effort") && !e->has_effort)
        return params_refuse(problem, "effort", "effort needs format=png, format=webp, format=avif or format=gif");
    if (given(seen, "effort") && (p->effort - 1 < e->effort_min || p->effort - 1 > e->effort_max)) {
        snprintf(message, sizeof(message), "effort for %s must be %u to %u", image_format_name(p->format),
                 e->effort_min, e->effort_max);
        return params_refuse(problem, "effort", message);
    }
    return 0;
}

static int check_quality(const struct params *p, const bool *seen, struct params_problem *problem)
{
    (void)seen;
    if (p->quality > 0 && p->format != IMAGE_UNKNOWN && !image_format_has_quality(p->format))
        return params_refuse(problem, "quality", "quality is for jpeg, webp and avif; this format is lossless");
    if (p->quality > 0 && p->lossless)
        return params_refuse(problem, "quality", "quality has no effect with lossless=1");
    if (p->chroma == 420 && p->lossless)
        return params_refuse(problem, "chroma", "chroma with lossless=1 must be 444");
    return 0;
}

int params_check_together(const struct params *p, const bool *seen, struct params_problem *problem)
{
    static int (*const checks[])(const struct params *, const bool *,
                                 struct params_problem *) = {check_size, check_position, check_encoding, check_quality};
    int err = 0;
    for (size_t i = 0; !err && i < sizeof(checks) / sizeof(checks[0]); i++)
        err = checks[i](p, seen, problem);
    return err;
}
