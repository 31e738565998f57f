/* SPDX-License-Identifier: MIT */
/* What the files of the configuration share: the layout of struct conf, and the parsing of one value. */
#ifndef CAVAGE_CONF_PARTS_H
#define CAVAGE_CONF_PARTS_H

#include "cavage/conf.h"

/* One key's value. Both strings are owned. */
struct conf_value {
    char *text;
    char *origin;
    int64_t number;
};

struct conf {
    struct conf_value values[CONF_COUNT];
};

/* Check text against key and give its number. On failure why says what is wrong and what is allowed. ERR_INVALID, ERR_RANGE. */
int conf_value_parse(const struct conf_key *key, const char *text, int64_t *number, char *why, size_t size);

/* The numbers of a value of CONF_FORMATS by format, each filled. Likewise. */
int conf_formats_parse(const struct conf_key *key, const char *text, int64_t numbers[IMAGE_FORMAT_COUNT], char *why,
                       size_t size);

/* The same for a row of endpoints, and what such a row may be. */
int conf_endpoints_parse(const struct conf_key *key, const char *text, int64_t *number, char *why, size_t size);
void conf_endpoint_allowed(const struct conf_key *key, char *out, size_t size);

/* The word of `allowed` ("a|b|c") at *next, with its length; NULL at the end. Moves *next behind it. */
const char *conf_next_word(const char **next, size_t *len);

/* What stands where no key is called "section.name": the keys of the section, or the sections. */
void conf_suggest(const char *dotted, char *out, size_t size);

/* Write a failure of ERR_INVALID or ERR_RANGE text into why, and return err. */
__attribute__((format(printf, 4, 5))) int conf_fail(int err, char *why, size_t size, const char *format, ...);

#endif
