/* SPDX-License-Identifier: MIT */
/* Linear classes up to 64 µs, then 64 to each octave. */
#include "measure.h"

static unsigned class_of(int64_t us)
{
    if (us < MEASURE_STEPS)
        return us < 0 ? 0 : (unsigned)us;
    unsigned octave = 63 - (unsigned)__builtin_clzll((unsigned long long)us) - 6;
    unsigned c = MEASURE_STEPS * (octave + 1) + (unsigned)((us >> octave) - MEASURE_STEPS);
    return c < MEASURE_CLASSES ? c : MEASURE_CLASSES - 1;
}

static double middle_of(unsigned c)
{
    if (c < MEASURE_STEPS)
        return c;
    unsigned octave = c / MEASURE_STEPS - 1;
    return ((double)(MEASURE_STEPS + c % MEASURE_STEPS) + 0.5) * (double)(UINT64_C(1) << octave);
}

void measure_add(struct measure *m, int64_t us)
{
    m->count++;
    m->sum_us += (double)us;
    m->classes[class_of(us)]++;
    if (us > m->most_us)
        m->most_us = us;
}

double measure_quantile_us(const struct measure *m, double quantile)
{
    double wanted = quantile * (double)m->count, seen = 0;
    for (unsigned c = 0; c < MEASURE_CLASSES && m->count > 0; c++) {
        seen += m->classes[c];
        if (seen >= wanted && seen > 0)
            return middle_of(c);
    }
    return 0;
}

double measure_mean_us(const struct measure *m)
{
    return m->count ? m->sum_us / (double)m->count : 0;
}
