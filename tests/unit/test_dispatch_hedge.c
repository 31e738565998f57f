/* SPDX-License-Identifier: MIT */
/* The dispatcher: second copies of jobs whose worker seems to stand still. */
#include "dispatch_fixture.h"

#include "cavage/err.h"

/* Job 500 is at a worker, of two whose pace is known. */
static struct dispatch_action send_after(uint64_t jobs)
{
    warm_up(jobs, all_are_quick);
    tick_at(now_us);
    expect_nothing();
    return send_one(500);
}

static struct dispatch_action expect_copy(const struct dispatch_action *first)
{
    struct dispatch_action second = expect(DISPATCH_SEND, first->job);
    assert_int_not_equal(second.peer, first->peer);
    assert_false(first->hedge);
    assert_true(second.hedge);
    return second;
}

static struct dispatch_action hedge(const struct dispatch_action *first)
{
    tick_at(dispatch_next_us(d));
    return expect_copy(first);
}

static void test_job_of_a_worker_that_stands_still_is_hedged(void **state)
{
    (void)state;
    struct dispatch_action first = send_after(100);
    int64_t due_us = dispatch_next_us(d);
    assert_in_range(due_us - now_us, 20 * MS, 30 * MS);
    now_us = due_us - 1;
    expect_nothing();
    tick_at(due_us);
    struct dispatch_action second = expect_copy(&first);
    now_us += 500 * MS;
    up(2, 3, 8);
    expect_nothing(); /* there is no third copy */

    /* The first answers after all; the second is told to stop, and its answer dropped. */
    assert_int_equal(result_of(&first, OUTCOME_OK), DISPATCH_ANSWER);
    expect_cancel(second.peer, 500, second.sequence);
    assert_int_equal(result_of(&second, OUTCOME_OK), DISPATCH_DROP);
    assert_int_equal(stats().hedged, 1);
    assert_int_equal(stats().requeued, 0);
    expect_jobs(0, 0);
}

/* Where jobs take two fifths of their estimated cost, five times that is twice the cost: neither the cost itself nor the least. */
static void test_hedge_is_due_by_the_pace_of_the_best_worker(void **state)
{
    (void)state;
    struct dispatch_action first;

    up(0, 1, 1000);
    up(1, 2, 1000);
    for (uint64_t id = 1; id <= 101; id++) {
        struct dispatch_job job = {
            .id = id, .customer = 1, .cost_us = 100 * MS, .deadline_us = now_us + 10 * 1000 * MS};
        assert_int_equal(dispatch_submit(d, now_us, &job), ERR_OK);
        first = expect(DISPATCH_SEND, id);
        if (id == 101)
            break;
        tick_until(now_us + 39 * MS);
        for (size_t p = 0; p < 2; p++)
            if (p != first.peer)
                status(p, (uint8_t)(1 + p), 0, 1000);
        assert_int_equal(result_of(&first, OUTCOME_OK), DISPATCH_ANSWER);
    }
    tick_at(now_us + 190 * MS);
    expect_nothing();
    tick_at(now_us + 10 * MS);
    assert_int_equal(expect_copy(&first).job, 101);
}

static void test_job_that_is_long_by_itself_is_not_hedged(void **state)
{
    (void)state;
    enum { JOBS = 12 };
    struct dispatch_action sent[JOBS] = {send_after(100)};
    size_t quick = 0;

    for (size_t i = 1; i < JOBS; i++)
        sent[i] = send_one(500 + i);
    for (size_t i = 1; i < JOBS; i++)
        if (sent[i].peer != sent[0].peer)
            result_of(&sent[i], OUTCOME_OK);
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
    expect_copy(&sent[0]);
}

static void test_lost_hedge_leaves_the_job_where_it_was(void **state)
{
    (void)state;
    struct dispatch_action first = send_after(100);
    struct dispatch_action second = hedge(&first);
    dispatch_peer_down(d, now_us, second.peer);
    expect_nothing();
    assert_int_equal(stats().sent, 1);
    assert_int_equal(result_of(&first, OUTCOME_OK), DISPATCH_ANSWER);
}

