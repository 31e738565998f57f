/* SPDX-License-Identifier: MIT */
/* The bounds of images and results, by format: one struct that goes to wherever it is decided. Pure. */
#ifndef CAVAGE_LIMITS_H
#define CAVAGE_LIMITS_H

#include "cavage/conf.h"
#include "cavage/image_header.h"
#include "cavage/params.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum limit {
    LIMIT_PIXELS_IN, /* of one frame or page */
    LIMIT_FRAMES_IN,
    LIMIT_TOTAL_PIXELS_IN, /* frames x pixels */
    LIMIT_PIXELS_OUT,      /* all frames of the result together */
    LIMIT_BYTES_OUT,
    LIMIT_AUTO_PIXELS_OUT, /* what format=auto chooses the format for; never a reason to refuse */
    LIMIT_COUNT
};

/* Each bound for each format; inputs are judged by their own, results by theirs. The largest number that passes. */
struct limits {
    uint64_t of[LIMIT_COUNT][IMAGE_FORMAT_COUNT];
    bool svg; /* it is taken */
};

/* What was over a bound. */
struct limits_breach {
    enum limit limit;
    uint64_t allowed, actual;
};

enum { LIMITS_TEXT_SIZE = 160 };

/* What a client is told of an SVG where it is not. */
#define LIMITS_NO_SVG "SVG is not taken here, unless the operator of this server switches it on."

/* The [limits] of the configuration. */
void limits_read(const struct conf *conf, struct limits *out);
/* The most that any format may have. */
uint64_t limits_most(const struct limits *limits, enum limit limit);

/* Whether a format is taken at all. */
bool limits_know(const struct limits *limits, enum image_format format);
/* Whether an image may come in, by its header. False: *why tells which bound it is over, the first in the order of the enum. */
bool limits_take(const struct limits *limits, const struct image_header *in, struct limits_breach *why);
/* Whether a result may go out, by its own header and length. */
bool limits_give(const struct limits *limits, const struct image_header *result, uint64_t bytes,
                 struct limits_breach *why);
/* Whether a request can have a result within the bounds, whatever its image. True as long as that depends on the image. */
bool limits_admit(const struct limits *limits, const struct params *params, struct limits_breach *why);

/* One sentence for the client. Returns out. */
const char *limits_tell(const struct limits_breach *why, char out[LIMITS_TEXT_SIZE]);

#endif
