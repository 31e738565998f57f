/* SPDX-License-Identifier: MIT */
/* Which socket makes room for which. Nobody listens: a PUSH is there all the same. */
#include "cavage/bus_table.h"

#include "cavage/err.h"
#include "cavage/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { COUNT = 3 };

static struct bus_table *t;

static int setup(void **state)
{
    (void)state;
    return bus_table_new(COUNT, NULL, &t);
}

static int teardown(void **state)
{
    (void)state;
    bus_table_free(t);
    return 0;
}

/* Its place; whether it was opened is as expected. */
static size_t find(int number, int64_t now_us, bool expected)
{
    char address[64];
    size_t place;
    bool opened;
    snprintf(address, sizeof(address), "ipc:///tmp/cvg-nobody-%d", number);
    assert_int_equal(bus_table_find(t, now_us, address, &place, &opened), ERR_OK);
    assert_int_equal(opened, expected);
    assert_non_null(bus_table_push(t, place));
    assert_int_equal(bus_table_used_us(t, place), now_us);
    return place;
}

static void test_address_keeps_its_place(void **state)
{
    (void)state;
    size_t first = find(1, 10, true), second = find(2, 20, true);
    assert_int_not_equal(first, second);
    assert_int_equal(find(1, 30, false), first);
    assert_int_equal(find(2, 30, false), second);
}

static void test_the_one_unused_longest_makes_room(void **state)
{
    (void)state;
    size_t first = find(1, 10, true), second = find(2, 20, true);
    size_t third = find(3, 30, true);
    find(1, 40, false);
    assert_int_equal(find(4, 50, true), second);
    assert_int_equal(find(2, 60, true), third);
    assert_int_equal(find(1, 70, false), first);
    bus_table_close(t, first);
    assert_null(bus_table_push(t, first));
    assert_int_equal(find(5, 80, true), first); /* a free one, though others were not used for longer */
    find(4, 80, false);
    find(2, 80, false);
}

static void test_refused_address_leaves_no_socket(void **state)
{
    (void)state;
    char longest[WIRE_ADDRESS_SIZE + 1] = "ipc://";
    size_t place = COUNT;
    bool opened;
    memset(longest + strlen(longest), 'x', sizeof(longest) - 1 - strlen("ipc://"));
    longest[WIRE_ADDRESS_SIZE] = '\0';
    for (int i = 0; i < COUNT; i++)
        find(i, i, true);
    assert_int_equal(bus_table_find(t, 10, longest, &place, &opened), ERR_RANGE);
    assert_false(opened);
    for (size_t i = 0; i < COUNT; i++)
        assert_non_null(bus_table_push(t, i));
    longest[WIRE_ADDRESS_SIZE - 1] = '\0'; /* for the table, but too long a path */
    assert_int_equal(bus_table_find(t, 10, longest, &place, &opened), ERR_RANGE);
    assert_true(opened);
    assert_null(bus_table_push(t, place));
    assert_int_equal(bus_table_find(t, 10, "tcp://127.0.0.1:1", &place, &opened), ERR_DENIED);
    assert_true(opened);
    assert_null(bus_table_push(t, place));
    assert_int_equal(find(7, 20, true), place);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_address_keeps_its_place),
        TEST(test_the_one_unused_longest_makes_room),
        TEST(test_refused_address_leaves_no_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
