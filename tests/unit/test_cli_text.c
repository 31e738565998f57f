/* SPDX-License-Identifier: MIT */
/* Tests of what the commands read and write: metrics, names, quantities, tables, options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cavage/err.h"
#include "cli.h"
#include "prom.h"
#include "resize_name.h"
#include "table.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_prom_sums_series_of_a_name(void **state)
{
    static const char text[] = "# HELP cavage_a help\n# TYPE cavage_a counter\n"
                               "cavage_a{status=\"200\",op=\"resize\"} 3\n"
                               "cavage_a{status=\"503\",op=\"resize\"} 4\n"
                               "cavage_ab 100\n"
                               "cavage_b 2.5\n"
                               "cavage_bad x\n"
                               "cavage_none{\n"
                               "cavage_last 7";
    double value;
    (void)state;
    assert_true(prom_value(text, "cavage_a", NULL, &value));
    assert_true(value == 7);
    assert_true(prom_value(text, "cavage_a", "status=\"503\"", &value));
    assert_true(value == 4);
    assert_true(prom_value(text, "cavage_b", NULL, &value));
    assert_true(value == 2.5);
    assert_true(prom_value(text, "cavage_last", NULL, &value));
    assert_true(value == 7);
    assert_false(prom_value(text, "cavage_a", "status=\"50\"", &value));
    assert_false(prom_value(text, "cavage_a", "tatus=\"503\"", &value));
    assert_false(prom_value(text, "cavage_b", "status=\"503\"", &value));
    assert_false(prom_value(text, "cavage_bad", NULL, &value));
    assert_false(prom_value(text, "cavage_none", NULL, &value));
    assert_false(prom_value(text, "cavage", NULL, &value));
    assert_false(prom_value("", "cavage_a", NULL, &value));
}

static const char *named(const char *dir, const char *input, unsigned number, enum image_format format)
{
    static char out[256];
    struct image_header header = {.format = format, .width = 320, .height = 213, .pages = 1};
    assert_int_equal(resize_name(dir, input, &header, number, out, sizeof(out)), ERR_OK);
    return out;
}

static void test_result_names_tell_size_and_format(void **state)
{
    (void)state;
    assert_string_equal(named(NULL, "photo.png", 1, IMAGE_JPEG), "photo-320x213.jpg");
    assert_string_equal(named(NULL, "a/b.c/photo", 1, IMAGE_WEBP), "a/b.c/photo-320x213.webp");
    assert_string_equal(named("out", "a/photo.old.jpg", 1, IMAGE_PNG), "out/photo.old-320x213.png");
    assert_string_equal(named("out/", "/photo.jpg", 2, IMAGE_AVIF), "out/photo-320x213-2.avif");
    assert_string_equal(named("/", ".hidden", 1, IMAGE_GIF), "/.hidden-320x213.gif");
}

static void test_result_name_that_does_not_fit_is_refused(void **state)
{
    char out[17];
    struct image_header header = {.format = IMAGE_JPEG, .width = 320, .height = 213, .pages = 1};
    (void)state;
    assert_int_equal(resize_name(NULL, "photo.jpg", &header, 1, out, sizeof(out)), ERR_RANGE);
}

static void test_query_values_are_encoded(void **state)
{
    char url[64] = "http://h/v1/resize";
    (void)state;
    assert_int_equal(resize_query_add(url, sizeof(url), "width", "320"), ERR_OK);
    assert_int_equal(resize_query_add(url, sizeof(url), "background", "#ff&\xc3\xa9"), ERR_OK);
    assert_string_equal(url, "http://h/v1/resize?width=320&background=%23ff%26%C3%A9");
    assert_int_equal(resize_query_add(url, sizeof(url), "format", "jpeg"), ERR_RANGE);
}

static void test_quantities_have_fitting_units(void **state)
{
    char out[UNITS_SIZE];
    (void)state;
    units_bytes(0, out);
    assert_string_equal(out, "0 B");
    units_bytes(999, out);
    assert_string_equal(out, "999 B");
    units_bytes(1500, out);
    assert_string_equal(out, "1.5 KB");
    units_bytes(999999, out);
    assert_string_equal(out, "1.0 MB");
    units_bytes(UINT64_MAX, out);
    assert_string_equal(out, "18.4 EB");
    units_age(59, out);
    assert_string_equal(out, "59 s");
    units_age(3 * 3600 + 5 * 60, out);
    assert_string_equal(out, "3 h 05 min");
    units_age(-5, out);
    assert_string_equal(out, "0 s");
}

static void test_tables_line_up_and_steer_no_terminal(void **state)
{
    static const bool right[] = {false, true};
    /* Not UTF-8, a C1 control, and a character that turns the direction of writing. */
    static const char hostile[] = {(char)0xff, (char)0xc2, (char)0x9b, 'x', (char)0xe2, (char)0x80, (char)0xae, 'y', 0};
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct table *table = table_new(2, right);
    (void)state;
    assert_non_null(out);
    assert_non_null(table);
    table_add(table, "NAME");
    table_add(table, "N");
    table_add(table, "\xc3\xa9t\xc3\xa9\x1b[31m");
    table_addf(table, "%d", 1234);
    table_add(table, hostile);
    table_add(table, "5");
    table_add(table, "z"); /* of a row that is not complete */
    assert_int_equal(table_print(table, out), ERR_OK);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(text, "NAME         N\n\xc3\xa9t\xc3\xa9?[31m  1234\n??x?y        5\n");
    table_free(table);
    free(text);
}

