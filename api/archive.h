/* SPDX-License-Identifier: MIT */
/* Several pictures as one body: multipart/mixed, tar or zip. Nothing is packed, since pictures are; nothing is copied: the body is a list of pieces, of
 * which every second one is a picture where it lies. Pure. */
#ifndef CAVAGE_API_ARCHIVE_H
#define CAVAGE_API_ARCHIVE_H

#include "cavage/id.h"
#include "cavage/image_header.h"
#include "cavage/renditions.h"

#include <stddef.h>
#include <stdint.h>

/* In the order in which they are preferred where a client takes several alike. */
enum archive_form { ARCHIVE_MULTIPART, ARCHIVE_TAR, ARCHIVE_ZIP, ARCHIVE_FORMS };

enum {
    ARCHIVE_TYPE_SIZE = 96,
    ARCHIVE_HEAD_MAX = 512, /* bytes around one picture: a tar header is the longest */
    ARCHIVE_TEXT_SIZE = (2 * RENDITIONS_MAX + 2) * ARCHIVE_HEAD_MAX,
    ARCHIVE_PIECES_MAX = 3 * RENDITIONS_MAX + 1
};

/* A picture, called NAME.EXTENSION in the archive. */
struct archive_file {
    const char *name; /* as renditions_parse lets it in */
    enum image_format format;
    const uint8_t *data;
    size_t len; /* above 0 */
};

struct archive_piece {
    const void *data;
    size_t len;
};

struct archive {
    char media_type[ARCHIVE_TYPE_SIZE];
    struct archive_piece pieces[ARCHIVE_PIECES_MAX];
    size_t piece_count;
    size_t len; /* of all pieces */
    char text[ARCHIVE_TEXT_SIZE];
    size_t text_len;
};

/* "multipart/mixed", "application/x-tar", "application/zip". */
const char *archive_media_type(enum archive_form form);

/* List the pieces of a body with 1 .. RENDITIONS_MAX files; they point into *out and the files' data. `boundary` is random, so that no picture can hold
 * it; wall_us becomes the files' time. ERR_RANGE: too large for the form. */
int archive_make(enum archive_form form, const struct archive_file *files, size_t count, const struct id *boundary,
                 int64_t wall_us, struct archive *out);

#endif
