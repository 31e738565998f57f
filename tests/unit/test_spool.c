/* SPDX-License-Identifier: MIT */
/* The spool against a meter that the test plays: order, sending again, gaps, bounds, and what a crash leaves. */
#include "cavage/bus.h"
#include "cavage/clock.h"
#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/fs.h"
#include "cavage/log.h"
#include "cavage/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 10000, MESSAGE_BYTES = 8 << 20, RECORDS_MAX = 64 };

static const int64_t hour_us = INT64_C(3600000000);
static char dir[64], spool_dir[80], meter_address[96], ack_address[96];
static struct spool_config config;
static struct bus_pull *pull;
static struct bus_push *push;
static struct spool *spool;

/* ---- A disk that is full or slow when it is told to be: these stand before the C library's ---- */

static atomic_bool disk_full, removal_waits, removing;

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
ssize_t writev(int fd, const struct iovec *iov, int count)
{
    if (atomic_load(&disk_full)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_writev, fd, iov, count);
}

int unlink(const char *path)
{
    int64_t end_us = clock_monotonic_us() + WAIT_MS * INT64_C(100);
    atomic_store(&removing, atomic_load(&removal_waits));
    while (atomic_load(&removal_waits) && clock_monotonic_us() < end_us)
        poll(NULL, 0, 1);
    atomic_store(&removing, false);
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
// NOLINTEND(readability-inconsistent-declaration-parameter-name)

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int setup(void **state)
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
    atomic_store(&disk_full, false);
    atomic_store(&removal_waits, false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    spool_close(spool);
    bus_pull_close(pull);
    bus_push_close(push);
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void meter_up(void)
{
    assert_int_equal(bus_pull_open(meter_address, MESSAGE_BYTES, NULL, &pull), ERR_OK);
    assert_int_equal(bus_push_open(ack_address, NULL, &push), ERR_OK);
}

static void open_spool(void)
{
    assert_int_equal(spool_open(&config, &spool), ERR_OK);
}

static void reopen_spool(void)
{
    spool_close(spool);
    spool = NULL;
    open_spool();
}

static struct spool_ref append_at(int number, int64_t hour)
{
    struct spool_ref ref;
    struct usage_record r = {.time_us = hour * hour_us, .status = 200, .count = 1};
    snprintf(r.request_id, sizeof r.request_id, "request-%d", number);
    snprintf(r.customer, sizeof r.customer, "%s", "ann");
    assert_int_equal(spool_append(spool, &r, &ref), ERR_OK);
    return ref;
}

static struct spool_ref append(int number)
{
    return append_at(number, 490000);
}

static void append_confirmed(int number)
{
    spool_resolve(spool, append(number), true);
}

struct batch {
    struct wire_usage m;
    int numbers[RECORDS_MAX];
    bool confirmed[RECORDS_MAX];
    size_t count;
};

static bool receive(struct batch *batch, int timeout_ms)
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

static void must_receive(struct batch *batch)
{
    if (!receive(batch, WAIT_MS))
        fail_msg("no batch came");
}

static void answer(const struct batch *batch, uint64_t sequence, bool expected)
{
    uint8_t *data;
    size_t len;
    struct wire_ack ack = {
        .producer = batch->m.producer, .epoch = batch->m.epoch, .sequence = sequence, .expected = expected};
    assert_int_equal(wire_pack_ack(&ack, bus_alloc, &data, &len), ERR_OK);
    int64_t end_us = clock_monotonic_us() + WAIT_MS * 1000;
    while (bus_send(push, data, len) != ERR_OK) {
        assert_true(clock_monotonic_us() < end_us);
        poll(NULL, 0, 1);
    }
}

static void take(struct batch *batch)
{
    must_receive(batch);
    answer(batch, batch->m.sequence, false);
}

static size_t segment_files(char name[256])
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

static void test_batch_is_sent_and_removed_when_acknowledged(void **state)
{
    (void)state;
    struct batch batch;
    char name[256];
    struct spool_stats stats;
    meter_up();
    open_spool();
    append_confirmed(1);
    spool_resolve(spool, append(2), false);
    take(&batch);
    assert_int_equal(batch.count, 2);
    assert_int_equal(batch.m.sequence, 1);
    assert_true(batch.m.epoch > 0);
    assert_int_equal(batch.m.hour, 490000);
    assert_string_equal(batch.m.ack_address, ack_address);
    assert_true(batch.confirmed[0]);
    assert_false(batch.confirmed[1]);
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
    assert_int_equal(segment_files(name), 0);
    spool_stats(spool, &stats);
    assert_int_equal(stats.records, 2);
    assert_int_equal(stats.bytes, 0);
    assert_int_equal(stats.unacked_batches, 0);
    assert_int_equal(stats.oldest_unacked_us, 0);
}

static void test_second_user_is_refused(void **state)
{
    (void)state;
    struct spool *other;
    open_spool();
    assert_int_equal(spool_open(&config, &other), ERR_EXISTS);
}

static void test_batch_waits_until_all_records_are_resolved(void **state)
{
    (void)state;
    struct batch batch;
    config.batch_ms = 1;
    meter_up();
    open_spool();
    struct spool_ref first = append(1);
    assert_false(receive(&batch, 50));
    append_confirmed(2); /* in a later batch by now, or in the same: neither may go before the first is resolved */
    assert_false(receive(&batch, 50));
    spool_resolve(spool, first, true);
    take(&batch);
    assert_int_equal(batch.numbers[0], 1);
    assert_true(batch.confirmed[0]);
}

static void test_closed_batch_waits_for_each_of_its_records(void **state)
{
    (void)state;
    struct batch batch;
    config.batch_ms = 60000;
    config.batch_bytes = 100; /* two records */
    meter_up();
    open_spool();
    struct spool_ref one = append(1), two = append(2);
    assert_int_equal(one.segment, two.segment);
    assert_int_equal(append(3).segment, 2);
    spool_resolve(spool, two, true);
    assert_false(receive(&batch, 50));
    spool_resolve(spool, one, true);
    take(&batch);
    assert_int_equal(batch.count, 2);
}

static void test_acknowledgement_frees_nothing_beyond_it(void **state)
{
    (void)state;
    struct batch batch;
    config.batch_bytes = 1;
    meter_up();
    open_spool();
    append_confirmed(1);
    append_confirmed(2);
    must_receive(&batch);
    must_receive(&batch);
    answer(&batch, 1, false);
    must_receive(&batch);
    assert_int_equal(batch.m.sequence, 2);
    answer(&batch, 2, false);
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
}

static void test_unanswered_batch_is_sent_again_the_same(void **state)
{
    (void)state;
    struct batch one, two;
    meter_up();
    open_spool();
    append_confirmed(1);
    must_receive(&one);
    must_receive(&two);
    assert_memory_equal(one.m.digest, two.m.digest, sizeof one.m.digest);
    assert_int_equal(one.m.sequence, two.m.sequence);
    answer(&two, 1, false);
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
}

static void test_new_meter_gets_what_the_old_one_did_not_answer(void **state)
{
    (void)state;
    struct batch batch;
    meter_up();
    open_spool();
    append_confirmed(1);
    must_receive(&batch);
    bus_pull_close(pull);
    bus_push_close(push);
    meter_up();
    take(&batch);
    assert_int_equal(batch.m.sequence, 1);
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
}

static void test_records_of_two_hours_are_never_in_one_batch(void **state)
{
    (void)state;
    struct batch batch;
    config.batch_ms = 60000;
    meter_up();
    open_spool();
    static const int64_t hours[] = {10, 10, 11, 10, 11, 11};
    static const size_t counts[] = {2, 1, 1, 2};
    for (int i = 0; i < 6; i++)
        spool_resolve(spool, append_at(i, hours[i]), true);
    for (uint64_t n = 0; n < 4; n++) {
        if (n == 3) /* the last is open still: a flush closes it */
            assert_int_equal(spool_flush(spool, 0), ERR_TIMEOUT);
        take(&batch);
        assert_int_equal(batch.m.sequence, n + 1);
        assert_int_equal(batch.count, counts[n]);
    }
}

static void test_batch_is_closed_by_size(void **state)
{
    (void)state;
    struct batch batch;
    int next = 0;
    config.batch_ms = 60000;
    config.batch_bytes = 512;
    meter_up();
    open_spool();
    for (int i = 0; i < 40; i++)
        append_confirmed(i);
    assert_int_equal(spool_flush(spool, 0), ERR_TIMEOUT);
    for (uint64_t sequence = 1; next < 40; sequence++) {
        take(&batch);
        assert_int_equal(batch.m.sequence, sequence);
        assert_true(batch.count < 10);
        for (size_t i = 0; i < batch.count; i++)
            assert_int_equal(batch.numbers[i], next++);
    }
}

static void test_meter_that_missed_one_gets_it(void **state)
{
    (void)state;
    struct batch batch;
    config.batch_bytes = 1;
    meter_up();
    open_spool();
    for (int i = 1; i <= 3; i++)
        append_confirmed(i);
    for (uint64_t n = 1; n <= 3; n++) {
        must_receive(&batch);
        assert_int_equal(batch.m.sequence, n);
    }
    /* As if the first two had been lost on their way. */
    answer(&batch, 1, true);
    for (uint64_t n = 1; n <= 3; n++) {
        take(&batch);
        assert_int_equal(batch.m.sequence, n);
        assert_false(batch.m.gap);
    }
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
}

/* Receive until the batch `last` comes; those before it may come again. */
static void must_receive_up_to(struct batch *batch, uint64_t last)
{
    do
        must_receive(batch);
    while (batch->m.sequence < last);
    assert_int_equal(batch->m.sequence, last);
}

static void test_never_more_than_a_window_in_flight(void **state)
{
    (void)state;
    struct batch batch;
    config.batch_bytes = 1;
    meter_up();
    open_spool();
    for (int i = 1; i <= 10; i++)
        append_confirmed(i);
    must_receive_up_to(&batch, 4);
    /* On a slow machine those come again for want of an answer; but none beyond them. */
    while (receive(&batch, 50))
        assert_true(batch.m.sequence <= 4);
    answer(&batch, 2, false);
    must_receive_up_to(&batch, 5);
    must_receive_up_to(&batch, 6);
}

static void test_what_is_left_is_sent_by_the_next_first(void **state)
{
    (void)state;
    struct batch batch;
    config.batch_bytes = 1;
    open_spool();
    append_confirmed(1);
    append(2); /* never resolved: the process ends */
    append_confirmed(3);
    reopen_spool();
    append_confirmed(4);
    meter_up();
    uint64_t epoch = 0;
    for (uint64_t n = 1; n <= 3; n++) {
        take(&batch);
        assert_int_equal(batch.m.epoch, epoch ? epoch : batch.m.epoch);
        epoch = batch.m.epoch;
        assert_int_equal(batch.m.sequence, n);
        assert_int_equal(batch.numbers[0], n);
        assert_int_equal(batch.confirmed[0], n != 2);
    }
    take(&batch);
    assert_true(batch.m.epoch > epoch);
    assert_int_equal(batch.m.sequence, 1);
    assert_int_equal(batch.m.previous_epoch, epoch);
    assert_int_equal(batch.m.previous_sequence, 3);
    assert_int_equal(batch.numbers[0], 4);
}

/* Else the loss of the old one's last batch on its way would look like the loss of usage. */
static void test_new_epoch_waits_until_the_old_one_is_acknowledged(void **state)
{
    (void)state;
    struct batch batch;
    open_spool();
    append_confirmed(1);
    reopen_spool();
    append_confirmed(2);
    meter_up();
    must_receive(&batch);
    uint64_t epoch = batch.m.epoch;
    while (receive(&batch, 200))
        assert_int_equal(batch.m.epoch, epoch); /* again, on a slow machine */
    answer(&batch, 1, false);
    do
        must_receive(&batch);
    while (batch.m.epoch == epoch);
    assert_int_equal(batch.m.previous_epoch, epoch);
    assert_int_equal(batch.numbers[0], 2);
}

static void test_end_of_an_epoch_is_remembered_after_it_is_sent(void **state)
{
    (void)state;
    struct batch batch;
    meter_up();
    open_spool();
    append_confirmed(1);
    take(&batch);
    uint64_t epoch = batch.m.epoch;
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
    reopen_spool(); /* an epoch without records */
    reopen_spool();
    append_confirmed(2);
    take(&batch);
    assert_true(batch.m.epoch > epoch + 1);
    assert_int_equal(batch.m.previous_epoch, epoch);
    assert_int_equal(batch.m.previous_sequence, 1);
}

static void copy_epoch(const char *from, const char *to)
{
    char path[2][128], text[128];
    size_t len;
    snprintf(path[0], sizeof path[0], "%s/%s", spool_dir, from);
    snprintf(path[1], sizeof path[1], "%s/%s", spool_dir, to);
    assert_int_equal(fs_read(path[0], text, sizeof text, &len), ERR_OK);
    assert_int_equal(fs_write_atomic(path[1], text, len, 0600), ERR_OK);
}

/* The meter would take its batches for ones that it has. */
static void test_spool_from_a_backup_uses_no_number_again(void **state)
{
    (void)state;
    struct batch batch;
    char last[128];
    snprintf(last, sizeof last, "%s/last", spool_dir);
    meter_up();
    open_spool();
    copy_epoch("epoch", "backup");
    reopen_spool();
    append_confirmed(1);
    take(&batch);
    uint64_t used = batch.m.epoch;
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
    spool_close(spool);
    spool = NULL;
    copy_epoch("backup", "epoch");
    assert_int_equal(remove(last), 0);
    open_spool();
    append_confirmed(2);
    take(&batch);
    assert_int_equal(batch.m.sequence, 1);
    assert_true(batch.m.epoch > used);
}

static void test_lost_segment_is_declared_a_gap(void **state)
{
    (void)state;
    struct batch batch;
    char name[256], path[512];
    struct spool_stats stats;
    config.batch_bytes = 1;
    open_spool();
    for (int i = 1; i <= 3; i++)
        append_confirmed(i);
    spool_close(spool);
    assert_int_equal(segment_files(name), 3);
    snprintf(path, sizeof path, "%s/%.20s-%020d.seg", spool_dir, name, 2);
    assert_int_equal(unlink(path), 0);
    spool = NULL;
    open_spool();
    meter_up();
    take(&batch);
    assert_int_equal(batch.m.sequence, 1);
    must_receive(&batch);
    assert_int_equal(batch.m.sequence, 3);
    assert_false(batch.m.gap);
    answer(&batch, 2, true);
    take(&batch);
    assert_int_equal(batch.m.sequence, 3);
    assert_true(batch.m.gap);
    spool_stats(spool, &stats);
    assert_int_equal(stats.gaps, 1);
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
}

static void test_torn_record_was_never_one(void **state)
{
    (void)state;
    struct batch batch;
    char name[256], path[512];
    struct stat st;
    config.batch_ms = 60000;
    open_spool();
    append(1);
    append(2);
    spool_close(spool);
    assert_int_equal(segment_files(name), 1);
    snprintf(path, sizeof path, "%s/%s", spool_dir, name);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 1), 0);
    spool = NULL;
    open_spool();
    meter_up();
    take(&batch);
    assert_int_equal(batch.count, 1);
    assert_int_equal(batch.numbers[0], 1);
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
}

