/* SPDX-License-Identifier: MIT */
/* Outputs as repeated parameters of a query. */
#include "cavage/renditions.h"

#include "params_parts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { OUTPUT_MAX = 2048 }; /* bytes of one output, decoded */

static const char form[] =
    "an output is NAME or NAME:parameter=value,parameter=value; percent-encoded where it needs to be";

static int refuse(struct renditions_problem *problem, const char *name, const char *message)
{
    return params_refuse(&problem->why, name, message);
}

/* ---- Names ---- */

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Devices, with whatever ending: "aux.png" is one, too. */
static bool is_device(const char *name)
{
    static const char *const devices[] = {"con", "prn", "aux", "nul"};
    static const char *const numbered[] = {"com", "lpt"};
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
        if (strcasecmp(name, devices[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof(numbered) / sizeof(numbered[0]); i++)
        if (strncasecmp(name, numbered[i], 3) == 0 && name[3] >= '0' && name[3] <= '9' && name[4] == '\0')
            return true;
    return false;
}

static int name_read(const char *text, size_t len, char name[RENDITION_NAME_SIZE], struct renditions_problem *problem)
{
    static const char allowed[] =
        "an output's name is 1 to 32 letters, digits, - and _, begins with a letter or digit, "
        "and is not one that Windows keeps for devices";
    bool good = len >= 1 && len < RENDITION_NAME_SIZE && is_alphanumeric(text[0]);
    for (size_t i = 0; good && i < len; i++)
        good = is_alphanumeric(text[i]) || text[i] == '-' || text[i] == '_';
    if (!good)
        return refuse(problem, "output", allowed);
    memcpy(name, text, len);
    name[len] = '\0';
    return is_device(name) ? refuse(problem, "output", allowed) : 0;
}

static bool is_taken(const struct renditions *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (strcasecmp(r->outputs[i].name, name) == 0)
            return true;
    return false;
}

/* ---- Parameters ---- */

/* Make the commas that part parameters into what a query has between them. False when a query's own marks are in the text. */
static bool commas_to_query(char *text)
{
    if (strpbrk(text, "&%"))
        return false;
    for (char *comma = strchr(text, ','); comma; comma = strchr(comma + 1, ','))
        if (comma[1 + strcspn(comma + 1, ",=")] == '=')
            *comma = '&';
    return true;
}

static int params_read(char *text, struct params *params, struct renditions_problem *problem)
{
    if (*text == '\0' || !commas_to_query(text))
        return refuse(problem, "output", form);
    int err = params_parse(text, strlen(text), params, &problem->why);
    if (err)
        return problem->why.name[0] ? err : refuse(problem, "output", form);
    if (params->format_auto)
        return refuse(problem, "format",
                      "format=auto is for /v1/resize; here Accept chooses the form of the archive, so name a format");
    return 0;
}

/* ---- Outputs ---- */

static int output_read(const char *raw, size_t len, struct renditions *r, struct renditions_problem *problem)
{
    char text[OUTPUT_MAX];
    problem->output = r->count + 1;
    if (r->count == RENDITIONS_MAX)
        return refuse(problem, "output", "there are more than 16 outputs");
    if (params_decode(raw, len, text, sizeof(text)))
        return refuse(problem, "output", form);
    struct rendition *o = &r->outputs[r->count];
    char *colon = strchr(text, ':');
    size_t name_len = colon ? (size_t)(colon - text) : strlen(text);
    int err = name_read(text, name_len, o->name, problem);
    if (!err && is_taken(r, o->name))
        err = refuse(problem, "output", "this name was given to another output before");
    if (err)
        return err;
    memcpy(problem->name, o->name, sizeof(problem->name));
    if (colon)
        err = params_read(colon + 1, &o->params, problem);
    if (!err)
        r->count++;
    return err;
}

/* One "name=value" of the query. */
static int pair_read(const char *text, size_t len, struct renditions *r, struct renditions_problem *problem)
{
    const char *equals = memchr(text, '=', len);
    size_t name_len = equals ? (size_t)(equals - text) : len;
    char name[64];
    memset(problem, 0, sizeof(*problem));
    if (name_len == 0 || params_decode(text, name_len, name, sizeof(name)))
        return refuse(problem, "", "the query must be output=NAME:parameter=value,parameter=value, joined by &");
    if (strcmp(name, "output") != 0)
        return refuse(problem, name,
                      "the only parameter here is output; what is asked of each stands in it, as in "
                      "output=small:width=320,format=webp");
    return output_read(equals ? equals + 1 : text + len, len - name_len - (equals ? 1 : 0), r, problem);
}

int renditions_parse(const char *query, size_t len, struct renditions *out, struct renditions_problem *problem)
{
    char text[RENDITIONS_CANONICAL_SIZE];
    memset(out, 0, sizeof(*out));
    memset(problem, 0, sizeof(*problem));
    if (len > RENDITIONS_QUERY_MAX)
        return refuse(problem, "output", "the query is longer than 16384 bytes");
    for (const char *at = query, *end = query + len; at < end;) {
        const char *next = memchr(at, '&', (size_t)(end - at));
        size_t pair_len = (size_t)((next ? next : end) - at);
        int err = pair_read(at, pair_len, out, problem);
        if (err)
            return err;
        memset(problem, 0, sizeof(*problem));
        if (next && next + 1 == end)
            return refuse(problem, "", "the query ends in the middle");
        at = next ? next + 1 : end;
    }
    if (out->count == 0)
        return refuse(problem, "output", "give 1 to 16 outputs, as in output=small:width=320,format=webp");
    if (renditions_format(out, text) == 0)
        return refuse(problem, "output", "the parameters of all outputs together are longer than 4095 bytes");
    return 0;
}

size_t renditions_format(const struct renditions *r, char out[RENDITIONS_CANONICAL_SIZE])
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < r->count; i++) {
        char params[PARAMS_CANONICAL_SIZE];
        params_format(&r->outputs[i].params, params);
        for (char *mark = strchr(params, '&'); mark; mark = strchr(mark, '&'))
            *mark = ',';
        int n = snprintf(out + len, RENDITIONS_CANONICAL_SIZE - len, "%soutput=%s%s%s", i ? "&" : "",
                         r->outputs[i].name, params[0] ? ":" : "", params);
        if (n < 0 || (size_t)n >= RENDITIONS_CANONICAL_SIZE - len)
            return 0;
        len += (size_t)n;
    }
    return len;
}
