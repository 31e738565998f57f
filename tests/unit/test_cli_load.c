/* SPDX-License-Identifier: MIT */
/* Tests of the load tool's pure parts: histogram, schedule, choice of customers, answers, statistics, options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "arrivals.h"
#include "bench_options.h"
#include "cavage/err.h"
#include "histogram.h"
#include "http_answer.h"
#include "load_stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct histogram *new_histogram(void)
{
    struct histogram *h = calloc(1, sizeof(*h));
    assert_non_null(h);
    return h;
}

static void test_histogram_is_exact_for_small_values(void **state)
{
    struct histogram *h = new_histogram();
    (void)state;
    assert_int_equal(histogram_percentile(h, 50), 0);
    assert_true(histogram_mean(h) == 0);
    for (int64_t v = 1; v <= 1000; v++)
        histogram_add(h, v);
    assert_int_equal(h->count, 1000);
    assert_int_equal(histogram_percentile(h, 0), 1);
    assert_int_equal(histogram_percentile(h, 50), 500);
    assert_int_equal(histogram_percentile(h, 50.05), 501);
    assert_int_equal(histogram_percentile(h, 99), 990);
    assert_int_equal(histogram_percentile(h, 99.9), 999);
    assert_int_equal(histogram_percentile(h, 100), 1000);
    assert_true(histogram_mean(h) == 500.5);
    free(h);
}

/* Each value alone: what is told is not below it, and at most 0.1 % above; never above the highest. */
static void test_histogram_errs_by_a_thousandth_at_most(void **state)
{
    struct histogram *h = new_histogram();
    (void)state;
    for (int64_t v = 2000; v < INT64_C(1) << 36; v += v / 37) {
        memset(h, 0, sizeof(*h));
        histogram_add(h, v);
        assert_int_equal(histogram_percentile(h, 50), v);
        histogram_add(h, (INT64_C(1) << 36) - 1);
        int64_t told = histogram_percentile(h, 50);
        assert_true(told >= v && (double)(told - v) <= (double)v * 0.001);
    }
    free(h);
}

static void test_histogram_bounds_what_it_is_given(void **state)
{
    struct histogram *h = new_histogram();
    (void)state;
    histogram_add(h, -5);
    assert_int_equal(histogram_percentile(h, 100), 0);
    histogram_add(h, INT64_MAX);
    assert_int_equal(h->max, (INT64_C(1) << 36) - 1);
    assert_int_equal(histogram_percentile(h, 100), h->max);
    free(h);
}

static void test_constant_arrivals_keep_their_distance(void **state)
{
    struct arrivals a = {.from_per_s = 200, .to_per_s = 200, .duration_s = 2, .random = 1};
    int64_t due_us;
    (void)state;
    for (int64_t i = 0; i < 400; i++) {
        assert_true(arrivals_next(&a, &due_us));
        assert_true(llabs(due_us - i * 5000) <= 1);
    }
    assert_false(arrivals_next(&a, &due_us));
    assert_int_equal(a.count, 400);
}

/* From 100 to 300 a second in 4 s: 800 in all, and half of the time sees 300 of them. */
static void test_a_ramp_grows_evenly(void **state)
{
    struct arrivals a = {.from_per_s = 100, .to_per_s = 300, .duration_s = 4, .random = 1};
    int64_t due_us, last_us = -1;
    unsigned early = 0;
    (void)state;
    while (arrivals_next(&a, &due_us)) {
        assert_true(due_us > last_us && due_us < 4000000);
        last_us = due_us;
        early += due_us < 2000000;
    }
    assert_int_equal(a.count, 800);
    assert_in_range(early, 299, 301);
    struct arrivals down = {.from_per_s = 300, .to_per_s = 0.001, .duration_s = 4, .random = 1};
    while (arrivals_next(&down, &due_us))
        assert_true(due_us < 4000000);
    assert_in_range(down.count, 599, 601);
}

