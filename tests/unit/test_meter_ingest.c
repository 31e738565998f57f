/* SPDX-License-Identifier: MIT */
/* What the meter takes, and what it refuses, told by its counters and its ledger. */
#include "folder.h"
#include "ingest.h"
#include "meter.h"

#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/log.h"
#include "cavage/usage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { HOUR = 490000 };

static char dir[64], address[96];
static struct ingest_config config;
static struct bus_from from;
static struct ingest *ingest;

static int setup(void **state)
{
    (void)state;
    log_set_level((enum log_level) - 1);
    snprintf(dir, sizeof dir, "/tmp/cavage-ingest-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(address, sizeof address, "ipc://%s/ack", dir);
    memset(&config, 0, sizeof config);
    memset(&from, 0, sizeof from);
    return digest_init() || metrics_new(meter_metrics, METER_METRIC_COUNT, &config.metrics) ||
           usage_sequence_new(&config.sequence) || ledger_open(dir, config.sequence, &config.ledger) ||
           acks_new(NULL, &config.acks) || ingest_new(&config, &ingest);
}

static int teardown(void **state)
{
    (void)state;
    ingest_free(ingest);
    acks_free(config.acks);
    ledger_close(config.ledger);
    usage_sequence_free(config.sequence);
    metrics_free(config.metrics);
    return folder_remove(dir);
}

/* How a batch is wrong. */
enum fault { FINE, DIGEST, RECORD_HOUR, RECORD_COUNT, RECORD_BYTES, EMPTY, TYPE };

static void send_batch(uint64_t sequence, enum fault fault, bool gap)
{
    uint8_t body[1024], packed[USAGE_RECORD_MAX], *data, *room;
    size_t body_len = 0, len;
    struct usage_record r = {.time_us = HOUR * INT64_C(3600000000), .status = 200, .count = 1};
    struct wire_usage m = {.epoch = 1, .sequence = sequence, .hour = HOUR, .records = 2, .gap = gap};

    m.producer.bytes[0] = 1;
    snprintf(m.ack_address, sizeof m.ack_address, "%s", address);
    for (int i = 0; i < 2 && fault != EMPTY; i++) {
        if (fault == RECORD_HOUR && i == 1)
            r.time_us -= 1;
        assert_int_equal(usage_pack(&r, packed, sizeof packed, &len), ERR_OK);
        if (fault == RECORD_BYTES && i == 1)
            packed[0] = 0;
        assert_int_equal(usage_add(body, sizeof body, &body_len, packed, len, true), ERR_OK);
    }
    if (fault == RECORD_COUNT)
        m.records = 1;
    if (fault == EMPTY)
        m.records = 0;
    digest_of(body, body_len, m.digest);
    if (fault == DIGEST)
        m.digest[0] ^= 1;
    assert_int_equal(wire_pack_usage(&m, body_len, malloc, &data, &len, &room), ERR_OK);
    memcpy(room, body, body_len);
    if (fault == TYPE)
        data[5] = 7;
    ingest_message(ingest, data, len, &from);
    free(data);
}

static int64_t counter(enum meter_metric metric)
{
    return metrics_get(config.metrics, metric);
}

static int count_batch(void *arg, const struct wire_usage *m, const uint8_t *body, size_t body_len)
{
    (void)m;
    (void)body;
    (void)body_len;
    ++*(int *)arg;
    return ERR_OK;
}

static int in_ledger(void)
{
    int count = 0;
    int err = ledger_read_hour(dir, HOUR, count_batch, &count);
    assert_true(err == ERR_OK || err == ERR_NOTFOUND);
    return count;
}

static void test_group_is_judged_batch_by_batch(void **state)
{
    (void)state;
    send_batch(1, FINE, false);
    send_batch(2, FINE, false); /* follows one that is not synced yet */
    send_batch(2, FINE, false);
    send_batch(4, FINE, false);
    assert_int_equal(ingest_commit(ingest), ERR_OK);
    assert_int_equal(counter(METER_BATCHES), 2);
    assert_int_equal(counter(METER_RECORDS), 4);
    assert_int_equal(counter(METER_DUPLICATES), 1);
    assert_int_equal(counter(METER_UNEXPECTED), 1);
    assert_int_equal(counter(METER_SYNC_TIME), 1);
    assert_int_equal(in_ledger(), 2);
}

static void test_bad_batches_are_refused(void **state)
{
    (void)state;
    for (enum fault fault = DIGEST; fault <= TYPE; fault++) {
        send_batch(1, fault, false);
        assert_int_equal(counter(METER_REFUSED), fault);
    }
    assert_int_equal(ingest_commit(ingest), ERR_OK);
    assert_int_equal(counter(METER_SYNC_TIME), 0); /* nobody is answered */
    assert_int_equal(in_ledger(), 0);
    send_batch(1, FINE, false);
    assert_int_equal(in_ledger(), 1);
}

static void test_gaps_and_conflicts_are_alarms(void **state)
{
    (void)state;
    send_batch(1, FINE, false);
    send_batch(5, DIGEST, true); /* not taken: it comes again, and is one gap still */
    assert_int_equal(counter(METER_GAPS), 0);
    send_batch(5, FINE, true);
    assert_int_equal(counter(METER_GAPS), 1);
    send_batch(5, DIGEST, false);
    assert_int_equal(counter(METER_CONFLICTS), 1);
    assert_int_equal(in_ledger(), 2);
    assert_int_equal(ingest_commit(ingest), ERR_OK);
}

static void test_garbage_is_refused(void **state)
{
    (void)state;
    uint8_t garbage[64];
    memset(garbage, 'x', sizeof garbage);
    for (size_t len = 0; len <= sizeof garbage; len++)
        ingest_message(ingest, garbage, len, &from);
    assert_int_equal(counter(METER_REFUSED), sizeof garbage + 1);
}

static void test_answers_go_back_the_way_that_usage_came(void **state)
{
    (void)state;
    from.sealed = true;
    send_batch(1, FINE, false); /* asks for an answer on a socket of this host */
    assert_int_equal(counter(METER_REFUSED), 1);
    snprintf(address, sizeof address, "tcp://127.0.0.1:1");
    send_batch(1, FINE, false);
    assert_int_equal(counter(METER_BATCHES), 1);
    from.sealed = false;
    send_batch(2, FINE, false);
    assert_int_equal(counter(METER_REFUSED), 2);
    assert_int_equal(in_ledger(), 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_group_is_judged_batch_by_batch),          TEST(test_bad_batches_are_refused),
        TEST(test_gaps_and_conflicts_are_alarms),           TEST(test_garbage_is_refused),
        TEST(test_answers_go_back_the_way_that_usage_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
