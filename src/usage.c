/* SPDX-License-Identifier: MIT */
/* Usage records as protobuf and as JSON. UsageRecord of wire.proto is flat, so one table serves packing, unpacking and printing, without
 * an allocation: the records of every request pass here several times. */
#include "cavage/usage.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/utf8.h"

#include <stdio.h>
#include <string.h>

enum kind { KIND_TEXT, KIND_U32, KIND_U64, KIND_TIME, KIND_BOOL, KIND_DIGEST };
enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { FIELD_CONFIRMED = 23, US_PER_S = 1000000 };

static const int64_t hour_us = INT64_C(3600) * US_PER_S;
static const int64_t time_max_us = INT64_C(253402300800) * US_PER_S; /* the year 10000 */

struct field {
    const char *name;
    enum kind kind;
    uint16_t offset;
    uint16_t size; /* of text, with NUL */
};

#define TEXT(f)                                                                                \
    {                                                                                          \
#f, KIND_TEXT, offsetof(struct usage_record, f), sizeof(((struct usage_record *)0)->f) \
    }
#define PLAIN(f, k)                                \
    {                                              \
#f, k, offsetof(struct usage_record, f), 0 \
    }

/* By field number of UsageRecord, from 1. A new field goes to the end here, to wire.proto and to struct usage_record. */
static const struct field fields[] = {
    {NULL, KIND_TEXT, 0, 0},
    TEXT(request_id),
    TEXT(idempotency_key),
    TEXT(customer),
    TEXT(key_id),
    TEXT(source),
    PLAIN(time_us, KIND_TIME),
    TEXT(instance),
    TEXT(operation),
    TEXT(request),
    PLAIN(status, KIND_U32),
    TEXT(outcome),
    PLAIN(input_bytes, KIND_U64),
    PLAIN(output_bytes, KIND_U64),
    PLAIN(input_pixels, KIND_U64),
    PLAIN(output_pixels, KIND_U64),
    TEXT(input_format),
    TEXT(output_format),
    PLAIN(cpu_us, KIND_U64),
    PLAIN(queue_us, KIND_U64),
    PLAIN(convert_us, KIND_U64),
    PLAIN(total_us, KIND_U64),
    TEXT(worker),
    PLAIN(confirmed, KIND_BOOL),
    PLAIN(body_digest, KIND_DIGEST),
    PLAIN(count, KIND_U32),
    PLAIN(outputs, KIND_U32),
};
enum { FIELD_COUNT = sizeof fields / sizeof fields[0] };

/* ---- Writing protobuf ---- */

struct out {
    uint8_t *data;
    size_t len, size;
    bool full;
};

static void put_varint(struct out *o, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;
    do {
        bytes[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
    } while (v > 0);
    if (n > o->size - o->len) {
        o->full = true;
        return;
    }
    memcpy(o->data + o->len, bytes, n);
    o->len += n;
}

static void put_bytes(struct out *o, unsigned number, const void *data, size_t len)
{
    put_varint(o, (uint64_t)number << 3 | WIRE_BYTES);
    put_varint(o, len);
    if (len > o->size - o->len) {
        o->full = true;
        return;
    }
    memcpy(o->data + o->len, data, len);
    o->len += len;
}

static void put_text(struct out *o, unsigned number, const char *text, size_t size)
{
    size_t len = strnlen(text, size - 1);
    if (len == 0)
        return;
    put_bytes(o, number, text, len);
    if (o->full)
        return;
    for (uint8_t *p = o->data + o->len - len; p < o->data + o->len; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
}

static uint64_t number_of(const struct field *f, const void *at)
{
    uint32_t u32;
    uint64_t u64;
    bool yes;
    switch (f->kind) {
    case KIND_U32:
        memcpy(&u32, at, sizeof u32);
        return u32;
    case KIND_BOOL:
        memcpy(&yes, at, sizeof yes);
        return yes;
    default:
        memcpy(&u64, at, sizeof u64);
        return u64;
    }
}

int usage_pack(const struct usage_record *record, uint8_t *out, size_t size, size_t *len)
{
    struct out o = {.data = out, .size = size};
    for (unsigned i = 1; i < FIELD_COUNT; i++) {
        const struct field *f = &fields[i];
        const char *at = (const char *)record + f->offset;
        if (f->kind == KIND_TEXT) {
            put_text(&o, i, at, f->size);
        } else if (f->kind == KIND_DIGEST) {
            if (record->has_body_digest)
                put_bytes(&o, i, at, sizeof record->body_digest);
        } else if (number_of(f, at) != 0) {
            put_varint(&o, (uint64_t)i << 3 | WIRE_VARINT);
            put_varint(&o, number_of(f, at));
        }
    }
    if (o.full)
        return ERR_RANGE;
    *len = o.len;
    return ERR_OK;
}

/* ---- Reading protobuf ---- */

struct in {
    const uint8_t *p, *end;
};

static bool get_varint(struct in *in, uint64_t *v)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && in->p < in->end; shift += 7) {
        uint8_t byte = *in->p++;
        if (shift == 63 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *v = value;
            return true;
        }
    }
    return false;
}

