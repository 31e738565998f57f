/* SPDX-License-Identifier: MIT */
/* The formula of costs, and the table of ratios by which it is corrected. */
#include "cavage/cost.h"

#include "cavage/err.h"

#include <stdbool.h>
#include <stdlib.h>

enum {
    SIZE_CLASSES = 16,      /* of inputs, one an octave of pixels: up to 16 Ki, ..., over 256 Mi */
    SIZE_FIRST_LOG2 = 14,   /* the end of the first class */
    OUTPUT_CLASSES = 8,     /* of outputs, one for two octaves; the first is for nothing made */
    OUTPUT_FIRST_LOG2 = 13, /* the end of the second one */
    FIXED_US = 700,         /* of every conversion */
    LOOK_US = 300,          /* to look at an image */
    WINDOW = 16             /* conversions over which a ratio is smoothed */
};

static const uint64_t pixels_max = 1000000000;
static const double outlier = 4; /* how far one conversion counts beside what was expected */

/* Picoseconds a pixel to read and to make, and a typical number of pixels in a kilobyte. JPEG is decoded at a fraction of its size; what is made includes
 * the resampling. */
static const struct {
    uint64_t read_ps, make_ps;
    uint64_t pixels_per_kb;
} formats[IMAGE_FORMAT_COUNT] = {
    [IMAGE_UNKNOWN] = {5000, 25000, 6000}, [IMAGE_JPEG] = {3700, 18200, 7200},    [IMAGE_PNG] = {15000, 60000, 1000},
    [IMAGE_WEBP] = {12000, 60000, 10000},  [IMAGE_AVIF] = {30000, 300000, 15000}, [IMAGE_GIF] = {18000, 100000, 3000},
    [IMAGE_TIFF] = {10000, 15000, 500},    [IMAGE_SVG] = {30000, 25000, 10000},
};

struct ratio {
    double value;   /* measured / formula */
    unsigned count; /* conversions in it, 0 .. WINDOW */
};

struct cost {
    struct ratio whole[IMAGE_FORMAT_COUNT];
    struct ratio cells[IMAGE_FORMAT_COUNT][SIZE_CLASSES][IMAGE_FORMAT_COUNT][OUTPUT_CLASSES];
};

int cost_new(struct cost **out)
{
    *out = calloc(1, sizeof(**out));
    if (!*out)
        return ERR_NOMEM;
    for (size_t i = 0; i < IMAGE_FORMAT_COUNT; i++)
        (*out)->whole[i].value = 1;
    return ERR_OK;
}

void cost_free(struct cost *c)
{
    free(c);
}

static enum image_format known(enum image_format format)
{
    return (unsigned)format < IMAGE_FORMAT_COUNT ? format : IMAGE_UNKNOWN;
}

static uint64_t bounded(uint64_t pixels)
{
    return pixels < pixels_max ? pixels : pixels_max;
}

static uint64_t input_pixels(const struct cost_subject *s)
{
    if (s->input_pixels > 0)
        return bounded(s->input_pixels);
    uint64_t kb = (uint64_t)s->bytes / 1024 + 1;
    return bounded(kb < pixels_max ? kb * formats[known(s->input)].pixels_per_kb : pixels_max);
}

/* How often `pixels` can be halved until it is no more than 2^first. */
static size_t octaves(uint64_t pixels, unsigned first)
{
    size_t n = 0;
    while (pixels > UINT64_C(1) << (first + n))
        n++;
    return n;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct ratio cell_of(const struct cost *c, const struct cost_subject *s, size_t at[4])
{
    at[0] = known(s->input);
    at[1] = least(octaves(input_pixels(s), SIZE_FIRST_LOG2), SIZE_CLASSES - 1);
    at[2] = known(s->output);
    uint64_t made = bounded(s->output_pixels);
    at[3] = made == 0 ? 0 : least(1 + (octaves(made, OUTPUT_FIRST_LOG2) + 1) / 2, OUTPUT_CLASSES - 1);
    return c->cells[at[0]][at[1]][at[2]][at[3]];
}

/* By the formula alone. */
static double formula_us(const struct cost_subject *s)
{
    if (s->output_pixels == 0)
        return LOOK_US;
    uint64_t ps = input_pixels(s) * formats[known(s->input)].read_ps +
                  bounded(s->output_pixels) * formats[known(s->output)].make_ps;
    return FIXED_US + (double)ps / 1e6;
}

int64_t cost_estimate_us(const struct cost *c, const struct cost_subject *s)
{
    size_t at[4];
    struct ratio cell = cell_of(c, s, at);
    double us = formula_us(s) * (cell.count ? cell.value : c->whole[at[0]].value);
    if (us < COST_LEAST_US)
        return COST_LEAST_US;
    return us > COST_MOST_US ? COST_MOST_US : (int64_t)us;
}

/* The first conversions count for more, but what was expected at the start counts as one of them. */
static void ratio_learn(struct ratio *r, double value)
{
    double low = r->value / outlier, high = r->value * outlier;
    value = value < low ? low : (value > high ? high : value);
    if (r->count < WINDOW)
        r->count++;
    r->value += (value - r->value) / (r->count < WINDOW ? r->count + 1 : WINDOW);
}

void cost_learn(struct cost *c, const struct cost_subject *s, int64_t cpu_us)
{
    static const double floor_us = 1;
    size_t at[4];
    if (cpu_us < 0)
        return;
    struct ratio cell = cell_of(c, s, at);
    double measured = ((double)cpu_us < floor_us ? floor_us : (double)cpu_us) / formula_us(s);
    if (cell.count == 0)
        cell.value = c->whole[at[0]].value;
    ratio_learn(&cell, measured);
    c->cells[at[0]][at[1]][at[2]][at[3]] = cell;
    if (s->output_pixels > 0)
        ratio_learn(&c->whole[at[0]], measured);
}

int64_t cost_ratio_permille(const struct cost *c, enum image_format input)
{
    return (int64_t)(c->whole[known(input)].value * 1000);
}
