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

/* A media range of the header. */
struct range {
    const char *name;
    size_t len;
    unsigned quality;
};

/* The next range, and the value after it. False at the end. An empty one has no length. */
static bool next_range(const char **value, struct range *r)
{
    if (**value == '\0')
        return false;
    const char *end = *value + strcspn(*value, ",");
    r->name = skip_blanks(*value, end);
    r->len = 0;
    while (r->name + r->len < end && r->name[r->len] != ';' && r->name[r->len] != ' ' && r->name[r->len] != '\t')
        r->len++;
    r->quality = quality_of(skip_blanks(r->name + r->len, end), end);
    *value = end + (*end == ',');
    return true;
}

static bool is_range(const struct range *r, const char *name)
{
    return strlen(name) == r->len && strncasecmp(r->name, name, r->len) == 0;
}

uint32_t accept_formats(const char *value)
{
    unsigned avif_quality = 0;
    unsigned webp_quality = 0;
    struct range r;
    while (next_range(&value, &r)) {
        if (is_range(&r, "image/avif"))
            avif_quality = r.quality;
        else if (is_range(&r, "image/webp"))
            webp_quality = r.quality;
    }
    return (avif_quality > 0 && avif_quality >= webp_quality ? AUTO_AVIF : 0) | (webp_quality > 0 ? AUTO_WEBP : 0);
}

/* How closely a range names a type: 0 not at all, then all types, those of the same kind, this one. */
static unsigned closeness(const struct range *r, const char *type)
{
    size_t kind = strcspn(type, "/") + 1;
    if (is_range(r, type))
        return 3;
    if (r->len == kind + 1 && r->name[kind] == '*' && strncasecmp(r->name, type, kind) == 0)
        return 2;
    return is_range(r, "*/*") ? 1 : 0;
}

void accept_archive_read(const char *value, struct accept_archive *a)
{
    struct range r;
    while (next_range(&value, &r)) {
        a->some = a->some || r.len > 0;
        for (size_t form = 0; form < ARCHIVE_FORMS; form++) {
            unsigned close = closeness(&r, archive_media_type((enum archive_form)form));
            bool closer = close > a->forms[form].closeness;
            if (closer || (close > 0 && close == a->forms[form].closeness && r.quality > a->forms[form].quality))
                a->forms[form].quality = r.quality;
            if (closer)
                a->forms[form].closeness = close;
        }
    }
}

bool accept_archive_choose(const struct accept_archive *a, enum archive_form *out)
{
    unsigned best = 0;
    *out = ARCHIVE_MULTIPART;
    for (size_t form = 0; form < ARCHIVE_FORMS; form++) {
        if (a->forms[form].quality <= best)
            continue;
        best = a->forms[form].quality;
        *out = (enum archive_form)form;
    }
    return best > 0 || !a->some;
}
