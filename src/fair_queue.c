/* SPDX-License-Identifier: MIT */
/* Deficit round robin over the customers that have entries in a lane and weights between the lanes, or one list in order of arrival. */
#include "cavage/fair_queue.h"

#include "cavage/err.h"

#include <stdlib.h>

/* Bounds that keep all sums of costs and deficits far from overflow: eleven days, and as much for a hundred entries. */
static const int64_t cost_max_us = 1000000000000;
static const int64_t lead_max = 100 * 100 * INT64_C(1000000000000);

struct entry_list {
    struct fair_entry *first, *last;
};

/* Turns that a customer has saved up when it comes, and at most. */
enum { SAVED_MAX = 8 };

/* One customer in a lane: in one of its lists while it has entries, and for SAVED_MAX rounds longer. */
struct fair_flow {
    uint64_t customer;
    enum lane lane;
    bool fresh;         /* in the list of those that live on what they have saved */
    bool paid;          /* it got its quantum in this turn */
    unsigned saved;     /* turns of rounds in which it had no entries, 0 .. SAVED_MAX */
    int64_t deficit_us; /* what it may still spend at its turn */
    size_t count;
    struct entry_list entries; /* unused in fifo mode */
    struct fair_flow *prev, *next;
    struct fair_flow *chain; /* next in its bucket, or next free one */
};

struct flow_list {
    struct fair_flow *first, *last;
};

/* The first of the fresh flows has the turn, or of the others when none is fresh. A flow without entries saves its turns, and spends them when it has some
 * again: so who asks for less than its part goes before those who ask for more, up to a burst of SAVED_MAX turns, and nobody gets more than its part. */
struct fair_lane {
    size_t count;
    int64_t cost_us;
    struct flow_list fresh, others;
    size_t flow_count;
};

struct fair_queue {
    struct fair_queue_config config;
    struct entry_list arrivals; /* fifo mode only */
    struct fair_lane lanes[LANES];
    /* What the small lane got beyond its weight beside the large one: its cost times the other's weight, less the same of the large one. */
    int64_t lead;
    struct fair_flow *free_flows;
    struct fair_flow *flows; /* twice as many as can have entries */
    size_t idle_count;       /* flows without entries that stay */
    struct fair_flow **buckets;
    size_t bucket_mask;
};

int fair_queue_new(const struct fair_queue_config *config, struct fair_queue **out)
{
    const size_t limit = SIZE_MAX / 8 / sizeof(struct fair_flow);
    if (config->max_entries == 0 || config->max_entries > limit / 2 || config->max_returns > limit / 2 ||
        config->max_per_customer == 0 || config->quantum_us <= 0 || config->quantum_us > cost_max_us ||
        config->large_percent >= 100)
        return ERR_RANGE;

    size_t flows = 2 * (config->max_entries + config->max_returns);
    size_t buckets = 1;
    while (buckets < flows)
        buckets *= 2;

    struct fair_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return ERR_NOMEM;
    queue->config = *config;
    queue->bucket_mask = buckets - 1;
    queue->flows = calloc(flows, sizeof queue->flows[0]);
    queue->buckets = calloc(buckets, sizeof(struct fair_flow *));
    if (!queue->flows || !queue->buckets) {
        fair_queue_free(queue);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < flows; i++) {
        queue->flows[i].chain = queue->free_flows;
        queue->free_flows = &queue->flows[i];
    }
    *out = queue;
    return ERR_OK;
}

void fair_queue_free(struct fair_queue *queue)
{
    if (!queue)
        return;
    free(queue->flows);
    free(queue->buckets);
    free(queue);
}

static struct fair_flow **bucket_of(struct fair_queue *queue, uint64_t customer)
{
    uint64_t h = customer * 0x9e3779b97f4a7c15u;
    return &queue->buckets[(h ^ h >> 32) & queue->bucket_mask];
}

static enum lane lane_in(const struct fair_queue *queue, const struct fair_entry *entry)
{
    return queue->config.fifo || entry->lane != LANE_LARGE ? LANE_SMALL : LANE_LARGE;
}

static struct fair_lane *lane_of_flow(struct fair_queue *queue, const struct fair_flow *flow)
{
    return &queue->lanes[flow->lane];
}

