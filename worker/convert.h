/* SPDX-License-Identifier: MIT */
/* One image in memory made into another, or told about. The only part that knows libvips. */
#ifndef CAVAGE_WORKER_CONVERT_H
#define CAVAGE_WORKER_CONVERT_H

#include "cavage/limits.h"
#include "cavage/params.h"
#include "cavage/renditions.h"
#include "cavage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is wrong, closer than the outcome; the supervisor has the sentence for each. */
enum convert_detail {
    DETAIL_NONE,
    DETAIL_DAMAGED,     /* the decoder gave up, or the data end too early */
    DETAIL_UNSUPPORTED, /* a codec or feature that is not taken in this format */
    DETAIL_OUTPUT_SIDE, /* a side is over what the format can hold */
    DETAIL_REQUEST,     /* the request did not parse */
    DETAIL_MAX_BYTES,   /* no quality makes the result small enough; the smallest size is told */
    DETAIL_CROP,        /* the crop lies outside */
    DETAIL_PAGE,        /* there is no such page */
    DETAIL_TURNED,      /* the box around the turned picture has too many pixels */
    DETAIL_SVG_OFF,     /* SVG is not switched on */
    DETAIL_SVG,         /* malformed, or of a kind that is not taken */
    DETAIL_EMBEDDED,    /* what an SVG embeds is not taken */
    DETAIL_SUM_BYTES,   /* all outputs together are over their buffer */
    DETAIL_LIMITS,      /* and the enum limit that was broken */
    DETAIL_PIXELS = DETAIL_LIMITS + LIMIT_PIXELS_IN,
    DETAIL_FRAMES = DETAIL_LIMITS + LIMIT_FRAMES_IN,
    DETAIL_TOTAL_PIXELS = DETAIL_LIMITS + LIMIT_TOTAL_PIXELS_IN,
    DETAIL_OUTPUT_PIXELS = DETAIL_LIMITS + LIMIT_PIXELS_OUT,
    DETAIL_OUTPUT_BYTES = DETAIL_LIMITS + LIMIT_BYTES_OUT,
    DETAIL_COUNT = DETAIL_LIMITS + LIMIT_COUNT
};

enum convert_space {
    SPACE_OTHER,
    SPACE_SRGB,
    SPACE_GREY,
    SPACE_CMYK,
    SPACE_RGB16,
    SPACE_GREY16,
    SPACE_LAB,
    SPACE_COUNT
};

/* What OPERATION_INFO tells beside the header. */
struct convert_info {
    uint32_t orientation; /* 1 .. 8 */
    uint32_t space;       /* enum convert_space */
    uint32_t alpha;       /* 0 or 1 */
    uint32_t profile;     /* 0 or 1: an ICC profile is embedded */
};

/* Where one output of several is. */
struct convert_output {
    uint64_t offset, len;
};

struct convert_answer {
    enum outcome outcome;
    enum convert_detail detail;
    size_t len; /* bytes in the output */
    uint64_t limit_value, actual_value;
    struct convert_info info;
    /* Of renditions. */
    uint32_t failed_output; /* the one that could not be made, from 1; 0: none by itself */
    uint32_t output_count;
    struct convert_output outputs[WIRE_OUTPUTS_MAX]; /* in the order asked for, wherever they lie */
};

/* Start libvips: one thread for a conversion, no caches, no loaders but ours; svg: that of SVG, too. Starts no thread. ERR_INTERNAL. Once in a process. */
int convert_open(bool svg);

/* Convert `data` into out, of size bytes: the first page, that of params->page, or all frames of an animation when the result can hold them.
 * Orientation is applied, colours are brought to sRGB. */
void convert_resize(const struct params *params, const uint8_t *data, size_t len, const struct limits *limits,
                    uint8_t *out, size_t size, struct convert_answer *answer);

/* The same for several outputs, in one buffer; all of them, or the answer tells which could not be made. The image is decoded once, or once for each
 * choice of pages. */
void convert_renditions(const struct renditions *renditions, const uint8_t *data, size_t len,
                        const struct limits *limits, uint8_t *out, size_t size, struct convert_answer *answer);

/* Read the header only; answer->info. */
void convert_info(const uint8_t *data, size_t len, const struct limits *limits, struct convert_answer *answer);

#endif