static bool get_bytes(struct in *in, const uint8_t **data, size_t *len)
{
    uint64_t n;
    if (!get_varint(in, &n) || n > (size_t)(in->end - in->p))
        return false;
    *data = in->p;
    *len = (size_t)n;
    in->p += n;
    return true;
}

static bool skip_field(struct in *in, unsigned type)
{
    uint64_t v;
    const uint8_t *data;
    size_t len;
    switch (type) {
    case WIRE_VARINT:
        return get_varint(in, &v);
    case WIRE_BYTES:
        return get_bytes(in, &data, &len);
    case WIRE_FIXED64:
    case WIRE_FIXED32:
        len = type == WIRE_FIXED64 ? 8 : 4;
        if ((size_t)(in->end - in->p) < len)
            return false;
        in->p += len;
        return true;
    default:
        return false;
    }
}

static int store_bytes(const struct field *f, const uint8_t *data, size_t len, struct usage_record *r)
{
    char *at = (char *)r + f->offset;
    if (f->kind == KIND_DIGEST) {
        if (len != sizeof r->body_digest)
            return ERR_INVALID;
        memcpy(r->body_digest, data, len);
        r->has_body_digest = true;
        return ERR_OK;
    }
    if (len >= f->size)
        return ERR_RANGE;
    for (size_t i = 0; i < len; i++)
        if (data[i] < 0x20 || data[i] == 0x7f)
            return ERR_INVALID;
    memcpy(at, data, len);
    at[len] = '\0';
    return ERR_OK;
}

static int store_number(const struct field *f, uint64_t v, struct usage_record *r)
{
    char *at = (char *)r + f->offset;
    uint32_t u32 = (uint32_t)v;
    bool yes = v != 0;
    if (f->kind == KIND_U32 && v > UINT32_MAX)
        return ERR_RANGE;
    if (f->kind == KIND_TIME && v >= (uint64_t)time_max_us)
        return ERR_RANGE;
    if (f->kind == KIND_U32)
        memcpy(at, &u32, sizeof u32);
    else if (f->kind == KIND_BOOL)
        memcpy(at, &yes, sizeof yes);
    else
        memcpy(at, &v, sizeof v);
    return ERR_OK;
}

static int read_field(struct in *in, struct usage_record *r)
{
    uint64_t tag, v;
    const uint8_t *data;
    size_t len;

    if (!get_varint(in, &tag) || tag >> 3 == 0)
        return ERR_INVALID;
    unsigned type = (unsigned)(tag & 7);
    if (tag >> 3 >= FIELD_COUNT)
        return skip_field(in, type) ? ERR_OK : ERR_INVALID;
    const struct field *f = &fields[tag >> 3];
    if (f->kind == KIND_TEXT || f->kind == KIND_DIGEST) {
        if (type != WIRE_BYTES || !get_bytes(in, &data, &len))
            return ERR_INVALID;
        return store_bytes(f, data, len, r);
    }
    if (type != WIRE_VARINT || !get_varint(in, &v))
        return ERR_INVALID;
    return store_number(f, v, r);
}

