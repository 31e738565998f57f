/* SPDX-License-Identifier: MIT */
/* Connects to an API, says our boot, and lets go. */
#include "greetings.h"

#include "cavage/bus.h"
#include "cavage/err.h"

#include <stdlib.h>
#include <string.h>

enum {
    LIFE_US = 1000 * 1000, /* by then the API has asked again, or is gone */
    TRY_US = 2000
};

struct greeting {
    struct bus_push *push; /* NULL: free */
    struct wire_hello answer;
    bool sent;
    int64_t until_us;
};

struct greetings {
    struct id boot;
    struct seal *seal;
    struct greeting of[GREETINGS_MAX];
};

int greetings_new(const struct id *boot, struct seal *seal, struct greetings **out)
{
    struct greetings *g = calloc(1, sizeof(*g));
    if (!g)
        return ERR_NOMEM;
    g->boot = *boot;
    g->seal = seal;
    *out = g;
    return 0;
}

static void forget(struct greeting *greeting)
{
    bus_push_close(greeting->push);
    memset(greeting, 0, sizeof(*greeting));
}

void greetings_free(struct greetings *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < GREETINGS_MAX; i++)
        forget(&g->of[i]);
    free(g);
}

/* The one to the same address, else a free one, else the oldest. */
static struct greeting *place_for(struct greetings *g, const char *address)
{
    struct greeting *best = &g->of[0];
    for (size_t i = 0; i < GREETINGS_MAX; i++) {
        struct greeting *at = &g->of[i];
        if (at->push && strcmp(at->answer.result_address, address) == 0)
            return at;
        if (best->push && (!at->push || at->until_us < best->until_us))
            best = at;
    }
    forget(best);
    return best;
}

static void try_send(struct greeting *greeting)
{
    uint8_t *data;
    size_t len;
    if (greeting->sent || !bus_push_ready(greeting->push) ||
        wire_pack_hello(&greeting->answer, bus_alloc, &data, &len) != 0)
        return;
    greeting->sent = bus_send(greeting->push, data, len) == 0;
    if (!greeting->sent)
        bus_free(data);
}

int greetings_add(struct greetings *g, int64_t now_us, const struct wire_hello *m)
{
    struct greeting *greeting = place_for(g, m->result_address);
    int err = greeting->push ? 0 : bus_push_open(m->result_address, g->seal, &greeting->push);
    if (err) {
        greeting->push = NULL;
        return err;
    }
    greeting->answer = *m;
    greeting->answer.worker_boot = g->boot;
    greeting->answer.sent = 0;
    greeting->answer.queued = 0;
    greeting->sent = false;
    greeting->until_us = now_us + LIFE_US;
    bus_push_to(greeting->push, &m->api_boot);
    try_send(greeting);
    return 0;
}

void greetings_tick(struct greetings *g, int64_t now_us)
{
    for (size_t i = 0; i < GREETINGS_MAX; i++) {
        struct greeting *greeting = &g->of[i];
        if (!greeting->push)
            continue;
        try_send(greeting);
        if (now_us >= greeting->until_us)
            forget(greeting);
    }
}

int64_t greetings_next_us(const struct greetings *g, int64_t now_us)
{
    int64_t next_us = INT64_MAX;
    for (size_t i = 0; i < GREETINGS_MAX; i++) {
        const struct greeting *greeting = &g->of[i];
        if (!greeting->push)
            continue;
        int64_t at_us = greeting->sent ? greeting->until_us : now_us + TRY_US;
        next_us = at_us < next_us ? at_us : next_us;
    }
    return next_us;
}
