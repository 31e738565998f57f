/* SPDX-License-Identifier: MIT */
/* The forecast of waits: whom it admits, whom it refuses, and that the books always balance. */
#include "cavage/admission.h"
#include "cavage/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MS = 1000, JOBS = 1000, MANY = 100000 };

static struct admission_books *books;
static int64_t now_us;
static struct admission_job in_flight[10]; /* of keep_busy */
static size_t flights;

static void open_books(bool fifo)
{
    struct admission_config config = {.jobs_max = JOBS,
                                      .target_us = {[LANE_SMALL] = 300 * MS, [LANE_LARGE] = 2000 * MS},
                                      .large_percent = 25,
                                      .fifo = fifo};
    now_us = 1000 * MS;
    flights = 0;
    assert_int_equal(admission_books_new(&config, &books), ERR_OK);
}

static struct admission_job small(uint64_t customer, int64_t cost_us)
{
    return (struct admission_job){.customer = customer, .lane = LANE_SMALL, .cost_us = cost_us};
}

static struct admission_job large(uint64_t customer, int64_t cost_us)
{
    return (struct admission_job){.customer = customer, .lane = LANE_LARGE, .cost_us = cost_us};
}

static void queue(struct admission_job job, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        assert_int_equal(admission_queue(books, now_us, &job), ERR_OK);
}

static void unqueue(struct admission_job job, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        admission_unqueue(books, now_us, &job);
}

/* Jobs that come and go within a second. */
static void serve_now(struct admission_job job, int64_t service_us, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        queue(job, 1);
        admission_send(books, now_us, &job);
        admission_end(books, now_us, &job, service_us, job.cost_us);
    }
}

/* Ten converters have no pause: each millisecond a job of 10 ms ends and the next one begins, of the customers in their order, again and again. The last ten
 * are at work at the end. */
static void keep_busy(const uint64_t *customers, size_t count, size_t ms)
{
    for (size_t i = 0; i < ms; i++, flights++) {
        struct admission_job *flying = &in_flight[flights % 10];
        if (flights >= 10)
            admission_end(books, now_us, flying, 10 * MS, flying->cost_us);
        *flying = small(customers[i % count], 10 * MS);
        queue(*flying, 1);
        admission_send(books, now_us, flying);
        now_us += 1 * MS;
    }
}

/* Jobs of a while ago, so that it is known what they take. */
static void serve(struct admission_job job, int64_t service_us, unsigned times)
{
    serve_now(job, service_us, times);
    now_us += 1000 * MS;
}

/* Occupy converters. */
static void occupy(struct admission_job job, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        queue(job, 1);
        admission_send(books, now_us, &job);
    }
}

static struct admission_forecast judge(struct admission_job job)
{
    struct admission_forecast f;
    admission_judge(books, now_us, &job, &f);
    return f;
}

/* Queue jobs until one is refused. */
static unsigned admitted(struct admission_job job)
{
    unsigned n = 0;
    while (n < JOBS && judge(job).admitted) {
        queue(job, 1);
        n++;
    }
    return n;
}

static void test_configuration_is_checked(void **state)
{
    (void)state;
    struct admission_config good = {.jobs_max = 1, .target_us = {1, 1}, .large_percent = 25}, bad;
    bad = good, bad.jobs_max = 0;
    assert_int_equal(admission_books_new(&bad, &books), ERR_RANGE);
    bad = good, bad.target_us[LANE_LARGE] = 0;
    assert_int_equal(admission_books_new(&bad, &books), ERR_RANGE);
    bad = good, bad.large_percent = 100;
    assert_int_equal(admission_books_new(&bad, &books), ERR_RANGE);
    assert_int_equal(admission_books_new(&good, &books), ERR_OK);
    admission_books_free(books);
}

static void test_nothing_waits_so_nothing_is_refused(void **state)
{
    (void)state;
    open_books(false);
    assert_true(judge(small(1, 60000 * MS)).admitted);
    serve(small(1, 10 * MS), 10000 * MS, 100); /* conversions of ten seconds */
    struct admission_forecast f = judge(small(1, 10 * MS));
    assert_true(f.admitted);
    assert_int_equal(f.wait_us, 0);
    assert_in_range(f.service_us, 9000 * MS, 13000 * MS);
    admission_books_free(books);
}

