/* SPDX-License-Identifier: MIT */
/* Tests of the outputs of one upload: reading, refusing, the canonical form. */
#include "cavage/err.h"
#include "cavage/renditions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct renditions parsed(const char *query)
{
    struct renditions r;
    struct renditions_problem problem;
    if (renditions_parse(query, strlen(query), &r, &problem))
        fail_msg("%s: output %zu %s: %s: %s", query, problem.output, problem.name, problem.why.name,
                 problem.why.message);
    return r;
}

static void refused(const char *query, size_t output, const char *name, const char *parameter, const char *part)
{
    struct renditions r;
    struct renditions_problem problem;
    if (renditions_parse(query, strlen(query), &r, &problem) != ERR_INVALID)
        fail_msg("%s is not refused", query);
    assert_int_equal(problem.output, output);
    assert_string_equal(problem.name, name);
    assert_string_equal(problem.why.name, parameter);
    if (!strstr(problem.why.message, part))
        fail_msg("%s: \"%s\" does not say \"%s\"", query, problem.why.message, part);
}

static void canonical(const char *query, const char *wanted)
{
    char text[RENDITIONS_CANONICAL_SIZE];
    struct renditions r = parsed(query);
    assert_int_equal(renditions_format(&r, text), strlen(wanted));
    assert_string_equal(text, wanted);
}

static void test_outputs_are_read_in_their_order(void **state)
{
    struct renditions r =
        parsed("output=small:width=320,format=webp&output=Square-2:w=200,h=100,fit=cover&output=as_is");
    (void)state;
    assert_int_equal(r.count, 3);
    assert_string_equal(r.outputs[0].name, "small");
    assert_int_equal(r.outputs[0].params.width, 320);
    assert_int_equal(r.outputs[0].params.format, IMAGE_WEBP);
    assert_string_equal(r.outputs[1].name, "Square-2");
    assert_int_equal(r.outputs[1].params.height, 100);
    assert_int_equal(r.outputs[1].params.fit, FIT_COVER);
    assert_string_equal(r.outputs[2].name, "as_is");
    assert_int_equal(r.outputs[2].params.width, 0);
}

static void test_commas_within_values_stay(void **state)
{
    struct renditions r = parsed("output=a:crop=1,2,30,40,width=9&output=b:w=5,h=6,fit=cover,position=0.25,0.75");
    (void)state;
    assert_int_equal(r.outputs[0].params.crop_y, 2);
    assert_int_equal(r.outputs[0].params.crop_height, 40);
    assert_int_equal(r.outputs[0].params.width, 9);
    assert_int_equal(r.outputs[1].params.focus_x, 2500);
    assert_int_equal(r.outputs[1].params.focus_y, 7500);
}

static void test_escapes_are_read_once(void **state)
{
    struct renditions r = parsed("o%75tput=a%3Awidth%3D9%2Cheight%3D8%2Cfit%3Dcontain%2Cbackground%3D%23f00");
    (void)state;
    assert_int_equal(r.outputs[0].params.height, 8);
    assert_memory_equal(r.outputs[0].params.background, "\xff\x00\x00\xff", 4);
    refused("output=a:background=%2523f00", 1, "a", "output", "NAME:parameter");
    refused("output=a:width=9%26height=8", 1, "a", "output", "NAME:parameter");
    refused("output=a:width=9%0", 1, "", "output", "NAME:parameter");
    refused("output=a:width=%209", 1, "", "output", "NAME:parameter");
}

static void test_canonical_form_reads_back(void **state)
{
    (void)state;
    canonical("output=b:q=70,format=jpg,w=3&output=a", "output=b:width=3,format=jpeg,quality=70&output=a");
    canonical("output=a:fit=inside", "output=a");
    canonical("output=a:crop=0,0,9,9,rotate=90", "output=a:crop=0,0,9,9,rotate=90");
}

