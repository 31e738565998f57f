/* SPDX-License-Identifier: MIT */
/* The dispatcher: small and large jobs, and how many are sent ahead. */
#include "dispatch_fixture.h"

#include "cavage/err.h"

/* Worker 1 is up, and the two lanes are shared. */
static void start_fair(void)
{
    struct dispatch_config config = config_make();
    config.fifo = false;
    config.large_percent = 25;
    restart(&config);
    up(0, 1, 8);
}

static void submit_to(enum lane lane, uint64_t first, uint64_t last)
{
    for (uint64_t id = first; id <= last; id++) {
        struct dispatch_job job = {
            .id = id, .customer = lane, .lane = lane, .cost_us = 10, .deadline_us = now_us + 60 * 1000 * MS};
        assert_int_equal(dispatch_submit(d, now_us, &job), ERR_OK);
    }
}

static void test_large_jobs_have_all_converters_while_no_small_ones_come(void **state)
{
    (void)state;
    start_fair();
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
        send_one(100);
        struct wire_result m = {.sequence = 1, .job = 100, .outcome = OUTCOME_OK, .convert_us = cases[i].convert_us};
        m.status = status_of(0, 1, 1, 9);
        assert_int_equal(dispatch_result(d, now_us, &m), DISPATCH_ANSWER);
        submit_to(LANE_SMALL, 1, 20);
        assert_int_equal(sends(), cases[i].most);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISPATCH_TEST(test_large_jobs_have_all_converters_while_no_small_ones_come),
        DISPATCH_TEST(test_large_jobs_leave_a_converter_while_small_ones_come),
        DISPATCH_TEST(test_what_is_kept_for_small_jobs_is_kept_of_all_workers_together),
        DISPATCH_TEST(test_one_converter_serves_both_lanes),
        DISPATCH_TEST(test_fifo_bounds_no_lane),
        DISPATCH_TEST(test_prefetch_is_bounded_by_its_time),
    };
    return cmocka_run_group_tests_name("dispatch_lanes", tests, NULL, NULL);
}
