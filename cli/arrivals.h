/* SPDX-License-Identifier: MIT */
/* When requests of an open loop are due, and whose they are. Pure: the same seed gives the same load. */
#ifndef ARRIVALS_H
#define ARRIVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pseudo-random numbers: SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014). Any state is a good seed. */
uint64_t arrivals_random(uint64_t *state);
/* Evenly in [0, 1). */
double arrivals_unit(uint64_t *state);

/* A schedule; its rate goes evenly from `from_per_s` to `to_per_s`. Set the fields, with the rest zero. */
struct arrivals {
    double from_per_s; /* above 0, as is the next */
    double to_per_s;
    double duration_s; /* above 0 */
    bool poisson;      /* independent arrivals; else evenly spaced ones, the first at 0 */
    uint64_t random;   /* the seed */
    double expected;   /* arrivals that the rate makes expect up to the last one */
    uint64_t count;    /* arrivals so far */
};

/* The time of the next arrival in µs from the start, never before the last one. False at the end of the duration. */
bool arrivals_next(struct arrivals *a, int64_t *due_us);

/* Arrivals to be expected in the whole duration. */
double arrivals_expected(const struct arrivals *a);

/* Weights of customers, to choose among them. */
struct mix {
    size_t count;
    double *below; /* below[i]: the weights up to and with i, added */
};

/* Equal weights but for the first customer, which has `first` times that of another. Free with mix_close. ERR_NOMEM, ERR_RANGE. */
int mix_open_first(struct mix *mix, size_t count, double first);
/* Weights 1 / rank^exponent, as Zipf's law has them. */
int mix_open_zipf(struct mix *mix, size_t count, double exponent);
void mix_close(struct mix *mix);

/* Choose by `unit` in [0, 1). */
size_t mix_choose(const struct mix *mix, double unit);

#endif
