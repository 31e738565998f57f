/* SPDX-License-Identifier: MIT */
/* The service under too much load, in simulated time: arrivals, admission, dispatch and one worker whose converters take a given time. The code that decides
 * is the real one; there is no network, and time passes from event to event. */
#include "cavage/admission.h"
#include "cavage/dispatch.h"
#include "cavage/err.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    MS = 1000,
    SECOND = 1000 * MS,
    JOBS = 4096,
    SLOTS_MAX = 40,
    CUSTOMERS = 64,
    LATENCIES = 1 << 16,
    SLO = 500 * MS
};

struct job {
    struct admission_job terms;
    int64_t arrived_us;
    bool sent, used;
    uint64_t sequence;
};

/* Who sends what. */
struct source {
    uint64_t customer;
    double per_s;
    enum lane lane;
    int64_t cost_us; /* estimated */
    int64_t next_us;
};

/* What came of a group of customers. */
struct tally {
    unsigned offered, admitted, refused, failed, in_time;
    size_t count;
    int64_t latency_us[LATENCIES];
};

static struct {
    int64_t now_us, end_us;
    uint64_t seed;
    struct dispatch *d;
    struct admission_books *books;
    uint64_t next_id;
    struct job jobs[JOBS];
    struct source sources[CUSTOMERS];
    size_t source_count;
    struct tally tally[2]; /* of customer 1, and of the others */
    bool counts, exponential;
    /* The worker. */
    unsigned slots;
    int64_t service_us[LANES];
    bool silent;
    uint64_t waiting[4 * SLOTS_MAX], at_work[SLOTS_MAX], seen, status_sequence;
    size_t waiting_count;
    int64_t begun_us[SLOTS_MAX], done_us[SLOTS_MAX]; /* done_us INT64_MAX: idle */
    uint8_t boot;
} world;

static double random_unit(void)
{
    world.seed ^= world.seed << 13, world.seed ^= world.seed >> 7, world.seed ^= world.seed << 17;
    return (double)(world.seed >> 11) / 9007199254740992.0;
}

static struct job *job_of(uint64_t id)
{
    return &world.jobs[id % JOBS];
}

static struct tally *tally_of(const struct job *job)
{
    return &world.tally[job->terms.customer == 1 ? 0 : 1];
}

/* ---- The worker ---- */

static struct id boot(uint8_t n)
{
    return (struct id){{n, 1}};
}

static void fill_status(struct wire_status *m)
{
    size_t held = 0;
    *m = (struct wire_status){.worker_boot = boot(world.boot),
                              .api_boot = boot(200),
                              .sequence = ++world.status_sequence,
                              .slots = world.slots,
                              .seen = world.seen};
    for (size_t i = 0; i < world.slots; i++) {
        if (world.done_us[i] != INT64_MAX)
            m->held[held++] = job_of(world.at_work[i])->sequence;
    }
    for (size_t i = 0; i < world.waiting_count; i++)
        m->held[held++] = job_of(world.waiting[i])->sequence;
    m->busy = (uint32_t)(held < world.slots ? held : world.slots);
    for (size_t i = 1; i < held; i++) {
        for (size_t k = i; k > 0 && m->held[k - 1] > m->held[k]; k--) {
            uint64_t t = m->held[k];
            m->held[k] = m->held[k - 1];
            m->held[k - 1] = t;
        }
    }
    m->held_count = held;
    m->limit = world.seen + (2 * world.slots > held ? 2 * world.slots - held : 0);
}

static void worker_begin(void)
{
    for (size_t i = 0; i < world.slots && world.waiting_count > 0; i++) {
        if (world.done_us[i] != INT64_MAX)
            continue;
        world.at_work[i] = world.waiting[0];
        memmove(world.waiting, world.waiting + 1, --world.waiting_count * sizeof(world.waiting[0]));
        /* Alike conversions would end in step for ever. */
        double mean_us = (double)world.service_us[job_of(world.at_work[i])->terms.lane], u = random_unit();
        world.begun_us[i] = world.now_us;
        world.done_us[i] =
            world.now_us + (int64_t)(world.exponential ? 1 - log(1 - u) * mean_us : mean_us * 0.75 + u * mean_us / 2);
    }
}

