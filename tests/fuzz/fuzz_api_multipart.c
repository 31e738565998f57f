/* SPDX-License-Identifier: MIT */
/* Fuzz: the multipart parser takes out the same file however its input is cut. The first line of the input is the Content-Type, the rest the body. */
#include "multipart.h"

#include "cavage/err.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BODY = 1 << 16, CUTS = 4 };

struct run {
    struct multipart m;
    int err;
    const char *why;
    size_t len;
    char file[MAX_BODY];
};

static void require(int held)
{
    if (!held)
        abort();
}

static int take(void *arg, const void *data, size_t len)
{
    struct run *r = arg;
    require(len > 0 && len <= sizeof(r->file) - r->len);
    memcpy(r->file + r->len, data, len);
    r->len += len;
    return 0;
}

/* Feed the body in pieces of up to `most` bytes, each in memory of exactly its size. */
static void feed(struct run *r, const char *body, size_t len, size_t most)
{
    for (size_t at = 0; at < len && r->err == 0;) {
        size_t piece = len - at < most ? len - at : most;
        char *exact = malloc(piece);
        require(exact != NULL);
        memcpy(exact, body + at, piece);
        r->err = multipart_feed(&r->m, exact, piece, take, r, &r->why);
        free(exact);
        at += piece;
    }
    if (r->err == 0)
        r->err = multipart_end(&r->m, &r->why);
}

/* The file is a run of the body's bytes and does not hold the delimiter. */
static void check_file(const struct run *r, const char *body, size_t len)
{
    require(r->len <= len && r->m.files <= 2);
    require((r->err != 0) == (r->why != NULL));
    require(r->err == 0 || r->err == ERR_INVALID || r->err == ERR_RANGE);
    if (r->len == 0)
        return;
    require(memmem(body, len, r->file, r->len) != NULL);
    require(memmem(r->file, r->len, r->m.delimiter, r->m.delimiter_len) == NULL);
}

static void check(const char *type, const char *body, size_t len)
{
    static const size_t pieces[CUTS] = {MAX_BODY, 1, 3, 61};
    static struct run runs[CUTS];
    for (int i = 0; i < CUTS; i++) {
        struct run *r = &runs[i];
        r->len = 0;
        r->why = NULL;
        r->err = multipart_begin(&r->m, type);
        if (r->err) {
            require(r->err == ERR_NOTFOUND || r->err == ERR_INVALID);
            return;
        }
        feed(r, body, len, pieces[i]);
        check_file(r, body, len);
        require(r->err == runs[0].err && r->why == runs[0].why);
        require(r->len == runs[0].len && memcmp(r->file, runs[0].file, r->len) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
    if (!end)
        return 0;
    size_t type_len = (size_t)(end - data);
    size_t len = size - type_len - 1;
    char *type = malloc(type_len + 1);
    require(type != NULL);
    memcpy(type, data, type_len);
    type[type_len] = '\0';
    check(type, (const char *)end + 1, len < MAX_BODY ? len : MAX_BODY);
    free(type);
    return 0;
}
