/* SPDX-License-Identifier: MIT */
/* What others wait for while one customer asks for all there is, and what that costs, in simulated time: the dispatcher, and workers whose converters
 * take a given time. */
#include "cavage/dispatch.h"
#include "cavage/err.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    MS = 1000,
    SECOND = 1000 * MS,
    JOBS = 1024,
    WORKERS_MAX = 4,
    SLOTS_MAX = 32,
    OTHERS = 19,
    HOG = 1000, /* its number, and those of more like it follow */
    HOG_WAITS = 30,
    WAITS = 1 << 16
};

struct worker {
    unsigned slots;
    int64_t times;                      /* as long as elsewhere its jobs take; 0: once */
    uint64_t seen, held[2 * SLOTS_MAX]; /* held: sequences, ascending; the first come are at work */
    uint64_t jobs[2 * SLOTS_MAX];
    int64_t done_us[2 * SLOTS_MAX]; /* 0: it waits */
    size_t count;
};

static struct {
    struct dispatch *d;
    int64_t now_us;
    uint64_t seed, next_id, status_sequence;
    struct worker workers[WORKERS_MAX];
    size_t worker_count;
    int64_t service_us, cost_us;
    bool varied;      /* exponential, not all alike */
    double others_s;  /* jobs a second of all others together */
    unsigned hogs;    /* customers with HOG_WAITS jobs waiting at any time */
    int64_t other_us; /* when the next other job comes */
    struct {
        uint64_t customer;
        int64_t submitted_us;
    } jobs[JOBS];
    /* Since counting began. */
    size_t waits;
    int64_t wait_us[WAITS]; /* of others, for a converter */
    int64_t idle_us;        /* of converters, while jobs waited */
    uint64_t hog_done;
} world;

static double random_unit(void)
{
    world.seed ^= world.seed << 13, world.seed ^= world.seed >> 7, world.seed ^= world.seed << 17;
    return (double)(world.seed >> 11) / 9007199254740992.0;
}

static int64_t exponential_us(double mean_us)
{
    return 1 + (int64_t)(-log(1 - random_unit()) * mean_us);
}

static struct id boot(size_t n)
{
    return (struct id){{(uint8_t)n, 1}};
}

/* ---- Workers ---- */

static void fill_status(size_t peer, struct wire_status *m)
{
    const struct worker *w = &world.workers[peer];
    *m = (struct wire_status){.worker_boot = boot(1 + peer),
                              .api_boot = boot(200),
                              .link = (uint32_t)peer,
                              .sequence = ++world.status_sequence,
                              .slots = w->slots,
                              .busy = (unsigned)(w->count < w->slots ? w->count : w->slots),
                              .seen = w->seen,
                              .limit = w->seen + 2 * w->slots - w->count,
                              .held_count = w->count};
    memcpy(m->held, w->held, w->count * sizeof(w->held[0]));
}

/* Of others only. */
static void note_wait(uint64_t job)
{
    if (world.jobs[job % JOBS].customer >= HOG)
        return;
    assert_true(world.waits < WAITS);
    world.wait_us[world.waits++] = world.now_us - world.jobs[job % JOBS].submitted_us;
}

static void worker_begin(struct worker *w)
{
    unsigned busy = 0;
    for (size_t i = 0; i < w->count; i++)
        busy += w->done_us[i] != 0;
    for (size_t i = 0; i < w->count && busy < w->slots; i++) {
        if (w->done_us[i] != 0)
            continue;
        int64_t service_us = world.service_us * (w->times ? w->times : 1);
        w->done_us[i] = world.now_us + (world.varied ? exponential_us((double)service_us) : service_us);
        note_wait(w->jobs[i]);
        busy++;
    }
}

static void worker_take(const struct dispatch_action *a)
{
    struct worker *w = &world.workers[a->peer];
    assert_true(w->count < 2 * (size_t)w->slots);
    w->held[w->count] = w->seen = a->sequence;
    w->jobs[w->count] = a->job;
    w->done_us[w->count++] = 0;
    worker_begin(w);
}

/* ---- The API ---- */

static int submit(uint64_t customer)
{
    struct dispatch_job job = {.id = ++world.next_id,
                               .customer = customer,
                               .cost_us = world.cost_us,
                               .deadline_us = world.now_us + 10 * SECOND};
    world.jobs[job.id % JOBS].customer = customer;
    world.jobs[job.id % JOBS].submitted_us = world.now_us;
    return dispatch_submit(world.d, world.now_us, &job);
}

