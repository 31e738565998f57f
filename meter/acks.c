/* SPDX-License-Identifier: MIT */
/* Sends acknowledgements to the producers that are known by their addresses. */
#include "acks.h"

#include "cavage/bus.h"
#include "cavage/bus_table.h"
#include "cavage/err.h"
#include "cavage/log.h"

#include <stdlib.h>
#include <string.h>

/* Longer than this nobody waits for an answer: the batch has come again. */
static const int64_t keep_us = 2000000;

/* Two processes may have had an address, one after the other, and usage of the first may come late. */
struct pending {
    struct id boot; /* whom it is for */
    struct wire_ack ack;
};

struct peer {
    struct pending pending[ACKS_PENDING_MAX];
    size_t count;
};

struct acks {
    struct bus_table *table;
    struct peer peers[ACKS_PEERS_MAX]; /* by place in the table */
};

int acks_new(struct seal *seal, struct acks **out)
{
    struct acks *acks = calloc(1, sizeof *acks);
    int err = acks ? bus_table_new(ACKS_PEERS_MAX, seal, &acks->table) : ERR_NOMEM;
    if (err) {
        free(acks);
        return err;
    }
    *out = acks;
    return ERR_OK;
}

void acks_free(struct acks *acks)
{
    if (acks)
        bus_table_free(acks->table);
    free(acks);
}

static struct peer *peer_of(struct acks *acks, const char *address, int64_t now_us)
{
    size_t place;
    bool opened;
    int err = bus_table_find(acks->table, now_us, address, &place, &opened);
    if (err)
        log_error("meter_bad_address", "a producer cannot be answered", LOG_S("address", address),
                  LOG_S("error", err_text(err)));
    if (opened)
        acks->peers[place].count = 0;
    return err ? NULL : &acks->peers[place];
}

/* The one for the same process and epoch, else a new one; NULL when there is no room. */
static struct pending *pending_of(struct peer *peer, const struct id *boot, const struct wire_ack *ack)
{
    for (size_t i = 0; i < peer->count; i++) {
        struct pending *p = &peer->pending[i];
        if (p->ack.epoch == ack->epoch && id_equal(&p->ack.producer, &ack->producer) && id_equal(&p->boot, boot))
            return p;
    }
    return peer->count < ACKS_PENDING_MAX ? &peer->pending[peer->count++] : NULL;
}

void acks_add(struct acks *acks, const struct acks_to *to, const struct wire_ack *ack, int64_t now_us)
{
    struct peer *peer = peer_of(acks, to->address, now_us);
    if (!peer)
        return;
    struct pending *p = pending_of(peer, &to->boot, ack);
    if (p)
        *p = (struct pending){.boot = to->boot, .ack = *ack};
}

static int send_one(struct bus_push *push, const struct pending *p)
{
    uint8_t *data;
    size_t len;
    int err = wire_pack_ack(&p->ack, bus_alloc, &data, &len);
    if (err)
        return err;
    bus_push_to(push, &p->boot);
    err = bus_send(push, data, len);
    if (err)
        bus_free(data);
    return err;
}

static bool send_pending(struct acks *acks, size_t place, int64_t now_us)
{
    struct peer *peer = &acks->peers[place];
    size_t sent = 0;
    if (now_us - bus_table_used_us(acks->table, place) > keep_us)
        peer->count = 0;
    while (sent < peer->count && send_one(bus_table_push(acks->table, place), &peer->pending[sent]) == ERR_OK)
        sent++;
    peer->count -= sent;
    memmove(peer->pending, peer->pending + sent, peer->count * sizeof peer->pending[0]);
    return peer->count > 0;
}

bool acks_send(struct acks *acks, int64_t now_us)
{
    bool waits = false;
    for (size_t i = 0; i < ACKS_PEERS_MAX; i++)
        if (acks->peers[i].count > 0 && send_pending(acks, i, now_us))
            waits = true;
    return waits;
}
