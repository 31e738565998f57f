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

static void test_every_option_has_one_form(void **state)
{
    (void)state;
    canonical("crop=0,10,200,100&w=5", "crop=0,10,200,100&width=5");
    canonical("trim=10", "trim=10");
    canonical("rotate=0&flip=0&flop=0", "");
    canonical("flop=1&flip=1&rotate=270", "flip=1&flop=1&rotate=270");
    canonical("rotate=-90", "rotate=270");
    canonical("rotate=-0.01", "rotate=359.99");
    canonical("rotate=45.5", "rotate=45.5");
    canonical("rotate=360&flip=0", "");
    canonical("rotate=-360", "");
    canonical("rotate=-0", "");
    canonical("dpr=2.00&w=100", "width=100&dpr=2");
    canonical("dpr=1.5&w=100", "width=100&dpr=1.5");
    canonical("dpr=1&w=100", "width=100");
    canonical("w=5&h=5&fit=cover&position=center", "width=5&height=5&fit=cover");
    canonical("w=5&h=5&fit=cover&position=southwest", "width=5&height=5&fit=cover&position=southwest");
    canonical("w=5&h=5&fit=cover&position=0.50,1.0", "width=5&height=5&fit=cover&position=0.5,1");
    canonical("w=5&h=5&fit=cover&position=0%2C0.3333", "width=5&height=5&fit=cover&position=0,0.3333");
    canonical("w=5&kernel=lanczos3", "width=5");
    canonical("w=5&kernel=nearest", "width=5&kernel=nearest");
    canonical("blur=0.3&sharpen=10&grayscale=1", "blur=0.3&sharpen=10&grayscale=1");
    canonical("format=webp&lossless=1&effort=0", "format=webp&lossless=1&effort=0");
    canonical("format=jpeg&progressive=1&chroma=444", "format=jpeg&progressive=1&chroma=444");
    canonical("max_bytes=5000&metadata=copyright&page=0", "max_bytes=5000&metadata=copyright&page=0");
    canonical("metadata=none", "");
    canonical("format=auto", "format=auto");
    canonical("format=auto:avif,webp", "format=auto:avif,webp");
}

static void test_dpr_multiplies_the_box(void **state)
{
    uint32_t width, height;
    struct params p = parsed("w=101&dpr=1.5");
    (void)state;
    params_box(&p, &width, &height);
    assert_int_equal(width, 152);
    assert_int_equal(height, 0);
    p = parsed("w=1&h=3&dpr=0.1");
    params_box(&p, &width, &height);
    assert_int_equal(width, 1);
    assert_int_equal(height, 1);
    refused("w=9000&dpr=2", "dpr", "1 to 16383");
}

static void test_ranges_are_named(void **state)
{
    static const struct {
        const char *query, *name, *part;
    } cases[] = {
        {"crop=1,2,3", "crop", "x,y,width,height"},
        {"crop=1,2,3,0", "crop", "x,y,width,height"},
        {"crop=1,2,3,4,5", "crop", "x,y,width,height"},
        {"crop=-1,2,3,4", "crop", "x,y,width,height"},
        {"trim=0", "trim", "1 to 255"},
        {"trim=256", "trim", "1 to 255"},
        {"rotate=361", "rotate", "-360 to 360"},
        {"rotate=-360.01", "rotate", "-360 to 360"},
        {"rotate=1.234", "rotate", "two decimals"},
        {"rotate=--1", "rotate", "-360 to 360"},
        {"rotate=-", "rotate", "-360 to 360"},
        {"rotate=+5", "rotate", "-360 to 360"},
        {"flip=yes", "flip", "0 or 1"},
        {"w=5&dpr=0.09", "dpr", "0.1 to 8"},
        {"w=5&dpr=8.01", "dpr", "0.1 to 8"},
        {"w=5&dpr=1.", "dpr", "0.1 to 8"},
        {"w=5&dpr=1.005", "dpr", "two decimals"},
        {"w=5&h=5&fit=cover&position=middle", "position", "north"},
        {"w=5&h=5&fit=cover&position=0.5,1.1", "position", "fractions of 0 to 1"},
        {"w=5&h=5&fit=cover&position=0.5", "position", "fractions of 0 to 1"},
        {"w=5&kernel=box", "kernel", "lanczos3, lanczos2"},
        {"blur=0.29", "blur", "0.3 to 100"},
        {"blur=101", "blur", "0.3 to 100"},
        {"sharpen=0", "sharpen", "0.1 to 10"},
        {"format=avif&effort=10", "effort", "effort for avif must be 0 to 9"},
        {"format=gif&effort=0", "effort", "effort for gif must be 1 to 10"},
        {"format=webp&effort=11", "effort", "0 to 10"},
        {"format=jpeg&chroma=422", "chroma", "420 or 444"},
        {"max_bytes=99", "max_bytes", "100 to 1073741824"},
        {"metadata=exif", "metadata", "none, copyright or all"},
        {"page=10000", "page", "0 to 9999"},
        {"format=auto:jpeg", "format", "or auto"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        refused(cases[i].query, cases[i].name, cases[i].part);
}

static void test_canonical_form_reads_back(void **state)
{
    static const char *const queries[] = {"",
                                          "crop=1,2,3,4&trim=9&flip=1&flop=1&rotate=-22.5&w=9&dpr=2.25&kernel=mitchell",
                                          "w=9&h=9&fit=cover&position=0.1234,0.9&blur=1.25&sharpen=0.5&grayscale=1",
                                          "format=auto:webp&page=3&metadata=all&max_bytes=100&q=7",
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
    canonical("background=aliceblue", "background=f0f8ff");
    canonical("background=RebeccaPurple", "background=663399");
    canonical("background=yellowgreen", "background=9acd32");
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
    refused("format=bmp", "format", "jpeg, png, webp, avif, gif, tiff or auto");
    refused("enlarge=yes", "enlarge", "0 or 1");
    refused("background=12345", "background", "hex");
    refused("background=reddish", "background", "colour");
    refused("background=ggg", "background", "colour");
}

static void test_unknown_repeated_and_malformed_are_refused(void **state)
{
    (void)state;
    refused("widht=5", "widht", "unknown parameter; known are crop");
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
    refused("dpr=2", "dpr", "needs width or height");
    refused("kernel=cubic", "kernel", "needs width or height");
    refused("w=5&position=north", "position", "fit=cover or fit=contain");
    refused("w=5&fit=cover&position=north", "position", "width and height");
    refused("w=5&h=5&fit=contain&position=entropy", "position", "with fit=contain");
    refused("w=5&h=5&fit=contain&position=0,0", "position", "with fit=contain");
    refused("lossless=1", "lossless", "format=webp or format=avif");
    refused("lossless=1&format=jpeg", "lossless", "format=webp or format=avif");
    refused("progressive=1&format=webp", "progressive", "format=jpeg or format=png");
    refused("chroma=444&format=webp", "chroma", "format=jpeg or format=avif");
    refused("effort=3", "effort", "effort needs format=png");
    refused("effort=3&format=jpeg", "effort", "effort needs format=png");
    refused("format=webp&lossless=1&q=5", "quality", "no effect");
    refused("format=avif&lossless=1&chroma=420", "chroma", "must be 444");
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
        cmocka_unit_test(test_every_option_has_one_form),
        cmocka_unit_test(test_dpr_multiplies_the_box),
        cmocka_unit_test(test_ranges_are_named),
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
