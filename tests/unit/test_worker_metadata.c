/* SPDX-License-Identifier: MIT */
/* Tests of notices, IPTC and XMP, on bytes made by hand. */
#include "iptc.h"
#include "notices.h"
#include "xmp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_notice(const char *text, size_t len, const char *wanted)
{
    struct notices n = {.count = 0};
    notices_add(&n, NOTICE_RIGHTS, "", text, len);
    assert_int_equal(n.count, wanted[0] != '\0');
    if (n.count > 0)
        assert_string_equal(n.at[0].text, wanted);
}

static void test_notices_are_clean_utf8(void **state)
{
    (void)state;
    check_notice("me", 2, "me");
    check_notice(" \t me\r\n", 7, "me");
    check_notice("", 0, "");
    check_notice(" \n", 2, "");
    check_notice("a\0b", 3, "a");
    check_notice("a\1b\x7f", 4, "a b");
    check_notice("J\xc3\xb6rg", 5, "J\xc3\xb6rg");
    check_notice("J\xf6rg", 4, "J\xc3\xb6rg");
    check_notice("a\xc2\x85z", 4, "a z");
    check_notice("a\x85z", 3, "a z");
}

static void test_long_notices_are_cut_at_a_character(void **state)
{
    char text[2 * NOTICE_TEXT_SIZE];
    struct notices n = {.count = 0};
    (void)state;
    for (size_t i = 0; i + 1 < sizeof(text); i += 2)
        memcpy(text + i, "\xc3\xb6", 2);
    notices_add(&n, NOTICE_RIGHTS, "", text, sizeof(text));
    assert_int_equal(strlen(n.at[0].text), NOTICE_TEXT_SIZE - 2);
    notices_add(&n, NOTICE_RIGHTS, "", text + 1, sizeof(text) - 1);
    for (size_t i = 0; i < NOTICES_MAX + 3; i++)
        notices_add(&n, NOTICE_CREATOR, "", "x", 1);
    assert_int_equal(n.count, NOTICES_MAX);
}

static void test_languages_are_words(void **state)
{
    struct notices n = {.count = 0};
    (void)state;
    notices_add(&n, NOTICE_RIGHTS, "de-AT", "a", 1);
    notices_add(&n, NOTICE_RIGHTS, "\"><x", "a", 1);
    notices_add(&n, NOTICE_RIGHTS, "a-language-that-is-far-too-long", "a", 1);
    assert_string_equal(n.at[0].language, "de-AT");
    assert_string_equal(n.at[1].language, "");
    assert_string_equal(n.at[2].language, "");
    assert_true(notices_have(&n, NOTICE_RIGHTS));
    assert_false(notices_have(&n, NOTICE_CREATOR));
}

/* Character set, keyword, by-line, copyright. */
static const uint8_t records[] = "\x1c\x01\x5a\0\3\x1b%G\x1c\x02\x19\0\2kw\x1c\x02\x50\0\2me\x1c\x02\x74\0\3(c)";
enum { RECORDS_LEN = sizeof(records) - 1 };

static struct notices read_iptc(const uint8_t *data, size_t len)
{
    struct notices n = {.count = 0};
    /* Of exactly its size, so that a sanitizer sees a read past its end. */
    uint8_t *exact = malloc(len > 0 ? len : 1);
    assert_non_null(exact);
    memcpy(exact, data, len);
    iptc_read(exact, len, &n);
    free(exact);
    return n;
}

static void test_iptc_crosses_both_forms(void **state)
{
    static uint8_t jpeg[IPTC_OUT_MAX], tiff[IPTC_OUT_MAX], again[IPTC_OUT_MAX];
    (void)state;
    size_t jpeg_len = iptc_write(records, RECORDS_LEN, true, true, jpeg);
    assert_memory_equal(jpeg, "Photoshop 3.0\0008BIM\4\4\0\0\0\0\0", 25);
    assert_int_equal(jpeg[25], RECORDS_LEN);
    assert_memory_equal(jpeg + 26, records, RECORDS_LEN);
    assert_int_equal(jpeg_len % 2, 0);
    size_t tiff_len = iptc_write(jpeg, jpeg_len, true, false, tiff);
    assert_true(tiff_len >= RECORDS_LEN && tiff_len % 4 == 0);
    assert_memory_equal(tiff, records, RECORDS_LEN);
    assert_int_equal(iptc_write(tiff, tiff_len, true, true, again), jpeg_len);
    assert_memory_equal(again, jpeg, jpeg_len);
    struct notices n = read_iptc(jpeg, jpeg_len);
    assert_int_equal(n.count, 2);
    assert_string_equal(n.at[0].text, "me");
    assert_int_equal(n.at[0].kind, NOTICE_CREATOR);
    assert_string_equal(n.at[1].text, "(c)");
}

static void test_copyright_leaves_the_rest_of_iptc(void **state)
{
    static uint8_t out[IPTC_OUT_MAX];
    (void)state;
    size_t len = iptc_write(records, RECORDS_LEN, false, false, out);
    assert_int_equal(len, (RECORDS_LEN - 7) * 4);
    assert_null(memmem(out, len, "kw", 2));
    assert_int_equal(iptc_write(records, 8 + 7, false, false, out), 8 * 4);
    assert_int_equal(iptc_write(records + 8, 7, false, true, out), 0);
}

