/* SPDX-License-Identifier: MIT */
/* The spool against a meter that the test plays: order, sending again, gaps and bounds. */
#include "spool_fixture.h"

#include "cavage/bus.h"
#include "cavage/err.h"

#include <string.h>

/* Receive until the batch `last` comes; those before it may come again. */
static void must_receive_up_to(struct batch *batch, uint64_t last)
{
    do
        must_receive(batch);
    while (batch->m.sequence < last);
    assert_int_equal(batch->m.sequence, last);
}

static void test_batch_is_sent_and_removed_when_acknowledged(void **state)
{
    (void)state;
    struct batch batch;
    char name[256];
    config.batch_ms = 60000;
    begin();
    append_confirmed(1);
    spool_resolve(spool, append(2), false);
    assert_int_equal(spool_flush(spool, 0), ERR_TIMEOUT);
    take(&batch);
    assert_int_equal(batch.count, 2);
    assert_int_equal(batch.m.sequence, 1);
    assert_true(batch.m.epoch > 0);
    assert_int_equal(batch.m.hour, 490000);
    assert_string_equal(batch.m.ack_address, ack_address);
    assert_true(batch.confirmed[0]);
    assert_false(batch.confirmed[1]);
    flush();
    assert_int_equal(segment_files(name), 0);
    assert_int_equal(stats().records, 2);
    assert_int_equal(stats().bytes, 0);
    assert_int_equal(stats().unacked_batches, 0);
    assert_int_equal(stats().oldest_unacked_us, 0);
}

static void test_second_user_is_refused(void **state)
{
    (void)state;
    struct spool *other;
    open_spool();
    assert_int_equal(spool_open(&config, &other), ERR_EXISTS);
}

static void test_batch_waits_until_all_records_are_resolved(void **state)
{
    (void)state;
    struct batch batch;
    config.batch_ms = 1;
    begin();
    struct spool_ref first = append(1);
    assert_false(receive(&batch, 50));
    append_confirmed(2); /* in a later batch by now, or in the same: neither may go before the first is resolved */
    assert_false(receive(&batch, 50));
    spool_resolve(spool, first, true);
    take(&batch);
    assert_int_equal(batch.numbers[0], 1);
    assert_true(batch.confirmed[0]);
}

static void test_closed_batch_waits_for_each_of_its_records(void **state)
{
    (void)state;
    struct batch batch;
    config.batch_ms = 60000;
    config.batch_bytes = 100; /* two records */
    begin();
    struct spool_ref one = append(1), two = append(2);
    assert_int_equal(one.segment, two.segment);
    assert_int_equal(append(3).segment, 2);
    spool_resolve(spool, two, true);
    assert_false(receive(&batch, 50));
    spool_resolve(spool, one, true);
    take(&batch);
    assert_int_equal(batch.count, 2);
}

static void test_acknowledgement_frees_nothing_beyond_it(void **state)
{
    (void)state;
    struct batch batch;
    config.batch_bytes = 1;
    begin();
    append_confirmed(1);
    append_confirmed(2);
    must_receive_up_to(&batch, 2);
    answer(&batch, 1, false);
    do
        must_receive(&batch);
    while (batch.m.sequence == 1);
    assert_int_equal(batch.m.sequence, 2);
    answer(&batch, 2, false);
    flush();
}

static void test_unanswered_batch_is_sent_again_the_same(void **state)
{
    (void)state;
    struct batch one, two;
    begin();
    append_confirmed(1);
    must_receive(&one);
    must_receive(&two);
    assert_memory_equal(one.m.digest, two.m.digest, sizeof one.m.digest);
    assert_int_equal(one.m.sequence, two.m.sequence);
    answer(&two, 1, false);
    flush();
}

static void test_new_meter_gets_what_the_old_one_did_not_answer(void **state)
{
    (void)state;
    struct batch batch;
    begin();
    append_confirmed(1);
    must_receive(&batch);
    meter_down();
    meter_up();
    take(&batch);
    assert_int_equal(batch.m.sequence, 1);
    flush();
}

static void test_records_of_two_hours_are_never_in_one_batch(void **state)
{
    (void)state;
    struct batch batch;
    config.batch_ms = 60000;
    begin();
    static const int64_t hours[] = {10, 10, 11, 10, 11, 11};
    static const size_t counts[] = {2, 1, 1, 2};
    for (int i = 0; i < 6; i++)
        spool_resolve(spool, append_at(i, hours[i]), true);
    for (uint64_t n = 0; n < 4; n++) {
        if (n == 3) /* the last is open still: a flush closes it */
            assert_int_equal(spool_flush(spool, 0), ERR_TIMEOUT);
        take(&batch);
        assert_int_equal(batch.m.sequence, n + 1);
        assert_int_equal(batch.count, counts[n]);
    }
}