static void test_segment_that_was_never_a_batch_is_removed(void **state)
{
    (void)state;
    struct batch batch;
    char name[256], path[512];
    meter_up();
    open_spool();
    append_confirmed(1);
    take(&batch);
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
    spool_close(spool);
    /* Killed between making the file and its first record. */
    snprintf(path, sizeof path, "%s/%020" PRIu64 "-%020d.seg", spool_dir, batch.m.epoch, 2);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    spool = NULL;
    open_spool();
    assert_int_equal(segment_files(name), 0);
    append_confirmed(2);
    take(&batch);
    assert_int_equal(batch.m.previous_sequence, 1);
}

static void test_full_spool_refuses(void **state)
{
    (void)state;
    struct spool_ref ref;
    struct usage_record r = {.time_us = hour_us};
    int err, appended = 0;
    bool room_went_first = false;
    snprintf(r.request_id, sizeof r.request_id, "%s", "request-1");
    memset(r.request, 'x', 1000);
    config.max_bytes = 128 << 10;
    config.batch_bytes = 16 << 10;
    open_spool();
    while ((err = spool_append(spool, &r, &ref)) == ERR_OK) {
        spool_resolve(spool, ref, true);
        room_went_first = !spool_has_room(spool);
        appended++;
    }
    assert_int_equal(err, ERR_FULL);
    assert_true(room_went_first);
    assert_true(appended > 80);
    struct spool_stats stats;
    spool_stats(spool, &stats);
    assert_true(stats.bytes <= config.max_bytes);
    /* It has room again once the meter has taken some. */
    meter_up();
    struct batch batch;
    while (!spool_has_room(spool)) {
        take(&batch);
        poll(NULL, 0, 1);
    }
    assert_int_equal(spool_append(spool, &r, &ref), ERR_OK);
}

