/* SPDX-License-Identifier: MIT */
/* The dispatcher, one rule at a time. How the rules work together under faults is tested in tests/sim. */
#include "cavage/dispatch.h"
#include "cavage/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PEERS = 3, MS = 1000, NOBODY = 99 };

static struct dispatch *d;
static int64_t now_us;
static uint64_t status_sequence;
static struct dispatch_stats stats;

static struct id boot(uint8_t n)
{
    struct id id = {{n, 1}};
    return id;
}

static struct dispatch_config config_make(void)
{
    return (struct dispatch_config){.boot = boot(200),
                                    .max_jobs = 100,
                                    .max_queued = 50,
                                    .max_queued_per_customer = 40,
                                    .fifo = true,
                                    .retry_percent = 10};
}

static void start(const struct dispatch_config *config)
{
    size_t peer;
    now_us = 10 * 1000 * MS;
    status_sequence = 0;
    assert_int_equal(dispatch_new(config, &d), ERR_OK);
    for (size_t i = 0; i < PEERS; i++) {
        assert_int_equal(dispatch_peer_add(d, &peer), ERR_OK);
        assert_int_equal(peer, i);
    }
}

static int setup(void **state)
{
    (void)state;
    struct dispatch_config config = config_make();
    start(&config);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dispatch_free(d);
    return 0;
}

/* The next action that is no HELLO. */
static bool next(struct dispatch_action *action)
{
    while (dispatch_next(d, action)) {
        if (action->type != DISPATCH_HELLO)
            return true;
    }
    return false;
}

static void expect_nothing(void)
{
    struct dispatch_action action;
    assert_false(next(&action));
}

static void expect_send(size_t peer, uint64_t job, uint64_t sequence)
{
    struct dispatch_action action;
    assert_true(next(&action));
    assert_int_equal(action.type, DISPATCH_SEND);
    assert_int_equal(action.job, job);
    assert_int_equal(action.sequence, sequence);
    if (peer != NOBODY)
        assert_int_equal(action.peer, peer);
}

static void expect_fail(uint64_t job, enum dispatch_failure failure)
{
    struct dispatch_action action;
    assert_true(next(&action));
    assert_int_equal(action.type, DISPATCH_FAIL);
    assert_int_equal(action.job, job);
    assert_int_equal(action.failure, failure);
}

static void expect_cancel(size_t peer, uint64_t job, uint64_t sequence)
{
    struct dispatch_action action;
    assert_true(next(&action));
    assert_int_equal(action.type, DISPATCH_CANCEL);
    assert_int_equal(action.peer, peer);
    assert_int_equal(action.job, job);
    assert_int_equal(action.sequence, sequence);
}

static int submit(uint64_t id)
{
    struct dispatch_job job = {.id = id, .customer = 1, .cost_us = 10, .deadline_us = now_us + 10 * 1000 * MS};
    return dispatch_submit(d, now_us, &job);
}

static struct wire_status status_of(size_t peer, uint8_t worker, uint64_t seen, uint64_t limit)
{
    return (struct wire_status){.worker_boot = boot(worker),
                                .api_boot = boot(200),
                                .link = (uint32_t)peer,
                                .sequence = ++status_sequence,
                                .slots = 4,
                                .seen = seen,
                                .limit = limit};
}

/* A STATUS that holds nothing. */
static void status(size_t peer, uint8_t worker, uint64_t seen, uint64_t limit)
{
    struct wire_status m = status_of(peer, worker, seen, limit);
    dispatch_status(d, now_us, &m);
}

static void up(size_t peer, uint8_t worker, uint64_t limit)
{
    dispatch_peer_up(d, now_us, peer);
    status(peer, worker, 0, limit);
}

/* A RESULT whose status has seen the job and holds nothing else, and grants up to limit. */
static enum dispatch_verdict result(size_t peer, uint8_t worker, uint64_t job, uint64_t sequence, enum outcome outcome,
                                    uint64_t limit)
{
    static struct wire_result m;
    m = (struct wire_result){.sequence = sequence, .job = job, .outcome = outcome};
    m.status = status_of(peer, worker, sequence, limit);
    return dispatch_result(d, now_us, &m);
}

static void tick_at(int64_t at_us)
{
    now_us = at_us;
    dispatch_tick(d, now_us);
}

/* As a loop does that is not late: at every time that is asked for, and then at at_us. */
static void tick_until(int64_t at_us)
{
    struct dispatch_action action;
    int64_t next_us;
    while ((next_us = dispatch_next_us(d)) < at_us) {
        tick_at(next_us);
        while (dispatch_next(d, &action))
            assert_int_equal(action.type, DISPATCH_HELLO);
    }
    tick_at(at_us);
}

static void test_job_goes_out_and_its_result_answers(void **state)
{
    (void)state;
    struct dispatch_action action;

    assert_false(dispatch_has_worker(d));
    up(0, 1, 8);
    assert_true(dispatch_has_worker(d));
    assert_int_equal(submit(7), ERR_OK);
    assert_true(next(&action));
    assert_int_equal(action.type, DISPATCH_SEND);
    assert_int_equal(action.job, 7);
    assert_int_equal(action.sequence, 1);
    assert_int_equal(action.remaining_ms, 10000);
    struct id expected = boot(1);
    assert_true(id_equal(&action.worker_boot, &expected));
    assert_int_equal(result(0, 1, 7, 1, OUTCOME_OK, 9), DISPATCH_ANSWER);
    assert_int_equal(result(0, 1, 7, 1, OUTCOME_OK, 9), DISPATCH_DROP);
    expect_nothing();
    dispatch_stats(d, &stats);
    assert_int_equal(stats.queued + stats.sent, 0);
    assert_int_equal(stats.late_results, 1);
}

static void test_errors_of_the_image_answer_too(void **state)
{
    (void)state;
    static const enum outcome outcomes[] = {OUTCOME_NOT_AN_IMAGE, OUTCOME_UNDECODABLE, OUTCOME_TOO_LARGE,
                                            OUTCOME_BAD_REQUEST, OUTCOME_INTERNAL};
    up(0, 1, 8);
    for (uint64_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        submit(1 + i);
        expect_send(0, 1 + i, 1 + i);
        assert_int_equal(result(0, 1, 1 + i, 1 + i, outcomes[i], 9 + i), DISPATCH_ANSWER);
    }
    expect_nothing();
}

static void test_nothing_is_sent_beyond_the_limit(void **state)
{
    (void)state;
    up(0, 1, 2);
    for (uint64_t i = 1; i <= 4; i++)
        submit(i);
    expect_send(0, 1, 1);
    expect_send(0, 2, 2);
    expect_nothing();
    struct wire_status m = status_of(0, 1, 2, 3);
    m.held_count = 2, m.held[0] = 1, m.held[1] = 2;
    dispatch_status(d, now_us, &m);
    expect_send(0, 3, 3);
    expect_nothing();
}

static void test_lowered_limit_is_kept(void **state)
{
    (void)state;
    up(0, 1, 5);
    status(0, 1, 0, 0);
    submit(1);
    expect_nothing();
    status(0, 1, 0, 1);
    expect_send(0, 1, 1);
}

static void test_older_status_is_ignored(void **state)
{
    (void)state;
    up(0, 1, 5);
    struct wire_status older = status_of(0, 1, 0, 5);
    status(0, 1, 0, 0);
    dispatch_status(d, now_us, &older);
    submit(1);
    expect_nothing();
    dispatch_stats(d, &stats);
    assert_int_equal(stats.stale_messages, 1);
}