static void test_refused_hedge_leaves_the_job_where_it_was(void **state)
{
    (void)state;
    struct dispatch_action first = send_after(200);
    struct dispatch_action second = hedge(&first);
    /* By the worker, that drains; and by a socket. Neither counts as a start. */
    struct wire_result m = {.sequence = second.sequence, .job = second.job, .outcome = OUTCOME_NOT_STARTED};
    m.status = status_of(second.peer, (uint8_t)(1 + second.peer), second.sequence, second.sequence);
    m.status.draining = true;
    assert_int_equal(dispatch_result(d, now_us, &m), DISPATCH_DROP);
    expect_nothing();
    expect_jobs(0, 1);
    up(2, 3, 8);
    tick_at(now_us + 20 * MS);
    second = expect_copy(&first);
    assert_int_equal(second.peer, 2);
    assert_false(dispatch_send_refused(d, now_us, second.peer, second.job));
    expect_nothing();
    dispatch_peer_down(d, now_us, 2);
    expect_nothing();
    expect_jobs(0, 1);

    /* Its worker is lost: one start was used. */
    up(2, 4, 8);
    dispatch_peer_down(d, now_us, first.peer);
    expect_send(2, second.job, 1);
    assert_int_equal(result(2, 4, second.job, 1, OUTCOME_OK, 8), DISPATCH_ANSWER);
    expect_jobs(0, 0);
}

static void test_hedged_job_is_not_hedged_again(void **state)
{
    (void)state;
    struct dispatch_action first = send_after(120);
    struct dispatch_action second = hedge(&first);
    /* The copy ends its converter: the job is where it was, and has had its two starts. */
    result_of(&second, OUTCOME_CRASHED);
    tick_at(now_us + 200 * MS);
    expect_nothing();
    assert_int_equal(result_of(&first, OUTCOME_OK), DISPATCH_ANSWER);
}

static void test_job_of_two_lost_workers_fails_though_it_was_hedged(void **state)
{
    (void)state;
    struct dispatch_action first = send_after(100);
    struct dispatch_action second = hedge(&first);
    dispatch_peer_down(d, now_us, first.peer);
    expect_nothing();
    dispatch_peer_down(d, now_us, second.peer);
    expect_fail(500, DISPATCH_RETRIES);
}

static void test_hedges_are_few_and_only_onto_idle_workers(void **state)
{
    (void)state;
    struct dispatch_action first = send_after(97);
    struct dispatch_action second = hedge(&first);
    assert_int_equal(result_of(&second, OUTCOME_OK), DISPATCH_ANSWER);
    expect_cancel(first.peer, 500, first.sequence);

    first = send_one(501); /* with it not quite another hedge is earned */
    tick_at(now_us + 100 * MS);
    assert_true(dispatch_next_us(d) > now_us);
    expect_nothing();
    second = send_one(502); /* earns the rest, and goes to the other worker */
    expect_send(second.peer, 501, second.sequence + 1);
    tick_at(now_us + 200 * MS);
    expect_nothing(); /* both stand still now */
}

static void test_hedging_can_be_switched_off(void **state)
{
    (void)state;
    struct dispatch_config config = config_make();
    config.hedge_percent = 101;
    struct dispatch *none;
    assert_int_equal(dispatch_new(&config, &none), ERR_RANGE);
    config.hedge_percent = 0;
    restart(&config);
    struct dispatch_action first = send_after(100);
    tick_at(now_us + 500 * MS);
    expect_nothing();
    assert_int_equal(result_of(&first, OUTCOME_OK), DISPATCH_ANSWER);
    assert_int_equal(stats().hedged, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISPATCH_TEST(test_job_of_a_worker_that_stands_still_is_hedged),
        DISPATCH_TEST(test_hedge_is_due_by_the_pace_of_the_best_worker),
        DISPATCH_TEST(test_job_that_is_long_by_itself_is_not_hedged),
        DISPATCH_TEST(test_lost_hedge_leaves_the_job_where_it_was),
        DISPATCH_TEST(test_refused_hedge_leaves_the_job_where_it_was),
        DISPATCH_TEST(test_hedged_job_is_not_hedged_again),
        DISPATCH_TEST(test_job_of_two_lost_workers_fails_though_it_was_hedged),
        DISPATCH_TEST(test_hedges_are_few_and_only_onto_idle_workers),
        DISPATCH_TEST(test_hedging_can_be_switched_off),
    };
    return cmocka_run_group_tests_name("dispatch_hedge", tests, NULL, NULL);
}
