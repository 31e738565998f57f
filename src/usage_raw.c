/* SPDX-License-Identifier: MIT */
/* Groups the records of an hour by customer in bounded memory, and compresses them; the only file that uses libzstd.
 *
 * The table says how many bytes each customer has, so the customers, in order, are cut into groups that fit in memory, and every group gets
 * its place in one temporary file. One pass over the ledger deals the records out to the groups; then each group is read back, put in order
 * of its customers, and written. A customer that is larger than a group has one of its own, which is compressed as it is read. */
#include "usage_raw.h"

#include "cavage/err.h"
#include "cavage/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zstd.h>

enum { LEVEL = 3, GROUPS_MAX = 512, ENTRY_BYTES = 8, DEAL_BYTES = 64 * 1024, DEFAULT_GROUP_BYTES = 64 << 20 };

/* A customer of the hour. */
struct party {
    const char *name;
    uint64_t bytes; /* in the temporary file */
    uint64_t records;
    uint32_t group;
};

/* Customers that are dealt with at a time. */
struct group {
    uint64_t offset; /* in the temporary file */
    uint64_t dealt;  /* bytes written there */
    uint64_t bytes;
    uint64_t records;
    uint32_t first, end; /* parties */
    uint8_t *buf;        /* of DEAL_BYTES */
    size_t used;
};

struct raw {
    const struct usage_table *table;
    struct out_file *out, *index;
    struct party *parties;
    size_t party_count;
    struct group *groups;
    size_t group_count;
    int fd; /* the temporary file, which has no name any more */
    ZSTD_CCtx *zstd;
    uint8_t *frame;
    size_t frame_size;
    char *json;
};

/* ---- The plan ---- */

static int plan_parties(struct raw *raw)
{
    size_t count = usage_table_count(raw->table);
    raw->parties = calloc(count ? count : 1, sizeof *raw->parties);
    if (!raw->parties)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const struct usage_entry *entry = usage_table_at(raw->table, i);
        struct party *party = &raw->parties[entry->customer];
        party->name = entry->row.customer;
        party->bytes += entry->packed_bytes + entry->records * ENTRY_BYTES;
        party->records += entry->records;
        raw->party_count = (size_t)entry->customer + 1;
    }
    return ERR_OK;
}

static int plan_groups(struct raw *raw, uint64_t limit)
{
    uint64_t total = 0, offset = 0;
    for (size_t i = 0; i < raw->party_count; i++)
        total += raw->parties[i].bytes;
    if (limit < total / GROUPS_MAX * 2 + 1)
        limit = total / GROUPS_MAX * 2 + 1;
    raw->groups = calloc(GROUPS_MAX + 1, sizeof *raw->groups);
    if (!raw->groups)
        return ERR_NOMEM;
    struct group *group = NULL;
    for (size_t i = 0; i < raw->party_count; i++) {
        struct party *party = &raw->parties[i];
        if (!group || group->bytes + party->bytes > limit) {
            if (raw->group_count > GROUPS_MAX)
                return ERR_INTERNAL;
            group = &raw->groups[raw->group_count++];
            group->offset = offset;
            group->first = (uint32_t)i;
        }
        party->group = (uint32_t)(raw->group_count - 1);
        group->end = (uint32_t)i + 1;
        group->bytes += party->bytes;
        group->records += party->records;
        offset += party->bytes;
    }
    for (size_t i = 0; i < raw->group_count; i++) {
        raw->groups[i].buf = malloc(DEAL_BYTES);
        if (!raw->groups[i].buf)
            return ERR_NOMEM;
    }
    return ERR_OK;
}

/* ---- Dealing records out ---- */

static int write_at(int fd, const uint8_t *data, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_IO;
        data += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return ERR_OK;
}

static int flush_group(const struct raw *raw, struct group *group)
{
    /* More than the table counted: the log is not what it was a moment ago. */
    if (group->used > group->bytes - group->dealt)
        return ERR_CORRUPT;
    int err = write_at(raw->fd, group->buf, group->used, group->offset + group->dealt);
    group->dealt += group->used;
    group->used = 0;
    return err;
}

