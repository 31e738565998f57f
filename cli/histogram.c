/* SPDX-License-Identifier: MIT */
/* The buckets of a histogram. */
#include "histogram.h"

#include <math.h>
#include <stddef.h>

/* A value of b bits, b > 11, falls by its upper 11 bits; the uppermost is always set, so each shift adds HALF buckets to those below it. */
static size_t index_of(uint64_t value)
{
    unsigned shift = value < 2 * HISTOGRAM_HALF ? 0 : 53 - (unsigned)__builtin_clzll(value);
    return (size_t)shift * HISTOGRAM_HALF + (size_t)(value >> shift);
}

/* The highest value that falls in the bucket. */
static uint64_t end_of(size_t index)
{
    size_t shift = index < 2 * (size_t)HISTOGRAM_HALF ? 0 : index / HISTOGRAM_HALF - 1;
    return (((uint64_t)index - shift * HISTOGRAM_HALF + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, int64_t value)
{
    const int64_t most = (INT64_C(1) << HISTOGRAM_MAX_BITS) - 1;
    value = value < 0 ? 0 : value > most ? most : value;
    h->buckets[index_of((uint64_t)value)]++;
    h->count++;
    h->sum += (uint64_t)value;
    if (value > h->max)
        h->max = value;
}

int64_t histogram_percentile(const struct histogram *h, double percent)
{
    /* 99.9 is a little more than that in binary. */
    double wanted = ceil(percent * (double)h->count / 100 - 1e-6);
    uint64_t rank = wanted < 1 ? 1 : wanted >= (double)h->count ? h->count : (uint64_t)wanted, seen = 0;
    for (size_t i = 0; h->count > 0 && i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank)
            return end_of(i) < (uint64_t)h->max ? (int64_t)end_of(i) : h->max;
    }
    return 0;
}

double histogram_mean(const struct histogram *h)
{
    return h->count > 0 ? (double)h->sum / (double)h->count : 0;
}
