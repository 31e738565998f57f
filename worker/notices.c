/* SPDX-License-Identifier: MIT */
/* Collecting notices. */
#include "notices.h"

#include "cavage/utf8.h"

#include <stdio.h>
#include <string.h>

/* The character at text as UTF-8 in out, at most four bytes; *used gets its length in the text. */
static size_t take_character(const unsigned char *text, char out[4], size_t *used)
{
    uint32_t code;
    *used = utf8_next(text, &code);
    if (*used > 0 && code >= 0x20 && (code < 0x7f || code >= 0xa0)) {
        memcpy(out, text, *used);
        return *used;
    }
    if (*used > 0 || text[0] < 0xa0) {
        *used = *used > 0 ? *used : 1;
        out[0] = ' ';
        return 1;
    }
    *used = 1;
    out[0] = (char)(0xc0 | text[0] >> 6);
    out[1] = (char)(0x80 | (text[0] & 0x3f));
    return 2;
}

static bool is_blank(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Copies as much as fits, and ends it with NUL. */
static void clean(const unsigned char *text, char *out, size_t size)
{
    size_t len = 0;
    size_t used;
    char character[4];
    for (; *text != '\0'; text += used) {
        size_t n = take_character(text, character, &used);
        if (n >= size - len)
            break;
        memcpy(out + len, character, n);
        len += n;
    }
    while (len > 0 && out[len - 1] == ' ')
        len--;
    out[len] = '\0';
}

static bool is_language(const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
    return strlen(text) < NOTICE_LANGUAGE_SIZE && strspn(text, letters) == strlen(text);
}

void notices_add(struct notices *n, enum notice_kind kind, const char *language, const char *text, size_t len)
{
    unsigned char copy[NOTICE_TEXT_SIZE + 4];
    if (n->count == NOTICES_MAX)
        return;
    for (; len > 0 && is_blank((unsigned char)*text); text++)
        len--;
    struct notice *to = &n->at[n->count];
    /* More than the notice holds, so that a character that is cut here is left out there. */
    len = len < sizeof(copy) - 1 ? len : sizeof(copy) - 1;
    memcpy(copy, text, len);
    copy[len] = '\0';
    clean(copy, to->text, sizeof(to->text));
    if (to->text[0] == '\0')
        return;
    to->kind = kind;
    snprintf(to->language, sizeof(to->language), "%s", is_language(language) ? language : "");
    n->count++;
}

bool notices_have(const struct notices *n, enum notice_kind kind)
{
    for (size_t i = 0; i < n->count; i++)
        if (n->at[i].kind == kind)
            return true;
    return false;
}
