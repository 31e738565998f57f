/* SPDX-License-Identifier: MIT */
/* Reads and writes JSON, by jansson. */
#include "record.h"

#include "cavage/err.h"
#include "table.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *json_of(struct record *record)
{
    return (json_t *)(void *)record;
}

static struct record *record_of(json_t *json)
{
    return (struct record *)(void *)json;
}

struct record *record_parse(const char *text, size_t len)
{
    return record_of(json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL));
}

struct record *record_new_object(void)
{
    return record_of(json_object());
}

struct record *record_new_array(void)
{
    return record_of(json_array());
}

void record_free(struct record *record)
{
    json_decref(json_of(record));
}

struct record *record_get(struct record *record, const char *name)
{
    return record_of(json_object_get(json_of(record), name));
}

const char *record_str(struct record *record, const char *name)
{
    return json_string_value(json_object_get(json_of(record), name));
}

int64_t record_int(struct record *record, const char *name, int64_t fallback)
{
    const json_t *member = json_object_get(json_of(record), name);
    return json_is_integer(member) ? json_integer_value(member) : fallback;
}

bool record_bool(struct record *record, const char *name, bool fallback)
{
    const json_t *member = json_object_get(json_of(record), name);
    return json_is_boolean(member) ? json_is_true(member) : fallback;
}

size_t record_count(struct record *array)
{
    return json_array_size(json_of(array));
}

struct record *record_at(struct record *array, size_t index)
{
    return record_of(json_array_get(json_of(array), index));
}

int record_set(struct record *object, const char *name, struct record *value)
{
    if (!value)
        return ERR_NOMEM;
    return json_object_set_new(json_of(object), name, json_of(value)) == 0 ? ERR_OK : ERR_NOMEM;
}

int record_set_str(struct record *object, const char *name, const char *value)
{
    json_t *json = json_string(value);
    return json ? record_set(object, name, record_of(json)) : ERR_INVALID;
}

int record_set_int(struct record *object, const char *name, int64_t value)
{
    return record_set(object, name, record_of(json_integer(value)));
}

int record_set_real(struct record *object, const char *name, double value)
{
    /* What counts whole things is written as a whole number. */
    if (value >= -9e15 && value <= 9e15 && (double)(int64_t)value == value)
        return record_set_int(object, name, (int64_t)value);
    return record_set(object, name, record_of(json_real(value)));
}

int record_set_bool(struct record *object, const char *name, bool value)
{
    return record_set(object, name, record_of(json_boolean(value)));
}

int record_extend(struct record *array, struct record *from)
{
    return json_array_extend(json_of(array), json_of(from)) == 0 ? ERR_OK : ERR_NOMEM;
}

int record_append(struct record *array, struct record *value)
{
    return value && json_array_append_new(json_of(array), json_of(value)) == 0 ? ERR_OK : ERR_NOMEM;
}

void record_explain(const char *body, size_t len, long status, char *out, size_t size)
{
    struct record *problem = record_parse(body, len);
    const char *title = record_str(problem, "title"), *detail = record_str(problem, "detail");
    int title_len = title ? (int)strcspn(title, "\r\n") : 0;
    if (title_len > 0 && title[title_len - 1] == '.')
        title_len--;
    if (title && detail)
        snprintf(out, size, "%.*s: %s", title_len, title, detail);
    else if (title)
        snprintf(out, size, "%.*s", title_len, title);
    else
        snprintf(out, size, "status %ld", status);
    record_free(problem);
}

char *record_text(struct record *record)
{
    return json_dumps(json_of(record), JSON_COMPACT);
}

void record_print_json(struct record *record, FILE *out)
{
    if (json_dumpf(json_of(record), out, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) == 0)
        fputc('\n', out);
}

/* A member as people read it; "-" when it is not there or null. */
static void add_member(struct table *table, struct record *object, const char *name)
{
    const json_t *member = json_object_get(json_of(object), name);
    if (json_is_string(member))
        table_add(table, json_string_value(member));
    else if (json_is_integer(member))
        table_addf(table, "%" PRId64, (int64_t)json_integer_value(member));
    else if (json_is_real(member))
        table_addf(table, "%.3f", json_real_value(member));
    else if (json_is_boolean(member))
        table_add(table, json_is_true(member) ? "yes" : "no");
    else
        table_add(table, "-");
}

void record_print_table(struct record *array, const struct record_column *columns, FILE *out)
{
    bool right[TABLE_COLUMN_MAX];
    size_t count = 0;
    for (; count < TABLE_COLUMN_MAX && columns[count].name; count++)
        right[count] = columns[count].number;
    struct table *table = table_new(count, right);
    if (!table)
        return;
    for (size_t i = 0; i < count; i++)
        table_add(table, columns[i].title);
    for (size_t row = 0; row < record_count(array); row++)
        for (size_t i = 0; i < count; i++)
            add_member(table, record_at(array, row), columns[i].name);
    table_print(table, out);
    table_free(table);
}

void record_print(struct record *object, const struct record_column *columns, FILE *out)
{
    struct table *table = table_new(2, (const bool[]){false, false});
    if (!table)
        return;
    for (; columns->name; columns++) {
        table_add(table, columns->title);
        add_member(table, object, columns->name);
    }
    table_print(table, out);
    table_free(table);
}
