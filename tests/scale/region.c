/* SPDX-License-Identifier: MIT */
/* The region's clock, its customers, and the counting of what becomes of their requests. */
#include "parts.h"

#include "cavage/problem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOBS_AT_ONCE = 1 << 18, TRIES_MAX = 3, AT_ONCE_US = 10 * 1000, GOOD_US = 500 * 1000, FAIRNESS_LEAST = 20 };

static void *must(void *memory)
{
    if (!memory) {
        fputs("scale: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

/* ---- Events ---- */

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void region_post(struct region *r, int64_t at_us, int kind, int node, uint64_t index, void *data)
{
    struct event e = {.at_us = at_us, .order = r->orders++, .kind = kind, .node = node, .index = index, .data = data};
    if (r->heap_count >= r->heap_room) {
        r->heap_room = r->heap_room ? 2 * r->heap_room : 4096;
        r->heap = must(realloc(r->heap, r->heap_room * sizeof r->heap[0]));
    }
    size_t i = r->heap_count++;
    for (; i > 0 && earlier(&e, &r->heap[(i - 1) / 2]); i = (i - 1) / 2)
        r->heap[i] = r->heap[(i - 1) / 2];
    r->heap[i] = e;
}

static struct event take_event(struct region *r)
{
    struct event first = r->heap[0], last = r->heap[--r->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= r->heap_count)
            break;
        if (child + 1 < r->heap_count && earlier(&r->heap[child + 1], &r->heap[child]))
            child++;
        if (!earlier(&r->heap[child], &last))
            break;
        r->heap[i] = r->heap[child];
        i = child;
    }
    r->heap[i] = last;
    return first;
}

/* ---- Jobs ---- */

static struct job *job_new(struct region *r)
{
    if (r->free_job == 0) {
        fputs("scale: too many jobs at once\n", stderr);
        exit(1);
    }
    uint32_t index = r->free_job - 1;
    struct job *j = &r->jobs[index];
    r->free_job = j->next_free;
    *j = (struct job){.id = ++r->ids * JOBS_AT_ONCE + index};
    return j;
}

struct job *region_job(struct region *r, uint64_t id)
{
    struct job *j = &r->jobs[id % JOBS_AT_ONCE];
    return j->id == id ? j : NULL;
}

static void job_free(struct region *r, struct job *j)
{
    uint32_t index = (uint32_t)(j - r->jobs);
    j->id = 0;
    j->next_free = r->free_job;
    r->free_job = index + 1;
}

static struct bin *bin_now(struct region *r)
{
    size_t i = (size_t)(r->now_us / r->config.bin_us);
    if (i >= REGION_BINS)
        i = REGION_BINS - 1;
    if (i >= r->result->bins)
        r->result->bins = i + 1;
    return &r->result->bin[i];
}

static bool is_hog(const struct region *r, const struct job *j)
{
    return j->customer == r->config.customers;
}

void region_used(struct region *r, struct job *j, int64_t from_us, int64_t to_us, bool answers)
{
    if (!answers && (!j || j->measured))
        r->result->wasted_us += (double)(to_us - from_us);
    if (from_us < r->config.warm_us)
        from_us = r->config.warm_us;
    if (to_us > r->config.end_us)
        to_us = r->config.end_us;
    if (to_us > from_us)
        r->result->busy_us += (double)(to_us - from_us);
}

void region_answer(struct region *r, struct job *j)
{
    struct region_result *x = r->result;
    enum lane lane = j->terms.lane;
    int64_t latency_us = r->now_us - j->arrived_us, wait_us = j->began_us - j->arrived_us;
    struct bin *bin = bin_now(r);

    bin->good += latency_us <= GOOD_US;
    bin->answered++;
    bin->wait_us += (double)wait_us;
    if (j->measured) {
        measure_add(&x->latency[lane], latency_us);
        measure_add(&x->wait[lane], wait_us);
        if (lane == LANE_SMALL)
            measure_add(&x->queue, j->sent_us - j->arrived_us);
        x->answered++;
        x->good += latency_us <= GOOD_US;
        r->customer_answered[j->customer]++;
        if (is_hog(r, j))
            x->hog_answered++;
        else
            measure_add(&x->others, latency_us);
    }
    job_free(r, j);
}

static bool comes_again(struct region *r, struct job *j, int64_t retry_us)
{
    if (!r->config.retries || j->tries >= TRIES_MAX)
        return false;
    int64_t after_us = AT_ONCE_US;
    if (r->config.patient)
        after_us = (int64_t)problem_retry_after_s(retry_us, (uint32_t)noise_next(&r->routes)) * 1000000;
    j->tries++;
    r->result->retried_by_clients += j->measured;
    region_post(r, r->now_us + after_us, EVENT_AGAIN, 0, j->id, NULL);
    return true;
}

void region_fail(struct region *r, struct job *j, enum refusal why, int64_t retry_us)
{
    struct region_result *x = r->result;
    struct bin *bin = bin_now(r);

    bin->refused += why < FAILED_DEADLINE;
    bin->failed += why >= FAILED_DEADLINE;
    if (j->measured) {
        x->refused[why]++;
        x->others_refused += !is_hog(r, j);
    }
    if (!comes_again(r, j, retry_us))
        job_free(r, j);
}

/* ---- Customers ---- */

static void make_zipf(struct region *r)
{
    double sum = 0;
    size_t n = r->config.customers;
    r->zipf = must(calloc(n, sizeof r->zipf[0]));
    for (size_t i = 0; i < n; i++)
        r->zipf[i] = sum += 1 / pow((double)(i + 1), r->config.zipf);
    for (size_t i = 0; i < n; i++)
        r->zipf[i] /= sum;
}

/* The hog comes beside the others, as customer number `customers`. */
static double hog_rate(const struct region *r)
{
    enum { BUSIEST = 100 };
    size_t n = r->config.customers < BUSIEST ? r->config.customers : BUSIEST;
    return r->config.hog * r->config.rate_per_s * r->zipf[n - 1] / (double)n;
}

static uint32_t draw_customer(struct region *r)
{
    double hog = hog_rate(r);
    if (hog > 0 && noise_unit(&r->arrivals) * (hog + r->config.rate_per_s) <= hog)
        return (uint32_t)r->config.customers;
    double u = noise_unit(&r->arrivals);
    size_t low = 0, high = r->config.customers - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (r->zipf[middle] < u)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint32_t)low;
}

/* Gamma of the given mean and squared coefficient of variation (Marsaglia, Tsang: A simple method for generating gamma variables, 2000). */
static double draw_gamma(struct noise *n, double mean, double variation2)
{
    if (variation2 <= 0)
        return mean;
    if (variation2 == 1)
        return noise_exponential(n, mean);
    double shape = 1 / variation2, d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = sqrt(-2 * log(noise_unit(n))) * cos(2 * 3.14159265358979323846 * noise_unit(n));
        double v = 1 + c * x, u = noise_unit(n);
        v = v * v * v;
        if (v <= 0 || log(u) >= 0.5 * x * x + d - d * v + d * log(v))
            continue;
        double g = d * v;
        if (shape < 1)
            g *= pow(noise_unit(n), 1 / shape);
        return g / shape * mean;
    }
}