/* Mean and variance of the numbers in 1,000 equal spans are both the rate, as for a Poisson process. */
static void test_poisson_arrivals_vary_as_they_should(void **state)
{
    enum { SPANS = 1000, RATE = 50 };
    struct arrivals a = {.from_per_s = RATE, .to_per_s = RATE, .duration_s = SPANS, .poisson = true, .random = 42};
    struct arrivals again = a;
    double spans[SPANS] = {0}, mean = 0, variance = 0;
    int64_t due_us, last_us = 0;
    (void)state;
    while (arrivals_next(&a, &due_us)) {
        assert_true(due_us >= last_us);
        last_us = due_us;
        spans[due_us / 1000000]++;
    }
    for (size_t i = 0; i < SPANS; i++)
        mean += spans[i] / SPANS;
    for (size_t i = 0; i < SPANS; i++)
        variance += (spans[i] - mean) * (spans[i] - mean) / SPANS;
    assert_true(fabs(mean - RATE) < 1);
    assert_true(fabs(variance - RATE) < 8);
    int64_t first_us, same_us;
    struct arrivals once = again;
    assert_true(arrivals_next(&again, &first_us));
    assert_true(arrivals_next(&once, &same_us));
    assert_int_equal(first_us, same_us);
}

static void count_choices(const struct mix *mix, unsigned *counts, unsigned draws)
{
    uint64_t random = 7;
    for (unsigned i = 0; i < draws; i++) {
        size_t chosen = mix_choose(mix, arrivals_unit(&random));
        assert_true(chosen < mix->count);
        counts[chosen]++;
    }
}

static void test_the_first_customer_has_its_weight(void **state)
{
    struct mix mix;
    unsigned counts[11] = {0};
    (void)state;
    assert_int_equal(mix_open_first(&mix, 11, 100), ERR_OK);
    count_choices(&mix, counts, 110000);
    assert_in_range(counts[0], 99000, 101000);
    for (size_t i = 1; i < 11; i++)
        assert_in_range(counts[i], 850, 1150);
    mix_close(&mix);
    assert_int_equal(mix_open_first(&mix, 0, 1), ERR_RANGE);
}

static void test_zipf_weights_fall_with_the_rank(void **state)
{
    struct mix mix;
    unsigned counts[4] = {0};
    (void)state;
    assert_int_equal(mix_open_zipf(&mix, 4, 1), ERR_OK);
    count_choices(&mix, counts, 250000); /* 1 + 1/2 + 1/3 + 1/4 = 25/12 */
    assert_in_range(counts[0], 118000, 122000);
    assert_in_range(counts[1], 59000, 61000);
    assert_in_range(counts[3], 29000, 31000);
    assert_int_equal(mix_choose(&mix, 0), 0);
    assert_int_equal(mix_choose(&mix, 0x1.fffffffffffffp-1), 3);
    mix_close(&mix);
}

static const char answer_200[] =
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
    "server-timing: auth;dur=0.012, stage;dur=1, queue;dur=2.5, convert;dur=20.25\r\n\r\nhello";

/* However the bytes are cut. */
static void test_answers_are_read_in_any_pieces(void **state)
{
    struct http_answer a;
    (void)state;
    for (size_t piece = 1; piece <= sizeof(answer_200); piece++) {
        size_t used = 0, at = 0, len = sizeof(answer_200) - 1;
        int err = ERR_AGAIN;
        http_answer_start(&a);
        for (; at < len && err == ERR_AGAIN; at += used)
            err = http_answer_feed(&a, answer_200 + at, len - at < piece ? len - at : piece, &used);
        assert_int_equal(err, ERR_OK);
        assert_int_equal(at, len);
        assert_int_equal(a.status, 200);
        assert_false(a.close);
        assert_int_equal(a.body_bytes, 5);
        assert_int_equal(a.timing_us[HTTP_TIMING_AUTH], 12);
        assert_int_equal(a.timing_us[HTTP_TIMING_QUEUE], 2500);
        assert_int_equal(a.timing_us[HTTP_TIMING_CONVERT], 20250);
    }
}

static int feed(struct http_answer *a, const char *text, size_t *used)
{
    http_answer_start(a);
    return http_answer_feed(a, text, strlen(text), used);
}

