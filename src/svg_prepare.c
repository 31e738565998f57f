/* SPDX-License-Identifier: MIT */
/* SVG: the walk through a document before it is drawn. */
#include "svg_parts.h"

#include "cavage/err.h"

#include <stdlib.h>

enum { HEADER_BYTES = 192 * 1024 }; /* of a picture: its frame comes behind its metadata */

static int base64_digit(uint8_t c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c != 0 ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* As many bytes as there are, and room for. */
static size_t decode_base64(struct svg_text t, uint8_t out[HEADER_BYTES])
{
    size_t len = 0;
    uint32_t bits = 0;
    unsigned held = 0;
    for (; t.at < t.end && len < HEADER_BYTES; t.at++) {
        int digit = base64_digit(*t.at);
        if (svg_is_space(*t.at))
            continue;
        if (digit < 0)
            break;
        bits = bits << 6 | (uint32_t)digit;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[len++] = (uint8_t)(bits >> held);
        }
    }
    return len;
}

/* A picture in base64, of which the header is read. */
static int check_picture(struct svg_text t, uint64_t *pixels)
{
    static const char *const kinds[] = {"image/png;base64,", "image/jpeg;base64,", "image/jpg;base64,"};
    struct image_header header;
    size_t kind = 0;
    while (kind < sizeof(kinds) / sizeof(kinds[0]) && !svg_begins_in_any_case(&t, kinds[kind]))
        kind++;
    /* Escapes of URLs and of XML could hide anything. */
    if (kind == sizeof(kinds) / sizeof(kinds[0]) || memchr(t.at, '%', svg_left(&t)) || memchr(t.at, '&', svg_left(&t)))
        return ERR_DENIED;
    t.at += strlen(kinds[kind]);
    uint8_t *head = malloc(HEADER_BYTES);
    if (!head)
        return ERR_NOMEM;
    int err = image_header_read(head, decode_base64(t, head), &header);
    free(head);
    if (err || (header.format != IMAGE_PNG && header.format != IMAGE_JPEG))
        return ERR_DENIED;
    if (__builtin_add_overflow(*pixels, image_header_pixels(&header), pixels))
        *pixels = UINT64_MAX;
    return 0;
}

/* Whatever is referred to elsewhere is not loaded, so it is of no interest; what comes along is. */
static int check_reference(struct svg_text t, uint64_t *pixels)
{
    static const char scheme[] = "data:";
    while (t.at < t.end && *t.at <= ' ')
        t.at++;
    for (size_t i = 0; i < sizeof(scheme) - 1; i++) {
        if (i >= svg_left(&t))
            return 0;
        /* It could be any letter. */
        if (t.at[i] == '&')
            return ERR_DENIED;
        if ((t.at[i] | 0x20) != (uint8_t)(scheme[i] | 0x20))
            return 0;
    }
    t.at += sizeof(scheme) - 1;
    return check_picture(t, pixels);
}

/* Where a walk is, and what it found. */
struct walk {
    const uint8_t *data;
    uint8_t *copy;
    unsigned depth;
    uint64_t pixels;
};

/* The names have the same length. */
static void hide_text(struct walk *w, struct svg_text name)
{
    name = svg_local(name);
    if (svg_equals(&name, "text"))
        memcpy(w->copy + (name.at - w->data), "desc", 4);
}

/* The end of a tag behind its attributes; *empty: it is its element's end, too. */
static int take_tag_end(struct svg_text *t, bool *empty)
{
    *empty = *t->at == '/';
    t->at += *empty;
    if (t->at == t->end || *t->at != '>')
        return ERR_CORRUPT;
    t->at++;
    return 0;
}

/* A start tag. The depth grows by it unless it is empty. */
static int check_element(struct walk *w, struct svg_text *t)
{
    struct svg_text name, value;
    bool empty;
    int err;
    t->at++;
    name = svg_take_name(t);
    if (svg_left(&name) == 0)
        return ERR_CORRUPT;
    hide_text(w, name);
    while ((err = svg_take_attribute(t, &name, &value)) == 0) {
        struct svg_text plain = svg_local(name);
        int refused = svg_equals(&plain, "href") ? check_reference(value, &w->pixels) : 0;
        if (refused)
            return refused;
    }
    if (err != ERR_NOTFOUND || take_tag_end(t, &empty))
        return ERR_CORRUPT;
    w->depth += !empty;
    return w->depth > SVG_DEPTH_MAX ? ERR_CORRUPT : 0;
}

static int check_end(struct walk *w, struct svg_text *t)
{
    t->at += 2;
    hide_text(w, svg_take_name(t));
    svg_skip_space(t);
    if (w->depth == 0 || !svg_begins(t, ">"))
        return ERR_CORRUPT;
    t->at++;
    w->depth--;
    return 0;
}

/* Comments and CDATA; declarations belong in no document. */
static int check_marked(struct svg_text *t)
{
    bool comment = svg_begins(t, "<!--");
    if (!comment && !svg_begins(t, "<![CDATA["))
        return ERR_CORRUPT;
    t->at += comment ? 4 : 9;
    return svg_skip_past(t, comment ? "-->" : "]]>") ? 0 : ERR_CORRUPT;
}

/* The tag or other mark that begins here. */
static int check_mark(struct walk *w, struct svg_text *t)
{
    if (svg_begins(t, "</"))
        return check_end(w, t);
    if (svg_begins(t, "<!"))
        return check_marked(t);
    if (svg_begins(t, "<?"))
        return svg_skip_past(t, "?>") ? 0 : ERR_CORRUPT;
    return check_element(w, t);
}

int svg_prepare(const uint8_t *data, size_t len, uint8_t *copy, uint64_t *pixels)
{
    struct svg_text t = {data, data + len};
    struct walk w = {.data = data, .copy = copy};
    memcpy(copy, data, len);
    int err = memchr(data, 0, len) || svg_skip_prolog(&t) ? ERR_CORRUPT : 0;
    const uint8_t *next;
    while (!err && (next = memchr(t.at, '<', svg_left(&t)))) {
        t.at = next;
        err = check_mark(&w, &t);
    }
    *pixels = w.pixels;
    return err || w.depth == 0 ? err : ERR_CORRUPT;
}
