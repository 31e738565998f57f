/* SPDX-License-Identifier: MIT */
/* Parses and bounds one value of the configuration. */
#include "cavage/err.h"
#include "cavage/net.h"
#include "cavage/utf8.h"
#include "conf_parts.h"

#include <stdarg.h>
#include <string.h>

int conf_fail(int err, char *why, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (size > 0)
        vsnprintf(why, size, format, args);
    va_end(args);
    return err;
}

const char *conf_next_word(const char **next, size_t *len)
{
    const char *word = *next;
    if (word == NULL || *word == '\0')
        return NULL;
    *len = strcspn(word, "|");
    *next = word + *len + (word[*len] == '|');
    return word;
}

/* A number and the suffix that scales it to multiply / divide of the key's unit. */
struct suffix {
    const char *text;
    int64_t multiply;
    int64_t divide;
};

static const struct suffix no_suffixes[] = {{"", 1, 1}, {NULL, 0, 0}};
static const struct suffix size_suffixes[] = {
    {"", 1, 1}, {"K", INT64_C(1) << 10, 1}, {"M", INT64_C(1) << 20, 1}, {"G", INT64_C(1) << 30, 1}, {NULL, 0, 0}};
static const struct suffix duration_suffixes[] = {{"", 1, 1},      {"us", 1, 1000},   {"ms", 1, 1}, {"s", 1000, 1},
                                                  {"m", 60000, 1}, {"h", 3600000, 1}, {NULL, 0, 0}};

static const struct suffix *suffixes_of(const struct conf_key *key)
{
    if (strcmp(key->unit, "bytes") == 0)
        return size_suffixes;
    return key->type == CONF_DURATION ? duration_suffixes : no_suffixes;
}

/* *number gets the value rounded up, *whole rounded down. */
static int parse_number(const char *text, const struct suffix *suffixes, int64_t *number, int64_t *whole)
{
    int64_t value = 0;
    size_t digits = 0;
    bool too_large = false;
    for (; text[digits] >= '0' && text[digits] <= '9'; digits++)
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text[digits] - '0', &value))
            too_large = true;
    const struct suffix *suffix = suffixes;
    while (suffix->text != NULL && strcmp(suffix->text, text + digits) != 0)
        suffix++;
    if (digits == 0 || suffix->text == NULL)
        return ERR_INVALID;
    if (too_large || __builtin_mul_overflow(value, suffix->multiply, &value))
        return ERR_RANGE;
    *whole = value / suffix->divide;
    *number = *whole + (value % suffix->divide != 0);
    return ERR_OK;
}

static int parse_bounded(const struct conf_key *key, const char *text, int64_t *number, char *why, size_t size)
{
    char allowed[128];
    int64_t value = 0, whole = 0;
    conf_allowed(key, allowed, sizeof(allowed));
    int err = parse_number(text, suffixes_of(key), &value, &whole);
    if (err == ERR_INVALID)
        return conf_fail(err, why, size, "'%.40s' is no number of the form wanted; allowed: %s", text, allowed);
    if (err != ERR_OK || whole < key->min || value > key->max)
        return conf_fail(ERR_RANGE, why, size, "'%.40s' is out of range; allowed: %s", text, allowed);
    *number = value;
    return ERR_OK;
}

static int parse_word(const struct conf_key *key, const char *text, int64_t *number, char *why, size_t size)
{
    char allowed[128];
    const char *next = key->allowed;
    const char *word;
    size_t len;
    for (int64_t i = 0; (word = conf_next_word(&next, &len)) != NULL; i++) {
        if (strlen(text) == len && memcmp(word, text, len) == 0) {
            *number = i;
            return ERR_OK;
        }
    }
    conf_allowed(key, allowed, sizeof(allowed));
    return conf_fail(ERR_INVALID, why, size, "'%.40s' is not known; allowed: %s", text, allowed);
}

static int parse_bool(const struct conf_key *key, const char *text, int64_t *number, char *why, size_t size)
{
    (void)key;
    *number = strcmp(text, "yes") == 0;
    if (*number == 1 || strcmp(text, "no") == 0)
        return ERR_OK;
    return conf_fail(ERR_INVALID, why, size, "'%.40s' is not known; allowed: yes or no", text);
}

static int parse_string(const struct conf_key *key, const char *text, int64_t *number, char *why, size_t size)
{
    size_t len = strlen(text);
    *number = 0;
    if (len >= (size_t)key->min && len <= (size_t)key->max)
        return ERR_OK;
    return conf_fail(ERR_RANGE, why, size, "the value has %zu bytes; allowed: %lld to %lld", len, (long long)key->min,
                     (long long)key->max);
}

