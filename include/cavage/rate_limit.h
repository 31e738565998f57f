/* SPDX-License-Identifier: MIT */
/* Token buckets, one for each customer, in a bounded table. Pure: the time is passed. Not thread-safe. */
#ifndef CAVAGE_RATE_LIMIT_H
#define CAVAGE_RATE_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rate_limit;

/* What a customer may do. */
struct rate_allowance {
    uint32_t rate_per_s; /* tokens that come back each second; 0: no limit */
    uint32_t burst;      /* tokens a full bucket holds; 0 reads as 1 */
};

/* What came of a request. */
struct rate_state {
    bool allowed;
    uint32_t remaining; /* whole tokens left */
    int64_t wait_us;    /* until the next token when none is left; 0 otherwise */
};

/* Room for at least `customers`; all memory is taken here. When there are more, the one of eight neighbours that asked longest ago is forgotten
 * and starts with a full bucket when it comes again. ERR_NOMEM, ERR_RANGE. */
int rate_limit_new(size_t customers, struct rate_limit **out);
void rate_limit_free(struct rate_limit *r);

/* Take one token of the customer (any stable, well mixed number) if there is one. now_us is monotonic; a time before the last one counts as the last.
 * A changed allowance is in force at once. */
void rate_limit_take(struct rate_limit *r, int64_t now_us, uint64_t customer, const struct rate_allowance *allowance,
                     struct rate_state *out);

#endif