/* Ten converters, jobs of 10 ms: of 300 ms 10 are for the service itself, so about 290 jobs may wait. */
static void test_wait_is_work_over_converters(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 10000, 0);
    serve(small(1, 10 * MS), 10 * MS, 100);
    occupy(small(1, 10 * MS), 10);
    assert_in_range(judge(small(1, 10 * MS)).wait_us, 1 * MS, 1 * MS);
    queue(small(1, 10 * MS), 100);
    assert_in_range(judge(small(1, 10 * MS)).wait_us, 100 * MS, 102 * MS);
    assert_in_range(100 + admitted(small(1, 10 * MS)), 280, 291);
    struct admission_forecast f = judge(small(1, 10 * MS));
    assert_false(f.admitted);
    assert_in_range(f.retry_us, 1, 5 * MS);
    admission_books_free(books);
}

/* Prefetched jobs wait at the workers, and are waited for like those that wait here. */
static void test_prefetched_jobs_are_waited_for(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 10000, 0);
    serve(small(1, 10 * MS), 100 * MS, 100);
    occupy(small(1, 10 * MS), 9);
    assert_int_equal(judge(small(2, 10 * MS)).wait_us, 0);
    occupy(small(1, 10 * MS), 11);
    assert_in_range(judge(small(2, 10 * MS)).wait_us, 109 * MS, 111 * MS);
    admission_books_free(books);
}

static void test_one_with_much_is_refused_and_others_are_not(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 10000, 0);
    serve(small(1, 10 * MS), 10 * MS, 100);
    occupy(small(1, 10 * MS), 20);
    unsigned n = admitted(small(1, 10 * MS));
    assert_in_range(n, 250, 300);
    for (uint64_t customer = 2; customer < 22; customer++) {
        struct admission_forecast f = judge(small(customer, 10 * MS));
        assert_true(f.admitted);
        assert_in_range(f.wait_us, 10 * MS, 35 * MS);
        queue(small(customer, 10 * MS), 1);
        assert_false(judge(small(1, 10 * MS)).admitted);
    }
    admission_books_free(books);
}

/* Eight customers use four fifths of the converters and never wait. A ninth with work without end gets the fifth that is left, so its work takes
 * five times as long. */
static void test_one_with_much_gets_what_others_leave(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 10000, 0);
    keep_busy((uint64_t[]){1, 2, 3, 4, 5, 1, 6, 7, 8, 9}, 10, 1100);
    queue(small(1, 10 * MS), 20);
    assert_in_range(judge(small(1, 10 * MS)).wait_us, 21 * 5 * MS * 13 / 10, 21 * 5 * MS * 15 / 10);
    assert_in_range(20 + admitted(small(1, 10 * MS)), 34, 42);
    assert_true(judge(small(2, 10 * MS)).admitted);
    now_us += 1000 * MS; /* the others have stopped */
    assert_true(judge(small(1, 10 * MS)).admitted);
    admission_books_free(books);
}

/* Of twenty equal customers each gets a twentieth, so that the fourth job of one of them waits for four rounds, and the first for one at most, whoever waits
 * just now. */
