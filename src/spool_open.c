/* SPDX-License-Identifier: MIT */
/* Opens a spool: takes over what is there, begins an epoch, starts the thread. */
#include "cavage/clock.h"
#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/log.h"
#include "cavage/spool.h"

#include "spool_parts.h"
#include "spool_segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>

static int read_numbers(const struct spool *spool, const char *name, uint64_t *numbers, int count)
{
    char path[FS_PATH_SIZE], text[2 * SPOOL_NUMBERS_SIZE];
    size_t len;
    int err = fs_join(path, sizeof path, spool->dir, name);
    if (!err)
        err = fs_read(path, text, sizeof text, &len);
    if (err)
        return err;
    char *p = text;
    for (int i = 0; i < count; i++) {
        char *end;
        errno = 0;
        numbers[i] = strtoull(p, &end, 10);
        if (end == p || errno != 0)
            return ERR_CORRUPT;
        p = end;
    }
    return ERR_OK;
}

/* Whether a small file is missing or is not what was written, as opposed to one that cannot be read just now. */
static bool is_lost(int err)
{
    return err == ERR_NOTFOUND || err == ERR_CORRUPT || err == ERR_RANGE || err == ERR_INVALID;
}

static int read_producer(struct spool *spool, bool renew)
{
    char path[FS_PATH_SIZE], text[ID_UUID_SIZE + 1];
    size_t len;
    int err = fs_join(path, sizeof path, spool->dir, "producer");
    if (err)
        return err;
    if (!renew) {
        err = fs_read(path, text, sizeof text, &len);
        if (!err) {
            text[strcspn(text, "\n")] = '\0';
            err = id_from_uuid(text, &spool->producer);
        }
        if (!is_lost(err))
            return err;
    }
    if (spool->count > 0)
        log_error(
            "spool_producer_lost", "batches go out under a new name; those the meter has already are counted twice",
            LOG_S("dir", spool->dir), LOG_U("at_most", spool->count < SPOOL_WINDOW ? spool->count : SPOOL_WINDOW));
    id_random_uuid(&spool->producer);
    id_to_uuid(&spool->producer, text);
    text[ID_UUID_SIZE - 1] = '\n';
    return fs_write_atomic(path, text, ID_UUID_SIZE, 0600);
}

/* The batch a new epoch has to name as the end of the one before: the latest that was begun. */
static void find_previous(struct spool *spool, const uint64_t known[3])
{
    uint64_t last[2] = {0, 0};
    const struct segment *newest = spool->count ? spool_segment(spool, spool->count - 1) : NULL;

    spool->previous_epoch = known[1];
    spool->previous_sequence = known[2];
    if (read_numbers(spool, "last", last, 2) == ERR_OK && last[0] >= spool->previous_epoch && last[1] > 0) {
        spool->previous_epoch = last[0];
        spool->previous_sequence = last[1];
    }
    if (newest && (newest->epoch > spool->previous_epoch ||
                   (newest->epoch == spool->previous_epoch && newest->sequence > spool->previous_sequence))) {
        spool->previous_epoch = newest->epoch;
        spool->previous_sequence = newest->sequence;
    }
}

static int begin_epoch(struct spool *spool)
{
    char path[FS_PATH_SIZE], text[2 * SPOOL_NUMBERS_SIZE];
    uint64_t known[3] = {0, 0, 0}; /* epoch, previous epoch, its last sequence */

    int err = read_numbers(spool, "epoch", known, 3);
    if (err && !is_lost(err))
        return err;
    if (err)
        memset(known, 0, sizeof known);
    find_previous(spool, known);
    /* A number that was used before must not come again under the same name. When only the epoch is lost the latest batch tells which were;
     * a new name would have the meter take again what it has of the batches that are left. */
    bool renew = err && spool->previous_epoch == 0;
    spool->epoch = (known[0] > spool->previous_epoch ? known[0] : spool->previous_epoch) + 1;
    /* A spool that was put back from a backup does not know the epochs since; the clock is beyond them. */
    int64_t now_us = clock_wall_us();
    if (now_us > 0 && (uint64_t)now_us > spool->epoch)
        spool->epoch = (uint64_t)now_us;
    err = read_producer(spool, renew);
    if (err)
        return err;
    int len = snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", spool->epoch, spool->previous_epoch,
                       spool->previous_sequence);
    err = fs_join(path, sizeof path, spool->dir, "epoch");
    return err ? err : fs_write_atomic(path, text, (size_t)len, 0600);
}

