/* SPDX-License-Identifier: MIT */
/* Fuzz: the walk through an SVG stays within its bytes, changes nothing but the names it hides, and lets through what it lets through again. */
#include "cavage/svg.h"

#include "cavage/err.h"

#include <stdlib.h>
#include <string.h>

static void require(int held)
{
    if (!held)
        abort();
}

/* Where the copy differs, a "text" became a "desc". */
static void check_copy(const uint8_t *data, const uint8_t *copy, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] == copy[i])
            continue;
        require(len - i >= 4 && memcmp(data + i, "text", 4) == 0 && memcmp(copy + i, "desc", 4) == 0);
        i += 3;
    }
}

/* What was let through stays as it is. */
static int prepare_again(const uint8_t *data, size_t size, uint8_t *room, uint64_t pixels)
{
    uint64_t again;
    return svg_prepare(data, size, room, &again) == 0 && again == pixels && memcmp(data, room, size) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_header h;
    uint64_t pixels;
    uint8_t *copy = malloc(size > 0 ? size : 1);
    uint8_t *twice = malloc(size > 0 ? size : 1);
    int read = image_header_read(data, size, &h);
    if (!copy || !twice)
        abort();
    int err = svg_prepare(data, size, copy, &pixels);
    require(err == 0 || err == ERR_CORRUPT || err == ERR_DENIED);
    check_copy(data, copy, size);
    if (err == 0) {
        require(prepare_again(copy, size, twice, pixels));
        require(h.format == IMAGE_SVG || size > SVG_PROLOG_MAX);
    }
    require(read != 0 || h.format != IMAGE_SVG || (h.width <= SVG_SIDE_MAX && h.height <= SVG_SIDE_MAX));
    free(copy);
    free(twice);
    return 0;
}
