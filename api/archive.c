/* SPDX-License-Identifier: MIT */
/* The three forms: RFC 2046, POSIX ustar, and APPNOTE.TXT of PKWARE for zip. */
#include "archive.h"

#include "cavage/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

enum { TAR_BLOCK = 512, US_PER_S = 1000000, NAME_SIZE = RENDITION_NAME_SIZE + 8 };

/* Sizes and offsets of a zip have 32 bits, and the last ones are taken. */
static const uint64_t bytes_max = UINT32_MAX - 2 * ARCHIVE_TEXT_SIZE;

/* An archive as it grows. */
struct maker {
    struct archive *a;
    const struct id *boundary;
    int64_t wall_us;
    size_t begun; /* of the text that is not a piece yet */
};

static char *room(struct maker *m)
{
    return m->a->text + m->a->text_len;
}

static void add_piece(struct maker *m, const void *data, size_t len)
{
    m->a->pieces[m->a->piece_count++] = (struct archive_piece){data, len};
    m->a->len += len;
}

/* What was written to the text since the last piece becomes one. */
static void end_text(struct maker *m)
{
    if (m->a->text_len > m->begun)
        add_piece(m, m->a->text + m->begun, m->a->text_len - m->begun);
    m->begun = m->a->text_len;
}

/* At most ARCHIVE_HEAD_MAX bytes. */
static void __attribute__((format(printf, 2, 3))) print(struct maker *m, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(room(m), ARCHIVE_HEAD_MAX, format, args);
    va_end(args);
    m->a->text_len += n > 0 ? (size_t)n : 0;
}

static void name_file(const struct archive_file *file, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "%s.%s", file->name, file->format == IMAGE_JPEG ? "jpg" : image_format_name(file->format));
}

/* ---- multipart/mixed ---- */

static void multipart_file(struct maker *m, const struct archive_file *file, const char *name, bool first)
{
    char boundary[ID_HEX_SIZE];
    id_to_hex(m->boundary, boundary);
    print(m,
          "%s--%s\r\nContent-Type: %s\r\nContent-Disposition: attachment; name=\"%s\"; filename=\"%s\"\r\n"
          "Content-Length: %zu\r\n\r\n",
          first ? "" : "\r\n", boundary, image_format_media_type(file->format), file->name, name, file->len);
}

static void multipart_end(struct maker *m)
{
    char boundary[ID_HEX_SIZE];
    id_to_hex(m->boundary, boundary);
    print(m, "\r\n--%s--\r\n", boundary);
}

static void make_multipart(struct maker *m, const struct archive_file *files, size_t count)
{
    char boundary[ID_HEX_SIZE];
    id_to_hex(m->boundary, boundary);
    snprintf(m->a->media_type, sizeof(m->a->media_type), "%s; boundary=%s", archive_media_type(ARCHIVE_MULTIPART),
             boundary);
    for (size_t i = 0; i < count; i++) {
        char name[NAME_SIZE];
        name_file(&files[i], name);
        multipart_file(m, &files[i], name, i == 0);
        end_text(m);
        add_piece(m, files[i].data, files[i].len);
    }
    multipart_end(m);
    end_text(m);
}

/* ---- tar ---- */

struct tar_header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
    char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct tar_header) == TAR_BLOCK, "a tar header is a block");
_Static_assert((int)TAR_BLOCK <= (int)ARCHIVE_HEAD_MAX, "it fits");

static void tar_octal(char *field, size_t size, uint64_t n)
{
    char text[32];
    snprintf(text, sizeof(text), "%0*llo", (int)size - 1, (unsigned long long)n);
    memcpy(field, text, size);
}

static void tar_file(struct maker *m, const struct archive_file *file, const char *name)
{
    struct tar_header h;
    unsigned sum = 0;
    memset(&h, 0, sizeof(h));
    memcpy(h.name, name, strlen(name));
    tar_octal(h.mode, sizeof(h.mode), 0644);
    tar_octal(h.uid, sizeof(h.uid), 0);
    tar_octal(h.gid, sizeof(h.gid), 0);
    tar_octal(h.size, sizeof(h.size), file->len);
    tar_octal(h.mtime, sizeof(h.mtime), m->wall_us > 0 ? (uint64_t)(m->wall_us / US_PER_S) : 0);
    h.type = '0';
    memcpy(h.magic, "ustar", 6);
    memcpy(h.version, "00", 2);
    memset(h.checksum, ' ', sizeof(h.checksum));
    for (size_t i = 0; i < sizeof(h); i++)
        sum += ((const unsigned char *)&h)[i];
    tar_octal(h.checksum, sizeof(h.checksum) - 1, sum);
    memcpy(room(m), &h, sizeof(h));
    m->a->text_len += sizeof(h);
}

static void make_tar(struct maker *m, const struct archive_file *files, size_t count)
{
    static const char zeros[2 * TAR_BLOCK];
    snprintf(m->a->media_type, sizeof(m->a->media_type), "%s", archive_media_type(ARCHIVE_TAR));
    for (size_t i = 0; i < count; i++) {
        char name[NAME_SIZE];
        name_file(&files[i], name);
        tar_file(m, &files[i], name);
        end_text(m);
        add_piece(m, files[i].data, files[i].len);
        if (files[i].len % TAR_BLOCK != 0)
            add_piece(m, zeros, TAR_BLOCK - files[i].len % TAR_BLOCK);
    }
    add_piece(m, zeros, sizeof(zeros));
}