static struct fair_flow *flow_find(struct fair_queue *queue, uint64_t customer, enum lane lane)
{
    struct fair_flow *flow = *bucket_of(queue, customer);
    while (flow && (flow->customer != customer || flow->lane != lane))
        flow = flow->chain;
    return flow;
}

static struct flow_list *list_in(struct fair_queue *queue, const struct fair_flow *flow)
{
    struct fair_lane *lane = lane_of_flow(queue, flow);
    return flow->fresh ? &lane->fresh : &lane->others;
}

static void flow_leave(struct fair_queue *queue, struct fair_flow *flow)
{
    struct flow_list *list = list_in(queue, flow);
    if (flow->prev)
        flow->prev->next = flow->next;
    else
        list->first = flow->next;
    if (flow->next)
        flow->next->prev = flow->prev;
    else
        list->last = flow->prev;
}

static void flow_append(struct fair_queue *queue, struct fair_flow *flow, bool fresh)
{
    flow->fresh = fresh;
    flow->paid = false;
    struct flow_list *list = list_in(queue, flow);
    flow->next = NULL;
    flow->prev = list->last;
    if (list->last)
        list->last->next = flow;
    else
        list->first = flow;
    list->last = flow;
}

/* It has the turn, and what it is to spend. */
static void flow_prepend(struct fair_queue *queue, struct fair_flow *flow)
{
    flow->fresh = true;
    flow->paid = true;
    struct flow_list *list = list_in(queue, flow);
    flow->prev = NULL;
    flow->next = list->first;
    if (list->first)
        list->first->prev = flow;
    else
        list->last = flow;
    list->first = flow;
}

/* Flows suffice: each has an entry, or is one of as many idle ones at most. */
static struct fair_flow *flow_make(struct fair_queue *queue, uint64_t customer, enum lane lane)
{
    struct fair_flow *flow = queue->free_flows;
    struct fair_flow **bucket = bucket_of(queue, customer);

    queue->free_flows = flow->chain;
    *flow = (struct fair_flow){.customer = customer, .lane = lane, .saved = SAVED_MAX, .chain = *bucket};
    *bucket = flow;
    queue->lanes[lane].flow_count++;
    flow_append(queue, flow, true);
    return flow;
}

static void flow_drop(struct fair_queue *queue, struct fair_flow *flow)
{
    struct fair_flow **at = bucket_of(queue, flow->customer);
    while (*at != flow)
        at = &(*at)->chain;
    *at = flow->chain;
    flow_leave(queue, flow);
    lane_of_flow(queue, flow)->flow_count--;
    flow->chain = queue->free_flows;
    queue->free_flows = flow;
}

static void flow_move(struct fair_queue *queue, struct fair_flow *flow, bool fresh)
{
    flow_leave(queue, flow);
    flow_append(queue, flow, fresh);
}

/* What is left of its deficit is gone; what it saves from here on is counted in turns. */
static void flow_run_empty(struct fair_queue *queue, struct fair_flow *flow)
{
    size_t most = queue->config.max_entries + queue->config.max_returns;
    if (lane_of_flow(queue, flow)->count == 0 || queue->idle_count == most) {
        flow_drop(queue, flow);
        return;
    }
    flow->deficit_us = 0;
    queue->idle_count++;
    flow_move(queue, flow, false);
}

/* Its turn came, and it had no entry. One that has saved all it can is like one that was never there. */
static void flow_save(struct fair_queue *queue, struct fair_flow *flow)
{
    if (++flow->saved < SAVED_MAX) {
        flow_move(queue, flow, false);
        return;
    }
    queue->idle_count--;
    flow_drop(queue, flow);
}

static struct entry_list *list_of(struct fair_queue *queue, struct fair_flow *flow)
{
    return queue->config.fifo ? &queue->arrivals : &flow->entries;
}

static void account(struct fair_queue *queue, struct fair_flow *flow, struct fair_entry *entry)
{
    entry->flow = flow;
    flow->count++;
    lane_of_flow(queue, flow)->count++;
    lane_of_flow(queue, flow)->cost_us += entry->cost_us;
}

/* The flow that an entry goes to. */
static struct fair_flow *flow_wake(struct fair_queue *queue, uint64_t customer, enum lane lane)
{
    struct fair_flow *flow = flow_find(queue, customer, lane);
    if (!flow)
        return flow_make(queue, customer, lane);
    if (flow->count == 0) {
        queue->idle_count--;
        if (flow->saved > 0)
            flow_move(queue, flow, true);
    }
    return flow;
}

