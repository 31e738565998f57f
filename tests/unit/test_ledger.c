/* SPDX-License-Identifier: MIT */
/* The ledger: what was synced is there after any crash, exactly once, and damage is told from a torn tail. */
#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/ledger.h"
#include "cavage/log.h"

#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { HOUR = 490800, BODY_BYTES = 500 };

static char dir[64];

/* ---- A disk that fails when it is told to: these stand before the C library's ---- */

static bool sync_fails, cut_fails, rename_fails, sync_is_idle;

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
int fdatasync(int fd)
{
    if (sync_fails) {
        errno = EIO;
        return -1;
    }
    return sync_is_idle ? 0 : (int)syscall(SYS_fdatasync, fd);
}

int ftruncate(int fd, off_t len)
{
    if (cut_fails) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_ftruncate, fd, len);
}

int rename(const char *from, const char *to)
{
    if (rename_fails) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
// NOLINTEND(readability-inconsistent-declaration-parameter-name)

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    sync_fails = cut_fails = rename_fails = sync_is_idle = false;
    snprintf(dir, sizeof dir, "%s", "/tmp/cavage-ledger-XXXXXX");
    return mkdtemp(dir) ? digest_init() : -1;
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove(dir);
}

static struct wire_usage batch(uint64_t sequence, int64_t hour, uint8_t body[BODY_BYTES])
{
    struct wire_usage m = {.epoch = 1, .sequence = sequence, .hour = hour, .records = 1, .ack_address = "ipc:///a"};
    m.producer.bytes[0] = 7;
    memset(body, (int)(sequence * 31), BODY_BYTES);
    digest_of(body, BODY_BYTES, m.digest);
    return m;
}

struct books {
    struct usage_sequence *sequence;
    struct ledger *ledger;
};

static void books_open(struct books *books)
{
    assert_int_equal(usage_sequence_new(&books->sequence), ERR_OK);
    assert_int_equal(ledger_open(dir, books->sequence, &books->ledger), ERR_OK);
}

static void books_close(struct books *books)
{
    ledger_close(books->ledger);
    usage_sequence_free(books->sequence);
}

static int put(struct books *books, uint64_t sequence, int64_t hour)
{
    uint8_t body[BODY_BYTES];
    struct wire_usage m = batch(sequence, hour, body);
    int err = ledger_append(books->ledger, &m, body, sizeof body);
    return err ? err : usage_sequence_taken(books->sequence, &m);
}

static uint64_t watermark(const struct books *books)
{
    struct id producer = {{7}};
    return usage_sequence_get(books->sequence, &producer, 1);
}