static void test_equal_customers_get_equal_parts(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 10000, 0);
    keep_busy((uint64_t[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, 20, 1100);
    queue(small(1, 10 * MS), 3);
    assert_in_range(judge(small(1, 10 * MS)).wait_us, 4 * 20 * MS * 14 / 10, 4 * 20 * MS * 15 / 10);
    assert_in_range(judge(small(2, 10 * MS)).wait_us, 2 * MS, 3 * MS); /* a turn of who waits, and what is prefetched */
    assert_in_range(judge(small(20, 10 * MS)).wait_us, 20 * MS, 30 * MS); /* it had its turn just now */
    admission_books_free(books);
}

/* A customer has a hundredth of all. Converters that look a tenth faster for a moment leave it a hundredth, not a tenth more. */
static void test_a_small_share_is_not_what_an_error_leaves(void **state)
{
    uint64_t customers[100];
    (void)state;
    open_books(false);
    admission_set_capacity(books, 10000, 0);
    for (size_t i = 0; i < 100; i++)
        customers[i] = 1 + i;
    keep_busy(customers, 100, 1100);
    for (size_t i = 0; i < 8; i++) {
        struct admission_job job = small(customers[90 + i % 10], 10 * MS);
        admission_end(books, now_us, &job, 5 * MS, job.cost_us);
        queue(job, 1);
        admission_send(books, now_us, &job);
    }
    queue(small(1, 10 * MS), 2);
    assert_in_range(judge(small(1, 10 * MS)).wait_us, 3 * 100 * MS * 11 / 10, 3 * 100 * MS * 15 / 10);
    assert_false(judge(small(1, 10 * MS)).admitted);
    admission_books_free(books);
}

/* By the share it would have an eleventh, but of the last second it had to wait for nine tenths, and got two jobs. */
static void test_what_a_customer_really_got_counts(void **state)
{
    const uint64_t others[] = {2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    (void)state;
    open_books(false);
    admission_set_capacity(books, 10000, 0);
    keep_busy(others, 10, 1100);
    struct admission_job job = small(1, 10 * MS);
    queue(job, 2);
    int64_t before_us = judge(job).wait_us;
    assert_in_range(before_us, 3 * 11 * MS, 3 * 11 * MS * 15 / 10);
    for (unsigned i = 0; i < 2; i++) {
        keep_busy(others, 10, 450);
        queue(job, 1);
        admission_send(books, now_us, &job);
    }
    assert_in_range(judge(job).wait_us, 4 * before_us, 8 * before_us);
    assert_in_range(judge(small(20, 10 * MS)).wait_us, 0, 5 * MS);
    admission_books_free(books);
}

/* Half of the converters are busy with small jobs, of which never one waits: large ones take twice as long. */
static void test_work_of_the_other_lane_that_will_come_counts(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 20000, 0);
    serve(large(1, 100 * MS), 100 * MS, 100);
    keep_busy((uint64_t[]){2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 10, 1100);
    occupy(large(1, 100 * MS), 10);
    queue(large(1, 100 * MS), 10);
    assert_in_range(judge(large(20, 100 * MS)).wait_us, 2 * 5 * MS, 2 * 15 * MS);
    assert_in_range(judge(large(1, 100 * MS)).wait_us, 2 * 50 * MS, 2 * 55 * MS);
    admission_books_free(books);
}

/* A burst when little is going on: the others' few jobs do not count as if they were all there is room for. */
static void test_burst_into_a_quiet_service(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 10000, 0);
    for (uint64_t customer = 2; customer < 22; customer++)
        serve_now(small(customer, 10 * MS), 10 * MS, 5);
    queue(small(1, 10 * MS), 30);
    assert_in_range(judge(small(1, 10 * MS)).wait_us, 30 * MS, 36 * MS);
    admission_books_free(books);
}

/* Many customers with one job each are an overload of the service: then a newcomer is refused too. */
static void test_many_with_little_are_an_overload(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 1000, 0);
    serve(small(1, 10 * MS), 10 * MS, 100);
    unsigned n = 0;
    while (n < JOBS && judge(small(n, 10 * MS)).admitted)
        queue(small(n++, 10 * MS), 1);
    assert_in_range(n, 20, 30);
    admission_books_free(books);
}

static void test_fifo_knows_no_customers(void **state)
{
    (void)state;
    open_books(true);
    admission_set_capacity(books, 1000, 0);
    serve(small(1, 10 * MS), 10 * MS, 100);
    admitted(small(1, 10 * MS));
    assert_false(judge(small(2, 10 * MS)).admitted);
    assert_false(judge(large(2, 10 * MS)).admitted);
    admission_books_free(books);
}