static void wait_until(bool (*condition)(void))
{
    int64_t end_us = clock_monotonic_us() + WAIT_MS * INT64_C(1000);
    while (!condition()) {
        if (clock_monotonic_us() > end_us)
            fail_msg("waited in vain");
        poll(NULL, 0, 1);
    }
}

static bool has_room(void)
{
    return spool_has_room(spool);
}

static bool is_removing(void)
{
    return atomic_load(&removing);
}

static void test_failed_write_stops_admission_until_the_disk_takes_bytes(void **state)
{
    (void)state;
    char probe[128];
    struct batch batch;
    struct spool_ref ref;
    struct usage_record r = {.status = 200, .count = 1};
    snprintf(probe, sizeof probe, "%s/probe", spool_dir);
    meter_up();
    open_spool();
    assert_true(spool_has_room(spool));
    assert_int_equal(mkdir(probe, 0700), 0); /* so that trying the disk fails, too */
    atomic_store(&disk_full, true);
    assert_int_equal(spool_append(spool, &r, &ref), ERR_IO);
    assert_false(spool_has_room(spool));
    atomic_store(&disk_full, false);
    assert_false(spool_has_room(spool));
    assert_int_equal(rmdir(probe), 0);
    wait_until(has_room);
    append_confirmed(1);
    take(&batch);
    assert_int_equal(batch.m.sequence, 1);
}