static void test_draining_worker_gets_nothing(void **state)
{
    (void)state;
    up(0, 1, 5);
    struct wire_status m = status_of(0, 1, 0, 5);
    m.draining = true;
    dispatch_status(d, now_us, &m);
    assert_false(dispatch_has_worker(d));
    submit(1);
    expect_nothing();
}

static void test_least_loaded_worker_is_chosen_and_equals_take_turns(void **state)
{
    (void)state;
    for (size_t p = 0; p < 3; p++)
        up(p, (uint8_t)(1 + p), 100);
    unsigned sent[PEERS] = {0};
    for (uint64_t i = 1; i <= 30; i++) {
        struct dispatch_action action;
        submit(i);
        assert_true(next(&action));
        sent[action.peer]++;
        for (size_t p = 0; p < PEERS; p++)
            assert_in_range(sent[p], i / 3, (i + 2) / 3);
    }
    /* One of them turns out to be busy for others: the next two jobs avoid it. */
    struct wire_status m = status_of(1, 2, 10, 100);
    m.held_count = 10;
    for (uint64_t i = 0; i < 10; i++)
        m.held[i] = 1 + i;
    m.busy = 14;
    dispatch_status(d, now_us, &m);
    for (uint64_t i = 31; i <= 36; i++) {
        struct dispatch_action action;
        submit(i);
        assert_true(next(&action));
        assert_int_not_equal(action.peer, 1);
    }
}

/* A job goes out, and its result comes when that peer's time is over; returns the peer. */
static size_t run_job(uint64_t id, int64_t (*taken_us)(size_t peer))
{
    static struct wire_result m;
    struct dispatch_action action;

    assert_int_equal(submit(id), ERR_OK);
    assert_true(next(&action));
    assert_int_equal(action.type, DISPATCH_SEND);
    now_us += taken_us(action.peer);
    m = (struct wire_result){.sequence = action.sequence, .job = id, .outcome = OUTCOME_OK};
    m.status = status_of(action.peer, (uint8_t)(1 + action.peer), action.sequence, action.sequence + 8);
    assert_int_equal(dispatch_result(d, now_us, &m), DISPATCH_ANSWER);
    return action.peer;
}

static int64_t second_is_slow(size_t peer)
{
    return peer == 1 ? 50 * MS : 5 * MS;
}

static int64_t all_are_quick(size_t peer)
{
    (void)peer;
    return 5 * MS;
}

static void test_slow_worker_gets_work_only_when_the_queue_is_long(void **state)
{
    (void)state;
    struct dispatch_action action;
    uint64_t id = 0;
    unsigned sent[2] = {0};

    up(0, 1, 8);
    up(1, 2, 8);
    while (id < 100)
        run_job(++id, second_is_slow);
    for (; id < 140; id++)
        assert_int_equal(run_job(id + 1, second_is_slow), 0);

    /* Eight go to the quick one. With the 40th it would be at work as long as the slow one, of ten times its time, with one: ten rounds of four. */
    for (int i = 0; i < 39; i++) {
        submit(++id);
        while (next(&action))
            sent[action.peer]++;
    }
    assert_int_equal(sent[0], 8);
    assert_int_equal(sent[1], 0);
    for (int i = 0; i < 8; i++) {
        submit(++id);
        while (next(&action))
            sent[action.peer]++;
    }
    assert_true(sent[1] > 0);
}

/* Chance makes some of many workers look quick, and jobs take long now and then: no reason to leave converters idle. */
static void test_uneven_jobs_make_no_worker_slow(void **state)
{
    enum { MANY = 40, ROUNDS = 200 };
    static const int64_t taken_us[] = {500, 1500, 3000, 4500, 6000, 8500, 11000, 15000, 21000, 45000};
    struct dispatch_action sent[MANY];
    uint64_t id = 0, random = 1;

    (void)state;
    for (size_t p = 0; p < MANY; p++) {
        size_t peer = p;
        if (p >= PEERS)
            assert_int_equal(dispatch_peer_add(d, &peer), ERR_OK);
        up(peer, (uint8_t)(1 + p), 100);
    }
    for (int round = 0; round < ROUNDS; round++) {
        bool used[MANY] = {false};
        int64_t began_us = now_us;
        for (size_t i = 0; i < MANY; i++) {
            submit(++id);
            assert_true(next(&sent[i]));
            assert_int_equal(sent[i].type, DISPATCH_SEND);
            assert_false(used[sent[i].peer]); /* each has one, so none was passed over */
            used[sent[i].peer] = true;
        }
        for (size_t step = 0; step < sizeof taken_us / sizeof taken_us[0]; step++) {
            now_us = began_us + taken_us[step];
            for (size_t i = 0; i < MANY; i++) {
                if (((random * 40 + i) * UINT64_C(0x9e3779b97f4a7c15) >> 33) % 10 != step)
                    continue;
                struct wire_result m = {.sequence = sent[i].sequence, .job = sent[i].job, .outcome = OUTCOME_OK};
                m.status =
                    status_of(sent[i].peer, (uint8_t)(1 + sent[i].peer), sent[i].sequence, sent[i].sequence + 100);
                assert_int_equal(dispatch_result(d, now_us, &m), DISPATCH_ANSWER);
            }
        }
        random++;
    }
}

/* Nobody waits for a quick one that will not be given anything more. */
static void test_slow_worker_gets_work_when_the_quick_one_is_retired(void **state)
{
    (void)state;
    struct dispatch_action action;
    uint64_t id = 0;

    up(0, 1, 8);
    up(1, 2, 8);
    while (id < 140)
        run_job(++id, second_is_slow);
    submit(++id);
    assert_true(next(&action));
    assert_int_equal(action.peer, 0);
    dispatch_peer_retire(d, now_us, 0, true);
    submit(++id);
    assert_true(next(&action));
    assert_int_equal(action.job, id);
    assert_int_equal(action.peer, 1);
    dispatch_stats(d, &stats);
    assert_int_equal(stats.own_slots_milli, 4000);
}

static void test_slow_worker_is_tried_again_and_believed(void **state)
{
    (void)state;
    uint64_t id = 0;
    unsigned slow = 0, back = 0;

    up(0, 1, 8);
    up(1, 2, 8);
    while (id < 60)
        run_job(++id, second_is_slow);
    for (int i = 0; i < 4000; i++)
        slow += run_job(++id, second_is_slow) == 1; /* 20 s */
    assert_in_range(slow, 1, 8);
    for (int i = 0; i < 6000; i++) {
        size_t peer = run_job(++id, all_are_quick);
        back += peer == 1 && i > 5000;
    }
    assert_in_range(back, 400, 600);
}

static void test_worker_that_stands_still_is_avoided_before_it_is_silent(void **state)
{
    (void)state;
    struct dispatch_action action;
    uint64_t id = 0;

    up(0, 1, 8);
    up(1, 2, 8);
    while (id < 60)
        run_job(++id, all_are_quick);
    submit(++id);
    assert_true(next(&action));
    size_t still = action.peer;
    now_us += 100 * MS;
    for (int i = 0; i < 6; i++) {
        submit(++id);
        assert_true(next(&action));
        assert_int_not_equal(action.peer, still);
    }
}

static void warm_up(uint64_t jobs)
{
    up(0, 1, 8);
    up(1, 2, 8);
    for (uint64_t id = 1; id <= jobs; id++)
        run_job(id, all_are_quick);
    tick_at(now_us);
    expect_nothing();
}

