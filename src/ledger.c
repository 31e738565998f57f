/* SPDX-License-Identifier: MIT */
/* The ledger's writer: appends batches to the logs of their hours, syncs them in groups, and keeps the checkpoint that makes a restart exact. */
#include "cavage/ledger.h"

#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/framelog.h"
#include "cavage/fs.h"
#include "cavage/log.h"
#include "cavage/period.h"

#include "ledger_checkpoint.h"
#include "ledger_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOGS_MAX = 8 };

/* Bounds what a start has to read: about half a second's worth. */
static const uint64_t checkpoint_bytes = UINT64_C(256) << 20;

/* A log that is open for appending. */
struct log {
    int64_t hour;
    int fd;           /* -1: a free slot */
    uint64_t size;    /* appended to here */
    uint64_t durable; /* synced to here */
    bool listed;      /* in the durable checkpoint */
    uint64_t used;    /* turn of the last append: the least used one makes room */
};

struct ledger {
    char dir[FS_PATH_SIZE];
    char checkpoint[FS_PATH_SIZE];
    int lock;
    struct usage_sequence *sequence;
    struct log logs[LOGS_MAX];
    uint64_t turn;
    uint64_t since_checkpoint; /* bytes */
    uint64_t damaged;
    bool broken; /* a sync failed: nothing may be claimed any more */
};

uint64_t ledger_damaged(const struct ledger *ledger)
{
    return ledger->damaged;
}

/* ---- Logs ---- */

static int log_sync(struct log *log)
{
    if (log->size == log->durable)
        return ERR_OK;
    if (fdatasync(log->fd) == 0) {
        log->durable = log->size;
        return ERR_OK;
    }
    /* The kernel may now take its pages for written, so the next start would find whole what is not on disk. Nothing of it was
     * acknowledged: it comes again. */
    int saved = errno;
    if (ftruncate(log->fd, (off_t)log->durable) != 0)
        log_error("ledger_cut_failed", "batches that are not on disk could not be cut off", LOG_I("errno", errno));
    errno = saved;
    return ERR_IO;
}

static int sync_logs(struct ledger *ledger)
{
    for (size_t i = 0; i < LOGS_MAX && !ledger->broken; i++)
        if (ledger->logs[i].fd >= 0 && log_sync(&ledger->logs[i]) != ERR_OK)
            ledger->broken = true;
    return ledger->broken ? ERR_IO : ERR_OK;
}

static void log_close(struct log *log)
{
    if (log->fd >= 0)
        close(log->fd);
    *log = (struct log){.fd = -1};
}

static int log_open_hour(struct ledger *ledger, int64_t hour, struct log *log)
{
    char path[FS_PATH_SIZE];
    struct stat st;
    int err = ledger_log_path(ledger->dir, hour, path);
    if (!err)
        err = hour_mkdirs(ledger->dir, path, 0700);
    if (err)
        return err;
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_from_errno(errno);
    /* Also when it was there: a process may have ended between making it and this. */
    err = fs_sync_parent(path);
    if (!err && fstat(fd, &st) != 0)
        err = ERR_IO;
    if (err) {
        close(fd);
        return err;
    }
    *log = (struct log){.hour = hour, .fd = fd, .size = (uint64_t)st.st_size, .durable = (uint64_t)st.st_size};
    return ERR_OK;
}

/* The log of an hour, opened when it is not; the one that was not used for longest makes room for it. */
static int log_of(struct ledger *ledger, int64_t hour, struct log **out)
{
    struct log *oldest = &ledger->logs[0];
    for (size_t i = 0; i < LOGS_MAX; i++) {
        struct log *log = &ledger->logs[i];
        if (log->fd >= 0 && log->hour == hour) {
            *out = log;
            return ERR_OK;
        }
        if (log->fd < 0 || (oldest->fd >= 0 && log->used < oldest->used))
            oldest = log;
    }
    int err = sync_logs(ledger);
    if (err)
        return err;
    log_close(oldest);
    *out = oldest;
    return log_open_hour(ledger, hour, oldest);
}

