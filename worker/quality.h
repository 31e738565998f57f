/* SPDX-License-Identifier: MIT */
/* The search for the best quality whose result is short enough, in few tries: each costs an encoding. Pure. */
#ifndef CAVAGE_WORKER_QUALITY_H
#define CAVAGE_WORKER_QUALITY_H

#include <stdbool.h>
#include <stdint.h>

/* Sizes are taken to grow with quality. Where they do not, a quality is found whose result fits while that of the next one does not. */
struct quality {
    int low, high;                  /* what fits, or 0; what does not, or one more than may be */
    uint64_t low_bytes, high_bytes; /* of these; 0: not tried */
    uint64_t max_bytes;
    int first;
    int slow; /* tries in a row that left more than half */
};

/* Search among 1 .. most, beginning at `first`, or `most` when that is less. */
void quality_begin(struct quality *q, int first, int most, uint64_t max_bytes);
/* What to try; 0: low is the best, and when that is 0, too, nothing fits. */
int quality_next(const struct quality *q);
/* Take how long the result of what was to be tried is, above 0. True: it fits, and is the best so far. */
bool quality_take(struct quality *q, int tried, uint64_t bytes);

#endif
