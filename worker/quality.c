/* SPDX-License-Identifier: MIT */
/* Regula falsi over the logarithms of sizes, with halving where it gets nowhere. */
#include "quality.h"

#include <math.h>

/* A result so many times shorter than may be is likely to fit at any quality. */
enum { AMPLE = 4, SLOW_MAX = 2 };

void quality_begin(struct quality *q, int first, int most, uint64_t max_bytes)
{
    *q = (struct quality){.high = most + 1, .max_bytes = max_bytes, .first = first < most ? first : most};
}

/* Between two that were tried. */
static int interpolate(const struct quality *q)
{
    double low = log((double)q->low_bytes);
    double high = log((double)q->high_bytes);
    double part = high > low ? (log((double)q->max_bytes) - low) / (high - low) : 0.5;
    int guess = q->low + (int)((q->high - q->low) * part + 0.5);
    return guess <= q->low ? q->low + 1 : guess >= q->high ? q->high - 1 : guess;
}

int quality_next(const struct quality *q)
{
    int middle = (q->low + q->high) / 2;
    if (q->high - q->low <= 1)
        return 0;
    if (q->low_bytes == 0 && q->high_bytes == 0)
        return q->first;
    if (q->high_bytes == 0)
        return q->low_bytes <= q->max_bytes / AMPLE ? q->high - 1 : middle;
    /* The least quality is quick to try, and its size has to be told when nothing fits. */
    if (q->low_bytes == 0)
        return 1;
    return q->slow >= SLOW_MAX ? middle : interpolate(q);
}

bool quality_take(struct quality *q, int tried, uint64_t bytes)
{
    int before = q->high - q->low;
    bool fits = bytes <= q->max_bytes;
    if (fits) {
        q->low = tried;
        q->low_bytes = bytes;
    } else {
        q->high = tried;
        q->high_bytes = bytes;
    }
    q->slow = (q->high - q->low) * 2 > before + 1 ? q->slow + 1 : 0;
    return fits;
}