static int parse_listen(const struct conf_key *key, const char *text, int64_t *number, char *why, size_t size)
{
    char allowed[128];
    *number = 0;
    if (net_check(text) == ERR_OK)
        return ERR_OK;
    conf_allowed(key, allowed, sizeof(allowed));
    return conf_fail(ERR_INVALID, why, size, "'%.60s' is no listening address; allowed: %s", text, allowed);
}

static bool is_allowed_word(const struct conf_key *key, const char *text, size_t len)
{
    const char *next = key->allowed;
    const char *word;
    size_t word_len;
    while ((word = conf_next_word(&next, &word_len)) != NULL)
        if (word_len == len && memcmp(word, text, len) == 0)
            return true;
    return false;
}

/* One "NUMBER" or "FORMAT:NUMBER" of len bytes. The number of the rest is that of IMAGE_UNKNOWN. */
static int parse_format(const struct conf_key *key, const char *text, size_t len, int64_t numbers[IMAGE_FORMAT_COUNT],
                        char *why, size_t size)
{
    char item[64];
    char allowed[160];
    char *colon;
    if (len >= sizeof(item))
        return conf_fail(ERR_INVALID, why, size, "'%.40s' is no limit", text);
    memcpy(item, text, len);
    item[len] = '\0';
    colon = strchr(item, ':');
    enum image_format format = IMAGE_UNKNOWN;
    if (colon) {
        *colon = '\0';
        format = is_allowed_word(key, item, strlen(item)) ? image_format_by_name(item) : IMAGE_UNKNOWN;
    }
    if (colon && format == IMAGE_UNKNOWN) {
        conf_allowed(key, allowed, sizeof(allowed));
        return conf_fail(ERR_INVALID, why, size, "'%.40s' is no format of this limit; allowed: %s", item, allowed);
    }
    if (numbers[format] >= 0)
        return conf_fail(ERR_INVALID, why, size,
                         "'%.40s' has a number already; one for all formats, and at most one for each",
                         colon ? item : text);
    return parse_bounded(key, colon ? colon + 1 : item, &numbers[format], why, size);
}

int conf_formats_parse(const struct conf_key *key, const char *text, int64_t numbers[IMAGE_FORMAT_COUNT], char *why,
                       size_t size)
{
    for (size_t i = 0; i < IMAGE_FORMAT_COUNT; i++)
        numbers[i] = -1;
    for (const char *next = text + strspn(text, " "); *next != '\0'; next += strspn(next, " ")) {
        size_t len = strcspn(next, " ");
        int err = parse_format(key, next, len, numbers, why, size);
        if (err != ERR_OK)
            return err;
        next += len;
    }
    if (numbers[IMAGE_UNKNOWN] < 0)
        return conf_fail(ERR_INVALID, why, size, "the number for formats that are not named is missing");
    for (size_t i = 0; i < IMAGE_FORMAT_COUNT; i++)
        numbers[i] = numbers[i] < 0 ? numbers[IMAGE_UNKNOWN] : numbers[i];
    return ERR_OK;
}

static int parse_formats(const struct conf_key *key, const char *text, int64_t *number, char *why, size_t size)
{
    int64_t numbers[IMAGE_FORMAT_COUNT];
    *number = 0;
    int err = conf_formats_parse(key, text, numbers, why, size);
    for (size_t i = 0; err == ERR_OK && i < IMAGE_FORMAT_COUNT; i++)
        *number = numbers[i] > *number ? numbers[i] : *number;
    return err;
}

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

int conf_value_parse(const struct conf_key *key, const char *text, int64_t *number, char *why, size_t size)
{
    static int (*const parsers[])(const struct conf_key *, const char *, int64_t *, char *, size_t) = {
        [CONF_INT] = parse_bounded,   [CONF_SIZE] = parse_bounded,           [CONF_DURATION] = parse_bounded,
        [CONF_BOOL] = parse_bool,     [CONF_STRING] = parse_string,          [CONF_ENUM] = parse_word,
        [CONF_LISTEN] = parse_listen, [CONF_ADDRESS] = conf_endpoints_parse, [CONF_FORMATS] = parse_formats,
    };
    if (strnlen(text, CONF_VALUE_MAX + 1) > CONF_VALUE_MAX)
        return conf_fail(ERR_RANGE, why, size, "the value is too long; allowed: %d bytes", (int)CONF_VALUE_MAX);
    if (has_control(text) || !utf8_valid(text))
        return conf_fail(ERR_INVALID, why, size, "the value holds control characters or is not UTF-8");
    return parsers[key->type](key, text, number, why, size);
}
