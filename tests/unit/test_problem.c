/* SPDX-License-Identifier: MIT */
/* The table of refusals, and their JSON read back by a JSON library. */
#include "cavage/problem.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *read_back(const struct problem *p, const char *request_id)
{
    char text[PROBLEM_JSON_SIZE];
    size_t len = problem_json(p, request_id, text);
    assert_true(len > 0 && len <= sizeof(text));
    assert_int_equal(text[len - 1], '\n');
    json_error_t error;
    json_t *json = json_loadb(text, len, 0, &error);
    if (!json)
        fail_msg("%s: %.*s", error.text, (int)len, text);
    return json;
}

static void test_table_is_complete_and_names_are_unique(void **state)
{
    (void)state;
    for (int i = PROBLEM_NONE; i < PROBLEM_COUNT; i++) {
        enum problem_type type = (enum problem_type)i;
        assert_non_null(problem_name(type));
        assert_non_null(problem_title(type));
        assert_in_range(problem_status(type), i ? 400 : 200, i ? 599 : 200);
        assert_int_equal(problem_may_retry(type), problem_status(type) == 429 || problem_status(type) == 503);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(problem_name(type), problem_name((enum problem_type)k));
    }
}

static void test_every_problem_reads_back(void **state)
{
    (void)state;
    for (int i = PROBLEM_NONE + 1; i < PROBLEM_COUNT; i++) {
        struct problem p = {.type = (enum problem_type)i};
        json_t *json = read_back(&p, "abc");
        assert_int_equal(json_integer_value(json_object_get(json, "status")), problem_status(p.type));
        assert_string_equal(json_string_value(json_object_get(json, "title")), problem_title(p.type));
        assert_string_equal(json_string_value(json_object_get(json, "request_id")), "abc");
        const char *type = json_string_value(json_object_get(json, "type"));
        assert_memory_equal(type, "/problems/", 10);
        assert_string_equal(type + 10, problem_name(p.type));
        assert_null(json_object_get(json, "detail"));
        assert_null(json_object_get(json, "limit"));
        json_decref(json);
    }
}

static void test_members_of_a_case_read_back(void **state)
{
    (void)state;
    struct problem p;
    problem_set(&p, PROBLEM_IMAGE_TOO_LARGE, "It has %d \"pixels\"\n.", 7);
    memcpy(p.parameter, "width", 6);
    memcpy(p.output, "small", 6);
    p.has_limit = true;
    p.limit = 100000000;
    p.actual = UINT64_C(4294836225);
    json_t *json = read_back(&p, "id");
    assert_string_equal(json_string_value(json_object_get(json, "detail")), "It has 7 \"pixels\"\n.");
    assert_string_equal(json_string_value(json_object_get(json, "parameter")), "width");
    assert_string_equal(json_string_value(json_object_get(json, "output")), "small");
    assert_int_equal(json_integer_value(json_object_get(json, "limit")), 100000000);
    assert_int_equal(json_integer_value(json_object_get(json, "actual")), INT64_C(4294836225));
    json_decref(json);
}

static void test_limit_without_actual(void **state)
{
    (void)state;
    struct problem p = {.type = PROBLEM_BODY_TOO_LARGE, .has_limit = true, .limit = 5};
    json_t *json = read_back(&p, NULL);
    assert_int_equal(json_integer_value(json_object_get(json, "limit")), 5);
    assert_null(json_object_get(json, "actual"));
    assert_null(json_object_get(json, "request_id"));
    json_decref(json);
}

static void test_worst_text_still_makes_valid_json(void **state)
{
    static const char worst[] = {'\x01', '\x1f', '\x7f', '"', '\\', '\xff', '\xc3'};
    (void)state;
    for (size_t w = 0; w < sizeof(worst); w++) {
        struct problem p = {.type = PROBLEM_METHOD_NOT_ALLOWED,
                            .has_limit = true,
                            .limit = UINT64_C(1) << 62,
                            .actual = UINT64_C(1) << 62};
        char id[129];
        memset(p.detail, worst[w], sizeof(p.detail) - 1);
        memset(p.parameter, worst[w], sizeof(p.parameter) - 1);
        memset(p.output, worst[w], sizeof(p.output) - 1);
        memset(id, worst[w], sizeof(id) - 1);
        id[sizeof(id) - 1] = '\0';
        json_t *json = read_back(&p, id);
        assert_int_equal(json_integer_value(json_object_get(json, "status")), 405);
        json_decref(json);
    }
}

static void test_long_detail_is_cut(void **state)
{
    (void)state;
    struct problem p;
    problem_set(&p, PROBLEM_BAD_BODY, "%0500d", 1);
    assert_int_equal(strlen(p.detail), PROBLEM_DETAIL_SIZE - 1);
}

static void test_retry_after_covers_the_wait_and_is_spread(void **state)
{
    (void)state;
    for (uint32_t random = 0; random < 100; random++) {
        assert_in_range(problem_retry_after_s(0, random), 1, 3);
        assert_in_range(problem_retry_after_s(1, random), 1, 3);
        assert_in_range(problem_retry_after_s(9500000, random), 10, 20);
        assert_in_range(problem_retry_after_s(INT64_MAX, random), 3600, 7200);
    }
    assert_int_not_equal(problem_retry_after_s(0, 0), problem_retry_after_s(0, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_complete_and_names_are_unique),
        cmocka_unit_test(test_every_problem_reads_back),
        cmocka_unit_test(test_members_of_a_case_read_back),
        cmocka_unit_test(test_limit_without_actual),
        cmocka_unit_test(test_worst_text_still_makes_valid_json),
        cmocka_unit_test(test_long_detail_is_cut),
        cmocka_unit_test(test_retry_after_covers_the_wait_and_is_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
