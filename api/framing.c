/* SPDX-License-Identifier: MIT */
/* The checks against request smuggling (RFC 9112, section 6): two readers of one message must never see it end in two places. */
#include "framing.h"

#include <string.h>
#include <strings.h>

static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= 0x20 || c >= 0x7F || strchr("\"(),/:;<=>?@[\\]{}", c))
            return false;
    }
    return len > 0;
}

static bool is_named(const char *name, size_t len, const char *what)
{
    return len == strlen(what) && strncasecmp(name, what, len) == 0;
}

/* Digits only: no sign, no list, no blanks. */
static bool read_length(const char *text, size_t len, uint64_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return len > 0;
}

void framing_target(struct framing *f, const char *target)
{
    for (const char *at = target; *at != '\0'; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f)
            f->bad_target = true;
}

void framing_header(struct framing *f, const char *name, size_t name_len, const char *value, size_t value_len)
{
    /* To some readers a line ends there (RFC 9112, section 2.2). */
    f->bare_cr |= memchr(value, '\r', value_len) != NULL;
    if (!is_token(name, name_len)) {
        f->bad_name = true;
    } else if (is_named(name, name_len, "Content-Length")) {
        uint64_t length = 0;
        if (!read_length(value, value_len, &length))
            f->bad_length = true;
        if (f->lengths++ == 0)
            f->length = length;
    } else if (is_named(name, name_len, "Transfer-Encoding")) {
        f->codings++;
        if (!is_named(value, value_len, "chunked"))
            f->bad_coding = true;
    } else if (is_named(name, name_len, "Host")) {
        f->hosts++;
    } else if (is_named(name, name_len, "Authorization")) {
        f->keys++;
    }
}

const char *framing_problem(const struct framing *f, bool http11)
{
    if (f->bad_target)
        return "The request target has a blank or a control character.";
    if (f->bad_name)
        return "A header's name is not a token.";
    if (f->bare_cr)
        return "A header's value has a CR.";
    if (f->head_bytes != 0 && f->head_bytes != f->known_bytes)
        return "A line of the head is folded, has a NUL, or does not end with CR LF.";
    if (f->bad_length)
        return "Content-Length must be one decimal number.";
    if (f->lengths > 1)
        return "Content-Length was sent more than once.";
    if (f->lengths && f->codings)
        return "Content-Length and Transfer-Encoding exclude each other.";
    if (f->bad_coding || f->codings > 1)
        return "Transfer-Encoding must be chunked, once.";
    if (f->codings && !http11)
        return "Transfer-Encoding needs HTTP/1.1.";
    if (f->hosts > 1 || (f->hosts == 0 && http11))
        return "Host must be sent exactly once.";
    if (f->keys > 1)
        return "Authorization was sent more than once.";
    return NULL;
}

bool framing_is_chunked(const struct framing *f)
{
    return f->codings > 0;
}

bool framing_has_length(const struct framing *f)
{
    return f->lengths > 0;
}
