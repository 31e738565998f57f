/* SPDX-License-Identifier: MIT */
/* Image headers: the table of formats, and the readers of JPEG, PNG, WebP and GIF. */
#include "cavage/image_header.h"

#include "cavage/err.h"
#include "cavage/svg.h"
#include "image_header_parts.h"

#include <string.h>
#include <strings.h>

static bool has_at(const uint8_t *data, size_t len, size_t at, const char *text, size_t text_len)
{
    return len >= at + text_len && memcmp(data + at, text, text_len) == 0;
}

static bool jpeg_sniff(const uint8_t *data, size_t len)
{
    return has_at(data, len, 0, "\xff\xd8\xff", 3);
}

/* SOF0 .. SOF15 without DHT, JPG and DAC. */
static bool jpeg_is_sof(unsigned marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static bool jpeg_is_alone(unsigned marker)
{
    return marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8);
}

/* The next marker, skipping stray bytes between segments as decoders do; 0 at the end. */
static unsigned jpeg_marker(const uint8_t *data, size_t len, size_t *at)
{
    size_t i = *at;
    while (i + 1 < len) {
        if (data[i] == 0xff && data[i + 1] != 0xff && data[i + 1] != 0) {
            *at = i + 2;
            return data[i + 1];
        }
        i++;
    }
    return 0;
}

static int jpeg_read(const uint8_t *data, size_t len, struct image_header *out)
{
    enum { EOI = 0xd9, SOS = 0xda };
    size_t at = 2;
    unsigned marker;
    while ((marker = jpeg_marker(data, len, &at)) != 0) {
        if (jpeg_is_alone(marker))
            continue;
        if (marker == EOI || marker == SOS || len - at < 2)
            return ERR_CORRUPT;
        size_t segment = header_u16be(data + at);
        if (segment < 2 || segment > len - at)
            return ERR_CORRUPT;
        if (jpeg_is_sof(marker)) {
            if (segment < 8)
                return ERR_CORRUPT;
            out->height = header_u16be(data + at + 3);
            out->width = header_u16be(data + at + 5);
            return 0;
        }
        at += segment;
    }
    return ERR_CORRUPT;
}

static bool png_sniff(const uint8_t *data, size_t len)
{
    return has_at(data, len, 0, "\x89PNG\r\n\x1a\n", 8);
}

static int png_read(const uint8_t *data, size_t len, struct image_header *out)
{
    if (len < 33 || header_u32be(data + 8) != 13 || memcmp(data + 12, "IHDR", 4) != 0)
        return ERR_CORRUPT;
    out->width = header_u32be(data + 16);
    out->height = header_u32be(data + 20);
    return 0;
}

static bool webp_sniff(const uint8_t *data, size_t len)
{
    return has_at(data, len, 0, "RIFF", 4) && has_at(data, len, 8, "WEBP", 4);
}

/* Frames of an animation, from the chunks that are there. */
static uint32_t webp_frames(const uint8_t *data, size_t len, size_t at)
{
    uint32_t frames = 0;
    while (len - at >= 8) {
        size_t size = header_u32le(data + at + 4);
        if (memcmp(data + at, "ANMF", 4) == 0)
            frames++;
        size += size & 1;
        if (size > len - at - 8)
            break;
        at += 8 + size;
    }
    return frames > 0 ? frames : 1;
}

static int webp_read(const uint8_t *data, size_t len, struct image_header *out)
{
    enum { CHUNK = 12, BODY = 20, FLAG_ANIMATION = 2 };
    if (len < BODY + 10)
        return ERR_CORRUPT;
    const uint8_t *body = data + BODY;
    size_t size = header_u32le(data + CHUNK + 4);
    if (memcmp(data + CHUNK, "VP8 ", 4) == 0) {
        if (size < 10 || memcmp(body + 3, "\x9d\x01\x2a", 3) != 0)
            return ERR_CORRUPT;
        out->width = header_u16le(body + 6) & 0x3fff;
        out->height = header_u16le(body + 8) & 0x3fff;
    } else if (memcmp(data + CHUNK, "VP8L", 4) == 0) {
        if (size < 5 || body[0] != 0x2f)
            return ERR_CORRUPT;
        uint32_t bits = header_u32le(body + 1);
        out->width = (bits & 0x3fff) + 1;
        out->height = (bits >> 14 & 0x3fff) + 1;
    } else if (memcmp(data + CHUNK, "VP8X", 4) == 0) {
        if (size < 10)
            return ERR_CORRUPT;
        out->width = header_u24le(body + 4) + 1;
        out->height = header_u24le(body + 7) + 1;
        if (body[0] & FLAG_ANIMATION)
            out->pages = webp_frames(data, len, CHUNK);
    } else {
        return ERR_CORRUPT;
    }
    return 0;
}

static bool gif_sniff(const uint8_t *data, size_t len)
{
    return has_at(data, len, 0, "GIF87a", 6) || has_at(data, len, 0, "GIF89a", 6);
}

/* Bytes of a colour table that the flags announce. */
static size_t gif_table_bytes(uint8_t flags)
{
    return flags & 0x80 ? (size_t)3 << ((flags & 7) + 1) : 0;
}

