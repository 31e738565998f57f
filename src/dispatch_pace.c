/* SPDX-License-Identifier: MIT */
/* How close together jobs start while customers wait that ask for more than their part. Jobs that last alike and started together end together, for ever if each
 * is followed at once by another; and whoever comes in between waits for nearly as long as a job takes. So the greedy ones' jobs start a little further apart
 * than jobs end, all starts counted: then the ends are spread, and mostly one converter is idle. How much further follows what was given away of late. */
#include "dispatch_parts.h"

enum {
    SHORT_US = 20 * 1000, /* jobs that take less end often enough */
    MANY_PERCENT = 20,    /* of the converters are many for one customer */
    OVER_PERCENT = 150,   /* of an even part are too many */
    /* Between two starts, of the time between two ends: when all is left that may be given away, and when nothing is. So a service time that is not
     * quite known does no harm. */
    SLOWEST_PERCENT = 104,
    QUICKEST_PERCENT = 94,
    GIVEN_PERCENT = 3,              /* of the converters' time may be given away at most */
    GIVEN_AT_ONCE = 25,             /* percent of all converters' time while one job lasts */
    STARTS_MADE_UP = 4,             /* when there was no converter to start on in time */
    STEP_MOST_US = 10 * 1000 * 1000 /* of time, that counts at once */
};

static const int64_t ns_per_us = 1000;

void pace_submit(struct dispatch *d, uint64_t customer)
{
    struct pace *p = &d->pace;

    if (p->submitted && customer != p->customer)
        p->mixed_us = d->now_us;
    p->submitted = true;
    p->customer = customer;
}

/* What may be given away at once. */
static int64_t given_most(const struct pace *p)
{
    return (int64_t)p->slots * p->service_us * GIVEN_AT_ONCE;
}

void pace_elapse(struct dispatch *d, int64_t now_us)
{
    struct pace *p = &d->pace;
    int64_t past_us = max_i64(min_i64(now_us - d->now_us, STEP_MOST_US), 0);
    int64_t earned = (int64_t)p->slots * GIVEN_PERCENT, spent = (int64_t)p->idle * 100;

    /* What was lost by a pause of our own is not made up for longer than what is given on purpose. */
    p->spare = max_i64(min_i64(p->spare + past_us * (earned - spent), given_most(p)), -given_most(p));
    p->idle = 0;
}

/* Workers whose pace is not known yet are taken to be like the others. */
static void learn(struct pace *p, const struct fleet *fleet)
{
    bool first = p->interval_ns == 0;

    p->slots = fleet->slots;
    p->interval_ns = 0;
    if (fleet->paced_slots == 0)
        return;
    double per_us = fleet->ends_per_us * (double)fleet->slots / (double)fleet->paced_slots;
    p->service_us = (int64_t)((double)fleet->slots / per_us);
    if (first)
        p->spare = given_most(p);
    double left = (double)max_i64(p->spare, 0) / (double)(given_most(p) + 1);
    double percent = QUICKEST_PERCENT + (SLOWEST_PERCENT - QUICKEST_PERCENT) * left;
    p->interval_ns = 1 + (int64_t)((double)ns_per_us * percent / 100 / per_us);
}

/* A customer is held back that has many converters, and more than its even part of those in use, one part being kept for who may come. Large jobs have
 * bounds of their own. */
static bool lets_go(void *arg, uint64_t customer, enum lane lane)
{
    const struct dispatch *d = arg;
    uint64_t held = shares_held(d->out, customer), in_use = 0, parts = shares_customers(d->out) + 1;

    for (int i = 0; i < LANES; i++)
        in_use += d->sent_of[i];
    return lane == LANE_LARGE || held * 100 < d->pace.slots * MANY_PERCENT ||
           held * parts * 100 < in_use * OVER_PERCENT;
}

/* Whether customers are to be held back at all. */
static bool is_on(const struct dispatch *d)
{
    const struct pace *p = &d->pace;

    return p->interval_ns > 0 && p->service_us >= SHORT_US && p->mixed_us > 0 &&
           d->now_us - p->mixed_us < DISPATCH_OTHERS_US;
}

struct fair_entry *pace_pop(struct dispatch *d, const struct fleet *fleet, unsigned open)
{
    struct pace *p = &d->pace;

    learn(p, fleet);
    /* What a worker would only keep waiting is held back whatever was given away: it costs nothing. */
    bool early = p->spare > 0 && d->now_us * ns_per_us < p->next_ns;
    if (!is_on(d) || (fleet->idle > 0 && !early))
        return fair_queue_pop(d->queue, open);
    const struct fair_rule rule = {lets_go, d};
    struct fair_entry *entry = fair_queue_pop_by(d->queue, open, &rule);
    if (!entry && open != 0) {
        size_t waiting = fair_queue_count(d->queue);
        p->idle = fleet->idle < waiting ? fleet->idle : waiting;
    }
    return entry;
}

void pace_sent(struct dispatch *d)
{
    struct pace *p = &d->pace;
    int64_t now_ns = d->now_us * ns_per_us;
    int64_t next_ns = max_i64(p->next_ns, now_ns - STARTS_MADE_UP * p->interval_ns) + p->interval_ns;
    int64_t most_ns = max_i64((int64_t)p->slots * p->interval_ns * GIVEN_AT_ONCE / 100, p->interval_ns);

    /* All starts are counted, also those at times when nobody is held back: then they may be closer for hours. */
    p->next_ns = min_i64(next_ns, now_ns + most_ns);
}

int64_t pace_next_us(const struct dispatch *d)
{
    return d->pace.idle > 0 ? (d->pace.next_ns + ns_per_us - 1) / ns_per_us : INT64_MAX;
}