static void test_cut_iptc_ends_where_it_is_cut(void **state)
{
    static uint8_t jpeg[IPTC_OUT_MAX], out[IPTC_OUT_MAX];
    size_t len = iptc_write(records, RECORDS_LEN, true, true, jpeg);
    (void)state;
    for (size_t cut = 0; cut <= len; cut++) {
        struct notices n = read_iptc(jpeg, cut);
        assert_true(n.count <= 2);
        (void)iptc_write(jpeg, cut, true, true, out);
    }
    for (size_t cut = 0; cut < RECORDS_LEN; cut++)
        assert_true(read_iptc(records, cut).count <= 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t kept = jpeg[i];
        jpeg[i] = 0xff;
        assert_true(read_iptc(jpeg, len).count <= 2);
        assert_true(iptc_write(jpeg, len, true, true, out) <= IPTC_OUT_MAX);
        jpeg[i] = kept;
    }
}

static void test_too_much_iptc_is_left_out(void **state)
{
    static uint8_t data[4 * IPTC_OUT_MAX], out[IPTC_OUT_MAX];
    (void)state;
    for (size_t at = 0; at + 0x7000 + 5 <= sizeof(data); at += 0x7000 + 5)
        memcpy(data + at, "\x1c\x02\x74\x70\0", 5);
    assert_int_equal(iptc_write(data, sizeof(data), false, true, out), 0);
    assert_int_equal(iptc_write(data, sizeof(data), false, false, out), 0);
    assert_int_equal(iptc_write(data, 0x7000 + 5, false, true, out), 14 + 8 + 4 + 0x7000 + 5 + 1);
}

#define PACKET(inside)                                                                                         \
    "<r:RDF xmlns:r='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns:d='http://purl.org/dc/elements/1.1/'>" \
    "<r:Description" inside "</r:RDF>"

static struct notices read_xmp(const char *text)
{
    struct notices n = {.count = 0};
    xmp_read(text, strlen(text), &n);
    return n;
}

static void test_xmp_is_read_in_every_form(void **state)
{
    struct notices n;
    (void)state;
    n = read_xmp(PACKET(
        "><d:rights><r:Alt><r:li xml:lang='en'>a &lt; b</r:li><r:li>c</r:li></r:Alt></d:rights></r:Description>"));
    assert_int_equal(n.count, 2);
    assert_string_equal(n.at[0].text, "a < b");
    assert_string_equal(n.at[0].language, "en");
    assert_string_equal(n.at[1].text, "c");
    n = read_xmp(PACKET(" d:rights='a' d:creator='b'/>"));
    assert_int_equal(n.count, 2);
    assert_int_equal(n.at[1].kind, NOTICE_CREATOR);
    n = read_xmp(PACKET("><d:creator>me</d:creator><d:title>no</d:title></r:Description>"));
    assert_int_equal(n.count, 1);
    assert_string_equal(n.at[0].text, "me");
    n = read_xmp("<rights xmlns='http://example.org/'>x</rights>");
    assert_int_equal(n.count, 0);
}

static void test_xmp_that_declares_is_not_read(void **state)
{
    (void)state;
    assert_int_equal(read_xmp("<!DOCTYPE x [<!ENTITY a 'x'>]>" PACKET(" d:rights='&a;'/>")).count, 0);
    assert_int_equal(read_xmp("<!DOCTYPE x>" PACKET(" d:rights='a'/>")).count, 0);
    assert_int_equal(read_xmp("").count, 0);
    assert_int_equal(read_xmp("<").count, 0);
}

static void test_longest_notices_fit_a_packet(void **state)
{
    static char out[XMP_OUT_MAX + 1];
    char text[NOTICE_TEXT_SIZE];
    struct notices n = {.count = 0};
    struct notices back = {.count = 0};
    (void)state;
    memset(text, '"', sizeof(text));
    for (int i = 0; i < NOTICES_MAX; i++)
        notices_add(&n, i % 2 ? NOTICE_RIGHTS : NOTICE_CREATOR, "abcdefghijklmnopqrstuvw", text, sizeof(text) - 1);
    size_t len = xmp_write(&n, out);
    assert_true(len > 0);
    xmp_read(out, len, &back);
    assert_int_equal(back.count, NOTICES_MAX);
    for (int i = 0; i < NOTICES_MAX; i++)
        assert_int_equal(strlen(back.at[i].text), sizeof(text) - 1);
    n.count = 0;
    assert_int_equal(xmp_write(&n, out), 0);
}

static void test_xmp_is_renewed_in_place(void **state)
{
    char text[] =
        "<a tiff:Orientation=\"6\"><tiff:Orientation>8</tiff:Orientation><xmp:Thumbnails>x</xmp:Thumbnails><b>"
        "</b><xap:Thumbnails>tiff:Orientation";
    static const char wanted[] =
        "<a tiff:Orientation=\"1\"><tiff:Orientation>1</tiff:Orientation>                                  <b>"
        "</b><xap:Thumbnails>tiff:Orientation";
    (void)state;
    xmp_renew(text, strlen(text));
    assert_string_equal(text, wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notices_are_clean_utf8),
        cmocka_unit_test(test_long_notices_are_cut_at_a_character),
        cmocka_unit_test(test_languages_are_words),
        cmocka_unit_test(test_iptc_crosses_both_forms),
        cmocka_unit_test(test_copyright_leaves_the_rest_of_iptc),
        cmocka_unit_test(test_cut_iptc_ends_where_it_is_cut),
        cmocka_unit_test(test_too_much_iptc_is_left_out),
        cmocka_unit_test(test_xmp_is_read_in_every_form),
        cmocka_unit_test(test_xmp_that_declares_is_not_read),
        cmocka_unit_test(test_longest_notices_fit_a_packet),
        cmocka_unit_test(test_xmp_is_renewed_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