static void test_removing_a_file_holds_up_no_record(void **state)
{
    (void)state;
    struct batch batch;
    meter_up();
    open_spool();
    append_confirmed(1);
    atomic_store(&removal_waits, true);
    take(&batch);
    wait_until(is_removing);
    append_confirmed(2);
    assert_true(is_removing());
    atomic_store(&removal_waits, false);
    take(&batch);
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
}

/* A kill can leave the latest segment without its end; in one before it, records are missing whose answers have left. */
static void test_closed_segment_that_lost_records_is_an_alarm(void **state)
{
    (void)state;
    char first[256], latest[256], path[sizeof spool_dir + sizeof first];
    struct batch batch;
    struct spool_stats stats;
    config.batch_ms = 60000;
    config.batch_bytes = 200; /* three records and their marks */
    open_spool();
    for (int i = 0; i < 3; i++)
        append_confirmed(i);
    assert_int_equal(segment_files(first), 1);
    for (int i = 3; i < 5; i++)
        append_confirmed(i);
    assert_int_equal(segment_files(latest), 2);
    spool_close(spool);
    spool = NULL;
    snprintf(path, sizeof path, "%s/%s", spool_dir, first);
    assert_int_equal(truncate(path, 100), 0);
    snprintf(path, sizeof path, "%s/%s", spool_dir, latest);
    assert_int_equal(truncate(path, 100), 0);
    meter_up();
    open_spool();
    take(&batch);
    assert_true(batch.count < 3);
    take(&batch);
    assert_true(batch.count < 3);
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
    spool_stats(spool, &stats);
    assert_int_equal(stats.gaps, 1);
}