static void test_job_of_a_worker_that_stands_still_is_hedged(void **state)
{
    (void)state;
    struct dispatch_action action, second;

    warm_up(100);
    submit(200);
    assert_true(next(&action));
    int64_t due_us = dispatch_next_us(d);
    assert_in_range(due_us - now_us, 20 * MS, 30 * MS);
    now_us = due_us - 1;
    expect_nothing();
    tick_at(due_us);
    assert_true(next(&second));
    assert_int_equal(second.type, DISPATCH_SEND);
    assert_int_equal(second.job, 200);
    assert_int_equal(second.peer, 1 - action.peer);
    now_us += 500 * MS;
    up(2, 3, 8);
    expect_nothing(); /* there is no third copy */

    /* The first answers after all; the second is told to stop, and its answer dropped. */
    assert_int_equal(result(action.peer, (uint8_t)(1 + action.peer), 200, action.sequence, OUTCOME_OK, 1000),
                     DISPATCH_ANSWER);
    expect_cancel(second.peer, 200, second.sequence);
    assert_int_equal(result(second.peer, (uint8_t)(1 + second.peer), 200, second.sequence, OUTCOME_OK, 1000),
                     DISPATCH_DROP);
    dispatch_stats(d, &stats);
    assert_int_equal(stats.hedged, 1);
    assert_int_equal(stats.requeued + stats.sent + stats.queued, 0);
}

/* Where jobs take two fifths of their estimated cost, five times that is twice the cost: neither the cost itself nor the least. */
static void test_hedge_is_due_by_the_pace_of_the_best_worker(void **state)
{
    (void)state;
    struct dispatch_action action;

    up(0, 1, 1000);
    up(1, 2, 1000);
    for (uint64_t id = 1; id <= 101; id++) {
        struct dispatch_job job = {
            .id = id, .customer = 1, .cost_us = 100 * MS, .deadline_us = now_us + 10 * 1000 * MS};
        assert_int_equal(dispatch_submit(d, now_us, &job), ERR_OK);
        assert_true(next(&action));
        assert_int_equal(action.job, id);
        if (id == 101)
            break;
        tick_until(now_us + 39 * MS);
        for (size_t p = 0; p < 2; p++)
            if (p != action.peer)
                status(p, (uint8_t)(1 + p), 0, 1000);
        assert_int_equal(result(action.peer, (uint8_t)(1 + action.peer), id, action.sequence, OUTCOME_OK, 1000),
                         DISPATCH_ANSWER);
    }
    tick_at(now_us + 190 * MS);
    expect_nothing();
    tick_at(now_us + 10 * MS);
    assert_true(next(&action));
    assert_int_equal(action.type, DISPATCH_SEND);
    assert_int_equal(action.job, 101);
}

static void test_job_that_is_long_by_itself_is_not_hedged(void **state)
{
    (void)state;
    enum { JOBS = 12 };
    struct dispatch_action sent[JOBS], second;
    size_t quick = 0;

    warm_up(100);
    for (size_t i = 0; i < JOBS; i++) {
        submit(200 + i);
        assert_true(next(&sent[i]));
    }
    for (size_t i = 1; i < JOBS; i++)
        if (sent[i].peer != sent[0].peer)
            result(sent[i].peer, (uint8_t)(1 + sent[i].peer), sent[i].job, sent[i].sequence, OUTCOME_OK, 1000);
    for (size_t i = 1; i < JOBS; i++) {
        if (sent[i].peer != sent[0].peer)
            continue;
        tick_at(now_us + 15 * MS);
        expect_nothing();
        struct wire_result m = {.sequence = sent[i].sequence, .job = sent[i].job, .outcome = OUTCOME_OK};
        m.status = status_of(sent[i].peer, (uint8_t)(1 + sent[i].peer), sent[i].sequence, 1000);
        m.status.held[m.status.held_count++] = sent[0].sequence;
        assert_int_equal(dispatch_result(d, now_us, &m), DISPATCH_ANSWER);
        quick++;
    }
    assert_in_range(quick, 4, 6);
    tick_at(now_us + 60 * MS); /* nothing comes back any more */
    assert_true(next(&second));
    assert_int_equal(second.type, DISPATCH_SEND);
    assert_int_equal(second.job, sent[0].job);
}

static void test_lost_hedge_leaves_the_job_where_it_was(void **state)
{
    (void)state;
    struct dispatch_action action, second;

    warm_up(100);
    submit(200);
    assert_true(next(&action));
    tick_at(dispatch_next_us(d));
    assert_true(next(&second));
    dispatch_peer_down(d, now_us, second.peer);
    expect_nothing();
    dispatch_stats(d, &stats);
    assert_int_equal(stats.sent, 1);
    assert_int_equal(result(action.peer, (uint8_t)(1 + action.peer), 200, action.sequence, OUTCOME_OK, 1000),
                     DISPATCH_ANSWER);
}

static void test_refused_hedge_leaves_the_job_where_it_was(void **state)
{
    (void)state;
    struct dispatch_action action, second;

    warm_up(200);
    submit(200 + 1);
    assert_true(next(&action));
    tick_at(dispatch_next_us(d));
    assert_true(next(&second));
    /* By the worker, that drains; and by a socket. Neither counts as a start. */
    struct wire_result m = {.sequence = second.sequence, .job = second.job, .outcome = OUTCOME_NOT_STARTED};
    m.status = status_of(second.peer, (uint8_t)(1 + second.peer), second.sequence, second.sequence);
    m.status.draining = true;
    assert_int_equal(dispatch_result(d, now_us, &m), DISPATCH_DROP);
    expect_nothing();
    dispatch_stats(d, &stats);
    assert_int_equal(stats.sent, 1);
    assert_int_equal(stats.queued, 0);
    up(2, 3, 8);
    tick_at(now_us + 20 * MS);
    assert_true(next(&second));
    assert_int_equal(second.peer, 2);
    assert_false(dispatch_send_refused(d, now_us, second.peer, second.job));
    expect_nothing();
    dispatch_peer_down(d, now_us, 2);
    expect_nothing();
    dispatch_stats(d, &stats);
    assert_int_equal(stats.sent, 1);
    assert_int_equal(stats.queued, 0);

    /* Its worker is lost: one start was used. */
    up(2, 4, 8);
    dispatch_peer_down(d, now_us, action.peer);
    expect_send(2, second.job, 1);
    assert_int_equal(result(2, 4, second.job, 1, OUTCOME_OK, 8), DISPATCH_ANSWER);
    dispatch_stats(d, &stats);
    assert_int_equal(stats.sent + stats.queued, 0);
}

static void test_hedged_job_is_not_hedged_again(void **state)
{
    (void)state;
    struct dispatch_action action, second;

    warm_up(120);
    submit(200);
    assert_true(next(&action));
    tick_at(dispatch_next_us(d));
    assert_true(next(&second));
    /* The copy ends its converter: the job is where it was, and has had its two starts. */
    result(second.peer, (uint8_t)(1 + second.peer), 200, second.sequence, OUTCOME_CRASHED, 1000);
    tick_at(now_us + 200 * MS);
    expect_nothing();
    assert_int_equal(result(action.peer, (uint8_t)(1 + action.peer), 200, action.sequence, OUTCOME_OK, 1000),
                     DISPATCH_ANSWER);
}

static void test_job_of_two_lost_workers_fails_though_it_was_hedged(void **state)
{
    (void)state;
    struct dispatch_action action, second;

    warm_up(100);
    submit(200);
    assert_true(next(&action));
    tick_at(dispatch_next_us(d));
    assert_true(next(&second));
    dispatch_peer_down(d, now_us, action.peer);
    expect_nothing();
    dispatch_peer_down(d, now_us, second.peer);
    expect_fail(200, DISPATCH_RETRIES);
}

