/* SPDX-License-Identifier: MIT */
/* What the files of SVG share: a document as a range of bytes, and the tokens at its beginning. */
#ifndef CAVAGE_SVG_PARTS_H
#define CAVAGE_SVG_PARTS_H

#include "cavage/svg.h"

#include <string.h>

/* A range of bytes of the document. */
struct svg_text {
    const uint8_t *at, *end;
};

static inline size_t svg_left(const struct svg_text *t)
{
    return (size_t)(t->end - t->at);
}

static inline bool svg_is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void svg_skip_space(struct svg_text *t)
{
    while (t->at < t->end && svg_is_space(*t->at))
        t->at++;
}

static inline bool svg_begins(const struct svg_text *t, const char *what)
{
    size_t len = strlen(what);
    return svg_left(t) >= len && memcmp(t->at, what, len) == 0;
}

static inline bool svg_begins_in_any_case(const struct svg_text *t, const char *what)
{
    size_t len = strlen(what);
    for (size_t i = 0; i < len; i++)
        if (i >= svg_left(t) || (t->at[i] | (t->at[i] >= 'A' && t->at[i] <= 'Z' ? 0x20 : 0)) != (uint8_t)what[i])
            return false;
    return true;
}

static inline bool svg_equals(const struct svg_text *t, const char *what)
{
    return svg_left(t) == strlen(what) && svg_begins(t, what);
}

/* Move behind the next `what`. False when there is none. */
static inline bool svg_skip_past(struct svg_text *t, const char *what)
{
    const uint8_t *found = memmem(t->at, svg_left(t), what, strlen(what));
    if (found)
        t->at = found + strlen(what);
    return found != NULL;
}

static inline bool svg_is_name_end(uint8_t c)
{
    return svg_is_space(c) || c == '/' || c == '>' || c == '=' || c == '<' || c == '"' || c == '\'';
}

static inline struct svg_text svg_take_name(struct svg_text *t)
{
    struct svg_text name = {t->at, t->at};
    while (t->at < t->end && !svg_is_name_end(*t->at))
        t->at++;
    name.end = t->at;
    return name;
}

/* A name without its prefix. */
static inline struct svg_text svg_local(struct svg_text name)
{
    const uint8_t *colon = memchr(name.at, ':', svg_left(&name));
    if (colon)
        name.at = colon + 1;
    return name;
}

/* The next name="value" of a tag whose name was taken. ERR_NOTFOUND: the tag is at its end; ERR_CORRUPT: it is malformed. */
int svg_take_attribute(struct svg_text *t, struct svg_text *name, struct svg_text *value);

/* Move to the root's tag. ERR_NOTFOUND: the document is no SVG; ERR_CORRUPT: it is, but not to be taken. */
int svg_skip_prolog(struct svg_text *t);

#endif