/* An entry: customer (4), length (4), the packed record. */
static int deal(struct raw *raw, uint32_t customer, const uint8_t *record, size_t len)
{
    struct group *group = &raw->groups[raw->parties[customer].group];
    uint32_t head[2] = {customer, (uint32_t)len};
    if (group->used + ENTRY_BYTES + len > DEAL_BYTES) {
        int err = flush_group(raw, group);
        if (err)
            return err;
    }
    memcpy(group->buf + group->used, head, sizeof head);
    memcpy(group->buf + group->used + ENTRY_BYTES, record, len);
    group->used += ENTRY_BYTES + len;
    return ERR_OK;
}

static int deal_batch(void *arg, const struct wire_usage *m, const uint8_t *body, size_t body_len)
{
    struct raw *raw = arg;
    struct usage_record record;
    const uint8_t *packed;
    size_t len, pos = 0;
    int err;

    (void)m;
    while ((err = usage_next(body, body_len, &pos, &packed, &len)) == ERR_OK) {
        if (usage_unpack(packed, len, &record) != ERR_OK)
            return ERR_CORRUPT;
        const struct usage_entry *entry = usage_table_find(raw->table, record.customer, record.operation);
        err = entry ? deal(raw, entry->customer, packed, len) : ERR_CORRUPT;
        if (err)
            return err;
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* ---- Writing ---- */

static int compress(struct raw *raw, const void *data, size_t len, ZSTD_EndDirective mode)
{
    ZSTD_inBuffer in = {.src = data, .size = len};
    size_t left;
    do {
        ZSTD_outBuffer out = {.dst = raw->frame, .size = raw->frame_size};
        left = ZSTD_compressStream2(raw->zstd, &out, &in, mode);
        if (ZSTD_isError(left))
            return ERR_INTERNAL;
        out_write(raw->out, raw->frame, out.pos);
    } while (mode == ZSTD_e_end ? left > 0 : in.pos < in.size);
    return raw->out->err;
}

static int write_record(struct raw *raw, const uint8_t *packed, size_t len)
{
    struct usage_record record;
    if (usage_unpack(packed, len, &record) != ERR_OK)
        return ERR_CORRUPT;
    int n = usage_json(&record, raw->json, USAGE_JSON_MAX);
    return n < 0 ? n : compress(raw, raw->json, (size_t)n, ZSTD_e_continue);
}

/* End a customer's frame, and note where it lies. */
static int end_party(struct raw *raw, const struct party *party, uint64_t start)
{
    char line[256];
    int err = compress(raw, NULL, 0, ZSTD_e_end);
    if (err)
        return err;
    int len = snprintf(line, sizeof line, "%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", party->name, start,
                       raw->out->bytes - start, party->records);
    out_write(raw->index, line, (size_t)len);
    return raw->index->err;
}

static void read_head(const uint8_t *at, uint32_t *customer, size_t *len)
{
    uint32_t head[2];
    memcpy(head, at, sizeof head);
    *customer = head[0];
    *len = head[1];
}

/* Order a group's entries by customer, keeping the order of the ledger in each: places[] gets their offsets. */
static int place_entries(const struct raw *raw, const struct group *group, const uint8_t *data, uint64_t *places)
{
    size_t parties = group->end - group->first;
    uint64_t *next = calloc(parties + 1, sizeof *next);
    uint64_t pos = 0, at = 0, count = 0;
    int err = next ? ERR_OK : ERR_NOMEM;

    for (size_t i = 0; i < parties && !err; i++) {
        next[i] = at;
        at += raw->parties[group->first + i].records;
    }
    while (!err && pos < group->bytes) {
        uint32_t customer;
        size_t len;
        read_head(data + pos, &customer, &len);
        if (customer < group->first || customer >= group->end || len > group->bytes - pos - ENTRY_BYTES ||
            count++ >= group->records)
            err = ERR_CORRUPT;
        else
            places[next[customer - group->first]++] = pos;
        pos += ENTRY_BYTES + len;
    }
    free(next);
    return err;
}

static int read_at(int fd, uint8_t *data, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t n = pread(fd, data, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_IO;
        data += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return ERR_OK;
}

static int write_sorted(struct raw *raw, const struct group *group)
{
    uint8_t *data = malloc(group->bytes);
    uint64_t *places = calloc(group->records, sizeof *places), at = 0;
    int err = data && places ? read_at(raw->fd, data, group->bytes, group->offset) : ERR_NOMEM;
    if (!err)
        err = place_entries(raw, group, data, places);
    for (size_t i = group->first; i < group->end && !err; i++) {
        uint64_t start = raw->out->bytes;
        for (uint64_t n = 0; n < raw->parties[i].records && !err; n++) {
            uint32_t customer;
            size_t len;
            const uint8_t *entry = data + places[at++];
            read_head(entry, &customer, &len);
            err = write_record(raw, entry + ENTRY_BYTES, len);
        }
        if (!err)
            err = end_party(raw, &raw->parties[i], start);
    }
    free(data);
    free(places);
    return err;
}

/* A single customer needs no order, so its records pass through a small buffer. */
static int write_single(struct raw *raw, const struct group *group)
{
    uint64_t start = raw->out->bytes, pos = 0;
    int err = ERR_OK;
    while (!err && pos < group->bytes) {
        size_t have = group->bytes - pos < DEAL_BYTES ? (size_t)(group->bytes - pos) : DEAL_BYTES, used = 0, len = 0;
        uint32_t customer;
        err = read_at(raw->fd, group->buf, have, group->offset + pos);
        while (!err && used + ENTRY_BYTES <= have) {
            read_head(group->buf + used, &customer, &len);
            if (len > USAGE_RECORD_MAX)
                return ERR_CORRUPT;
            if (used + ENTRY_BYTES + len > have)
                break;
            err = write_record(raw, group->buf + used + ENTRY_BYTES, len);
            used += ENTRY_BYTES + len;
        }
        if (!err && used == 0)
            err = ERR_CORRUPT;
        pos += used;
    }
    return err ? err : end_party(raw, &raw->parties[group->first], start);
}

static int write_groups(struct raw *raw)
{
    static const char heading[] = "customer,offset,bytes,records\n";
    int err = ERR_OK;
    out_write(raw->index, heading, sizeof heading - 1);
    for (size_t i = 0; i < raw->group_count && !err; i++) {
        struct group *group = &raw->groups[i];
        err = flush_group(raw, group);
        if (!err && group->dealt != group->bytes)
            err = ERR_CORRUPT;
        if (!err)
            err = group->end - group->first == 1 ? write_single(raw, group) : write_sorted(raw, group);
    }
    return err;
}

/* ---- All of it ---- */

static int open_temporary(const char *dir, int *fd)
{
    char path[FS_PATH_SIZE];
    int err = fs_join(path, sizeof path, dir, "grouping.XXXXXX");
    if (err)
        return err;
    *fd = mkostemp(path, O_CLOEXEC);
    if (*fd < 0)
        return err_from_errno(errno);
    unlink(path);
    return ERR_OK;
}

static int open_zstd(struct raw *raw)
{
    raw->frame_size = ZSTD_CStreamOutSize();
    raw->frame = malloc(raw->frame_size);
    raw->json = malloc(USAGE_JSON_MAX);
    raw->zstd = ZSTD_createCCtx();
    if (!raw->frame || !raw->json || !raw->zstd)
        return ERR_NOMEM;
    if (ZSTD_isError(ZSTD_CCtx_setParameter(raw->zstd, ZSTD_c_compressionLevel, LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(raw->zstd, ZSTD_c_checksumFlag, 1)))
        return ERR_INTERNAL;
    return ERR_OK;
}

int usage_raw_write(const struct usage_files *files, int64_t hour, uint64_t bytes, const struct usage_table *table,
                    struct out_file *raw_file, struct out_file *index)
{
    struct raw raw = {.table = table, .out = raw_file, .index = index, .fd = -1};
    uint64_t end;
    int err = plan_parties(&raw);
    if (!err)
        err = plan_groups(&raw, files->group_bytes ? files->group_bytes : DEFAULT_GROUP_BYTES);
    if (!err)
        err = open_temporary(files->usage_dir, &raw.fd);
    if (!err)
        err = open_zstd(&raw);
    if (!err)
        err = ledger_read_part(files->ledger_dir, hour, bytes, deal_batch, &raw, &end);
    if (!err)
        err = write_groups(&raw);
    for (size_t i = 0; i < raw.group_count; i++)
        free(raw.groups[i].buf);
    free(raw.groups);
    free(raw.parties);
    free(raw.frame);
    free(raw.json);
    ZSTD_freeCCtx(raw.zstd);
    if (raw.fd >= 0)
        close(raw.fd);
    return err;
}