static void act(void)
{
    struct dispatch_action a;
    while (dispatch_next(world.d, &a)) {
        if (a.type != DISPATCH_SEND) {
            assert_int_equal(a.type, DISPATCH_HELLO);
            continue;
        }
        uint64_t customer = world.jobs[a.job % JOBS].customer;
        if (customer >= HOG)
            assert_int_equal(submit(customer), ERR_OK);
        worker_take(&a);
    }
}

static void status(size_t peer)
{
    struct wire_status m;
    fill_status(peer, &m);
    dispatch_status(world.d, world.now_us, &m);
    act();
}

static void finish(size_t peer, size_t at)
{
    static struct wire_result m;
    struct worker *w = &world.workers[peer];
    m = (struct wire_result){
        .sequence = w->held[at], .job = w->jobs[at], .outcome = OUTCOME_OK, .convert_us = (uint64_t)world.service_us};
    size_t after = --w->count - at;
    memmove(&w->held[at], &w->held[at + 1], after * sizeof(w->held[0]));
    memmove(&w->jobs[at], &w->jobs[at + 1], after * sizeof(w->jobs[0]));
    memmove(&w->done_us[at], &w->done_us[at + 1], after * sizeof(w->done_us[0]));
    worker_begin(w);
    fill_status(peer, &m.status);
    world.hog_done += world.jobs[m.job % JOBS].customer >= HOG;
    assert_int_equal(dispatch_result(world.d, world.now_us, &m), DISPATCH_ANSWER);
    act();
}

/* ---- Time ---- */

static unsigned idle(void)
{
    unsigned count = 0;
    for (size_t p = 0; p < world.worker_count; p++) {
        const struct worker *w = &world.workers[p];
        count += w->count < w->slots ? w->slots - (unsigned)w->count : 0;
    }
    return count;
}

static void pass_to(int64_t at_us)
{
    struct dispatch_stats stats;
    dispatch_stats(world.d, &stats);
    world.idle_us += stats.queued > 0 ? (at_us - world.now_us) * idle() : 0;
    world.now_us = at_us;
}

/* The next event before end_us: a job of another customer, the end of one, or what dispatch waits for. */
static bool next_event(int64_t end_us)
{
    int64_t at_us = dispatch_next_us(world.d);
    size_t peer = WORKERS_MAX, at = 0;
    bool other = world.others_s > 0 && world.other_us <= at_us;
    at_us = other ? world.other_us : at_us;
    for (size_t p = 0; p < world.worker_count; p++) {
        for (size_t i = 0; i < world.workers[p].count; i++) {
            int64_t done_us = world.workers[p].done_us[i];
            if (done_us != 0 && done_us < at_us)
                at_us = done_us, peer = p, at = i;
        }
    }
    if (at_us >= end_us)
        return false;
    pass_to(at_us > world.now_us ? at_us : world.now_us);
    if (peer < WORKERS_MAX) {
        finish(peer, at);
    } else if (other) {
        world.other_us += exponential_us(SECOND / world.others_s);
        assert_int_equal(submit(1 + (uint64_t)(random_unit() * OTHERS)), ERR_OK);
        act();
    } else {
        dispatch_tick(world.d, world.now_us);
        act();
        for (size_t p = 0; p < world.worker_count; p++)
            status(p); /* as an answer to HELLO */
    }
    return true;
}

