/* SPDX-License-Identifier: MIT */
/* Resize parameters: the query's pairs, and the canonical form. */
#include "cavage/params.h"

#include "params_parts.h"

#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 64 };

int params_decode(const char *text, size_t len, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)text[i];
        if (c == '%') {
            bool whole = len - i > 2;
            int high = whole ? hex_digit(text[i + 1]) : -1;
            int low = whole ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return ERR_INVALID;
            c = high * 16 + low;
            i += 2;
        }
        if (c <= ' ' || c >= 0x7f)
            return ERR_INVALID;
        if (n + 1 >= size)
            return ERR_RANGE;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return 0;
}

int params_refuse(struct params_problem *problem, const char *name, const char *message)
{
    snprintf(problem->name, sizeof(problem->name), "%s", name);
    snprintf(problem->message, sizeof(problem->message), "%s", message);
    return ERR_INVALID;
}

static int refuse_value(struct params_problem *problem, const struct option *o)
{
    snprintf(problem->name, sizeof(problem->name), "%s", o->name);
    snprintf(problem->message, sizeof(problem->message), "%s must be %s", o->name, o->allowed);
    return ERR_INVALID;
}

static int refuse_unknown(struct params_problem *problem, const char *name)
{
    snprintf(problem->name, sizeof(problem->name), "%s", name);
    char *at = problem->message;
    char *end = at + sizeof(problem->message);
    at += snprintf(at, (size_t)(end - at), "unknown parameter; known are");
    for (size_t i = 0; i < params_option_count && at < end; i++)
        at += snprintf(at, (size_t)(end - at), "%s %s", i ? "," : "", params_options[i].name);
    return ERR_INVALID;
}

/* One "name=value". */
static int pair_read(const char *text, size_t len, struct params *p, bool *seen, struct params_problem *problem)
{
    const char *equals = memchr(text, '=', len);
    size_t name_len = equals ? (size_t)(equals - text) : len;
    char name[NAME_SIZE];
    char value[PARAMS_VALUE_SIZE];
    if (name_len == 0 || params_decode(text, name_len, name, sizeof(name)))
        return params_refuse(problem, "", "the query must be name=value pairs joined by &, percent-encoded");
    size_t i = params_option_find(name);
    if (i == params_option_count)
        return refuse_unknown(problem, name);
    const struct option *o = &params_options[i];
    if (seen[i])
        return params_refuse(problem, o->name, "given more than once");
    seen[i] = true;
    size_t value_len = equals ? len - name_len - 1 : 0;
    if (value_len == 0 || params_decode(equals + 1, value_len, value, sizeof(value)) || o->kind->read(o, value, p))
        return refuse_value(problem, o);
    return 0;
}

int params_parse(const char *query, size_t len, struct params *out, struct params_problem *problem)
{
    bool seen[PARAMS_OPTIONS_MAX] = {false};
    memset(out, 0, sizeof(*out));
    memset(problem, 0, sizeof(*problem));
    if (len > PARAMS_QUERY_MAX)
        return params_refuse(problem, "", "the query is longer than 4096 bytes");
    const char *at = query;
    const char *end = query + len;
    while (len > 0) {
        const char *next = memchr(at, '&', (size_t)(end - at));
        size_t pair_len = (size_t)((next ? next : end) - at);
        int err = pair_read(at, pair_len, out, seen, problem);
        if (err)
            return err;
        if (!next)
            break;
        at = next + 1;
    }
    if (!seen[params_option_find("enlarge")])
        out->enlarge = out->fit != FIT_INSIDE;
    if (out->dpr == 100)
        out->dpr = 0;
    return params_check_together(out, seen, problem);
}

size_t params_format(const struct params *params, char out[PARAMS_CANONICAL_SIZE])
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < params_option_count; i++) {
        const struct option *o = &params_options[i];
        char text[PARAMS_VALUE_SIZE] = "";
        o->kind->write(o, params, text);
        if (text[0] == '\0')
            continue;
        int n = snprintf(out + len, PARAMS_CANONICAL_SIZE - len, "%s%s=%s", len ? "&" : "", o->name, text);
        if (n < 0 || (size_t)n >= PARAMS_CANONICAL_SIZE - len)
            break;
        len += (size_t)n;
    }
    return len;
}

static uint32_t scaled(uint32_t side, uint32_t dpr)
{
    uint32_t n = dpr > 0 ? (side * dpr + 50) / 100 : side;
    return side > 0 && n == 0 ? 1 : n;
}

void params_box(const struct params *params, uint32_t *width, uint32_t *height)
{
    *width = scaled(params->width, params->dpr);
    *height = scaled(params->height, params->dpr);
}
