/* SPDX-License-Identifier: MIT */
/* The dispatcher, one rule at a time: the life of a job. How the rules work together under faults is tested in tests/sim. */
#include "dispatch_fixture.h"

#include "cavage/err.h"

static void test_job_goes_out_and_its_result_answers(void **state)
{
    (void)state;
    assert_false(dispatch_has_worker(d));
    up(0, 1, 8);
    assert_true(dispatch_has_worker(d));
    struct dispatch_action action = send_one(7);
    assert_int_equal(action.sequence, 1);
    assert_int_equal(action.remaining_ms, 10000);
    struct id expected = boot(1);
    assert_true(id_equal(&action.worker_boot, &expected));
    assert_int_equal(result(0, 1, 7, 1, OUTCOME_OK, 9), DISPATCH_ANSWER);
    assert_int_equal(result(0, 1, 7, 1, OUTCOME_OK, 9), DISPATCH_DROP);
    expect_nothing();
    expect_jobs(0, 0);
    assert_int_equal(stats().late_results, 1);
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
    begin(4, 2);
    expect_nothing();
    status_holding(0, 1, 2, 3, 1, 2);
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
    assert_int_equal(stats().stale_messages, 1);
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

static void test_converter_killed_at_the_deadline_answers(void **state)
{
    (void)state;
    begin(1, 9);
    now_us += 9990 * MS;
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_DEADLINE, 9), DISPATCH_ANSWER);
}

static void test_deadline_fails_a_job_wherever_it_is(void **state)
{
    (void)state;
    begin(2, 1);
    int64_t deadline_us = now_us + 10 * 1000 * MS;
    assert_in_range(dispatch_next_us(d), now_us, deadline_us);
    for (; now_us < deadline_us - 500 * MS; now_us += 250 * MS) {
        status_holding(0, 1, 1, 1, 1, 0);
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

static void test_job_that_cannot_be_in_time_is_not_begun(void **state)
{
    (void)state;
    struct dispatch_job job = {.id = 1, .customer = 1, .cost_us = 100 * MS, .deadline_us = now_us + 149 * MS};
    assert_int_equal(dispatch_submit(d, now_us, &job), ERR_OK);
    job.id = 2, job.deadline_us = now_us + 151 * MS;
    assert_int_equal(dispatch_submit(d, now_us, &job), ERR_OK);
    tick_at(now_us + 100 * MS);
    up(0, 1, 8);
    expect_send(0, 2, 1);
    expect_fail(1, DISPATCH_DEADLINE);
    expect_nothing();
}

/* What is thought to take far longer than it may is begun all the same while half its time is left: the estimate may be wrong, and only what is done is
 * learnt from. */
static void test_job_that_seems_too_long_is_tried(void **state)
{
    (void)state;
    struct dispatch_job job = {.id = 1, .customer = 1, .cost_us = 1000 * MS, .deadline_us = now_us + 100 * MS};
    assert_int_equal(dispatch_submit(d, now_us, &job), ERR_OK);
    tick_at(now_us + 30 * MS);
    job.id = 2, job.deadline_us = now_us + 100 * MS;
    assert_int_equal(dispatch_submit(d, now_us, &job), ERR_OK);
    tick_at(now_us + 30 * MS);
    up(0, 1, 8);
    expect_send(0, 2, 1);
    expect_fail(1, DISPATCH_DEADLINE);
    expect_nothing();
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

static void test_client_that_left_frees_its_job(void **state)
{
    (void)state;
    begin(2, 1);
    dispatch_cancel(d, now_us, 1);
    dispatch_cancel(d, now_us, 2);
    dispatch_cancel(d, now_us, 3);
    expect_cancel(0, 1, 1);
    expect_nothing();
    expect_jobs(0, 0);
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
    begin(1, 2);
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
    assert_int_equal(stats().requeued, 0);
}

/* The worker was told that number 1 is out: it would drop a job that came under it. */
static void test_number_told_in_hello_is_not_used_again(void **state)
{
    (void)state;
    begin(1, 2);
    tick_at(now_us + 250 * MS);
    struct dispatch_action action = expect_hello();
    assert_int_equal(action.sequence, 1);
    dispatch_send_refused(d, now_us, 0, 1);
    dispatch_peer_ready(d, now_us, 0);
    expect_send(0, 1, 2);
}

static void test_hello_when_up_each_quarter_second_and_when_jobs_wait(void **state)
{
    (void)state;
    dispatch_peer_up(d, now_us, 1);
    struct dispatch_action action = expect_hello();
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
    action = expect_hello(); /* job 2 waits */
    assert_int_equal(action.sequence, 1);
    assert_int_equal(action.queued, 1);
    submit(3); /* known already */
    assert_false(dispatch_next(d, &action));
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
    assert_int_equal(stats().queued, 50);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISPATCH_TEST(test_job_goes_out_and_its_result_answers),
        DISPATCH_TEST(test_errors_of_the_image_answer_too),
        DISPATCH_TEST(test_nothing_is_sent_beyond_the_limit),
        DISPATCH_TEST(test_lowered_limit_is_kept),
        DISPATCH_TEST(test_older_status_is_ignored),
        DISPATCH_TEST(test_draining_worker_gets_nothing),
        DISPATCH_TEST(test_converter_killed_at_the_deadline_answers),
        DISPATCH_TEST(test_deadline_fails_a_job_wherever_it_is),
        DISPATCH_TEST(test_job_without_a_millisecond_left_is_not_begun),
        DISPATCH_TEST(test_job_that_cannot_be_in_time_is_not_begun),
        DISPATCH_TEST(test_job_that_seems_too_long_is_tried),
        DISPATCH_TEST(test_deadlines_come_in_order_from_any_order),
        DISPATCH_TEST(test_client_that_left_frees_its_job),
        DISPATCH_TEST(test_refused_send_takes_the_number_back),
        DISPATCH_TEST(test_number_told_in_hello_is_not_used_again),
        DISPATCH_TEST(test_hello_when_up_each_quarter_second_and_when_jobs_wait),
        DISPATCH_TEST(test_bounds_of_submit),
        DISPATCH_TEST(test_senseless_configurations_are_refused),
    };
    return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