static void worker_take(const struct dispatch_action *a)
{
    assert_true(world.waiting_count < 4 * SLOTS_MAX);
    world.waiting[world.waiting_count++] = a->job;
    world.seen = a->sequence;
    job_of(a->job)->sequence = a->sequence;
    worker_begin();
}

static void worker_up(unsigned slots)
{
    struct wire_status m;
    world.slots = slots;
    world.boot++;
    world.seen = world.status_sequence = world.waiting_count = 0;
    for (size_t i = 0; i < SLOTS_MAX; i++)
        world.done_us[i] = INT64_MAX;
    dispatch_peer_up(world.d, world.now_us, 0);
    fill_status(&m);
    dispatch_status(world.d, world.now_us, &m);
}

/* ---- The API ---- */

static void leave(struct job *job, int64_t service_us)
{
    if (job->sent)
        admission_end(world.books, world.now_us, &job->terms, service_us, job->terms.cost_us);
    else
        admission_unqueue(world.books, world.now_us, &job->terms);
    job->used = false;
}

static void act(void)
{
    struct dispatch_action a;
    struct dispatch_stats stats;
    while (dispatch_next(world.d, &a)) {
        struct job *job = job_of(a.job);
        if (a.type == DISPATCH_SEND) {
            if (!job->sent)
                admission_send(world.books, world.now_us, &job->terms);
            job->sent = true;
            worker_take(&a);
        } else if (a.type == DISPATCH_FAIL) {
            tally_of(job)->failed += world.counts;
            leave(job, 0);
        }
    }
    dispatch_stats(world.d, &stats);
    admission_set_capacity(world.books, stats.own_slots_milli, stats.idle);
}

static void arrive(const struct source *source)
{
    struct admission_forecast forecast;
    struct job *job = job_of(++world.next_id);
    assert_false(job->used);
    *job = (struct job){.terms = {.customer = source->customer, .lane = source->lane, .cost_us = source->cost_us},
                        .arrived_us = world.now_us};
    struct tally *tally = tally_of(job);
    tally->offered += world.counts;
    admission_judge(world.books, world.now_us, &job->terms, &forecast);
    if (!forecast.admitted) {
        assert_true(forecast.retry_us > 0);
        tally->refused += world.counts;
        return;
    }
    struct dispatch_job submitted = {.id = world.next_id,
                                     .customer = source->customer,
                                     .lane = source->lane,
                                     .cost_us = source->cost_us,
                                     .deadline_us = world.now_us + 10 * SECOND};
    assert_int_equal(dispatch_submit(world.d, world.now_us, &submitted), ERR_OK);
    assert_int_equal(admission_queue(world.books, world.now_us, &job->terms), ERR_OK);
    tally->admitted += world.counts;
    job->used = true;
    act();
}

static void finish(size_t slot)
{
    static struct wire_result m;
    uint64_t id = world.at_work[slot];
    struct job *job = job_of(id);
    int64_t service_us = world.now_us - world.begun_us[slot];
    m = (struct wire_result){
        .sequence = job->sequence, .job = id, .outcome = OUTCOME_OK, .convert_us = (uint64_t)service_us};
    world.done_us[slot] = INT64_MAX;
    worker_begin();
    fill_status(&m.status);
    if (dispatch_result(world.d, world.now_us, &m) == DISPATCH_ANSWER) {
        struct tally *tally = tally_of(job);
        int64_t latency_us = world.now_us - job->arrived_us;
        if (world.counts) {
            assert_true(tally->count < LATENCIES);
            tally->latency_us[tally->count++] = latency_us;
            tally->in_time += latency_us <= SLO;
        }
        leave(job, service_us);
    }
    act();
}

/* ---- Time ---- */