/* ---- zip ---- */

enum {
    ZIP_LOCAL = 0x04034b50,
    ZIP_CENTRAL = 0x02014b50,
    ZIP_END = 0x06054b50,
    ZIP_NEEDS = 10,           /* version 1.0: nothing but stored files */
    ZIP_MADE_BY = 3 << 8 | 30 /* Unix, so that the mode below counts */
};
static const uint32_t zip_mode = (uint32_t)0100644 << 16;

static void put16(struct maker *m, uint32_t n)
{
    char *p = room(m);
    p[0] = (char)(n & 0xff);
    p[1] = (char)(n >> 8 & 0xff);
    m->a->text_len += 2;
}

static void put32(struct maker *m, uint64_t n)
{
    put16(m, (uint32_t)n & 0xffff);
    put16(m, (uint32_t)(n >> 16) & 0xffff);
}

/* As MS-DOS has it, in UTC: date above time. */
static uint32_t zip_time(int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / US_PER_S);
    struct tm t;
    if (!gmtime_r(&seconds, &t) || t.tm_year < 80 || t.tm_year > 207)
        return 1U << 21 | 1U << 16;
    uint32_t date = (uint32_t)(t.tm_year - 80) << 9 | (uint32_t)(t.tm_mon + 1) << 5 | (uint32_t)t.tm_mday;
    return date << 16 | (uint32_t)t.tm_hour << 11 | (uint32_t)t.tm_min << 5 | (uint32_t)t.tm_sec / 2;
}

/* What the local and the central header of a file have in common. */
static void zip_common(struct maker *m, const struct archive_file *file, const char *name, uint32_t sum)
{
    put16(m, ZIP_NEEDS);
    put16(m, 0); /* flags */
    put16(m, 0); /* stored */
    put32(m, zip_time(m->wall_us));
    put32(m, sum);
    put32(m, file->len);
    put32(m, file->len);
    put16(m, (uint32_t)strlen(name));
    put16(m, 0); /* no extra field */
}

static void zip_name(struct maker *m, const char *name)
{
    memcpy(room(m), name, strlen(name));
    m->a->text_len += strlen(name);
}

static void zip_local(struct maker *m, const struct archive_file *file, uint32_t sum)
{
    char name[NAME_SIZE];
    name_file(file, name);
    put32(m, ZIP_LOCAL);
    zip_common(m, file, name, sum);
    zip_name(m, name);
}

static void zip_central(struct maker *m, const struct archive_file *file, uint32_t sum, uint64_t offset)
{
    char name[NAME_SIZE];
    name_file(file, name);
    put32(m, ZIP_CENTRAL);
    put16(m, ZIP_MADE_BY);
    zip_common(m, file, name, sum);
    put16(m, 0); /* no comment */
    put16(m, 0); /* disk */
    put16(m, 0); /* not a text */
    put32(m, zip_mode);
    put32(m, offset);
    zip_name(m, name);
}

static void zip_end(struct maker *m, size_t count, uint64_t begin, uint64_t len)
{
    put32(m, ZIP_END);
    put16(m, 0);
    put16(m, 0);
    put16(m, (uint32_t)count);
    put16(m, (uint32_t)count);
    put32(m, len);
    put32(m, begin);
    put16(m, 0);
}

static void make_zip(struct maker *m, const struct archive_file *files, size_t count)
{
    uint32_t sums[RENDITIONS_MAX];
    uint64_t offsets[RENDITIONS_MAX];
    snprintf(m->a->media_type, sizeof(m->a->media_type), "%s", archive_media_type(ARCHIVE_ZIP));
    for (size_t i = 0; i < count; i++) {
        sums[i] = (uint32_t)crc32_z(0, files[i].data, files[i].len);
        offsets[i] = m->a->len;
        zip_local(m, &files[i], sums[i]);
        end_text(m);
        add_piece(m, files[i].data, files[i].len);
    }
    uint64_t begin = m->a->len;
    for (size_t i = 0; i < count; i++)
        zip_central(m, &files[i], sums[i], offsets[i]);
    zip_end(m, count, begin, m->a->text_len - m->begun);
    end_text(m);
}

/* ---- All ---- */

static const struct {
    const char *media_type;
    void (*make)(struct maker *m, const struct archive_file *files, size_t count);
} forms[ARCHIVE_FORMS] = {
    [ARCHIVE_MULTIPART] = {"multipart/mixed", make_multipart},
    [ARCHIVE_TAR] = {"application/x-tar", make_tar},
    [ARCHIVE_ZIP] = {"application/zip", make_zip},
};

const char *archive_media_type(enum archive_form form)
{
    return forms[form].media_type;
}

int archive_make(enum archive_form form, const struct archive_file *files, size_t count, const struct id *boundary,
                 int64_t wall_us, struct archive *out)
{
    uint64_t bytes = 0;
    if (count == 0 || count > RENDITIONS_MAX)
        return ERR_RANGE;
    for (size_t i = 0; i < count; i++)
        if (files[i].len > bytes_max || (bytes += files[i].len) > bytes_max)
            return ERR_RANGE;
    out->piece_count = out->len = out->text_len = 0;
    struct maker m = {.a = out, .boundary = boundary, .wall_us = wall_us};
    forms[form].make(&m, files, count);
    return 0;
}
