/* SPDX-License-Identifier: MIT */
/* Tests of points in time as they are written on a command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cavage/err.h"
#include "time_parse.h"

static const int64_t now_us = INT64_C(1767225600000000) + 123; /* 2026-01-01T00:00:00.000123Z */

static int64_t parsed(const char *text)
{
    int64_t out = -1;
    assert_int_equal(time_parse(text, now_us, &out), ERR_OK);
    return out;
}

static void test_absolute_times_are_utc(void **state)
{
    (void)state;
    assert_int_equal(parsed("2026-01"), INT64_C(1767225600000000));
    assert_int_equal(parsed("2026-01-01"), INT64_C(1767225600000000));
    assert_int_equal(parsed("2026-01-01T00:00Z"), INT64_C(1767225600000000));
    assert_int_equal(parsed("2026-01-01T01:30:00+01:30"), INT64_C(1767225600000000));
    assert_int_equal(parsed("2025-12-31T23:00:00.5-01:00"), INT64_C(1767225600500000));
    assert_int_equal(parsed("2024-02-29T12:34:56.1234567Z"), INT64_C(1709210096123456));
    assert_int_equal(parsed("1970-01-01"), 0);
}

static void test_relative_times_count_back_from_now(void **state)
{
    (void)state;
    assert_int_equal(parsed("now"), now_us);
    assert_int_equal(parsed("-90m"), now_us - INT64_C(5400000000));
    assert_int_equal(parsed("-24h"), now_us - INT64_C(86400000000));
    assert_int_equal(parsed("-7d"), now_us - INT64_C(604800000000));
    assert_int_equal(parsed("-1w"), now_us - INT64_C(604800000000));
    assert_int_equal(parsed("-999999w"), 0);
}

static void test_doubtful_times_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "2026",
        "26-01-01",
        "2026-1-1",
        "2026-13",
        "2026-02-29",
        "2026-00-10",
        "2026-01-32",
        "2026/01/01",
        "2026-01-01T00",
        "2026-01-01T00:00",
        "2026-01-01 00:00Z",
        "2026-01-01T24:00Z",
        "yesterday",
        "-",
        "-h",
        "-24",
        "-24x",
        "-24hh",
        "-1000000h",
        "--1h",
        "24h",
        "+24h",
        "2026-01-01T00:00z ",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00.5Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00+1",
    };
    int64_t out;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (time_parse(bad[i], now_us, &out) != ERR_INVALID)
            fail_msg("accepted: '%s'", bad[i]);
}

static void test_years_out_of_range_are_refused(void **state)
{
    int64_t out;
    (void)state;
    assert_int_equal(time_parse("1969-12-31", now_us, &out), ERR_RANGE);
    assert_int_equal(time_parse("0000-01-01", now_us, &out), ERR_RANGE);
    assert_int_equal(time_parse("1970-01-01T00:00+01:00", now_us, &out), ERR_RANGE);
}

static void test_month_start_is_its_first_moment(void **state)
{
    (void)state;
    assert_int_equal(time_month_start(now_us), INT64_C(1767225600000000));
    assert_int_equal(time_month_start(INT64_C(1767225599999999)), INT64_C(1764547200000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_absolute_times_are_utc),
        cmocka_unit_test(test_relative_times_count_back_from_now),
        cmocka_unit_test(test_doubtful_times_are_refused),
        cmocka_unit_test(test_years_out_of_range_are_refused),
        cmocka_unit_test(test_month_start_is_its_first_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
