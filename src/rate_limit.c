/* SPDX-License-Identifier: MIT */
/* Token buckets in a set-associative table: bounded memory, and work that does not depend on how many customers there are. */
#include "cavage/rate_limit.h"

#include "cavage/err.h"

#include <stdlib.h>

enum { WAYS = 8, TOKEN = 1000000 }; /* tokens are kept in millionths, so that a rate per second is one unit per µs */

#define CUSTOMERS_MAX ((size_t)1 << 28)

struct bucket {
    uint64_t customer;
    int64_t seen_us; /* when `tokens` was right; 0: the bucket is unused (clocks never say 0) */
    int64_t tokens;  /* millionths, 0 .. burst * TOKEN */
};

struct rate_limit {
    size_t set_mask;
    struct bucket *buckets; /* WAYS to a set */
};

int rate_limit_new(size_t customers, struct rate_limit **out)
{
    if (customers == 0 || customers > CUSTOMERS_MAX)
        return ERR_RANGE;
    size_t sets = 1;
    while (sets * WAYS < customers)
        sets <<= 1;
    struct rate_limit *r = calloc(1, sizeof(*r));
    if (!r)
        return ERR_NOMEM;
    r->set_mask = sets - 1;
    r->buckets = calloc(sets * WAYS, sizeof(*r->buckets));
    if (!r->buckets) {
        free(r);
        return ERR_NOMEM;
    }
    *out = r;
    return 0;
}

void rate_limit_free(struct rate_limit *r)
{
    if (!r)
        return;
    free(r->buckets);
    free(r);
}

/* The customer's bucket, or the one of its set that is least missed, to be filled anew. */
static struct bucket *bucket_find(struct rate_limit *r, uint64_t customer, bool *found)
{
    struct bucket *set = &r->buckets[((size_t)customer & r->set_mask) * WAYS];
    struct bucket *oldest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].seen_us != 0 && set[i].customer == customer) {
            *found = true;
            return &set[i];
        }
        if (set[i].seen_us < oldest->seen_us)
            oldest = &set[i];
    }
    *found = false;
    return oldest;
}

/* Tokens that came back while time passed; never more than `missing`, and without overflow after a long absence. */
static int64_t refill(int64_t passed_us, uint32_t rate_per_s, int64_t missing)
{
    if (missing <= 0 || passed_us >= missing / rate_per_s + 1)
        return missing > 0 ? missing : 0;
    return passed_us * rate_per_s;
}

void rate_limit_take(struct rate_limit *r, int64_t now_us, uint64_t customer, const struct rate_allowance *allowance,
                     struct rate_state *out)
{
    uint32_t burst = allowance->burst ? allowance->burst : 1;
    *out = (struct rate_state){.allowed = true, .remaining = burst};
    if (allowance->rate_per_s == 0)
        return;

    int64_t full = (int64_t)burst * TOKEN;
    bool found;
    struct bucket *b = bucket_find(r, customer, &found);
    if (!found)
        *b = (struct bucket){.customer = customer, .seen_us = now_us, .tokens = full};
    if (now_us > b->seen_us) {
        b->tokens += refill(now_us - b->seen_us, allowance->rate_per_s, full - b->tokens);
        b->seen_us = now_us;
    }
    if (b->tokens > full)
        b->tokens = full;

    out->allowed = b->tokens >= TOKEN;
    if (out->allowed)
        b->tokens -= TOKEN;
    out->remaining = (uint32_t)(b->tokens / TOKEN);
    if (out->remaining == 0)
        out->wait_us = (TOKEN - b->tokens + allowance->rate_per_s - 1) / allowance->rate_per_s;
}