static void draw_conversion(struct region *r, struct job *j)
{
    double u = noise_unit(&r->services);
    size_t k = 0;
    while (k + 1 < r->config.kind_count && u > r->config.kinds[k].part)
        u -= r->config.kinds[k++].part;
    const struct kind *kind = &r->config.kinds[k];
    double us = draw_gamma(&r->services, kind->mean_us, kind->variation2);
    j->kind = (uint8_t)k;
    j->service_us = us < 1 ? 1 : (int64_t)us;
    /* The estimate knows the kind of image, not the image. */
    j->terms =
        (struct admission_job){.customer = j->customer + 1, .lane = kind->lane, .cost_us = (int64_t)kind->mean_us};
}

static double rate_now(const struct region *r)
{
    const struct region_config *c = &r->config;
    double rate = c->rate_per_s + hog_rate(r);
    bool burst = c->burst > 0 && r->now_us >= c->burst_from_us && r->now_us < c->burst_to_us;
    return burst ? rate * c->burst : rate;
}

static void begin(struct region *r, struct job *j)
{
    j->arrived_us = r->now_us;
    j->deadline_us = r->now_us + r->config.deadline_us;
    j->sent = false;
    j->booked = BOOKED_NOT;
    j->api = (int)noise_below(&r->routes, r->config.apis);
    bin_now(r)->offered++;
    r->ops->arrive(r, j);
}

