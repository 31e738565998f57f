/* SPDX-License-Identifier: MIT */
/* PUSH sockets to the APIs, each with a short queue in order. */
#include "peers.h"

#include "cavage/bus.h"
#include "cavage/err.h"

#include <stdlib.h>

struct message {
    struct message *next;
    uint8_t *data;
    size_t len;
};

struct peer {
    struct bus_push *push;
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

int peers_open(struct peers *peers, size_t index, const char *address, const struct id *boot)
{
    peers_close(peers, index);
    int err = bus_push_open(address, peers->seal, &peers->of[index].push);
    if (!err)
        bus_push_to(peers->of[index].push, boot);
    return err;
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
    if (!p->first && bus_send(p->push, data, len) == 0)
        return 0;
    return keep(peers, p, data, len);
}

void peers_flush(struct peers *peers)
{
    for (size_t i = 0; i < peers->count && peers->waiting > 0; i++) {
        struct peer *p = &peers->of[i];
        while (p->first && bus_send(p->push, p->first->data, p->first->len) == 0)
            (void)take_first(peers, p);
    }
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