static void test_numbers_are_whole_and_bounded(void **state)
{
    int64_t out = 0;
    (void)state;
    assert_int_equal(cli_number("42", 0, 100, &out), ERR_OK);
    assert_int_equal(out, 42);
    assert_int_equal(cli_number("-3", -5, 100, &out), ERR_OK);
    assert_int_equal(out, -3);
    assert_int_equal(cli_number("101", 0, 100, &out), ERR_RANGE);
    assert_int_equal(cli_number("99999999999999999999", 0, INT64_MAX, &out), ERR_RANGE);
    assert_int_equal(cli_number("", 0, 100, &out), ERR_INVALID);
    assert_int_equal(cli_number("-", 0, 100, &out), ERR_INVALID);
    assert_int_equal(cli_number(" 1", 0, 100, &out), ERR_INVALID);
    assert_int_equal(cli_number("1x", 0, 100, &out), ERR_INVALID);
}

static const struct cli_option options[] = {{"width", 'w', "N", ""}, {"json", 0, NULL, ""}, {0}};
static const struct cli_command command = {
    .name = "x", .operands = "FILE", .operand_min = 1, .operand_max = 2, .options = options};

static enum cli_status parse(char *line, struct cli_args *args, bool *help)
{
    static char *argv[16];
    char *rest;
    int argc = 0;
    memset(argv, 0, sizeof(argv));
    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    *args = (struct cli_args){.name = "test"};
    return cli_parse(&command, "test", argc, argv, args, help);
}

static void test_options_are_parsed_by_the_table(void **state)
{
    struct cli_args args;
    bool help;
    char line[] = "x a -w 5 --json b", rest[] = "x -- -w";
    (void)state;
    assert_int_equal(parse(line, &args, &help), CLI_OK);
    assert_false(help);
    assert_string_equal(args.option[0], "5");
    assert_string_equal(args.option[1], "");
    assert_int_equal(args.operand_count, 2);
    assert_string_equal(args.operand[0], "a");
    assert_string_equal(args.operand[1], "b");
    assert_int_equal(parse(rest, &args, &help), CLI_OK);
    assert_null(args.option[0]);
    assert_string_equal(args.operand[0], "-w");
}

static void test_wrong_command_lines_are_usage_errors(void **state)
{
    struct cli_args args;
    bool help;
    char none[] = "x", many[] = "x a b c", unknown[] = "x a --no", valueless[] = "x a --width", asked[] = "x --help";
    (void)state;
    assert_int_equal(parse(none, &args, &help), CLI_USAGE);
    assert_int_equal(parse(many, &args, &help), CLI_USAGE);
    assert_int_equal(parse(unknown, &args, &help), CLI_USAGE);
    assert_int_equal(parse(valueless, &args, &help), CLI_USAGE);
    assert_int_equal(parse(asked, &args, &help), CLI_OK);
    assert_true(help);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prom_sums_series_of_a_name),
        cmocka_unit_test(test_result_names_tell_size_and_format),
        cmocka_unit_test(test_result_name_that_does_not_fit_is_refused),
        cmocka_unit_test(test_query_values_are_encoded),
        cmocka_unit_test(test_quantities_have_fitting_units),
        cmocka_unit_test(test_tables_line_up_and_steer_no_terminal),
        cmocka_unit_test(test_numbers_are_whole_and_bounded),
        cmocka_unit_test(test_options_are_parsed_by_the_table),
        cmocka_unit_test(test_wrong_command_lines_are_usage_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