static void test_names_are_names_of_files(void **state)
{
    static const char *const bad[] = {
        "",
        "-a",
        "_a",
        ".a",
        "a.jpg",
        "a/b",
        "a%2fb",
        "a%5cb",
        "..",
        "a%00",
        "%C3%A4",
        "nul",
        "CON",
        "aux",
        "Com1",
        "lpt9",
        "123456789012345678901234567890123",
    };
    static const char *const good[] = {"a", "0", "A-b_C", "con1", "com", "com10", "12345678901234567890123456789012"};
    char query[128];
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(query, sizeof(query), "output=ok:width=1&output=%s:width=2", bad[i]);
        refused(query, 2, "", "output", strstr(bad[i], "%00") || strstr(bad[i], "%C3") ? "NAME" : "32 letters");
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(query, sizeof(query), "output=%s:width=2", good[i]);
        assert_string_equal(parsed(query).outputs[0].name, good[i]);
    }
    refused("output=a&output=b&output=A", 3, "", "output", "before");
}

static void test_faults_name_output_and_parameter(void **state)
{
    (void)state;
    refused("output=a:width=5&output=b:width=0", 2, "b", "width", "1 to 16383");
    refused("output=a:width=5,w=6", 1, "a", "width", "more than once");
    refused("output=a:colour=red", 1, "a", "colour", "unknown");
    refused("output=a:lossless=1", 1, "a", "lossless", "format=webp");
    refused("output=a:format=auto", 1, "a", "format", "Accept");
    refused("output=a:", 1, "a", "output", "NAME:parameter");
    refused("output=a:,width=5", 1, "a", "output", "NAME:parameter");
    refused("output=a:width=5,", 1, "a", "width", "1 to 16383");
    refused("output=", 1, "", "output", "32 letters");
    refused("output", 1, "", "output", "32 letters");
}

static void test_what_is_not_an_output_is_refused(void **state)
{
    (void)state;
    refused("", 0, "", "output", "1 to 16");
    refused("width=5", 0, "", "width", "only parameter");
    refused("output=a&width=5", 0, "", "width", "only parameter");
    refused("output=a&", 0, "", "", "ends");
    refused("&output=a", 0, "", "", "joined by &");
}

/* So many outputs, each with these parameters. */
static void many(char *query, size_t size, int count, const char *params)
{
    size_t len = 0;
    for (int i = 0; i < count; i++)
        len += (size_t)snprintf(query + len, size - len, "%soutput=n%d:%s", i ? "&" : "", i, params);
}

static void test_number_and_length_are_bounded(void **state)
{
    static char query[RENDITIONS_QUERY_MAX + 64];
    static const char *const all =
        "crop=1000,1000,10000,10000,trim=255,rotate=270,flip=1,flop=1,width=1000,height=1000,"
        "dpr=1.25,fit=cover,position=0.1234,0.5678,enlarge=0,kernel=mitchell,blur=99.99,"
        "sharpen=9.99,grayscale=1,format=webp,quality=99,effort=6,max_bytes=1000000000,metadata=copyright,page=1000,"
        "background=01234567";
    char canonical_text[RENDITIONS_CANONICAL_SIZE];
    (void)state;
    many(query, sizeof(query), 16, "width=5");
    assert_int_equal(parsed(query).count, 16);
    many(query, sizeof(query), 17, "width=5");
    refused(query, 17, "", "output", "more than 16");
    many(query, sizeof(query), 12, all);
    struct renditions r = parsed(query);
    assert_true(renditions_format(&r, canonical_text) > 3000);
    many(query, sizeof(query), 16, all);
    refused(query, 0, "", "output", "4095");
    memset(query, 'x', RENDITIONS_QUERY_MAX + 1);
    refused(query, 0, "", "output", "16384");
    snprintf(query, sizeof(query), "output=a:%02100d", 1);
    refused(query, 1, "", "output", "NAME");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outputs_are_read_in_their_order),
        cmocka_unit_test(test_commas_within_values_stay),
        cmocka_unit_test(test_escapes_are_read_once),
        cmocka_unit_test(test_canonical_form_reads_back),
        cmocka_unit_test(test_names_are_names_of_files),
        cmocka_unit_test(test_faults_name_output_and_parameter),
        cmocka_unit_test(test_what_is_not_an_output_is_refused),
        cmocka_unit_test(test_number_and_length_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