static void tell_status(void)
{
    struct wire_status m;
    if (world.silent)
        return;
    fill_status(&m);
    dispatch_status(world.d, world.now_us, &m);
    act();
}

/* The next event: an arrival, the end of a conversion, the worker's status, or what dispatch waits for. False when nothing comes before the end. */
static bool next_event(int64_t end_us, int64_t *status_us)
{
    int64_t next_us = dispatch_next_us(world.d);
    struct source *source = NULL;
    size_t slot = SLOTS_MAX;
    bool status = *status_us < next_us;
    next_us = status ? *status_us : next_us;
    for (size_t i = 0; i < world.source_count; i++) {
        if (world.sources[i].per_s > 0 && world.sources[i].next_us < next_us) {
            source = &world.sources[i];
            next_us = source->next_us;
        }
    }
    for (size_t i = 0; i < SLOTS_MAX && !world.silent; i++) {
        if (world.done_us[i] < next_us) {
            slot = i;
            next_us = world.done_us[i];
        }
    }
    if (next_us >= end_us)
        return false;
    world.now_us = next_us > world.now_us ? next_us : world.now_us;
    if (slot < SLOTS_MAX) {
        finish(slot);
    } else if (source) {
        source->next_us += 1 + (int64_t)(-log(1 - random_unit()) * SECOND / source->per_s);
        arrive(source);
    } else if (status) {
        *status_us += 250 * MS;
        tell_status();
    } else {
        dispatch_tick(world.d, world.now_us);
        act();
    }
    return true;
}

/* Let time pass. Only what is counted after warm_us is in the tallies. */
static void run(int64_t warm_us, int64_t counted_us)
{
    int64_t begin_us = world.now_us, status_us = world.now_us + 250 * MS;
    world.counts = false;
    memset(world.tally, 0, sizeof(world.tally));
    while (next_event(begin_us + warm_us, &status_us)) {
    }
    world.counts = true;
    while (next_event(begin_us + warm_us + counted_us, &status_us)) {
    }
    world.now_us = begin_us + warm_us + counted_us;
}

static void add_source(uint64_t customer, double per_s, enum lane lane, int64_t cost_us)
{
    assert_true(world.source_count < CUSTOMERS);
    world.sources[world.source_count++] = (struct source){
        .customer = customer, .per_s = per_s, .lane = lane, .cost_us = cost_us, .next_us = world.now_us};
}

/* `count` customers from 2 on that send small images. */
static void add_customers(unsigned count, double per_s_of_all)
{
    for (unsigned i = 0; i < count; i++)
        add_source(2 + i, per_s_of_all / count, LANE_SMALL, 10 * MS);
}

static void set_rate(uint64_t customer, double per_s)
{
    for (size_t i = 0; i < world.source_count; i++) {
        if (world.sources[i].customer == customer || customer == 0) {
            world.sources[i].per_s = per_s;
            world.sources[i].next_us = world.now_us;
        }
    }
}

