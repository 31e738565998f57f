/* SPDX-License-Identifier: MIT */
/* Random numbers of the simulator: all follow from a seed, none from where or when it runs. */
#ifndef CAVAGE_SIM_NOISE_H
#define CAVAGE_SIM_NOISE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

/* A stream of numbers: splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
struct noise {
    uint64_t state;
};

static inline uint64_t noise_scramble(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A number that hangs on all three, so that what is drawn for one thing does not move what is drawn for another. */
static inline uint64_t noise_of(uint64_t seed, uint64_t thing, uint64_t count)
{
    return noise_scramble(noise_scramble(noise_scramble(seed + UINT64_C(0x9e3779b97f4a7c15)) + thing) + count);
}

static inline uint64_t noise_next(struct noise *n)
{
    n->state += UINT64_C(0x9e3779b97f4a7c15);
    return noise_scramble(n->state);
}

/* 0 .. below - 1, below being small beside 2^64; 0 when there is no such number. */
static inline int64_t noise_below(struct noise *n, int64_t below)
{
    uint64_t drawn = noise_next(n);
    return below > 0 ? (int64_t)(drawn % (uint64_t)below) : 0;
}

static inline int64_t noise_between(struct noise *n, int64_t low, int64_t high)
{
    return low + noise_below(n, high - low + 1);
}

static inline bool noise_chance(struct noise *n, unsigned permille)
{
    return noise_below(n, 1000) < (int64_t)permille;
}

/* In (0, 1]. */
static inline double noise_unit(struct noise *n)
{
    return ((double)(noise_next(n) >> 11) + 1.0) / 9007199254740992.0;
}

static inline double noise_exponential(struct noise *n, double mean)
{
    return -mean * log(noise_unit(n));
}

#endif
