/* SPDX-License-Identifier: MIT */
/* A bounded table of PUSH sockets by their addresses, for answers to whoever asks: the one unused longest makes room. */
#ifndef CAVAGE_BUS_TABLE_H
#define CAVAGE_BUS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus_push;
struct bus_table;
struct seal;

/* Places are 0 .. count - 1, count > 0. seal, for tcp, is borrowed, and may be NULL. ERR_NOMEM. */
int bus_table_new(size_t count, struct seal *seal, struct bus_table **out);
/* Closes all. NULL is ignored. */
void bus_table_free(struct bus_table *t);

/* The place of the socket to an address, which counts as used now. *opened, which is set in any case: there was none, and what was at this place before, if
 * anything, is gone. ERR_RANGE for WIRE_ADDRESS_SIZE characters or more; ERR_… of bus_push_open, and the place is free then. */
int bus_table_find(struct bus_table *t, int64_t now_us, const char *address, size_t *place, bool *opened);
/* NULL: the place is free. */
struct bus_push *bus_table_push(const struct bus_table *t, size_t place);
int64_t bus_table_used_us(const struct bus_table *t, size_t place);
void bus_table_close(struct bus_table *t, size_t place);

#endif
