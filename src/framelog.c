/* SPDX-License-Identifier: MIT */
/* Frames with length and CRC in append-only files: appending, reading, and telling a torn tail from damage. */
#include "cavage/framelog.h"

#include "cavage/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static const uint8_t magic[3] = {'C', 'V', 'F'};

enum { AT_TYPE = 3, AT_LEN = 4, AT_DURABLE = 8, AT_CRC = 16 };
enum { READ_AHEAD_BYTES = 256 * 1024 };

struct framelog_reader {
    int fd;
    uint64_t limit;
    uint64_t buf_offset; /* file offset of buf[0] */
    uint64_t next;       /* file offset at which the next frame is looked for */
    uint64_t end;        /* of the last whole frame */
    uint8_t *buf;
    size_t len, cap;
};

static void put_le(uint8_t *p, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_le(const uint8_t *p, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* Half a byte at a time: for processors without an instruction for it. */
static uint32_t crc_portable(uint32_t crc, const uint8_t *p, size_t len)
{
    static const uint32_t table[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
                                       0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                       0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    while (len-- > 0) {
        crc ^= *p++;
        crc = table[crc & 15] ^ (crc >> 4);
        crc = table[crc & 15] ^ (crc >> 4);
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_x86(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t wide = crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    while (len-- > 0)
        crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}
#endif

uint32_t framelog_crc(uint32_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_x86(~crc, data, len);
#endif
    return ~crc_portable(~crc, data, len);
}

int framelog_append(int fd, uint64_t *size, uint8_t type, uint64_t durable, const struct framelog_part *parts,
                    size_t count)
{
    uint8_t header[FRAMELOG_HEADER_BYTES];
    struct iovec iov[FRAMELOG_PARTS_MAX + 1] = {{.iov_base = header, .iov_len = sizeof header}};
    size_t len = 0;

    if (count > FRAMELOG_PARTS_MAX)
        return ERR_RANGE;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > FRAMELOG_PAYLOAD_MAX - len)
            return ERR_RANGE;
        len += parts[i].len;
        iov[i + 1].iov_base = (void *)(uintptr_t)parts[i].data;
        iov[i + 1].iov_len = parts[i].len;
    }

    memcpy(header, magic, sizeof magic);
    header[AT_TYPE] = type;
    put_le(header + AT_LEN, len, 4);
    put_le(header + AT_DURABLE, durable, 8);
    uint32_t crc = framelog_crc(0, header, AT_CRC);
    for (size_t i = 0; i < count; i++)
        crc = framelog_crc(crc, parts[i].data, parts[i].len);
    put_le(header + AT_CRC, crc, 4);

    size_t total = sizeof header + len;
    ssize_t n;
    do
        n = writev(fd, iov, (int)count + 1);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)total) {
        /* A regular file takes part of a write only when the disk is full. */
        int saved = n < 0 ? errno : ENOSPC;
        if (n > 0 && ftruncate(fd, (off_t)*size) != 0)
            saved = errno;
        errno = saved;
        return ERR_IO;
    }
    *size += total;
    return ERR_OK;
}

int framelog_reader_new(int fd, uint64_t from, uint64_t limit, struct framelog_reader **out)
{
    struct framelog_reader *r = calloc(1, sizeof *r);
    if (!r)
        return ERR_NOMEM;
    r->fd = fd;
    r->limit = limit;
    r->buf_offset = r->next = r->end = from;
    *out = r;
    return ERR_OK;
}

void framelog_reader_free(struct framelog_reader *reader)
{
    if (!reader)
        return;
    free(reader->buf);
    free(reader);
}

uint64_t framelog_end(const struct framelog_reader *reader)
{
    return reader->end;
}

static int reserve(struct framelog_reader *r, size_t need)
{
    if (need <= r->cap)
        return ERR_OK;
    size_t cap = need + READ_AHEAD_BYTES;
    uint8_t *buf = realloc(r->buf, cap);
    if (!buf)
        return ERR_NOMEM;
    r->buf = buf;
    r->cap = cap;
    return ERR_OK;
}

/* Have `need` bytes at `next` in the buffer. ERR_NOTFOUND: the file, or the limit, ends before. */
static int fill(struct framelog_reader *r, size_t need)
{
    size_t used = (size_t)(r->next - r->buf_offset);
    if (r->len - used >= need)
        return ERR_OK;
    if (r->limit - r->next < need)
        return ERR_NOTFOUND;
    if (used > 0)
        memmove(r->buf, r->buf + used, r->len - used);
    r->len -= used;
    r->buf_offset = r->next;
    int err = reserve(r, need);
    if (err)
        return err;
    while (r->len < need) {
        uint64_t left = r->limit - r->buf_offset - r->len;
        size_t want = r->cap - r->len < left ? r->cap - r->len : (size_t)left;
        ssize_t n = pread(r->fd, r->buf + r->len, want, (off_t)(r->buf_offset + r->len));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_IO;
        if (n == 0)
            return ERR_NOTFOUND;
        r->len += (size_t)n;
    }
    return ERR_OK;
}

/* Is there a whole frame at `next`? ERR_NOTFOUND when the bytes end before one could, ERR_CORRUPT when it is none. */
static int try_frame(struct framelog_reader *r, struct framelog_frame *frame)
{
    int err = fill(r, FRAMELOG_HEADER_BYTES);
    if (err)
        return err;
    const uint8_t *p = r->buf + (r->next - r->buf_offset);
    if (memcmp(p, magic, sizeof magic) != 0)
        return ERR_CORRUPT;
    size_t len = (size_t)get_le(p + AT_LEN, 4);
    if (len > FRAMELOG_PAYLOAD_MAX)
        return ERR_CORRUPT;
    err = fill(r, FRAMELOG_HEADER_BYTES + len);
    if (err) /* a length that was damaged may point beyond the end, while whole frames follow */
        return err == ERR_NOTFOUND ? ERR_CORRUPT : err;
    p = r->buf + (r->next - r->buf_offset);
    uint32_t crc = framelog_crc(framelog_crc(0, p, AT_CRC), p + FRAMELOG_HEADER_BYTES, len);
    if (crc != (uint32_t)get_le(p + AT_CRC, 4))
        return ERR_CORRUPT;
    frame->type = p[AT_TYPE];
    frame->durable = get_le(p + AT_DURABLE, 8);
    frame->payload = p + FRAMELOG_HEADER_BYTES;
    frame->len = len;
    frame->offset = r->next;
    return ERR_OK;
}

int framelog_next(struct framelog_reader *reader, struct framelog_frame *frame)
{
    if (reader->limit < reader->next)
        return ERR_NOTFOUND;
    int err = try_frame(reader, frame);
    while (err == ERR_CORRUPT) {
        reader->next++;
        err = try_frame(reader, frame);
    }
    if (err)
        return err;
    frame->skipped = frame->offset - reader->end;
    reader->next = frame->offset + FRAMELOG_HEADER_BYTES + frame->len;
    reader->end = reader->next;
    return ERR_OK;
}

int framelog_check(int fd, uint64_t from, uint64_t limit, uint64_t *end)
{
    struct framelog_reader *reader;
    struct framelog_frame frame;
    bool hole = false, proved = false;

    *end = from;
    int err = framelog_reader_new(fd, from, limit, &reader);
    if (err)
        return err;
    while ((err = framelog_next(reader, &frame)) == ERR_OK) {
        hole = hole || frame.skipped > 0;
        if (!hole)
            *end = framelog_end(reader);
        else if (frame.durable > *end)
            proved = true;
    }
    framelog_reader_free(reader);
    if (err != ERR_NOTFOUND)
        return err;
    return proved ? ERR_CORRUPT : ERR_OK;
}
