/* SPDX-License-Identifier: MIT */
/* The books of the work that waits, by customer and lane, and the forecast made of them. */
#include "cavage/admission.h"

#include "cavage/err.h"
#include "levels.h"
#include "service_times.h"

#include <stdlib.h>

enum { RECENT_MAX = 4096 }; /* jobs sent in the last second that are remembered */

static const int64_t cost_max_us = 1000000000000;
static const int64_t recent_for_us = 1000 * 1000;
static const double unsteadiness =
    1.5; /* of what others leave: how much longer a customer's own work takes in bad moments */

/* One customer. In the table while it has jobs waiting or among the recent ones. */
struct account {
    uint64_t customer;
    size_t jobs;
    int64_t waiting_us[LANES];
    int64_t recent_us[LANES]; /* of cost, sent in the last second */
};

/* A job that was sent. */
struct recent {
    int64_t sent_us;
    uint64_t customer;
    enum lane lane;
    int64_t cost_us;
};

struct admission_books {
    struct admission_config config;
    uint64_t slots_milli;
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
    struct service_times service[LANES];
};

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

void admission_set_capacity(struct admission_books *b, uint64_t slots_milli)
{
    if (slots_milli > 0)
        b->slots_milli = slots_milli;
}

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t cost_of(const struct admission_job *job)
{
    return max_i64(1, min_i64(job->cost_us, cost_max_us));
}

static enum lane lane_in(const struct admission_books *b, const struct admission_job *job)
{
    return b->config.fifo || job->lane != LANE_LARGE ? LANE_SMALL : LANE_LARGE;
}

/* In fifo all customers are one. */
static uint64_t customer_in(const struct admission_books *b, const struct admission_job *job)
{
    return b->config.fifo ? 0 : job->customer;
}

/* ---- Accounts ---- */

