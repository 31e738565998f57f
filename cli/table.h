/* SPDX-License-Identifier: MIT */
/* Text tables for terminals: columns as wide as their widest cell. */
#ifndef TABLE_H
#define TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { TABLE_COLUMN_MAX = 16 };

struct table;

/* `right` says, for each of at most TABLE_COLUMN_MAX columns, whether its cells go to the right. NULL when memory is short. */
struct table *table_new(size_t columns, const bool *right);
void table_free(struct table *table);

/* Add the next cell, row by row; text is copied, and bytes that would steer a terminal become "?". A failed allocation is remembered. */
void table_add(struct table *table, const char *text);
void table_addf(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Write all rows that are complete. ERR_NOMEM when a cell could not be kept. */
int table_print(const struct table *table, FILE *out);

#endif
