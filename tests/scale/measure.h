/* SPDX-License-Identifier: MIT */
/* Counts of times in classes of at most 1.6 % width, and what is asked of them. */
#ifndef CAVAGE_SCALE_MEASURE_H
#define CAVAGE_SCALE_MEASURE_H

#include <stdint.h>

enum { MEASURE_STEPS = 64, MEASURE_CLASSES = MEASURE_STEPS * 40 };

struct measure {
    uint64_t count;
    double sum_us;
    int64_t most_us;
    uint32_t classes[MEASURE_CLASSES];
};

void measure_add(struct measure *m, int64_t us);
/* The middle of the class in which the quantile, 0 .. 1, lies; 0 when nothing was counted. */
double measure_quantile_us(const struct measure *m, double quantile);
double measure_mean_us(const struct measure *m);

#endif