/* Under another name the meter would take the batch a second time. */
static void test_lost_epoch_keeps_the_name(void **state)
{
    (void)state;
    char epoch[128];
    struct batch before, after;
    snprintf(epoch, sizeof epoch, "%s/epoch", spool_dir);
    meter_up();
    open_spool();
    append_confirmed(1);
    must_receive(&before);
    spool_close(spool);
    spool = NULL;
    assert_int_equal(remove(epoch), 0);
    open_spool();
    append_confirmed(2);
    do {
        take(&after);
        assert_true(id_equal(&after.m.producer, &before.m.producer));
    } while (after.m.epoch == before.m.epoch);
    assert_true(after.m.epoch > before.m.epoch);
    assert_int_equal(after.m.previous_epoch, before.m.epoch);
}

static void test_backlog_makes_no_small_segments(void **state)
{
    (void)state;
    char name[256];
    config.batch_ms = 1;
    config.batch_bytes = 1 << 20;
    open_spool();
    int64_t end_us = clock_monotonic_us() + 200000;
    for (int i = 0; clock_monotonic_us() < end_us; i++) {
        append_confirmed(i);
        poll(NULL, 0, 2);
    }
    assert_true(segment_files(name) <= 5);
}

static void test_bad_times_and_sizes_are_refused(void **state)
{
    (void)state;
    struct spool_ref ref;
    struct usage_record r = {.time_us = -1};
    config.batch_bytes = SPOOL_BATCH_MAX + 1;
    assert_int_equal(spool_open(&config, &spool), ERR_RANGE);
    config.batch_bytes = SPOOL_BATCH_MAX;
    open_spool();
    assert_int_equal(spool_append(spool, &r, &ref), ERR_INVALID);
    r.time_us = INT64_MAX;
    assert_int_equal(spool_append(spool, &r, &ref), ERR_INVALID);
}

