/* SPDX-License-Identifier: MIT */
/* Tests of the resize parameters: reading, refusing, the canonical form. */
#include "cavage/err.h"
#include "cavage/params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct params parsed(const char *query)
{
    struct params p;
    struct params_problem problem;
    int err = params_parse(query, strlen(query), &p, &problem);
    if (err)
        fail_msg("%s: %s: %s", query, problem.name, problem.message);
    return p;
}

static void refused(const char *query, const char *name, const char *part)
{
    struct params p;
    struct params_problem problem;
    if (params_parse(query, strlen(query), &p, &problem) != ERR_INVALID)
        fail_msg("%s is not refused", query);
    assert_string_equal(problem.name, name);
    if (!strstr(problem.message, part))
        fail_msg("%s: \"%s\" does not say \"%s\"", query, problem.message, part);
}

static void canonical(const char *query, const char *wanted)
{
    struct params p = parsed(query);
    char text[PARAMS_CANONICAL_SIZE];
    assert_int_equal(params_format(&p, text), strlen(wanted));
    assert_string_equal(text, wanted);
}

static void test_empty_query_gives_defaults(void **state)
{
    (void)state;
    struct params p = parsed("");
    assert_int_equal(p.width, 0);
    assert_int_equal(p.height, 0);
    assert_int_equal(p.fit, FIT_INSIDE);
    assert_int_equal(p.format, IMAGE_UNKNOWN);
    assert_int_equal(p.quality, 0);
    assert_false(p.enlarge);
    assert_false(p.has_background);
    canonical("", "");
}

static void test_all_parameters_are_read(void **state)
{
    (void)state;
    struct params p = parsed("width=320&height=200&fit=contain&format=webp&quality=75&background=10203040");
    assert_int_equal(p.width, 320);
    assert_int_equal(p.height, 200);
    assert_int_equal(p.fit, FIT_CONTAIN);
    assert_int_equal(p.format, IMAGE_WEBP);
    assert_int_equal(p.quality, 75);
    assert_true(p.has_background);
    assert_memory_equal(p.background, "\x10\x20\x30\x40", 4);
}

static void test_short_names_are_known(void **state)
{
    (void)state;
    canonical("q=5&h=2&w=1&format=jpg", "width=1&height=2&format=jpeg&quality=5");
    canonical("format=tif", "format=tiff");
}

static void test_canonical_form_drops_defaults_and_orders(void **state)
{
    (void)state;
    canonical("fit=inside&enlarge=0&height=7", "height=7");
    canonical("enlarge=1&w=9", "width=9&enlarge=1");
    canonical("enlarge=1&w=9&fit=cover", "width=9&fit=cover");
    canonical("enlarge=0&w=9&fit=cover", "width=9&fit=cover&enlarge=0");
    canonical("fit=outside&h=3", "height=3&fit=outside");
}

static void test_canonical_form_reads_back(void **state)
{
    static const char *const queries[] = {"",
                                          "w=1",
                                          "w=16383&h=16383&fit=fill",
                                          "w=5&h=5&fit=cover&format=avif&q=100",
                                          "background=fff&format=png",
                                          "w=3&enlarge=1&background=ABCD"};
    (void)state;
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        struct params first = parsed(queries[i]);
        char text[PARAMS_CANONICAL_SIZE];
        params_format(&first, text);
        struct params again = parsed(text);
        assert_memory_equal(&first, &again, sizeof(first));
    }
}

static void test_colours_in_hex_and_by_name(void **state)
{
    (void)state;
    canonical("background=f80", "background=ff8800");
    canonical("background=%23F80C", "background=ff8800cc");
    canonical("background=00ff00FF", "background=00ff00");
    canonical("background=White", "background=ffffff");
    canonical("background=transparent", "background=00000000");
}

static void test_numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    refused("width=0", "width", "width must be 1 to 16383");
    refused("w=16384", "width", "1 to 16383");
    refused("height=99999999999999999999", "height", "1 to 16383");
    refused("q=101", "quality", "1 to 100");
    refused("q=0", "quality", "1 to 100");
}

static void test_doubtful_numbers_are_refused(void **state)
{
    static const char *const values[] = {"+5", "-5", "05", "5.0", "5px", "0x5", "5e1", "%205", "auto", ""};
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char query[64];
        snprintf(query, sizeof(query), "width=%s", values[i]);
        refused(query, "width", "1 to 16383");
    }
}

static void test_unknown_values_are_refused(void **state)
{
    (void)state;
    refused("w=5&fit=crop", "fit", "inside, cover, contain, fill or outside");
    refused("format=bmp", "format", "jpeg, png, webp, avif, gif or tiff");
    refused("enlarge=yes", "enlarge", "0 or 1");
    refused("background=12345", "background", "hex");
    refused("background=reddish", "background", "colour");
    refused("background=ggg", "background", "colour");
}

static void test_unknown_repeated_and_malformed_are_refused(void **state)
{
    (void)state;
    refused("widht=5", "widht", "unknown parameter; known are width");
    refused("width=5&w=5", "width", "more than once");
    refused("width", "width", "must be");
    refused("width=5&", "", "name=value");
    refused("&width=5", "", "name=value");
    refused("=5", "", "name=value");
    refused("%zz=5", "", "percent");
    refused("width=%3", "width", "must be");
    refused("width=%00", "width", "must be");
    refused("width=5%0a", "width", "must be");
}

static void test_parameters_without_effect_are_refused(void **state)
{
    (void)state;
    refused("fit=cover", "fit", "needs width or height");
    refused("enlarge=1", "enlarge", "needs width or height");
    refused("format=png&quality=80", "quality", "lossless");
    refused("q=80&format=gif", "quality", "lossless");
    canonical("format=avif&quality=80", "format=avif&quality=80");
}

static void test_too_long_query_is_refused(void **state)
{
    static char query[PARAMS_QUERY_MAX + 2];
    (void)state;
    memset(query, 'a', sizeof(query) - 1);
    refused(query, "", "longer");
    memcpy(query, "background=", 11);
    query[PARAMS_QUERY_MAX] = '\0';
    refused(query, "background", "colour");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_query_gives_defaults),
        cmocka_unit_test(test_all_parameters_are_read),
        cmocka_unit_test(test_short_names_are_known),
        cmocka_unit_test(test_canonical_form_drops_defaults_and_orders),
        cmocka_unit_test(test_canonical_form_reads_back),
        cmocka_unit_test(test_colours_in_hex_and_by_name),
        cmocka_unit_test(test_numbers_out_of_range_are_refused),
        cmocka_unit_test(test_doubtful_numbers_are_refused),
        cmocka_unit_test(test_unknown_values_are_refused),
        cmocka_unit_test(test_unknown_repeated_and_malformed_are_refused),
        cmocka_unit_test(test_parameters_without_effect_are_refused),
        cmocka_unit_test(test_too_long_query_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
