/* SPDX-License-Identifier: MIT */
/* A reader of media ranges and their qualities. */
#include "accept.h"

#include "cavage/params.h"

#include <string.h>
#include <strings.h>

enum { QUALITY_ONE = 1000 };

/* "q=0.25" as 250. What is none is as good as not said. */
static unsigned quality_read(const char *text, size_t len)
{
    unsigned n = 0;
    unsigned unit = QUALITY_ONE;
    if (len == 0 || (text[0] != '0' && text[0] != '1') || (len > 1 && text[1] != '.') || len > 5)
        return QUALITY_ONE;
    for (size_t i = 0; i < len; i++) {
        if (i == 1)
            continue;
        if (text[i] < '0' || text[i] > '9')
            return QUALITY_ONE;
        n += (unsigned)(text[i] - '0') * unit;
        unit /= 10;
    }
    return n < QUALITY_ONE ? n : QUALITY_ONE;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* The quality among the parameters of a range, which begin at `at`. */
static unsigned quality_of(const char *at, const char *end)
{
    while (at < end) {
        at = skip_blanks(at + 1, end);
        const char *next = at;
        while (next < end && *next != ';')
            next++;
        const char *stop = next;
        while (stop > at && (stop[-1] == ' ' || stop[-1] == '\t'))
            stop--;
        if (stop - at > 2 && strncasecmp(at, "q=", 2) == 0)
            return quality_read(at + 2, (size_t)(stop - at) - 2);
        at = next;
    }
    return QUALITY_ONE;
}

uint32_t accept_formats(const char *value)
{
    static const char avif[] = "image/avif";
    static const char webp[] = "image/webp";
    unsigned avif_quality = 0;
    unsigned webp_quality = 0;
    while (*value) {
        const char *end = value + strcspn(value, ",");
        const char *name = skip_blanks(value, end);
        size_t len = 0;
        while (name + len < end && name[len] != ';' && name[len] != ' ' && name[len] != '\t')
            len++;
        const char *rest = skip_blanks(name + len, end);
        if (len == sizeof(avif) - 1 && strncasecmp(name, avif, len) == 0)
            avif_quality = quality_of(rest, end);
        else if (len == sizeof(webp) - 1 && strncasecmp(name, webp, len) == 0)
            webp_quality = quality_of(rest, end);
        value = end + (*end == ',');
    }
    return (avif_quality > 0 && avif_quality >= webp_quality ? AUTO_AVIF : 0) | (webp_quality > 0 ? AUTO_WEBP : 0);
}
