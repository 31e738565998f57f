/* SPDX-License-Identifier: MIT */
/* The TIFF header: the size of the first page, and how many pages are chained to it. */
#include "cavage/err.h"
#include "image_header_parts.h"

#include <string.h>

enum { IFD_ENTRY = 12, TAG_WIDTH = 256, TAG_HEIGHT = 257, TYPE_SHORT = 3, TYPE_LONG = 4 };

struct tiff {
    const uint8_t *data;
    size_t len;
    bool big_endian;
};

static uint32_t u16_at(const struct tiff *t, size_t at)
{
    return t->big_endian ? header_u16be(t->data + at) : header_u16le(t->data + at);
}

static uint32_t u32_at(const struct tiff *t, size_t at)
{
    return t->big_endian ? header_u32be(t->data + at) : header_u32le(t->data + at);
}

/* BigTIFF's 43 is not matched. */
bool header_tiff_sniff(const uint8_t *data, size_t len)
{
    return len >= 4 && (memcmp(data, "II*\0", 4) == 0 || memcmp(data, "MM\0*", 4) == 0);
}

/* Whether count entries and the next offset fit behind `at`, the place of an IFD. */
static bool ifd_fits(const struct tiff *t, size_t at, uint32_t *count)
{
    if (at < 8 || at > t->len || t->len - at < 2)
        return false;
    *count = u16_at(t, at);
    return (t->len - at - 2) / IFD_ENTRY >= *count && t->len - at - 2 - (size_t)*count * IFD_ENTRY >= 4;
}

static void ifd_dimensions(const struct tiff *t, size_t at, uint32_t count, struct image_header *out)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t entry = at + 2 + (size_t)i * IFD_ENTRY;
        uint32_t tag = u16_at(t, entry);
        uint32_t type = u16_at(t, entry + 2);
        if ((tag != TAG_WIDTH && tag != TAG_HEIGHT) || (type != TYPE_SHORT && type != TYPE_LONG))
            continue;
        uint32_t value = type == TYPE_SHORT ? u16_at(t, entry + 8) : u32_at(t, entry + 8);
        *(tag == TAG_WIDTH ? &out->width : &out->height) = value;
    }
}

int header_tiff_read(const uint8_t *data, size_t len, struct image_header *out)
{
    struct tiff t = {.data = data, .len = len, .big_endian = data[0] == 'M'};
    if (len < 8)
        return ERR_CORRUPT;
    uint32_t pages = 0;
    uint32_t count;
    size_t at = u32_at(&t, 4);
    /* A chain that bites its own tail ends at the bound. */
    while (at != 0 && pages <= IMAGE_PAGES_MAX && ifd_fits(&t, at, &count)) {
        if (pages == 0)
            ifd_dimensions(&t, at, count, out);
        pages++;
        at = u32_at(&t, at + 2 + (size_t)count * IFD_ENTRY);
    }
    if (pages == 0 || pages > IMAGE_PAGES_MAX)
        return ERR_CORRUPT;
    out->pages = pages;
    return 0;
}
