/* SPDX-License-Identifier: MIT */
/* From the size of an image and what was asked for to the size of the result. Pure. */
#ifndef CAVAGE_WORKER_GEOMETRY_H
#define CAVAGE_WORKER_GEOMETRY_H

#include "cavage/params.h"

#include <stdint.h>

/* Scale to `width` x `height`; then, where the canvas differs, cut that out of it or put it on the canvas. */
struct geometry {
    uint32_t width, height;
    uint32_t canvas_width, canvas_height;
};

/* Whether a turn swaps the sides, and whether it is none of the four that only move pixels. */
bool geometry_is_sideways(const struct params *params);
bool geometry_is_askew(const struct params *params);
/* The size of a picture after its turn by params->rotate: the box around it, rounded as libvips does. UINT32_MAX for what does not fit. */
void geometry_turn(const struct params *params, uint32_t width, uint32_t height, uint32_t *turned_width,
                   uint32_t *turned_height);

/* width and height (1 .. INT32_MAX) are those of the upright, turned image; jpeg: it is a whole JPEG, whose decoder may shrink it. Sizes are sharp's: rounded to
 * the nearest pixel, at least 1. ERR_RANGE when a side does not fit 32 bits. */
int geometry_plan(const struct params *params, uint32_t width, uint32_t height, bool jpeg, struct geometry *out);

/* Where the canvas begins in a picture that is cut, or the picture on a canvas that is larger. The middle is rounded as sharp does. */
void geometry_place(const struct params *params, const struct geometry *g, uint32_t *x, uint32_t *y);

#endif
