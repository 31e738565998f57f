/* SPDX-License-Identifier: MIT */
/* Makes file names and URLs for `cavage resize`. */
#include "resize_name.h"

#include "cavage/err.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char *extension(enum image_format format)
{
    if (format == IMAGE_JPEG)
        return "jpg";
    return format == IMAGE_UNKNOWN ? "bin" : image_format_name(format);
}

int resize_name(const char *dir, const char *input, const struct image_header *header, unsigned number, char *out,
                size_t size)
{
    const char *slash = strrchr(input, '/'), *base = slash ? slash + 1 : input, *dot = strrchr(base, '.');
    int stem = dot && dot != base ? (int)(dot - base) : (int)strlen(base);
    char counter[16] = "";
    if (number > 1)
        snprintf(counter, sizeof(counter), "-%u", number);
    int folder = dir ? (int)strlen(dir) : (int)(base - input);
    const char *separator = dir && folder > 0 && dir[folder - 1] != '/' ? "/" : "";
    int len = snprintf(out, size, "%.*s%s%.*s-%" PRIu32 "x%" PRIu32 "%s.%s", folder, dir ? dir : input, separator, stem,
                       base, header->width, header->height, counter, extension(header->format));
    return len >= 0 && (size_t)len < size ? ERR_OK : ERR_RANGE;
}

int resize_query_add(char *url, size_t size, const char *name, const char *value)
{
    size_t len = strlen(url);
    int added = snprintf(url + len, size - len, "%c%s=", strchr(url, '?') ? '&' : '?', name);
    if (added < 0 || (size_t)added >= size - len)
        return ERR_RANGE;
    len += (size_t)added;
    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        bool plain = isalnum(*p) || strchr("-._~", *p);
        if (len + (plain ? 1 : 3) >= size)
            return ERR_RANGE;
        len += (size_t)snprintf(url + len, size - len, plain ? "%c" : "%%%02X", *p);
    }
    return ERR_OK;
}