static size_t count_of(struct fair_queue *queue, uint64_t customer)
{
    size_t count = 0;
    for (int lane = 0; lane < LANES; lane++) {
        const struct fair_flow *flow = flow_find(queue, customer, (enum lane)lane);
        count += flow ? flow->count : 0;
    }
    return count;
}

int fair_queue_push(struct fair_queue *queue, struct fair_entry *entry)
{
    if (entry->cost_us <= 0 || entry->cost_us > cost_max_us)
        return ERR_INVALID;
    if (fair_queue_count(queue) >= queue->config.max_entries)
        return ERR_FULL;
    if (count_of(queue, entry->customer) >= queue->config.max_per_customer)
        return ERR_RANGE;
    enum lane lane = lane_in(queue, entry);
    struct fair_flow *flow = flow_wake(queue, entry->customer, lane);

    struct entry_list *list = list_of(queue, flow);
    entry->next = NULL;
    entry->prev = list->last;
    if (list->last)
        list->last->next = entry;
    else
        list->first = entry;
    list->last = entry;
    account(queue, flow, entry);
    return ERR_OK;
}

static int64_t bounded(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : (x > high ? high : x);
}

/* What a cost counts for in `lead`. */
static int64_t weigh(const struct fair_queue *queue, enum lane lane, int64_t cost_us)
{
    int64_t large = queue->config.large_percent;
    return lane == LANE_SMALL ? cost_us * large : -cost_us * (100 - large);
}

void fair_queue_push_head(struct fair_queue *queue, struct fair_entry *entry)
{
    enum lane in = lane_in(queue, entry);
    struct fair_flow *flow = flow_wake(queue, entry->customer, in);
    flow_leave(queue, flow);
    flow_prepend(queue, flow);
    flow->deficit_us += entry->cost_us;
    queue->lead = bounded(queue->lead - weigh(queue, in, entry->cost_us), -lead_max, lead_max);

    struct entry_list *list = list_of(queue, flow);
    entry->prev = NULL;
    entry->next = list->first;
    if (list->first)
        list->first->prev = entry;
    else
        list->last = entry;
    list->first = entry;
    account(queue, flow, entry);
}

void fair_queue_remove(struct fair_queue *queue, struct fair_entry *entry)
{
    struct fair_flow *flow = entry->flow;
    struct fair_lane *lane = lane_of_flow(queue, flow);
    struct entry_list *list = list_of(queue, flow);

    if (entry->prev)
        entry->prev->next = entry->next;
    else
        list->first = entry->next;
    if (entry->next)
        entry->next->prev = entry->prev;
    else
        list->last = entry->prev;
    entry->prev = entry->next = NULL;
    entry->flow = NULL;
    lane->count--;
    lane->cost_us -= entry->cost_us;
    if (--flow->count == 0)
        flow_run_empty(queue, flow);
}

static bool flow_can_pay(const struct fair_flow *flow)
{
    return flow->deficit_us >= flow->entries.first->cost_us;
}

static int64_t rounds_lacking(const struct fair_flow *flow, int64_t quantum_us)
{
    if (flow->count == 0)
        return INT64_MAX;
    int64_t lacking_us = flow->entries.first->cost_us - flow->deficit_us;
    return lacking_us <= 0 ? 0 : (lacking_us - 1) / quantum_us + 1;
}

/* Nobody could pay: give every flow the rounds after which the first of them can, so that dear entries do not cost a loop for each quantum. */
static void skip_rounds(const struct fair_lane *lane, int64_t quantum_us)
{
    int64_t rounds = INT64_MAX;
    for (const struct fair_flow *flow = lane->others.first; flow; flow = flow->next) {
        int64_t need = rounds_lacking(flow, quantum_us);
        rounds = need < rounds ? need : rounds;
    }
    /* The last round is the one that lane_next walks itself. */
    for (struct fair_flow *flow = lane->others.first; flow && rounds > 1; flow = flow->next) {
        if (flow->count > 0)
            flow->deficit_us += (rounds - 1) * quantum_us;
        else
            flow->saved = rounds < SAVED_MAX - flow->saved ? flow->saved + (unsigned)rounds - 1 : SAVED_MAX - 1;
    }
}