static void run(int64_t us)
{
    int64_t end_us = world.now_us + us;
    world.waits = 0;
    world.idle_us = 0;
    world.hog_done = 0;
    if (world.other_us < world.now_us)
        world.other_us = world.now_us;
    while (next_event(end_us)) {
    }
    pass_to(end_us);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Of the others' waits. */
static int64_t p99_us(void)
{
    assert_true(world.waits > 100);
    qsort(world.wait_us, world.waits, sizeof(world.wait_us[0]), compare);
    return world.wait_us[world.waits * 99 / 100];
}

/* Of all converters' time, in thousandths. */
static int64_t idle_permille(int64_t of_us)
{
    int64_t slots = 0;
    for (size_t p = 0; p < world.worker_count; p++)
        slots += world.workers[p].slots;
    return slots > 0 ? world.idle_us * 1000 / (slots * of_us) : 0;
}

static void start(bool fifo, size_t workers, unsigned slots)
{
    struct dispatch_config config = {.boot = boot(200),
                                     .max_jobs = JOBS,
                                     .max_queued = JOBS / 2,
                                     .max_queued_per_customer = JOBS / 2,
                                     .fifo = fifo,
                                     .large_percent = 25,
                                     .retry_percent = 10};
    size_t peer;
    assert_int_equal(dispatch_new(&config, &world.d), ERR_OK);
    world.worker_count = workers;
    for (size_t p = 0; p < workers; p++) {
        world.workers[p].slots = slots;
        assert_int_equal(dispatch_peer_add(world.d, &peer), ERR_OK);
        dispatch_peer_up(world.d, world.now_us, p);
        status(p);
    }
}

/* Others alone for some seconds, so that it is known how long jobs take; then one that asks for all. */
static void begin(unsigned hogs)
{
    run(5 * SECOND);
    world.hogs = hogs;
    for (unsigned h = 0; h < hogs; h++) {
        for (unsigned i = 0; i < HOG_WAITS; i++)
            assert_int_equal(submit(HOG + h), ERR_OK);
    }
    act();
}

static int setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    world.seed = 88172645463325252u;
    world.now_us = 1000 * SECOND;
    world.service_us = 100 * MS;
    world.cost_us = 10 * MS;
    world.others_s = 95;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dispatch_free(world.d);
    return 0;
}

/* ---- What must hold: twenty converters, 100 ms each, of which others use half ---- */

static void test_others_wait_for_a_fifth_of_a_job_at_most(void **state)
{
    (void)state;
    start(false, 1, 20);
    begin(1);
    run(1 * SECOND);
    run(60 * SECOND);
    assert_in_range(p99_us(), 0, 20 * MS);
    /* What it costs. */
    assert_in_range(idle_permille(60 * SECOND), 0, 30);
    assert_in_range(world.hog_done, 60 * 98, 60 * 108);
}

/* So dear that nobody has saved enough to go first. */
static void test_others_with_dear_jobs_go_past_too(void **state)
{
    (void)state;
    world.cost_us = 200 * MS;
    start(false, 1, 20);
    begin(1);
    run(1 * SECOND);
    run(60 * SECOND);
    assert_in_range(p99_us(), 0, 20 * MS);
}

static void test_it_takes_hold_within_a_second_at_the_price_of_a_quarter_round(void **state)
{
    (void)state;
    start(false, 1, 20);
    begin(1);
    run(1 * SECOND);
    assert_true(world.idle_us <= 20 * world.service_us / 4 + 20 * SECOND * 3 / 100);
    run(4 * SECOND);
    assert_in_range(p99_us(), 0, 20 * MS);
}

static void test_several_workers_count_together(void **state)
{
    (void)state;
    start(false, 4, 5);
    begin(1);
    run(1 * SECOND);
    run(60 * SECOND);
    assert_in_range(p99_us(), 0, 20 * MS);
    assert_in_range(idle_permille(60 * SECOND), 0, 30);
}

/* A worker of so many converters is sent a job more than it has converters for; but not one of those who are held back, behind which others would wait. */
static void test_none_held_back_waits_at_a_worker(void **state)
{
    (void)state;
    world.varied = true; /* so that no more may be given away at times */
    start(false, 1, 32);
    world.others_s = 150;
    begin(1);
    run(1 * SECOND);
    run(60 * SECOND);
    assert_in_range(p99_us(), 0, 30 * MS);
    assert_in_range(idle_permille(60 * SECOND), 0, 31);
}

static void test_two_that_ask_for_all_are_spread_both(void **state)
{
    (void)state;
    start(false, 1, 20);
    world.others_s = 40;
    begin(2);
    run(1 * SECOND);
    run(60 * SECOND);
    assert_in_range(p99_us(), 0, 20 * MS);
    assert_in_range(idle_permille(60 * SECOND), 0, 30);
}

/* It is not to take an event of another kind for a job that is held back to start. */
static void test_held_job_starts_at_the_time_that_is_asked_for(void **state)
{
    (void)state;
    struct dispatch_action a;
    struct dispatch_stats stats;
    bool started = false;
    start(false, 1, 20);
    begin(1);
    do {
        assert_true(next_event(INT64_MAX));
        dispatch_stats(world.d, &stats);
    } while (stats.queued == 0 || idle() == 0);
    int64_t next_us = dispatch_next_us(world.d);
    assert_in_range(next_us - world.now_us, 1, 50 * MS);
    dispatch_tick(world.d, next_us);
    while (dispatch_next(world.d, &a))
        started = started || a.type == DISPATCH_SEND;
    assert_true(started);
}

