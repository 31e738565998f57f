/* SPDX-License-Identifier: MIT */
/* Lines text tables up. */
#include "table.h"

#include "cavage/err.h"
#include "cavage/utf8.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct table {
    size_t columns;
    bool right[TABLE_COLUMN_MAX];
    size_t width[TABLE_COLUMN_MAX]; /* in characters */
    char **cells;                   /* row by row */
    size_t count, room;
    bool failed;
};

struct table *table_new(size_t columns, const bool *right)
{
    struct table *table = calloc(1, sizeof(*table));
    if (!table || columns == 0 || columns > TABLE_COLUMN_MAX) {
        free(table);
        return NULL;
    }
    table->columns = columns;
    memcpy(table->right, right, columns * sizeof(*right));
    return table;
}

void table_free(struct table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
}

/* Replace what is not printable text and count the characters. */
static size_t clean(char *text)
{
    size_t characters = 0;
    uint32_t code;
    for (char *p = text; *p; characters++) {
        size_t len = utf8_next((const unsigned char *)p, &code);
        if (len == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200b && code <= 0x200f) ||
            (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069)) {
            if (len == 0)
                len = 1;
            *p = '?';
            memmove(p + 1, p + len, strlen(p + len) + 1);
            len = 1;
        }
        p += len;
    }
    return characters;
}

static size_t characters_of(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

void table_add(struct table *table, const char *text)
{
    if (table->count == table->room) {
        size_t room = table->room ? 2 * table->room : 64;
        char **grown = reallocarray(table->cells, room, sizeof(*grown));
        if (!grown) {
            table->failed = true;
            return;
        }
        table->cells = grown;
        table->room = room;
    }
    char *copy = strdup(text);
    if (!copy) {
        table->failed = true;
        return;
    }
    size_t width = clean(copy), column = table->count % table->columns;
    if (width > table->width[column])
        table->width[column] = width;
    table->cells[table->count++] = copy;
}

void table_addf(struct table *table, const char *format, ...)
{
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    table_add(table, text);
}

int table_print(const struct table *table, FILE *out)
{
    for (size_t i = 0; i < table->count - table->count % table->columns; i++) {
        size_t column = i % table->columns, pad = table->width[column] - characters_of(table->cells[i]);
        bool last = column + 1 == table->columns;
        if (table->right[column])
            fprintf(out, "%*s%s", (int)pad, "", table->cells[i]);
        else
            fprintf(out, "%s%*s", table->cells[i], last ? 0 : (int)pad, "");
        fputs(last ? "\n" : "  ", out);
    }
    return table->failed ? ERR_NOMEM : ERR_OK;
}
