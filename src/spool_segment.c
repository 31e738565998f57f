/* SPDX-License-Identifier: MIT */
/* Reads and writes the spool's segment files. */
#include "spool_segment.h"

#include "cavage/err.h"
#include "cavage/framelog.h"
#include "cavage/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FRAME_OF_HEAD = 1, FRAME_OF_RECORD = 2, FRAME_OF_CONFIRM = 3, FRAME_OF_CLOSE = 4 };
enum { INDEX_BYTES = 4, INDEX_MAX = 1 << 24, NUMBER_DIGITS = 20, NAME_LEN = 2 * NUMBER_DIGITS + 5 };

void segment_name(uint64_t epoch, uint64_t sequence, char out[SEGMENT_NAME_SIZE])
{
    snprintf(out, SEGMENT_NAME_SIZE, "%020" PRIu64 "-%020" PRIu64 ".seg", epoch, sequence);
}

int segment_parse_name(const char *name, uint64_t *epoch, uint64_t *sequence)
{
    char again[SEGMENT_NAME_SIZE];
    if (strlen(name) != NAME_LEN)
        return ERR_INVALID;
    *epoch = strtoull(name, NULL, 10);
    *sequence = strtoull(name + NUMBER_DIGITS + 1, NULL, 10);
    segment_name(*epoch, *sequence, again);
    return strcmp(name, again) == 0 ? ERR_OK : ERR_INVALID;
}

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get_u64(const uint8_t *p)
{
    return get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

int segment_put_head(int fd, uint64_t *size, uint64_t previous_epoch, uint64_t previous_sequence)
{
    uint8_t payload[16];
    put_u32(payload, (uint32_t)previous_epoch);
    put_u32(payload + 4, (uint32_t)(previous_epoch >> 32));
    put_u32(payload + 8, (uint32_t)previous_sequence);
    put_u32(payload + 12, (uint32_t)(previous_sequence >> 32));
    struct framelog_part part = {payload, sizeof payload};
    return framelog_append(fd, size, FRAME_OF_HEAD, 0, &part, 1);
}

int segment_put_record(int fd, uint64_t *size, uint32_t index, const uint8_t *record, size_t len)
{
    uint8_t number[INDEX_BYTES];
    put_u32(number, index);
    struct framelog_part parts[] = {{number, sizeof number}, {record, len}};
    return framelog_append(fd, size, FRAME_OF_RECORD, 0, parts, 2);
}

static int put_number(int fd, uint64_t *size, uint8_t type, uint32_t value)
{
    uint8_t number[INDEX_BYTES];
    put_u32(number, value);
    struct framelog_part part = {number, sizeof number};
    return framelog_append(fd, size, type, 0, &part, 1);
}

int segment_put_confirm(int fd, uint64_t *size, uint32_t index)
{
    return put_number(fd, size, FRAME_OF_CONFIRM, index);
}

int segment_put_close(int fd, uint64_t *size, uint32_t records)
{
    return put_number(fd, size, FRAME_OF_CLOSE, records);
}

/* ---- Reading ---- */

struct loader {
    int fd;
    uint64_t size;
    struct segment_batch *batch;
    uint8_t *confirmed; /* a bit for each index */
    size_t confirmed_bytes;
    size_t body_room;
};

static int mark_confirmed(struct loader *l, uint32_t index)
{
    size_t byte = index / 8;
    if (byte >= l->confirmed_bytes) {
        size_t bytes = byte * 2 + 64;
        uint8_t *bits = realloc(l->confirmed, bytes);
        if (!bits)
            return ERR_NOMEM;
        memset(bits + l->confirmed_bytes, 0, bytes - l->confirmed_bytes);
        l->confirmed = bits;
        l->confirmed_bytes = bytes;
    }
    l->confirmed[byte] |= (uint8_t)(1U << (index % 8));
    return ERR_OK;
}

static int survey(struct loader *l, const struct framelog_frame *frame)
{
    l->batch->damaged_bytes += frame->skipped;
    if (frame->type == FRAME_OF_HEAD && frame->len >= 16) {
        l->batch->previous_epoch = get_u64(frame->payload);
        l->batch->previous_sequence = get_u64(frame->payload + 8);
    } else if (frame->type == FRAME_OF_RECORD && frame->len > INDEX_BYTES) {
        l->body_room += frame->len + USAGE_LENGTH_MAX;
        l->batch->records++;
    } else if (frame->type == FRAME_OF_CONFIRM && frame->len >= INDEX_BYTES && get_u32(frame->payload) < INDEX_MAX) {
        return mark_confirmed(l, get_u32(frame->payload));
    } else if (frame->type == FRAME_OF_CLOSE && frame->len >= INDEX_BYTES) {
        l->batch->closed = true;
        l->batch->closed_records = get_u32(frame->payload);
    }
    return ERR_OK;
}

static int collect(struct loader *l, const struct framelog_frame *frame)
{
    struct usage_record record;
    if (frame->type != FRAME_OF_RECORD || frame->len <= INDEX_BYTES)
        return ERR_OK;
    const uint8_t *packed = frame->payload + INDEX_BYTES;
    size_t len = frame->len - INDEX_BYTES;
    uint32_t index = get_u32(frame->payload);
    bool confirmed = index / 8 < l->confirmed_bytes && (l->confirmed[index / 8] >> (index % 8) & 1) != 0;

    if (l->batch->body_len == 0) {
        if (usage_unpack(packed, len, &record) != ERR_OK)
            return ERR_CORRUPT;
        l->batch->hour = usage_hour(record.time_us);
    }
    return usage_add(l->batch->body, l->body_room, &l->batch->body_len, packed, len, confirmed);
}

static int each_frame(struct loader *l, int (*fn)(struct loader *l, const struct framelog_frame *frame))
{
    struct framelog_reader *reader;
    struct framelog_frame frame;
    int err = framelog_reader_new(l->fd, 0, l->size, &reader);
    if (err)
        return err;
    while ((err = framelog_next(reader, &frame)) == ERR_OK) {
        err = fn(l, &frame);
        if (err)
            break;
    }
    framelog_reader_free(reader);
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

int segment_load(const char *path, struct segment_batch *out)
{
    struct stat st;
    struct loader l = {.batch = out, .fd = open(path, O_RDONLY | O_CLOEXEC)};
    int err;

    memset(out, 0, sizeof *out);
    if (l.fd < 0)
        return err_from_errno(errno);
    if (fstat(l.fd, &st) != 0 || fdatasync(l.fd) != 0) {
        err = ERR_IO;
        goto out;
    }
    l.size = (uint64_t)st.st_size;
    err = each_frame(&l, survey);
    if (err || out->records == 0)
        goto out;
    l.body_room += 3 * (size_t)out->records; /* for the mark of a confirmed record */
    err = l.body_room <= USAGE_BODY_MAX ? ERR_OK : ERR_RANGE;
    if (!err) {
        out->body = malloc(l.body_room);
        err = out->body ? each_frame(&l, collect) : ERR_NOMEM;
    }
out:
    close(l.fd);
    free(l.confirmed);
    if (err) {
        free(out->body);
        out->body = NULL;
    }
    return err;
}