/* Where jobs last unlike, there is little to gain, and no more is given away. */
static void test_what_is_given_away_is_bounded(void **state)
{
    (void)state;
    world.varied = true;
    start(false, 1, 20);
    begin(1);
    run(1 * SECOND);
    run(60 * SECOND);
    assert_in_range(idle_permille(60 * SECOND), 0, 31);
    assert_in_range(p99_us(), 0, 60 * MS);
}

/* What went out before, to whoever, holds nobody back for longer than jobs take. */
static void test_it_takes_hold_after_a_long_time_without_others(void **state)
{
    (void)state;
    start(false, 1, 20);
    begin(1);
    world.others_s = 0;
    run(300 * SECOND);
    world.others_s = 95;
    run(1 * SECOND);
    run(10 * SECOND);
    assert_in_range(p99_us(), 0, 20 * MS);
}

/* Converters that are slow, but worth it for so much that waits, are not kept idle beyond the bound either. */
static void test_slow_workers_are_not_given_away(void **state)
{
    (void)state;
    start(false, 2, 8);
    world.workers[1].times = 4;
    world.others_s = 20;
    begin(1);
    run(10 * SECOND);
    run(30 * SECOND);
    assert_in_range(idle_permille(30 * SECOND), 0, 31);
}

/* ---- When nothing is to be given away ---- */

static void test_one_customer_alone_has_all(void **state)
{
    (void)state;
    start(false, 1, 20);
    begin(1);
    run(1 * SECOND);
    assert_true(world.idle_us > 0);
    world.others_s = 0;
    run(DISPATCH_OTHERS_US + SECOND);
    run(10 * SECOND);
    assert_int_equal(world.idle_us, 0);
    assert_in_range(world.hog_done, 1990, 2010);
}

/* By chance one may have a few more than the others. */
static void test_many_that_share_have_all(void **state)
{
    (void)state;
    world.varied = true;
    start(false, 1, 20);
    begin(10);
    run(5 * SECOND);
    run(20 * SECOND);
    assert_int_equal(idle_permille(20 * SECOND), 0);
}

static void test_few_that_share_evenly_have_all(void **state)
{
    (void)state;
    start(false, 1, 20);
    begin(3);
    world.others_s = 0;
    run(1 * SECOND);
    run(20 * SECOND);
    assert_int_equal(world.idle_us, 0);
}

static void test_short_jobs_have_all(void **state)
{
    (void)state;
    world.service_us = 15 * MS;
    start(false, 1, 20);
    begin(1);
    run(20 * SECOND);
    assert_int_equal(world.idle_us, 0);
}

static void test_fifo_holds_nobody_back(void **state)
{
    (void)state;
    start(true, 1, 20);
    begin(1);
    run(20 * SECOND);
    assert_int_equal(world.idle_us, 0);
}

static void test_one_converter_is_never_kept_idle(void **state)
{
    (void)state;
    start(false, 1, 1);
    world.others_s = 4;
    begin(1);
    run(20 * SECOND);
    assert_int_equal(world.idle_us, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_others_wait_for_a_fifth_of_a_job_at_most),
        TEST(test_others_with_dear_jobs_go_past_too),
        TEST(test_it_takes_hold_within_a_second_at_the_price_of_a_quarter_round),
        TEST(test_several_workers_count_together),
        TEST(test_none_held_back_waits_at_a_worker),
        TEST(test_two_that_ask_for_all_are_spread_both),
        TEST(test_held_job_starts_at_the_time_that_is_asked_for),
        TEST(test_what_is_given_away_is_bounded),
        TEST(test_it_takes_hold_after_a_long_time_without_others),
        TEST(test_slow_workers_are_not_given_away),
        TEST(test_one_customer_alone_has_all),
        TEST(test_many_that_share_have_all),
        TEST(test_few_that_share_evenly_have_all),
        TEST(test_short_jobs_have_all),
        TEST(test_fifo_holds_nobody_back),
        TEST(test_one_converter_is_never_kept_idle),
    };
    return cmocka_run_group_tests_name("dispatch_pace", tests, NULL, NULL);
}