static size_t home_of(const struct admission_books *b, uint64_t customer)
{
    return (size_t)((customer * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & b->mask;
}

static bool account_used(const struct account *a)
{
    return a->jobs > 0 || a->recent_us[LANE_SMALL] > 0 || a->recent_us[LANE_LARGE] > 0;
}

/* The customer's account, or the free one where it belongs. */
static struct account *account_find(const struct admission_books *b, uint64_t customer)
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

static void change_waiting(struct admission_books *b, const struct admission_job *job, int sign)
{
    enum lane lane = lane_in(b, job);
    struct account *a = account_find(b, customer_in(b, job));
    int64_t before_us = a->waiting_us[lane], delta_us = sign * cost_of(job);

    a->customer = customer_in(b, job);
    a->waiting_us[lane] += delta_us;
    levels_change(&b->waiting_of[lane], before_us, a->waiting_us[lane]);
    b->waiting_us[lane] += delta_us;
    if (sign > 0) {
        a->jobs++;
        b->waiting[lane]++;
        return;
    }
    b->waiting[lane]--;
    a->jobs--;
    account_settle(b, a);
}

static void change_recent(struct admission_books *b, const struct recent *r, int sign)
{
    struct account *a = account_find(b, r->customer);
    int64_t before_us = a->recent_us[r->lane], delta_us = sign * r->cost_us;

    a->customer = r->customer;
    a->recent_us[r->lane] += delta_us;
    levels_change(&b->recent_of[r->lane], before_us, a->recent_us[r->lane]);
    b->recent_us[r->lane] += delta_us;
    account_settle(b, a);
}

static void recent_drop(struct admission_books *b)
{
    change_recent(b, &b->recent[b->recent_first], -1);
    b->recent_first = (b->recent_first + 1) % RECENT_MAX;
    b->recent_count--;
}

static void recent_age(struct admission_books *b, int64_t now_us)
{
    while (b->recent_count > 0 && now_us - b->recent[b->recent_first].sent_us >= recent_for_us)
        recent_drop(b);
}

static void recent_add(struct admission_books *b, int64_t now_us, const struct admission_job *job)
{
    recent_age(b, now_us);
    if (b->recent_count == RECENT_MAX)
        recent_drop(b);
    struct recent *r = &b->recent[(b->recent_first + b->recent_count++) % RECENT_MAX];
    *r = (struct recent){
        .sent_us = now_us, .customer = customer_in(b, job), .lane = lane_in(b, job), .cost_us = cost_of(job)};
    change_recent(b, r, 1);
}

int admission_queue(struct admission_books *b, const struct admission_job *job)
{
    if (b->jobs == b->config.jobs_max)
        return ERR_FULL;
    b->jobs++;
    change_waiting(b, job, 1);
    return ERR_OK;
}

void admission_unqueue(struct admission_books *b, const struct admission_job *job)
{
    change_waiting(b, job, -1);
    b->jobs--;
}

void admission_send(struct admission_books *b, int64_t now_us, const struct admission_job *job)
{
    recent_add(b, now_us, job);
    change_waiting(b, job, -1);
    b->sent[lane_in(b, job)]++;
    b->sent_us[lane_in(b, job)] += cost_of(job);
}

void admission_unsend(struct admission_books *b, const struct admission_job *job)
{
    b->sent[lane_in(b, job)]--;
    b->sent_us[lane_in(b, job)] -= cost_of(job);
    change_waiting(b, job, 1);
}

void admission_end(struct admission_books *b, const struct admission_job *job, int64_t service_us, int64_t cost_us)
{
    b->sent[lane_in(b, job)]--;
    b->sent_us[lane_in(b, job)] -= cost_of(job);
    b->jobs--;
    if (service_us > 0)
        service_times_learn(&b->service[lane_in(b, job)], max_i64(1, min_i64(cost_us, cost_max_us)),
                            min_i64(service_us, cost_max_us));
}

/* Time a converter needs for a µs of estimated cost in a lane; in a lane without conversions so far, that of the other one. */
static double stretch(const struct admission_books *b, enum lane lane)
{
    double own = service_times_stretch(&b->service[lane]);
    double other = service_times_stretch(&b->service[lane == LANE_SMALL ? LANE_LARGE : LANE_SMALL]);
    return own > 0 ? own : other > 0 ? other : 1;
}

/* ---- The forecast ---- */

/* Work of the other lane that is done meanwhile, by the lanes' weights. */
static double work_of_other(const struct admission_books *b, enum lane lane, double work_us)
{
    double large = b->config.large_percent, small = 100 - large;
    double waiting_us = (double)b->waiting_us[lane == LANE_SMALL ? LANE_LARGE : LANE_SMALL];
    double weighed_us =
        lane == LANE_SMALL ? work_us / small * large : (large > 0 ? work_us / large * small : waiting_us);
    return waiting_us < weighed_us ? waiting_us : weighed_us;
}

/* Until all that the workers hold beside what their converters are at has begun, since it goes before all that waits here, and one converter more is free. */
static double prefetched_us(const struct admission_books *b)
{
    double converters = (double)b->slots_milli / 1000, sent = (double)(b->sent[LANE_SMALL] + b->sent[LANE_LARGE]);
    if (sent < converters)
        return 0;
    double ends_per_us = 0;
    for (int i = 0; i < LANES; i++) {
        enum lane lane = (enum lane)i;
        double n = (double)b->sent[lane];
        ends_per_us += n > 0 ? n * n / ((double)b->sent_us[lane] * stretch(b, lane)) : 0;
    }
    return (sent - converters + 1) / (ends_per_us * converters / sent);
}

/* What all converters could have done in the time of the recent jobs, in estimated cost. */
static double capacity_us(const struct admission_books *b, enum lane lane, int64_t now_us)
{
    int64_t time_us = recent_for_us;
    if (b->recent_count == RECENT_MAX)
        time_us = max_i64(1, now_us - b->recent[b->recent_first].sent_us);
    return (double)time_us * (double)b->slots_milli / 1000 / stretch(b, lane);
}

/* What the lane could have done in that time, the other lane's part left out. */
static double capacity_of_lane(const struct admission_books *b, enum lane lane, double all_us)
{
    enum lane other = lane == LANE_SMALL ? LANE_LARGE : LANE_SMALL;
    unsigned percent = lane == LANE_SMALL ? b->config.large_percent : 100 - b->config.large_percent;
    double part_us = all_us * percent / 100;
    double used_us = (double)b->recent_us[other] * stretch(b, other) / stretch(b, lane);
    return all_us - (b->waiting[other] > 0 || used_us > part_us ? part_us : used_us);
}

/* What a customer would have got in that time if it had work without end, and others had gone on as they did. */
static double share_us(struct admission_books *b, enum lane lane, const struct account *a, double all_us)
{
    levels_change(&b->recent_of[lane], a->recent_us[lane], 0);
    int64_t share = levels_fair_share(&b->recent_of[lane], (int64_t)capacity_of_lane(b, lane, all_us));
    levels_change(&b->recent_of[lane], 0, a->recent_us[lane]);
    return (double)max_i64(1, share);
}

/* Work of the job's lane that goes before it. A turn of everybody's, which is the mean cost of what waits, and what its own customer has waiting. Who asks for
 * less than three quarters of its share has turns saved, and others get no more meanwhile than it does; who asks for more waits for its own work at the rate of its share. */
static double work_of_lane(struct admission_books *b, int64_t now_us, const struct admission_job *job)
{
    enum lane lane = lane_in(b, job);
    if (b->waiting[lane] == 0)
        return 0;
    if (b->config.fifo)
        return (double)b->waiting_us[lane];
    const struct account *a = account_find(b, customer_in(b, job));
    int64_t turn_us = max_i64(cost_of(job), b->waiting_us[lane] / (int64_t)b->waiting[lane]);
    int64_t own_us = a->waiting_us[lane];
    double all_us = capacity_us(b, lane, now_us), share = own_us > 0 ? share_us(b, lane, a, all_us) : 0;
    if (own_us == 0 || (double)(a->recent_us[lane] + own_us + cost_of(job)) <= share * 3 / 4)
        return (double)levels_sum_min(&b->waiting_of[lane], own_us + turn_us);
    return (double)own_us * all_us / share * unsteadiness +
           (double)(levels_sum_min(&b->waiting_of[lane], turn_us) - min_i64(own_us, turn_us));
}

static int64_t wait_us(struct admission_books *b, int64_t now_us, const struct admission_job *job)
{
    enum lane lane = lane_in(b, job), other = lane == LANE_SMALL ? LANE_LARGE : LANE_SMALL;
    double work_us = work_of_lane(b, now_us, job);
    double taken_us = stretch(b, lane) * work_us + stretch(b, other) * work_of_other(b, lane, work_us);
    double wait = taken_us * 1000 / (double)b->slots_milli + prefetched_us(b);
    return wait < (double)cost_max_us ? (int64_t)wait : cost_max_us;
}

void admission_judge(struct admission_books *b, int64_t now_us, const struct admission_job *job,
                     struct admission_forecast *out)
{
    enum lane lane = lane_in(b, job);
    int64_t target_us = b->config.target_us[lane];
    int64_t p99_us = b->service[lane].p99_us;

    recent_age(b, now_us);
    out->wait_us = wait_us(b, now_us, job);
    out->service_us = p99_us > 0 ? p99_us : (int64_t)((double)cost_of(job) * stretch(b, lane));
    int64_t most_us = max_i64(target_us - out->service_us, target_us / 4);
    out->admitted = out->wait_us == 0 || out->wait_us <= most_us;
    out->retry_us = out->admitted ? 0 : out->wait_us - most_us;
}

void admission_stats(struct admission_books *b, int64_t now_us, struct admission_stats *out)
{
    double taken_us = 0, cost_us = 0;
    recent_age(b, now_us);
    for (size_t lane = 0; lane < LANES; lane++) {
        size_t n = b->waiting[lane];
        /* No customer has this number but by chance, and then it is one of many. */
        struct admission_job job = {
            .customer = UINT64_MAX, .lane = (enum lane)lane, .cost_us = n ? b->waiting_us[lane] / (int64_t)n : 1};
        out->wait_us[lane] = wait_us(b, now_us, &job);
        out->service_us[lane] = b->service[lane].p99_us;
        taken_us += b->service[lane].taken_us;
        cost_us += b->service[lane].cost_us;
    }
    out->stretch_permille = cost_us > 0 ? (int64_t)(taken_us * 1000 / cost_us) : 1000;
    out->slots_milli = b->slots_milli;
}
