/* SPDX-License-Identifier: MIT */
/* Resize parameters: one table line for each, with its names, its reader and its writer. */
#include "cavage/params.h"

#include "cavage/err.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { NAME_SIZE = 64, VALUE_SIZE = 64, TEXT_SIZE = 64 };

/* A parameter. `set` reads a value; `get` writes it, or writes nothing when it is at its default. */
struct option {
    const char *name;
    const char *alias; /* the short form people know, or NULL */
    const char *allowed;
    int (*set)(struct params *p, const char *value);
    void (*get)(const struct params *p, char text[TEXT_SIZE]);
};

static const char *const fit_names[] = {
    [FIT_INSIDE] = "inside", [FIT_COVER] = "cover",     [FIT_CONTAIN] = "contain",
    [FIT_FILL] = "fill",     [FIT_OUTSIDE] = "outside",
};
enum { FIT_COUNT = sizeof(fit_names) / sizeof(fit_names[0]) };

/* The names of CSS 2.1, and transparent. */
static const struct {
    const char *name;
    uint8_t rgba[4];
} colours[] = {
    {"aqua", {0, 255, 255, 255}},    {"black", {0, 0, 0, 255}},      {"blue", {0, 0, 255, 255}},
    {"fuchsia", {255, 0, 255, 255}}, {"gray", {128, 128, 128, 255}}, {"green", {0, 128, 0, 255}},
    {"grey", {128, 128, 128, 255}},  {"lime", {0, 255, 0, 255}},     {"maroon", {128, 0, 0, 255}},
    {"navy", {0, 0, 128, 255}},      {"olive", {128, 128, 0, 255}},  {"orange", {255, 165, 0, 255}},
    {"purple", {128, 0, 128, 255}},  {"red", {255, 0, 0, 255}},      {"silver", {192, 192, 192, 255}},
    {"teal", {0, 128, 128, 255}},    {"transparent", {0, 0, 0, 0}},  {"white", {255, 255, 255, 255}},
    {"yellow", {255, 255, 0, 255}},
};
enum { COLOUR_COUNT = sizeof(colours) / sizeof(colours[0]) };

/* A whole number within 1..max, without sign, blanks or leading zeros. */
static int number_read(const char *text, uint32_t max, uint32_t *out)
{
    size_t len = strspn(text, "0123456789");
    if (len == 0 || len > 9 || text[len] != '\0' || text[0] == '0')
        return ERR_INVALID;
    uint32_t n = 0;
    for (size_t i = 0; i < len; i++)
        n = n * 10 + (uint32_t)(text[i] - '0');
    if (n > max)
        return ERR_RANGE;
    *out = n;
    return 0;
}

static void number_write(uint32_t n, char text[TEXT_SIZE])
{
    if (n > 0)
        snprintf(text, TEXT_SIZE, "%u", n);
}

static int width_set(struct params *p, const char *value)
{
    return number_read(value, PARAMS_DIMENSION_MAX, &p->width);
}

static void width_get(const struct params *p, char text[TEXT_SIZE])
{
    number_write(p->width, text);
}

static int height_set(struct params *p, const char *value)
{
    return number_read(value, PARAMS_DIMENSION_MAX, &p->height);
}

static void height_get(const struct params *p, char text[TEXT_SIZE])
{
    number_write(p->height, text);
}

static int fit_set(struct params *p, const char *value)
{
    for (size_t i = 0; i < FIT_COUNT; i++) {
        if (strcmp(value, fit_names[i]) == 0) {
            p->fit = (enum params_fit)i;
            return 0;
        }
    }
    return ERR_INVALID;
}

static void fit_get(const struct params *p, char text[TEXT_SIZE])
{
    if (p->fit != FIT_INSIDE)
        snprintf(text, TEXT_SIZE, "%s", params_fit_name(p->fit));
}

static int enlarge_set(struct params *p, const char *value)
{
    if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
        return ERR_INVALID;
    p->enlarge = value[0] == '1';
    return 0;
}

static void enlarge_get(const struct params *p, char text[TEXT_SIZE])
{
    bool usual = p->fit != FIT_INSIDE;
    if (p->enlarge != usual)
        snprintf(text, TEXT_SIZE, "%d", p->enlarge);
}

static int format_set(struct params *p, const char *value)
{
    p->format = image_format_by_name(value);
    return p->format == IMAGE_UNKNOWN ? ERR_INVALID : 0;
}

static void format_get(const struct params *p, char text[TEXT_SIZE])
{
    if (p->format != IMAGE_UNKNOWN)
        snprintf(text, TEXT_SIZE, "%s", image_format_name(p->format));
}

static int quality_set(struct params *p, const char *value)
{
    uint32_t n;
    int err = number_read(value, 100, &n);
    if (err)
        return err;
    p->quality = (int)n;
    return 0;
}