/* ---- Appending ---- */

/* Part of a frame that could not be cut off again lies where the next one would be thought to begin: the log has to be recovered. */
static bool has_rest(const struct log *log)
{
    struct stat st;
    return fstat(log->fd, &st) != 0 || (uint64_t)st.st_size != log->size;
}

int ledger_append(struct ledger *ledger, const struct wire_usage *m, const uint8_t *body, size_t body_len)
{
    struct log *log;
    uint8_t *header = NULL, *room;
    size_t header_len;

    if (ledger->broken)
        return ERR_IO;
    int err = log_of(ledger, m->hour, &log);
    if (err)
        return err;
    if (!log->listed) {
        err = ledger_checkpoint(ledger);
        if (err)
            return err;
    }
    err = wire_pack_usage(m, 0, malloc, &header, &header_len, &room);
    if (err)
        return err;
    err = frame_write(header, FRAME_USAGE, header_len - FRAME_PREAMBLE_BYTES, body_len);
    if (!err) {
        struct framelog_part parts[] = {{header, header_len}, {body, body_len}};
        uint64_t before = log->size;
        err = framelog_append(log->fd, &log->size, LEDGER_BATCH, log->durable, parts, 2);
        ledger->since_checkpoint += log->size - before;
        log->used = ++ledger->turn;
        if (err && has_rest(log))
            ledger->broken = true;
    }
    free(header);
    return err;
}

int ledger_sync(struct ledger *ledger)
{
    int err = sync_logs(ledger);
    /* The batches are durable whatever becomes of the checkpoint: without it the next start only reads more. */
    if (!err && ledger->since_checkpoint >= checkpoint_bytes && ledger_checkpoint(ledger) != ERR_OK)
        log_error("ledger_checkpoint_failed", "the ledger's checkpoint could not be written",
                  LOG_S("dir", ledger->dir));
    return err;
}

int ledger_checkpoint(struct ledger *ledger)
{
    struct checkpoint_log logs[LOGS_MAX];
    size_t count = 0;

    int err = sync_logs(ledger);
    if (err)
        return err;
    ledger->since_checkpoint = 0; /* so that one that fails is not tried again at every sync */
    for (size_t i = 0; i < LOGS_MAX; i++)
        if (ledger->logs[i].fd >= 0)
            logs[count++] = (struct checkpoint_log){.hour = ledger->logs[i].hour, .size = ledger->logs[i].size};
    err = checkpoint_write(ledger->checkpoint, ledger->sequence, logs, count);
    for (size_t i = 0; i < LOGS_MAX && !err; i++)
        ledger->logs[i].listed = ledger->logs[i].fd >= 0;
    return err;
}

/* ---- Opening ---- */

static int take_batch(void *arg, const struct wire_usage *m, const uint8_t *body, size_t body_len)
{
    (void)body;
    (void)body_len;
    return usage_sequence_taken(arg, m);
}

static void alarm_damage(struct ledger *ledger, const char *path, uint64_t offset, const char *what)
{
    ledger->damaged++;
    log_error("ledger_damaged", what, LOG_S("path", path), LOG_U("offset", offset));
}

