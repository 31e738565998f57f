/* SPDX-License-Identifier: MIT */
/* The memory of images that ended converters: what it keeps, how long, and its bound. */
#include "cavage/err.h"
#include "cavage/poison.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { KEEP_US = 1000, START_US = 5000 };

struct digest_bytes {
    uint8_t bytes[POISON_DIGEST_BYTES];
};

/* Digests that differ in their last bytes only. */
static struct digest_bytes number(unsigned n)
{
    struct digest_bytes d;
    memset(&d, 7, sizeof(d));
    d.bytes[POISON_DIGEST_BYTES - 2] = (uint8_t)(n >> 8);
    d.bytes[POISON_DIGEST_BYTES - 1] = (uint8_t)n;
    return d;
}

static bool has(const struct poison *p, int64_t now_us, unsigned n)
{
    struct digest_bytes d = number(n);
    return poison_has(p, now_us, d.bytes);
}

static void add(struct poison *p, int64_t now_us, unsigned n)
{
    struct digest_bytes d = number(n);
    poison_add(p, now_us, d.bytes);
}

static struct poison *table(size_t entries)
{
    struct poison *p = NULL;
    assert_int_equal(poison_new(entries, KEEP_US, &p), 0);
    return p;
}

static void test_new_refuses_what_is_out_of_range(void **state)
{
    (void)state;
    struct poison *p;
    assert_int_equal(poison_new(0, KEEP_US, &p), ERR_RANGE);
    assert_int_equal(poison_new(POISON_ENTRIES_MAX + 1, KEEP_US, &p), ERR_RANGE);
    assert_int_equal(poison_new(1, 0, &p), ERR_RANGE);
    assert_null(p);
    poison_free(p);
}

static void test_digest_is_remembered_for_its_time(void **state)
{
    (void)state;
    struct poison *p = table(4);
    assert_false(has(p, START_US, 1));
    add(p, START_US, 1);
    assert_true(has(p, START_US, 1));
    assert_true(has(p, START_US + KEEP_US - 1, 1));
    assert_false(has(p, START_US + KEEP_US, 1));
    assert_false(has(p, START_US, 2));
    poison_free(p);
}

static void test_digest_added_again_is_remembered_anew(void **state)
{
    (void)state;
    struct poison *p = table(4);
    add(p, START_US, 1);
    add(p, START_US + KEEP_US / 2, 1);
    assert_true(has(p, START_US + KEEP_US, 1));
    assert_int_equal(poison_count(p, START_US + KEEP_US), 1);
    poison_free(p);
}

static void test_full_table_forgets_the_oldest(void **state)
{
    (void)state;
    struct poison *p = table(3);
    for (unsigned n = 0; n < 3; n++)
        add(p, START_US + n, n);
    add(p, START_US + 3, 0);
    add(p, START_US + 4, 9);
    assert_false(has(p, START_US + 5, 1));
    assert_true(has(p, START_US + 5, 0));
    assert_true(has(p, START_US + 5, 2));
    assert_true(has(p, START_US + 5, 9));
    assert_int_equal(poison_count(p, START_US + 5), 3);
    poison_free(p);
}

static void test_count_forgets_what_is_over(void **state)
{
    (void)state;
    struct poison *p = table(POISON_ENTRIES_MAX);
    assert_int_equal(poison_count(p, START_US), 0);
    for (unsigned n = 0; n < 600; n++)
        add(p, START_US + n, n);
    assert_int_equal(poison_count(p, START_US + KEEP_US + 99), 500);
    assert_false(has(p, START_US, 99));
    assert_true(has(p, START_US, 100));
    assert_int_equal(poison_count(p, START_US + KEEP_US + 600), 0);
    poison_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_refuses_what_is_out_of_range),
        cmocka_unit_test(test_digest_is_remembered_for_its_time),
        cmocka_unit_test(test_digest_added_again_is_remembered_anew),
        cmocka_unit_test(test_full_table_forgets_the_oldest),
        cmocka_unit_test(test_count_forgets_what_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
