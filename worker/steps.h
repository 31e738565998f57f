/* SPDX-License-Identifier: MIT */
/* The steps of a conversion, each by libvips. An image of several frames has them one below the other, page-height rows each. */
#ifndef CAVAGE_WORKER_STEPS_H
#define CAVAGE_WORKER_STEPS_H

#include "convert.h"
#include "geometry.h"

#include <vips/vips.h>

struct source;

/* An image on its way. `at` is the last step; libvips holds references to what it still needs, since it works lazily. */
struct steps {
    const uint8_t *data;
    size_t len;
    uint8_t *prepared; /* what data became; NULL: they are as they came */
    enum image_format format;
    uint32_t page;  /* the first that is loaded */
    bool all_pages; /* frames of an animation */
    VipsImage *at;
    struct convert_answer *answer;
    struct source *source; /* of several outputs; NULL: this is the only one */
};

/* All of them return ERR_CORRUPT when the answer holds what went wrong. */
int steps_fail(struct steps *s, enum outcome outcome, enum convert_detail detail);
int steps_fail_with(struct steps *s, enum outcome outcome, enum convert_detail detail, uint64_t limit, uint64_t actual);
int steps_fail_too_large(struct steps *s, enum convert_detail detail, uint64_t limit, uint64_t actual);
/* Put the next step in the place of the last; `failed` is libvips's return. */
int steps_take(struct steps *s, int failed, VipsImage *next);

uint32_t steps_frames(const struct steps *s);
uint32_t steps_frame_height(const struct steps *s);

/* Load into memory, for what reads more than once or not from top to bottom. */
int steps_to_memory(struct steps *s);
/* Turn the image as its orientation says, and drop that. */
int steps_upright(struct steps *s);
int steps_crop(struct steps *s, const struct params *params);
int steps_trim(struct steps *s, uint32_t threshold);
/* Scale, bring to sRGB and turn upright. */
int steps_scale(struct steps *s, uint32_t width, uint32_t height, enum params_kernel kernel);
/* Flip, flop, and rotate by quarters. */
int steps_turn(struct steps *s, const struct params *params);
/* Flip, flop, and rotate by any angle, in sRGB; the corners get the colour. alpha: the result can have transparency. */
int steps_turn_askew(struct steps *s, const struct params *params, const uint8_t rgba[4], bool alpha);
/* To sRGB, or grey, of eight bits. */
int steps_plain(struct steps *s);
/* Eight bits, grey or sRGB. */
int steps_eight_bits(struct steps *s);
/* Fill what is transparent, for a format without transparency. */
int steps_flatten(struct steps *s, const uint8_t rgba[4]);
/* Cut the canvas out, or put the image on a larger one. */
int steps_canvas(struct steps *s, const struct params *params, const struct geometry *g, const uint8_t rgba[4],
                 bool alpha);
int steps_blur(struct steps *s, double sigma);
int steps_sharpen(struct steps *s, double sigma);
int steps_grayscale(struct steps *s);

#endif
