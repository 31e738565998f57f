/* SPDX-License-Identifier: MIT */
/* The preamble: what is written is read, and nothing malformed gets through. */
#include "cavage/err.h"
#include "cavage/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

enum { HEADER = 5, BODY = 7, TOTAL = FRAME_PREAMBLE_BYTES + HEADER + BODY };

static uint8_t good[TOTAL];

static int setup(void **state)
{
    (void)state;
    memset(good, 'x', sizeof good);
    return frame_write(good, FRAME_RESULT, HEADER, BODY);
}

static void test_written_frame_is_read_back(void **state)
{
    (void)state;
    struct frame f;

    assert_int_equal(frame_parse(good, TOTAL, BODY, &f), ERR_OK);
    assert_int_equal(f.type, FRAME_RESULT);
    assert_ptr_equal(f.header, good + FRAME_PREAMBLE_BYTES);
    assert_int_equal(f.header_len, HEADER);
    assert_ptr_equal(f.body, good + FRAME_PREAMBLE_BYTES + HEADER);
    assert_int_equal(f.body_len, BODY);
}

static void test_layout_is_as_documented(void **state)
{
    (void)state;
    static const uint8_t expected[FRAME_PREAMBLE_BYTES] = {'C',  'V',  'G', '1', 1,    3,    0,    0,
                                                           0x34, 0x12, 0,   0,   0x78, 0x56, 0x34, 0x12};
    uint8_t data[FRAME_PREAMBLE_BYTES];

    assert_int_equal(frame_write(data, FRAME_JOB, 0x1234, 0x12345678), ERR_OK);
    assert_memory_equal(data, expected, sizeof expected);
}

static void test_every_wrong_length_is_refused(void **state)
{
    (void)state;
    struct frame f;
    uint8_t data[TOTAL + 1];

    memcpy(data, good, TOTAL);
    data[TOTAL] = 0;
    for (size_t len = 0; len <= TOTAL + 1; len++)
        assert_int_equal(frame_parse(data, len, BODY, &f), len == TOTAL ? ERR_OK : ERR_INVALID);
}

static void test_every_changed_preamble_byte_is_refused(void **state)
{
    (void)state;
    struct frame f;

    for (size_t i = 0; i < FRAME_PREAMBLE_BYTES; i++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t data[TOTAL];
            memcpy(data, good, TOTAL);
            data[i] = (uint8_t)value;
            int err = frame_parse(data, TOTAL, BODY, &f);
            bool other_type = i == 5 && value >= FRAME_HELLO && value <= FRAME_ARENA;
            if (value == good[i] || other_type)
                assert_int_equal(err, ERR_OK);
            else if (i == 4)
                assert_int_equal(err, ERR_VERSION);
            else
                assert_true(err == ERR_INVALID || (i >= 8 && err == ERR_RANGE));
        }
    }
}

static void test_bounds_hold_to_the_byte(void **state)
{
    (void)state;
    static uint8_t data[FRAME_PREAMBLE_BYTES + FRAME_HEADER_MAX + 1];
    struct frame f;

    assert_int_equal(frame_parse(good, TOTAL, BODY - 1, &f), ERR_RANGE);
    assert_int_equal(frame_write(data, FRAME_JOB, FRAME_HEADER_MAX + 1, 0), ERR_RANGE);
    assert_int_equal(frame_write(data, FRAME_JOB, 0, (size_t)UINT32_MAX + 1), ERR_RANGE);
    assert_int_equal(frame_write(data, FRAME_JOB, FRAME_HEADER_MAX, 0), ERR_OK);
    assert_int_equal(frame_parse(data, FRAME_PREAMBLE_BYTES + FRAME_HEADER_MAX, 0, &f), ERR_OK);
    data[8] = 1; /* one byte more of header */
    assert_int_equal(frame_parse(data, sizeof data, 0, &f), ERR_RANGE);
    /* Lengths whose sum wraps around 32 bits. */
    memset(data + 12, 0xff, 4);
    data[8] = 17;
    data[9] = 0;
    assert_int_equal(frame_parse(data, 32, SIZE_MAX, &f), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_written_frame_is_read_back, setup),
        cmocka_unit_test(test_layout_is_as_documented),
        cmocka_unit_test_setup(test_every_wrong_length_is_refused, setup),
        cmocka_unit_test_setup(test_every_changed_preamble_byte_is_refused, setup),
        cmocka_unit_test_setup(test_bounds_hold_to_the_byte, setup),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
