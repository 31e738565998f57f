/* SPDX-License-Identifier: MIT */
/* Schedules of arrivals, and the choice of customers. */
#include "arrivals.h"

#include "cavage/err.h"

#include <math.h>
#include <stdlib.h>

uint64_t arrivals_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

double arrivals_unit(uint64_t *state)
{
    return (double)(arrivals_random(state) >> 11) * 0x1p-53;
}

/* With rate a + s t, n arrivals are expected by the t that solves a t + s t^2 / 2 = n. In this form of the root, s may be 0. */
static double time_of(const struct arrivals *a, double n)
{
    double slope = (a->to_per_s - a->from_per_s) / a->duration_s;
    double square = a->from_per_s * a->from_per_s + 2 * slope * n;
    return square < 0 ? INFINITY : 2 * n / (a->from_per_s + sqrt(square));
}

bool arrivals_next(struct arrivals *a, int64_t *due_us)
{
    if (a->poisson)
        a->expected -= log1p(-arrivals_unit(&a->random));
    else
        a->expected = (double)a->count;
    double t = time_of(a, a->expected);
    if (!(t < a->duration_s))
        return false;
    a->count++;
    *due_us = (int64_t)(t * 1e6);
    return true;
}

double arrivals_expected(const struct arrivals *a)
{
    return (a->from_per_s + a->to_per_s) / 2 * a->duration_s;
}

static int open_mix(struct mix *mix, size_t count)
{
    *mix = (struct mix){.count = count};
    if (count == 0)
        return ERR_RANGE;
    mix->below = calloc(count, sizeof(*mix->below));
    return mix->below ? ERR_OK : ERR_NOMEM;
}

int mix_open_first(struct mix *mix, size_t count, double first)
{
    int err = open_mix(mix, count);
    for (size_t i = 0; err == ERR_OK && i < count; i++)
        mix->below[i] = first + (double)i;
    return err;
}

int mix_open_zipf(struct mix *mix, size_t count, double exponent)
{
    int err = open_mix(mix, count);
    double sum = 0;
    for (size_t i = 0; err == ERR_OK && i < count; i++)
        mix->below[i] = sum += pow((double)(i + 1), -exponent);
    return err;
}

void mix_close(struct mix *mix)
{
    free(mix->below);
    *mix = (struct mix){0};
}

size_t mix_choose(const struct mix *mix, double unit)
{
    double wanted = unit * mix->below[mix->count - 1];
    size_t low = 0, high = mix->count - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (mix->below[middle] > wanted)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}