static void arrival(struct region *r)
{
    double rate = rate_now(r);
    if (r->now_us >= r->config.end_us)
        return;
    region_post(r, r->now_us + (int64_t)(noise_exponential(&r->arrivals, 1e6 / rate) + 0.5), EVENT_ARRIVAL, 0, 0, NULL);
    struct job *j = job_new(r);
    j->customer = draw_customer(r);
    draw_conversion(r, j);
    j->measured = r->now_us >= r->config.warm_us;
    if (j->measured) {
        r->result->offered++;
        r->result->hog_offered += is_hog(r, j);
        r->result->others_offered += !is_hog(r, j);
        r->customer_offered[j->customer]++;
    }
    begin(r, j);
}

static void again(struct region *r, uint64_t id)
{
    struct job *j = region_job(r, id);
    if (j)
        begin(r, j);
}

/* ---- The run ---- */

static double jain(const struct region *r)
{
    double sum = 0, squares = 0;
    size_t n = 0;
    for (size_t i = 0; i < r->config.customers; i++) {
        if (r->customer_offered[i] < FAIRNESS_LEAST)
            continue;
        double x = (double)r->customer_answered[i] / (double)r->customer_offered[i];
        sum += x;
        squares += x * x;
        n++;
    }
    return squares > 0 ? sum * sum / ((double)n * squares) : 1;
}

static void start(struct region *r, const struct region_config *config, struct region_result *out)
{
    memset(r, 0, sizeof *r);
    memset(out, 0, sizeof *out);
    r->config = *config;
    r->result = out;
    r->arrivals.state = noise_of(config->seed, 1, 0);
    r->services.state = noise_of(config->seed, 2, 0);
    r->routes.state = noise_of(config->seed, 3, 0);
    r->network.state = noise_of(config->seed, 4, 0);
    r->job_room = JOBS_AT_ONCE;
    r->jobs = must(calloc(r->job_room, sizeof r->jobs[0]));
    for (size_t i = r->job_room; i > 0; i--) {
        r->jobs[i - 1].next_free = r->free_job;
        r->free_job = (uint32_t)i;
    }
    r->customer_offered = must(calloc(config->customers + 1, sizeof r->customer_offered[0]));
    r->customer_answered = must(calloc(config->customers + 1, sizeof r->customer_answered[0]));
    make_zipf(r);
    r->ops = config->policy == POLICY_OURS ? &policy_ours : &policy_plain;
    r->policy = r->ops->start(r);
    region_post(r, 0, EVENT_ARRIVAL, 0, 0, NULL);
    for (size_t i = 0; i < config->fault_count; i++) {
        region_post(r, config->faults[i].from_us, EVENT_FAULT, 1, i, NULL);
        region_post(r, config->faults[i].to_us, EVENT_FAULT, 0, i, NULL);
    }
}

void region_run(const struct region_config *config, struct region_result *out)
{
    struct region *r = must(malloc(sizeof *r));
    start(r, config, out);
    /* All that has come is answered or fails by its deadline; what waits after that are timers. */
    int64_t last_us = config->end_us + config->deadline_us;
    if (last_us > config->end_us + 15 * 1000000)
        last_us = config->end_us + 15 * 1000000;
    while (r->heap_count > 0 && r->heap[0].at_us <= last_us) {
        struct event e = take_event(r);
        r->now_us = e.at_us;
        if (e.kind == EVENT_ARRIVAL)
            arrival(r);
        else if (e.kind == EVENT_AGAIN)
            again(r, e.index);
        else if (e.kind == EVENT_FAULT)
            r->ops->fault(r, &r->config.faults[e.index], e.node != 0);
        else
            r->ops->event(r, &e);
    }
    out->fairness = jain(r);
    out->utilization =
        out->busy_us / ((double)config->workers * config->slots * (double)(config->end_us - config->warm_us));
    r->ops->stop(r, r->policy);
    free(r->zipf);
    free(r->customer_offered);
    free(r->customer_answered);
    free(r->jobs);
    free(r->heap);
    free(r);
}
