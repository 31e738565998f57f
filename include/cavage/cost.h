/* SPDX-License-Identifier: MIT */
/* What a conversion will cost: the unit in which the queue is fair. Begins with measured figures and learns from the CPU that conversions took.
 * Pure. Not thread-safe.
 *
 * An estimate is a formula in the pixels read and made, by the two formats, times a learned ratio. Ratios are kept in a table of fixed size: for
 * each pair of formats and class of sizes, and for each input format as a whole, which serves the classes that were not met yet. */
#ifndef CAVAGE_COST_H
#define CAVAGE_COST_H

#include "cavage/image_header.h"

#include <stddef.h>
#include <stdint.h>

enum {
    COST_LEAST_US = 50,              /* no estimate is less */
    COST_MOST_US = 600 * 1000 * 1000 /* or more */
};

/* One image to be made of another, as far as it is known. */
struct cost_subject {
    enum image_format input;  /* IMAGE_UNKNOWN: only the bytes are known; such subjects have ratios of their own */
    size_t bytes;             /* of the input */
    uint64_t input_pixels;    /* of all its pages; 0: not known, the bytes stand in for them */
    enum image_format output; /* IMAGE_UNKNOWN: not known, or chosen for the image */
    uint64_t output_pixels;   /* of all its pages; 0: nothing is made, the input is only looked at */
};

struct cost;

int cost_new(struct cost **out); /* ERR_NOMEM */
void cost_free(struct cost *c);

/* Estimated CPU, COST_LEAST_US .. COST_MOST_US. At the start 9 ms for a JPEG of 256 KB, 1500 x 1225, to 320 pixels, 17 ms to 800: both measured with libvips
 * 8.18 on one core. */
int64_t cost_estimate_us(const struct cost *c, const struct cost_subject *s);

/* A conversion of this subject that went well took cpu_us, as the kernel counted it. The mean is exponential over about 16 conversions of a class, and one
 * of them never counts for more than four times, or less than a quarter, of what was expected: a strange image, or a converter that burns time, does not
 * move the estimate of a class by more than a fifth. cpu_us < 0 is ignored. */
void cost_learn(struct cost *c, const struct cost_subject *s, int64_t cpu_us);

/* The learned ratio of an input format as a whole, in thousandths: 1000 as long as the formula holds. For metrics. */
int64_t cost_ratio_permille(const struct cost *c, enum image_format input);

#endif
