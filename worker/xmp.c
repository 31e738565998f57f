/* SPDX-License-Identifier: MIT */
/* XMP. */
#include "xmp.h"

#include <expat.h>
#include <stdio.h>
#include <string.h>

/* ---- Reading ---- */

/* A name of expat's: the namespace, a blank, and the name in it. */
#define DC "http://purl.org/dc/elements/1.1/ "
#define RDF "http://www.w3.org/1999/02/22-rdf-syntax-ns# "
#define XML "http://www.w3.org/XML/1998/namespace "

enum { DEPTH_MAX = 64 };

struct reader {
    XML_Parser parser;
    struct notices *notices;
    int depth;
    int property; /* depth of the dc: element that is open; 0: none */
    enum notice_kind kind;
    char language[NOTICE_LANGUAGE_SIZE];
    char text[NOTICE_TEXT_SIZE + 64]; /* of the innermost element so far */
    size_t len;
};

static const struct {
    const char *name;
    enum notice_kind kind;
} properties[] = {{DC "rights", NOTICE_RIGHTS}, {DC "creator", NOTICE_CREATOR}};
enum { PROPERTIES = sizeof(properties) / sizeof(properties[0]) };

static bool find_property(const char *name, enum notice_kind *kind)
{
    for (size_t i = 0; i < PROPERTIES; i++) {
        if (strcmp(name, properties[i].name) == 0) {
            *kind = properties[i].kind;
            return true;
        }
    }
    return false;
}

/* Simple properties may be written as attributes. */
static void read_attributes(struct reader *r, const char **attributes)
{
    enum notice_kind kind;
    r->language[0] = '\0';
    for (; attributes[0]; attributes += 2) {
        if (strcmp(attributes[0], XML "lang") == 0)
            snprintf(r->language, sizeof(r->language), "%s", attributes[1]);
        else if (r->property == 0 && find_property(attributes[0], &kind))
            notices_add(r->notices, kind, "", attributes[1], strlen(attributes[1]));
    }
}

static void XMLCALL on_start(void *arg, const char *name, const char **attributes)
{
    struct reader *r = arg;
    if (++r->depth > DEPTH_MAX)
        XML_StopParser(r->parser, XML_FALSE);
    if (r->property == 0 && find_property(name, &r->kind))
        r->property = r->depth;
    read_attributes(r, attributes);
    r->len = 0;
}

static void XMLCALL on_end(void *arg, const char *name)
{
    struct reader *r = arg;
    bool item = strcmp(name, RDF "li") == 0 || r->depth == r->property;
    if (r->property > 0 && item)
        notices_add(r->notices, r->kind, r->language, r->text, r->len);
    if (r->depth == r->property)
        r->property = 0;
    r->len = 0;
    r->depth--;
}

static void XMLCALL on_text(void *arg, const char *text, int len)
{
    struct reader *r = arg;
    size_t room = sizeof(r->text) - r->len;
    size_t n = (size_t)len < room ? (size_t)len : room;
    if (r->property == 0)
        return;
    memcpy(r->text + r->len, text, n);
    r->len += n;
}

static void XMLCALL on_doctype(void *arg, const char *name, const char *system, const char *public, int has_internal)
{
    struct reader *r = arg;
    (void)name;
    (void)system;
    (void)public;
    (void)has_internal;
    XML_StopParser(r->parser, XML_FALSE);
}

void xmp_read(const char *data, size_t len, struct notices *n)
{
    if (len == 0 || len > XMP_READ_MAX)
        return;
    struct reader r = {.parser = XML_ParserCreateNS(NULL, ' '), .notices = n};
    if (!r.parser)
        return;
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    /* Packets of the kind that may be edited end in blanks, and some in NULs. */
    while (len > 0 && data[len - 1] == '\0')
        len--;
    (void)XML_Parse(r.parser, data, (int)len, 1);
    XML_ParserFree(r.parser);
}

/* ---- Writing ---- */

struct writer {
    char *out;
    size_t len;
};

static void put(struct writer *w, const char *text)
{
    size_t n = strlen(text);
    if (n < XMP_OUT_MAX - w->len) {
        memcpy(w->out + w->len, text, n);
        w->len += n;
    }
}

static void put_escaped(struct writer *w, const char *text)
{
    for (; *text != '\0'; text++) {
        char plain[2] = {*text, '\0'};
        put(w, *text == '&'   ? "&amp;"
               : *text == '<' ? "&lt;"
               : *text == '>' ? "&gt;"
               : *text == '"' ? "&quot;"
                              : plain);
    }
}

static void put_property(struct writer *w, const struct notices *n, enum notice_kind kind, const char *open,
                         const char *close)
{
    if (!notices_have(n, kind))
        return;
    put(w, open);
    for (size_t i = 0; i < n->count; i++) {
        if (n->at[i].kind != kind)
            continue;
        put(w, "<rdf:li");
        if (kind == NOTICE_RIGHTS) {
            put(w, " xml:lang=\"");
            put(w, n->at[i].language[0] != '\0' ? n->at[i].language : "x-default");
            put(w, "\"");
        }
        put(w, ">");
        put_escaped(w, n->at[i].text);
        put(w, "</rdf:li>");
    }
    put(w, close);
}

size_t xmp_write(const struct notices *n, char out[XMP_OUT_MAX])
{
    struct writer w = {out, 0};
    if (n->count == 0)
        return 0;
    put(&w, "<?xpacket begin=\"\xef\xbb\xbf\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?><x:xmpmeta xmlns:x=\"adobe:ns:meta/\">"
            "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"><rdf:Description rdf:about=\"\" "
            "xmlns:dc=\"http://purl.org/dc/elements/1.1/\">");
    put_property(&w, n, NOTICE_RIGHTS, "<dc:rights><rdf:Alt>", "</rdf:Alt></dc:rights>");
    put_property(&w, n, NOTICE_CREATOR, "<dc:creator><rdf:Seq>", "</rdf:Seq></dc:creator>");
    put(&w, "</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end=\"r\"?>");
    return w.len;
}

/* ---- Renewing ---- */

static char *find(char *at, const char *end, const char *what)
{
    return memmem(at, (size_t)(end - at), what, strlen(what));
}

/* As an attribute, or as an element. */
static void reset_orientation(char *data, const char *end)
{
    static const char name[] = "tiff:Orientation";
    for (char *at = data; (at = find(at, end, name));) {
        at += sizeof(name) - 1;
        while (at < end && (*at == '=' || *at == '"' || *at == '\'' || *at == '>' || *at == ' '))
            at++;
        if (at < end && *at >= '1' && *at <= '8')
            *at = '1';
    }
}

static void blank_element(char *data, const char *end, const char *open, const char *close)
{
    char *from = data;
    char *to;
    while ((from = find(from, end, open)) && (to = find(from, end, close))) {
        to += strlen(close);
        memset(from, ' ', (size_t)(to - from));
        from = to;
    }
}

void xmp_renew(char *data, size_t len)
{
    reset_orientation(data, data + len);
    blank_element(data, data + len, "<xmp:Thumbnails", "</xmp:Thumbnails>");
    blank_element(data, data + len, "<xap:Thumbnails", "</xap:Thumbnails>");
}