/* The converters take ten times as long: the same work is a wait ten times as long, and fewer jobs may wait. */
static void test_limit_follows_slower_workers(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 10000, 0);
    serve(small(1, 10 * MS), 10 * MS, 200);
    queue(small(1, 10 * MS), 100);
    int64_t before_us = judge(small(1, 10 * MS)).wait_us;
    unqueue(small(1, 10 * MS), 100);
    serve(small(2, 10 * MS), 100 * MS, 200);
    queue(small(1, 10 * MS), 100);
    assert_in_range(judge(small(1, 10 * MS)).wait_us, before_us * 9, before_us * 11);
    assert_false(judge(small(1, 10 * MS)).admitted);
    unqueue(small(1, 10 * MS), 100);
    serve(small(2, 10 * MS), 10 * MS, 600);
    queue(small(1, 10 * MS), 100);
    assert_in_range(judge(small(1, 10 * MS)).wait_us, before_us * 9 / 10, before_us * 11 / 10);
    assert_true(judge(small(1, 10 * MS)).admitted);
    admission_books_free(books);
}

/* The estimate falls to a tenth while the converters take what they took: the forecast of what comes next is the same. */
static void test_forecast_does_not_follow_the_estimate(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 10000, 0);
    serve(small(1, 10 * MS), 10 * MS, 200);
    for (unsigned i = 0; i < 200; i++) {
        struct admission_job job = small(1, 10 * MS);
        queue(job, 1);
        admission_send(books, now_us, &job);
        admission_end(books, now_us, &job, 10 * MS, 1 * MS);
    }
    now_us += 1000 * MS;
    queue(small(1, 1 * MS), 100);
    assert_in_range(judge(small(2, 1 * MS)).wait_us, 900, 1100);
    assert_in_range(judge(small(1, 1 * MS)).wait_us, 95 * MS, 105 * MS);
    admission_books_free(books);
}

static void test_limit_follows_workers_that_leave_and_come(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 20000, 0);
    serve(small(1, 10 * MS), 10 * MS, 200);
    queue(small(1, 10 * MS), 400);
    assert_true(judge(small(1, 10 * MS)).admitted);
    admission_set_capacity(books, 10000, 0);
    assert_false(judge(small(1, 10 * MS)).admitted);
    admission_set_capacity(books, 0, 0); /* none is known: the last figure stays */
    assert_in_range(judge(small(1, 10 * MS)).wait_us, 400 * MS, 402 * MS);
    admission_set_capacity(books, 20000, 0);
    assert_true(judge(small(1, 10 * MS)).admitted);
    admission_books_free(books);
}

/* Jobs that come at once are waiting for a moment, until they are sent: they wait for no converter while there are enough. */
static void test_nobody_waits_while_there_are_converters(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 5300, 0);
    serve(small(1, 100 * MS), 1000 * MS, 200);
    queue(small(1, 100 * MS), 4);
    assert_true(judge(small(1, 100 * MS)).admitted);
    queue(small(1, 100 * MS), 1);
    assert_false(judge(small(1, 100 * MS)).admitted);
    admission_books_free(books);
}

/* An API that had no work has one credit of each worker, and gets the idle converters when it asks: jobs that come to it meanwhile do not wait long. */
static void test_idle_converters_of_other_apis_are_within_reach(void **state)
{
    (void)state;
    open_books(false);
    serve(small(1, 100 * MS), 1000 * MS, 200);
    occupy(small(1, 100 * MS), 2);
    admission_set_capacity(books, 2000, 3);
    assert_int_equal(admitted(small(1, 100 * MS)), 3);
    admission_set_capacity(books, 2000, 0);
    assert_false(judge(small(1, 100 * MS)).admitted);
    admission_books_free(books);
}

/* Slow conversions leave a tenth of the target for waiting, so that the converters always have something to do. */
static void test_slow_service_leaves_a_tenth_of_the_target(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 400000, 0);
    serve(small(1, 100 * MS), 400 * MS, 200);
    occupy(small(1, 100 * MS), 400);
    assert_in_range(admitted(small(1, 100 * MS)), 29, 31); /* a millisecond each */
    admission_books_free(books);
}

/* Of few converters one comes free so seldom that a quarter is left to those who ask for no more than their share. */
static void test_few_slow_converters_leave_a_quarter_of_the_target(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 20000, 0);
    serve(small(1, 100 * MS), 400 * MS, 200);
    occupy(small(1, 100 * MS), 20);
    assert_int_equal(admitted(small(1, 100 * MS)), 3); /* 20 ms each, and as much until one is free */
    admission_books_free(books);
}

