/* SPDX-License-Identifier: MIT */
/* Jobs whose image lies in an arena that goes, while they wait, while they run, and when their converter turns out to be dead. The pool is of one
 * converter that is acted. */
#include "jobs.h"
#include "pool_parts.h"

#include "cavage/bus.h"
#include "cavage/clock.h"
#include "cavage/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { API = 3, ROOM = 4096, EXTENT = 16, MINUTE_MS = 60 * 1000 };

struct fixture {
    struct loop *loop;
    struct metrics *metrics;
    struct limits limits;
    struct pool *pool;
    int converter; /* its end of the channel; -1: it is dead */
    struct jobs *jobs;
    uint8_t arena[4 * EXTENT];
    unsigned ended, unwanted; /* the second: of jobs that were cancelled */
    struct wire_result last;
};

static const struct id api_boot = {{'a'}}, worker_boot = {{'w'}};

static void nothing(void *arg)
{
    (void)arg;
}

static void on_ended(void *arg, size_t api, struct wire_result *r, const uint8_t *body, size_t body_len, bool wanted)
{
    struct fixture *f = arg;
    assert_true(body == NULL && body_len == 0);
    assert_int_equal(api, API);
    f->ended += wanted;
    f->unwanted += !wanted;
    f->last = *r;
}

/* An idle converter. */
static void revive(struct fixture *f)
{
    struct slot *s = &f->pool->slots[0];
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    if (s->channel >= 0)
        close(s->channel);
    s->channel = pair[0];
    s->state = SLOT_IDLE;
    s->pid = getpid();
    s->job = NULL;
    f->converter = pair[1];
}

