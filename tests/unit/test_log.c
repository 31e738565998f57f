/* SPDX-License-Identifier: MIT */
/* The log: one JSON line an event, cut and escaped as promised, and never waiting. */
#include "cavage/err.h"
#include "cavage/log.h"
#include "cavage/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int stderr_copy;
static int ends[2]; /* stderr leads into ends[1] */

static int catch_with(int made)
{
    if (made != 0)
        return -1;
    stderr_copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    dup2(ends[1], STDERR_FILENO);
    log_open("tester", LOG_LEVEL_INFO);
    return 0;
}

static int catch_pipe(void **state)
{
    (void)state;
    return catch_with(pipe2(ends, O_CLOEXEC));
}

static int catch_socket(void **state)
{
    (void)state;
    return catch_with(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
}

static int release(void **state)
{
    (void)state;
    dup2(stderr_copy, STDERR_FILENO);
    close(stderr_copy);
    close(ends[0]);
    close(ends[1]);
    log_open("tester", LOG_LEVEL_INFO);
    return 0;
}

/* What was written since the last call. */
static const char *caught(void)
{
    static char text[256 * 1024];
    size_t used = 0;
    ssize_t got;
    while (used + 1 < sizeof(text) && (got = read(ends[0], text + used, sizeof(text) - 1 - used)) > 0)
        used += (size_t)got;
    text[used] = '\0';
    return text;
}

/* The one line that was written, parsed. The caller lets go of it. */
static json_t *caught_json(void)
{
    const char *text = caught();
    size_t len = strlen(text);
    assert_true(len > 0 && len <= 4096);
    assert_ptr_equal(strchr(text, '\n'), text + len - 1);
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    return json;
}

static const char *member(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    assert_non_null(text);
    return text;
}

static void test_line_holds_all_members(void **state)
{
    (void)state;
    log_warn("it_happened", "It happened.", LOG_S("who", "me"), LOG_I("low", INT64_MIN), LOG_U("high", UINT64_MAX));
    const char *text = caught();
    assert_non_null(strstr(text, "\"low\":-9223372036854775808,\"high\":18446744073709551615}\n"));
    log_info("it_happened", "It happened.", LOG_S("who", "me"), LOG_I("count", -3));
    json_t *json = caught_json();
    assert_int_equal(strlen(member(json, "time")), 24);
    assert_string_equal(member(json, "level"), "info");
    assert_string_equal(member(json, "program"), "tester");
    assert_int_equal(json_integer_value(json_object_get(json, "pid")), getpid());
    assert_string_equal(member(json, "event"), "it_happened");
    assert_string_equal(member(json, "message"), "It happened.");
    assert_string_equal(member(json, "who"), "me");
    assert_int_equal(json_integer_value(json_object_get(json, "count")), -3);
    assert_null(json_object_get(json, "cut"));
    json_decref(json);
}

static void test_levels_below_the_set_one_are_silent(void **state)
{
    (void)state;
    log_debug("quiet", "not written");
    assert_string_equal(caught(), "");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("loud", "written");
    assert_string_not_equal(caught(), "");
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("quiet", "not written");
    assert_string_equal(caught(), "");
    log_error("loud", "written");
    assert_string_not_equal(caught(), "");
}

static void test_strings_are_escaped(void **state)
{
    (void)state;
    log_info("e", "\"\\\n\x1b\x7f", LOG_S("c1", "\xc2\x9b"), LOG_S("fine", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
             LOG_S("none", NULL));
    const char *text = caught();
    assert_non_null(strstr(text, "\"message\":\"\\\"\\\\\\u000a\\u001b\\u007f\""));
    assert_non_null(strstr(text, "\"c1\":\"\\u009b\""));
    assert_non_null(strstr(text, "\"fine\":\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""));
    assert_non_null(strstr(text, "\"none\":\"\""));
}

/* Lone and missing continuation bytes, overlong forms, surrogates, beyond the last code point. */
static const char *const not_utf8[] = {"\x80",
                                       "\xc3",
                                       "\xc0\xaf",
                                       "\xc1\xbf",
                                       "\xe0\x80\xaf",
                                       "\xed\xa0\x80",
                                       "\xf0\x80\x80\xaf",
                                       "\xf4\x90\x80\x80",
                                       "\xf8\x88\x80\x80\x80",
                                       "\xff",
                                       "\xe2\x82",
                                       "\xf0\x9f\x98"};

static void test_bytes_that_are_not_utf8_are_replaced(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(not_utf8) / sizeof(not_utf8[0]); i++) {
        char value[16];
        snprintf(value, sizeof(value), "a%sz", not_utf8[i]);
        assert_false(utf8_valid(value));
        log_info("e", "m", LOG_S("value", value));
        json_t *json = caught_json();
        const char *shown = member(json, "value");
        assert_memory_equal(shown, "a\xef\xbf\xbd", 4);
        assert_int_equal(shown[strlen(shown) - 1], 'z');
        json_decref(json);
    }
    assert_true(utf8_valid("\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\x7f"));
    assert_true(utf8_valid(""));
}

static void test_long_values_are_cut_at_a_character(void **state)
{
    (void)state;
    char value[5000];
    for (size_t i = 0; i + 2 < sizeof(value); i += 2)
        memcpy(value + i, "\xc3\xa4", 3);
    value[1022] = 'x'; /* shifts the rest, so that the bound falls between the bytes of a character */
    memmove(value + 1, value, 3000);
    log_info("e", "m", LOG_S("long", value), LOG_U("after", 7));
    json_t *json = caught_json();
    assert_true(json_is_true(json_object_get(json, "cut")));
    assert_int_equal(json_integer_value(json_object_get(json, "after")), 7);
    assert_in_range(strlen(member(json, "long")), 1000, 1030);
    json_decref(json);
}

/* Whatever the lengths are, what leaves is JSON of at most 4,096 bytes. */
static void test_lines_of_all_lengths_stay_whole(void **state)
{
    (void)state;
    char value[1200];
    for (size_t len = 0; len < 1100; len += 3) {
        memset(value, len % 2 == 0 ? '\x01' : 'v', len);
        value[len] = '\0';
        log_info("e", value, LOG_S("a", value), LOG_S("b", value), LOG_U("n", INT64_MAX), LOG_S("c", value),
                 LOG_S("d", value));
        json_t *json = caught_json();
        json_decref(json);
    }
}

static void test_a_full_stderr_loses_lines_and_counts_them(void **state)
{
    (void)state;
    errno = ENOTTY;
    for (int i = 0; i < 20000; i++)
        log_info("flood", "much too much");
    assert_int_equal(errno, ENOTTY);
    uint64_t lost = log_lost();
    assert_true(lost > 0 && lost < 20000);
    /* What got through is whole lines, and later lines are whole again. */
    size_t lines = 0;
    const char *text = caught();
    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1)
        lines++;
    assert_string_equal(text, "");
    assert_true(lines > 0);
    while (caught()[0] != '\0')
        continue;
    log_info("again", "room again");
    assert_non_null(strstr(caught(), "\"again\""));
    assert_int_equal(log_lost(), lost);
}

static void *flood(void *arg)
{
    for (int i = 0; i < 50; i++)
        log_info("thread", "a line of many", LOG_S("name", arg), LOG_I("i", i));
    return NULL;
}

static void test_threads_do_not_mix_their_lines(void **state)
{
    (void)state;
    pthread_t threads[4];
    static char names[4][2] = {"a", "b", "c", "d"};
    int lines = 0;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, flood, names[i]), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    char *rest = NULL;
    static char copy[256 * 1024];
    snprintf(copy, sizeof(copy), "%s", caught());
    for (char *line = strtok_r(copy, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest), lines++) {
        json_t *json = json_loads(line, 0, NULL);
        assert_non_null(json);
        json_decref(json);
    }
    assert_int_equal(lines + (int)log_lost(), 200);
}

#define PIPE(test) cmocka_unit_test_setup_teardown(test, catch_pipe, release)
#define SOCKET(test)                                            \
    {                                                           \
#test "_to_a_socket", test, catch_socket, release, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        PIPE(test_line_holds_all_members),
        PIPE(test_levels_below_the_set_one_are_silent),
        PIPE(test_strings_are_escaped),
        PIPE(test_bytes_that_are_not_utf8_are_replaced),
        PIPE(test_long_values_are_cut_at_a_character),
        PIPE(test_lines_of_all_lengths_stay_whole),
        PIPE(test_a_full_stderr_loses_lines_and_counts_them),
        PIPE(test_threads_do_not_mix_their_lines),
        SOCKET(test_line_holds_all_members),
        SOCKET(test_a_full_stderr_loses_lines_and_counts_them),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