/* Past the sub-blocks that begin at `at`; len when they are cut off. */
static size_t gif_skip_blocks(const uint8_t *data, size_t len, size_t at)
{
    while (at < len) {
        size_t size = data[at++];
        if (size == 0)
            return at;
        if (size > len - at)
            return len;
        at += size;
    }
    return len;
}

static int gif_read(const uint8_t *data, size_t len, struct image_header *out)
{
    enum { SCREEN = 13, DESCRIPTOR = 10, EXTENSION = 0x21, IMAGE = 0x2c };
    if (len < SCREEN)
        return ERR_CORRUPT;
    uint32_t width = header_u16le(data + 6);
    uint32_t height = header_u16le(data + 8);
    uint32_t frames = 0;
    size_t at = SCREEN + gif_table_bytes(data[10]);
    while (at < len) {
        if (data[at] == EXTENSION) {
            at = gif_skip_blocks(data, len, at + 2);
        } else if (data[at] == IMAGE && len - at > DESCRIPTOR) {
            const uint8_t *d = data + at;
            uint32_t right = (uint32_t)header_u16le(d + 1) + header_u16le(d + 5);
            uint32_t bottom = (uint32_t)header_u16le(d + 3) + header_u16le(d + 7);
            width = right > width ? right : width;
            height = bottom > height ? bottom : height;
            frames++;
            at = gif_skip_blocks(data, len, at + DESCRIPTOR + gif_table_bytes(d[9]) + 1);
        } else {
            break;
        }
    }
    if (frames == 0)
        return ERR_CORRUPT;
    out->width = width;
    out->height = height;
    out->pages = frames;
    return 0;
}

static const struct format {
    const char *name;
    const char *alias;
    const char *media_type;
    bool has_quality;
    bool from_front; /* what was read from a part of the file is what the whole of it says */
    bool (*sniff)(const uint8_t *data, size_t len);
    int (*read)(const uint8_t *data, size_t len, struct image_header *out);
} formats[IMAGE_FORMAT_COUNT] = {
    [IMAGE_UNKNOWN] = {"unknown", NULL, "application/octet-stream", false, false, NULL, NULL},
    [IMAGE_JPEG] = {"jpeg", "jpg", "image/jpeg", true, true, jpeg_sniff, jpeg_read},
    [IMAGE_PNG] = {"png", NULL, "image/png", false, true, png_sniff, png_read},
    [IMAGE_WEBP] = {"webp", NULL, "image/webp", true, false, webp_sniff, webp_read},
    [IMAGE_AVIF] = {"avif", NULL, "image/avif", true, false, header_avif_sniff, header_avif_read},
    [IMAGE_GIF] = {"gif", NULL, "image/gif", false, false, gif_sniff, gif_read},
    [IMAGE_TIFF] = {"tiff", "tif", "image/tiff", false, false, header_tiff_sniff, header_tiff_read},
    [IMAGE_SVG] = {"svg", NULL, "image/svg+xml", false, false, svg_sniff, svg_read},
};

static const struct format *format_of(enum image_format format)
{
    return &formats[(unsigned)format < IMAGE_FORMAT_COUNT ? format : IMAGE_UNKNOWN];
}

enum image_format image_sniff(const uint8_t *data, size_t len)
{
    for (size_t i = 1; i < IMAGE_FORMAT_COUNT; i++)
        if (formats[i].sniff(data, len))
            return (enum image_format)i;
    return IMAGE_UNKNOWN;
}

int image_header_read(const uint8_t *data, size_t len, struct image_header *out)
{
    enum image_format format = image_sniff(data, len);
    struct image_header header = {.format = format, .pages = 1};
    *out = (struct image_header){.format = format};
    if (format == IMAGE_UNKNOWN)
        return ERR_NOTFOUND;
    int err = formats[format].read(data, len, &header);
    if (err)
        return err;
    if (header.width == 0 || header.height == 0 || header.width > INT32_MAX || header.height > INT32_MAX)
        return ERR_CORRUPT;
    *out = header;
    return 0;
}

int image_header_read_front(const uint8_t *data, size_t len, struct image_header *out)
{
    int err = image_header_read(data, len, out);
    if (err || !format_of(out->format)->from_front) {
        *out = (struct image_header){0};
        return ERR_AGAIN;
    }
    return 0;
}

uint64_t image_header_pixels(const struct image_header *header)
{
    uint64_t pixels = 0;
    if (__builtin_mul_overflow((uint64_t)header->width, (uint64_t)header->height, &pixels) ||
        __builtin_mul_overflow(pixels, (uint64_t)header->pages, &pixels))
        return UINT64_MAX;
    return pixels;
}

bool image_format_is_written(enum image_format format)
{
    return format > IMAGE_UNKNOWN && format < IMAGE_SVG;
}

bool image_format_has_quality(enum image_format format)
{
    return format_of(format)->has_quality;
}

const char *image_format_name(enum image_format format)
{
    return format_of(format)->name;
}

enum image_format image_format_by_name(const char *name)
{
    for (size_t i = 1; i < IMAGE_FORMAT_COUNT; i++) {
        const struct format *f = &formats[i];
        if (strcasecmp(name, f->name) == 0 || (f->alias && strcasecmp(name, f->alias) == 0))
            return (enum image_format)i;
    }
    return IMAGE_UNKNOWN;
}

const char *image_format_media_type(enum image_format format)
{
    return format_of(format)->media_type;
}
