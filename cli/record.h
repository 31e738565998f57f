/* SPDX-License-Identifier: MIT */
/* JSON objects as the daemons give them: read, listed as tables, written again. */
#ifndef RECORD_H
#define RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct record; /* a JSON value */

/* One column of a table, or one line of a record's listing. */
struct record_column {
    const char *name;  /* the member */
    const char *title; /* "CUSTOMER" */
    bool number;       /* to the right */
};

/* NULL unless text is a JSON object. Free with record_free. */
struct record *record_parse(const char *text, size_t len);
/* An empty object, or an empty array; NULL when memory is short. */
struct record *record_new_object(void);
struct record *record_new_array(void);
void record_free(struct record *record);

/* Members of an object. Borrowed; the fallback, NULL or 0 when there is no such member of that type. */
const char *record_str(struct record *record, const char *name);
int64_t record_int(struct record *record, const char *name, int64_t fallback);
bool record_bool(struct record *record, const char *name, bool fallback);
struct record *record_get(struct record *record, const char *name);
/* Items of an array; 0 for anything else. Borrowed. */
size_t record_count(struct record *array);
struct record *record_at(struct record *array, size_t index);

/* Set or add. ERR_INVALID for text that is not UTF-8, ERR_NOMEM. */
int record_set_str(struct record *object, const char *name, const char *value);
int record_set_int(struct record *object, const char *name, int64_t value);
int record_set_real(struct record *object, const char *name, double value);
int record_set_bool(struct record *object, const char *name, bool value);
/* Takes `value` over, also on failure. */
int record_set(struct record *object, const char *name, struct record *value);
/* Adds the items of `from` to `array`. */
int record_extend(struct record *array, struct record *from);
int record_append(struct record *array, struct record *value);

/* What an answer's problem+json says: "title: detail", or "status N" when it is none. */
void record_explain(const char *body, size_t len, long status, char *out, size_t size);

/* JSON text on one line, malloc'ed; NULL when memory is short. */
char *record_text(struct record *record);
/* The same, indented, with a newline at the end. */
void record_print_json(struct record *record, FILE *out);
/* A table with a line of titles; columns end with a NULL name. Bytes that would steer a terminal are shown as "?". */
void record_print_table(struct record *array, const struct record_column *columns, FILE *out);
/* One "title  value" line for each column. */
void record_print(struct record *object, const struct record_column *columns, FILE *out);

#endif