static void test_hedges_are_few_and_only_onto_idle_workers(void **state)
{
    (void)state;
    struct dispatch_action action, second;

    warm_up(97);
    submit(200);
    assert_true(next(&action));
    tick_at(dispatch_next_us(d));
    assert_true(next(&second));
    assert_int_equal(result(second.peer, (uint8_t)(1 + second.peer), 200, second.sequence, OUTCOME_OK, 1000),
                     DISPATCH_ANSWER);
    expect_cancel(action.peer, 200, action.sequence);

    submit(201); /* with it not quite another hedge is earned */
    assert_true(next(&action));
    tick_at(now_us + 100 * MS);
    assert_true(dispatch_next_us(d) > now_us);
    expect_nothing();
    submit(202); /* earns the rest, and goes to the other worker */
    assert_true(next(&action));
    assert_int_equal(action.job, 202);
    expect_send(action.peer, 201, action.sequence + 1);
    tick_at(now_us + 200 * MS);
    expect_nothing(); /* both stand still now */
}

static void test_of_equals_the_host_that_is_less_busy_is_taken(void **state)
{
    (void)state;
    struct dispatch_action action;
    unsigned sent[PEERS] = {0};

    for (size_t p = 0; p < PEERS; p++)
        up(p, (uint8_t)(1 + p), 1000);
    for (uint64_t i = 1; i <= 600; i++) {
        for (size_t p = 0; p < PEERS; p++) {
            struct wire_status m = status_of(p, (uint8_t)(1 + p), i - 1, 1000);
            m.seen = sent[p];
            m.load_permille = 100 * (unsigned)p;
            dispatch_status(d, now_us, &m);
        }
        submit(i);
        assert_true(next(&action));
        sent[action.peer]++;
        result(action.peer, (uint8_t)(1 + action.peer), i, action.sequence, OUTCOME_UNDECODABLE, 1000);
    }
    /* Two of three are drawn: the busiest is never taken, the least busy in two of three draws. */
    assert_int_equal(sent[2], 0);
    assert_in_range(sent[0], 340, 460);
}

static void test_slots_weigh_the_load(void **state)
{
    (void)state;
    for (size_t p = 0; p < 2; p++) {
        dispatch_peer_up(d, now_us, p);
        struct wire_status m = status_of(p, (uint8_t)(1 + p), 0, 100);
        m.slots = p == 0 ? 1 : 4;
        dispatch_status(d, now_us, &m);
    }
    unsigned sent[2] = {0};
    for (uint64_t i = 1; i <= 20; i++) {
        struct dispatch_action action;
        submit(i);
        assert_true(next(&action));
        sent[action.peer]++;
    }
    assert_int_equal(sent[0], 4);
    assert_int_equal(sent[1], 16);
}

static void test_lost_job_is_found_by_status_and_goes_first(void **state)
{
    (void)state;
    up(0, 1, 3);
    for (uint64_t i = 1; i <= 5; i++)
        submit(i);
    for (uint64_t i = 1; i <= 3; i++)
        expect_send(0, i, i);
    expect_nothing();
    /* Seen up to 2, only 2 is held: 1 is lost, 3 is under way. */
    struct wire_status m = status_of(0, 1, 2, 5);
    m.held_count = 1, m.held[0] = 2;
    dispatch_status(d, now_us, &m);
    expect_send(0, 1, 4);
    expect_send(0, 4, 5);
    expect_nothing();
    dispatch_stats(d, &stats);
    assert_int_equal(stats.requeued, 1);
}

static void test_malformed_held_list_is_ignored(void **state)
{
    (void)state;
    up(0, 1, 3);
    submit(1);
    submit(2);
    expect_send(0, 1, 1);
    expect_send(0, 2, 2);
    struct wire_status m = status_of(0, 1, 2, 5);
    m.held_count = 2, m.held[0] = 2, m.held[1] = 1;
    dispatch_status(d, now_us, &m);
    m = status_of(0, 1, 3, 5); /* seen what was never sent */
    dispatch_status(d, now_us, &m);
    expect_nothing();
    dispatch_stats(d, &stats);
    assert_int_equal(stats.sent, 2);
    assert_int_equal(stats.stale_messages, 2);
}

static void test_jobs_of_a_peer_that_went_go_elsewhere_in_their_order(void **state)
{
    (void)state;
    up(0, 1, 3);
    for (uint64_t i = 1; i <= 4; i++)
        submit(i);
    for (uint64_t i = 1; i <= 3; i++)
        expect_send(0, i, i);
    up(1, 2, 8);
    expect_send(1, 4, 1);
    submit(5);
    dispatch_peer_down(d, now_us, 0);
    expect_send(1, 1, 2);
    expect_send(1, 2, 3);
    expect_send(1, 3, 4);
    expect_send(1, 5, 5);
    expect_nothing();
}

static void test_peer_is_used_again_only_after_a_fresh_status(void **state)
{
    (void)state;
    up(0, 1, 3);
    dispatch_peer_down(d, now_us, 0);
    submit(1);
    status(0, 1, 0, 3); /* came late, from before */
    expect_nothing();
    assert_false(dispatch_has_worker(d));
    dispatch_peer_up(d, now_us, 0);
    expect_nothing();
    status(0, 1, 0, 3);
    expect_send(0, 1, 1);
}

static void test_silent_peer_loses_its_jobs_after_a_second(void **state)
{
    (void)state;
    up(0, 1, 3);
    submit(1);
    expect_send(0, 1, 1);
    up(1, 2, 3);
    int64_t heard_us = now_us;
    tick_until(heard_us + 900 * MS);
    struct wire_status m = status_of(1, 2, 0, 3);
    dispatch_status(d, now_us, &m);
    tick_until(heard_us + 1000 * MS - 1);
    expect_nothing();
    tick_at(heard_us + 1000 * MS);
    expect_send(1, 1, 1);
    /* Its late result answers all the same, and the copy is cancelled. */
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_OK, 3), DISPATCH_ANSWER);
    expect_cancel(1, 1, 1);
    expect_nothing();
}

static void test_pause_of_our_own_is_no_silence_of_others(void **state)
{
    (void)state;
    up(0, 1, 3);
    submit(1);
    expect_send(0, 1, 1);
    tick_until(now_us + 200 * MS);
    int64_t back_us = now_us + 3000 * MS;
    tick_at(back_us);
    expect_nothing();
    dispatch_stats(d, &stats);
    assert_int_equal(stats.sent, 1);
    tick_until(back_us + 1000 * MS);
    dispatch_stats(d, &stats);
    assert_int_equal(stats.sent, 0);
    assert_int_equal(stats.queued, 1);
}

static void test_silence_is_noticed_between_pauses_of_our_own(void **state)
{
    (void)state;
    up(0, 1, 3);
    submit(1);
    expect_send(0, 1, 1);
    expect_nothing();
    int64_t heard_us = now_us;
    for (unsigned i = 0; i < 8; i++) {
        tick_until(now_us + 300 * MS);
        tick_at(now_us + 400 * MS); /* of which at least 150 ms are late, since a HELLO is due every 250 ms */
    }
    assert_true(now_us - heard_us < 6000 * MS);
    dispatch_stats(d, &stats);
    assert_int_equal(stats.lost_peers, 1);
    assert_int_equal(stats.queued, 1);
}

