/* SPDX-License-Identifier: MIT */
/* What the tests of the spool have in common. */
#include "spool_fixture.h"

#include "cavage/bus.h"
#include "cavage/clock.h"
#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/log.h"

#include "folder.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_BYTES = 8 << 20 };

const int64_t hour_us = INT64_C(3600000000);
struct spool_config config;
struct spool *spool;
char ack_address[96];
static char dir[64], spool_dir[80], meter_address[96];
static struct bus_pull *pull;
static struct bus_push *push;
static uint64_t taken_epoch, taken_sequence;

int spool_setup(void **state)
{
    (void)state;
    log_set_level((enum log_level) - 1);
    snprintf(dir, sizeof dir, "%s", "/tmp/cavage-spool-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(spool_dir, sizeof spool_dir, "%s/spool", dir);
    snprintf(meter_address, sizeof meter_address, "ipc://%s/meter", dir);
    snprintf(ack_address, sizeof ack_address, "ipc://%s/ack", dir);
    config = (struct spool_config){.dir = spool_dir,
                                   .meter_address = meter_address,
                                   .ack_address = ack_address,
                                   .max_bytes = 1 << 20,
                                   .batch_bytes = 4096,
                                   .batch_ms = 5};
    pull = NULL;
    push = NULL;
    spool = NULL;
    taken_epoch = taken_sequence = 0;
    return 0;
}

void meter_up(void)
{
    assert_int_equal(bus_pull_open(meter_address, MESSAGE_BYTES, NULL, &pull), ERR_OK);
    assert_int_equal(bus_push_open(ack_address, NULL, &push), ERR_OK);
}

void meter_down(void)
{
    bus_pull_close(pull);
    bus_push_close(push);
    pull = NULL;
    push = NULL;
}

int spool_teardown(void **state)
{
    (void)state;
    spool_close(spool);
    meter_down();
    return folder_remove(dir);
}

void open_spool(void)
{
    assert_int_equal(spool_open(&config, &spool), ERR_OK);
}

void close_spool(void)
{
    spool_close(spool);
    spool = NULL;
}

void reopen_spool(void)
{
    close_spool();
    open_spool();
}

void begin(void)
{
    meter_up();
    open_spool();
}

void flush(void)
{
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
}

struct spool_stats stats(void)
{
    struct spool_stats s;
    spool_stats(spool, &s);
    return s;
}

const char *in_spool(const char *name)
{
    static char path[sizeof spool_dir + 256];
    snprintf(path, sizeof path, "%s/%s", spool_dir, name);
    return path;
}

struct spool_ref append_at(int number, int64_t hour)
{
    struct spool_ref ref;
    struct usage_record r = {.time_us = hour * hour_us, .status = 200, .count = 1};
    snprintf(r.request_id, sizeof r.request_id, "request-%d", number);
    snprintf(r.customer, sizeof r.customer, "%s", "ann");
    assert_int_equal(spool_append(spool, &r, &ref), ERR_OK);
    return ref;
}

struct spool_ref append(int number)
{
    return append_at(number, 490000);
}

void append_confirmed(int number)
{
    spool_resolve(spool, append(number), true);
}

bool receive(struct batch *batch, int timeout_ms)
{
    uint8_t *data, digest[DIGEST_BYTES];
    size_t len, pos = 0, record_len;
    const uint8_t *packed;
    struct frame frame;
    struct usage_record record;

    while (bus_recv(pull, &data, &len, NULL) != ERR_OK) {
        struct pollfd fd = {.fd = bus_pull_fd(pull), .events = POLLIN};
        if (poll(&fd, 1, timeout_ms) == 0)
            return false;
    }
    assert_int_equal(frame_parse(data, len, MESSAGE_BYTES, &frame), ERR_OK);
    assert_int_equal(wire_unpack_usage(&frame, &batch->m), ERR_OK);
    digest_of(frame.body, frame.body_len, digest);
    assert_memory_equal(digest, batch->m.digest, sizeof digest);
    for (batch->count = 0; usage_next(frame.body, frame.body_len, &pos, &packed, &record_len) == ERR_OK;) {
        assert_true(batch->count < RECORDS_MAX);
        assert_int_equal(usage_unpack(packed, record_len, &record), ERR_OK);
        assert_int_equal(usage_hour(record.time_us), batch->m.hour);
        batch->confirmed[batch->count] = record.confirmed;
        batch->numbers[batch->count++] = (int)strtol(record.request_id + strlen("request-"), NULL, 10);
    }
    assert_int_equal(pos, frame.body_len);
    assert_int_equal(batch->count, batch->m.records);
    bus_free(data);
    return true;
}

void must_receive(struct batch *batch)
{
    if (!receive(batch, WAIT_MS))
        fail_msg("no batch came");
}

void meter_sends(uint8_t *data, size_t len)
{
    int64_t end_us = clock_monotonic_us() + WAIT_MS * 1000;
    while (bus_send(push, data, len) != ERR_OK) {
        assert_true(clock_monotonic_us() < end_us);
        poll(NULL, 0, 1);
    }
}

void answer(const struct batch *batch, uint64_t sequence, bool expected)
{
    uint8_t *data;
    size_t len;
    struct wire_ack ack = {
        .producer = batch->m.producer, .epoch = batch->m.epoch, .sequence = sequence, .expected = expected};
    assert_int_equal(wire_pack_ack(&ack, bus_alloc, &data, &len), ERR_OK);
    meter_sends(data, len);
}

void take(struct batch *batch)
{
    do {
        must_receive(batch);
        answer(batch, batch->m.sequence, false);
    } while (batch->m.epoch == taken_epoch && batch->m.sequence <= taken_sequence);
    taken_epoch = batch->m.epoch;
    taken_sequence = batch->m.sequence;
}

size_t segment_files(char name[256])
{
    size_t count = 0;
    struct dirent **names;
    int n = scandir(spool_dir, &names, NULL, alphasort);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        size_t len = strlen(names[i]->d_name);
        if (len > 4 && strcmp(names[i]->d_name + len - 4, ".seg") == 0) {
            count++;
            snprintf(name, 256, "%s", names[i]->d_name);
        }
        free(names[i]);
    }
    free(names);
    return count;
}
