/* SPDX-License-Identifier: MIT */
/* IPTC records. */
#include "iptc.h"

#include <string.h>

enum { RECORD_HEAD = 5, MARK = 0x1c, BLOCK_HEAD = 4 + 2, IPTC_BLOCK = 0x0404 };

static const char photoshop[] = "Photoshop 3.0";
static const char block_mark[] = "8BIM";

struct range {
    const uint8_t *at;
    size_t len;
};

static bool skip(struct range *r, size_t len)
{
    if (len > r->len)
        return false;
    r->at += len;
    r->len -= len;
    return true;
}

static size_t u16(const uint8_t *p)
{
    return (size_t)p[0] << 8 | p[1];
}

static size_t u32(const uint8_t *p)
{
    return u16(p) << 16 | u16(p + 2);
}

/* One block of Photoshop's: its number, and what it holds. False at the end, or where there is none. */
static bool take_block(struct range *r, size_t *number, struct range *content)
{
    if (r->len < BLOCK_HEAD + 2 || memcmp(r->at, block_mark, 4) != 0)
        return false;
    *number = u16(r->at + 4);
    /* A name with its length before it, filled up to an even number. */
    size_t name = ((size_t)r->at[BLOCK_HEAD] + 2) & ~(size_t)1;
    if (!skip(r, BLOCK_HEAD) || !skip(r, name) || r->len < 4)
        return false;
    size_t len = u32(r->at);
    if (!skip(r, 4) || len > r->len)
        return false;
    *content = (struct range){r->at, len};
    return skip(r, len + (len & 1)) || skip(r, len);
}

/* The records within whatever is around them. */
static struct range find_records(const uint8_t *data, size_t len)
{
    struct range r = {data, len};
    struct range content;
    size_t number;
    if (len < sizeof(photoshop) || memcmp(data, photoshop, sizeof(photoshop)) != 0)
        return r;
    (void)skip(&r, sizeof(photoshop));
    while (take_block(&r, &number, &content))
        if (number == IPTC_BLOCK)
            return content;
    return (struct range){data, 0};
}

/* One record with its head: *kind is its two numbers. */
static bool take_record(struct range *r, unsigned *kind, struct range *whole)
{
    if (r->len < RECORD_HEAD || r->at[0] != MARK)
        return false;
    *kind = (unsigned)u16(r->at + 1);
    size_t len = u16(r->at + 3);
    /* Lengths of lengths are for what is longer than any text. */
    if (len & 0x8000 || len + RECORD_HEAD > r->len)
        return false;
    *whole = (struct range){r->at, len + RECORD_HEAD};
    return skip(r, len + RECORD_HEAD);
}

enum { CHARACTER_SET = 1 << 8 | 90, BY_LINE = 2 << 8 | 80, COPYRIGHT = 2 << 8 | 116 };

void iptc_read(const uint8_t *data, size_t len, struct notices *n)
{
    struct range r = find_records(data, len);
    struct range record;
    unsigned kind;
    while (take_record(&r, &kind, &record)) {
        const char *text = (const char *)record.at + RECORD_HEAD;
        if (kind == BY_LINE)
            notices_add(n, NOTICE_CREATOR, "", text, record.len - RECORD_HEAD);
        else if (kind == COPYRIGHT)
            notices_add(n, NOTICE_RIGHTS, "", text, record.len - RECORD_HEAD);
    }
}

/* The records that are wanted, one behind the other. */
static size_t copy_records(struct range r, bool all, uint8_t *out, size_t size)
{
    struct range record;
    unsigned kind;
    size_t len = 0;
    while (take_record(&r, &kind, &record)) {
        if (!all && kind != CHARACTER_SET && kind != BY_LINE && kind != COPYRIGHT)
            continue;
        if (record.len > size - len)
            return 0;
        memcpy(out + len, record.at, record.len);
        len += record.len;
    }
    return len;
}

/* libvips counts the tag in words of four bytes, and a recent libtiff takes the count for bytes: a quarter would be left. With an older one zeros follow,
 * which no reader takes for a record. */
enum { TIFF_FACTOR = 4 };

size_t iptc_write(const uint8_t *data, size_t len, bool all, bool for_jpeg, uint8_t out[IPTC_OUT_MAX])
{
    /* The block has a name of no characters. */
    static const uint8_t block[] = {'8', 'B', 'I', 'M', 0x04, 0x04, 0, 0};
    enum { HEAD = sizeof(photoshop) + sizeof(block) + 4, ROOM = 1 };
    size_t head = for_jpeg ? HEAD : 0;
    size_t room = for_jpeg ? IPTC_OUT_MAX - HEAD - ROOM : IPTC_OUT_MAX / TIFF_FACTOR;
    size_t n = copy_records(find_records(data, len), all, out + head, room);
    if (n > 0 && !for_jpeg)
        memset(out + n, 0, (TIFF_FACTOR - 1) * n);
    if (n == 0 || !for_jpeg)
        return n * TIFF_FACTOR;
    memcpy(out, photoshop, sizeof(photoshop));
    memcpy(out + sizeof(photoshop), block, sizeof(block));
    for (size_t i = 0; i < 4; i++)
        out[HEAD - 4 + i] = (uint8_t)(n >> (24 - 8 * i));
    if (n & 1)
        out[HEAD + n++] = 0;
    return HEAD + n;
}
