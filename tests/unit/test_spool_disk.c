/* SPDX-License-Identifier: MIT */
/* The spool on its disk: what a crash, a loss and a backup leave, and a disk that is full or slow. */
#include "spool_fixture.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

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
    int64_t end_us = clock_monotonic_us() + WAIT_MS * INT64_C(1000);
    atomic_store(&removing, atomic_load(&removal_waits));
    while (atomic_load(&removal_waits) && clock_monotonic_us() < end_us)
        poll(NULL, 0, 1);
    atomic_store(&removing, false);
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
// NOLINTEND(readability-inconsistent-declaration-parameter-name)

static int setup(void **state)
{
    atomic_store(&disk_full, false);
    atomic_store(&removal_waits, false);
    return spool_setup(state);
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
    begin();
    append_confirmed(1);
    take(&batch);
    uint64_t epoch = batch.m.epoch;
    flush();
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
    char text[128];
    size_t len;
    assert_int_equal(fs_read(in_spool(from), text, sizeof text, &len), ERR_OK);
    assert_int_equal(fs_write_atomic(in_spool(to), text, len, 0600), ERR_OK);
}

/* The meter would take its batches for ones that it has. */
static void test_spool_from_a_backup_uses_no_number_again(void **state)
{
    (void)state;
    struct batch batch;
    begin();
    copy_epoch("epoch", "backup");
    reopen_spool();
    append_confirmed(1);
    take(&batch);
    uint64_t used = batch.m.epoch;
    flush();
    close_spool();
    copy_epoch("backup", "epoch");
    assert_int_equal(remove(in_spool("last")), 0);
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
    char name[256], second[64];
    config.batch_bytes = 1;
    open_spool();
    for (int i = 1; i <= 3; i++)
        append_confirmed(i);
    close_spool();
    assert_int_equal(segment_files(name), 3);
    snprintf(second, sizeof second, "%.20s-%020d.seg", name, 2);
    assert_int_equal(remove(in_spool(second)), 0);
    open_spool();
    meter_up();
    take(&batch);
    assert_int_equal(batch.m.sequence, 1);
    do
        must_receive(&batch);
    while (batch.m.sequence == 1);
    assert_int_equal(batch.m.sequence, 3);
    assert_false(batch.m.gap);
    answer(&batch, 2, true);
    do
        must_receive(&batch);
    while (!batch.m.gap);
    assert_int_equal(batch.m.sequence, 3);
    answer(&batch, 3, false);
    assert_int_equal(stats().gaps, 1);
    flush();
}

static void test_torn_record_was_never_one(void **state)
{
    (void)state;
    struct batch batch;
    char name[256];
    struct stat st;
    config.batch_ms = 60000;
    open_spool();
    append(1);
    append(2);
    close_spool();
    assert_int_equal(segment_files(name), 1);
    assert_int_equal(stat(in_spool(name), &st), 0);
    assert_int_equal(truncate(in_spool(name), st.st_size - 1), 0);
    open_spool();
    meter_up();
    take(&batch);
    assert_int_equal(batch.count, 1);
    assert_int_equal(batch.numbers[0], 1);
    flush();
}

static void test_segment_that_was_never_a_batch_is_removed(void **state)
{
    (void)state;
    struct batch batch;
    char name[256];
    begin();
    append_confirmed(1);
    take(&batch);
    flush();
    close_spool();
    /* Killed between making the file and its first record. */
    snprintf(name, sizeof name, "%020" PRIu64 "-%020d.seg", batch.m.epoch, 2);
    close(open(in_spool(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    open_spool();
    assert_int_equal(segment_files(name), 0);
    append_confirmed(2);
    take(&batch);
    assert_int_equal(batch.m.previous_sequence, 1);
}

/* A kill can leave the latest segment without its end; in one before it, records are missing whose answers have left. */
static void test_closed_segment_that_lost_records_is_an_alarm(void **state)
{
    (void)state;
    char first[256], latest[256];
    struct batch batch;
    config.batch_ms = 60000;
    config.batch_bytes = 200; /* three records and their marks */
    open_spool();
    for (int i = 0; i < 3; i++)
        append_confirmed(i);
    assert_int_equal(segment_files(first), 1);
    for (int i = 3; i < 5; i++)
        append_confirmed(i);
    assert_int_equal(segment_files(latest), 2);
    close_spool();
    assert_int_equal(truncate(in_spool(first), 100), 0);
    assert_int_equal(truncate(in_spool(latest), 100), 0);
    begin();
    take(&batch);
    assert_true(batch.count < 3);
    take(&batch);
    assert_true(batch.count < 3);
    flush();
    assert_int_equal(stats().gaps, 1);
}

/* Under another name the meter would take the batch a second time. */
static void test_lost_epoch_keeps_the_name(void **state)
{
    (void)state;
    struct batch before, after;
    begin();
    append_confirmed(1);
    must_receive(&before);
    close_spool();
    assert_int_equal(remove(in_spool("epoch")), 0);
    open_spool();
    append_confirmed(2);
    do {
        take(&after);
        assert_true(id_equal(&after.m.producer, &before.m.producer));
    } while (after.m.epoch == before.m.epoch);
    assert_true(after.m.epoch > before.m.epoch);
    assert_int_equal(after.m.previous_epoch, before.m.epoch);
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
    assert_true(stats().bytes <= config.max_bytes);
    /* It has room again once the meter has taken some. */
    meter_up();
    struct batch batch;
    while (!spool_has_room(spool)) {
        take(&batch);
        poll(NULL, 0, 1);
    }
    assert_int_equal(spool_append(spool, &r, &ref), ERR_OK);
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
    struct batch batch;
    struct spool_ref ref;
    struct usage_record r = {.status = 200, .count = 1};
    begin();
    assert_true(spool_has_room(spool));
    assert_int_equal(mkdir(in_spool("probe"), 0700), 0); /* so that trying the disk fails, too */
    atomic_store(&disk_full, true);
    assert_int_equal(spool_append(spool, &r, &ref), ERR_IO);
    assert_false(spool_has_room(spool));
    atomic_store(&disk_full, false);
    assert_false(spool_has_room(spool));
    assert_int_equal(rmdir(in_spool("probe")), 0);
    wait_until(has_room);
    append_confirmed(1);
    take(&batch);
    assert_int_equal(batch.m.sequence, 1);
}

static void test_removing_a_file_holds_up_no_record(void **state)
{
    (void)state;
    struct batch batch;
    begin();
    append_confirmed(1);
    atomic_store(&removal_waits, true);
    take(&batch);
    wait_until(is_removing);
    append_confirmed(2);
    assert_true(is_removing());
    atomic_store(&removal_waits, false);
    take(&batch);
    flush();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, spool_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_left_is_sent_by_the_next_first),
        TEST(test_new_epoch_waits_until_the_old_one_is_acknowledged),
        TEST(test_end_of_an_epoch_is_remembered_after_it_is_sent),
        TEST(test_spool_from_a_backup_uses_no_number_again),
        TEST(test_lost_segment_is_declared_a_gap),
        TEST(test_torn_record_was_never_one),
        TEST(test_segment_that_was_never_a_batch_is_removed),
        TEST(test_closed_segment_that_lost_records_is_an_alarm),
        TEST(test_lost_epoch_keeps_the_name),
        TEST(test_full_spool_refuses),
        TEST(test_backlog_makes_no_small_segments),
        TEST(test_failed_write_stops_admission_until_the_disk_takes_bytes),
        TEST(test_removing_a_file_holds_up_no_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
