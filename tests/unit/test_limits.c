/* SPDX-License-Identifier: MIT */
/* Tests of the limits by format: as they are written, and at their edges. */
#include "cavage/limits.h"

#include "cavage/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct limits of(const char *text)
{
    char why[512];
    struct conf *conf;
    struct limits limits;
    assert_int_equal(conf_new(&conf), 0);
    if (conf_read_text(conf, "test", text, why, sizeof(why)))
        fail_msg("%s", why);
    limits_read(conf, &limits);
    conf_free(conf);
    return limits;
}

static void refused(const char *value, int err, const char *part)
{
    char why[512] = "";
    struct conf *conf;
    assert_int_equal(conf_new(&conf), 0);
    assert_int_equal(conf_set(conf, CONF_LIMITS_PIXELS_OUT, value, "test", why, sizeof(why)), err);
    if (!strstr(why, part))
        fail_msg("%s", why);
    conf_free(conf);
}

static void test_formats_have_their_own_numbers(void **state)
{
    struct limits l = of("[limits]\npixels_in = 500 gif:20 tiff:3\nbytes_out = 2K png:1M\n");
    (void)state;
    assert_int_equal(l.of[LIMIT_PIXELS_IN][IMAGE_JPEG], 500);
    assert_int_equal(l.of[LIMIT_PIXELS_IN][IMAGE_UNKNOWN], 500);
    assert_int_equal(l.of[LIMIT_PIXELS_IN][IMAGE_GIF], 20);
    assert_int_equal(l.of[LIMIT_PIXELS_IN][IMAGE_TIFF], 3);
    assert_int_equal(l.of[LIMIT_BYTES_OUT][IMAGE_JPEG], 2048);
    assert_int_equal(l.of[LIMIT_BYTES_OUT][IMAGE_PNG], 1 << 20);
    assert_int_equal(limits_most(&l, LIMIT_BYTES_OUT), 1 << 20);
    assert_int_equal(limits_most(&l, LIMIT_PIXELS_IN), 500);
}

static void test_defaults_are_the_documented_ones(void **state)
{
    struct limits l = of("");
    (void)state;
    for (int format = IMAGE_JPEG; format < IMAGE_FORMAT_COUNT; format++) {
        assert_int_equal(l.of[LIMIT_PIXELS_IN][format], 100000000);
        assert_int_equal(l.of[LIMIT_TOTAL_PIXELS_IN][format], 100000000);
        assert_int_equal(l.of[LIMIT_FRAMES_IN][format], format == IMAGE_TIFF ? 10000 : 1000);
        assert_int_equal(l.of[LIMIT_PIXELS_OUT][format], format == IMAGE_AVIF ? 40000000 : 100000000);
        assert_int_equal(l.of[LIMIT_AUTO_PIXELS_OUT][format], format == IMAGE_AVIF ? 2000000 : 100000000);
        assert_int_equal(l.of[LIMIT_BYTES_OUT][format], 64 << 20);
    }
}

static void test_what_is_no_limit_is_refused(void **state)
{
    (void)state;
    refused("", ERR_INVALID, "missing");
    refused("gif:50", ERR_INVALID, "missing");
    refused("0", ERR_RANGE, "1 to 10000000000");
    refused("10000000001", ERR_RANGE, "1 to 10000000000");
    refused("100 gif:0", ERR_RANGE, "1 to 10000000000");
    refused("100 bmp:5", ERR_INVALID, "jpeg, png, webp, avif, gif or tiff");
    refused("100 jpg:5", ERR_INVALID, "'jpg' is no format");
    refused("100 :5", ERR_INVALID, "is no format");
    refused("100 gif:", ERR_INVALID, "no number");
    refused("100 gif:5 gif:6", ERR_INVALID, "already");
    refused("100 200", ERR_INVALID, "already");
    refused("100,gif:5", ERR_INVALID, "is no format");
    refused("100 gif:5M", ERR_INVALID, "no number");
    refused("100 gif:11111111111111111111111111111111111111111111111111111111111111111111111", ERR_INVALID, "no limit");
}

static void take(const struct limits *l, struct image_header in, int limit, uint64_t allowed, uint64_t actual)
{
    struct limits_breach why = {LIMIT_COUNT, 0, 0};
    bool taken = limits_take(l, &in, &why);
    assert_int_equal(taken, limit == LIMIT_COUNT);
    assert_int_equal(why.limit, limit);
    assert_int_equal(why.allowed, allowed);
    assert_int_equal(why.actual, actual);
}