static void quality_get(const struct params *p, char text[TEXT_SIZE])
{
    number_write((uint32_t)p->quality, text);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* RGB, RGBA, RRGGBB or RRGGBBAA, with or without "#". */
static int colour_read_hex(const char *text, uint8_t rgba[4])
{
    if (text[0] == '#')
        text++;
    size_t len = strlen(text);
    if (len != 3 && len != 4 && len != 6 && len != 8)
        return ERR_INVALID;
    size_t digits = len <= 4 ? 1 : 2;
    uint8_t value[4] = {0, 0, 0, 255};
    for (size_t i = 0; i < len / digits; i++) {
        int high = hex_digit(text[i * digits]);
        int low = hex_digit(text[i * digits + digits - 1]);
        if (high < 0 || low < 0)
            return ERR_INVALID;
        value[i] = (uint8_t)(high * 16 + low);
    }
    memcpy(rgba, value, 4);
    return 0;
}

static int background_set(struct params *p, const char *value)
{
    p->has_background = true;
    for (size_t i = 0; i < COLOUR_COUNT; i++) {
        if (strcasecmp(value, colours[i].name) == 0) {
            memcpy(p->background, colours[i].rgba, 4);
            return 0;
        }
    }
    return colour_read_hex(value, p->background);
}

static void background_get(const struct params *p, char text[TEXT_SIZE])
{
    const uint8_t *c = p->background;
    if (!p->has_background)
        return;
    if (c[3] == 255)
        snprintf(text, TEXT_SIZE, "%02x%02x%02x", c[0], c[1], c[2]);
    else
        snprintf(text, TEXT_SIZE, "%02x%02x%02x%02x", c[0], c[1], c[2], c[3]);
}

/* Its order is the canonical form's. */
static const struct option options[] = {
    {"width", "w", "1 to 16383", width_set, width_get},
    {"height", "h", "1 to 16383", height_set, height_get},
    {"fit", NULL, "inside, cover, contain, fill or outside", fit_set, fit_get},
    {"enlarge", NULL, "0 or 1", enlarge_set, enlarge_get},
    {"format", NULL, "jpeg, png, webp, avif, gif or tiff", format_set, format_get},
    {"quality", "q", "1 to 100", quality_set, quality_get},
    {"background", NULL, "a colour as RGB, RGBA, RRGGBB or RRGGBBAA in hex, or a basic colour name", background_set,
     background_get},
};
enum { OPTION_COUNT = sizeof(options) / sizeof(options[0]), OPTION_NONE = OPTION_COUNT };

static size_t option_find(const char *name)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        if (strcmp(name, o->name) == 0 || (o->alias && strcmp(name, o->alias) == 0))
            return i;
    }
    return OPTION_NONE;
}

/* The option's place in the table, by its canonical name, for the rules that join several. */
static bool given(const bool seen[OPTION_COUNT], const char *name)
{
    size_t i = option_find(name);
    return i != OPTION_NONE && seen[i];
}

/* Percent-decode into out. ERR_INVALID for a bad escape or a byte that no parameter can hold, ERR_RANGE if it is too long. */
static int decode(const char *text, size_t len, char *out, size_t size)
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

static int refuse(struct params_problem *problem, const char *name, const char *message)
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
    for (size_t i = 0; i < OPTION_COUNT && at < end; i++)
        at += snprintf(at, (size_t)(end - at), "%s %s", i ? "," : "", options[i].name);
    return ERR_INVALID;
}

/* One "name=value". */
static int pair_read(const char *text, size_t len, struct params *p, bool seen[OPTION_COUNT],
                     struct params_problem *problem)
{
    const char *equals = memchr(text, '=', len);
    size_t name_len = equals ? (size_t)(equals - text) : len;
    char name[NAME_SIZE];
    char value[VALUE_SIZE];
    if (name_len == 0 || decode(text, name_len, name, sizeof(name)))
        return refuse(problem, "", "the query must be name=value pairs joined by &, percent-encoded");
    size_t i = option_find(name);
    if (i == OPTION_NONE)
        return refuse_unknown(problem, name);
    if (seen[i])
        return refuse(problem, options[i].name, "given more than once");
    seen[i] = true;
    size_t value_len = equals ? len - name_len - 1 : 0;
    if (value_len == 0 || decode(equals + 1, value_len, value, sizeof(value)) || options[i].set(p, value))
        return refuse_value(problem, &options[i]);
    return 0;
}

/* What each parameter allows by itself but not together: it would have no effect, so it was not meant so. */
static int pairs_check(const struct params *p, const bool seen[OPTION_COUNT], struct params_problem *problem)
{
    bool sized = p->width > 0 || p->height > 0;
    if (p->fit != FIT_INSIDE && !sized)
        return refuse(problem, "fit", "fit needs width or height");
    if (given(seen, "enlarge") && !sized)
        return refuse(problem, "enlarge", "enlarge needs width or height");
    if (p->quality > 0 && p->format != IMAGE_UNKNOWN && !image_format_has_quality(p->format))
        return refuse(problem, "quality", "quality is for jpeg, webp and avif; this format is lossless");
    return 0;
}

int params_parse(const char *query, size_t len, struct params *out, struct params_problem *problem)
{
    bool seen[OPTION_COUNT] = {false};
    memset(out, 0, sizeof(*out));
    memset(problem, 0, sizeof(*problem));
    if (len > PARAMS_QUERY_MAX)
        return refuse(problem, "", "the query is longer than 4096 bytes");
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
    if (!given(seen, "enlarge"))
        out->enlarge = out->fit != FIT_INSIDE;
    return pairs_check(out, seen, problem);
}

size_t params_format(const struct params *params, char out[PARAMS_CANONICAL_SIZE])
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char text[TEXT_SIZE] = "";
        options[i].get(params, text);
        if (text[0] == '\0')
            continue;
        int n = snprintf(out + len, PARAMS_CANONICAL_SIZE - len, "%s%s=%s", len ? "&" : "", options[i].name, text);
        if (n < 0 || (size_t)n >= PARAMS_CANONICAL_SIZE - len)
            break;
        len += (size_t)n;
    }
    return len;
}

const char *params_fit_name(enum params_fit fit)
{
    return (unsigned)fit < FIT_COUNT ? fit_names[fit] : "unknown";
}
