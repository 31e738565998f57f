/* SPDX-License-Identifier: MIT */
/* The multipart parser: a search for the delimiter that goes on across pieces of input, and four small states around it. */
#include "multipart.h"

#include "cavage/err.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { BREAK_MAX = 64 }; /* blanks after a boundary */

/* The byte range of the boundary parameter in a Content-Type. */
static bool find_boundary(const char *params, const char **start, size_t *len)
{
    for (const char *p = params; *p;) {
        p += strspn(p, "; \t");
        size_t name = strcspn(p, "=;");
        if (p[name] != '=') {
            p += name;
            continue;
        }
        bool ours = name == 8 && strncasecmp(p, "boundary", 8) == 0;
        p += name + 1;
        bool quoted = *p == '"';
        p += quoted;
        size_t value = strcspn(p, quoted ? "\"" : "; \t");
        if (quoted && p[value] != '"')
            return false;
        if (ours) {
            *start = p;
            *len = value;
            return true;
        }
        p += value + quoted;
    }
    return false;
}

static bool is_boundary(const char *text, size_t len)
{
    static const char marks[] = "'()+_,-./:=? ";
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!plain && (c == '\0' || !strchr(marks, c)))
            return false;
    }
    return len >= 1 && len <= MULTIPART_BOUNDARY_MAX && text[len - 1] != ' ';
}

int multipart_begin(struct multipart *m, const char *content_type)
{
    static const char type[] = "multipart/form-data";
    size_t type_len = sizeof(type) - 1;
    if (!content_type || strncasecmp(content_type, type, type_len) != 0 || !strchr("; \t", content_type[type_len]))
        return ERR_NOTFOUND;
    const char *boundary = NULL;
    size_t len = 0;
    if (!find_boundary(content_type + type_len, &boundary, &len) || !is_boundary(boundary, len))
        return ERR_INVALID;
    m->state = MULTIPART_PREAMBLE;
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary, len);
    m->delimiter_len = 4 + len;
    m->matched = m->lent = 2; /* the first delimiter needs no line end before it */
    m->skipped = m->head_len = 0;
    m->files = 0;
    return 0;
}

/* Input that is being taken in. */
struct input {
    const char *at;
    const char *end;
    multipart_fn fn;
    void *arg;
    const char **why;
};

static int fail(const struct input *in, int err, const char *why)
{
    *in->why = why;
    return err;
}

/* Give away bytes that turned out not to be the delimiter: to the file, or to nobody in the preamble. */
static int give(struct multipart *m, const struct input *in, const char *data, size_t len)
{
    if (m->state == MULTIPART_DATA)
        return len ? in->fn(in->arg, data, len) : 0;
    m->skipped += len;
    return m->skipped > MULTIPART_PREAMBLE_MAX
               ? fail(in, ERR_RANGE, "No multipart boundary was found at the start of the body.")
               : 0;
}

/* Look for the delimiter. Only its first byte is a CR, so after a mismatch the search goes on at the next CR. */
static int seek(struct multipart *m, struct input *in)
{
    while (in->at < in->end) {
        if (m->matched == 0) {
            const char *cr = memchr(in->at, '\r', (size_t)(in->end - in->at));
            const char *stop = cr ? cr : in->end;
            int err = give(m, in, in->at, (size_t)(stop - in->at));
            if (err)
                return err;
            in->at = stop;
            if (!cr)
                return 0;
            m->matched = 1;
            in->at++;
        } else if (*in->at == m->delimiter[m->matched]) {
            in->at++;
            if (++m->matched == m->delimiter_len) {
                m->matched = m->lent = m->head_len = 0;
                m->state = MULTIPART_BREAK;
                return 0;
            }
        } else {
            size_t lent = m->lent, held = m->matched - lent;
            m->matched = m->lent = 0;
            int err = give(m, in, m->delimiter + lent, held);
            if (err)
                return err;
        }
    }
    return 0;
}

