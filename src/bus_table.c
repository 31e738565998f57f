/* SPDX-License-Identifier: MIT */
/* Finds PUSH sockets by address, in a table small enough to be searched. */
#include "cavage/bus_table.h"

#include "cavage/bus.h"
#include "cavage/err.h"
#include "cavage/wire.h"

#include <stdlib.h>
#include <string.h>

struct place {
    char address[WIRE_ADDRESS_SIZE];
    struct bus_push *push; /* NULL: free */
    int64_t used_us;
};

struct bus_table {
    struct seal *seal;
    size_t count;
    struct place places[];
};

int bus_table_new(size_t count, struct seal *seal, struct bus_table **out)
{
    struct bus_table *t = calloc(1, sizeof(*t) + count * sizeof(t->places[0]));
    if (!t)
        return ERR_NOMEM;
    t->seal = seal;
    t->count = count;
    *out = t;
    return ERR_OK;
}

void bus_table_free(struct bus_table *t)
{
    for (size_t i = 0; t && i < t->count; i++)
        bus_table_close(t, i);
    free(t);
}

/* The one to the address, else a free one, else the one unused longest. */
static struct place *choose(struct bus_table *t, const char *address)
{
    struct place *best = &t->places[0];
    for (struct place *at = t->places; at < t->places + t->count; at++) {
        if (at->push && strcmp(at->address, address) == 0)
            return at;
        if (best->push && (!at->push || at->used_us < best->used_us))
            best = at;
    }
    return best;
}

int bus_table_find(struct bus_table *t, int64_t now_us, const char *address, size_t *place, bool *opened)
{
    size_t len = strlen(address);
    *opened = false;
    if (len >= WIRE_ADDRESS_SIZE)
        return ERR_RANGE;
    struct place *at = choose(t, address);
    *place = (size_t)(at - t->places);
    *opened = !at->push || strcmp(at->address, address) != 0;
    if (*opened) {
        bus_table_close(t, *place);
        int err = bus_push_open(address, t->seal, &at->push);
        if (err)
            return err;
        memcpy(at->address, address, len + 1);
    }
    at->used_us = now_us;
    return ERR_OK;
}

struct bus_push *bus_table_push(const struct bus_table *t, size_t place)
{
    return t->places[place].push;
}

int64_t bus_table_used_us(const struct bus_table *t, size_t place)
{
    return t->places[place].used_us;
}

void bus_table_close(struct bus_table *t, size_t place)
{
    bus_push_close(t->places[place].push);
    t->places[place].push = NULL;
}
