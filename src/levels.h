/* SPDX-License-Identifier: MIT */
/* How many customers have how much of something, in classes: sums of min(amount, x) over all of them take a bounded number of steps. Pure. */
#ifndef CAVAGE_LEVELS_H
#define CAVAGE_LEVELS_H

#include <stddef.h>
#include <stdint.h>

enum { LEVELS = 96 }; /* two for each octave; amounts of 2^48 and more share the last one */

struct level {
    size_t customers;
    int64_t sum;
};

struct levels {
    struct level at[LEVELS];
};

/* A customer's amount becomes another. 0 is nowhere; amounts are never negative. */
void levels_change(struct levels *l, int64_t from, int64_t to);
/* The sum of min(amount, x). The class that x falls into counts as if its amounts were all alike. */
int64_t levels_sum_min(const struct levels *l, int64_t x);
/* What one customer more could have of a total if it took all that it can get: the share x with which sum of min(amount, x) + x is the total. At least an
 * equal part. */
int64_t levels_fair_share(const struct levels *l, int64_t total);

#endif
