/* SPDX-License-Identifier: MIT */
/* Usage summed up by customer and operation, and its CSV form. */
#ifndef CAVAGE_USAGE_TABLE_H
#define CAVAGE_USAGE_TABLE_H

#include "cavage/usage.h"
#include "cavage/usage_report.h"

#include "out_file.h"

struct usage_entry {
    struct usage_row row;
    uint64_t records, packed_bytes;
    uint32_t customer; /* rank of its customer, after usage_table_sort */
};

struct usage_table;

int usage_table_new(struct usage_table **out);
void usage_table_free(struct usage_table *table);
/* Count a record. ERR_NOMEM. */
int usage_table_add(struct usage_table *table, const struct usage_record *record, size_t packed_bytes);
/* Add a row's numbers to the line of its customer and operation. */
int usage_table_add_row(struct usage_table *table, const struct usage_row *row);
/* NULL when there is no such line. */
const struct usage_entry *usage_table_find(const struct usage_table *table, const char *customer,
                                           const char *operation);
/* Order by customer, then operation; number the customers from 0. Entries keep their places until something is added. */
void usage_table_sort(struct usage_table *table);
size_t usage_table_count(const struct usage_table *table);
const struct usage_entry *usage_table_at(const struct usage_table *table, size_t i);
/* Sums over all lines; customer and operation are empty. */
void usage_table_totals(const struct usage_table *table, struct usage_row *out);

/* The CSV of a sorted table. */
void usage_csv_write(const struct usage_table *table, int64_t start_us, int64_t end_us, struct out_file *out);
/* Add the lines of a CSV file to a table; `customer` NULL for all. ERR_CORRUPT when it is not one of ours, or when its BLAKE2b is not `digest`. */
int usage_csv_read(const char *path, const char *digest, const char *customer, struct usage_table *table);

#endif
