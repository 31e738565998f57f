/* SPDX-License-Identifier: MIT */
/* The Accept header, as far as format=auto and the form of an archive go by it. Pure. */
#ifndef CAVAGE_API_ACCEPT_H
#define CAVAGE_API_ACCEPT_H

#include "archive.h"

#include <stdbool.h>
#include <stdint.h>

/* AUTO_AVIF and AUTO_WEBP, where the value names them with a quality above 0; AVIF not where WebP is preferred to it. Wildcards name neither. The
 * value is hostile. */
uint32_t accept_formats(const char *value);

/* What was said of each form of an archive; all zero: nothing. */
struct accept_archive {
    bool some; /* a media range was there */
    struct {
        unsigned closeness, quality;
    } forms[ARCHIVE_FORMS];
};

/* Take one Accept header. The range that names a type most closely counts, wildcards included. The value is hostile. */
void accept_archive_read(const char *value, struct accept_archive *a);
/* The form with the highest quality, the first of those alike; multipart when nothing was said. False: none of them is taken. */
bool accept_archive_choose(const struct accept_archive *a, enum archive_form *out);

#endif
