/* SPDX-License-Identifier: MIT */
/* The table of refusals, and a bounded writer of their JSON. */
#include "cavage/problem.h"

#include "cavage/utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    unsigned status;
    bool retry;
    const char *name;
    const char *title;
} table[PROBLEM_COUNT] = {
    [PROBLEM_NONE] = {200, false, "ok", "OK"},
    [PROBLEM_BAD_FRAMING] = {400, false, "bad_framing", "The request's headers do not say for certain where it ends"},
    [PROBLEM_BAD_PARAMETER] = {400, false, "bad_parameter", "A parameter is wrong"},
    [PROBLEM_BAD_BODY] = {400, false, "bad_body", "The body is not what its Content-Type says"},
    [PROBLEM_EMPTY_BODY] = {400, false, "empty_body", "The body is empty; send an image"},
    [PROBLEM_UNAUTHORIZED] = {401, false, "unauthorized", "Send your key as Authorization: Bearer cvg_..."},
    [PROBLEM_WRONG_KEY] = {401, false, "wrong_key", "The key is unknown, revoked or expired"},
    [PROBLEM_SUSPENDED] = {403, false, "suspended", "This customer is suspended"},
    [PROBLEM_NOT_FOUND] = {404, false, "not_found", "There is nothing at this path"},
    [PROBLEM_METHOD_NOT_ALLOWED] = {405, false, "method_not_allowed", "This path does not take this method"},
    [PROBLEM_REQUEST_TIMEOUT] = {408, false, "request_timeout", "The request did not arrive in time"},
    [PROBLEM_LENGTH_REQUIRED] = {411, false, "length_required", "Send Content-Length or Transfer-Encoding: chunked"},
    [PROBLEM_BODY_TOO_LARGE] = {413, false, "body_too_large", "The body is too large"},
    [PROBLEM_NOT_AN_IMAGE] = {415, false, "not_an_image", "The body is not an image in a format that is taken"},
    [PROBLEM_UNDECODABLE] = {422, false, "undecodable", "The image cannot be decoded"},
    [PROBLEM_IMAGE_TOO_LARGE] = {422, false, "image_too_large", "The image is too large"},
    [PROBLEM_POISON] = {422, false, "poison", "The image could not be converted in repeated attempts"},
    [PROBLEM_RATE_LIMITED] = {429, true, "rate_limited", "Too many requests of this customer"},
    [PROBLEM_SHARE_USED] = {429, true, "share_used", "This customer has too much in progress"},
    [PROBLEM_INTERNAL] = {500, false, "internal", "An error on our side"},
    [PROBLEM_OVERLOADED] = {503, true, "overloaded", "Too busy now; try again shortly"},
    [PROBLEM_DRAINING] = {503, true, "draining", "This server is stopping; try again shortly"},
    [PROBLEM_NOT_READY] = {503, true, "not_ready", "This server cannot serve yet; try again shortly"},
    [PROBLEM_LOST] = {503, true, "lost", "The conversion was interrupted; try again shortly"},
    [PROBLEM_NOT_ACCEPTABLE] = {406, false, "not_acceptable", "The answer has no form that Accept names"},
    [PROBLEM_DEADLINE] = {504, false, "deadline", "The conversion did not end in time"},
};

void problem_set(struct problem *p, enum problem_type type, const char *format, ...)
{
    *p = (struct problem){.type = type};
    va_list args;
    va_start(args, format);
    vsnprintf(p->detail, sizeof(p->detail), format, args);
    va_end(args);
}

void problem_set_parameter(struct problem *p, const char *name)
{
    snprintf(p->parameter, sizeof(p->parameter), "%s", name);
}

void problem_set_limit(struct problem *p, uint64_t limit, uint64_t actual)
{
    p->has_limit = true;
    p->limit = limit;
    p->actual = actual;
}

unsigned problem_status(enum problem_type type)
{
    return table[type].status;
}

const char *problem_name(enum problem_type type)
{
    return table[type].name;
}

const char *problem_title(enum problem_type type)
{
    return table[type].title;
}

bool problem_may_retry(enum problem_type type)
{
    return table[type].retry;
}

unsigned problem_retry_after_s(int64_t wait_us, uint32_t random)
{
    const int64_t second = 1000000, most_s = 3600;
    int64_t s = wait_us <= 0 ? 1 : (wait_us >= most_s * second ? most_s : (wait_us + second - 1) / second);
    /* Spread over the wait again, and over two seconds at least. */
    int64_t spread = s < 2 ? 2 : s;
    return (unsigned)(s + random % (uint32_t)(spread + 1));
}

/* A writer that stops at its end; `out` always has room for what closes the object. */
struct writer {
    char *out;
    size_t size;
    size_t len;
};

static void put(struct writer *w, const char *text, size_t len)
{
    if (len > w->size - w->len)
        return;
    memcpy(w->out + w->len, text, len);
    w->len += len;
}

static void put_text(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

static void put_string(struct writer *w, const char *text)
{
    put(w, "\"", 1);
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        uint32_t code;
        size_t len = utf8_next(p, &code);
        char escape[8];
        if (len == 0) {
            put_text(w, "\xEF\xBF\xBD");
            len = 1;
        } else if (code == '"' || code == '\\') {
            escape[0] = '\\';
            escape[1] = (char)code;
            put(w, escape, 2);
        } else if (code < 0x20 || code == 0x7F) {
            put(w, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)code));
        } else {
            put(w, (const char *)p, len);
        }
        p += len;
    }
    put(w, "\"", 1);
}

static void put_member(struct writer *w, const char *name, const char *value)
{
    put_text(w, ",\"");
    put_text(w, name);
    put_text(w, "\":");
    put_string(w, value);
}

static void put_number(struct writer *w, const char *name, uint64_t value)
{
    char text[64];
    put(w, text, (size_t)snprintf(text, sizeof(text), ",\"%s\":%" PRIu64, name, value));
}

size_t problem_json(const struct problem *p, const char *request_id, char out[PROBLEM_JSON_SIZE])
{
    /* The longest strings are 320 + 64 + 40 + 128 bytes, six times as long when all of it is escaped: it fits. */
    struct writer w = {.out = out, .size = PROBLEM_JSON_SIZE};
    put_text(&w, "{\"type\":\"/problems/");
    put_text(&w, table[p->type].name);
    put_text(&w, "\"");
    put_member(&w, "title", table[p->type].title);
    put_number(&w, "status", table[p->type].status);
    if (p->detail[0])
        put_member(&w, "detail", p->detail);
    if (p->output[0])
        put_member(&w, "output", p->output);
    if (p->parameter[0])
        put_member(&w, "parameter", p->parameter);
    if (p->has_limit) {
        put_number(&w, "limit", p->limit);
        if (p->actual)
            put_number(&w, "actual", p->actual);
    }
    if (request_id && request_id[0])
        put_member(&w, "request_id", request_id);
    put_text(&w, "}\n");
    return w.len;
}