static void test_lanes_have_targets_of_their_own(void **state)
{
    (void)state;
    open_books(false);
    admission_set_capacity(books, 4000, 0);
    serve(small(1, 10 * MS), 10 * MS, 100);
    serve(large(2, 100 * MS), 100 * MS, 100);
    unsigned n = admitted(large(2, 100 * MS));
    assert_in_range(n, 70, 80);
    /* A quarter of the time is the other lane's while both wait. */
    queue(small(1, 10 * MS), 60);
    assert_in_range(judge(small(1, 10 * MS)).wait_us, 195 * MS, 210 * MS);
    assert_true(judge(small(1, 10 * MS)).admitted);
    assert_true(judge(large(3, 100 * MS)).admitted);
    assert_false(judge(large(2, 100 * MS)).admitted);
    admission_books_free(books);
}

/* p99: one conversion in fifty is slow, so the forecast reckons with it; one in five hundred is not. */
static void test_service_is_the_slow_one_in_a_hundred(void **state)
{
    (void)state;
    open_books(false);
    for (unsigned i = 0; i < 3000; i++)
        serve(small(1, 10 * MS), i % 50 ? 10 * MS : 160 * MS, 1);
    assert_in_range(judge(small(1, 10 * MS)).service_us, 160 * MS, 200 * MS);
    for (unsigned i = 0; i < 3000; i++)
        serve(small(1, 10 * MS), i % 500 ? 10 * MS : 160 * MS, 1);
    assert_in_range(judge(small(1, 10 * MS)).service_us, 10 * MS, 13 * MS);
    admission_books_free(books);
}

static void test_jobs_are_bounded(void **state)
{
    (void)state;
    open_books(false);
    queue(small(1, 1), JOBS);
    struct admission_job one = small(2, 1);
    assert_int_equal(admission_queue(books, now_us, &one), ERR_FULL);
    struct admission_job first = small(1, 1);
    admission_send(books, now_us, &first);
    assert_int_equal(admission_queue(books, now_us, &one), ERR_FULL);
    admission_end(books, now_us, &first, 0, 0);
    assert_int_equal(admission_queue(books, now_us, &one), ERR_OK);
    admission_books_free(books);
}

static void test_huge_costs_do_not_overflow(void **state)
{
    (void)state;
    open_books(false);
    for (uint64_t i = 0; i < JOBS; i++)
        queue(small(i, INT64_MAX), 1);
    struct admission_forecast f = judge(small(3, INT64_MAX));
    assert_false(f.admitted);
    assert_true(f.wait_us > 0 && f.retry_us > 0);
    admission_books_free(books);
}

/* Numbers that collide in the table as often as hashes do. */
static uint64_t scattered(uint64_t i)
{
    i = (i ^ i << 21) * UINT64_C(0xBF58476D1CE4E5B9);
    return (i ^ i >> 27) * UINT64_C(0x94D049BB133111EB);
}

/* Who leaves the table of customers must not hide those who stay. */
static void test_customers_stay_when_others_leave(void **state)
{
    (void)state;
    enum { CUSTOMERS = JOBS / 2 };
    open_books(false);
    for (uint64_t i = 0; i < CUSTOMERS; i++)
        queue(small(scattered(i), 1000), 2);
    for (uint64_t i = 0; i < CUSTOMERS; i += 2) {
        struct admission_job job = small(scattered(i), 1000);
        admission_unqueue(books, now_us, &job);
        admission_unqueue(books, now_us, &job);
    }
    for (uint64_t i = 1; i < CUSTOMERS; i += 2)
        assert_int_equal(judge(small(scattered(i), 1000)).wait_us, CUSTOMERS / 2 * 2000);
    assert_int_equal(judge(small(scattered(CUSTOMERS), 1000)).wait_us, CUSTOMERS / 2 * 1000);
    admission_books_free(books);
}

struct mine {
    struct admission_job job;
    enum { OUT, WAITING, SENT } where;
};

