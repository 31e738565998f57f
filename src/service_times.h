/* SPDX-License-Identifier: MIT */
/* What conversions took of late: their mean against what they were estimated at, and the slow one in a hundred. Pure. */
#ifndef CAVAGE_SERVICE_TIMES_H
#define CAVAGE_SERVICE_TIMES_H

#include <stdint.h>

enum { SERVICE_TIMES_CLASSES = 96 }; /* four for each octave of µs */

/* All zero before the first. */
struct service_times {
    double taken_us, cost_us; /* smoothed */
    unsigned counts[SERVICE_TIMES_CLASSES];
    unsigned total;
    int64_t p99_us; /* the upper end of its class; 0: none seen */
};

/* Both > 0. */
void service_times_learn(struct service_times *s, int64_t cost_us, int64_t taken_us);
/* Time taken for a µs of estimated cost; 0: none seen. */
double service_times_stretch(const struct service_times *s);

#endif