/* Leave as a crash would: without a checkpoint, and with the lock given up. */
static void crash_after(void (*work)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        work();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

struct seen {
    uint64_t sequences[4096];
    size_t count;
};

static int note(void *arg, const struct wire_usage *m, const uint8_t *body, size_t body_len)
{
    struct seen *seen = arg;
    uint8_t expected[BODY_BYTES];
    struct wire_usage same = batch(m->sequence, m->hour, expected);
    assert_int_equal(body_len, BODY_BYTES);
    assert_memory_equal(body, expected, BODY_BYTES);
    assert_memory_equal(m->digest, same.digest, sizeof m->digest);
    assert_true(seen->count < sizeof seen->sequences / sizeof seen->sequences[0]);
    seen->sequences[seen->count++] = m->sequence;
    return ERR_OK;
}

static void log_path(int64_t hour, char out[128])
{
    time_t t = (time_t)hour * 3600;
    struct tm tm;
    char name[32];
    gmtime_r(&t, &tm);
    assert_true(strftime(name, sizeof name, "%Y/%m/%d/%H.log", &tm) > 0);
    snprintf(out, 128, "%s/%s", dir, name);
}

static void test_batches_are_read_back(void **state)
{
    (void)state;
    struct books books;
    struct seen seen = {0};
    uint64_t bytes, again;
    books_open(&books);
    for (uint64_t n = 1; n <= 5; n++)
        assert_int_equal(put(&books, n, HOUR), ERR_OK);
    assert_int_equal(ledger_sync(books.ledger), ERR_OK);
    assert_int_equal(ledger_read_hour(dir, HOUR, note, &seen), ERR_OK);
    assert_int_equal(seen.count, 5);
    assert_int_equal(seen.sequences[4], 5);
    assert_int_equal(ledger_size(dir, HOUR, true, &bytes), ERR_OK);
    assert_int_equal(put(&books, 6, HOUR), ERR_OK);
    assert_int_equal(ledger_size(dir, HOUR, false, &again), ERR_OK);
    assert_true(again > bytes);
    memset(&seen, 0, sizeof seen);
    assert_int_equal(ledger_read_part(dir, HOUR, bytes + 1, note, &seen, &again), ERR_OK);
    assert_int_equal(again, bytes);
    assert_int_equal(seen.count, 5);
    assert_int_equal(ledger_read_hour(dir, HOUR + 1, note, &seen), ERR_NOTFOUND);
    assert_int_equal(ledger_size(dir, HOUR + 1, false, &bytes), ERR_NOTFOUND);
    books_close(&books);
}

static void test_second_writer_is_refused(void **state)
{
    (void)state;
    struct books books;
    struct ledger *other;
    books_open(&books);
    assert_int_equal(ledger_open(dir, books.sequence, &other), ERR_EXISTS);
    books_close(&books);
}

static void test_hours_are_listed_in_order(void **state)
{
    (void)state;
    struct books books;
    int64_t *hours;
    size_t count;
    books_open(&books);
    /* More than are open at a time, in no order, over the end of a day, a month and a year. */
    static const int offsets[] = {40, 3, 9000, 0, 24, 700, 2, 1, 5, 12, 13, 3, 0};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        assert_int_equal(put(&books, i + 1, HOUR + offsets[i]), ERR_OK);
    books_close(&books);
    assert_int_equal(ledger_hours(dir, HOUR + 1, HOUR + 9000, &hours, &count), ERR_OK);
    assert_int_equal(count, 9);
    for (size_t i = 1; i < count; i++)
        assert_true(hours[i - 1] < hours[i]);
    assert_int_equal(hours[0], HOUR + 1);
    assert_int_equal(hours[8], HOUR + 700);
    free(hours);
    assert_int_equal(ledger_hours("/nowhere/at/all", 0, INT64_MAX, &hours, &count), ERR_OK);
    assert_int_equal(count, 0);
    free(hours);
    books_open(&books);
    assert_int_equal(watermark(&books), 13);
    books_close(&books);
}

static void work_without_end(void)
{
    struct books books;
    books_open(&books);
    for (uint64_t n = 1; n <= 20; n++)
        assert_int_equal(put(&books, n, HOUR + (int64_t)(n % 12)), ERR_OK);
    assert_int_equal(ledger_sync(books.ledger), ERR_OK);
}

static void test_account_is_restored_after_a_crash(void **state)
{
    (void)state;
    struct books books;
    crash_after(work_without_end);
    books_open(&books);
    assert_int_equal(watermark(&books), 20);
    assert_int_equal(ledger_damaged(books.ledger), 0);
    books_close(&books);
}

static void remove_checkpoint(const char *contents)
{
    char path[128];
    snprintf(path, sizeof path, "%s/checkpoint", dir);
    assert_int_equal(unlink(path), 0);
    if (!contents)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, contents, strlen(contents)), strlen(contents));
    close(fd);
}

static void test_lost_checkpoint_is_made_from_all_logs(void **state)
{
    (void)state;
    static const char *const contents[] = {NULL, "", "x", "cavage ledger checkpoint 1\nend 00000000\n",
                                           "cavage ledger checkpoint 1\n"};
    struct books books;
    crash_after(work_without_end);
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        remove_checkpoint(contents[i]);
        books_open(&books);
        assert_int_equal(watermark(&books), 20);
        assert_int_equal(ledger_damaged(books.ledger), contents[i] != NULL);
        books_close(&books);
    }
}

static void work_in_one_hour(void)
{
    struct books books;
    books_open(&books);
    for (uint64_t n = 1; n <= 3; n++) {
        assert_int_equal(put(&books, n, HOUR), ERR_OK);
        assert_int_equal(ledger_sync(books.ledger), ERR_OK);
    }
}

static void test_torn_tail_is_cut_and_written_again(void **state)
{
    (void)state;
    char path[128];
    struct stat st;
    struct books books;
    struct seen seen = {0};
    crash_after(work_in_one_hour);
    log_path(HOUR, path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 1), 0);
    books_open(&books);
    assert_int_equal(watermark(&books), 2);
    assert_int_equal(ledger_damaged(books.ledger), 0);
    assert_int_equal(put(&books, 3, HOUR), ERR_OK);
    books_close(&books);
    assert_int_equal(ledger_read_hour(dir, HOUR, note, &seen), ERR_OK);
    assert_int_equal(seen.count, 3);
}

