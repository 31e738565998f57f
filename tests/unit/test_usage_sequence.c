/* SPDX-License-Identifier: MIT */
/* The meter's account: what is new, known, missing or in conflict. */
#include "cavage/err.h"
#include "cavage/usage_sequence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct wire_usage batch(uint8_t producer, uint64_t epoch, uint64_t sequence)
{
    struct wire_usage m = {.epoch = epoch, .sequence = sequence};
    memset(m.producer.bytes, producer, sizeof m.producer.bytes);
    memset(m.digest, (int)(sequence + 1), sizeof m.digest);
    return m;
}

static struct usage_sequence *sequence_new(void)
{
    struct usage_sequence *s;
    assert_int_equal(usage_sequence_new(&s), ERR_OK);
    return s;
}

static void expect(const struct usage_sequence *s, struct wire_usage m, enum usage_verdict verdict, uint64_t expected)
{
    uint64_t got;
    assert_int_equal(usage_sequence_judge(s, &m, &got), verdict);
    assert_int_equal(got, expected);
}

static void take(struct usage_sequence *s, struct wire_usage m)
{
    assert_int_equal(usage_sequence_taken(s, &m), ERR_OK);
}

static void test_batches_are_taken_in_order(void **state)
{
    (void)state;
    struct usage_sequence *s = sequence_new();
    expect(s, batch(1, 1, 0), USAGE_EXPECT, 1);
    expect(s, batch(1, 1, 2), USAGE_EXPECT, 1);
    for (uint64_t n = 1; n < 100; n++) {
        expect(s, batch(1, 1, n), USAGE_TAKE, n);
        take(s, batch(1, 1, n));
        expect(s, batch(1, 1, n), USAGE_DUPLICATE, n + 1);
        expect(s, batch(1, 1, n + 2), USAGE_EXPECT, n + 1);
    }
    expect(s, batch(2, 1, 1), USAGE_TAKE, 1);
    expect(s, batch(1, 2, 1), USAGE_TAKE, 1);
    usage_sequence_free(s);
}

static void test_old_duplicate_is_known_for_ever(void **state)
{
    (void)state;
    struct usage_sequence *s = sequence_new();
    for (uint64_t n = 1; n <= 1000; n++)
        take(s, batch(1, 1, n));
    expect(s, batch(1, 1, 1), USAGE_DUPLICATE, 1001);
    usage_sequence_free(s);
}

static void test_other_contents_are_a_conflict(void **state)
{
    (void)state;
    struct usage_sequence *s = sequence_new();
    struct wire_usage m = batch(1, 1, 3);
    for (uint64_t n = 1; n <= 4; n++)
        take(s, batch(1, 1, n));
    m.digest[31] ^= 1;
    expect(s, m, USAGE_CONFLICT, 5);
    usage_sequence_free(s);
}

static void test_declared_gap_is_taken(void **state)
{
    (void)state;
    struct usage_sequence *s = sequence_new();
    struct wire_usage m = batch(1, 1, 5);
    take(s, batch(1, 1, 1));
    m.gap = true;
    expect(s, m, USAGE_TAKE_GAP, 2);
    take(s, m);
    expect(s, batch(1, 1, 6), USAGE_TAKE, 6);
    m = batch(1, 1, 6);
    m.gap = true; /* nothing is missing before it */
    expect(s, m, USAGE_TAKE, 6);
    usage_sequence_free(s);
}

static void test_lost_end_of_an_epoch_is_a_gap(void **state)
{
    (void)state;
    struct usage_sequence *s = sequence_new();
    struct wire_usage m = batch(1, 4, 1);
    take(s, batch(1, 2, 1));
    take(s, batch(1, 2, 2));
    m.previous_epoch = 2;
    m.previous_sequence = 2;
    expect(s, m, USAGE_TAKE, 1);
    m.previous_sequence = 3;
    expect(s, m, USAGE_TAKE_GAP, 1);
    take(s, batch(1, 2, 3));
    expect(s, m, USAGE_TAKE, 1);
    m.previous_epoch = 3;
    expect(s, m, USAGE_TAKE_GAP, 1);
    usage_sequence_free(s);
}

static int copy_mark(void *arg, const struct id *producer, uint64_t epoch, uint64_t sequence, const uint8_t *digest)
{
    return usage_sequence_restore(arg, producer, epoch, sequence, digest);
}

static void test_restored_account_judges_the_same(void **state)
{
    (void)state;
    struct usage_sequence *s = sequence_new(), *copy = sequence_new();
    for (uint8_t producer = 0; producer < 50; producer++)
        for (uint64_t epoch = 1; epoch <= 20; epoch++)
            for (uint64_t n = 1; n <= epoch; n++)
                take(s, batch(producer, epoch, n));
    assert_int_equal(usage_sequence_each(s, copy_mark, copy), ERR_OK);
    for (uint8_t producer = 0; producer < 50; producer++) {
        for (uint64_t epoch = 1; epoch <= 20; epoch++) {
            struct wire_usage m = batch(producer, epoch, epoch);
            assert_int_equal(usage_sequence_get(copy, &m.producer, epoch), epoch);
            expect(copy, m, USAGE_DUPLICATE, epoch + 1);
            m.digest[0] ^= 1;
            expect(copy, m, USAGE_CONFLICT, epoch + 1);
            expect(copy, batch(producer, epoch, epoch + 1), USAGE_TAKE, epoch + 1);
        }
    }
    usage_sequence_free(s);
    usage_sequence_free(copy);
}

static void test_watermark_never_sinks(void **state)
{
    (void)state;
    struct usage_sequence *s = sequence_new();
    take(s, batch(1, 1, 9));
    take(s, batch(1, 1, 1)); /* the same slot of the latest digests */
    expect(s, batch(1, 1, 9), USAGE_DUPLICATE, 10);
    struct wire_usage m = batch(1, 1, 9);
    m.digest[0] ^= 1;
    expect(s, m, USAGE_CONFLICT, 10);
    usage_sequence_free(s);
}

static int stop_at_once(void *arg, const struct id *producer, uint64_t epoch, uint64_t sequence, const uint8_t *digest)
{
    (void)producer;
    (void)epoch;
    (void)sequence;
    (void)digest;
    ++*(int *)arg;
    return ERR_FULL;
}

static void test_visit_ends_with_the_first_error(void **state)
{
    (void)state;
    struct usage_sequence *s = sequence_new();
    int calls = 0;
    take(s, batch(1, 1, 1));
    take(s, batch(2, 1, 1));
    assert_int_equal(usage_sequence_each(s, stop_at_once, &calls), ERR_FULL);
    assert_int_equal(calls, 1);
    usage_sequence_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_are_taken_in_order),    cmocka_unit_test(test_old_duplicate_is_known_for_ever),
        cmocka_unit_test(test_other_contents_are_a_conflict), cmocka_unit_test(test_declared_gap_is_taken),
        cmocka_unit_test(test_lost_end_of_an_epoch_is_a_gap), cmocka_unit_test(test_restored_account_judges_the_same),
        cmocka_unit_test(test_watermark_never_sinks),         cmocka_unit_test(test_visit_ends_with_the_first_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