static void test_pause_is_noticed_by_the_first_event_after_it(void **state)
{
    (void)state;
    up(0, 1, 1);
    submit(1);
    expect_send(0, 1, 1);
    expect_nothing();
    tick_until(now_us + 200 * MS);
    /* Just over the bound of silence. The job that comes first makes a HELLO due, which puts the next tick off. */
    now_us += 850 * MS;
    submit(2);
    expect_nothing();
    tick_at(now_us);
    expect_nothing();
    dispatch_stats(d, &stats);
    assert_int_equal(stats.lost_peers, 0);
    assert_int_equal(stats.sent, 1);
}

static void test_new_boot_resets_the_link(void **state)
{
    (void)state;
    up(0, 1, 3);
    submit(1);
    submit(2);
    expect_send(0, 1, 1);
    expect_send(0, 2, 2);
    status(0, 9, 0, 3);
    expect_send(0, 1, 1);
    expect_send(0, 2, 2);
    expect_nothing();
}

static void test_replaced_boot_answers_nothing_while_its_successor_speaks(void **state)
{
    (void)state;
    up(0, 1, 3);
    submit(1);
    expect_send(0, 1, 1);
    status(0, 2, 0, 3);
    expect_send(0, 1, 1);
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_OK, 9), DISPATCH_DROP);
    status(0, 1, 0, 9);
    for (uint8_t worker = 3; worker < 18; worker++) { /* fifteen more boots; the first is remembered still */
        status(0, worker, 0, 0);
        status(0, 1, 0, 9);
    }
    dispatch_stats(d, &stats);
    assert_int_equal(stats.stale_messages, 17);
}

/* The first that is heard of a boot may come after its successor's first word, when its connection was held up. */
static void test_last_word_of_a_dead_boot_does_not_shut_out_the_living(void **state)
{
    (void)state;
    up(0, 2, 3);
    submit(1);
    expect_send(0, 1, 1);
    status(0, 1, 0, 0);
    expect_nothing();
    now_us += 999 * MS;
    status(0, 2, 0, 3);
    expect_nothing();
    now_us += 1 * MS;
    status(0, 2, 1, 4);
    expect_send(0, 1, 2);
    assert_int_equal(result(0, 2, 1, 2, OUTCOME_OK, 4), DISPATCH_ANSWER);
}

static void test_retired_peer_finishes_what_it_has(void **state)
{
    (void)state;
    up(0, 1, 3);
    submit(1);
    expect_send(0, 1, 1);
    assert_false(dispatch_peer_idle(d, 0));
    dispatch_peer_retire(d, now_us, 0, true);
    assert_false(dispatch_has_worker(d));
    submit(2);
    expect_nothing();
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_OK, 3), DISPATCH_ANSWER);
    expect_nothing();
    assert_true(dispatch_peer_idle(d, 0));
    dispatch_peer_down(d, now_us, 0);
    dispatch_stats(d, &stats);
    assert_int_equal(stats.lost_peers, 0);
    /* The same worker is listed again: it goes on where it was. */
    dispatch_peer_retire(d, now_us, 0, false);
    dispatch_peer_up(d, now_us, 0);
    status(0, 1, 1, 3);
    expect_send(0, 2, 2);
}

static void test_reused_number_knows_nothing_of_the_worker_before(void **state)
{
    (void)state;
    up(0, 1, 3);
    submit(1);
    expect_send(0, 1, 1);
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_OK, 3), DISPATCH_ANSWER);
    dispatch_peer_retire(d, now_us, 0, true);
    dispatch_peer_down(d, now_us, 0);
    dispatch_peer_reuse(d, now_us, 0);
    up(0, 2, 3);
    status(0, 1, 1, 9); /* of the worker before */
    dispatch_stats(d, &stats);
    assert_int_equal(stats.stale_messages, 1);
    submit(2);
    expect_send(0, 2, 1);
}

static void test_messages_for_another_boot_or_link_are_dropped(void **state)
{
    (void)state;
    up(0, 1, 3);
    struct wire_status m = status_of(0, 1, 0, 9);
    m.api_boot = boot(201);
    dispatch_status(d, now_us, &m);
    m = status_of(PEERS, 1, 0, 9);
    dispatch_status(d, now_us, &m);
    m = status_of(UINT32_MAX, 1, 0, 9);
    dispatch_status(d, now_us, &m);
    assert_int_equal(result(PEERS, 1, 1, 1, OUTCOME_OK, 9), DISPATCH_DROP);
    dispatch_stats(d, &stats);
    assert_int_equal(stats.stale_messages, 4);
}

static void test_result_of_a_number_the_job_never_had_is_dropped(void **state)
{
    (void)state;
    up(0, 1, 3);
    up(1, 2, 0);
    submit(1);
    submit(2);
    expect_send(0, 1, 1);
    expect_send(0, 2, 2);
    assert_int_equal(result(1, 2, 1, 1, OUTCOME_OK, 0), DISPATCH_DROP);
    assert_int_equal(result(0, 1, 1, 2, OUTCOME_OK, 3), DISPATCH_DROP);
}

static void test_not_started_counts_no_attempt(void **state)
{
    (void)state;
    up(0, 1, 100);
    submit(1);
    for (uint64_t i = 1; i <= 10; i++) {
        expect_send(0, 1, i);
        assert_int_equal(result(0, 1, 1, i, OUTCOME_NOT_STARTED, 100), DISPATCH_DROP);
        expect_nothing(); /* not in a loop */
        tick_until(now_us + 5 * MS);
    }
    expect_send(0, 1, 11);
    dispatch_stats(d, &stats);
    assert_int_equal(stats.requeued, 0);
    /* So it may still be lost once. */
    assert_int_equal(result(0, 1, 1, 11, OUTCOME_LOST, 100), DISPATCH_DROP);
    expect_send(0, 1, 12);
}

/* The next boot refuses a job that was meant for the one before: by its number alone that could be a job of its own. */
static void test_refusal_by_the_next_boot_gives_the_attempt_back(void **state)
{
    (void)state;
    struct wire_result m = {.sequence = 1, .job = 1, .outcome = OUTCOME_NOT_STARTED};
    up(0, 1, 3);
    submit(1);
    expect_send(0, 1, 1);
    status(0, 2, 0, 3);
    expect_send(0, 1, 1);
    m.status = status_of(0, 2, 0, 3); /* it has not seen its own number 1 */
    assert_int_equal(dispatch_result(d, now_us, &m), DISPATCH_DROP);
    expect_nothing();
    dispatch_stats(d, &stats);
    assert_int_equal(stats.sent, 1);
    /* So that one more fault is allowed. */
    status(0, 3, 0, 3);
    expect_send(0, 1, 1);
}

static void test_refusal_that_is_first_of_a_new_boot_counts_no_attempt(void **state)
{
    (void)state;
    struct wire_result m = {.sequence = 1, .job = 1, .outcome = OUTCOME_NOT_STARTED};
    up(0, 1, 3);
    submit(1);
    expect_send(0, 1, 1);
    m.status = status_of(0, 2, 0, 3);
    dispatch_result(d, now_us, &m);
    dispatch_stats(d, &stats);
    assert_int_equal(stats.requeued, 0);
    tick_until(now_us + 5 * MS);
    expect_send(0, 1, 1);
}

static void test_second_fault_of_workers_fails_the_job(void **state)
{
    (void)state;
    up(0, 1, 3);
    submit(1);
    expect_send(0, 1, 1);
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_LOST, 3), DISPATCH_DROP);
    expect_send(0, 1, 2);
    assert_int_equal(result(0, 1, 1, 2, OUTCOME_LOST, 4), DISPATCH_DROP);
    expect_fail(1, DISPATCH_RETRIES);
    expect_nothing();
    assert_int_equal(submit(1), ERR_OK); /* it is forgotten */
}

