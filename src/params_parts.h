/* SPDX-License-Identifier: MIT */
/* What the files of the parameters share: the table of options, readers and writers of values, the rules between options. */
#ifndef CAVAGE_PARAMS_PARTS_H
#define CAVAGE_PARAMS_PARTS_H

#include "cavage/err.h"
#include "cavage/id.h"
#include "cavage/params.h"

enum { PARAMS_VALUE_SIZE = 64, PARAMS_OPTIONS_MAX = 40 };

struct option;

/* How a value is read into its field, and written from it; nothing is written for a default. */
struct option_kind {
    int (*read)(const struct option *o, const char *text, struct params *p);
    void (*write)(const struct option *o, const struct params *p, char text[PARAMS_VALUE_SIZE]);
};

/* A parameter. */
struct option {
    const char *name;
    const char *alias; /* the short form people know, or NULL */
    const char *allowed;
    const struct option_kind *kind;
    size_t at;                /* of its field in struct params */
    uint32_t min, max;        /* of a number */
    const char *const *words; /* of a choice, ended by NULL; the first is the default */
    const char *what;         /* for people, without a full stop */
};

extern const struct option params_options[];
extern const size_t params_option_count;

/* The option's place in the table by either name; params_option_count: there is none. */
size_t params_option_find(const char *name);

/* A whole number within min..max, without sign, blanks or leading zeros. ERR_INVALID, ERR_RANGE. */
int value_read_number(const char *text, uint32_t min, uint32_t max, uint32_t *out);
/* A number of at most `digits` decimals as a whole number of its last decimal: 1.5 is 150 with two digits. min and max are of these, too. */
int value_read_decimal(const char *text, unsigned digits, uint32_t min, uint32_t max, uint32_t *out);
void value_write_decimal(uint32_t n, unsigned digits, char text[PARAMS_VALUE_SIZE]);
/* A CSS name, or RGB, RGBA, RRGGBB, RRGGBBAA in hex with or without "#". */
int value_read_colour(const char *text, uint8_t rgba[4]);

/* Percent-decode into out. ERR_INVALID for a bad escape or a byte that no parameter can hold, ERR_RANGE if it is too long. */
int params_decode(const char *text, size_t len, char *out, size_t size);

int css_colour_find(const char *name, uint8_t rgba[4]);

/* Fill the problem; returns ERR_INVALID. */
int params_refuse(struct params_problem *problem, const char *name, const char *message);

/* What each option allows by itself but not together: it would have no effect, so it was not meant so. `seen` is by place in the table. */
int params_check_together(const struct params *p, const bool *seen, struct params_problem *problem);

#endif
