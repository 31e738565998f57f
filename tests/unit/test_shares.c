/* SPDX-License-Identifier: MIT */
/* What customers hold, against a plain array, while slots collide and gaps close. */
#include "cavage/shares.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { CUSTOMERS = 64, ROUNDS = 20000 };

static void test_shares_agree_with_an_array(void **state)
{
    (void)state;
    struct shares *s = NULL;
    uint32_t held[CUSTOMERS] = {0};
    uint32_t random = 1;
    size_t holders = 0;
    assert_int_equal(shares_new(CUSTOMERS, &s), 0);
    for (int round = 0; round < ROUNDS; round++) {
        random = random * 1664525 + 1013904223;
        uint32_t customer = random >> 26, n = (random >> 20 & 3) + 1;
        if (held[customer] == 0) {
            shares_take(s, customer, n);
            held[customer] = n;
            holders++;
        } else {
            n = n < held[customer] ? n : held[customer];
            shares_give(s, customer, n);
            held[customer] -= n;
            holders -= held[customer] == 0;
        }
        assert_int_equal(shares_customers(s), holders);
        assert_int_equal(shares_held(s, random >> 10 & (CUSTOMERS - 1)), held[random >> 10 & (CUSTOMERS - 1)]);
    }
    for (uint32_t customer = 0; customer < CUSTOMERS; customer++)
        assert_int_equal(shares_held(s, customer), held[customer]);
    shares_free(s);
}

static void test_unknown_customer_holds_nothing(void **state)
{
    (void)state;
    struct shares *s = NULL;
    assert_int_equal(shares_new(1, &s), 0);
    assert_int_equal(shares_held(s, 0), 0);
    shares_take(s, 7, 3);
    assert_int_equal(shares_held(s, 0), 0);
    assert_int_equal(shares_held(s, 7), 3);
    shares_free(s);
    shares_free(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares_agree_with_an_array),
        cmocka_unit_test(test_unknown_customer_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
