/* SPDX-License-Identifier: MIT */
/* The thread that makes usage files: every period once, its parts before it, and again after late records. */
#include "closer.h"
#include "folder.h"
#include "meter.h"

#include "cavage/clock.h"
#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/ledger.h"
#include "cavage/log.h"
#include "cavage/usage.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* 2026-01-30T20:00Z */
enum { HOUR = 491612, WAIT_MS = 120000 };

static char dir[64], ledger_dir[80], usage_dir[80];
static struct metrics *metrics;
static struct usage_sequence *sequence;
static struct ledger *ledger;
static struct closer *closer;
static uint64_t last_batch;

static int setup(void **state)
{
    (void)state;
    log_set_level((enum log_level) - 1);
    snprintf(dir, sizeof dir, "/tmp/cavage-closer-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(ledger_dir, sizeof ledger_dir, "%s/ledger", dir);
    snprintf(usage_dir, sizeof usage_dir, "%s/usage", dir);
    last_batch = 0;
    closer = NULL;
    return digest_init() || metrics_new(meter_metrics, METER_METRIC_COUNT, &metrics) || usage_sequence_new(&sequence) ||
           ledger_open(ledger_dir, sequence, &ledger);
}

static int teardown(void **state)
{
    (void)state;
    closer_stop(closer);
    ledger_close(ledger);
    usage_sequence_free(sequence);
    metrics_free(metrics);
    return folder_remove(dir);
}

static void add_batch(int64_t hour)
{
    uint8_t body[1024], packed[USAGE_RECORD_MAX];
    size_t body_len = 0, len;
    struct usage_record r = {.time_us = hour * INT64_C(3600000000), .status = 200, .count = 1};
    struct wire_usage m = {.epoch = 1, .sequence = ++last_batch, .hour = hour, .records = 1, .ack_address = "ipc:///a"};
    m.producer.bytes[0] = 1;
    assert_int_equal(usage_pack(&r, packed, sizeof packed, &len), ERR_OK);
    assert_int_equal(usage_add(body, sizeof body, &body_len, packed, len, true), ERR_OK);
    digest_of(body, body_len, m.digest);
    assert_int_equal(ledger_append(ledger, &m, body, body_len), ERR_OK);
    assert_int_equal(usage_sequence_taken(sequence, &m), ERR_OK);
}

static void start(void)
{
    struct closer_config config = {.ledger_dir = ledger_dir, .usage_dir = usage_dir, .metrics = metrics};
    assert_int_equal(closer_start(&config, &closer), ERR_OK);
}

static bool exists(const char *name)
{
    char path[192];
    snprintf(path, sizeof path, "%s/%s", usage_dir, name);
    return access(path, F_OK) == 0;
}

/* Until nothing waits and `name` is there. */
static void wait_for(const char *name)
{
    int64_t end_us = clock_monotonic_us() + WAIT_MS * INT64_C(1000);
    while (!exists(name) || metrics_get(metrics, METER_PERIODS_WAITING) > 0) {
        if (clock_monotonic_us() > end_us)
            fail_msg("no %s", name);
        poll(NULL, 0, 1);
    }
}

static void test_parts_come_before_the_whole(void **state)
{
    (void)state;
    for (int64_t h = 30; h-- > 0;) /* of three days, in two months */
        add_batch(HOUR + h);
    start();
    wait_for("monthly/2026/02.v1.manifest.json");
    closer_stop(closer);
    closer = NULL;
    assert_int_equal(metrics_get(metrics, METER_FILES), 30 + 3 + 2);
    assert_int_equal(metrics_get(metrics, METER_FILE_ERRORS), 0);
    assert_true(exists("daily/2026/01/31.v1.manifest.json"));
    assert_true(exists("monthly/2026/01.v1.manifest.json"));
}

static void test_late_records_make_all_that_hold_them_again(void **state)
{
    (void)state;
    add_batch(HOUR);
    start();
    wait_for("monthly/2026/01.v1.manifest.json");
    add_batch(HOUR);
    closer_touch(closer, HOUR);
    wait_for("monthly/2026/01.v2.manifest.json");
    assert_true(exists("hourly/2026/01/30/20.v2.manifest.json"));
    assert_true(exists("daily/2026/01/30.v2.manifest.json"));
}

static void test_period_that_is_not_over_waits(void **state)
{
    (void)state;
    int64_t now = usage_hour(clock_wall_us());
    add_batch(HOUR);
    add_batch(now + 2);
    start();
    int64_t end_us = clock_monotonic_us() + WAIT_MS * INT64_C(1000);
    while (metrics_get(metrics, METER_FILES) < 3 && clock_monotonic_us() < end_us)
        poll(NULL, 0, 1);
    closer_touch(closer, now + 3);
    closer_stop(closer);
    closer = NULL;
    assert_int_equal(metrics_get(metrics, METER_FILES), 3);
    assert_int_equal(metrics_get(metrics, METER_PERIODS_WAITING), 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_parts_come_before_the_whole),
        TEST(test_late_records_make_all_that_hold_them_again),
        TEST(test_period_that_is_not_over_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
