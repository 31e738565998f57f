/* SPDX-License-Identifier: MIT */
/* Tests of stub converters: what worker.converter may say, and how long they sleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cavage/err.h"
#include "cavage/stub.h"

#include <math.h>

static void test_texts(void **state)
{
    static const struct {
        const char *text;
        int err;
        struct stub stub;
    } cases[] = {
        {"vips", ERR_OK, {false, false, 0}},
        {"sleep:100ms", ERR_OK, {true, false, 100000}},
        {"sleep:100", ERR_OK, {true, false, 100000}},
        {"sleep:0", ERR_OK, {true, false, 0}},
        {"sleep:250us", ERR_OK, {true, false, 250}},
        {"sleep:exp:2s", ERR_OK, {true, true, 2000000}},
        {"sleep:600s", ERR_OK, {true, false, STUB_SLEEP_MAX_US}},
        {"sleep:601s", ERR_RANGE, {0}},
        {"sleep:99999999999999999999", ERR_RANGE, {0}},
        {"sleep:", ERR_INVALID, {0}},
        {"sleep:exp:", ERR_INVALID, {0}},
        {"sleep:-1ms", ERR_INVALID, {0}},
        {"sleep:1 ms", ERR_INVALID, {0}},
        {"sleep:1m", ERR_INVALID, {0}},
        {"sleep", ERR_INVALID, {0}},
        {"VIPS", ERR_INVALID, {0}},
        {"", ERR_INVALID, {0}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct stub stub;
        int err = stub_parse(cases[i].text, &stub);
        if (err != cases[i].err)
            fail_msg("%s: %d", cases[i].text, err);
        if (err != ERR_OK)
            continue;
        assert_int_equal(stub.on, cases[i].stub.on);
        assert_int_equal(stub.exponential, cases[i].stub.exponential);
        assert_int_equal(stub.mean_us, cases[i].stub.mean_us);
    }
}

/* At evenly spaced random numbers: mean and deviation are both the mean that was asked for. */
static void test_sleeps(void **state)
{
    enum { DRAWS = 100000 };
    const struct stub fixed = {true, false, 5000}, varied = {true, true, 5000},
                      long_ones = {true, true, STUB_SLEEP_MAX_US};
    double mean = 0, square = 0;
    (void)state;
    assert_int_equal(stub_sleep_us(&fixed, 12345), 5000);
    for (uint64_t i = 0; i < DRAWS; i++) {
        double us = stub_sleep_us(&varied, UINT64_MAX / DRAWS * i);
        mean += us / DRAWS;
        square += us * us / DRAWS;
    }
    assert_true(fabs(mean - 5000) < 50);
    assert_true(fabs(sqrt(square - mean * mean) - 5000) < 50);
    assert_int_equal(stub_sleep_us(&varied, 0), 0);
    assert_int_equal(stub_sleep_us(&long_ones, UINT64_MAX), STUB_SLEEP_MAX_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