static void test_damage_is_an_alarm_and_is_not_cut(void **state)
{
    (void)state;
    char path[128];
    struct stat before, after;
    struct books books;
    struct seen seen = {0};
    crash_after(work_in_one_hour);
    log_path(HOUR, path);
    assert_int_equal(stat(path, &before), 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "damage", 6, before.st_size / 2), 6);
    close(fd);
    log_set_level((enum log_level) - 1);
    books_open(&books);
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(ledger_damaged(books.ledger), 1);
    assert_int_equal(watermark(&books), 3);
    books_close(&books);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_int_equal(ledger_read_hour(dir, HOUR, note, &seen), ERR_CORRUPT);
    assert_int_equal(seen.count, 1);
}

static void test_log_that_shrank_or_vanished_is_an_alarm(void **state)
{
    (void)state;
    char path[128];
    struct books books;
    crash_after(work_in_one_hour);
    books_open(&books);
    assert_int_equal(put(&books, 4, HOUR), ERR_OK);
    books_close(&books); /* this checkpoint lists the whole log */
    log_path(HOUR, path);
    log_set_level((enum log_level) - 1);
    assert_int_equal(truncate(path, 10), 0);
    books_open(&books);
    assert_int_equal(ledger_damaged(books.ledger), 1);
    assert_int_equal(watermark(&books), 4);
    assert_int_equal(put(&books, 5, HOUR), ERR_OK);
    books_close(&books);
    assert_int_equal(unlink(path), 0);
    books_open(&books);
    assert_int_equal(ledger_damaged(books.ledger), 1);
    assert_int_equal(watermark(&books), 5);
    books_close(&books);
    log_set_level(LOG_LEVEL_ERROR);
}

static off_t log_size(void)
{
    char path[128];
    struct stat st;
    log_path(HOUR, path);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* Its pages may look written from then on, so a start could take for durable what is not. */
static void test_what_could_not_be_synced_is_cut_off(void **state)
{
    (void)state;
    struct books books;
    books_open(&books);
    assert_int_equal(put(&books, 1, HOUR), ERR_OK);
    assert_int_equal(ledger_sync(books.ledger), ERR_OK);
    off_t durable = log_size();
    assert_int_equal(put(&books, 2, HOUR), ERR_OK);
    sync_fails = true;
    assert_int_equal(ledger_sync(books.ledger), ERR_IO);
    sync_fails = false;
    assert_int_equal(ledger_sync(books.ledger), ERR_IO);
    assert_int_equal(put(&books, 3, HOUR), ERR_IO);
    assert_int_equal(log_size(), durable);
    books_close(&books);
    books_open(&books);
    assert_int_equal(watermark(&books), 1);
    books_close(&books);
}

/* Appends batch 2 to a disk that has room for a part of it. */
static int put_on_full_disk(struct books *books)
{
    struct rlimit all, some;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
    some = all;
    some.rlim_cur = (rlim_t)log_size() + 100;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &some), 0);
    int err = put(books, 2, HOUR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
    return err;
}

static void test_full_disk_leaves_no_part_of_a_batch(void **state)
{
    (void)state;
    struct books books;
    struct seen seen = {0};
    books_open(&books);
    assert_int_equal(put(&books, 1, HOUR), ERR_OK);
    off_t size = log_size();
    assert_int_equal(put_on_full_disk(&books), ERR_IO);
    assert_int_equal(log_size(), size);
    assert_int_equal(put(&books, 2, HOUR), ERR_OK);
    books_close(&books);
    assert_int_equal(ledger_read_hour(dir, HOUR, note, &seen), ERR_OK);
    assert_int_equal(seen.count, 2);
}

static void test_part_that_cannot_be_cut_off_ends_the_ledger(void **state)
{
    (void)state;
    struct books books;
    struct seen seen = {0};
    books_open(&books);
    assert_int_equal(put(&books, 1, HOUR), ERR_OK);
    assert_int_equal(ledger_sync(books.ledger), ERR_OK);
    cut_fails = true;
    assert_int_equal(put_on_full_disk(&books), ERR_IO);
    cut_fails = false;
    assert_int_equal(put(&books, 2, HOUR), ERR_IO);
    assert_int_equal(ledger_sync(books.ledger), ERR_IO);
    books_close(&books);
    books_open(&books);
    assert_int_equal(ledger_damaged(books.ledger), 0);
    assert_int_equal(put(&books, 2, HOUR), ERR_OK);
    books_close(&books);
    assert_int_equal(ledger_read_hour(dir, HOUR, note, &seen), ERR_OK);
    assert_int_equal(seen.count, 2);
}

