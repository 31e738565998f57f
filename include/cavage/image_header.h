/* SPDX-License-Identifier: MIT */
/* What an image says of itself in its first bytes: format, dimensions, pages. Pure, bounded, trusts nothing; decodes nothing. */
#ifndef CAVAGE_IMAGE_HEADER_H
#define CAVAGE_IMAGE_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The numbers travel in RESULT; add at the end. */
enum image_format {
    IMAGE_UNKNOWN = 0,
    IMAGE_JPEG = 1,
    IMAGE_PNG = 2,
    IMAGE_WEBP = 3,
    IMAGE_AVIF = 4,
    IMAGE_GIF = 5,
    IMAGE_TIFF = 6,
    IMAGE_SVG = 7 /* read only, and only where it is switched on */
};

enum { IMAGE_FORMAT_COUNT = 8, IMAGE_PAGES_MAX = 10000 };

struct image_header {
    enum image_format format;
    uint32_t width; /* as stored, before orientation; 0 when the header does not tell */
    uint32_t height;
    uint32_t
        pages; /* frames of an animation, pages of a TIFF; at least 1. The extra frames of an APNG are not counted: nothing reads them */
};

/* By magic bytes only. IMAGE_UNKNOWN when it is none of ours; BigTIFF and HEIC are not. */
enum image_format image_sniff(const uint8_t *data, size_t len);

/* Read the header. ERR_NOTFOUND: not a format we take. ERR_CORRUPT: it is, but its header is damaged or cut off, or tells of no
 * size, or of more than 10,000 pages of a TIFF. Work is O(len). On failure *out holds the format and zeros. */
int image_header_read(const uint8_t *data, size_t len, struct image_header *out);

/* Read the header from the first bytes of a file that may go on. ERR_AGAIN: the whole may say more, or something else. 0: image_header_read would say the same of
 * the whole file, whatever follows. */
int image_header_read_front(const uint8_t *data, size_t len, struct image_header *out);

/* Width x height x pages, UINT64_MAX when that is more: what bounds and bills an image. */
uint64_t image_header_pixels(const struct image_header *header);

/* Whether results can have the format. */
bool image_format_is_written(enum image_format format);

/* Whether a quality can be chosen when writing it. */
bool image_format_has_quality(enum image_format format);

/* "jpeg", "png", …; "unknown". */
const char *image_format_name(enum image_format format);
/* By name, "jpg" and "tif" too; IMAGE_UNKNOWN for others. */
enum image_format image_format_by_name(const char *name);
/* "image/jpeg", …; "application/octet-stream" for unknown. */
const char *image_format_media_type(enum image_format format);

#endif