/* What follows a boundary: blanks and CR LF, or "--" at the end of all parts. */
static int after_boundary(struct multipart *m, struct input *in)
{
    static const char malformed[] = "A multipart boundary is malformed.";
    while (in->at < in->end && m->head_len < BREAK_MAX) {
        m->head[m->head_len++] = *in->at++;
        if (m->head_len == 2 && memcmp(m->head, "--", 2) == 0) {
            m->state = MULTIPART_END;
            return 0;
        }
        if (m->head[m->head_len - 1] == '\n') {
            if (m->head_len < 2 || m->head[m->head_len - 2] != '\r' || strspn(m->head, " \t") != m->head_len - 2)
                return fail(in, ERR_INVALID, malformed);
            m->state = MULTIPART_HEAD;
            /* The empty line that ends a head without headers is found by the line end before it. */
            memcpy(m->head, "\r\n", 2);
            m->head_len = 2;
            return 0;
        }
    }
    return m->head_len == BREAK_MAX ? fail(in, ERR_INVALID, malformed) : 0;
}

/* Whether the part's headers (each after CR LF) make it a file. */
static bool is_file(const char *head, size_t len)
{
    static const char name[] = "\r\nContent-Disposition:";
    for (size_t i = 0; i + sizeof(name) <= len; i++) {
        if (strncasecmp(head + i, name, sizeof(name) - 1) != 0)
            continue;
        const char *value = head + i + sizeof(name) - 1;
        size_t left = len - i - (sizeof(name) - 1);
        const char *end = memchr(value, '\r', left);
        size_t value_len = end ? (size_t)(end - value) : left;
        for (size_t k = 0; k + 8 <= value_len; k++)
            if (strncasecmp(value + k, "filename", 8) == 0 && k > 0 && strchr("; \t", value[k - 1]))
                return true;
    }
    return false;
}

static int in_head(struct multipart *m, struct input *in)
{
    while (in->at < in->end) {
        if (m->head_len == MULTIPART_HEAD_MAX)
            return fail(in, ERR_RANGE, "The headers of a multipart part are too long.");
        char c = *in->at++;
        m->head[m->head_len++] = c;
        if (c == '\0')
            return fail(in, ERR_INVALID, "The headers of a multipart part are malformed.");
        if (c != '\n' || m->head_len < 4 || memcmp(m->head + m->head_len - 4, "\r\n\r\n", 4) != 0)
            continue;
        if (!is_file(m->head, m->head_len))
            return fail(in, ERR_INVALID, "A multipart part is not a file; send one file, and parameters in the query.");
        if (m->files++ > 0)
            return fail(in, ERR_INVALID, "The multipart body has more than one file.");
        m->state = MULTIPART_DATA;
        m->matched = m->lent = 2; /* an empty file ends at once: the line end is the one of its headers */
        return 0;
    }
    return 0;
}

static int after_end(struct multipart *m, struct input *in)
{
    (void)m;
    in->at = in->end;
    return 0;
}

int multipart_feed(struct multipart *m, const void *data, size_t len, multipart_fn fn, void *arg, const char **why)
{
    static int (*const step[])(struct multipart *, struct input *) = {
        [MULTIPART_PREAMBLE] = seek, [MULTIPART_BREAK] = after_boundary, [MULTIPART_HEAD] = in_head,
        [MULTIPART_DATA] = seek,     [MULTIPART_END] = after_end,
    };
    struct input in = {.at = data, .end = (const char *)data + len, .fn = fn, .arg = arg, .why = why};
    int err = 0;
    while (err == 0 && in.at < in.end)
        err = step[m->state](m, &in);
    return err;
}

int multipart_end(const struct multipart *m, const char **why)
{
    if (m->state != MULTIPART_END) {
        *why = "The multipart body ended before its last boundary.";
        return ERR_INVALID;
    }
    if (m->files == 0) {
        *why = "The multipart body has no file.";
        return ERR_INVALID;
    }
    return 0;
}
