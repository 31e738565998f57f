/* SPDX-License-Identifier: MIT */
/* A spool and a meter that are killed at random, again and again: at the end every record that was appended is in the ledger exactly once,
 * and every one that was resolved before a kill is confirmed. All sockets live in children: none may be open before a fork. */
#include "folder.h"
#include "ingest.h"
#include "meter.h"

#include "cavage/clock.h"
#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/log.h"
#include "cavage/spool.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 12, RECORDS_MAX = 1 << 20, HOUR = 490000, FLUSH_MS = 120000, MESSAGE_BYTES = 8 << 20 };

/* What a child tells of a record, after it is true. */
enum { TOLD_APPENDED = 1, TOLD_CONFIRMED = 2 };
struct note {
    uint32_t record;
    uint32_t what;
};

static char dir[64], spool_dir[80], ledger_dir[80], meter_address[96], ack_address[96];

static int setup(void **state)
{
    (void)state;
    log_set_level((enum log_level) - 1);
    snprintf(dir, sizeof dir, "%s", "/tmp/cavage-kill-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(spool_dir, sizeof spool_dir, "%s/spool", dir);
    snprintf(ledger_dir, sizeof ledger_dir, "%s/ledger", dir);
    snprintf(meter_address, sizeof meter_address, "ipc://%s/meter", dir);
    snprintf(ack_address, sizeof ack_address, "ipc://%s/ack", dir);
    return digest_init();
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove(dir);
}

static void must(int err)
{
    if (err != ERR_OK)
        _exit(100 - err);
}

static pid_t start(void (*work)(int out, uint32_t first), int out, uint32_t first)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        work(out, first);
        _exit(0);
    }
    return pid;
}

static void meter_work(int out, uint32_t first)
{
    struct ingest_config config = {0};
    struct ingest *ingest;
    (void)out;
    (void)first;
    must(metrics_new(meter_metrics, METER_METRIC_COUNT, &config.metrics));
    must(usage_sequence_new(&config.sequence));
    must(ledger_open(ledger_dir, config.sequence, &config.ledger));
    must(bus_pull_open(meter_address, MESSAGE_BYTES, NULL, &config.pull));
    must(acks_new(NULL, &config.acks));
    must(ingest_new(&config, &ingest));
    for (;;) {
        struct pollfd fd = {.fd = bus_pull_fd(config.pull), .events = POLLIN};
        size_t taken;
        poll(&fd, 1, 2);
        must(ingest_group(ingest, &taken));
        acks_send(config.acks, clock_monotonic_us());
    }
}

static struct spool *open_spool(void)
{
    struct spool *spool;
    struct spool_config config = {.dir = spool_dir,
                                  .meter_address = meter_address,
                                  .ack_address = ack_address,
                                  .max_bytes = UINT64_C(1) << 30,
                                  .batch_bytes = 2048,
                                  .batch_ms = 2};
    must(spool_open(&config, &spool));
    return spool;
}

static void tell(int out, uint32_t record, uint32_t what)
{
    struct note note = {record, what};
    if (write(out, &note, sizeof note) != sizeof note)
        _exit(4);
}

static void spool_work(int out, uint32_t first)
{
    struct spool *spool = open_spool();
    struct spool_ref refs[8];
    for (uint32_t n = first;; n += 8) {
        for (uint32_t i = 0; i < 8; i++) {
            /* The hour changes now and then. */
            struct usage_record r = {.time_us = (HOUR + (n / 800) % 3) * INT64_C(3600000000) + 1, .count = 1};
            snprintf(r.request_id, sizeof r.request_id, "%u", n + i);
            must(spool_append(spool, &r, &refs[i]));
            tell(out, n + i, TOLD_APPENDED);
        }
        for (uint32_t i = 8; i-- > 0;) {
            spool_resolve(spool, refs[i], i != 3);
            if (i != 3)
                tell(out, n + i, TOLD_CONFIRMED);
        }
    }
}