static void test_image_that_ends_two_converters_is_poison(void **state)
{
    (void)state;
    static const enum outcome outcomes[] = {OUTCOME_CRASHED, OUTCOME_DEADLINE};
    up(0, 1, 90);
    for (uint64_t i = 0; i < 4; i++) {
        submit(1 + i);
        expect_send(0, 1 + i, 1 + 2 * i);
        assert_int_equal(result(0, 1, 1 + i, 1 + 2 * i, outcomes[i & 1], 90), DISPATCH_DROP);
        expect_send(0, 1 + i, 2 + 2 * i);
        assert_int_equal(result(0, 1, 1 + i, 2 + 2 * i, outcomes[i >> 1], 90), DISPATCH_DROP);
        expect_fail(1 + i, DISPATCH_POISON);
    }
    expect_nothing();
}

static void test_one_crash_and_one_lost_worker_is_not_poison(void **state)
{
    (void)state;
    up(0, 1, 90);
    submit(1);
    expect_send(0, 1, 1);
    result(0, 1, 1, 1, OUTCOME_CRASHED, 90);
    expect_send(0, 1, 2);
    result(0, 1, 1, 2, OUTCOME_LOST, 90);
    expect_fail(1, DISPATCH_RETRIES);
}

static void test_result_that_comes_twice_counts_once(void **state)
{
    (void)state;
    up(0, 1, 9);
    submit(1);
    expect_send(0, 1, 1);
    result(0, 1, 1, 1, OUTCOME_CRASHED, 9);
    expect_send(0, 1, 2);
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_CRASHED, 9), DISPATCH_DROP);
    expect_nothing();
    assert_int_equal(result(0, 1, 1, 2, OUTCOME_OK, 9), DISPATCH_ANSWER);
}

static void test_crash_in_the_attempt_given_up_counts(void **state)
{
    (void)state;
    up(0, 1, 9);
    submit(1);
    expect_send(0, 1, 1);
    up(1, 2, 9);
    dispatch_peer_down(d, now_us, 0);
    expect_send(1, 1, 1);
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_CRASHED, 9), DISPATCH_DROP);
    expect_nothing();
    assert_int_equal(result(1, 2, 1, 1, OUTCOME_CRASHED, 9), DISPATCH_DROP);
    expect_fail(1, DISPATCH_POISON);
}

static void test_converter_killed_at_the_deadline_answers(void **state)
{
    (void)state;
    up(0, 1, 9);
    submit(1);
    expect_send(0, 1, 1);
    now_us += 9990 * MS;
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_DEADLINE, 9), DISPATCH_ANSWER);
}

static void test_deadline_fails_a_job_wherever_it_is(void **state)
{
    (void)state;
    up(0, 1, 1);
    submit(1);
    submit(2);
    expect_send(0, 1, 1);
    int64_t deadline_us = now_us + 10 * 1000 * MS;
    assert_in_range(dispatch_next_us(d), now_us, deadline_us);
    for (; now_us < deadline_us - 500 * MS; now_us += 250 * MS) {
        struct wire_status m = status_of(0, 1, 1, 1);
        m.held_count = 1, m.held[0] = 1;
        dispatch_status(d, now_us, &m);
        tick_at(now_us);
        expect_nothing();
    }
    tick_until(deadline_us - 1);
    expect_nothing();
    tick_at(deadline_us);
    expect_fail(1, DISPATCH_DEADLINE);
    expect_fail(2, DISPATCH_DEADLINE);
    expect_cancel(0, 1, 1);
    expect_nothing();
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_OK, 2), DISPATCH_DROP);
}

static void test_job_without_a_millisecond_left_is_not_begun(void **state)
{
    (void)state;
    struct dispatch_job job = {.id = 1, .customer = 1, .cost_us = 1, .deadline_us = now_us + 999};
    up(0, 1, 9);
    assert_int_equal(dispatch_submit(d, now_us, &job), ERR_OK);
    expect_fail(1, DISPATCH_DEADLINE);
    submit(2);
    expect_send(0, 2, 1); /* no number was used */
}

static void test_client_that_left_frees_its_job(void **state)
{
    (void)state;
    up(0, 1, 1);
    submit(1);
    submit(2);
    expect_send(0, 1, 1);
    dispatch_cancel(d, now_us, 1);
    dispatch_cancel(d, now_us, 2);
    dispatch_cancel(d, now_us, 3);
    expect_cancel(0, 1, 1);
    expect_nothing();
    dispatch_stats(d, &stats);
    assert_int_equal(stats.queued + stats.sent, 0);
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_OK, 2), DISPATCH_DROP);
    /* One whose failure was not told yet. */
    submit(4);
    tick_at(now_us + 10 * 1000 * MS);
    dispatch_cancel(d, now_us, 4);
    expect_nothing();
}

static void test_refused_send_takes_the_number_back(void **state)
{
    (void)state;
    up(0, 1, 2);
    submit(1);
    expect_send(0, 1, 1);
    dispatch_send_refused(d, now_us, 0, 1);
    expect_nothing();
    dispatch_peer_ready(d, now_us, 0);
    expect_send(0, 1, 1);
    dispatch_send_refused(d, now_us, 0, 1);
    status(0, 1, 0, 2);
    expect_send(0, 1, 1);
    dispatch_send_refused(d, now_us, 0, 1);
    tick_until(now_us + 5 * MS);
    expect_send(0, 1, 1);
    dispatch_stats(d, &stats);
    assert_int_equal(stats.requeued, 0);
}

/* The worker was told that number 1 is out: it would drop a job that came under it. */
static void test_number_told_in_hello_is_not_used_again(void **state)
{
    (void)state;
    struct dispatch_action action;
    up(0, 1, 2);
    submit(1);
    expect_send(0, 1, 1);
    tick_at(now_us + 250 * MS);
    assert_true(dispatch_next(d, &action));
    assert_int_equal(action.type, DISPATCH_HELLO);
    assert_int_equal(action.sequence, 1);
    dispatch_send_refused(d, now_us, 0, 1);
    dispatch_peer_ready(d, now_us, 0);
    expect_send(0, 1, 2);
}

static void test_hello_when_up_each_quarter_second_and_when_jobs_wait(void **state)
{
    (void)state;
    struct dispatch_action action;
    dispatch_peer_up(d, now_us, 1);
    assert_true(dispatch_next(d, &action));
    assert_int_equal(action.type, DISPATCH_HELLO);
    assert_int_equal(action.peer, 1);
    assert_true(id_is_zero(&action.worker_boot));
    assert_false(dispatch_next(d, &action));
    status(1, 2, 0, 1);
    assert_int_equal(dispatch_next_us(d), now_us + 250 * MS);
    tick_at(now_us + 250 * MS);
    assert_true(dispatch_next(d, &action));
    assert_int_equal(action.queued, 0);
    struct id expected = boot(2);
    assert_true(id_equal(&action.worker_boot, &expected));
    submit(1);
    submit(2);
    expect_send(1, 1, 1);
    assert_true(dispatch_next(d, &action)); /* job 2 waits */
    assert_int_equal(action.type, DISPATCH_HELLO);
    assert_int_equal(action.sequence, 1);
    assert_int_equal(action.queued, 1);
    submit(3); /* known already */
    assert_false(dispatch_next(d, &action));
}

