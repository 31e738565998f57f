/* SPDX-License-Identifier: MIT */
/* Sums of usage in an array with a hash index over it. */
#include "usage_table.h"

#include "cavage/err.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ENTRIES = 64, ERROR_STATUS = 400 };

struct usage_table {
    struct usage_entry *entries;
    size_t count, room;
    uint32_t *index; /* number of an entry + 1; a power of two of them, twice `room` */
};

static size_t slots(const struct usage_table *table)
{
    return table->room * 2;
}

static uint64_t mix(uint64_t h, const char *s)
{
    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * UINT64_C(0x100000001b3);
    return (h ^ 0xff) * UINT64_C(0x100000001b3);
}

static size_t slot_of(const struct usage_table *table, const char *customer, const char *operation)
{
    uint64_t h = mix(mix(UINT64_C(0xcbf29ce484222325), customer), operation);
    h *= UINT64_C(0x9e3779b97f4a7c15);
    size_t i = (size_t)(h >> 32) & (slots(table) - 1);
    while (table->index[i] != 0) {
        const struct usage_row *row = &table->entries[table->index[i] - 1].row;
        if (strcmp(row->customer, customer) == 0 && strcmp(row->operation, operation) == 0)
            break;
        i = (i + 1) & (slots(table) - 1);
    }
    return i;
}

static void index_all(struct usage_table *table)
{
    memset(table->index, 0, slots(table) * sizeof *table->index);
    for (size_t i = 0; i < table->count; i++) {
        const struct usage_row *row = &table->entries[i].row;
        table->index[slot_of(table, row->customer, row->operation)] = (uint32_t)i + 1;
    }
}

static int resize(struct usage_table *table, size_t room)
{
    struct usage_entry *entries = reallocarray(table->entries, room, sizeof *entries);
    if (!entries)
        return ERR_NOMEM;
    table->entries = entries;
    uint32_t *index = reallocarray(table->index, room * 2, sizeof *index);
    if (!index)
        return ERR_NOMEM;
    table->index = index;
    table->room = room;
    index_all(table);
    return ERR_OK;
}

int usage_table_new(struct usage_table **out)
{
    struct usage_table *table = calloc(1, sizeof *table);
    if (!table)
        return ERR_NOMEM;
    int err = resize(table, FIRST_ENTRIES);
    if (err) {
        usage_table_free(table);
        return err;
    }
    *out = table;
    return ERR_OK;
}

void usage_table_free(struct usage_table *table)
{
    if (!table)
        return;
    free(table->entries);
    free(table->index);
    free(table);
}

static struct usage_entry *entry_of(struct usage_table *table, const char *customer, const char *operation)
{
    size_t i = slot_of(table, customer, operation);
    if (table->index[i] != 0)
        return &table->entries[table->index[i] - 1];
    if (table->count == table->room) {
        if (table->room > UINT32_MAX / 4 || resize(table, table->room * 2) != ERR_OK)
            return NULL;
        i = slot_of(table, customer, operation);
    }
    struct usage_entry *entry = &table->entries[table->count++];
    memset(entry, 0, sizeof *entry);
    memcpy(entry->row.customer, customer, strlen(customer) + 1);
    memcpy(entry->row.operation, operation, strlen(operation) + 1);
    table->index[i] = (uint32_t)table->count;
    return entry;
}

const struct usage_entry *usage_table_find(const struct usage_table *table, const char *customer, const char *operation)
{
    uint32_t number = table->index[slot_of(table, customer, operation)];
    return number ? &table->entries[number - 1] : NULL;
}

static void add_numbers(struct usage_row *to, const struct usage_row *row)
{
    to->requests += row->requests;
    to->succeeded += row->succeeded;
    to->unconfirmed += row->unconfirmed;
    to->input_bytes += row->input_bytes;
    to->output_bytes += row->output_bytes;
    to->input_pixels += row->input_pixels;
    to->output_pixels += row->output_pixels;
    to->cpu_us += row->cpu_us;
    to->outputs += row->outputs;
}

int usage_table_add(struct usage_table *table, const struct usage_record *record, size_t packed_bytes)
{
    struct usage_entry *entry = entry_of(table, record->customer, record->operation);
    if (!entry)
        return ERR_NOMEM;
    struct usage_row row = {.requests = record->count,
                            .succeeded = record->status < ERROR_STATUS ? record->count : 0,
                            .unconfirmed = record->confirmed ? 0 : record->count,
                            .input_bytes = record->input_bytes,
                            .output_bytes = record->output_bytes,
                            .input_pixels = record->input_pixels,
                            .output_pixels = record->output_pixels,
                            .cpu_us = record->cpu_us,
                            .outputs = record->outputs};
    add_numbers(&entry->row, &row);
    entry->records++;
    entry->packed_bytes += packed_bytes;
    return ERR_OK;
}

int usage_table_add_row(struct usage_table *table, const struct usage_row *row)
{
    struct usage_entry *entry = entry_of(table, row->customer, row->operation);
    if (!entry)
        return ERR_NOMEM;
    add_numbers(&entry->row, row);
    return ERR_OK;
}

static int by_name(const void *a, const void *b)
{
    const struct usage_row *x = &((const struct usage_entry *)a)->row, *y = &((const struct usage_entry *)b)->row;
    int c = strcmp(x->customer, y->customer);
    return c ? c : strcmp(x->operation, y->operation);
}

void usage_table_sort(struct usage_table *table)
{
    uint32_t customer = 0;
    if (table->count > 0)
        qsort(table->entries, table->count, sizeof *table->entries, by_name);
    for (size_t i = 0; i < table->count; i++) {
        if (i > 0 && strcmp(table->entries[i - 1].row.customer, table->entries[i].row.customer) != 0)
            customer++;
        table->entries[i].customer = customer;
    }
    index_all(table);
}

size_t usage_table_count(const struct usage_table *table)
{
    return table->count;
}

const struct usage_entry *usage_table_at(const struct usage_table *table, size_t i)
{
    return &table->entries[i];
}

void usage_table_totals(const struct usage_table *table, struct usage_row *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < table->count; i++)
        add_numbers(out, &table->entries[i].row);
}