static void test_strange_answers_do_no_harm(void **state)
{
    (void)state;
    struct batch batch, other;
    meter_up();
    open_spool();
    append_confirmed(1);
    must_receive(&batch);
    other = batch;
    other.m.producer.bytes[0] ^= 1;
    answer(&other, 1, false); /* another producer */
    other = batch;
    other.m.epoch = 9;
    answer(&other, 1, false); /* another epoch */
    answer(&other, 1, true);
    answer(&batch, 7, true); /* what there is not yet */
    uint8_t *data = bus_alloc(20);
    memset(data, 'x', 20);
    while (bus_send(push, data, 20) != ERR_OK)
        poll(NULL, 0, 1);
    must_receive(&batch); /* so it is still there, and comes again */
    answer(&batch, 1, false);
    assert_int_equal(spool_flush(spool, WAIT_MS), ERR_OK);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_batch_is_sent_and_removed_when_acknowledged),
        TEST(test_second_user_is_refused),
        TEST(test_batch_waits_until_all_records_are_resolved),
        TEST(test_closed_batch_waits_for_each_of_its_records),
        TEST(test_acknowledgement_frees_nothing_beyond_it),
        TEST(test_unanswered_batch_is_sent_again_the_same),
        TEST(test_new_meter_gets_what_the_old_one_did_not_answer),
        TEST(test_records_of_two_hours_are_never_in_one_batch),
        TEST(test_batch_is_closed_by_size),
        TEST(test_meter_that_missed_one_gets_it),
        TEST(test_never_more_than_a_window_in_flight),
        TEST(test_what_is_left_is_sent_by_the_next_first),
        TEST(test_new_epoch_waits_until_the_old_one_is_acknowledged),
        TEST(test_end_of_an_epoch_is_remembered_after_it_is_sent),
        TEST(test_spool_from_a_backup_uses_no_number_again),
        TEST(test_lost_segment_is_declared_a_gap),
        TEST(test_torn_record_was_never_one),
        TEST(test_segment_that_was_never_a_batch_is_removed),
        TEST(test_full_spool_refuses),
        TEST(test_failed_write_stops_admission_until_the_disk_takes_bytes),
        TEST(test_removing_a_file_holds_up_no_record),
        TEST(test_closed_segment_that_lost_records_is_an_alarm),
        TEST(test_lost_epoch_keeps_the_name),
        TEST(test_backlog_makes_no_small_segments),
        TEST(test_bad_times_and_sizes_are_refused),
        TEST(test_strange_answers_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