static void flush_work(int out, uint32_t first)
{
    (void)out;
    (void)first;
    must(spool_flush(open_spool(), FLUSH_MS));
}

static void end(pid_t pid)
{
    int status;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

struct found {
    uint8_t *told;  /* by record: the notes */
    uint8_t *times; /* in the ledger */
    uint8_t *confirmed;
};

static int find(void *arg, const struct wire_usage *m, const uint8_t *body, size_t body_len)
{
    struct found *found = arg;
    struct usage_record r;
    const uint8_t *packed;
    size_t len, pos = 0;
    (void)m;
    while (usage_next(body, body_len, &pos, &packed, &len) == ERR_OK) {
        assert_int_equal(usage_unpack(packed, len, &r), ERR_OK);
        unsigned long n = strtoul(r.request_id, NULL, 10);
        assert_true(n < RECORDS_MAX);
        found->times[n]++;
        found->confirmed[n] = r.confirmed;
    }
    return ERR_OK;
}

/* Take the notes that are there, at least `count` of them; *next is behind the highest record. */
static void read_notes(int in, long count, struct found *found, uint32_t *next)
{
    struct note note;
    while (count-- > 0 && read(in, &note, sizeof note) == sizeof note) {
        assert_true(note.record < RECORDS_MAX - 16);
        found->told[note.record] |= (uint8_t)note.what;
        if (note.record >= *next)
            *next = note.record + 1;
    }
}

static void check(const struct found *found, uint32_t records, uint32_t unconfirmed_max)
{
    uint32_t untold = 0;
    for (uint32_t n = 0; n < records; n++) {
        if ((found->told[n] & TOLD_APPENDED) == 0)
            continue;
        if (found->times[n] != 1)
            fail_msg("record %u is in the ledger %u times", n, found->times[n]);
        if ((found->told[n] & TOLD_CONFIRMED) != 0)
            assert_true(found->confirmed[n]);
        else if (n % 8 != 3 && !found->confirmed[n])
            untold++;
        if (n % 8 == 3)
            assert_false(found->confirmed[n]);
    }
    /* No more are unconfirmed than were in flight when they were killed. */
    assert_true(untold <= unconfirmed_max);
}

static void test_records_survive_kills_of_both_exactly_once(void **state)
{
    (void)state;
    struct found found = {
        .told = calloc(1, RECORDS_MAX), .times = calloc(1, RECORDS_MAX), .confirmed = calloc(1, RECORDS_MAX)};
    unsigned seed = 11;
    uint32_t next = 0;
    int pipes[2], status;
    pid_t meter = start(meter_work, -1, 0);

    for (int round = 0; round < ROUNDS; round++) {
        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        /* Numbers that a killed child used without telling are not used again. */
        next = (next + 23) / 8 * 8;
        pid_t spool = start(spool_work, pipes[1], next);
        close(pipes[1]);
        for (int kills = rand_r(&seed) % 3; kills >= 0; kills--) {
            read_notes(pipes[0], 200 + rand_r(&seed) % 3000, &found, &next);
            end(meter);
            meter = start(meter_work, -1, 0);
        }
        end(spool);
        read_notes(pipes[0], INT32_MAX, &found, &next);
        close(pipes[0]);
    }
    pid_t flush = start(flush_work, -1, 0);
    assert_int_equal(waitpid(flush, &status, 0), flush);
    assert_int_equal(status, 0);
    end(meter);
    for (int hour = 0; hour < 3; hour++) {
        int err = ledger_read_hour(ledger_dir, HOUR + hour, find, &found);
        assert_true(err == ERR_OK || err == ERR_NOTFOUND);
    }
    assert_true(next > ROUNDS * 100);
    check(&found, next, 8 * ROUNDS);
    free(found.told);
    free(found.times);
    free(found.confirmed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_records_survive_kills_of_both_exactly_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
