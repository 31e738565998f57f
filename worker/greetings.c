/* SPDX-License-Identifier: MIT */
/* Connects to an API, says our boot, and lets go. */
#include "greetings.h"

#include "cavage/bus.h"
#include "cavage/bus_table.h"
#include "cavage/err.h"

#include <stdlib.h>

enum {
    LIFE_US = 1000 * 1000, /* by then the API has asked again, or is gone */
    TRY_US = 2000
};

struct greeting {
    struct wire_hello answer;
    bool sent;
};

struct greetings {
    struct id boot;
    struct bus_table *table;
    struct greeting of[GREETINGS_MAX]; /* by place in the table */
};

int greetings_new(const struct id *boot, struct seal *seal, struct greetings **out)
{
    struct greetings *g = calloc(1, sizeof(*g));
    int err = g ? bus_table_new(GREETINGS_MAX, seal, &g->table) : ERR_NOMEM;
    if (err) {
        free(g);
        return err;
    }
    g->boot = *boot;
    *out = g;
    return 0;
}

void greetings_free(struct greetings *g)
{
    if (g)
        bus_table_free(g->table);
    free(g);
}

static void try_send(struct greeting *greeting, struct bus_push *push)
{
    uint8_t *data;
    size_t len;
    if (greeting->sent || !bus_push_ready(push) || wire_pack_hello(&greeting->answer, bus_alloc, &data, &len) != 0)
        return;
    greeting->sent = bus_send(push, data, len) == 0;
    if (!greeting->sent)
        bus_free(data);
}

int greetings_add(struct greetings *g, int64_t now_us, const struct wire_hello *m)
{
    size_t place;
    bool opened;
    int err = bus_table_find(g->table, now_us, m->result_address, &place, &opened);
    if (err)
        return err;
    struct greeting *greeting = &g->of[place];
    struct bus_push *push = bus_table_push(g->table, place);
    *greeting = (struct greeting){.answer = *m};
    greeting->answer.worker_boot = g->boot;
    greeting->answer.sent = 0;
    greeting->answer.queued = 0;
    bus_push_to(push, &m->api_boot);
    try_send(greeting, push);
    return 0;
}

void greetings_tick(struct greetings *g, int64_t now_us)
{
    for (size_t i = 0; i < GREETINGS_MAX; i++) {
        struct bus_push *push = bus_table_push(g->table, i);
        if (!push)
            continue;
        try_send(&g->of[i], push);
        if (now_us >= bus_table_used_us(g->table, i) + LIFE_US)
            bus_table_close(g->table, i);
    }
}

int64_t greetings_next_us(const struct greetings *g, int64_t now_us)
{
    int64_t next_us = INT64_MAX;
    for (size_t i = 0; i < GREETINGS_MAX; i++) {
        if (!bus_table_push(g->table, i))
            continue;
        int64_t at_us = g->of[i].sent ? bus_table_used_us(g->table, i) + LIFE_US : now_us + TRY_US;
        next_us = at_us < next_us ? at_us : next_us;
    }
    return next_us;
}
