/* SPDX-License-Identifier: MIT */
/* How much each customer holds of something that is shared. Pure: the caller locks. */
#ifndef CAVAGE_SHARES_H
#define CAVAGE_SHARES_H

#include <stddef.h>
#include <stdint.h>

struct shares;

/* Room for as many customers that hold something at once. ERR_NOMEM. */
int shares_new(size_t customers_max, struct shares **out);
void shares_free(struct shares *s);

uint32_t shares_held(const struct shares *s, uint64_t customer);
/* How many customers hold something. */
size_t shares_customers(const struct shares *s);
/* The customer takes n > 0 more. At most customers_max customers may hold something. */
void shares_take(struct shares *s, uint64_t customer, uint32_t n);
/* The customer gives n back, no more than it holds; one that holds nothing is forgotten. */
void shares_give(struct shares *s, uint64_t customer, uint32_t n);

#endif
