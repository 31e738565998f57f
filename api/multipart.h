/* SPDX-License-Identifier: MIT */
/* Takes the one file out of a multipart/form-data body as it streams by. Pure; bounded memory. */
#ifndef CAVAGE_API_MULTIPART_H
#define CAVAGE_API_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

enum {
    MULTIPART_BOUNDARY_MAX = 70, /* RFC 2046 */
    MULTIPART_HEAD_MAX = 4096,   /* bytes of one part's headers */
    MULTIPART_PREAMBLE_MAX = 4096
};

enum multipart_state {
    MULTIPART_PREAMBLE, /* before the first boundary */
    MULTIPART_BREAK,    /* just after a boundary: a line end or "--" follows */
    MULTIPART_HEAD,     /* in a part's headers */
    MULTIPART_DATA,     /* in the file */
    MULTIPART_END       /* after the last boundary */
};

/* A parser; the fields are its own. */
struct multipart {
    enum multipart_state state;
    char delimiter[MULTIPART_BOUNDARY_MAX + 5]; /* CR LF "--" boundary */
    size_t delimiter_len;
    size_t matched; /* bytes of the delimiter that ended the input so far, not yet given away */
    size_t lent;    /* of them, how many were not in the input but taken as read before it */
    size_t skipped; /* bytes of the preamble */
    char head[MULTIPART_HEAD_MAX];
    size_t head_len;
    unsigned files;
};

/* Called with each piece of the file. Anything but 0 ends the parsing and is returned. */
typedef int (*multipart_fn)(void *arg, const void *data, size_t len);

/* Begin, with the value of Content-Type. ERR_NOTFOUND: it is not multipart/form-data; ERR_INVALID: its boundary is missing or malformed. */
int multipart_begin(struct multipart *m, const char *content_type);
/* Take bytes of the body. ERR_INVALID: malformed, or a part that is not a file, or a second file; ERR_RANGE: headers too long. *why then is one
 * sentence for the client. */
int multipart_feed(struct multipart *m, const void *data, size_t len, multipart_fn fn, void *arg, const char **why);
/* The body is over: 0 when it was complete and had one file, else ERR_INVALID and *why. */
int multipart_end(const struct multipart *m, const char **why);

#endif