static void test_retries_have_a_budget_that_holds_one_worker(void **state)
{
    (void)state;
    /* Sixteen at first; jobs earn a tenth each: 40 jobs earn four. Time is still. */
    dispatch_free(d);
    struct dispatch_config config = config_make();
    start(&config);
    up(0, 1, 40);
    unsigned sent = 0, failed = 0;
    struct dispatch_action action;
    tick_at(now_us);
    for (uint64_t i = 1; i <= 40; i++)
        submit(i);
    while (next(&action))
        sent++;
    assert_int_equal(sent, 40);
    result(0, 1, 1, 1, OUTCOME_LOST, 0); /* starts the clock of the budget */
    dispatch_peer_down(d, now_us, 0);
    while (next(&action))
        failed += action.type == DISPATCH_FAIL;
    dispatch_stats(d, &stats);
    assert_int_equal(stats.retries_denied, failed);
    assert_in_range(stats.requeued, 16, 36);
    assert_int_equal(failed, 40 - stats.requeued);
    assert_true(failed > 0);
}

static void test_bounds_of_submit(void **state)
{
    (void)state;
    struct dispatch_job job = {.id = 0, .customer = 1, .cost_us = 1, .deadline_us = now_us + 1000 * MS};
    assert_int_equal(dispatch_submit(d, now_us, &job), ERR_INVALID);
    job.id = 1, job.cost_us = 0;
    assert_int_equal(dispatch_submit(d, now_us, &job), ERR_INVALID);
    for (uint64_t i = 1; i <= 40; i++)
        assert_int_equal(submit(i), ERR_OK);
    assert_int_equal(submit(40), ERR_EXISTS);
    assert_int_equal(submit(41), ERR_RANGE);
    job.customer = 2, job.cost_us = 1;
    for (job.id = 50; job.id < 60; job.id++)
        assert_int_equal(dispatch_submit(d, now_us, &job), ERR_OK);
    assert_int_equal(dispatch_submit(d, now_us, &job), ERR_FULL);
    dispatch_stats(d, &stats);
    assert_int_equal(stats.queued, 50);
    /* With room in the queue, but all jobs taken. */
    up(0, 1, 500);
    struct dispatch_action action;
    for (unsigned n = 0; n < 100; n++) {
        while (next(&action))
            ;
        job.id++;
        assert_int_equal(dispatch_submit(d, now_us, &job), n < 50 ? ERR_OK : ERR_FULL);
    }
}

static void test_senseless_configurations_are_refused(void **state)
{
    (void)state;
    struct dispatch *other;
    struct dispatch_config bad = config_make();
    bad.boot = (struct id){{0}};
    assert_int_equal(dispatch_new(&bad, &other), ERR_RANGE);
    bad = config_make(), bad.max_queued = 101;
    assert_int_equal(dispatch_new(&bad, &other), ERR_RANGE);
    bad = config_make(), bad.max_jobs = bad.max_queued = 0;
    assert_int_equal(dispatch_new(&bad, &other), ERR_RANGE);
    bad = config_make(), bad.max_queued = 0;
    assert_int_equal(dispatch_new(&bad, &other), ERR_RANGE);
    size_t peer;
    for (size_t i = PEERS; i < DISPATCH_PEERS_MAX; i++)
        assert_int_equal(dispatch_peer_add(d, &peer), ERR_OK);
    assert_int_equal(dispatch_peer_add(d, &peer), ERR_FULL);
}

static void test_deadlines_come_in_order_from_any_order(void **state)
{
    (void)state;
    static const int64_t patience_ms[] = {500, 30, 700, 10, 900, 30, 250, 10, 600};
    struct dispatch_action action;
    int64_t last_us = 0;
    for (uint64_t i = 0; i < 9; i++) {
        struct dispatch_job job = {
            .id = 1 + i, .customer = i, .cost_us = 1, .deadline_us = now_us + patience_ms[i] * MS};
        assert_int_equal(dispatch_submit(d, now_us, &job), ERR_OK);
    }
    dispatch_cancel(d, now_us, 7);
    int64_t start_us = now_us;
    for (unsigned failed = 0; failed < 8;) {
        tick_at(dispatch_next_us(d));
        assert_true(now_us > last_us);
        last_us = now_us;
        while (next(&action)) {
            assert_int_equal(action.type, DISPATCH_FAIL);
            assert_int_equal(start_us + patience_ms[action.job - 1] * MS, now_us);
            failed++;
        }
    }
    assert_int_equal(dispatch_next_us(d), INT64_MAX);
}

/* ---- Lanes, and what is prefetched ---- */

static void start_fair(void)
{
    struct dispatch_config config = config_make();
    dispatch_free(d);
    config.fifo = false;
    config.large_percent = 25;
    start(&config);
}

static void submit_to(enum lane lane, uint64_t first, uint64_t last)
{
    for (uint64_t id = first; id <= last; id++) {
        struct dispatch_job job = {
            .id = id, .customer = lane, .lane = lane, .cost_us = 10, .deadline_us = now_us + 60 * 1000 * MS};
        assert_int_equal(dispatch_submit(d, now_us, &job), ERR_OK);
    }
}

/* How many jobs go out now. */
static unsigned sends(void)
{
    struct dispatch_action action;
    unsigned n = 0;
    while (next(&action)) {
        assert_int_equal(action.type, DISPATCH_SEND);
        n++;
    }
    return n;
}

static void test_large_jobs_have_all_converters_while_no_small_ones_come(void **state)
{
    (void)state;
    start_fair();
    up(0, 1, 8);
    submit_to(LANE_LARGE, 1, 20);
    assert_int_equal(sends(), 4); /* none is prefetched */
    submit_to(LANE_SMALL, 101, 102);
    assert_int_equal(sends(), 2); /* the next ones there */
    tick_at(now_us + DISPATCH_SMALL_US);
    assert_int_equal(sends(), 0);
    for (uint64_t i = 1; i <= 4; i++) {
        assert_int_equal(result(0, 1, i, i, OUTCOME_OK, 20), DISPATCH_ANSWER);
        expect_send(0, 4 + i, 6 + i);
        expect_nothing();
    }
}

static void test_large_jobs_leave_a_converter_while_small_ones_come(void **state)
{
    (void)state;
    start_fair();
    up(0, 1, 8);
    submit_to(LANE_SMALL, 101, 101);
    expect_send(0, 101, 1);
    submit_to(LANE_LARGE, 1, 20);
    assert_int_equal(sends(), 3);
    submit_to(LANE_SMALL, 102, 103);
    assert_int_equal(sends(), 2);
    /* Small ones ended; a large one has that place only when none came for a second. */
    assert_int_equal(result(0, 1, 101, 1, OUTCOME_OK, 9), DISPATCH_ANSWER);
    assert_int_equal(sends(), 0);
    tick_at(now_us + DISPATCH_SMALL_US - 1);
    assert_int_equal(sends(), 0);
    tick_at(now_us + 1);
    assert_int_equal(sends(), 1);
}

/* Small jobs that are now at one worker, now at another, are not kept converters at both. */
static void test_what_is_kept_for_small_jobs_is_kept_of_all_workers_together(void **state)
{
    (void)state;
    start_fair();
    up(0, 1, 8);
    submit_to(LANE_SMALL, 101, 103);
    assert_int_equal(sends(), 3);
    for (uint64_t i = 1; i <= 3; i++)
        assert_int_equal(result(0, 1, 100 + i, i, OUTCOME_OK, 20), DISPATCH_ANSWER);
    up(1, 2, 8);
    submit_to(LANE_SMALL, 104, 105);
    assert_int_equal(sends(), 2);
    submit_to(LANE_LARGE, 1, 20);
    assert_int_equal(sends(), 5); /* of eight, three small ones having been the most at once */
}