static void test_batch_is_closed_by_size(void **state)
{
    (void)state;
    struct batch batch;
    int next = 0;
    config.batch_ms = 60000;
    config.batch_bytes = 512;
    begin();
    for (int i = 0; i < 40; i++)
        append_confirmed(i);
    assert_int_equal(spool_flush(spool, 0), ERR_TIMEOUT);
    for (uint64_t sequence = 1; next < 40; sequence++) {
        take(&batch);
        assert_int_equal(batch.m.sequence, sequence);
        assert_true(batch.count < 10);
        for (size_t i = 0; i < batch.count; i++)
            assert_int_equal(batch.numbers[i], next++);
    }
}

static void test_meter_that_missed_one_gets_it(void **state)
{
    (void)state;
    struct batch batch;
    config.batch_bytes = 1;
    begin();
    for (int i = 1; i <= 3; i++)
        append_confirmed(i);
    for (uint64_t n = 1; n <= 3; n++)
        must_receive_up_to(&batch, n);
    /* As if the first two had been lost on their way. */
    answer(&batch, 1, true);
    for (uint64_t n = 1; n <= 3; n++) {
        take(&batch);
        assert_int_equal(batch.m.sequence, n);
        assert_false(batch.m.gap);
    }
    flush();
}

static void test_never_more_than_a_window_in_flight(void **state)
{
    (void)state;
    struct batch batch;
    config.batch_bytes = 1;
    begin();
    for (int i = 1; i <= 10; i++)
        append_confirmed(i);
    must_receive_up_to(&batch, 4);
    /* On a slow machine those come again for want of an answer; but none beyond them. */
    while (receive(&batch, 50))
        assert_true(batch.m.sequence <= 4);
    answer(&batch, 2, false);
    must_receive_up_to(&batch, 5);
    must_receive_up_to(&batch, 6);
}

static void test_bad_times_and_sizes_are_refused(void **state)
{
    (void)state;
    struct spool_ref ref;
    struct usage_record r = {.time_us = -1};
    config.batch_bytes = SPOOL_BATCH_MAX + 1;
    assert_int_equal(spool_open(&config, &spool), ERR_RANGE);
    config.batch_bytes = SPOOL_BATCH_MAX;
    open_spool();
    assert_int_equal(spool_append(spool, &r, &ref), ERR_INVALID);
    r.time_us = INT64_MAX;
    assert_int_equal(spool_append(spool, &r, &ref), ERR_INVALID);
}

static void test_strange_answers_do_no_harm(void **state)
{
    (void)state;
    struct batch batch, other;
    begin();
    append_confirmed(1);
    must_receive(&batch);
    other = batch;
    other.m.producer.bytes[0] ^= 1;
    answer(&other, 1, false); /* another producer */
    other = batch;
    other.m.epoch = 9;
    answer(&other, 1, false); /* another epoch */
    answer(&other, 1, true);
    answer(&batch, 7, true); /* what there is not yet */
    uint8_t *data = bus_alloc(20);
    memset(data, 'x', 20);
    meter_sends(data, 20);
    must_receive(&batch); /* so it is still there, and comes again */
    answer(&batch, 1, false);
    flush();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPOOL_TEST(test_batch_is_sent_and_removed_when_acknowledged),
        SPOOL_TEST(test_second_user_is_refused),
        SPOOL_TEST(test_batch_waits_until_all_records_are_resolved),
        SPOOL_TEST(test_closed_batch_waits_for_each_of_its_records),
        SPOOL_TEST(test_acknowledgement_frees_nothing_beyond_it),
        SPOOL_TEST(test_unanswered_batch_is_sent_again_the_same),
        SPOOL_TEST(test_new_meter_gets_what_the_old_one_did_not_answer),
        SPOOL_TEST(test_records_of_two_hours_are_never_in_one_batch),
        SPOOL_TEST(test_batch_is_closed_by_size),
        SPOOL_TEST(test_meter_that_missed_one_gets_it),
        SPOOL_TEST(test_never_more_than_a_window_in_flight),
        SPOOL_TEST(test_bad_times_and_sizes_are_refused),
        SPOOL_TEST(test_strange_answers_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
