/* SPDX-License-Identifier: MIT */
/* The dispatcher: which worker gets a job. */
#include "dispatch_fixture.h"

#include "cavage/err.h"

static int64_t second_is_slow(size_t peer)
{
    return peer == 1 ? 50 * MS : 5 * MS;
}

static void test_least_loaded_worker_is_chosen_and_equals_take_turns(void **state)
{
    (void)state;
    for (size_t p = 0; p < 3; p++)
        up(p, (uint8_t)(1 + p), 100);
    unsigned sent[PEERS] = {0};
    for (uint64_t i = 1; i <= 30; i++) {
        sent[send_one(i).peer]++;
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
    for (uint64_t i = 31; i <= 36; i++)
        assert_int_not_equal(send_one(i).peer, 1);
}

static void test_slow_worker_gets_work_only_when_the_queue_is_long(void **state)
{
    (void)state;
    struct dispatch_action action;
    unsigned sent[2] = {0};

    uint64_t id = warm_up(100, second_is_slow);
    for (; id < 140; id++)
        assert_int_equal(run_job(id + 1, second_is_slow), 0);

    /* Eight go to the quick one. With the 40th it would be at work as long as the slow one, of ten times its time, with one: ten rounds of four. */
    for (int i = 1; i <= 47; i++) {
        submit(++id);
        while (next(&action))
            sent[action.peer]++;
        if (i == 39) {
            assert_int_equal(sent[0], 8);
            assert_int_equal(sent[1], 0);
        }
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
            sent[i] = send_one(++id);
            assert_false(used[sent[i].peer]); /* each has one, so none was passed over */
            used[sent[i].peer] = true;
        }
        for (size_t step = 0; step < sizeof taken_us / sizeof taken_us[0]; step++) {
            now_us = began_us + taken_us[step];
            for (size_t i = 0; i < MANY; i++) {
                if (((random * 40 + i) * UINT64_C(0x9e3779b97f4a7c15) >> 33) % 10 != step)
                    continue;
                assert_int_equal(result_of(&sent[i], OUTCOME_OK), DISPATCH_ANSWER);
            }
        }
        random++;
    }
}

/* Nobody waits for a quick one that will not be given anything more. */
static void test_slow_worker_gets_work_when_the_quick_one_is_retired(void **state)
{
    (void)state;

    uint64_t id = warm_up(140, second_is_slow);
    assert_int_equal(send_one(++id).peer, 0);
    dispatch_peer_retire(d, now_us, 0, true);
    assert_int_equal(send_one(++id).peer, 1);
    assert_int_equal(stats().own_slots_milli, 4000);
}

static void test_slow_worker_is_tried_again_and_believed(void **state)
{
    (void)state;
    unsigned slow = 0, back = 0;

    uint64_t id = warm_up(60, second_is_slow);
    for (int i = 0; i < 4000; i++)
        slow += run_job(++id, second_is_slow) == 1; /* 20 s */
    assert_in_range(slow, 1, 8);
    for (int i = 0; i < 6000; i++)
        back += run_job(++id, all_are_quick) == 1 && i > 5000;
    assert_in_range(back, 400, 600);
}

static void test_worker_that_stands_still_is_avoided_before_it_is_silent(void **state)
{
    (void)state;

    uint64_t id = warm_up(60, all_are_quick);
    size_t still = send_one(++id).peer;
    now_us += 100 * MS;
    for (int i = 0; i < 6; i++)
        assert_int_not_equal(send_one(++id).peer, still);
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
        action = send_one(i);
        sent[action.peer]++;
        result_of(&action, OUTCOME_UNDECODABLE);
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
    for (uint64_t i = 1; i <= 20; i++)
        sent[send_one(i).peer]++;
    assert_int_equal(sent[0], 4);
    assert_int_equal(sent[1], 16);
}

static void test_capacity_is_the_part_of_the_credit(void **state)
{
    (void)state;
    up(0, 1, 8); /* all that four converters can have */
    up(1, 2, 4); /* half of it: another API has work */
    assert_int_equal(stats().own_slots_milli, 6000);
    send_one(1);
    assert_int_equal(stats().own_slots_milli, 6000);
    dispatch_peer_down(d, now_us, 1);
    assert_int_equal(stats().own_slots_milli, 4000);
}

static void test_converters_with_no_job_of_any_api_are_counted(void **state)
{
    (void)state;
    up(0, 1, 1); /* one credit, and so half a converter, is what an API without work has */
    assert_int_equal(stats().idle, 4);
    struct wire_status m = status_of(0, 1, 0, 1);
    m.busy = 2;
    dispatch_status(d, now_us, &m);
    assert_int_equal(stats().idle, 2);
    struct dispatch_action action = send_one(1);
    assert_int_equal(stats().idle, 1);
    result_of(&action, OUTCOME_OK);
    dispatch_peer_down(d, now_us, 0);
    assert_int_equal(stats().idle, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISPATCH_TEST(test_least_loaded_worker_is_chosen_and_equals_take_turns),
        DISPATCH_TEST(test_slow_worker_gets_work_only_when_the_queue_is_long),
        DISPATCH_TEST(test_uneven_jobs_make_no_worker_slow),
        DISPATCH_TEST(test_slow_worker_gets_work_when_the_quick_one_is_retired),
        DISPATCH_TEST(test_slow_worker_is_tried_again_and_believed),
        DISPATCH_TEST(test_worker_that_stands_still_is_avoided_before_it_is_silent),
        DISPATCH_TEST(test_of_equals_the_host_that_is_less_busy_is_taken),
        DISPATCH_TEST(test_slots_weigh_the_load),
        DISPATCH_TEST(test_capacity_is_the_part_of_the_credit),
        DISPATCH_TEST(test_converters_with_no_job_of_any_api_are_counted),
    };
    return cmocka_run_group_tests_name("dispatch_choice", tests, NULL, NULL);
}