static void test_what_comes_in_is_judged_at_the_edge(void **state)
{
    struct limits l = of("[limits]\npixels_in = 100 gif:50\nframes_in = 4 tiff:9\ntotal_pixels_in = 300 webp:120\n");
    (void)state;
    take(&l, (struct image_header){IMAGE_PNG, 10, 10, 1}, LIMIT_COUNT, 0, 0);
    take(&l, (struct image_header){IMAGE_PNG, 101, 1, 1}, LIMIT_PIXELS_IN, 100, 101);
    take(&l, (struct image_header){IMAGE_GIF, 10, 5, 1}, LIMIT_COUNT, 0, 0);
    take(&l, (struct image_header){IMAGE_GIF, 51, 1, 1}, LIMIT_PIXELS_IN, 50, 51);
    take(&l, (struct image_header){IMAGE_GIF, 10, 5, 4}, LIMIT_COUNT, 0, 0);
    take(&l, (struct image_header){IMAGE_GIF, 10, 5, 5}, LIMIT_FRAMES_IN, 4, 5);
    take(&l, (struct image_header){IMAGE_TIFF, 10, 3, 9}, LIMIT_COUNT, 0, 0);
    take(&l, (struct image_header){IMAGE_TIFF, 1, 1, 10}, LIMIT_FRAMES_IN, 9, 10);
    take(&l, (struct image_header){IMAGE_TIFF, 10, 10, 3}, LIMIT_COUNT, 0, 0);
    take(&l, (struct image_header){IMAGE_TIFF, 43, 1, 7}, LIMIT_TOTAL_PIXELS_IN, 300, 301);
    take(&l, (struct image_header){IMAGE_WEBP, 10, 4, 3}, LIMIT_COUNT, 0, 0);
    take(&l, (struct image_header){IMAGE_WEBP, 11, 11, 1}, LIMIT_PIXELS_IN, 100, 121);
    take(&l, (struct image_header){IMAGE_WEBP, 61, 1, 2}, LIMIT_TOTAL_PIXELS_IN, 120, 122);
    /* What no 64 bits hold. */
    take(&l, (struct image_header){IMAGE_PNG, UINT32_MAX, UINT32_MAX, UINT32_MAX}, LIMIT_PIXELS_IN, 100,
         (uint64_t)UINT32_MAX * UINT32_MAX);
}

static void test_what_goes_out_is_judged_at_the_edge(void **state)
{
    struct limits l = of("[limits]\npixels_out = 100 avif:50\nbytes_out = 2K png:1K\n");
    struct limits_breach why;
    (void)state;
    struct image_header gif = {IMAGE_GIF, 10, 5, 2};
    struct image_header avif = {IMAGE_AVIF, 10, 5, 1};
    assert_true(limits_give(&l, &gif, 2048, &why));
    assert_false(limits_give(&l, &gif, 2049, &why));
    assert_int_equal(why.limit, LIMIT_BYTES_OUT);
    gif.pages = 3;
    assert_false(limits_give(&l, &gif, 1, &why));
    assert_int_equal(why.actual, 150);
    assert_true(limits_give(&l, &avif, 1, &why));
    avif.width = 11;
    assert_false(limits_give(&l, &avif, 1, &why));
    assert_int_equal(why.allowed, 50);
    assert_false(limits_give(&l, &(struct image_header){IMAGE_PNG, 1, 1, 1}, 1025, &why));
}

static bool admitted(const struct limits *l, const char *query)
{
    struct params params;
    struct params_problem problem;
    struct limits_breach why;
    assert_int_equal(params_parse(query, strlen(query), &params, &problem), 0);
    bool good = limits_admit(l, &params, &why);
    assert_true(good || (why.limit == LIMIT_PIXELS_OUT && why.actual > why.allowed));
    return good;
}

static void test_a_request_is_refused_only_when_no_image_can_help(void **state)
{
    struct limits l = of("[limits]\npixels_out = 10000 avif:5000\n");
    (void)state;
    assert_true(admitted(&l, "w=100&h=100&fit=fill"));
    assert_false(admitted(&l, "w=101&h=100&fit=fill"));
    assert_false(admitted(&l, "w=101&h=100&fit=cover"));
    assert_false(admitted(&l, "w=101&h=100&fit=outside"));
    assert_false(admitted(&l, "w=101&h=100&fit=contain"));
    assert_false(admitted(&l, "w=101&h=100&fit=contain&enlarge=0"));
    assert_true(admitted(&l, "w=101&h=100&fit=cover&enlarge=0"));
    assert_true(admitted(&l, "w=9000&h=9000"));
    assert_true(admitted(&l, "w=9000&h=9000&enlarge=1"));
    assert_true(admitted(&l, "w=9000&fit=cover"));
    assert_true(admitted(&l, "w=100&h=50&fit=fill&format=avif"));
    assert_false(admitted(&l, "w=100&h=51&fit=fill&format=avif"));
    assert_true(admitted(&l, "w=100&h=100&fit=fill&format=auto"));
    assert_false(admitted(&l, "w=51&h=50&fit=fill&dpr=2"));
}

static void test_the_sentence_names_both_numbers(void **state)
{
    (void)state;
    for (int i = 0; i < LIMIT_COUNT; i++) {
        char text[LIMITS_TEXT_SIZE];
        struct limits_breach why = {(enum limit)i, UINT64_MAX - 1, UINT64_MAX};
        assert_ptr_equal(limits_tell(&why, text), text);
        assert_non_null(strstr(text, "18446744073709551614"));
        assert_non_null(strstr(text, "18446744073709551615"));
        assert_int_equal(text[strlen(text) - 1], '.');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats_have_their_own_numbers),
        cmocka_unit_test(test_defaults_are_the_documented_ones),
        cmocka_unit_test(test_what_is_no_limit_is_refused),
        cmocka_unit_test(test_what_comes_in_is_judged_at_the_edge),
        cmocka_unit_test(test_what_goes_out_is_judged_at_the_edge),
        cmocka_unit_test(test_a_request_is_refused_only_when_no_image_can_help),
        cmocka_unit_test(test_the_sentence_names_both_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
