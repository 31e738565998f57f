/* SPDX-License-Identifier: MIT */
/* What the files of the image header reader share: integers from bytes, and the readers of the formats with a structure of their own. */
#ifndef CAVAGE_IMAGE_HEADER_PARTS_H
#define CAVAGE_IMAGE_HEADER_PARTS_H

#include "cavage/image_header.h"

static inline uint16_t header_u16be(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint16_t header_u16le(const uint8_t *p)
{
    return (uint16_t)(p[1] << 8 | p[0]);
}

static inline uint32_t header_u24le(const uint8_t *p)
{
    return (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static inline uint32_t header_u32be(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint32_t header_u32le(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

bool header_avif_sniff(const uint8_t *data, size_t len);
int header_avif_read(const uint8_t *data, size_t len, struct image_header *out);

bool header_tiff_sniff(const uint8_t *data, size_t len);
int header_tiff_read(const uint8_t *data, size_t len, struct image_header *out);

#endif
