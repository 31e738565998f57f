/* SPDX-License-Identifier: MIT */
/* The books of the work that waits, by customer and lane, and the forecast made of them. */
#include "cavage/admission.h"

#include "cavage/err.h"

#include <stdlib.h>

enum {
    LEVELS = 96,          /* classes of work that a customer has waiting, two for each octave of µs */
    SERVICE_BUCKETS = 96, /* classes of service times, four for each octave of µs */
    SERVICE_MANY = 512,   /* observations at which all count half from there on */
    WINDOW = 32           /* conversions over which the stretch is smoothed */
};

static const int64_t cost_max_us = 1000000000000;

/* What one customer has waiting. In the table while jobs > 0. */
struct account {
    uint64_t customer;
    size_t jobs;
    int64_t waiting_us[LANES];
};

/* How many customers have how much waiting: with it the sum of min(work, x) over all customers takes a bounded number of steps. */
struct level {
    size_t customers;
    int64_t waiting_us;
};

/* What conversions took. */
struct service {
    double taken_us, cost_us; /* smoothed; their quotient is the stretch */
    unsigned counts[SERVICE_BUCKETS];
    unsigned total;
    int64_t p99_us;
};

struct admission_books {
    struct admission_config config;
    uint64_t slots_milli;
    size_t mask;
    struct account *accounts; /* a power of two of them, at most half of them used; open addressing, linear probing */
    size_t jobs;              /* waiting and sent */
    struct level levels[LANES][LEVELS];
    size_t waiting[LANES];
    int64_t waiting_us[LANES];
    size_t sent;
    int64_t sent_us;
    struct service service[LANES];
};

