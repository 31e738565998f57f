/* SPDX-License-Identifier: MIT */
/* A bounded queue of jobs in two lanes: FIFO within a customer and lane, deficit round robin across the customers of a lane by estimated cost, and by cost
 * and weight between the lanes. Pure. */
#ifndef CAVAGE_FAIR_QUEUE_H
#define CAVAGE_FAIR_QUEUE_H

#include "cavage/lane.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fair_queue;

/* An intrusive entry; its memory belongs to the caller and must stay in place while queued. */
struct fair_entry {
    uint64_t customer; /* any stable number; entries of one number and lane are FIFO */
    enum lane lane;
    int64_t cost_us; /* estimated CPU, > 0; must not change while queued */
    struct fair_entry *prev, *next;
    struct fair_flow *flow; /* NULL while not queued */
};

struct fair_queue_config {
    bool fifo;               /* strict arrival order instead; lanes are of no account */
    size_t max_entries;      /* of all customers, > 0 */
    size_t max_per_customer; /* in both lanes, > 0 */
    size_t max_returns;      /* entries beyond max_entries that push_head may add; the caller keeps to it */
    int64_t quantum_us; /* added to a flow's deficit at its turn, > 0; but no more than the mean cost in its lane, so
                              * that nobody's cheap jobs come in long rows */
    unsigned
        large_percent; /* of the cost that is popped while both lanes wait, the large one's; 0: only when the other is empty. < 100 */
};

/* All memory is taken here. ERR_NOMEM, ERR_RANGE. */
int fair_queue_new(const struct fair_queue_config *config, struct fair_queue **out);
void fair_queue_free(struct fair_queue *queue);

/* Append. ERR_FULL at max_entries, ERR_RANGE at max_per_customer, ERR_INVALID for a cost that is not positive, or over 10^12. */
int fair_queue_push(struct fair_queue *queue, struct fair_entry *entry);
/* Put back what was popped, before everything of its customer and lane, whatever the bounds say; its customer's turn comes next, and its cost is
 * given back to it and to its lane. To return several in their order, begin with the last. */
void fair_queue_push_head(struct fair_queue *queue, struct fair_entry *entry);
enum {
    FAIR_LANE_SMALL = 1U << LANE_SMALL,
    FAIR_LANE_LARGE = 1U << LANE_LARGE,
    FAIR_LANES_ALL = FAIR_LANE_SMALL | FAIR_LANE_LARGE
};

/* The next entry by turn of the lanes that are open (a set of FAIR_LANE_...), removed; NULL when they are empty. A lane that is closed or empty is owed nothing
 * for what the other one gets meanwhile. In fifo the next entry whatever its lane, if any is open. */
struct fair_entry *fair_queue_pop(struct fair_queue *queue, unsigned open);

/* Who is held back. Asked when a customer has the turn, but not while it lives on turns it has saved, because it asked for less than its part of late. */
struct fair_rule {
    bool (*lets_go)(void *arg, uint64_t customer, enum lane lane);
    void *arg;
};
/* The same by a rule, NULL: by none. A customer that it does not let go keeps its turn; another one of its lane goes in its place, and has so much less at its
 * own turns. In fifo nobody is held back. */
struct fair_entry *fair_queue_pop_by(struct fair_queue *queue, unsigned open, const struct fair_rule *rule);

void fair_queue_remove(struct fair_queue *queue, struct fair_entry *entry);

size_t fair_queue_count(const struct fair_queue *queue);
size_t fair_queue_lane_count(const struct fair_queue *queue, enum lane lane); /* in fifo all are small */
int64_t fair_queue_cost_us(const struct fair_queue *queue);                   /* sum of all entries */

#endif
