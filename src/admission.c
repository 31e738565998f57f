/* SPDX-License-Identifier: MIT */
/* The books of the work that waits and of what was sent of late, by customer and lane. What is forecast from them is in admission_forecast.c. */
#include "admission_parts.h"

#include "cavage/err.h"

#include <stdlib.h>

int admission_books_new(const struct admission_config *config, struct admission_books **out)
{
    if (config->jobs_max == 0 || config->jobs_max > SIZE_MAX / 8 / sizeof(struct account) ||
        config->large_percent >= 100)
        return ERR_RANGE;
    for (size_t lane = 0; lane < LANES; lane++)
        if (config->target_us[lane] <= 0)
            return ERR_RANGE;
    struct admission_books *b = calloc(1, sizeof(*b));
    if (!b)
        return ERR_NOMEM;
    b->config = *config;
    b->slots_milli = 1000;
    size_t count = 2;
    while (count < 2 * (config->jobs_max + RECENT_MAX))
        count <<= 1;
    b->mask = count - 1;
    b->accounts = calloc(count, sizeof(*b->accounts));
    b->recent = calloc(RECENT_MAX, sizeof(*b->recent));
    if (!b->accounts || !b->recent) {
        admission_books_free(b);
        return ERR_NOMEM;
    }
    *out = b;
    return ERR_OK;
}

void admission_books_free(struct admission_books *b)
{
    if (!b)
        return;
    free(b->accounts);
    free(b->recent);
    free(b);
}

void admission_set_capacity(struct admission_books *b, uint64_t slots_milli, unsigned idle)
{
    if (slots_milli > 0)
        b->slots_milli = slots_milli;
    b->within_reach = b->sent[LANE_SMALL] + b->sent[LANE_LARGE] + idle;
}

/* ---- Accounts ---- */

