/* SPDX-License-Identifier: MIT */
/* Framed logs: what was appended is read back, and torn tails are told from damage. */
#include "cavage/err.h"
#include "cavage/framelog.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAYLOAD = 100, FRAME = FRAMELOG_HEADER_BYTES + PAYLOAD };

static int scratch(void)
{
    char path[] = "/tmp/cavage-framelog-XXXXXX";
    int fd = mkostemp(path, O_APPEND | O_CLOEXEC);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

/* `count` frames of PAYLOAD bytes; each says that all before it is durable when `durable` is set. */
static int with_frames(int count, bool durable, uint64_t *size)
{
    int fd = scratch();
    uint8_t payload[PAYLOAD];
    *size = 0;
    for (int i = 0; i < count; i++) {
        memset(payload, 'a' + i, sizeof payload);
        struct framelog_part parts[] = {{payload, 1}, {payload + 1, PAYLOAD - 1}};
        assert_int_equal(framelog_append(fd, size, (uint8_t)i, durable ? *size : 0, parts, 2), ERR_OK);
    }
    return fd;
}

static int read_all(int fd, uint64_t from, uint64_t limit, uint8_t *types, uint64_t *skipped)
{
    struct framelog_reader *reader;
    struct framelog_frame frame;
    int count = 0, err;
    *skipped = 0;
    assert_int_equal(framelog_reader_new(fd, from, limit, &reader), ERR_OK);
    while ((err = framelog_next(reader, &frame)) == ERR_OK) {
        assert_int_equal(frame.len, PAYLOAD);
        assert_int_equal(frame.payload[0], 'a' + frame.type);
        *skipped += frame.skipped;
        types[count++] = frame.type;
    }
    assert_int_equal(err, ERR_NOTFOUND);
    framelog_reader_free(reader);
    return count;
}

static void flip(int fd, uint64_t offset)
{
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 0x40;
    /* pwrite on an O_APPEND descriptor appends on Linux. */
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
}

static void test_crc_is_castagnoli(void **state)
{
    (void)state;
    assert_int_equal(framelog_crc(0, "123456789", 9), 0xe3069283);
    /* In pieces of any alignment it is the same. */
    uint32_t crc = framelog_crc(0, "1", 1);
    assert_int_equal(framelog_crc(crc, "23456789", 8), 0xe3069283);
}

static void test_frames_come_back_in_order(void **state)
{
    (void)state;
    uint8_t types[16] = {0};
    uint64_t size, skipped;
    int fd = with_frames(10, false, &size);
    assert_int_equal(size, 10 * FRAME);
    assert_int_equal(read_all(fd, 0, size, types, &skipped), 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(types[i], i);
    assert_int_equal(skipped, 0);
    assert_int_equal(read_all(fd, 3 * FRAME, 7 * FRAME + 5, types, &skipped), 4);
    assert_int_equal(types[0], 3);
    close(fd);
}

static void test_empty_and_large_payloads(void **state)
{
    (void)state;
    struct framelog_reader *reader;
    struct framelog_frame frame;
    int fd = scratch();
    uint64_t size = 0;
    uint8_t *big = calloc(1, FRAMELOG_PAYLOAD_MAX);
    struct framelog_part part = {big, FRAMELOG_PAYLOAD_MAX}, two[] = {part, {big, 1}};
    assert_int_equal(framelog_append(fd, &size, 1, 0, NULL, 0), ERR_OK);
    assert_int_equal(framelog_append(fd, &size, 2, 0, two, 2), ERR_RANGE);
    assert_int_equal(framelog_append(fd, &size, 2, 0, &part, FRAMELOG_PARTS_MAX + 1), ERR_RANGE);
    assert_int_equal(framelog_append(fd, &size, 3, 7, &part, 1), ERR_OK);
    assert_int_equal(framelog_reader_new(fd, 0, size, &reader), ERR_OK);
    assert_int_equal(framelog_next(reader, &frame), ERR_OK);
    assert_int_equal(frame.len, 0);
    assert_int_equal(framelog_next(reader, &frame), ERR_OK);
    assert_int_equal(frame.len, FRAMELOG_PAYLOAD_MAX);
    assert_int_equal(frame.durable, 7);
    assert_int_equal(framelog_end(reader), size);
    framelog_reader_free(reader);
    free(big);
    close(fd);
}

static void test_every_torn_tail_is_found(void **state)
{
    (void)state;
    uint8_t types[4] = {0};
    uint64_t size, skipped, end;
    for (uint64_t cut = 2 * FRAME; cut < 3 * FRAME; cut++) {
        int fd = with_frames(3, true, &size);
        assert_int_equal(ftruncate(fd, (off_t)cut), 0);
        assert_int_equal(read_all(fd, 0, cut, types, &skipped), 2);
        assert_int_equal(framelog_check(fd, 0, cut, &end), ERR_OK);
        assert_int_equal(end, 2 * FRAME);
        close(fd);
    }
}

static void test_every_flipped_byte_is_found(void **state)
{
    (void)state;
    uint8_t types[4] = {0};
    uint64_t size, skipped, end;
    for (uint64_t at = FRAME; at < 2 * FRAME; at++) {
        int fd = with_frames(3, true, &size);
        flip(fd, at);
        assert_int_equal(read_all(fd, 0, size, types, &skipped), 2);
        assert_int_equal(types[0], 0);
        assert_int_equal(types[1], 2);
        assert_int_equal(skipped, FRAME);
        /* The third frame says that the second was on disk. */
        assert_int_equal(framelog_check(fd, 0, size, &end), ERR_CORRUPT);
        assert_int_equal(end, FRAME);
        close(fd);
    }
}

static void test_hole_that_was_never_durable_is_a_torn_tail(void **state)
{
    (void)state;
    uint64_t size, end;
    int fd = with_frames(3, false, &size);
    flip(fd, FRAME + 50);
    assert_int_equal(framelog_check(fd, 0, size, &end), ERR_OK);
    assert_int_equal(end, FRAME);
    close(fd);
}

static void test_zeros_at_the_end_are_a_torn_tail(void **state)
{
    (void)state;
    uint64_t size, end;
    int fd = with_frames(2, true, &size);
    assert_int_equal(ftruncate(fd, (off_t)size + 5000), 0);
    assert_int_equal(framelog_check(fd, 0, size + 5000, &end), ERR_OK);
    assert_int_equal(end, size);
    close(fd);
}

static void test_failed_append_leaves_the_file_as_it_was(void **state)
{
    (void)state;
    uint64_t size;
    int fd = with_frames(1, false, &size);
    int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct framelog_part part = {"x", 1};
    assert_int_equal(framelog_append(read_only, &size, 1, 0, &part, 1), ERR_IO);
    assert_int_equal(size, FRAME);
    close(read_only);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc_is_castagnoli),
        cmocka_unit_test(test_frames_come_back_in_order),
        cmocka_unit_test(test_empty_and_large_payloads),
        cmocka_unit_test(test_every_torn_tail_is_found),
        cmocka_unit_test(test_every_flipped_byte_is_found),
        cmocka_unit_test(test_hole_that_was_never_durable_is_a_torn_tail),
        cmocka_unit_test(test_zeros_at_the_end_are_a_torn_tail),
        cmocka_unit_test(test_failed_append_leaves_the_file_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
