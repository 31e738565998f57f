/* SPDX-License-Identifier: MIT */
/* The forms of archives to the byte, and the choice of one by Accept. */
#include "accept.h"
#include "archive.h"

#include "cavage/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BODY_MAX = 64 * 1024 };

/* 2026-01-02T03:04:06Z */
static const int64_t wall_us = INT64_C(1767323046000000);
static const struct id boundary = {{0xab, 0xcd}};
#define BOUNDARY "abcd0000000000000000000000000000"

static struct archive archive;
static char body[BODY_MAX];

/* The whole body; every piece lies in the archive's text or in the files. */
static size_t joined(void)
{
    size_t len = 0;
    for (size_t i = 0; i < archive.piece_count; i++) {
        assert_true(archive.pieces[i].len > 0 && archive.pieces[i].len <= BODY_MAX - len);
        memcpy(body + len, archive.pieces[i].data, archive.pieces[i].len);
        len += archive.pieces[i].len;
    }
    assert_int_equal(len, archive.len);
    return len;
}

static size_t make(enum archive_form form, const struct archive_file *files, size_t count)
{
    assert_int_equal(archive_make(form, files, count, &boundary, wall_us, &archive), ERR_OK);
    return joined();
}

static const struct archive_file two[] = {
    {"one", IMAGE_JPEG, (const uint8_t *)"12345", 5},
    {"two", IMAGE_WEBP, (const uint8_t *)"\r\n--", 4},
};

static void test_multipart_to_the_byte(void **state)
{
    static const char wanted[] = "--" BOUNDARY "\r\n"
                                 "Content-Type: image/jpeg\r\n"
                                 "Content-Disposition: attachment; name=\"one\"; filename=\"one.jpg\"\r\n"
                                 "Content-Length: 5\r\n\r\n12345\r\n"
                                 "--" BOUNDARY "\r\n"
                                 "Content-Type: image/webp\r\n"
                                 "Content-Disposition: attachment; name=\"two\"; filename=\"two.webp\"\r\n"
                                 "Content-Length: 4\r\n\r\n\r\n--\r\n"
                                 "--" BOUNDARY "--\r\n";
    (void)state;
    assert_int_equal(make(ARCHIVE_MULTIPART, two, 2), sizeof(wanted) - 1);
    assert_memory_equal(body, wanted, sizeof(wanted) - 1);
    assert_string_equal(archive.media_type, "multipart/mixed; boundary=" BOUNDARY);
}