static int adopt(struct spool *spool, const char *name)
{
    char path[FS_PATH_SIZE];
    struct stat st;
    struct segment segment = {.state = SEGMENT_SEALED, .fd = -1};

    if (segment_parse_name(name, &segment.epoch, &segment.sequence) != ERR_OK)
        return ERR_OK;
    int err = spool_path(spool, &segment, path);
    if (err)
        return err;
    if (stat(path, &st) != 0)
        return ERR_IO;
    int64_t changed_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
    segment.opened_us = clock_monotonic_us() - (clock_wall_us() - changed_us);
    segment.size = (uint64_t)st.st_size;
    err = spool_add(spool, &segment);
    if (!err)
        atomic_fetch_add(&spool->bytes, spool_disk_bytes(segment.size));
    return err;
}

/* A process that is killed may leave a segment without a whole record. Nothing was answered on its account, so it was never a batch. */
static int drop_unborn(struct spool *spool)
{
    while (spool->count > 0) {
        char path[FS_PATH_SIZE];
        struct segment_batch batch;
        uint64_t last[2] = {0, 0};
        const struct segment *newest = spool_segment(spool, spool->count - 1);
        int err = spool_path(spool, newest, path);
        if (!err)
            err = segment_load(path, &batch);
        if (err)
            return err == ERR_CORRUPT || err == ERR_RANGE ? ERR_OK : err;
        free(batch.body);
        int known = read_numbers(spool, "last", last, 2);
        bool noted = known == ERR_OK && last[0] == newest->epoch && last[1] >= newest->sequence;
        if (batch.records > 0 || noted)
            return ERR_OK;
        spool_remove_file(spool, newest, false);
        spool_forget(spool, spool->count - 1);
    }
    return ERR_OK;
}

/* The names sort as the batches do. */
static int adopt_all(struct spool *spool)
{
    struct dirent **names;
    int err = ERR_OK;
    int n = scandir(spool->dir, &names, NULL, alphasort);
    if (n < 0)
        return err_from_errno(errno);
    for (int i = 0; i < n; i++) {
        if (!err)
            err = adopt(spool, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    return err ? err : drop_unborn(spool);
}

static int open_folder(struct spool *spool, const struct spool_config *config)
{
    char path[FS_PATH_SIZE];
    int err = fs_join(spool->dir, sizeof spool->dir, config->dir, "");
    if (!err)
        err = fs_join(path, sizeof path, config->dir, "lock");
    if (!err)
        err = fs_private_dir(config->dir);
    if (!err)
        err = fs_sync_parent(config->dir);
    if (!err)
        err = fs_lock(path, &spool->lock_fd);
    if (!err)
        err = adopt_all(spool);
    if (!err)
        err = begin_epoch(spool);
    if (!err)
        err = fs_join(path, sizeof path, config->dir, "last");
    if (err)
        return err;
    spool->last_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return spool->last_fd < 0 ? err_from_errno(errno) : ERR_OK;
}

static int copy_config(struct spool *spool, const struct spool_config *config)
{
    int a = snprintf(spool->meter_address, sizeof spool->meter_address, "%s", config->meter_address);
    int b = snprintf(spool->ack_address, sizeof spool->ack_address, "%s", config->ack_address);
    int c = snprintf(spool->ack_told, sizeof spool->ack_told, "%s",
                     config->ack_told ? config->ack_told : config->ack_address);
    if (a >= (int)sizeof spool->meter_address || b >= (int)sizeof spool->ack_address ||
        c >= (int)sizeof spool->ack_told)
        return ERR_RANGE;
    if (config->batch_bytes > SPOOL_BATCH_MAX)
        return ERR_RANGE;
    spool->max_bytes = config->max_bytes;
    spool->batch_bytes = config->batch_bytes;
    spool->batch_ms = config->batch_ms;
    spool->told_us = clock_monotonic_us();
    return ERR_OK;
}

static int start(struct spool *spool)
{
    spool->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (spool->wake_fd < 0)
        return err_from_errno(errno);
    int err = bus_pull_open(spool->ack_address, 64 * 1024, spool->seal, &spool->pull);
    if (!err)
        err = bus_push_open(spool->meter_address, spool->seal, &spool->push);
    if (err)
        return err;
    if (pthread_create(&spool->thread, NULL, spool_send_run, spool) != 0)
        return ERR_NOMEM;
    spool->started = true;
    return ERR_OK;
}

int spool_open(const struct spool_config *config, struct spool **out)
{
    pthread_condattr_t attr;
    struct spool *spool = calloc(1, sizeof *spool);
    if (!spool) {
        seal_free(config->seal);
        return ERR_NOMEM;
    }
    spool->seal = config->seal;
    spool->lock_fd = spool->last_fd = spool->wake_fd = -1;
    pthread_mutex_init(&spool->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&spool->emptied, &attr);
    pthread_condattr_destroy(&attr);

    int err = digest_init();
    if (!err)
        err = copy_config(spool, config);
    if (!err)
        err = open_folder(spool, config);
    if (!err)
        err = start(spool);
    if (err) {
        spool_close(spool);
        return err;
    }
    *out = spool;
    return ERR_OK;
}