static int64_t quantum_of(const struct fair_queue *queue, const struct fair_lane *lane)
{
    int64_t mean_us = lane->cost_us / (int64_t)lane->count;
    return mean_us < queue->config.quantum_us ? mean_us : queue->config.quantum_us;
}

/* A flow with entries has the turn: it gets its quantum, if it has not, or a turn that it has saved. False: it has none saved. */
static bool flow_pay(struct fair_flow *flow, int64_t quantum_us)
{
    if (flow->paid)
        return true;
    if (flow->fresh && flow->saved == 0)
        return false;
    flow->saved -= flow->fresh;
    flow->deficit_us += quantum_us;
    flow->paid = true;
    return true;
}

static bool flow_may_go(const struct fair_flow *flow, const struct fair_rule *rule)
{
    return !rule || flow->fresh || rule->lets_go(rule->arg, flow->customer, flow->lane);
}

/* The flow that has the turn and can pay, or in its place the first that the rule lets go: it pays later. NULL: there is none. */
static struct fair_flow *flow_let_go(const struct fair_lane *lane, struct fair_flow *flow, const struct fair_rule *rule)
{
    if (flow_may_go(flow, rule))
        return flow;
    flow = lane->others.first;
    while (flow && (flow->count == 0 || !flow_may_go(flow, rule)))
        flow = flow->next;
    return flow;
}

/* The entry of a lane whose turn it is; the lane is not empty. NULL when the rule lets none go. */
static struct fair_entry *lane_next(struct fair_queue *queue, struct fair_lane *lane, const struct fair_rule *rule)
{
    int64_t quantum_us = quantum_of(queue, lane);
    for (size_t passed = 0;; passed++) {
        if (!lane->fresh.first && passed > lane->flow_count) {
            skip_rounds(lane, quantum_us);
            passed = 0;
        }
        struct fair_flow *flow = lane->fresh.first ? lane->fresh.first : lane->others.first;
        if (flow->count == 0) {
            flow_save(queue, flow);
            continue;
        }
        bool paid = flow_pay(flow, quantum_us);
        if (paid && flow_can_pay(flow)) {
            flow = flow_let_go(lane, flow, rule);
            if (!flow)
                return NULL;
            flow->deficit_us -= flow->entries.first->cost_us;
            return flow->entries.first;
        }
        flow_move(queue, flow, paid && flow->fresh);
    }
}

static struct fair_entry *pop_arrival(struct fair_queue *queue, unsigned open)
{
    struct fair_entry *entry = open ? queue->arrivals.first : NULL;
    if (entry)
        fair_queue_remove(queue, entry);
    return entry;
}

static struct fair_entry *pop_turn(struct fair_queue *queue, unsigned open, const struct fair_rule *rule)
{
    for (;;) {
        bool small = queue->lanes[LANE_SMALL].count > 0 && (open & FAIR_LANE_SMALL);
        bool large = queue->lanes[LANE_LARGE].count > 0 && (open & FAIR_LANE_LARGE);
        if (!small && !large)
            return NULL;
        enum lane lane = small && (!large || queue->lead <= 0) ? LANE_SMALL : LANE_LARGE;
        struct fair_entry *entry = lane_next(queue, &queue->lanes[lane], rule);
        if (!entry) {
            open &= ~(1U << lane);
            continue;
        }
        queue->lead =
            bounded(queue->lead + weigh(queue, lane, entry->cost_us), small ? -lead_max : 0, large ? lead_max : 0);
        fair_queue_remove(queue, entry);
        return entry;
    }
}

struct fair_entry *fair_queue_pop(struct fair_queue *queue, unsigned open)
{
    return fair_queue_pop_by(queue, open, NULL);
}

struct fair_entry *fair_queue_pop_by(struct fair_queue *queue, unsigned open, const struct fair_rule *rule)
{
    return queue->config.fifo ? pop_arrival(queue, open) : pop_turn(queue, open, rule);
}

size_t fair_queue_count(const struct fair_queue *queue)
{
    return queue->lanes[LANE_SMALL].count + queue->lanes[LANE_LARGE].count;
}

size_t fair_queue_lane_count(const struct fair_queue *queue, enum lane lane)
{
    return queue->lanes[lane].count;
}

int64_t fair_queue_cost_us(const struct fair_queue *queue)
{
    return queue->lanes[LANE_SMALL].cost_us + queue->lanes[LANE_LARGE].cost_us;
}
