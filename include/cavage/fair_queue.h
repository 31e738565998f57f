/* SPDX-License-Identifier: MIT */
/* A bounded queue of jobs: FIFO within a customer, deficit round robin across customers by estimated cost. Pure. */
#ifndef CAVAGE_FAIR_QUEUE_H
#define CAVAGE_FAIR_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fair_queue;

/* An intrusive entry; its memory belongs to the caller and must stay in place while queued. */
struct fair_entry {
    uint64_t customer; /* any stable number; entries of one number are FIFO */
    int64_t cost_us;   /* estimated CPU, > 0; must not change while queued */
    struct fair_entry *prev, *next;
    struct fair_flow *flow; /* NULL while not queued */
};

struct fair_queue_config {
    bool fifo;               /* strict arrival order instead */
    size_t max_entries;      /* of all customers, > 0 */
    size_t max_per_customer; /* > 0 */
    size_t max_returns;      /* entries beyond max_entries that push_head may add; the caller keeps to it */
    int64_t quantum_us;      /* added to a flow's deficit at its turn, > 0 */
};

/* All memory is taken here. ERR_NOMEM, ERR_RANGE. */
int fair_queue_new(const struct fair_queue_config *config, struct fair_queue **out);
void fair_queue_free(struct fair_queue *queue);

/* Append. ERR_FULL at max_entries, ERR_RANGE at max_per_customer, ERR_INVALID for a cost that is not positive, or over 10^12. */
int fair_queue_push(struct fair_queue *queue, struct fair_entry *entry);
/* Put back what was popped, before everything of its customer, whatever the bounds say; its customer's turn comes next, and its cost is
 * given back. To return several in their order, begin with the last. */
void fair_queue_push_head(struct fair_queue *queue, struct fair_entry *entry);
/* The next entry by turn, removed; NULL when empty. */
struct fair_entry *fair_queue_pop(struct fair_queue *queue);
void fair_queue_remove(struct fair_queue *queue, struct fair_entry *entry);

size_t fair_queue_count(const struct fair_queue *queue);
int64_t fair_queue_cost_us(const struct fair_queue *queue); /* sum of all entries */

#endif
