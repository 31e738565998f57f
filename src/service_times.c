/* SPDX-License-Identifier: MIT */
/* Counts of service times by class, and smoothed sums. */
#include "service_times.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    MANY = 512, /* observations at which all count half from there on */
    WINDOW = 32 /* conversions over which the stretch is smoothed */
};

/* Four classes an octave. */
static size_t bucket_of(int64_t us)
{
    if (us < 4)
        return 0;
    unsigned log2 = 63 - (unsigned)__builtin_clzll((unsigned long long)us);
    size_t bucket = 4 * (size_t)log2 + (size_t)(us >> (log2 - 2) & 3);
    return bucket < SERVICE_TIMES_CLASSES ? bucket : SERVICE_TIMES_CLASSES - 1;
}

/* The upper end of a class. */
static int64_t bound_us(size_t bucket)
{
    unsigned log2 = (unsigned)(bucket / 4);
    return log2 < 2 ? 4 : (int64_t)(5 + bucket % 4) << (log2 - 2);
}

static void halve(struct service_times *s)
{
    s->total = 0;
    for (size_t i = 0; i < SERVICE_TIMES_CLASSES; i++)
        s->total += s->counts[i] /= 2;
}

static int64_t p99_of(const struct service_times *s)
{
    unsigned above = 0;
    for (size_t i = SERVICE_TIMES_CLASSES; i-- > 0;) {
        above += s->counts[i];
        if (above > s->total / 100)
            return bound_us(i);
    }
    return 0;
}

void service_times_learn(struct service_times *s, int64_t cost_us, int64_t taken_us)
{
    bool first = s->cost_us <= 0;
    double weight = first ? 1 : 1.0 / WINDOW;
    s->taken_us += ((double)taken_us - s->taken_us) * weight;
    s->cost_us += ((double)cost_us - s->cost_us) * weight;
    s->counts[bucket_of(taken_us)]++;
    if (++s->total >= MANY)
        halve(s);
    s->p99_us = p99_of(s);
}

double service_times_stretch(const struct service_times *s)
{
    return s->cost_us > 0 ? s->taken_us / s->cost_us : 0;
}
