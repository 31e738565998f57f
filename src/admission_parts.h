/* SPDX-License-Identifier: MIT */
/* What the books and the forecast share. */
#ifndef CAVAGE_ADMISSION_PARTS_H
#define CAVAGE_ADMISSION_PARTS_H

#include "cavage/admission.h"

#include "levels.h"
#include "minmax.h"
#include "service_times.h"

enum { RECENT_MAX = 4096 }; /* jobs sent in the last second that are remembered */

static const int64_t cost_max_us = 1000000000000;
static const int64_t recent_for_us = 1000 * 1000;

/* One customer in a lane. */
struct standing {
    int64_t waiting_us; /* cost of what waits */
    int64_t recent_us;  /* of what was sent in the last second */
    int64_t since_us;   /* nothing waits since then; or something does, and up to then that is in behind_us */
    /* Of late: how long something waited, and the cost of what was sent meanwhile. Their quotient is the rate that the customer really has. */
    int64_t behind_us, got_us;
};

/* One customer. In the table while it has jobs waiting or among the recent ones. */
struct account {
    uint64_t customer;
    size_t jobs;
    struct standing in[LANES];
};

/* A job that was sent. */
struct recent {
    int64_t sent_us;
    uint64_t customer;
    enum lane lane;
    int64_t cost_us;
    int64_t spare_us[LANES]; /* see spare_us below: since the job before it was sent */
};

struct admission_books {
    struct admission_config config;
    uint64_t slots_milli;
    size_t within_reach; /* jobs that were at converters of their own, and idle converters, when that was told last */
    size_t mask;
    struct account *accounts; /* a power of two of them, at most half of them used; open addressing, linear probing */
    size_t jobs;              /* waiting and sent */
    struct levels waiting_of[LANES];
    size_t waiting[LANES];
    int64_t waiting_us[LANES];
    size_t sent[LANES];
    int64_t sent_us[LANES];
    struct recent *recent; /* ring */
    size_t recent_first, recent_count;
    struct levels recent_of[LANES];
    int64_t recent_us[LANES];
    bool began; /* seen_us is known */
    int64_t seen_us;
    /* Time for which all converters could have been a lane's, but were not: since the last job was sent, and in the time of the recent ones. */
    int64_t spare_now_us[LANES], spare_us[LANES];
    struct service_times service[LANES];
};

static inline int64_t cost_of(const struct admission_job *job)
{
    return max_i64(1, min_i64(job->cost_us, cost_max_us));
}

static inline enum lane other_than(enum lane lane)
{
    return lane == LANE_SMALL ? LANE_LARGE : LANE_SMALL;
}

static inline enum lane lane_in(const struct admission_books *b, const struct admission_job *job)
{
    return b->config.fifo || job->lane != LANE_LARGE ? LANE_SMALL : LANE_LARGE;
}

/* A lane's part of the converters while both want more than theirs, in percent. */
static inline unsigned percent_of(const struct admission_books *b, enum lane lane)
{
    return lane == LANE_LARGE ? b->config.large_percent : 100 - b->config.large_percent;
}

/* In fifo all customers are one. */
static inline uint64_t customer_in(const struct admission_books *b, const struct admission_job *job)
{
    return b->config.fifo ? 0 : job->customer;
}

/* The customer's account, or the free one, all zero, where it belongs. */
struct account *account_find(const struct admission_books *b, uint64_t customer);
/* Time passes. */
void books_pass_time(struct admission_books *b, int64_t now_us);

#endif