/* A checkpoint is due after 256 MiB. */
static void test_checkpoint_that_fails_does_not_undo_a_sync(void **state)
{
    (void)state;
    enum { BODY = 4 << 20 };
    struct books books;
    uint8_t *body = calloc(1, BODY);
    struct wire_usage m = {.epoch = 1, .hour = HOUR, .records = 1, .ack_address = "ipc:///a"};
    m.producer.bytes[0] = 7;
    sync_is_idle = true;
    books_open(&books);
    for (m.sequence = 1; m.sequence <= 65; m.sequence++) {
        assert_int_equal(ledger_append(books.ledger, &m, body, BODY), ERR_OK);
        assert_int_equal(usage_sequence_taken(books.sequence, &m), ERR_OK);
    }
    log_set_level((enum log_level) - 1);
    rename_fails = true;
    assert_int_equal(ledger_sync(books.ledger), ERR_OK);
    rename_fails = false;
    books_close(&books);
    free(body);
}

/* Append, sync now and then, and tell what is synced, until killed. */
static void append_until_killed(int out, unsigned seed)
{
    struct books books;
    books_open(&books);
    uint64_t n = watermark(&books);
    for (int group = 0; group < 32; group++) { /* `struct seen` holds what all children can do */
        for (int i = rand_r(&seed) % 5; i >= 0; i--)
            if (put(&books, ++n, HOUR + rand_r(&seed) % 12) != ERR_OK)
                _exit(1);
        if (ledger_sync(books.ledger) != ERR_OK || write(out, &n, sizeof n) != sizeof n)
            _exit(1);
    }
    for (;;)
        pause();
}

static void test_synced_batches_survive_kills_exactly_once(void **state)
{
    (void)state;
    uint64_t acknowledged = 0;
    unsigned seed = 42;
    for (int round = 0; round < 25; round++) {
        int pipes[2], status;
        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            append_until_killed(pipes[1], seed + (unsigned)round);
        close(pipes[1]);
        for (int i = rand_r(&seed) % 8; i >= 0; i--)
            assert_int_equal(read(pipes[0], &acknowledged, sizeof acknowledged), sizeof acknowledged);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        while (read(pipes[0], &acknowledged, sizeof acknowledged) == sizeof acknowledged)
            continue;
        close(pipes[0]);
    }

    struct books books;
    books_open(&books);
    uint64_t last = watermark(&books);
    assert_int_equal(ledger_damaged(books.ledger), 0);
    books_close(&books);
    assert_true(last >= acknowledged);
    struct seen *seen = calloc(1, sizeof *seen);
    uint8_t *times = calloc(1, 4096);
    for (int hour = 0; hour < 12; hour++) {
        int err = ledger_read_hour(dir, HOUR + hour, note, seen);
        assert_true(err == ERR_OK || err == ERR_NOTFOUND);
    }
    assert_int_equal(seen->count, last);
    for (size_t i = 0; i < seen->count; i++)
        times[seen->sequences[i]]++;
    for (uint64_t n = 1; n <= last; n++)
        assert_int_equal(times[n], 1);
    free(times);
    free(seen);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_batches_are_read_back),
        TEST(test_second_writer_is_refused),
        TEST(test_hours_are_listed_in_order),
        TEST(test_account_is_restored_after_a_crash),
        TEST(test_lost_checkpoint_is_made_from_all_logs),
        TEST(test_torn_tail_is_cut_and_written_again),
        TEST(test_damage_is_an_alarm_and_is_not_cut),
        TEST(test_log_that_shrank_or_vanished_is_an_alarm),
        TEST(test_what_could_not_be_synced_is_cut_off),
        TEST(test_full_disk_leaves_no_part_of_a_batch),
        TEST(test_part_that_cannot_be_cut_off_ends_the_ledger),
        TEST(test_checkpoint_that_fails_does_not_undo_a_sync),
        TEST(test_synced_batches_survive_kills_exactly_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
