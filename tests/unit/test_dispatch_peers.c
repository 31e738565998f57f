/* SPDX-License-Identifier: MIT */
/* The dispatcher: workers that go, are silent, restart and are retired. */
#include "dispatch_fixture.h"

#include "cavage/err.h"

static void test_jobs_of_a_peer_that_went_go_elsewhere_in_their_order(void **state)
{
    (void)state;
    begin(4, 3);
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
    begin(1, 3);
    up(1, 2, 3);
    int64_t heard_us = now_us;
    tick_until(heard_us + 900 * MS);
    status(1, 2, 0, 3);
    tick_until(heard_us + 1000 * MS - 1);
    expect_nothing();
    tick_at(heard_us + 1000 * MS);
    expect_send(1, 1, 1);
    /* Its late result answers all the same, and the copy is cancelled. */
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_OK, 3), DISPATCH_ANSWER);
    expect_cancel(1, 1, 1);
    expect_nothing();
}

static void test_worker_counts_as_up_while_it_is_heard(void **state)
{
    (void)state;
    dispatch_peer_up(d, now_us, 0);
    assert_int_equal(stats().peers_up, 0);
    status(0, 1, 0, 3);
    up(1, 2, 3);
    assert_int_equal(stats().peers_up, 2);
    tick_until(now_us + 900 * MS);
    status(1, 2, 0, 3);
    tick_until(now_us + 200 * MS);
    assert_int_equal(stats().peers_up, 1);
    status(0, 1, 0, 3);
    assert_int_equal(stats().peers_up, 2);
    dispatch_peer_down(d, now_us, 0);
    assert_int_equal(stats().peers_up, 1);
}

static void test_pause_of_our_own_is_no_silence_of_others(void **state)
{
    (void)state;
    begin(1, 3);
    tick_until(now_us + 200 * MS);
    int64_t back_us = now_us + 3000 * MS;
    tick_at(back_us);
    expect_nothing();
    assert_int_equal(stats().sent, 1);
    tick_until(back_us + 1000 * MS);
    expect_jobs(1, 0);
}

static void test_silence_is_noticed_between_pauses_of_our_own(void **state)
{
    (void)state;
    begin(1, 3);
    expect_nothing();
    int64_t heard_us = now_us;
    for (unsigned i = 0; i < 8; i++) {
        tick_until(now_us + 300 * MS);
        tick_at(now_us + 400 * MS); /* of which at least 150 ms are late, since a HELLO is due every 250 ms */
    }
    assert_true(now_us - heard_us < 6000 * MS);
    assert_int_equal(stats().lost_peers, 1);
    assert_int_equal(stats().queued, 1);
}

static void test_pause_is_noticed_by_the_first_event_after_it(void **state)
{
    (void)state;
    begin(1, 1);
    expect_nothing();
    tick_until(now_us + 200 * MS);
    /* Just over the bound of silence. The job that comes first makes a HELLO due, which puts the next tick off. */
    now_us += 850 * MS;
    submit(2);
    expect_nothing();
    tick_at(now_us);
    expect_nothing();
    assert_int_equal(stats().lost_peers, 0);
    assert_int_equal(stats().sent, 1);
}

static void test_new_boot_resets_the_link(void **state)
{
    (void)state;
    begin(2, 3);
    status(0, 9, 0, 3);
    expect_send(0, 1, 1);
    expect_send(0, 2, 2);
    expect_nothing();
}