static void test_tar_is_blocks(void **state)
{
    static uint8_t block[512];
    const struct archive_file files[] = {two[0], {"even", IMAGE_TIFF, block, sizeof(block)}};
    (void)state;
    assert_int_equal(make(ARCHIVE_TAR, files, 2), 6 * 512);
    assert_string_equal(archive.media_type, "application/x-tar");
    assert_string_equal(body, "one.jpg");
    assert_string_equal(body + 100, "0000644");
    assert_string_equal(body + 124, "00000000005");
    assert_string_equal(body + 136, "15125632646");
    assert_int_equal(body[156], '0');
    assert_memory_equal(body + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (int i = 0; i < 512; i++)
        sum += i >= 148 && i < 156 ? ' ' : (unsigned char)body[i];
    assert_int_equal(strtoul(body + 148, NULL, 8), sum);
    assert_memory_equal(body + 512, "12345\0", 6);
    assert_string_equal(body + 1024, "even.tiff");
    for (size_t i = 4 * 512; i < 6 * 512; i++)
        assert_int_equal(body[i], 0);
}

static unsigned long number(size_t at, size_t bytes)
{
    unsigned long n = 0;
    for (size_t i = bytes; i > 0; i--)
        n = n << 8 | (unsigned char)body[at + i - 1];
    return n;
}

static void test_zip_has_a_directory(void **state)
{
    (void)state;
    size_t len = make(ARCHIVE_ZIP, two, 2);
    size_t end = len - 22, directory = number(end + 16, 4);
    assert_string_equal(archive.media_type, "application/zip");
    assert_int_equal(number(0, 4), 0x04034b50);
    assert_int_equal(number(14, 4), 0xcbf53a1c); /* CRC-32 of 12345 */
    assert_int_equal(number(18, 4), 5);
    assert_memory_equal(body + 30, "one.jpg12345", 12);
    assert_int_equal(number(end, 4), 0x06054b50);
    assert_int_equal(number(end + 10, 2), 2);
    assert_int_equal(directory + number(end + 12, 4), end);
    assert_int_equal(number(directory, 4), 0x02014b50);
    assert_int_equal(number(directory + 12, 4), 0x5c221883); /* 2026-01-02, 03:04:06 */
    assert_int_equal(number(directory + 42, 4), 0);
    size_t second = directory + 46 + 7;
    assert_int_equal(number(second, 4), 0x02014b50);
    assert_int_equal(number(number(second + 42, 4), 4), 0x04034b50);
    assert_memory_equal(body + second + 46, "two.webp", 8);
}

static void test_most_files_with_the_longest_names_fit(void **state)
{
    struct archive_file files[RENDITIONS_MAX];
    (void)state;
    for (size_t i = 0; i < RENDITIONS_MAX; i++)
        files[i] = (struct archive_file){"12345678901234567890123456789012", IMAGE_JPEG, (const uint8_t *)"1", 1};
    for (int form = 0; form < ARCHIVE_FORMS; form++) {
        make((enum archive_form)form, files, RENDITIONS_MAX);
        assert_true(archive.text_len <= sizeof(archive.text) && archive.piece_count <= ARCHIVE_PIECES_MAX);
    }
    assert_int_equal(archive_make(ARCHIVE_ZIP, files, RENDITIONS_MAX + 1, &boundary, 0, &archive), ERR_RANGE);
    assert_int_equal(archive_make(ARCHIVE_ZIP, files, 0, &boundary, 0, &archive), ERR_RANGE);
    files[3].len = UINT32_MAX;
    assert_int_equal(archive_make(ARCHIVE_ZIP, files, RENDITIONS_MAX, &boundary, 0, &archive), ERR_RANGE);
}

/* The form chosen by one or two headers; ARCHIVE_FORMS: none. */
static enum archive_form chosen(const char *first, const char *second)
{
    struct accept_archive a = {0};
    enum archive_form form;
    if (first)
        accept_archive_read(first, &a);
    if (second)
        accept_archive_read(second, &a);
    return accept_archive_choose(&a, &form) ? form : ARCHIVE_FORMS;
}

static void test_accept_chooses_the_form(void **state)
{
    static const struct {
        const char *first, *second;
        enum archive_form form;
    } cases[] = {
        {NULL, NULL, ARCHIVE_MULTIPART},
        {"", NULL, ARCHIVE_MULTIPART},
        {"*/*", NULL, ARCHIVE_MULTIPART},
        {"APPLICATION/ZIP", NULL, ARCHIVE_ZIP},
        {"application/*", NULL, ARCHIVE_TAR},
        {"multipart/*;q=0.5, application/*;q=0.6", NULL, ARCHIVE_TAR},
        {"application/zip;q=0.5", "application/x-tar;q=0.4", ARCHIVE_ZIP},
        {"*/*;q=0.9, application/x-tar;q=0.1, multipart/mixed;q=0.2", NULL, ARCHIVE_ZIP},
        {"application/zip;q=0, */*;q=0.001", NULL, ARCHIVE_MULTIPART},
        {"*/*;q=0", NULL, ARCHIVE_FORMS},
        {"image/webp", "image/*", ARCHIVE_FORMS},
        {"application/x-tarball, application/zi, application", NULL, ARCHIVE_FORMS},
        {" application/zip ;q=0.3 , ,application/x-tar; x=y; q=0.31", NULL, ARCHIVE_TAR},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (chosen(cases[i].first, cases[i].second) != cases[i].form)
            fail_msg("%s chooses %d", cases[i].first ? cases[i].first : "nothing",
                     (int)chosen(cases[i].first, cases[i].second));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multipart_to_the_byte),   cmocka_unit_test(test_tar_is_blocks),
        cmocka_unit_test(test_zip_has_a_directory),     cmocka_unit_test(test_most_files_with_the_longest_names_fit),
        cmocka_unit_test(test_accept_chooses_the_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
