/* SPDX-License-Identifier: MIT */
/* Fuzz: the header reader keeps its promises on any bytes. Input that starts with "hex:" is read as hex digits, so that the corpus is text. */
#include "cavage/err.h"
#include "cavage/id.h"
#include "cavage/image_header.h"

#include <stdlib.h>
#include <string.h>

static void check_read(const struct image_header *h)
{
    if (h->format == IMAGE_UNKNOWN || h->width == 0 || h->height == 0 || h->pages == 0)
        abort();
    if (h->width > INT32_MAX || h->height > INT32_MAX || image_header_pixels(h) < h->width)
        abort();
}

/* What the front told, the whole says. */
static void check_front(const uint8_t *data, size_t size)
{
    struct image_header front, whole;
    if (image_header_read_front(data, size / 2, &front))
        return;
    if (image_header_read(data, size, &whole) || front.format != whole.format || front.width != whole.width ||
        front.height != whole.height || front.pages != whole.pages)
        abort();
}

static void check(const uint8_t *data, size_t size)
{
    struct image_header h;
    check_front(data, size);
    int err = image_header_read(data, size, &h);
    if (h.format != image_sniff(data, size) || (err == ERR_NOTFOUND) != (h.format == IMAGE_UNKNOWN))
        abort();
    if (err == 0)
        check_read(&h);
    else if (h.width != 0 || h.height != 0 || h.pages != 0)
        abort();
}

static void check_hex(const char *text, size_t len)
{
    while (len > 0 && text[len - 1] == '\n')
        len--;
    uint8_t *bytes = malloc(len / 2 + 1);
    if (bytes && hex_decode(text, len / 2 * 2, bytes, len / 2) == 0) {
        uint8_t *exact = realloc(bytes, len / 2 > 0 ? len / 2 : 1);
        bytes = exact ? exact : bytes;
        check(bytes, len / 2);
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 4 && memcmp(data, "hex:", 4) == 0)
        check_hex((const char *)data + 4, size - 4);
    else
        check(data, size);
    return 0;
}