static void test_replaced_boot_answers_nothing_while_its_successor_speaks(void **state)
{
    (void)state;
    begin(1, 3);
    status(0, 2, 0, 3);
    expect_send(0, 1, 1);
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_OK, 9), DISPATCH_DROP);
    status(0, 1, 0, 9);
    for (uint8_t worker = 3; worker < 18; worker++) { /* fifteen more boots; the first is remembered still */
        status(0, worker, 0, 0);
        status(0, 1, 0, 9);
    }
    assert_int_equal(stats().stale_messages, 17);
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
    begin(1, 3);
    assert_false(dispatch_peer_idle(d, 0));
    dispatch_peer_retire(d, now_us, 0, true);
    assert_false(dispatch_has_worker(d));
    submit(2);
    expect_nothing();
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_OK, 3), DISPATCH_ANSWER);
    expect_nothing();
    assert_true(dispatch_peer_idle(d, 0));
    dispatch_peer_down(d, now_us, 0);
    assert_int_equal(stats().lost_peers, 0);
    /* The same worker is listed again: it goes on where it was. */
    dispatch_peer_retire(d, now_us, 0, false);
    dispatch_peer_up(d, now_us, 0);
    status(0, 1, 1, 3);
    expect_send(0, 2, 2);
}

static void test_reused_number_knows_nothing_of_the_worker_before(void **state)
{
    (void)state;
    begin(1, 3);
    assert_int_equal(result(0, 1, 1, 1, OUTCOME_OK, 3), DISPATCH_ANSWER);
    dispatch_peer_retire(d, now_us, 0, true);
    dispatch_peer_down(d, now_us, 0);
    dispatch_peer_reuse(d, now_us, 0);
    up(0, 2, 3);
    status(0, 1, 1, 9); /* of the worker before */
    assert_int_equal(stats().stale_messages, 1);
    submit(2);
    expect_send(0, 2, 1);
}

static void status_with(size_t peer, uint8_t worker, uint64_t sequence, uint64_t longest)
{
    struct wire_status m = status_of(peer, worker, 0, 3);
    m.sequence = sequence;
    m.longest = longest;
    dispatch_status(d, now_us, &m);
}

static void test_shortest_bound_of_the_workers_that_are_there_counts(void **state)
{
    (void)state;
    assert_true(stats().longest == UINT64_MAX);
    up(0, 1, 3); /* does not tell */
    assert_true(stats().longest == UINT64_MAX);
    dispatch_peer_up(d, now_us, 1);
    status_with(1, 2, 100, 5000);
    dispatch_peer_up(d, now_us, 2);
    status_with(2, 3, 100, 4000);
    assert_int_equal(stats().longest, 4000);
    assert_int_equal(dispatch_peer_longest(d, 1), 5000);
    status_with(2, 3, 99, 7000); /* late */
    assert_int_equal(stats().longest, 4000);
    dispatch_peer_down(d, now_us, 2);
    assert_int_equal(stats().longest, 5000);
    status_with(2, 3, 101, 4000); /* from before it went */
    assert_int_equal(stats().longest, 5000);
    tick_until(now_us + 1100 * MS); /* silent */
    assert_true(stats().longest == UINT64_MAX);
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
    assert_int_equal(stats().stale_messages, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISPATCH_TEST(test_jobs_of_a_peer_that_went_go_elsewhere_in_their_order),
        DISPATCH_TEST(test_peer_is_used_again_only_after_a_fresh_status),
        DISPATCH_TEST(test_silent_peer_loses_its_jobs_after_a_second),
        DISPATCH_TEST(test_worker_counts_as_up_while_it_is_heard),
        DISPATCH_TEST(test_pause_of_our_own_is_no_silence_of_others),
        DISPATCH_TEST(test_silence_is_noticed_between_pauses_of_our_own),
        DISPATCH_TEST(test_pause_is_noticed_by_the_first_event_after_it),
        DISPATCH_TEST(test_new_boot_resets_the_link),
        DISPATCH_TEST(test_replaced_boot_answers_nothing_while_its_successor_speaks),
        DISPATCH_TEST(test_last_word_of_a_dead_boot_does_not_shut_out_the_living),
        DISPATCH_TEST(test_retired_peer_finishes_what_it_has),
        DISPATCH_TEST(test_reused_number_knows_nothing_of_the_worker_before),
        DISPATCH_TEST(test_shortest_bound_of_the_workers_that_are_there_counts),
        DISPATCH_TEST(test_messages_for_another_boot_or_link_are_dropped),
    };
    return cmocka_run_group_tests_name("dispatch_peers", tests, NULL, NULL);
}
