/* SPDX-License-Identifier: MIT */
/* Counts of durations in buckets of a bounded relative width, as HdrHistogram has them (hdrhistogram.org, three significant digits): values
 * below 2^11 are exact, above that 1,024 buckets for each power of two keep the error under 0.1 %. Pure. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_HALF = 1024, HISTOGRAM_MAX_BITS = 36, HISTOGRAM_BUCKETS = (HISTOGRAM_MAX_BITS - 9) * HISTOGRAM_HALF };

/* Zeroed is empty. About 220 KB. */
struct histogram {
    uint64_t count;
    uint64_t sum;
    int64_t max; /* exact */
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Values below 0 count as 0, values from 2^36 on (19 hours in µs) as the highest there is. */
void histogram_add(struct histogram *h, int64_t value);
/* The least value that `percent` of all do not exceed, rounded up to the end of its bucket and never above max; 0 when it is empty. */
int64_t histogram_percentile(const struct histogram *h, double percent);
/* 0 when it is empty. */
double histogram_mean(const struct histogram *h);

#endif
