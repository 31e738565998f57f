/* SPDX-License-Identifier: MIT */
/* Counts and sums by class of amount. */
#include "levels.h"

static size_t level_of(int64_t amount)
{
    unsigned log2 = 63 - (unsigned)__builtin_clzll((unsigned long long)amount);
    size_t half = log2 > 0 && (amount >> (log2 - 1) & 1);
    size_t level = 2 * (size_t)log2 + half;
    return level < LEVELS ? level : LEVELS - 1;
}

void levels_change(struct levels *l, int64_t from, int64_t to)
{
    if (from > 0) {
        struct level *level = &l->at[level_of(from)];
        level->customers--;
        level->sum -= from;
    }
    if (to > 0) {
        struct level *level = &l->at[level_of(to)];
        level->customers++;
        level->sum += to;
    }
}

int64_t levels_sum_min(const struct levels *l, int64_t x)
{
    int64_t sum = 0;
    for (size_t i = 0; i < LEVELS; i++) {
        const struct level *level = &l->at[i];
        int64_t n = (int64_t)level->customers;
        sum += n > INT64_MAX / x || n * x > level->sum ? level->sum : n * x;
    }
    return sum;
}

/* Who has less than the share keeps it; the others divide what is left. The classes are taken in one after the other while their mean is below the share
 * that this leaves. */
int64_t levels_fair_share(const struct levels *l, int64_t total)
{
    int64_t left = total, takers = 1;
    for (size_t i = 0; i < LEVELS; i++)
        takers += (int64_t)l->at[i].customers;
    for (size_t i = 0; i < LEVELS; i++) {
        int64_t n = (int64_t)l->at[i].customers;
        if (n == 0)
            continue;
        if (l->at[i].sum / n >= left / takers)
            break;
        left -= l->at[i].sum;
        takers -= n;
    }
    return left / takers;
}