int admission_books_new(const struct admission_config *config, struct admission_books **out)
{
    if (config->jobs_max == 0 || config->jobs_max > SIZE_MAX / 8 / sizeof(struct account) ||
        config->large_percent == 0 || config->large_percent >= 100)
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
    while (count < 2 * config->jobs_max)
        count <<= 1;
    b->mask = count - 1;
    b->accounts = calloc(count, sizeof(*b->accounts));
    if (!b->accounts) {
        free(b);
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

/* The customer's account, or the free one where it belongs. */
static size_t account_find(const struct admission_books *b, uint64_t customer)
{
    size_t i = home_of(b, customer);
    while (b->accounts[i].jobs > 0 && b->accounts[i].customer != customer)
        i = (i + 1) & b->mask;
    return i;
}

/* Close the gap that account i leaves, so that probing still finds those behind it. */
static void account_remove(struct admission_books *b, size_t i)
{
    for (size_t k = (i + 1) & b->mask; b->accounts[k].jobs > 0; k = (k + 1) & b->mask) {
        size_t home = home_of(b, b->accounts[k].customer);
        if (((k - home) & b->mask) >= ((k - i) & b->mask)) {
            b->accounts[i] = b->accounts[k];
            i = k;
        }
    }
    b->accounts[i] = (struct account){0};
}

/* Two classes an octave: x is in class 2 * log2 x, or the next from 1.5 times that power on. */
static size_t level_of(int64_t waiting_us)
{
    unsigned log2 = 63 - (unsigned)__builtin_clzll((unsigned long long)waiting_us);
    size_t half = log2 > 0 && (waiting_us >> (log2 - 1) & 1);
    size_t level = 2 * (size_t)log2 + half;
    return level < LEVELS ? level : LEVELS - 1;
}

static void level_add(struct admission_books *b, enum lane lane, int64_t waiting_us)
{
    if (waiting_us == 0)
        return;
    struct level *level = &b->levels[lane][level_of(waiting_us)];
    level->customers++;
    level->waiting_us += waiting_us;
}

static void level_take(struct admission_books *b, enum lane lane, int64_t waiting_us)
{
    if (waiting_us == 0)
        return;
    struct level *level = &b->levels[lane][level_of(waiting_us)];
    level->customers--;
    level->waiting_us -= waiting_us;
}

static void change(struct admission_books *b, const struct admission_job *job, int sign)
{
    enum lane lane = lane_in(b, job);
    uint64_t customer = customer_in(b, job);
    size_t i = account_find(b, customer);
    struct account *a = &b->accounts[i];
    int64_t delta_us = sign * cost_of(job);

    a->customer = customer;
    level_take(b, lane, a->waiting_us[lane]);
    a->waiting_us[lane] += delta_us;
    level_add(b, lane, a->waiting_us[lane]);
    b->waiting_us[lane] += delta_us;
    if (sign > 0) {
        a->jobs++;
        b->waiting[lane]++;
        return;
    }
    b->waiting[lane]--;
    if (--a->jobs == 0)
        account_remove(b, i);
}

int admission_queue(struct admission_books *b, const struct admission_job *job)
{
    if (b->jobs == b->config.jobs_max)
        return ERR_FULL;
    b->jobs++;
    change(b, job, 1);
    return ERR_OK;
}

void admission_unqueue(struct admission_books *b, const struct admission_job *job)
{
    change(b, job, -1);
    b->jobs--;
}

void admission_send(struct admission_books *b, const struct admission_job *job)
{
    change(b, job, -1);
    b->sent++;
    b->sent_us += cost_of(job);
}

void admission_unsend(struct admission_books *b, const struct admission_job *job)
{
    b->sent--;
    b->sent_us -= cost_of(job);
    change(b, job, 1);
}

/* ---- What conversions take ---- */

/* Four classes an octave. */
static size_t service_bucket(int64_t us)
{
    if (us < 4)
        return 0;
    unsigned log2 = 63 - (unsigned)__builtin_clzll((unsigned long long)us);
    size_t bucket = 4 * (size_t)log2 + (size_t)(us >> (log2 - 2) & 3);
    return bucket < SERVICE_BUCKETS ? bucket : SERVICE_BUCKETS - 1;
}

/* The upper end of a class. */
static int64_t service_bound_us(size_t bucket)
{
    unsigned log2 = (unsigned)(bucket / 4);
    return log2 < 2 ? 4 : (int64_t)(5 + bucket % 4) << (log2 - 2);
}

static void service_halve(struct service *s)
{
    s->total = 0;
    for (size_t i = 0; i < SERVICE_BUCKETS; i++)
        s->total += s->counts[i] /= 2;
}

static int64_t service_p99_us(const struct service *s)
{
    unsigned above = 0;
    for (size_t i = SERVICE_BUCKETS; i-- > 0;) {
        above += s->counts[i];
        if (above > s->total / 100)
            return service_bound_us(i);
    }
    return 0;
}

static void service_learn(struct service *s, int64_t cost_us, int64_t taken_us)
{
    bool first = s->cost_us <= 0;
    double weight = first ? 1 : 1.0 / WINDOW;
    s->taken_us += ((double)taken_us - s->taken_us) * weight;
    s->cost_us += ((double)cost_us - s->cost_us) * weight;
    s->counts[service_bucket(taken_us)]++;
    if (++s->total >= SERVICE_MANY)
        service_halve(s);
    s->p99_us = service_p99_us(s);
}

void admission_end(struct admission_books *b, const struct admission_job *job, int64_t service_us)
{
    b->sent--;
    b->sent_us -= cost_of(job);
    b->jobs--;
    if (service_us > 0)
        service_learn(&b->service[lane_in(b, job)], cost_of(job), min_i64(service_us, cost_max_us));
}

/* Time a converter needs for a µs of estimated cost in a lane; in a lane without conversions so far, that of the other one. */
static double stretch(const struct admission_books *b, enum lane lane)
{
    const struct service *s = &b->service[lane];
    if (s->cost_us <= 0)
        s = &b->service[lane == LANE_SMALL ? LANE_LARGE : LANE_SMALL];
    return s->cost_us > 0 ? s->taken_us / s->cost_us : 1;
}

/* ---- The forecast ---- */

/* The sum over a lane's customers of min(work, most_us). The class that most_us falls into is taken as the lesser of its two bounds. */
static int64_t served_before(const struct admission_books *b, enum lane lane, int64_t most_us)
{
    int64_t sum_us = 0;
    for (size_t i = 0; i < LEVELS; i++) {
        const struct level *level = &b->levels[lane][i];
        int64_t n = (int64_t)level->customers;
        sum_us += n > INT64_MAX / most_us ? level->waiting_us : min_i64(level->waiting_us, n * most_us);
    }
    return sum_us;
}

/* Work of a job's own lane that goes before it. At its turn each customer is served the mean cost of what waits, if the job costs less. */
static int64_t work_of_lane(const struct admission_books *b, const struct admission_job *job)
{
    enum lane lane = lane_in(b, job);
    if (b->waiting[lane] == 0)
        return 0;
    if (b->config.fifo)
        return b->waiting_us[lane];
    size_t i = account_find(b, customer_in(b, job));
    int64_t mean_us = b->waiting_us[lane] / (int64_t)b->waiting[lane];
    int64_t own_us = b->accounts[i].jobs > 0 ? b->accounts[i].waiting_us[lane] : 0;
    return served_before(b, lane, own_us + max_i64(cost_of(job), mean_us));
}

/* Work of the other lane that is done meanwhile, by the lanes' weights. */
static int64_t work_of_other(const struct admission_books *b, enum lane lane, int64_t work_us)
{
    int64_t large = b->config.large_percent, small = 100 - large;
    if (lane == LANE_SMALL)
        return min_i64(b->waiting_us[LANE_LARGE], work_us / small * large);
    return min_i64(b->waiting_us[LANE_SMALL], work_us / large * small);
}

/* Work that the workers hold beside what their converters are at: it was prefetched, and goes before all that waits here. */
static int64_t work_prefetched(const struct admission_books *b)
{
    if (b->sent == 0 || (uint64_t)b->sent * 1000 < b->slots_milli)
        return 0;
    double mean_us = (double)b->sent_us / (double)b->sent;
    /* When all are busy, the next converter that comes free is waited for too. */
    return (int64_t)(mean_us * ((double)b->sent - (double)b->slots_milli / 1000 + 1));
}

static int64_t wait_us(const struct admission_books *b, const struct admission_job *job)
{
    enum lane lane = lane_in(b, job), other = lane == LANE_SMALL ? LANE_LARGE : LANE_SMALL;
    int64_t work_us = work_of_lane(b, job);
    double taken_us = stretch(b, lane) * (double)(work_us + work_prefetched(b)) +
                      stretch(b, other) * (double)work_of_other(b, lane, work_us);
    double wait = taken_us * 1000 / (double)b->slots_milli;
    return wait < (double)cost_max_us ? (int64_t)wait : cost_max_us;
}

void admission_judge(const struct admission_books *b, const struct admission_job *job, struct admission_forecast *out)
{
    enum lane lane = lane_in(b, job);
    int64_t target_us = b->config.target_us[lane];
    int64_t p99_us = b->service[lane].p99_us;

    out->wait_us = wait_us(b, job);
    out->service_us = p99_us > 0 ? p99_us : (int64_t)((double)cost_of(job) * stretch(b, lane));
    int64_t most_us = max_i64(target_us - out->service_us, target_us / 4);
    out->admitted = out->wait_us == 0 || out->wait_us <= most_us;
    out->retry_us = out->admitted ? 0 : out->wait_us - most_us;
}

void admission_stats(const struct admission_books *b, struct admission_stats *out)
{
    double taken_us = 0, cost_us = 0;
    for (size_t lane = 0; lane < LANES; lane++) {
        size_t n = b->waiting[lane];
        /* No customer has this number but by chance, and then it is one of many. */
        struct admission_job job = {
            .customer = UINT64_MAX, .lane = (enum lane)lane, .cost_us = n ? b->waiting_us[lane] / (int64_t)n : 1};
        out->wait_us[lane] = wait_us(b, &job);
        out->service_us[lane] = b->service[lane].p99_us;
        taken_us += b->service[lane].taken_us;
        cost_us += b->service[lane].cost_us;
    }
    out->stretch_permille = cost_us > 0 ? (int64_t)(taken_us * 1000 / cost_us) : 1000;
    out->slots_milli = b->slots_milli;
}
