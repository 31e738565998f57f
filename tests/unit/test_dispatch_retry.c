/* SPDX-License-Identifier: MIT */
/* The dispatcher: jobs that are lost, refused or end converters, and how often they are tried. */
#include "dispatch_fixture.h"

#include "cavage/err.h"

static void test_lost_job_is_found_by_status_and_goes_first(void **state)
{
    (void)state;
    begin(5, 3);
    expect_nothing();
    /* Seen up to 2, only 2 is held: 1 is lost, 3 is under way. */
    status_holding(0, 1, 2, 5, 2, 0);
    expect_send(0, 1, 4);
    expect_send(0, 4, 5);
    expect_nothing();
    assert_int_equal(stats().requeued, 1);
}

static void test_malformed_held_list_is_ignored(void **state)
{
    (void)state;
    begin(2, 3);
    status_holding(0, 1, 2, 5, 2, 1);
    status(0, 1, 3, 5); /* seen what was never sent */
    expect_nothing();
    assert_int_equal(stats().sent, 2);
    assert_int_equal(stats().stale_messages, 2);
}

static void test_result_of_a_number_the_job_never_had_is_dropped(void **state)
{
    (void)state;
    begin(2, 3);
    up(1, 2, 0);
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
    assert_int_equal(stats().requeued, 0);
    /* So it may still be lost once. */
    assert_int_equal(result(0, 1, 1, 11, OUTCOME_LOST, 100), DISPATCH_DROP);
    expect_send(0, 1, 12);
}

/* The next boot refuses a job that was meant for the one before: by its number alone that could be a job of its own. */
static void test_refusal_by_the_next_boot_gives_the_attempt_back(void **state)
{
    (void)state;
    struct wire_result m = {.sequence = 1, .job = 1, .outcome = OUTCOME_NOT_STARTED};
    begin(1, 3);
    status(0, 2, 0, 3);
    expect_send(0, 1, 1);
    m.status = status_of(0, 2, 0, 3); /* it has not seen its own number 1 */
    assert_int_equal(dispatch_result(d, now_us, &m), DISPATCH_DROP);
    expect_nothing();
    assert_int_equal(stats().sent, 1);
    /* So that one more fault is allowed. */
    status(0, 3, 0, 3);
    expect_send(0, 1, 1);
}

static void test_refusal_that_is_first_of_a_new_boot_counts_no_attempt(void **state)
{
    (void)state;
    struct wire_result m = {.sequence = 1, .job = 1, .outcome = OUTCOME_NOT_STARTED};
    begin(1, 3);
    m.status = status_of(0, 2, 0, 3);
    dispatch_result(d, now_us, &m);
    assert_int_equal(stats().requeued, 0);
    tick_until(now_us + 5 * MS);
    expect_send(0, 1, 1);
}

static void test_second_fault_of_workers_fails_the_job(void **state)
{
    (void)state;
    begin(1, 3);
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
    begin(1, 90);
    result(0, 1, 1, 1, OUTCOME_CRASHED, 90);
    expect_send(0, 1, 2);
    result(0, 1, 1, 2, OUTCOME_LOST, 90);
    expect_fail(1, DISPATCH_RETRIES);
}

static void test_result_that_comes_twice_counts_once(void **state)
{
    (void)state;
    begin(1, 9);
    result(0, 1, 1, 1, OUTCOME_CRASHED, 9);
    expect_send(0, 1, 2);
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_CRASHED, 9), DISPATCH_DROP);
    expect_nothing();
    assert_int_equal(result(0, 1, 1, 2, OUTCOME_OK, 9), DISPATCH_ANSWER);
}

static void test_crash_in_the_attempt_given_up_counts(void **state)
{
    (void)state;
    begin(1, 9);
    up(1, 2, 9);
    dispatch_peer_down(d, now_us, 0);
    expect_send(1, 1, 1);
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_CRASHED, 9), DISPATCH_DROP);
    expect_nothing();
    assert_int_equal(result(1, 2, 1, 1, OUTCOME_CRASHED, 9), DISPATCH_DROP);
    expect_fail(1, DISPATCH_POISON);
}

static void test_retries_have_a_budget_that_holds_one_worker(void **state)
{
    (void)state;
    /* Sixteen at first; jobs earn a tenth each: 40 jobs earn four. Time is still. */
    up(0, 1, 40);
    unsigned failed = 0;
    struct dispatch_action action;
    tick_at(now_us);
    for (uint64_t i = 1; i <= 40; i++)
        submit(i);
    assert_int_equal(sends(), 40);
    result(0, 1, 1, 1, OUTCOME_LOST, 0); /* starts the clock of the budget */
    dispatch_peer_down(d, now_us, 0);
    while (next(&action))
        failed += action.type == DISPATCH_FAIL;
    assert_int_equal(stats().retries_denied, failed);
    assert_in_range(stats().requeued, 16, 36);
    assert_int_equal(failed, 40 - stats().requeued);
    assert_true(failed > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISPATCH_TEST(test_lost_job_is_found_by_status_and_goes_first),
        DISPATCH_TEST(test_malformed_held_list_is_ignored),
        DISPATCH_TEST(test_result_of_a_number_the_job_never_had_is_dropped),
        DISPATCH_TEST(test_not_started_counts_no_attempt),
        DISPATCH_TEST(test_refusal_by_the_next_boot_gives_the_attempt_back),
        DISPATCH_TEST(test_refusal_that_is_first_of_a_new_boot_counts_no_attempt),
        DISPATCH_TEST(test_second_fault_of_workers_fails_the_job),
        DISPATCH_TEST(test_image_that_ends_two_converters_is_poison),
        DISPATCH_TEST(test_one_crash_and_one_lost_worker_is_not_poison),
        DISPATCH_TEST(test_result_that_comes_twice_counts_once),
        DISPATCH_TEST(test_crash_in_the_attempt_given_up_counts),
        DISPATCH_TEST(test_retries_have_a_budget_that_holds_one_worker),
    };
    return cmocka_run_group_tests_name("dispatch_retry", tests, NULL, NULL);
}
