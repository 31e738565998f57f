/* SPDX-License-Identifier: MIT */
/* A hash table of the customers that hold something: open addressing, linear probing, no tombstones. */
#include "cavage/shares.h"

#include "cavage/err.h"

#include <stdlib.h>

/* In the table while held > 0. */
struct share {
    uint64_t customer;
    uint32_t held;
};

struct shares {
    size_t mask;
    size_t customers;
    struct share *slots; /* a power of two of them, at most half of them used */
};

int shares_new(size_t customers_max, struct shares **out)
{
    if (customers_max > SIZE_MAX / 4 / sizeof(struct share))
        return ERR_NOMEM;
    struct shares *s = calloc(1, sizeof(*s));
    if (!s)
        return ERR_NOMEM;
    size_t count = 2;
    while (count < 2 * customers_max)
        count <<= 1;
    s->mask = count - 1;
    s->slots = calloc(count, sizeof(*s->slots));
    if (!s->slots) {
        free(s);
        return ERR_NOMEM;
    }
    *out = s;
    return 0;
}

void shares_free(struct shares *s)
{
    if (!s)
        return;
    free(s->slots);
    free(s);
}

static size_t home_of(const struct shares *s, uint64_t customer)
{
    /* The numbers are hashes already, but tests use small ones. */
    return (size_t)((customer * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & s->mask;
}

/* The customer's slot, or the free one where it belongs. */
static size_t find(const struct shares *s, uint64_t customer)
{
    size_t i = home_of(s, customer);
    while (s->slots[i].held > 0 && s->slots[i].customer != customer)
        i = (i + 1) & s->mask;
    return i;
}

/* Empty slot i and close the gap, so that every other customer is still found by probing from its own slot. */
static void forget(struct shares *s, size_t i)
{
    size_t gap = i;
    for (size_t j = (i + 1) & s->mask; s->slots[j].held > 0; j = (j + 1) & s->mask) {
        size_t home = home_of(s, s->slots[j].customer);
        if (((j - home) & s->mask) >= ((j - gap) & s->mask)) {
            s->slots[gap] = s->slots[j];
            gap = j;
        }
    }
    s->slots[gap] = (struct share){0};
}

uint32_t shares_held(const struct shares *s, uint64_t customer)
{
    return s->slots[find(s, customer)].held;
}

size_t shares_customers(const struct shares *s)
{
    return s->customers;
}

void shares_take(struct shares *s, uint64_t customer, uint32_t n)
{
    struct share *share = &s->slots[find(s, customer)];
    s->customers += share->held == 0;
    share->customer = customer;
    share->held += n;
}

void shares_give(struct shares *s, uint64_t customer, uint32_t n)
{
    size_t i = find(s, customer);
    s->slots[i].held -= n;
    if (s->slots[i].held > 0)
        return;
    s->customers--;
    forget(s, i);
}