static void test_one_converter_serves_both_lanes(void **state)
{
    (void)state;
    start_fair();
    dispatch_peer_up(d, now_us, 0);
    struct wire_status m = status_of(0, 1, 0, 2);
    m.slots = 1;
    dispatch_status(d, now_us, &m);
    submit_to(LANE_SMALL, 101, 101);
    submit_to(LANE_LARGE, 1, 2);
    assert_int_equal(sends(), 2);
}

static void test_fifo_bounds_no_lane(void **state)
{
    (void)state;
    up(0, 1, 8);
    submit_to(LANE_SMALL, 101, 101);
    submit_to(LANE_LARGE, 1, 20);
    expect_send(0, 101, 1);
    for (uint64_t i = 1; i <= 7; i++)
        expect_send(0, i, 1 + i);
    expect_nothing();
}

/* A worker that takes 100 ms for a job gets as many as it has converters; one that takes 1 ms has all it grants. */
static void test_prefetch_is_bounded_by_its_time(void **state)
{
    (void)state;
    static const struct {
        uint64_t convert_us;
        unsigned most;
    } cases[] = {{100 * MS, 4}, {10 * MS, 5}, {4 * MS, 6}, {1 * MS, 8}, {0, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start_fair();
        up(0, 1, 8);
        submit(100);
        expect_send(0, 100, 1);
        struct wire_result m = {.sequence = 1, .job = 100, .outcome = OUTCOME_OK, .convert_us = cases[i].convert_us};
        m.status = status_of(0, 1, 1, 9);
        assert_int_equal(dispatch_result(d, now_us, &m), DISPATCH_ANSWER);
        submit_to(LANE_SMALL, 1, 20);
        assert_int_equal(sends(), cases[i].most);
    }
}

static void test_capacity_is_the_part_of_the_credit(void **state)
{
    (void)state;
    up(0, 1, 8); /* all that four converters can have */
    up(1, 2, 4); /* half of it: another API has work */
    dispatch_stats(d, &stats);
    assert_int_equal(stats.own_slots_milli, 6000);
    assert_int_equal(submit(1), ERR_OK);
    assert_int_equal(sends(), 1);
    dispatch_stats(d, &stats);
    assert_int_equal(stats.own_slots_milli, 6000);
    dispatch_peer_down(d, now_us, 1);
    dispatch_stats(d, &stats);
    assert_int_equal(stats.own_slots_milli, 4000);
}

static void test_job_that_cannot_be_in_time_is_not_begun(void **state)
{
    (void)state;
    struct dispatch_job job = {.id = 1, .customer = 1, .cost_us = 100 * MS, .deadline_us = now_us + 49 * MS};
    assert_int_equal(dispatch_submit(d, now_us, &job), ERR_OK);
    job.id = 2, job.deadline_us = now_us + 51 * MS;
    assert_int_equal(dispatch_submit(d, now_us, &job), ERR_OK);
    up(0, 1, 8);
    expect_send(0, 2, 1);
    expect_fail(1, DISPATCH_DEADLINE);
    expect_nothing();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_job_goes_out_and_its_result_answers),
        TEST(test_errors_of_the_image_answer_too),
        TEST(test_nothing_is_sent_beyond_the_limit),
        TEST(test_lowered_limit_is_kept),
        TEST(test_older_status_is_ignored),
        TEST(test_draining_worker_gets_nothing),
        TEST(test_least_loaded_worker_is_chosen_and_equals_take_turns),
        TEST(test_slow_worker_gets_work_only_when_the_queue_is_long),
        TEST(test_uneven_jobs_make_no_worker_slow),
        TEST(test_slow_worker_gets_work_when_the_quick_one_is_retired),
        TEST(test_slow_worker_is_tried_again_and_believed),
        TEST(test_worker_that_stands_still_is_avoided_before_it_is_silent),
        TEST(test_job_of_a_worker_that_stands_still_is_hedged),
        TEST(test_hedge_is_due_by_the_pace_of_the_best_worker),
        TEST(test_job_that_is_long_by_itself_is_not_hedged),
        TEST(test_lost_hedge_leaves_the_job_where_it_was),
        TEST(test_refused_hedge_leaves_the_job_where_it_was),
        TEST(test_hedged_job_is_not_hedged_again),
        TEST(test_job_of_two_lost_workers_fails_though_it_was_hedged),
        TEST(test_hedges_are_few_and_only_onto_idle_workers),
        TEST(test_of_equals_the_host_that_is_less_busy_is_taken),
        TEST(test_slots_weigh_the_load),
        TEST(test_lost_job_is_found_by_status_and_goes_first),
        TEST(test_malformed_held_list_is_ignored),
        TEST(test_jobs_of_a_peer_that_went_go_elsewhere_in_their_order),
        TEST(test_peer_is_used_again_only_after_a_fresh_status),
        TEST(test_silent_peer_loses_its_jobs_after_a_second),
        TEST(test_pause_of_our_own_is_no_silence_of_others),
        TEST(test_silence_is_noticed_between_pauses_of_our_own),
        TEST(test_pause_is_noticed_by_the_first_event_after_it),
        TEST(test_new_boot_resets_the_link),
        TEST(test_replaced_boot_answers_nothing_while_its_successor_speaks),
        TEST(test_last_word_of_a_dead_boot_does_not_shut_out_the_living),
        TEST(test_retired_peer_finishes_what_it_has),
        TEST(test_reused_number_knows_nothing_of_the_worker_before),
        TEST(test_messages_for_another_boot_or_link_are_dropped),
        TEST(test_result_of_a_number_the_job_never_had_is_dropped),
        TEST(test_not_started_counts_no_attempt),
        TEST(test_refusal_by_the_next_boot_gives_the_attempt_back),
        TEST(test_refusal_that_is_first_of_a_new_boot_counts_no_attempt),
        TEST(test_second_fault_of_workers_fails_the_job),
        TEST(test_image_that_ends_two_converters_is_poison),
        TEST(test_one_crash_and_one_lost_worker_is_not_poison),
        TEST(test_result_that_comes_twice_counts_once),
        TEST(test_crash_in_the_attempt_given_up_counts),
        TEST(test_converter_killed_at_the_deadline_answers),
        TEST(test_deadline_fails_a_job_wherever_it_is),
        TEST(test_job_without_a_millisecond_left_is_not_begun),
        TEST(test_client_that_left_frees_its_job),
        TEST(test_refused_send_takes_the_number_back),
        TEST(test_number_told_in_hello_is_not_used_again),
        TEST(test_hello_when_up_each_quarter_second_and_when_jobs_wait),
        TEST(test_retries_have_a_budget_that_holds_one_worker),
        TEST(test_bounds_of_submit),
        TEST(test_senseless_configurations_are_refused),
        TEST(test_deadlines_come_in_order_from_any_order),
        TEST(test_large_jobs_have_all_converters_while_no_small_ones_come),
        TEST(test_large_jobs_leave_a_converter_while_small_ones_come),
        TEST(test_what_is_kept_for_small_jobs_is_kept_of_all_workers_together),
        TEST(test_one_converter_serves_both_lanes),
        TEST(test_fifo_bounds_no_lane),
        TEST(test_prefetch_is_bounded_by_its_time),
        TEST(test_capacity_is_the_part_of_the_credit),
        TEST(test_job_that_cannot_be_in_time_is_not_begun),
    };
    return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