/* Take what was appended to a log after the checkpoint, and cut what was never acknowledged. */
static int recover_log(struct ledger *ledger, const struct checkpoint_log *listed)
{
    char path[FS_PATH_SIZE];
    struct stat st;
    uint64_t end;

    int err = ledger_log_path(ledger->dir, listed->hour, path);
    if (err)
        return err;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        if (listed->size > 0)
            alarm_damage(ledger, path, 0, "a log of the ledger is gone");
        return ERR_OK;
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        err = err_from_errno(errno);
        goto out;
    }
    uint64_t size = (uint64_t)st.st_size;
    if (size < listed->size) {
        alarm_damage(ledger, path, size, "a log of the ledger is shorter than it was");
        goto out;
    }
    err = framelog_check(fd, listed->size, size, &end);
    if (err == ERR_CORRUPT) {
        /* Acknowledged batches are gone. Those behind the hole are not cut with it: they still count. */
        alarm_damage(ledger, path, end, "a log of the ledger is damaged");
        err = ledger_scan(fd, listed->size, size, LEDGER_ALL, take_batch, ledger->sequence, &end);
        goto out;
    }
    if (!err && end < size) {
        log_warn("ledger_tail_cut", "the end of a log was not whole and was never acknowledged", LOG_S("path", path),
                 LOG_U("offset", end), LOG_U("bytes", size - end));
        if (ftruncate(fd, (off_t)end) != 0)
            err = ERR_IO;
    }
    /* What is found whole may still be in memory only: acknowledged batches must not depend on that. */
    if (!err && fsync(fd) != 0)
        err = ERR_IO;
    if (!err)
        err = ledger_scan(fd, listed->size, end, LEDGER_ALL, take_batch, ledger->sequence, &end);
out:
    if (fd >= 0)
        close(fd);
    return err;
}

static int recover_all(struct ledger *ledger)
{
    int64_t *hours;
    size_t count;
    int err = ledger_hours(ledger->dir, INT64_MIN, INT64_MAX, &hours, &count);
    if (err)
        return err;
    if (count > 0)
        log_warn("ledger_read_whole", "the ledger has no checkpoint; all of it is read", LOG_U("logs", count));
    for (size_t i = 0; i < count && !err; i++)
        err = recover_log(ledger, &(struct checkpoint_log){.hour = hours[i]});
    free(hours);
    return err;
}

static int recover(struct ledger *ledger)
{
    struct checkpoint_log logs[LOGS_MAX];
    size_t count;
    int err = checkpoint_read(ledger->checkpoint, ledger->sequence, logs, LOGS_MAX, &count);
    if (err == ERR_CORRUPT)
        alarm_damage(ledger, ledger->checkpoint, 0, "the ledger's checkpoint is damaged");
    if (err == ERR_CORRUPT || err == ERR_NOTFOUND)
        return recover_all(ledger);
    for (size_t i = 0; i < count && !err; i++)
        err = recover_log(ledger, &logs[i]);
    return err;
}

int ledger_open(const char *dir, struct usage_sequence *sequence, struct ledger **out)
{
    char lock[FS_PATH_SIZE];
    struct ledger *ledger = calloc(1, sizeof *ledger);
    if (!ledger)
        return ERR_NOMEM;
    ledger->lock = -1;
    ledger->sequence = sequence;
    for (size_t i = 0; i < LOGS_MAX; i++)
        ledger->logs[i].fd = -1;

    int err = fs_join(ledger->dir, sizeof ledger->dir, dir, "");
    if (!err)
        err = fs_join(ledger->checkpoint, sizeof ledger->checkpoint, dir, "checkpoint");
    if (!err)
        err = fs_join(lock, sizeof lock, dir, "lock");
    if (!err)
        err = fs_private_dir(dir);
    if (!err)
        err = fs_sync_parent(dir);
    if (!err)
        err = fs_lock(lock, &ledger->lock);
    if (!err)
        err = recover(ledger);
    if (!err)
        err = ledger_checkpoint(ledger);
    if (err) {
        ledger->broken = true;
        ledger_close(ledger);
        return err;
    }
    *out = ledger;
    return ERR_OK;
}

void ledger_close(struct ledger *ledger)
{
    if (!ledger)
        return;
    if (!ledger->broken && ledger_checkpoint(ledger) != ERR_OK)
        log_error("ledger_checkpoint_failed", "the ledger's checkpoint could not be written",
                  LOG_S("dir", ledger->dir));
    for (size_t i = 0; i < LOGS_MAX; i++)
        log_close(&ledger->logs[i]);
    if (ledger->lock >= 0)
        close(ledger->lock);
    free(ledger);
}