static size_t home_of(const struct admission_books *b, uint64_t customer)
{
    return (size_t)((customer * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & b->mask;
}

static bool account_used(const struct account *a)
{
    return a->jobs > 0 || a->in[LANE_SMALL].recent_us > 0 || a->in[LANE_LARGE].recent_us > 0;
}

struct account *account_find(const struct admission_books *b, uint64_t customer)
{
    size_t i = home_of(b, customer);
    while (account_used(&b->accounts[i]) && b->accounts[i].customer != customer)
        i = (i + 1) & b->mask;
    return &b->accounts[i];
}

/* An account that may have become unused: close the gap that it leaves, so that probing still finds those behind it. */
static void account_settle(struct admission_books *b, struct account *a)
{
    if (account_used(a))
        return;
    size_t i = (size_t)(a - b->accounts);
    for (size_t k = (i + 1) & b->mask; account_used(&b->accounts[k]); k = (k + 1) & b->mask) {
        size_t home = home_of(b, b->accounts[k].customer);
        if (((k - home) & b->mask) >= ((k - i) & b->mask)) {
            b->accounts[i] = b->accounts[k];
            i = k;
        }
    }
    b->accounts[i] = (struct account){0};
}

/* The time up to now in which something waited counts, and of that the last second or two. */
static void standing_pass_time(const struct admission_books *b, struct standing *s)
{
    if (s->waiting_us == 0)
        return;
    s->behind_us += max_i64(0, b->seen_us - s->since_us);
    s->since_us = b->seen_us;
    if (s->behind_us > recent_for_us) {
        s->behind_us /= 2;
        s->got_us /= 2;
    }
}

static void change_waiting(struct admission_books *b, const struct admission_job *job, int64_t delta_us)
{
    enum lane lane = lane_in(b, job);
    struct account *a = account_find(b, customer_in(b, job));
    struct standing *s = &a->in[lane];
    int64_t before_us = s->waiting_us;

    a->customer = customer_in(b, job);
    standing_pass_time(b, s);
    s->waiting_us += delta_us;
    if (before_us == 0 || s->waiting_us == 0)
        s->since_us = b->seen_us;
    levels_change(&b->waiting_of[lane], before_us, s->waiting_us);
    b->waiting_us[lane] += delta_us;
    if (delta_us > 0) {
        a->jobs++;
        b->waiting[lane]++;
        return;
    }
    b->waiting[lane]--;
    a->jobs--;
    account_settle(b, a);
}

/* ---- What was sent of late ---- */

static void change_recent(struct admission_books *b, const struct recent *r, int sign)
{
    struct account *a = account_find(b, r->customer);
    struct standing *s = &a->in[r->lane];
    int64_t before_us = s->recent_us, delta_us = sign * r->cost_us;

    a->customer = r->customer;
    s->recent_us += delta_us;
    levels_change(&b->recent_of[r->lane], before_us, s->recent_us);
    b->recent_us[r->lane] += delta_us;
    for (size_t i = 0; i < LANES; i++)
        b->spare_us[i] += sign * r->spare_us[i];
    account_settle(b, a);
}

static void recent_drop(struct admission_books *b)
{
    change_recent(b, &b->recent[b->recent_first], -1);
    b->recent_first = (b->recent_first + 1) % RECENT_MAX;
    b->recent_count--;
}

static void recent_add(struct admission_books *b, const struct admission_job *job)
{
    if (b->recent_count == RECENT_MAX)
        recent_drop(b);
    struct recent *r = &b->recent[(b->recent_first + b->recent_count++) % RECENT_MAX];
    *r = (struct recent){
        .sent_us = b->seen_us, .customer = customer_in(b, job), .lane = lane_in(b, job), .cost_us = cost_of(job)};
    for (size_t i = 0; i < LANES; i++) {
        r->spare_us[i] = b->spare_now_us[i];
        b->spare_now_us[i] = 0;
    }
    change_recent(b, r, 1);
}

/* The part of the converters that could be a lane's and is not: they have nothing to do, or the other lane has more of them than its part. */
static double spare_part(const struct admission_books *b, enum lane lane)
{
    double converters = (double)b->slots_milli / 1000, others = (double)b->sent[other_than(lane)];
    double due = converters * percent_of(b, other_than(lane)) / 100;
    double taken = (double)b->sent[lane] + (others < due ? others : due);
    return taken < converters ? 1 - taken / converters : 0;
}

void books_pass_time(struct admission_books *b, int64_t now_us)
{
    /* Before all that is known, there was nothing to do. */
    int64_t past_us = b->began ? min_i64(now_us - b->seen_us, recent_for_us) : recent_for_us;
    for (int i = 0; i < LANES && past_us > 0; i++) {
        enum lane lane = (enum lane)i;
        b->spare_now_us[lane] =
            min_i64(b->spare_now_us[lane] + (int64_t)((double)past_us * spare_part(b, lane)), recent_for_us);
    }
    b->began = true;
    b->seen_us = now_us;
    while (b->recent_count > 0 && now_us - b->recent[b->recent_first].sent_us >= recent_for_us)
        recent_drop(b);
}

/* ---- The way of a job ---- */

int admission_queue(struct admission_books *b, int64_t now_us, const struct admission_job *job)
{
    if (b->jobs == b->config.jobs_max)
        return ERR_FULL;
    books_pass_time(b, now_us);
    b->jobs++;
    change_waiting(b, job, cost_of(job));
    return ERR_OK;
}

void admission_unqueue(struct admission_books *b, int64_t now_us, const struct admission_job *job)
{
    books_pass_time(b, now_us);
    change_waiting(b, job, -cost_of(job));
    b->jobs--;
}

void admission_send(struct admission_books *b, int64_t now_us, const struct admission_job *job)
{
    books_pass_time(b, now_us);
    recent_add(b, job);
    account_find(b, customer_in(b, job))->in[lane_in(b, job)].got_us += cost_of(job);
    change_waiting(b, job, -cost_of(job));
    b->sent[lane_in(b, job)]++;
    b->sent_us[lane_in(b, job)] += cost_of(job);
}

void admission_unsend(struct admission_books *b, int64_t now_us, const struct admission_job *job)
{
    books_pass_time(b, now_us);
    b->sent[lane_in(b, job)]--;
    b->sent_us[lane_in(b, job)] -= cost_of(job);
    change_waiting(b, job, cost_of(job));
}

void admission_end(struct admission_books *b, int64_t now_us, const struct admission_job *job, int64_t service_us,
                   int64_t cost_us)
{
    books_pass_time(b, now_us);
    b->sent[lane_in(b, job)]--;
    b->sent_us[lane_in(b, job)] -= cost_of(job);
    b->jobs--;
    if (service_us > 0)
        service_times_learn(&b->service[lane_in(b, job)], max_i64(1, min_i64(cost_us, cost_max_us)),
                            min_i64(service_us, cost_max_us));
}
