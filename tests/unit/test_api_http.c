/* SPDX-License-Identifier: MIT */
/* The pure parts of the API's HTTP: framing, paths, tokens, multipart, job numbers, metric names. */
#include "accept.h"
#include "framing.h"
#include "jobs.h"
#include "metrics.h"
#include "multipart.h"
#include "route.h"
#include "token.h"

#include "cavage/err.h"
#include "cavage/params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- Accept ---- */

static void test_accept_names_formats(void **state)
{
    static const struct {
        const char *value;
        uint32_t formats;
    } cases[] = {
        {"image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", AUTO_AVIF | AUTO_WEBP},
        {"image/webp", AUTO_WEBP},
        {"IMAGE/AVIF ; q=1.0", AUTO_AVIF},
        {"text/html, image/webp;q=0.5 , image/avif;q=0.9", AUTO_AVIF | AUTO_WEBP},
        {"image/avif;q=0.5,image/webp;q=0.501", AUTO_WEBP},
        {"image/avif;q=0, image/webp;q=0.000", 0},
        {"image/avif;v=1;q=0,image/webp;x=\"q=0\"", AUTO_WEBP},
        {"image/webp;q=nonsense", AUTO_WEBP},
        {"image/webp;q=", AUTO_WEBP},
        {"*/*", 0},
        {"image/*;q=1", 0},
        {"image/webpx, ximage/avif, image/", 0},
        {"", 0},
        {",,;;,;q=0,", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (accept_formats(cases[i].value) != cases[i].formats)
            fail_msg("%s: %u", cases[i].value, accept_formats(cases[i].value));
}

/* ---- Framing ---- */

static void test_framing_takes_no_blank_in_a_target(void **state)
{
    static const char *const bad[] = {"/a b", "/a\tb", "/a\x7f", "/a ", "\x01"};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct framing f = {.hosts = 1};
        framing_target(&f, "/v1/resize?background=%20#\xc3\xa4");
        assert_null(framing_problem(&f, true));
        framing_target(&f, bad[i]);
        assert_non_null(framing_problem(&f, true));
    }
}

/* Headers as "Name: value" lines; Host is added. */
static const char *judge(const char *headers, bool http11)
{
    struct framing f = {0};
    framing_header(&f, "Host", 4, "x", 1);
    while (*headers) {
        size_t line = strcspn(headers, "\n"), name = strcspn(headers, ":");
        const char *value = headers + name + 2;
        framing_header(&f, headers, name, value, (size_t)(headers + line - value));
        headers += line + (headers[line] == '\n');
    }
    return framing_problem(&f, http11);
}

static void test_framing_takes_what_is_certain(void **state)
{
    static const char *const good[] = {"",
                                       "Content-Length: 0",
                                       "content-length: 18446744073709551615",
                                       "Transfer-Encoding: chunked",
                                       "transfer-encoding: CHUNKED",
                                       "Content-Length: 5\nX-Other: 6"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_null(judge(good[i], true));
}

static void test_framing_refuses_what_is_doubtful(void **state)
{
    static const char *const bad[] = {
        "Content-Length: 5\nContent-Length: 5",
        "Content-Length: 5\ncontent-length: 6",
        "Content-Length: 5\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\nContent-Length: 5",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: ",
        "Transfer-Encoding: chunked ",
        "Content-Length: -1",
        "Content-Length: +1",
        "Content-Length: 0x10",
        "Content-Length: 1 2",
        "Content-Length: ",
        "Content-Length: 5, 5",
        "Content-Length: 18446744073709551616",
        "Content-Length : 5",
        "Host: y",
        "Authorization: a\nAuthorization: b",
        "X: a\rTransfer-Encoding: chunked\nContent-Length: 5",
        "X: a\r",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (!judge(bad[i], true))
            fail_msg("taken: %s", bad[i]);
    assert_non_null(judge("Transfer-Encoding: chunked", false));
    struct framing none = {0};
    assert_non_null(framing_problem(&none, true));
    assert_null(framing_problem(&none, false));
}

static void test_framing_refuses_a_head_with_bytes_unaccounted_for(void **state)
{
    struct framing f = {.hosts = 1, .head_bytes = 40, .known_bytes = 40};
    (void)state;
    assert_null(framing_problem(&f, true));
    f.known_bytes = 38;
    assert_non_null(framing_problem(&f, true));
    f.head_bytes = 37;
    assert_non_null(framing_problem(&f, true));
    f.head_bytes = 0;
    assert_null(framing_problem(&f, true));
}

/* ---- Paths ---- */

static void test_route_finds_paths_exactly(void **state)
{
    static const struct {
        const char *raw;
        enum route route;
        const char *query;
    } cases[] = {
        {"/v1/resize", ROUTE_RESIZE, ""},
        {"/v1/resize?w=5&h=%20", ROUTE_RESIZE, "w=5&h=%20"},
        {"/v1/info?", ROUTE_INFO, ""},
        {"/healthz", ROUTE_HEALTH, ""},
        {"/readyz?x", ROUTE_READY, "x"},
        {"/v1/resize/", ROUTE_NONE, ""},
        {"/v1//resize", ROUTE_NONE, ""},
        {"/V1/resize", ROUTE_NONE, ""},
        {"/v1/%72esize", ROUTE_NONE, ""},
        {"", ROUTE_NONE, ""},
        {"*", ROUTE_NONE, ""},
        {"/", ROUTE_NONE, ""},
        {"http://h/v1/info?a", ROUTE_INFO, "a"},
        {"HTTP://h:80/healthz", ROUTE_HEALTH, ""},
        {"http://h", ROUTE_NONE, ""},
        {"http://h?/v1/info", ROUTE_NONE, "/v1/info"},
        {"/v1/resize??", ROUTE_RESIZE, "?"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct target t;
        route_parse(cases[i].raw, &t);
        assert_int_equal(t.route, cases[i].route);
        assert_string_equal(t.query, cases[i].query);
        assert_int_equal(t.query_len, strlen(cases[i].query));
    }
}

static void test_route_takes_its_methods_only(void **state)
{
    (void)state;
    assert_true(route_takes(ROUTE_RESIZE, "POST"));
    assert_true(route_takes(ROUTE_HEALTH, "HEAD"));
    assert_false(route_takes(ROUTE_RESIZE, "GET"));
    assert_false(route_takes(ROUTE_RESIZE, "post"));
    assert_false(route_takes(ROUTE_HEALTH, ""));
}

/* ---- Tokens ---- */

static void test_request_id_is_kept_when_well_formed(void **state)
{
    static const char *const bad[] = {"", "a b", "a\"b", "\xc3\xa4", "a/b", NULL};
    char out[USAGE_TOKEN_SIZE], longest[USAGE_TOKEN_SIZE + 1];
    (void)state;
    token_request_id("My-id_1.x", out);
    assert_string_equal(out, "My-id_1.x");
    memset(longest, 'a', sizeof(longest));
    longest[128] = '\0';
    token_request_id(longest, out);
    assert_string_equal(out, longest);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        token_request_id(bad[i], out);
        assert_int_equal(strspn(out, "0123456789abcdef"), 32);
        assert_int_equal(strlen(out), 32);
    }
    longest[128] = 'a';
    longest[129] = '\0';
    token_request_id(longest, out);
    assert_int_equal(strlen(out), 32);
}

static void test_idempotency_key_is_visible_ascii(void **state)
{
    char out[USAGE_TOKEN_SIZE];
    (void)state;
    assert_true(token_idempotency_key("\"8e03978e-40d5\"", out));
    assert_string_equal(out, "\"8e03978e-40d5\"");
    assert_false(token_idempotency_key("", out));
    assert_false(token_idempotency_key("a b", out));
    assert_false(token_idempotency_key("\x7f", out));
    assert_string_equal(out, "");
}

static void test_traceparent_goes_through_when_valid(void **state)
{
    static const char good[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    static const char *const bad[] = {
        "",
        "junk",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        NULL,
    };
    char out[WIRE_TRACE_SIZE];
    (void)state;
    token_traceparent(good, out);
    assert_string_equal(out, good);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        token_traceparent(bad[i], out);
        assert_string_equal(out, "");
    }
}

/* ---- Multipart ---- */

struct sink {
    char data[4096];
    size_t len;
};

static int take(void *arg, const void *data, size_t len)
{
    struct sink *s = arg;
    assert_true(len <= sizeof(s->data) - s->len);
    memcpy(s->data + s->len, data, len);
    s->len += len;
    return 0;
}

/* Feed a body in pieces of `step`; 0 and the file in the sink, or the error. */
static int parse(const char *content_type, const char *body, size_t len, size_t step, struct sink *sink)
{
    struct multipart m;
    const char *why = NULL;
    sink->len = 0;
    int err = multipart_begin(&m, content_type);
    for (size_t at = 0; err == 0 && at < len; at += step)
        err = multipart_feed(&m, body + at, len - at < step ? len - at : step, take, sink, &why);
    if (err == 0)
        err = multipart_end(&m, &why);
    if (err && err != ERR_NOTFOUND && sink->len == 0)
        assert_true(why == NULL || strlen(why) > 10);
    return err;
}

#define TYPE "multipart/form-data; boundary=XX"
#define FILE_HEAD \
    "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n"

static void test_multipart_gives_the_file_whatever_the_pieces(void **state)
{
    static const char *const files[] = {
        "",        "x", "hello", "\r\n", "\r\n--X", "\r\n--XY--", "\r\r\n--\r\n", "--XX", "a\r\n-", "\r\n\r\n--XX\x01",
        "\n--XX--"};
    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char body[512];
        struct sink sink;
        int len = snprintf(body, sizeof(body), FILE_HEAD "%s\r\n--XX--\r\n", files[i]);
        bool has_boundary = strstr(files[i], "\r\n--XX") != NULL || strncmp(files[i], "--XX", 4) == 0;
        for (size_t step = 1; step <= (size_t)len; step++) {
            int err = parse(TYPE, body, (size_t)len, step, &sink);
            if (has_boundary) {
                assert_int_not_equal(err, 0);
                continue;
            }
            assert_int_equal(err, 0);
            assert_int_equal(sink.len, strlen(files[i]));
            assert_memory_equal(sink.data, files[i], sink.len);
        }
    }
}

static void test_multipart_takes_preamble_and_epilogue(void **state)
{
    static const char body[] =
        "This is a preamble.\r\nIt is ignored --XX\r\n" FILE_HEAD "data\r\n--XX--\r\nThis too.\r\n--XX\r\n";
    struct sink sink;
    (void)state;
    assert_int_equal(parse(TYPE, body, sizeof(body) - 1, 5, &sink), 0);
    assert_int_equal(sink.len, 4);
}

static void test_multipart_refuses_what_is_not_one_file(void **state)
{
    static const char *const bad[] = {
        "",
        "--XX--",
        "--XX\r\n",
        "junk",
        FILE_HEAD "data",
        FILE_HEAD "data\r\n--XX",
        FILE_HEAD "data\r\n--XX\r\n" FILE_HEAD "data\r\n--XX--",
        "--XX\r\nContent-Disposition: form-data; name=\"width\"\r\n\r\n5\r\n--XX--",
        "--XX\r\n\r\ndata\r\n--XX--",
        "--XXjunk\r\n",
        FILE_HEAD "data\r\n--XXjunk\r\n--XX--",
    };
    struct sink sink;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        for (size_t step = 1; step < 100; step += 7)
            if (parse(TYPE, bad[i], strlen(bad[i]), step, &sink) != ERR_INVALID)
                fail_msg("taken: %s", bad[i]);
}

static void test_multipart_bounds_headers_and_preamble(void **state)
{
    static char body[20000];
    struct sink sink;
    (void)state;
    memset(body, 'a', sizeof(body));
    assert_int_equal(parse(TYPE, body, sizeof(body), 100, &sink), ERR_RANGE);
    memcpy(body, "--XX\r\n", 6);
    assert_int_equal(parse(TYPE, body, sizeof(body), 100, &sink), ERR_RANGE);
}

static void test_multipart_reads_the_boundary(void **state)
{
    static const struct {
        const char *type;
        int err;
    } cases[] = {
        {NULL, ERR_NOTFOUND},
        {"image/jpeg", ERR_NOTFOUND},
        {"multipart/form-datax; boundary=XX", ERR_NOTFOUND},
        {"multipart/mixed; boundary=XX", ERR_NOTFOUND},
        {"multipart/form-data", ERR_INVALID},
        {"multipart/form-data; charset=x", ERR_INVALID},
        {"multipart/form-data; boundary=", ERR_INVALID},
        {"multipart/form-data; boundary=\"XX", ERR_INVALID},
        {"multipart/form-data; boundary=a*b", ERR_INVALID},
        {"multipart/form-data; boundary=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         ERR_INVALID},
        {"Multipart/Form-Data;boundary=XX", 0},
        {"multipart/form-data; charset=utf-8; boundary=\"XX\"; x=y", 0},
    };
    static const char body[] = FILE_HEAD "data\r\n--XX--\r\n";
    struct sink sink;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(parse(cases[i].type, body, sizeof(body) - 1, 9, &sink), cases[i].err);
}

/* ---- Job numbers ---- */

static void test_job_numbers_are_never_used_again(void **state)
{
    struct jobs *jobs = NULL;
    struct request *a = (struct request *)(void *)&jobs, *b = (struct request *)(void *)&a;
    uint64_t last = 0;
    (void)state;
    assert_int_equal(jobs_new(2, &jobs), 0);
    for (int i = 0; i < 1000; i++) {
        uint64_t one = jobs_add(jobs, a), two = jobs_add(jobs, b);
        assert_true(one != 0 && two != 0 && one != two && one != last && two != last);
        assert_int_equal(jobs_add(jobs, a), 0);
        assert_ptr_equal(jobs_find(jobs, one), a);
        assert_ptr_equal(jobs_find(jobs, two), b);
        jobs_remove(jobs, one);
        jobs_remove(jobs, one);
        assert_null(jobs_find(jobs, one));
        assert_ptr_equal(jobs_find(jobs, two), b);
        jobs_remove(jobs, two);
        last = two;
    }
    assert_null(jobs_find(jobs, 0));
    jobs_free(jobs);
}

/* ---- Metrics ---- */

static void test_every_problem_has_its_series(void **state)
{
    (void)state;
    for (int i = PROBLEM_NONE + 1; i < PROBLEM_COUNT; i++) {
        char label[64];
        snprintf(label, sizeof(label), "reason=\"%s\"", problem_name((enum problem_type)i));
        assert_string_equal(api_metric_defs[API_REFUSALS + i - 1].labels, label);
    }
    for (int i = 0; i < API_METRICS; i++)
        assert_non_null(api_metric_defs[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept_names_formats),
        cmocka_unit_test(test_framing_takes_no_blank_in_a_target),
        cmocka_unit_test(test_framing_takes_what_is_certain),
        cmocka_unit_test(test_framing_refuses_what_is_doubtful),
        cmocka_unit_test(test_framing_refuses_a_head_with_bytes_unaccounted_for),
        cmocka_unit_test(test_route_finds_paths_exactly),
        cmocka_unit_test(test_route_takes_its_methods_only),
        cmocka_unit_test(test_request_id_is_kept_when_well_formed),
        cmocka_unit_test(test_idempotency_key_is_visible_ascii),
        cmocka_unit_test(test_traceparent_goes_through_when_valid),
        cmocka_unit_test(test_multipart_gives_the_file_whatever_the_pieces),
        cmocka_unit_test(test_multipart_takes_preamble_and_epilogue),
        cmocka_unit_test(test_multipart_refuses_what_is_not_one_file),
        cmocka_unit_test(test_multipart_bounds_headers_and_preamble),
        cmocka_unit_test(test_multipart_reads_the_boundary),
        cmocka_unit_test(test_job_numbers_are_never_used_again),
        cmocka_unit_test(test_every_problem_has_its_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