static void test_answers_end_where_they_say(void **state)
{
    struct http_answer a;
    size_t used;
    (void)state;
    assert_int_equal(feed(&a, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\nConnection: close\r\n\r\nHTTP", &used),
                     ERR_OK);
    assert_int_equal(a.status, 204);
    assert_true(a.close);
    assert_int_equal(used, 63);
    static const char chunked[] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n";
    assert_int_equal(feed(&a, chunked, &used), ERR_OK);
    assert_int_equal(used, sizeof(chunked) - 1);
    assert_int_equal(a.body_bytes, 6);
    assert_int_equal(feed(&a, "HTTP/1.0 200 OK\n\nrest", &used), ERR_AGAIN);
    assert_true(a.close);
    assert_int_equal(http_answer_closed(&a), ERR_OK);
    assert_int_equal(feed(&a, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", &used), ERR_AGAIN);
    assert_int_equal(http_answer_closed(&a), ERR_CLOSED);
    assert_int_equal(feed(&a, "HTTP/1.1 200", &used), ERR_AGAIN);
    assert_int_equal(http_answer_closed(&a), ERR_CLOSED);
}

static void test_what_is_no_answer_is_told(void **state)
{
    static const char *const wrong[] = {
        "HTTP/2 200 OK\r\n",
        "220 smtp\r\n",
        "HTTP/1.1 20x OK\r\n",
        "HTTP/1.1 2000\r\n",
        "HTTP/1.1 099 X\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    };
    struct http_answer a;
    size_t used;
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(feed(&a, wrong[i], &used), ERR_INVALID);
    /* A head without end. */
    char line[4096];
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    memcpy(line, "A: ", 3);
    int err = feed(&a, "HTTP/1.1 200 OK\r\n", &used);
    for (int i = 0; i < 15; i++) {
        err = http_answer_feed(&a, line, sizeof(line), &used);
        assert_int_equal(err, ERR_AGAIN);
    }
    for (int i = 0; i < 2 && err == ERR_AGAIN; i++)
        err = http_answer_feed(&a, line, sizeof(line), &used);
    assert_int_equal(err, ERR_INVALID);
}

static void answered(struct load_stats *stats, bool first, const char *text, int64_t latency_us)
{
    struct http_answer a;
    size_t used;
    assert_int_equal(feed(&a, text, &used), ERR_OK);
    load_stats_sent(stats, first);
    load_stats_answered(stats, first, &a, 100, latency_us);
}

static void test_statistics_tell_good_from_late_and_refused(void **state)
{
    static const char refusal[] =
        "HTTP/1.1 503 X\r\nContent-Type: application/problem+json\r\nContent-Length: 35\r\n\r\n"
        "{\"type\":\"urn:x:problem:overloaded\"}";
    static const char bare[] = "HTTP/1.1 502 X\r\nContent-Length: 4\r\n\r\noops";
    struct load_stats *stats = calloc(1, sizeof(*stats));
    (void)state;
    assert_non_null(stats);
    stats->slo_us = 500000;
    answered(stats, true, answer_200, 500000);
    answered(stats, false, answer_200, 500001);
    answered(stats, false, refusal, 1000);
    answered(stats, false, refusal, 1000);
    answered(stats, false, bare, 1000);
    load_stats_sent(stats, true);
    load_stats_failed(stats, true, LOAD_TIMEOUT);
    assert_int_equal(stats->all.sent, 6);
    assert_int_equal(stats->all.ok, 2);
    assert_int_equal(stats->all.in_time, 1);
    assert_int_equal(stats->all.refused, 3);
    assert_int_equal(stats->all.failed, 1);
    assert_int_equal(stats->groups[0].sent, 2);
    assert_int_equal(stats->groups[1].sent, 4);
    assert_int_equal(stats->groups[1].in_time, 0);
    assert_int_equal(stats->all.latency.count, 2);
    assert_int_equal(stats->refused_latency.count, 3);
    assert_int_equal(stats->status[503], 2);
    assert_string_equal(stats->reasons[0].name, "overloaded");
    assert_int_equal(stats->reasons[0].count, 2);
    assert_string_equal(stats->reasons[1].name, "status 502");
    assert_int_equal(stats->failure[LOAD_TIMEOUT], 1);
    assert_int_equal(stats->timing[HTTP_TIMING_QUEUE].count, 2);
    assert_int_equal(stats->bytes_sent, 500);
    assert_false(load_stats_behind(stats));
    histogram_add(&stats->late, 6000);
    assert_true(load_stats_behind(stats));
    free(stats);
}

/* A server that invents reasons without end fills the table, and no more. */
static void test_reasons_are_bounded(void **state)
{
    struct load_stats *stats = calloc(1, sizeof(*stats));
    char text[64];
    uint64_t sum = 0;
    (void)state;
    assert_non_null(stats);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", 400 + i);
        answered(stats, false, text, 1);
    }
    for (size_t i = 0; i < LOAD_REASONS_MAX; i++)
        sum += stats->reasons[i].count;
    assert_int_equal(sum, 100);
    assert_int_equal(stats->reasons[0].count, 1);
    answered(stats, false, "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", 1);
    assert_int_equal(stats->status[LOAD_STATUS_MAX - 1], 1);
    free(stats);
}

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } good[] = {{"500ms", 500000},           {"10s", 10000000}, {"1.5m", 90000000},
                {"1h", INT64_C(3600000000)}, {"200us", 200},    {"0s", 0}};
    static const char *const bad[] = {"", "5", "s", "-1s", "1d", "1s ", "0x5s", "infs", "nans", "1e3s", " 1s"};
    int64_t us = 0;
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(bench_duration(good[i].text, 0, INT64_MAX / 2, &us), ERR_OK);
        assert_int_equal(us, good[i].us);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(bench_duration(bad[i], 0, INT64_MAX / 2, &us), ERR_INVALID);
    assert_int_equal(bench_duration("2s", 0, 1000000, &us), ERR_RANGE);
    assert_int_equal(bench_duration("0s", 1, 1000000, &us), ERR_RANGE);
}

static void test_addresses(void **state)
{
    struct bench_address a;
    (void)state;
    assert_int_equal(bench_address_make("http://127.0.0.1:8080", "/v1/resize", "width=3", &a), ERR_OK);
    assert_string_equal(a.host, "127.0.0.1");
    assert_string_equal(a.port, "8080");
    assert_string_equal(a.authority, "127.0.0.1:8080");
    assert_string_equal(a.path, "/v1/resize?width=3");
    assert_int_equal(bench_address_make("http://[::1]:81/images/", "/v1/info", "", &a), ERR_OK);
    assert_string_equal(a.host, "::1");
    assert_string_equal(a.authority, "[::1]:81");
    assert_string_equal(a.path, "/images/v1/info");
    assert_int_equal(bench_address_make("http://host", "/", "", &a), ERR_OK);
    assert_string_equal(a.port, "80");
    static const char *const bad[] = {"https://x",      "http://",      "http://:80",  "http://x:0",
                                      "http://x:99999", "http://u@x",   "http://[::1", "http://x:8\r\nA: b",
                                      "http://x?a=b",   "http://[::1]x"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(bench_address_make(bad[i], "/v1/resize", "", &a), ERR_INVALID);
    assert_int_equal(bench_address_make("http://x", "v1", "", &a), ERR_INVALID);
    assert_int_equal(bench_address_make("http://x", "/v1", "a=b c", &a), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_is_exact_for_small_values),
        cmocka_unit_test(test_histogram_errs_by_a_thousandth_at_most),
        cmocka_unit_test(test_histogram_bounds_what_it_is_given),
        cmocka_unit_test(test_constant_arrivals_keep_their_distance),
        cmocka_unit_test(test_a_ramp_grows_evenly),
        cmocka_unit_test(test_poisson_arrivals_vary_as_they_should),
        cmocka_unit_test(test_the_first_customer_has_its_weight),
        cmocka_unit_test(test_zipf_weights_fall_with_the_rank),
        cmocka_unit_test(test_answers_are_read_in_any_pieces),
        cmocka_unit_test(test_answers_end_where_they_say),
        cmocka_unit_test(test_what_is_no_answer_is_told),
        cmocka_unit_test(test_statistics_tell_good_from_late_and_refused),
        cmocka_unit_test(test_reasons_are_bounded),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
