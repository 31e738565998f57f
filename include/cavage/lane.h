/* SPDX-License-Identifier: MIT */
/* The two lanes of the queue. The promise of time is made for images under 1 MB; others must not stand in their way. */
#ifndef CAVAGE_LANE_H
#define CAVAGE_LANE_H

#include <stddef.h>

enum lane { LANE_SMALL, LANE_LARGE, LANES };

enum { LANE_LARGE_BYTES = 1000 * 1000 };

static inline enum lane lane_of(size_t image_bytes)
{
    return image_bytes < LANE_LARGE_BYTES ? LANE_SMALL : LANE_LARGE;
}

#endif
