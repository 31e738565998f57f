/* SPDX-License-Identifier: MIT */
/* Token buckets: burst, refill, fairness between customers, and the bound of the table. */
#include "cavage/err.h"
#include "cavage/rate_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SECOND = 1000000 };

static const struct rate_allowance ten = {.rate_per_s = 10, .burst = 5};

static struct rate_limit *table(size_t customers)
{
    struct rate_limit *r = NULL;
    assert_int_equal(rate_limit_new(customers, &r), 0);
    return r;
}

static unsigned take_all(struct rate_limit *r, int64_t now_us, uint64_t customer,
                         const struct rate_allowance *allowance)
{
    struct rate_state s;
    unsigned taken = 0;
    do {
        rate_limit_take(r, now_us, customer, allowance, &s);
        taken += s.allowed;
    } while (s.allowed && taken < 10000);
    return taken;
}

static void test_new_refuses_no_room(void **state)
{
    (void)state;
    struct rate_limit *r = NULL;
    assert_int_equal(rate_limit_new(0, &r), ERR_RANGE);
}

static void test_burst_then_wait(void **state)
{
    (void)state;
    struct rate_limit *r = table(8);
    struct rate_state s;
    for (uint32_t left = 4;; left--) {
        rate_limit_take(r, SECOND, 1, &ten, &s);
        assert_true(s.allowed);
        assert_int_equal(s.remaining, left);
        assert_int_equal(s.wait_us, left ? 0 : SECOND / 10);
        if (left == 0)
            break;
    }
    rate_limit_take(r, SECOND + SECOND / 20, 1, &ten, &s);
    assert_false(s.allowed);
    assert_int_equal(s.wait_us, SECOND / 20);
    rate_limit_take(r, SECOND + SECOND / 10, 1, &ten, &s);
    assert_true(s.allowed);
    rate_limit_free(r);
}

static void test_refill_never_exceeds_burst(void **state)
{
    (void)state;
    struct rate_limit *r = table(8);
    assert_int_equal(take_all(r, SECOND, 1, &ten), 5);
    assert_int_equal(take_all(r, SECOND + SECOND / 5, 1, &ten), 2);
    assert_int_equal(take_all(r, (int64_t)1 << 60, 1, &ten), 5);
    rate_limit_free(r);
}

static void test_rate_holds_over_time(void **state)
{
    (void)state;
    struct rate_limit *r = table(8);
    unsigned taken = 0;
    for (int64_t t = SECOND; t < 101 * SECOND; t += 1777)
        taken += take_all(r, t, 1, &ten);
    assert_in_range(taken, 1004, 1005);
    rate_limit_free(r);
}

static void test_refusals_cost_nothing(void **state)
{
    (void)state;
    struct rate_limit *r = table(8);
    struct rate_state s;
    take_all(r, SECOND, 1, &ten);
    for (int i = 0; i < 1000; i++)
        rate_limit_take(r, SECOND + i, 1, &ten, &s);
    rate_limit_take(r, SECOND + SECOND / 10, 1, &ten, &s);
    assert_true(s.allowed);
    rate_limit_free(r);
}

static void test_no_rate_is_no_limit(void **state)
{
    (void)state;
    struct rate_limit *r = table(8);
    const struct rate_allowance none = {.rate_per_s = 0, .burst = 1};
    assert_int_equal(take_all(r, SECOND, 1, &none), 10000);
    rate_limit_free(r);
}

static void test_zero_burst_reads_as_one(void **state)
{
    (void)state;
    struct rate_limit *r = table(8);
    const struct rate_allowance one = {.rate_per_s = 1, .burst = 0};
    assert_int_equal(take_all(r, SECOND, 1, &one), 1);
    rate_limit_free(r);
}

static void test_customers_have_buckets_of_their_own(void **state)
{
    (void)state;
    struct rate_limit *r = table(64);
    assert_int_equal(take_all(r, SECOND, 1, &ten), 5);
    assert_int_equal(take_all(r, SECOND, 2, &ten), 5);
    assert_int_equal(take_all(r, SECOND, 1, &ten), 0);
    rate_limit_free(r);
}

static void test_changed_allowance_is_in_force_at_once(void **state)
{
    (void)state;
    struct rate_limit *r = table(8);
    const struct rate_allowance wide = {.rate_per_s = 10, .burst = 100}, narrow = {.rate_per_s = 10, .burst = 1};
    struct rate_state s;
    rate_limit_take(r, SECOND, 1, &wide, &s);
    assert_int_equal(take_all(r, SECOND, 1, &narrow), 1);
    rate_limit_free(r);
}

static void test_time_that_goes_back_gives_nothing(void **state)
{
    (void)state;
    struct rate_limit *r = table(8);
    take_all(r, 100 * SECOND, 1, &ten);
    assert_int_equal(take_all(r, 50 * SECOND, 1, &ten), 0);
    assert_int_equal(take_all(r, 100 * SECOND + SECOND / 10, 1, &ten), 1);
    rate_limit_free(r);
}

static void test_full_table_forgets_who_asked_longest_ago(void **state)
{
    (void)state;
    struct rate_limit *r = table(8); /* one set of eight */
    for (uint64_t c = 1; c <= 8; c++)
        assert_int_equal(take_all(r, SECOND + (int64_t)c, c, &ten), 5);
    assert_int_equal(take_all(r, SECOND + 9, 9, &ten), 5);
    assert_int_equal(take_all(r, SECOND + 10, 2, &ten), 0);
    assert_int_equal(take_all(r, SECOND + 11, 9, &ten), 0);
    assert_int_equal(take_all(r, SECOND + 12, 1, &ten), 5);
    rate_limit_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_refuses_no_room),
        cmocka_unit_test(test_burst_then_wait),
        cmocka_unit_test(test_refill_never_exceeds_burst),
        cmocka_unit_test(test_rate_holds_over_time),
        cmocka_unit_test(test_refusals_cost_nothing),
        cmocka_unit_test(test_no_rate_is_no_limit),
        cmocka_unit_test(test_zero_burst_reads_as_one),
        cmocka_unit_test(test_customers_have_buckets_of_their_own),
        cmocka_unit_test(test_changed_allowance_is_in_force_at_once),
        cmocka_unit_test(test_time_that_goes_back_gives_nothing),
        cmocka_unit_test(test_full_table_forgets_who_asked_longest_ago),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