/* Take a random step with one of the jobs. */
static void step(struct mine *m, uint64_t customer, unsigned choice)
{
    if (m->where == OUT) {
        m->job = choice & 1 ? small(customer, 1 + choice % 5000) : large(customer, 1 + choice % 90000);
        if (admission_queue(books, now_us, &m->job) == ERR_OK)
            m->where = WAITING;
    } else if (m->where == WAITING) {
        if (choice % 3 > 0)
            admission_send(books, now_us, &m->job);
        else
            admission_unqueue(books, now_us, &m->job);
        m->where = choice % 3 > 0 ? SENT : OUT;
    } else if (choice % 5 == 0) {
        admission_unsend(books, now_us, &m->job);
        m->where = WAITING;
    } else {
        admission_end(books, now_us, &m->job, choice % 2 ? 5 * MS : 0, m->job.cost_us);
        m->where = OUT;
    }
}

/* After any history in which all jobs left, the books are empty; on the way, a customer's forecast is never less than that of one without work. */
static void test_books_balance_after_any_history(void **state)
{
    (void)state;
    static struct mine mine[JOBS];
    open_books(false);
    uint64_t seed = 88172645463325252u;
    for (unsigned i = 0; i < MANY; i++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        step(&mine[seed % JOBS], seed >> 10 & 1023, (unsigned)(seed >> 33));
        now_us += (int64_t)(seed >> 50 & 255);
        if (i % 64)
            continue;
        struct admission_job known = small(seed >> 10 & 1023, 1000), stranger = small(1 << 20, 1000);
        assert_true(judge(known).wait_us >= judge(stranger).wait_us);
    }
    for (unsigned i = 0; i < JOBS; i++) {
        if (mine[i].where == WAITING)
            admission_unqueue(books, now_us, &mine[i].job);
        else if (mine[i].where == SENT)
            admission_end(books, now_us, &mine[i].job, 0, 0);
    }
    serve(small(1, 1000), 1000, 2000);
    struct admission_stats stats;
    admission_stats(books, now_us, &stats);
    assert_int_equal(stats.wait_us[LANE_SMALL], 0);
    assert_int_equal(stats.wait_us[LANE_LARGE], 0);
    for (uint64_t customer = 0; customer < JOBS; customer++)
        queue(small(customer, 1000), 1);
    assert_in_range(judge(small(1 << 20, 1000)).wait_us, JOBS * 1000 - 1000, JOBS * 1000 + 1000);
    admission_books_free(books);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_configuration_is_checked),
        cmocka_unit_test(test_nothing_waits_so_nothing_is_refused),
        cmocka_unit_test(test_wait_is_work_over_converters),
        cmocka_unit_test(test_prefetched_jobs_are_waited_for),
        cmocka_unit_test(test_one_with_much_is_refused_and_others_are_not),
        cmocka_unit_test(test_one_with_much_gets_what_others_leave),
        cmocka_unit_test(test_equal_customers_get_equal_parts),
        cmocka_unit_test(test_a_small_share_is_not_what_an_error_leaves),
        cmocka_unit_test(test_what_a_customer_really_got_counts),
        cmocka_unit_test(test_work_of_the_other_lane_that_will_come_counts),
        cmocka_unit_test(test_burst_into_a_quiet_service),
        cmocka_unit_test(test_many_with_little_are_an_overload),
        cmocka_unit_test(test_fifo_knows_no_customers),
        cmocka_unit_test(test_limit_follows_slower_workers),
        cmocka_unit_test(test_forecast_does_not_follow_the_estimate),
        cmocka_unit_test(test_limit_follows_workers_that_leave_and_come),
        cmocka_unit_test(test_nobody_waits_while_there_are_converters),
        cmocka_unit_test(test_idle_converters_of_other_apis_are_within_reach),
        cmocka_unit_test(test_slow_service_leaves_a_tenth_of_the_target),
        cmocka_unit_test(test_few_slow_converters_leave_a_quarter_of_the_target),
        cmocka_unit_test(test_lanes_have_targets_of_their_own),
        cmocka_unit_test(test_service_is_the_slow_one_in_a_hundred),
        cmocka_unit_test(test_jobs_are_bounded),
        cmocka_unit_test(test_huge_costs_do_not_overflow),
        cmocka_unit_test(test_customers_stay_when_others_leave),
        cmocka_unit_test(test_books_balance_after_any_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
