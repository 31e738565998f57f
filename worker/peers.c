/* SPDX-License-Identifier: MIT */
/* PUSH sockets to the APIs, each with a short queue in order. */
#include "peers.h"

#include "cavage/backoff.h"
#include "cavage/bus.h"
#include "cavage/err.h"
#include "cavage/log.h"

#include <stdlib.h>
#include <string.h>

enum { CONNECTING_US = 1000 * 1000 }; /* by then a socket is connected, or nobody is there */

struct message {
    struct message *next;
    uint8_t *data;
    size_t len;
};

struct peer {
    char address[WIRE_ADDRESS_SIZE]; /* empty: not wanted */
    struct id boot;
    struct bus_push *push; /* NULL: not wanted, or it could not be opened, and then: */
    int err;               /* why, as logged */
    struct backoff backoff;
    int64_t retry_at_us;
    int64_t opened_us;
    struct message *first;
    struct message **last;
    size_t waiting;
};

struct peers {
    struct seal *seal;
    size_t count;
    size_t waiting, waiting_max;
    struct peer of[];
};

int peers_new(size_t count, size_t backlog_max, struct seal *seal, struct peers **out)
{
    struct peers *p = calloc(1, sizeof(*p) + count * sizeof(p->of[0]));
    if (!p)
        return ERR_NOMEM;
    p->seal = seal;
    p->count = count;
    p->waiting_max = backlog_max;
    for (size_t i = 0; i < count; i++)
        p->of[i].last = &p->of[i].first;
    *out = p;
    return 0;
}

void peers_free(struct peers *peers)
{
    if (!peers)
        return;
    for (size_t i = 0; i < peers->count; i++)
        peers_close(peers, i);
    free(peers);
}

static bool is_due(const struct peer *p, int64_t now_us)
{
    return p->address[0] != '\0' && !p->push && now_us >= p->retry_at_us;
}

static int try_open(struct peers *peers, struct peer *p, int64_t now_us)
{
    int err = bus_push_open(p->address, peers->seal, &p->push);
    p->opened_us = now_us;
    if (!err) {
        bus_push_to(p->push, &p->boot);
        log_info("api_connected", "an API says hello", LOG_S("address", p->address));
    } else {
        p->push = NULL;
        p->retry_at_us = now_us + backoff_next(&p->backoff, 0);
    }
    if (err && err != p->err)
        log_error("results_unreachable", "cannot connect to an API's result address", LOG_S("address", p->address),
                  LOG_S("reason", err_text(err)));
    p->err = err;
    return err;
}

int peers_open(struct peers *peers, size_t index, int64_t now_us, const char *address, const struct id *boot)
{
    struct peer *p = &peers->of[index];
    peers_close(peers, index);
    if (strlen(address) >= sizeof(p->address))
        return ERR_RANGE;
    memcpy(p->address, address, strlen(address) + 1);
    p->boot = *boot;
    p->err = 0;
    p->backoff = (struct backoff){0};
    return try_open(peers, p, now_us);
}

void peers_retry(struct peers *peers, int64_t now_us)
{
    for (size_t i = 0; i < peers->count; i++)
        if (is_due(&peers->of[i], now_us))
            (void)try_open(peers, &peers->of[i], now_us);
}

int64_t peers_next_us(const struct peers *peers)
{
    int64_t next_us = INT64_MAX;
    for (size_t i = 0; i < peers->count; i++)
        if (is_due(&peers->of[i], INT64_MAX) && peers->of[i].retry_at_us < next_us)
            next_us = peers->of[i].retry_at_us;
    return next_us;
}

/* The first message leaves the queue; its data are the caller's. */
static uint8_t *take_first(struct peers *peers, struct peer *p)
{
    struct message *m = p->first;
    uint8_t *data = m->data;
    p->first = m->next;
    if (!p->first)
        p->last = &p->first;
    p->waiting--;
    peers->waiting--;
    free(m);
    return data;
}

void peers_close(struct peers *peers, size_t index)
{
    struct peer *p = &peers->of[index];
    while (p->first)
        bus_free(take_first(peers, p));
    if (p->push)
        bus_push_close(p->push);
    p->push = NULL;
    p->address[0] = '\0';
}

static int keep(struct peers *peers, struct peer *p, uint8_t *data, size_t len)
{
    struct message *m = peers->waiting < peers->waiting_max ? malloc(sizeof(*m)) : NULL;
    if (!m) {
        bus_free(data);
        return ERR_FULL;
    }
    m->data = data;
    m->len = len;
    m->next = NULL;
    *p->last = m;
    p->last = &m->next;
    p->waiting++;
    peers->waiting++;
    return 0;
}

int peers_send(struct peers *peers, size_t index, uint8_t *data, size_t len)
{
    struct peer *p = &peers->of[index];
    if (!p->push) {
        bus_free(data);
        return ERR_CLOSED;
    }
    int err = p->first ? ERR_AGAIN : bus_send(p->push, data, len);
    if (err == ERR_AGAIN)
        return keep(peers, p, data, len);
    if (err)
        bus_free(data);
    return err;
}

/* Only a socket that is busy or not connected gets better with time. What failed otherwise may be sealed in part already: it is of no use. */
static size_t flush_peer(struct peers *peers, struct peer *p)
{
    size_t dropped = 0;
    while (p->first) {
        int err = bus_send(p->push, p->first->data, p->first->len);
        if (err == ERR_AGAIN)
            break;
        uint8_t *data = take_first(peers, p);
        if (err)
            bus_free(data);
        dropped += err != 0;
    }
    return dropped;
}

size_t peers_flush(struct peers *peers)
{
    size_t dropped = 0;
    for (size_t i = 0; i < peers->count && peers->waiting > 0; i++)
        dropped += flush_peer(peers, &peers->of[i]);
    return dropped;
}

bool peers_waits(const struct peers *peers, size_t index)
{
    return peers->of[index].first != NULL;
}

size_t peers_backlog(const struct peers *peers)
{
    size_t n = 0;
    for (size_t i = 0; i < peers->count && peers->waiting > 0; i++)
        if (peers->of[i].first && bus_push_connected(peers->of[i].push))
            n += peers->of[i].waiting;
    return n;
}

bool peers_may_send(const struct peers *peers, int64_t now_us)
{
    for (size_t i = 0; i < peers->count && peers->waiting > 0; i++) {
        const struct peer *p = &peers->of[i];
        if (p->first && (now_us - p->opened_us < CONNECTING_US || bus_push_connected(p->push)))
            return true;
    }
    return false;
}