int usage_unpack(const uint8_t *data, size_t len, struct usage_record *out)
{
    struct in in = {.p = data, .end = data + len};
    memset(out, 0, sizeof *out);
    while (in.p < in.end) {
        int err = read_field(&in, out);
        if (err)
            return err;
    }
    if (out->count == 0)
        out->count = 1;
    return ERR_OK;
}

/* ---- JSON ---- */

struct text {
    char *out;
    size_t len, size; /* one byte is kept for the NUL of snprintf */
    bool full;
};

static void add(struct text *t, const char *s, size_t len)
{
    if (t->full || len >= t->size - t->len) {
        t->full = true;
        return;
    }
    memcpy(t->out + t->len, s, len);
    t->len += len;
}

static void add_quoted(struct text *t, const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    add(t, "\"", 1);
    while (*p) {
        uint32_t code;
        size_t n = utf8_next(p, &code);
        char escape[7];
        if (n == 0)
            add(t, "\xef\xbf\xbd", 3);
        else if (code == '"' || code == '\\')
            add(t, (char[]){'\\', (char)code}, 2);
        else if (code < 0x20)
            add(t, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", code & 0xff));
        else
            add(t, (const char *)p, n);
        p += n ? n : 1;
    }
    add(t, "\"", 1);
}

static void add_field(struct text *t, const struct field *f, const struct usage_record *r)
{
    const char *at = (const char *)r + f->offset;
    char buf[ID_HEX_SIZE * 2];

    if (f->kind == KIND_DIGEST && !r->has_body_digest)
        return;
    if (t->len > 1)
        add(t, ",", 1);
    add_quoted(t, f->name);
    add(t, ":", 1);
    switch (f->kind) {
    case KIND_TEXT:
        add_quoted(t, at);
        break;
    case KIND_DIGEST:
        hex_encode(r->body_digest, sizeof r->body_digest, buf);
        add_quoted(t, buf);
        break;
    case KIND_BOOL:
        add(t, r->confirmed ? "true" : "false", r->confirmed ? 4 : 5);
        break;
    default:
        add(t, buf, (size_t)snprintf(buf, sizeof buf, "%llu", (unsigned long long)number_of(f, at)));
        break;
    }
}

int usage_json(const struct usage_record *record, char *out, size_t size)
{
    struct text t = {.out = out, .size = size, .full = size == 0};
    char time[25];

    clock_format(record->time_us, time);
    add(&t, "{\"time\":", 8);
    add_quoted(&t, time);
    for (unsigned i = 1; i < FIELD_COUNT; i++)
        add_field(&t, &fields[i], record);
    add(&t, "}\n", 2);
    if (t.full)
        return ERR_RANGE;
    out[t.len] = '\0';
    return (int)t.len;
}

/* ---- Hours and batches ---- */

int64_t usage_hour(int64_t time_us)
{
    return time_us / hour_us - (time_us % hour_us < 0);
}

int usage_next(const uint8_t *body, size_t len, size_t *pos, const uint8_t **record, size_t *record_len)
{
    if (*pos == len)
        return ERR_NOTFOUND;
    struct in in = {.p = body + *pos, .end = body + len};
    if (!get_bytes(&in, record, record_len) || *record_len == 0 || *record_len > USAGE_RECORD_MAX)
        return ERR_CORRUPT;
    *pos = (size_t)(in.p - body);
    return ERR_OK;
}

int usage_add(uint8_t *body, size_t size, size_t *pos, const uint8_t *record, size_t record_len, bool confirmed)
{
    /* The last value of a field counts, and `confirmed` is left out while it is false: so it can be added behind. */
    uint8_t mark[3] = {0};
    struct out m = {.data = mark, .size = sizeof mark};
    put_varint(&m, FIELD_CONFIRMED << 3 | WIRE_VARINT);
    put_varint(&m, 1);

    size_t mark_len = confirmed ? m.len : 0;
    struct out o = {.data = body, .len = *pos, .size = size};
    put_varint(&o, record_len + mark_len);
    if (o.full || record_len + mark_len > o.size - o.len || record_len + mark_len > USAGE_RECORD_MAX)
        return ERR_RANGE;
    memcpy(body + o.len, record, record_len);
    memcpy(body + o.len + record_len, mark, mark_len);
    *pos = o.len + record_len + mark_len;
    return ERR_OK;
}
