/* SPDX-License-Identifier: MIT */
/* The AVIF header: brands, and the size that the primary item claims in the boxes of `meta`. */
#include "cavage/err.h"
#include "image_header_parts.h"

#include <string.h>

enum { PROPERTIES_MAX = 1024 };

/* A box's payload, or a run of boxes. */
struct span {
    const uint8_t *data;
    size_t len;
};

struct box {
    uint8_t type[4];
    struct span body;
};

/* Take the next box off the run. False at the end, and where it does not fit. */
static bool box_next(struct span *run, struct box *out)
{
    if (run->len < 8)
        return false;
    uint64_t size = header_u32be(run->data);
    size_t head = 8;
    if (size == 1) {
        if (run->len < 16)
            return false;
        size = (uint64_t)header_u32be(run->data + 8) << 32 | header_u32be(run->data + 12);
        head = 16;
    } else if (size == 0) {
        size = run->len;
    }
    if (size < head || size > run->len)
        return false;
    memcpy(out->type, run->data + 4, 4);
    out->body = (struct span){run->data + head, (size_t)size - head};
    run->data += size;
    run->len -= (size_t)size;
    return true;
}

static bool box_is(const struct box *box, const char *type)
{
    return memcmp(box->type, type, 4) == 0;
}

static bool box_find(struct span run, const char *type, struct span *out)
{
    struct box box;
    while (box_next(&run, &box)) {
        if (box_is(&box, type)) {
            *out = box.body;
            return true;
        }
    }
    return false;
}

/* Skip bytes of a payload, such as the version and flags of a full box. */
static bool span_skip(struct span *s, size_t n)
{
    if (s->len < n)
        return false;
    s->data += n;
    s->len -= n;
    return true;
}

static bool brand_is_avif(const uint8_t *brand)
{
    return memcmp(brand, "avif", 4) == 0 || memcmp(brand, "avis", 4) == 0;
}

/* AVIF by its major brand, or a generic major brand with AVIF among the compatible ones. HEIC is another codec. */
bool header_avif_sniff(const uint8_t *data, size_t len)
{
    struct span run = {data, len};
    struct box box;
    if (!box_next(&run, &box) || !box_is(&box, "ftyp") || box.body.len < 8)
        return false;
    const uint8_t *brands = box.body.data;
    if (brand_is_avif(brands))
        return true;
    if (memcmp(brands, "mif1", 4) != 0 && memcmp(brands, "msf1", 4) != 0 && memcmp(brands, "miaf", 4) != 0)
        return false;
    for (size_t at = 8; at + 4 <= box.body.len; at += 4)
        if (brand_is_avif(brands + at))
            return true;
    return false;
}

/* The primary item's id; 0 when there is none. */
static uint32_t primary_item(struct span meta)
{
    struct span pitm;
    if (!box_find(meta, "pitm", &pitm) || pitm.len < 6)
        return 0;
    if (pitm.data[0] == 0)
        return header_u16be(pitm.data + 4);
    return pitm.len >= 8 ? header_u32be(pitm.data + 4) : 0;
}

/* Sizes by property index, from 1; zero where a property is not a size. */
struct sizes {
    size_t count;
    struct {
        uint32_t width, height;
    } of[PROPERTIES_MAX];
};

static void sizes_read(struct span ipco, struct sizes *sizes)
{
    struct box box;
    sizes->count = 0;
    while (sizes->count < PROPERTIES_MAX && box_next(&ipco, &box)) {
        bool is_size = box_is(&box, "ispe") && box.body.len >= 12;
        sizes->of[sizes->count].width = is_size ? header_u32be(box.body.data + 4) : 0;
        sizes->of[sizes->count].height = is_size ? header_u32be(box.body.data + 8) : 0;
        sizes->count++;
    }
}

static void size_take(const struct sizes *sizes, size_t index, struct image_header *out)
{
    if (index >= 1 && index <= sizes->count && sizes->of[index - 1].width > 0) {
        out->width = sizes->of[index - 1].width;
        out->height = sizes->of[index - 1].height;
    }
}

/* Follow the item's associations to its size. `ipma` starts at its version and flags. */
static void size_of_item(struct span ipma, uint32_t item, const struct sizes *sizes, struct image_header *out)
{
    if (ipma.len < 8)
        return;
    size_t id_bytes = ipma.data[0] == 0 ? 2 : 4;
    size_t index_bytes = ipma.data[3] & 1 ? 2 : 1;
    uint32_t entries = header_u32be(ipma.data + 4);
    span_skip(&ipma, 8);
    for (uint32_t i = 0; i < entries && ipma.len > id_bytes; i++) {
        uint32_t id = id_bytes == 2 ? header_u16be(ipma.data) : header_u32be(ipma.data);
        size_t count = ipma.data[id_bytes];
        span_skip(&ipma, id_bytes + 1);
        if (ipma.len < count * index_bytes)
            return;
        for (size_t k = 0; id == item && k < count; k++) {
            const uint8_t *at = ipma.data + k * index_bytes;
            size_take(sizes, index_bytes == 2 ? header_u16be(at) & 0x7fff : *at & 0x7f, out);
        }
        span_skip(&ipma, count * index_bytes);
    }
}

static void size_largest(const struct sizes *sizes, struct image_header *out)
{
    uint64_t most = 0;
    for (size_t i = 0; i < sizes->count; i++) {
        uint64_t area = (uint64_t)sizes->of[i].width * sizes->of[i].height;
        if (area > most) {
            most = area;
            size_take(sizes, i + 1, out);
        }
    }
}

int header_avif_read(const uint8_t *data, size_t len, struct image_header *out)
{
    struct span meta, iprp, ipco, ipma;
    struct sizes sizes;
    if (!box_find((struct span){data, len}, "meta", &meta) || !span_skip(&meta, 4) || !box_find(meta, "iprp", &iprp) ||
        !box_find(iprp, "ipco", &ipco))
        return ERR_CORRUPT;
    sizes_read(ipco, &sizes);
    if (box_find(iprp, "ipma", &ipma))
        size_of_item(ipma, primary_item(meta), &sizes, out);
    if (out->width == 0 || out->height == 0)
        size_largest(&sizes, out);
    return 0;
}
