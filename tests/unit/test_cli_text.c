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
#include "resize_options.h"
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

static const struct cli_option options[] = {{.name = "width", .letter = 'w', .value = "N"}, {.name = "json"}, {0}};
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

/* What is typed for `resize`, as the values that resize_query takes. */
static int query_of(char *line, char *out, size_t size, struct params_problem *problem)
{
    static const struct cli_more more = {"Options of the picture:", resize_option_at, resize_option_allowed};
    const struct cli_command resize = {
        .name = "resize", .operands = "FILE", .operand_min = 1, .operand_max = 1, .options = options, .more = &more};
    char *argv[16] = {NULL};
    char *rest;
    int argc = 0;
    bool help;
    struct cli_args args = {.name = "test"};
    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    enum cli_status status = cli_parse(&resize, "test", argc, argv, &args, &help);
    return status != CLI_OK ? ERR_INTERNAL : resize_query(args.option + 2, out, size, problem);
}

static void test_parameters_are_options(void **state)
{
    char query[PARAMS_QUERY_MAX], small[8];
    struct params_problem problem;
    char many[] = "x f --crop 1,2,30,40 -q 70 --flip --format=jpeg --max-bytes 3000 --height 9 --flop=0";
    char none[] = "x f", wrong[] = "x f --trim 0", alone[] = "x f --dpr 2",
         empty[] = "x f --page=", much[] = "x f --blur 33";
    (void)state;
    assert_int_equal(query_of(many, query, sizeof(query), &problem), ERR_OK);
    assert_string_equal(query, "?crop=1%2C2%2C30%2C40&flip=1&flop=0&height=9&format=jpeg&quality=70&max_bytes=3000");
    assert_int_equal(query_of(none, query, sizeof(query), &problem), ERR_OK);
    assert_string_equal(query, "");
    assert_int_equal(query_of(wrong, query, sizeof(query), &problem), ERR_INVALID);
    assert_string_equal(problem.message, "trim must be 1 to 255");
    assert_int_equal(query_of(alone, query, sizeof(query), &problem), ERR_INVALID);
    assert_string_equal(problem.message, "dpr needs width or height");
    assert_int_equal(query_of(empty, query, sizeof(query), &problem), ERR_INVALID);
    assert_int_equal(query_of(much, small, sizeof(small), &problem), ERR_RANGE);
}

static void test_every_parameter_has_words_for_help(void **state)
{
    struct params_option parameter;
    struct cli_option option;
    size_t count = 0;
    char *text;
    size_t len;
    FILE *list = open_memstream(&text, &len);
    (void)state;
    assert_non_null(list);
    resize_options_print(list);
    assert_int_equal(fclose(list), 0);
    for (; params_option_at(count, &parameter); count++) {
        assert_true(resize_option_at(count, &option));
        assert_string_equal(option.name, parameter.name);
        assert_non_null(parameter.what);
        assert_true(strlen(parameter.what) > 0 && strlen(parameter.what) < 80);
        assert_non_null(strstr(text, parameter.what + 1));
        assert_true(parameter.flag || strstr(text, parameter.allowed));
    }
    assert_true(count > 20);
    assert_false(resize_option_at(count, &option));
    free(text);
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
        cmocka_unit_test(test_parameters_are_options),
        cmocka_unit_test(test_every_parameter_has_words_for_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
