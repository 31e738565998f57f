/* SPDX-License-Identifier: MIT */
/* Metrics: counting from many threads, and the text that Prometheus reads. */
#include "cavage/err.h"
#include "cavage/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const int64_t edges[] = {1000, 10500, 2000000};

enum { REQUESTS_OK, REQUESTS_BAD, STAGED, LAG, LEAD, WAIT, WAIT_LARGE, COUNT };

static const struct metric_def defs[] = {
    [REQUESTS_OK] = {"requests_total", "Requests, by \\ and\nstatus.", METRIC_COUNTER, "status=\"200\"", NULL, 0},
    [REQUESTS_BAD] = {"requests_total", "Requests, by \\ and\nstatus.", METRIC_COUNTER, "status=\"400\"", NULL, 0},
    [STAGED] = {"staged_bytes", "Staged bytes.", METRIC_GAUGE, NULL, NULL, 0},
    [LAG] = {"lag_seconds", "Lag.", METRIC_GAUGE_US, NULL, NULL, 0},
    [LEAD] = {"lead_seconds", "Lead.", METRIC_GAUGE_US, NULL, NULL, 0},
    [WAIT] = {"wait_seconds", "Wait.", METRIC_HISTOGRAM, NULL, edges, 3},
    [WAIT_LARGE] = {"wait_seconds", "Wait.", METRIC_HISTOGRAM, "lane=\"large\"", edges, 1},
};

static struct metrics *fresh(void)
{
    struct metrics *metrics = NULL;
    assert_int_equal(metrics_new(defs, COUNT, &metrics), ERR_OK);
    return metrics;
}

static const char expected[] = "# HELP requests_total Requests, by \\\\ and\\nstatus.\n"
                               "# TYPE requests_total counter\n"
                               "requests_total{status=\"200\"} 3\n"
                               "requests_total{status=\"400\"} 0\n"
                               "# HELP staged_bytes Staged bytes.\n"
                               "# TYPE staged_bytes gauge\n"
                               "staged_bytes -5\n"
                               "# HELP lag_seconds Lag.\n"
                               "# TYPE lag_seconds gauge\n"
                               "lag_seconds 1.0125\n"
                               "# HELP lead_seconds Lead.\n"
                               "# TYPE lead_seconds gauge\n"
                               "lead_seconds -0.5\n"
                               "# HELP wait_seconds Wait.\n"
                               "# TYPE wait_seconds histogram\n"
                               "wait_seconds_bucket{le=\"0.001\"} 2\n"
                               "wait_seconds_bucket{le=\"0.0105\"} 3\n"
                               "wait_seconds_bucket{le=\"2\"} 3\n"
                               "wait_seconds_bucket{le=\"+Inf\"} 4\n"
                               "wait_seconds_sum 3.002001\n"
                               "wait_seconds_count 4\n"
                               "wait_seconds_bucket{lane=\"large\",le=\"0.001\"} 0\n"
                               "wait_seconds_bucket{lane=\"large\",le=\"+Inf\"} 0\n"
                               "wait_seconds_sum{lane=\"large\"} 0\n"
                               "wait_seconds_count{lane=\"large\"} 0\n";

static void test_render_is_prometheus_text(void **state)
{
    (void)state;
    struct metrics *metrics = fresh();
    size_t len = 0;
    metrics_add(metrics, REQUESTS_OK, 1);
    metrics_add(metrics, REQUESTS_OK, 2);
    metrics_set(metrics, STAGED, 10);
    metrics_add(metrics, STAGED, -15);
    metrics_set(metrics, LAG, 1012500);
    metrics_set(metrics, LEAD, -500000);
    metrics_observe(metrics, WAIT, -7); /* counts as 0 */
    metrics_observe(metrics, WAIT, 1000);
    metrics_observe(metrics, WAIT, 1001);
    metrics_observe(metrics, WAIT, 3000000);
    char *text = metrics_render(metrics, &len);
    assert_non_null(text);
    assert_string_equal(text, expected);
    assert_int_equal(len, strlen(expected));
    free(text);
    assert_int_equal(metrics_get(metrics, REQUESTS_OK), 3);
    assert_int_equal(metrics_get(metrics, STAGED), -5);
    assert_int_equal(metrics_get(metrics, WAIT), 4);
    metrics_free(metrics);
}

static void test_no_series_render_to_nothing(void **state)
{
    (void)state;
    struct metrics *metrics = NULL;
    size_t len = 9;
    assert_int_equal(metrics_new(NULL, 0, &metrics), ERR_OK);
    char *text = metrics_render(metrics, &len);
    assert_non_null(text);
    assert_int_equal(len, 0);
    free(text);
    metrics_free(metrics);
    metrics_free(NULL);
}

static void test_unsound_definitions_are_refused(void **state)
{
    (void)state;
    static const int64_t not_ascending[] = {1, 1};
    static const int64_t many[25] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
                                     14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25};
    const struct metric_def bad[] = {
        {NULL, "h", METRIC_COUNTER, NULL, NULL, 0},           {"n", NULL, METRIC_GAUGE, NULL, NULL, 0},
        {"n", "h", METRIC_HISTOGRAM, NULL, NULL, 2},          {"n", "h", METRIC_HISTOGRAM, NULL, edges, 0},
        {"n", "h", METRIC_HISTOGRAM, NULL, not_ascending, 2}, {"n", "h", METRIC_HISTOGRAM, NULL, many, 25},
    };
    const struct metric_def most = {"n", "h", METRIC_HISTOGRAM, NULL, many, 24};
    struct metrics *metrics = NULL;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(metrics_new(&bad[i], 1, &metrics), ERR_INVALID);
    assert_int_equal(metrics_new(&most, 1, &metrics), ERR_OK);
    metrics_observe(metrics, 0, 26);
    assert_int_equal(metrics_get(metrics, 0), 1);
    metrics_free(metrics);
}

enum { THREADS = 4, ROUNDS = 5000 };

static void *count(void *arg)
{
    struct metrics *metrics = arg;
    for (int i = 0; i < ROUNDS; i++) {
        metrics_add(metrics, REQUESTS_BAD, 1);
        metrics_observe(metrics, WAIT, i);
    }
    return NULL;
}

static void test_threads_lose_no_count(void **state)
{
    (void)state;
    struct metrics *metrics = fresh();
    pthread_t threads[THREADS];
    size_t len;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, metrics), 0);
    free(metrics_render(metrics, &len));
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metrics_get(metrics, REQUESTS_BAD), THREADS * ROUNDS);
    assert_int_equal(metrics_get(metrics, WAIT), THREADS * ROUNDS);
    metrics_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_render_is_prometheus_text),
        cmocka_unit_test(test_no_series_render_to_nothing),
        cmocka_unit_test(test_unsound_definitions_are_refused),
        cmocka_unit_test(test_threads_lose_no_count),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
