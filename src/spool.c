/* SPDX-License-Identifier: MIT */
/* The spool's front: appending records, resolving them, and letting go. Opening is in spool_open.c, sending in spool_send.c. */
#include "cavage/spool.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/log.h"

#include "spool_parts.h"
#include "spool_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4096 };

static const int64_t time_max_us = INT64_C(253402300800) * 1000000; /* the year 10000 */

uint64_t spool_disk_bytes(uint64_t size)
{
    return (size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

int spool_path(const struct spool *spool, const struct segment *segment, char out[FS_PATH_SIZE])
{
    char name[SEGMENT_NAME_SIZE];
    segment_name(segment->epoch, segment->sequence, name);
    return fs_join(out, FS_PATH_SIZE, spool->dir, name);
}

void spool_wake(const struct spool *spool)
{
    uint64_t one = 1;
    ssize_t n = write(spool->wake_fd, &one, sizeof one);
    (void)n; /* a full counter wakes as well */
}

/* ---- The list of segments ---- */

struct segment *spool_segment(const struct spool *spool, size_t i)
{
    return i < spool->count ? spool->segments[spool->first + i] : NULL;
}

int spool_add(struct spool *spool, const struct segment *value)
{
    if (spool->first + spool->count == spool->room && spool->first > spool->count) {
        memmove(spool->segments, spool->segments + spool->first, spool->count * sizeof(*spool->segments));
        spool->first = 0;
    }
    if (spool->first + spool->count == spool->room) {
        size_t room = spool->room ? spool->room * 2 : 16;
        struct segment **list = reallocarray(spool->segments, room, sizeof(*list));
        if (!list)
            return ERR_NOMEM;
        spool->segments = list;
        spool->room = room;
    }
    struct segment *segment = malloc(sizeof *segment);
    if (!segment)
        return ERR_NOMEM;
    *segment = *value;
    spool->segments[spool->first + spool->count++] = segment;
    return ERR_OK;
}

void spool_remove_file(const struct spool *spool, const struct segment *segment, bool keep_aside)
{
    char path[FS_PATH_SIZE], aside[FS_PATH_SIZE];
    if (spool_path(spool, segment, path) != ERR_OK)
        return;
    int n = snprintf(aside, sizeof aside, "%s.damaged", path);
    if (!keep_aside || n < 0 || (size_t)n >= sizeof aside || rename(path, aside) != 0)
        unlink(path);
}

void spool_forget(struct spool *spool, size_t i)
{
    struct segment *segment = spool_segment(spool, i);
    atomic_fetch_sub(&spool->bytes, spool_disk_bytes(segment->size));
    free(segment);
    struct segment **at = spool->segments + spool->first;
    memmove(at + 1, at, i * sizeof(*at));
    spool->first++;
    spool->count--;
    if (spool->count == 0)
        pthread_cond_broadcast(&spool->emptied);
}

static void account(struct spool *spool, const struct segment *segment, uint64_t before)
{
    atomic_fetch_add(&spool->bytes, spool_disk_bytes(segment->size) - spool_disk_bytes(before));
}

static void seal(struct spool *spool, struct segment *segment)
{
    segment->state = SEGMENT_SEALED;
    close(segment->fd);
    segment->fd = -1;
    spool_wake(spool);
}

static struct segment *open_segment(const struct spool *spool)
{
    struct segment *last = spool->count ? spool_segment(spool, spool->count - 1) : NULL;
    return last && last->state == SEGMENT_OPEN ? last : NULL;
}

void spool_close_open(struct spool *spool)
{
    struct segment *segment = open_segment(spool);
    if (!segment)
        return;
    uint64_t before = segment->size;
    /* Without it the next start would take the records for incomplete: an alarm too many. */
    if (segment_put_close(segment->fd, &segment->size, segment->records) != ERR_OK)
        log_warn("spool_write_failed", "the end of a segment could not be noted", LOG_I("errno", errno));
    account(spool, segment, before);
    segment->state = SEGMENT_CLOSED;
    if (segment->unresolved == 0)
        seal(spool, segment);
}

/* ---- Appending ---- */

/* So that the next epoch can say how this one ended. In the page cache: it only has to outlive the process. */
static void note_last(const struct spool *spool)
{
    char text[SPOOL_NUMBERS_SIZE];
    int len = snprintf(text, sizeof text, "%020" PRIu64 " %020" PRIu64 "\n", spool->epoch, spool->last_sequence);
    if (pwrite(spool->last_fd, text, (size_t)len, 0) != len)
        log_error("spool_write_failed", "the latest batch could not be noted", LOG_S("dir", spool->dir));
}

/* Begin a segment with its first record: a batch that has none is never numbered. */
static int begin_segment(struct spool *spool, int64_t hour, const uint8_t *packed, size_t len)
{
    char path[FS_PATH_SIZE];
    struct segment segment = {.epoch = spool->epoch,
                              .sequence = spool->last_sequence + 1,
                              .state = SEGMENT_OPEN,
                              .records = 1,
                              .unresolved = 1,
                              .hour = hour,
                              .opened_us = clock_monotonic_us()};
    int err = spool_path(spool, &segment, path);
    if (err)
        return err;
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR_IO;
    segment.fd = fd;
    if (segment.sequence == 1)
        err = segment_put_head(segment.fd, &segment.size, spool->previous_epoch, spool->previous_sequence);
    if (!err)
        err = segment_put_record(segment.fd, &segment.size, 0, packed, len);
    if (!err)
        err = spool_add(spool, &segment);
    if (err) {
        close(fd);
        unlink(path);
        return err;
    }
    spool->last_sequence++;
    note_last(spool);
    atomic_fetch_add(&spool->bytes, spool_disk_bytes(segment.size));
    spool_wake(spool);
    return ERR_OK;
}

static int add_record(struct spool *spool, struct segment *segment, const uint8_t *packed, size_t len)
{
    uint64_t before = segment->size;
    int err = segment_put_record(segment->fd, &segment->size, segment->records, packed, len);
    if (err)
        return err;
    segment->records++;
    segment->unresolved++;
    account(spool, segment, before);
    return ERR_OK;
}

int spool_append(struct spool *spool, const struct usage_record *record, struct spool_ref *ref)
{
    uint8_t packed[USAGE_RECORD_MAX];
    struct usage_record plain;
    size_t len;

    if (record->time_us < 0 || record->time_us >= time_max_us)
        return ERR_INVALID;
    if (record->confirmed) {
        plain = *record;
        plain.confirmed = false;
        record = &plain;
    }
    int err = usage_pack(record, packed, sizeof packed, &len);
    if (err)
        return err;
    int64_t hour = usage_hour(record->time_us);

    pthread_mutex_lock(&spool->lock);
    struct segment *segment = open_segment(spool);
    if (atomic_load(&spool->bytes) + BLOCK_BYTES > spool->max_bytes) {
        err = ERR_FULL;
        goto out;
    }
    if (segment && segment->hour != hour) {
        spool_close_open(spool);
        segment = NULL;
    }
    err = segment ? add_record(spool, segment, packed, len) : begin_segment(spool, hour, packed, len);
    if (err) {
        atomic_store(&spool->failing, true);
        spool_wake(spool);
        goto out;
    }
    segment = open_segment(spool);
    *ref = (struct spool_ref){.segment = segment->sequence, .index = segment->records - 1};
    spool->records++;
    if (segment->size >= spool->batch_bytes)
        spool_close_open(spool);
out:
    pthread_mutex_unlock(&spool->lock);
    return err;
}

void spool_resolve(struct spool *spool, struct spool_ref ref, bool confirmed)
{
    pthread_mutex_lock(&spool->lock);
    uint64_t back = spool->last_sequence - ref.segment;
    struct segment *segment =
        ref.segment > 0 && back < spool->count ? spool_segment(spool, spool->count - 1 - back) : NULL;
    if (segment && segment->epoch == spool->epoch && segment->unresolved > 0) {
        uint64_t before = segment->size;
        if (confirmed && segment_put_confirm(segment->fd, &segment->size, ref.index) != ERR_OK)
            log_error("spool_write_failed", "a record stays unconfirmed", LOG_I("errno", errno));
        account(spool, segment, before);
        segment->unresolved--;
        if (segment->unresolved == 0 && segment->state == SEGMENT_CLOSED)
            seal(spool, segment);
    }
    pthread_mutex_unlock(&spool->lock);
}

bool spool_has_room(const struct spool *spool)
{
    return !atomic_load(&spool->failing) && atomic_load(&spool->bytes) + spool->max_bytes / 8 <= spool->max_bytes;
}

void spool_stats(const struct spool *spool, struct spool_stats *out)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&spool->lock;
    int64_t now_us = clock_monotonic_us();
    pthread_mutex_lock(lock);
    const struct segment *oldest = spool_segment(spool, 0);
    *out = (struct spool_stats){.bytes = atomic_load(&spool->bytes),
                                .unacked_batches = spool->count,
                                .oldest_unacked_us = oldest ? now_us - oldest->opened_us : 0,
                                .records = spool->records,
                                .gaps = spool->gaps};
    memcpy(out->acks, spool->acks, sizeof out->acks);
    pthread_mutex_unlock(lock);
}

/* ---- Ending ---- */

int spool_flush(struct spool *spool, int64_t timeout_ms)
{
    int64_t end_us = clock_monotonic_us() + timeout_ms * 1000;
    struct timespec end = {.tv_sec = end_us / 1000000, .tv_nsec = end_us % 1000000 * 1000};
    int rc = 0;

    pthread_mutex_lock(&spool->lock);
    spool_close_open(spool);
    spool->flushing = true;
    spool_wake(spool);
    while (spool->count > 0 && rc == 0)
        rc = pthread_cond_timedwait(&spool->emptied, &spool->lock, &end);
    bool empty = spool->count == 0;
    spool->flushing = false;
    pthread_mutex_unlock(&spool->lock);
    return empty ? ERR_OK : ERR_TIMEOUT;
}

void spool_close(struct spool *spool)
{
    if (!spool)
        return;
    if (spool->started) {
        pthread_mutex_lock(&spool->lock);
        spool->stopping = true;
        pthread_mutex_unlock(&spool->lock);
        spool_wake(spool);
        pthread_join(spool->thread, NULL);
    }
    bus_push_close(spool->push);
    bus_pull_close(spool->pull);
    seal_free(spool->seal);
    seal_keys_wipe(&spool->keys);
    for (size_t i = 0; i < spool->count; i++) {
        struct segment *segment = spool_segment(spool, i);
        if (segment->fd >= 0)
            close(segment->fd);
        free(segment);
    }
    free(spool->segments);
    int fds[] = {spool->last_fd, spool->wake_fd, spool->lock_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    pthread_cond_destroy(&spool->emptied);
    pthread_mutex_destroy(&spool->lock);
    free(spool);
}