static void kill_converter(struct fixture *f)
{
    close(f->converter);
    f->converter = -1;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_int_equal(loop_new(&f->loop), ERR_OK);
    assert_int_equal(metrics_new(worker_metrics, WORKER_METRIC_COUNT, &f->metrics), ERR_OK);
    f->pool = calloc(1, sizeof(*f->pool) + sizeof(f->pool->slots[0]));
    f->pool->count = 1;
    f->pool->config = (struct pool_config){.loop = f->loop,
                                           .metrics = f->metrics,
                                           .input_bytes = ROOM,
                                           .output_bytes = ROOM,
                                           .limits = &f->limits,
                                           .deadline_us = (int64_t)MINUTE_MS * 1000};
    struct slot *s = &f->pool->slots[0];
    *s = (struct slot){.owner = f->pool, .pidfd = -1, .channel = -1, .input = calloc(1, ROOM), .input_bytes = ROOM};
    assert_int_equal(loop_timer_new(f->loop, nothing, f, &s->timer), ERR_OK);
    assert_int_equal(loop_timer_new(f->loop, nothing, f, &f->pool->watch), ERR_OK);
    struct jobs_config config = {
        .metrics = f->metrics, .limits = &f->limits, .test_mode = true, .ended = on_ended, .arg = f};
    assert_int_equal(jobs_new(&config, &f->jobs), ERR_OK);
    jobs_set_pool(f->jobs, f->pool);
    revive(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct slot *s = &f->pool->slots[0];
    jobs_free(f->jobs);
    if (f->converter >= 0)
        close(f->converter);
    close(s->channel);
    loop_timer_free(s->timer);
    loop_timer_free(f->pool->watch);
    free(s->input);
    free(f->pool);
    metrics_free(f->metrics);
    loop_free(f->loop);
    free(f);
    return 0;
}

/* A job whose image is the order of an act, in the second and the fourth extent. */
static void add(struct fixture *f, uint64_t sequence)
{
    static const char image[] = "CVGTEST hang and some more";
    struct wire_job m = {.api_boot = api_boot,
                         .worker_boot = worker_boot,
                         .sequence = sequence,
                         .job = 100 + sequence,
                         .remaining_ms = MINUTE_MS,
                         .operation = OPERATION_RESIZE,
                         .request = "w=1",
                         .arena = 1,
                         .image_bytes = sizeof(image),
                         .extent_count = 2,
                         .extents = {1, 3}};
    memcpy(f->arena + (size_t)1 * EXTENT, image, EXTENT);
    memcpy(f->arena + (size_t)3 * EXTENT, image + EXTENT, sizeof(image) - EXTENT);
    struct input in = {.len = sizeof(image), .arena = f->arena, .extent_bytes = EXTENT, .extents = m.extents};
    assert_int_equal(jobs_add(f->jobs, clock_monotonic_us(), API, &m, bus_alloc(1), &in), ERR_OK);
}

/* The pool's word that the job was never begun. */
static void never_begun(struct fixture *f)
{
    const void *job = f->pool->slots[0].job;
    assert_int_equal(f->pool->slots[0].started_us, 0);
    f->pool->slots[0].state = SLOT_EMPTY;
    jobs_finished(f->jobs, job, NULL);
}

static void expect_not_started(const struct fixture *f, unsigned ended, uint64_t sequence)
{
    assert_int_equal(f->ended, ended);
    assert_int_equal(f->last.sequence, sequence);
    assert_int_equal(f->last.outcome, OUTCOME_NOT_STARTED);
}

static void test_a_converter_gets_its_own_copy(void **state)
{
    struct fixture *f = *state;
    add(f, 1);
    jobs_begin(f->jobs, clock_monotonic_us());
    memset(f->arena, 0, sizeof(f->arena));
    jobs_lose_arena(f->jobs, API);
    assert_int_equal(f->ended, 0);
    assert_string_equal((const char *)f->pool->slots[0].input, "CVGTEST hang and some more");
    const struct pool_result crashed = {.outcome = OUTCOME_CRASHED};
    jobs_finished(f->jobs, f->pool->slots[0].job, &crashed);
    assert_int_equal(f->ended, 1);
    assert_int_equal(f->last.outcome, OUTCOME_CRASHED);
}

static void test_what_waits_ends_with_the_arena(void **state)
{
    struct fixture *f = *state;
    add(f, 1);
    jobs_lose_arena(f->jobs, API + 1);
    assert_int_equal(f->ended, 0);
    jobs_lose_arena(f->jobs, API);
    expect_not_started(f, 1, 1);
    jobs_begin(f->jobs, clock_monotonic_us());
    assert_int_equal(pool_busy(f->pool), 0);
}

static void test_a_cancel_is_of_one_link(void **state)
{
    struct fixture *f = *state;
    struct wire_cancel m = {.api_boot = api_boot, .worker_boot = worker_boot, .sequence = 2, .job = 102};
    add(f, 1);
    jobs_begin(f->jobs, clock_monotonic_us());
    add(f, 2);
    m.link = 1; /* the same sequence, of a link that the API gave up */
    jobs_cancel(f->jobs, &m);
    assert_int_equal(f->unwanted, 0);
    m.link = 0;
    m.job = 103;
    jobs_cancel(f->jobs, &m);
    assert_int_equal(f->unwanted, 0);
    m.job = 102;
    jobs_cancel(f->jobs, &m);
    assert_int_equal(f->unwanted, 1);
    assert_int_equal(f->last.sequence, 2);
    assert_int_equal(f->ended, 0);
}

static void test_a_job_that_was_never_begun_is_read_again(void **state)
{
    struct fixture *f = *state;
    add(f, 1);
    kill_converter(f);
    jobs_begin(f->jobs, clock_monotonic_us());
    never_begun(f);
    memset(f->pool->slots[0].input, 0, ROOM);
    revive(f);
    jobs_begin(f->jobs, clock_monotonic_us());
    assert_int_equal(f->ended, 0);
    assert_string_equal((const char *)f->pool->slots[0].input, "CVGTEST hang and some more");
}

/* It counts as no start: nothing of its image was at work. */
static void test_a_job_that_was_never_begun_ends_with_the_arena(void **state)
{
    struct fixture *f = *state;
    add(f, 1);
    kill_converter(f);
    jobs_begin(f->jobs, clock_monotonic_us());
    jobs_lose_arena(f->jobs, API);
    assert_int_equal(f->ended, 0);
    never_begun(f);
    expect_not_started(f, 1, 1);
    revive(f);
    jobs_begin(f->jobs, clock_monotonic_us());
    assert_int_equal(pool_busy(f->pool), 0);
    /* And when it was put back before. */
    add(f, 2);
    kill_converter(f);
    jobs_begin(f->jobs, clock_monotonic_us());
    never_begun(f);
    assert_int_equal(f->ended, 1);
    jobs_lose_arena(f->jobs, API);
    expect_not_started(f, 2, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_converter_gets_its_own_copy),
        TEST(test_what_waits_ends_with_the_arena),
        TEST(test_a_cancel_is_of_one_link),
        TEST(test_a_job_that_was_never_begun_is_read_again),
        TEST(test_a_job_that_was_never_begun_ends_with_the_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
