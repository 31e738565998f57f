/* SPDX-License-Identifier: MIT */
/* The ledger's reader. */
#include "ledger_log.h"

#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/framelog.h"
#include "cavage/period.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char suffix[] = ".log";

int ledger_log_path(const char *dir, int64_t hour, char out[FS_PATH_SIZE])
{
    char name[PERIOD_NAME_SIZE];
    period_name(PERIOD_HOUR, hour, name);
    int len = snprintf(out, FS_PATH_SIZE, "%s/%s%s", dir, name, suffix);
    return len > 0 && len < FS_PATH_SIZE ? ERR_OK : ERR_RANGE;
}

static int deliver(const struct framelog_frame *frame, ledger_fn fn, void *arg)
{
    struct frame message;
    struct wire_usage m;
    if (frame->type != LEDGER_BATCH)
        return ERR_OK; /* of a later version */
    if (frame_parse(frame->payload, frame->len, FRAMELOG_PAYLOAD_MAX, &message) != ERR_OK ||
        message.type != FRAME_USAGE || wire_unpack_usage(&message, &m) != ERR_OK)
        return ERR_CORRUPT;
    return fn(arg, &m, message.body, message.body_len);
}

int ledger_scan(int fd, uint64_t from, uint64_t limit, enum ledger_scan_mode mode, ledger_fn fn, void *arg,
                uint64_t *end)
{
    struct framelog_reader *reader;
    struct framelog_frame frame;
    bool hole = false;

    *end = from;
    int err = framelog_reader_new(fd, from, limit, &reader);
    if (err)
        return err;
    while ((err = framelog_next(reader, &frame)) == ERR_OK) {
        hole = hole || (frame.skipped > 0 && mode == LEDGER_STRICT);
        if (hole && frame.durable > *end)
            err = ERR_CORRUPT;
        else if (!hole)
            err = deliver(&frame, fn, arg);
        if (err)
            break;
        if (!hole)
            *end = framelog_end(reader);
    }
    framelog_reader_free(reader);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

static int open_log(const char *dir, int64_t hour, int *fd, uint64_t *size)
{
    char path[FS_PATH_SIZE];
    struct stat st;
    *size = 0;
    int err = ledger_log_path(dir, hour, path);
    if (err)
        return err;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return err_from_errno(errno);
    if (fstat(*fd, &st) != 0) {
        close(*fd);
        return ERR_IO;
    }
    *size = (uint64_t)st.st_size;
    return ERR_OK;
}

int ledger_read_part(const char *dir, int64_t hour, uint64_t bytes, ledger_fn fn, void *arg, uint64_t *end)
{
    int fd;
    uint64_t size;
    int err = open_log(dir, hour, &fd, &size);
    if (err)
        return err;
    err = ledger_scan(fd, 0, size < bytes ? size : bytes, LEDGER_STRICT, fn, arg, end);
    close(fd);
    return err;
}

int ledger_read_hour(const char *dir, int64_t hour, ledger_fn fn, void *arg)
{
    uint64_t end;
    return ledger_read_part(dir, hour, UINT64_MAX, fn, arg, &end);
}

int ledger_size(const char *dir, int64_t hour, bool sync, uint64_t *bytes)
{
    int fd;
    int err = open_log(dir, hour, &fd, bytes);
    if (err)
        return err;
    if (sync && fdatasync(fd) != 0)
        err = ERR_IO;
    close(fd);
    return err;
}

static int add_hour(void *arg, int64_t hour, const char *rest)
{
    return strcmp(rest, suffix) == 0 ? hour_list_add(arg, hour) : ERR_OK;
}

int ledger_hours(const char *dir, int64_t from, int64_t to, int64_t **hours, size_t *count)
{
    struct hour_list found = {0};
    int err = hour_walk(dir, from, to, add_hour, &found);
    if (err) {
        free(found.hours);
        return err;
    }
    *hours = found.hours;
    *count = found.count;
    return ERR_OK;
}