static void scale_rates(double factor)
{
    for (size_t i = 0; i < world.source_count; i++)
        world.sources[i].per_s *= factor;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int64_t percentile(struct tally *t, unsigned per_thousand)
{
    assert_true(t->count > 0);
    qsort(t->latency_us, t->count, sizeof(t->latency_us[0]), compare);
    size_t at = t->count * per_thousand / 1000;
    return t->latency_us[at < t->count ? at : t->count - 1];
}

static int setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    world.seed = 88172645463325252u;
    world.now_us = 1000 * SECOND;
    world.service_us[LANE_SMALL] = 100 * MS;
    world.service_us[LANE_LARGE] = 1000 * MS;
    struct dispatch_config dispatch = {.boot = boot(200),
                                       .max_jobs = JOBS,
                                       .max_queued = 1024,
                                       .max_queued_per_customer = 1024,
                                       .large_percent = 25,
                                       .retry_percent = 10,
                                       .hedge_percent = 2};
    struct admission_config admission = {.jobs_max = JOBS, .target_us = {300 * MS, 2000 * MS}, .large_percent = 25};
    size_t peer;
    assert_int_equal(dispatch_new(&dispatch, &world.d), ERR_OK);
    assert_int_equal(dispatch_peer_add(world.d, &peer), ERR_OK);
    assert_int_equal(admission_books_new(&admission, &world.books), ERR_OK);
    worker_up(20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dispatch_free(world.d);
    admission_books_free(world.books);
    return 0;
}

/* ---- What must hold: twenty converters, 100 ms each, 200 a second ---- */

static void test_goodput_holds_at_three_times_the_capacity(void **state)
{
    (void)state;
    add_customers(20, 200);
    run(5 * SECOND, 20 * SECOND);
    unsigned at_capacity = world.tally[1].in_time;
    scale_rates(3);
    run(2 * SECOND, 20 * SECOND);
    assert_true(world.tally[1].in_time * 100 >= at_capacity * 95);
    assert_true(world.tally[1].in_time >= 20 * 200 * 95 / 100);
    assert_true(percentile(&world.tally[1], 990) < SLO);
    assert_int_equal(world.tally[1].failed, 0);
}

/* The busiest of sixty customers sends sixty times what the last one does. Those that are refused are the busy ones, and what is admitted of theirs waits
 * no longer than forecast, though others go before it all the time. */
static void test_busy_customers_are_forecast_right(void **state)
{
    double sum = 0;
    (void)state;
    for (unsigned i = 1; i <= 60; i++)
        sum += 1.0 / i;
    for (unsigned i = 1; i <= 60; i++)
        add_source(i, 600 / sum / i, LANE_SMALL, 10 * MS);
    world.exponential = true;
    run(5 * SECOND, 30 * SECOND);
    /* Of conversions that are spread as an exponential, one in a hundred takes 460 ms. */
    assert_true(percentile(&world.tally[1], 990) < 550 * MS);
    assert_true(percentile(&world.tally[0], 990) < 700 * MS);
    assert_true(world.tally[0].in_time + world.tally[1].in_time >= 30 * 200 * 95 / 100);
    assert_int_equal(world.tally[0].failed + world.tally[1].failed, 0);
}

static void test_one_at_a_hundred_times_its_share_is_the_one_refused(void **state)
{
    (void)state;
    add_source(1, 10, LANE_SMALL, 10 * MS);
    add_customers(9, 90);
    run(5 * SECOND, 30 * SECOND);
    int64_t before_us = percentile(&world.tally[1], 990);
    assert_int_equal(world.tally[1].refused, 0);
    set_rate(1, 1000);
    run(2 * SECOND, 30 * SECOND);
    assert_int_equal(world.tally[1].refused, 0);
    assert_true(percentile(&world.tally[1], 990) * 10 <= before_us * 12);
    /* It has what they leave, 3300 of 6000, less what is given away so that they wait no longer. */
    assert_in_range(world.tally[0].admitted, 3300 - 300, 3300 + 200);
    assert_true(percentile(&world.tally[0], 990) < SLO);
}

/* Conversions that vary much meet by chance, so that small queues come and go. That is no reason to refuse who asks for less than its share. */
static void test_others_are_not_refused_for_conversions_that_vary(void **state)
{
    (void)state;
    world.exponential = true;
    add_source(1, 1000, LANE_SMALL, 10 * MS);
    add_customers(9, 90);
    run(5 * SECOND, 100 * SECOND);
    assert_true(world.tally[1].refused * 1000 <= world.tally[1].offered);
    assert_true(percentile(&world.tally[1], 990) < SLO);
}

/* The estimate stays what it was while the converters take five times as long: a fifth is served, still in time, and all of it when they are quick again. */
static void test_slow_workers_are_a_new_limit(void **state)
{
    (void)state;
    add_customers(20, 160);
    world.service_us[LANE_SMALL] = 50 * MS;
    run(5 * SECOND, 10 * SECOND);
    assert_int_equal(world.tally[1].refused, 0);
    world.service_us[LANE_SMALL] = 250 * MS; /* 80 a second */
    run(5 * SECOND, 20 * SECOND);
    assert_in_range(world.tally[1].in_time, 20 * 80 * 95 / 100, 20 * 80 * 105 / 100);
    assert_true(world.tally[1].refused > 0);
    world.service_us[LANE_SMALL] = 50 * MS;
    run(5 * SECOND, 10 * SECOND);
    assert_int_equal(world.tally[1].refused, 0);
}

static void test_workers_that_leave_are_a_new_limit(void **state)
{
    (void)state;
    add_customers(20, 150);
    run(5 * SECOND, 10 * SECOND);
    assert_int_equal(world.tally[1].refused, 0);
    dispatch_peer_down(world.d, world.now_us, 0);
    worker_up(10); /* 100 a second */
    run(3 * SECOND, 20 * SECOND);
    assert_in_range(world.tally[1].in_time, 20 * 100 * 95 / 100, 20 * 100 * 105 / 100);
    dispatch_peer_down(world.d, world.now_us, 0);
    worker_up(20);
    run(3 * SECOND, 10 * SECOND);
    assert_int_equal(world.tally[1].refused, 0);
}

static void test_service_is_itself_again_after_a_storm(void **state)
{
    (void)state;
    add_customers(20, 120);
    run(5 * SECOND, 10 * SECOND);
    int64_t before_us = percentile(&world.tally[1], 990);
    assert_int_equal(world.tally[1].refused, 0);
    scale_rates(10);
    run(0, 5 * SECOND);
    assert_true(world.tally[1].refused > 0);
    scale_rates(0.1);
    run(1 * SECOND, 10 * SECOND);
    assert_int_equal(world.tally[1].refused, 0);
    assert_true(percentile(&world.tally[1], 990) <= before_us * 11 / 10);
}

/* Large images without end, of a second each: small ones hardly notice, large ones get what is left. */
static void test_large_images_do_not_delay_small_ones(void **state)
{
    (void)state;
    add_customers(10, 100); /* half of what there is */
    run(5 * SECOND, 20 * SECOND);
    int64_t before_us = percentile(&world.tally[1], 990);
    add_source(1, 100, LANE_LARGE, 100 * MS);
    run(5 * SECOND, 300 * SECOND); /* large ones are few, and p99 differs much from one half minute to the next */
    assert_true(world.tally[1].refused * 1000 <= world.tally[1].offered);
    assert_true(percentile(&world.tally[1], 990) <=
                before_us + 150 * MS); /* a converter that comes free is a tenth of a second away */
    assert_true(percentile(&world.tally[1], 990) < SLO);
    /* Ten converters' worth, less what is kept free for the moment. */
    assert_in_range(world.tally[0].count, 300 * 7, 300 * 10 + 20);
    assert_true(world.tally[0].refused > 0);
}

/* Both lanes want more than there is: the large one has its quarter. */
static void test_small_images_do_not_starve_large_ones(void **state)
{
    (void)state;
    add_customers(10, 600);
    add_source(1, 100, LANE_LARGE, 100 * MS);
    run(5 * SECOND, 30 * SECOND);
    assert_in_range(world.tally[0].count, 30 * 4, 30 * 6);
    assert_in_range(world.tally[1].in_time, 30 * 140, 30 * 160);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_goodput_holds_at_three_times_the_capacity),
        TEST(test_busy_customers_are_forecast_right),
        TEST(test_one_at_a_hundred_times_its_share_is_the_one_refused),
        TEST(test_others_are_not_refused_for_conversions_that_vary),
        TEST(test_slow_workers_are_a_new_limit),
        TEST(test_workers_that_leave_are_a_new_limit),
        TEST(test_service_is_itself_again_after_a_storm),
        TEST(test_large_images_do_not_delay_small_ones),
        TEST(test_small_images_do_not_starve_large_ones),
    };
    return cmocka_run_group_tests_name("overload", tests, NULL, NULL);
}
