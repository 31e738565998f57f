/* SPDX-License-Identifier: MIT */
/* Sends acknowledgements to the producers that are known by their addresses. */
#include "acks.h"

#include "cavage/bus.h"
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
    char address[WIRE_ADDRESS_SIZE];
    struct bus_push *push; /* NULL: a free slot */
    int64_t used_us;
    struct pending pending[ACKS_PENDING_MAX];
    size_t count;
};

struct acks {
    struct seal *seal;
    struct peer peers[ACKS_PEERS_MAX];
};

int acks_new(struct seal *seal, struct acks **out)
{
    struct acks *acks = calloc(1, sizeof *acks);
    if (!acks)
        return ERR_NOMEM;
    acks->seal = seal;
    *out = acks;
    return ERR_OK;
}

static void forget(struct peer *peer)
{
    bus_push_close(peer->push);
    memset(peer, 0, sizeof *peer);
}

void acks_free(struct acks *acks)
{
    if (!acks)
        return;
    for (size_t i = 0; i < ACKS_PEERS_MAX; i++)
        forget(&acks->peers[i]);
    free(acks);
}

static struct peer *peer_of(struct acks *acks, const char *address)
{
    struct peer *oldest = &acks->peers[0];
    for (size_t i = 0; i < ACKS_PEERS_MAX; i++) {
        struct peer *peer = &acks->peers[i];
        if (peer->push && strcmp(peer->address, address) == 0)
            return peer;
        if (!peer->push || (oldest->push && peer->used_us < oldest->used_us))
            oldest = peer;
    }
    forget(oldest);
    int err = bus_push_open(address, acks->seal, &oldest->push);
    if (err) {
        oldest->push = NULL;
        log_error("meter_bad_address", "a producer cannot be answered", LOG_S("address", address),
                  LOG_S("error", err_text(err)));
        return NULL;
    }
    memcpy(oldest->address, address, strlen(address) + 1);
    return oldest;
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
    struct peer *peer = peer_of(acks, to->address);
    if (!peer)
        return;
    peer->used_us = now_us;
    struct pending *p = pending_of(peer, &to->boot, ack);
    if (p)
        *p = (struct pending){.boot = to->boot, .ack = *ack};
}

static int send_one(struct peer *peer, const struct pending *p)
{
    uint8_t *data;
    size_t len;
    int err = wire_pack_ack(&p->ack, bus_alloc, &data, &len);
    if (err)
        return err;
    bus_push_to(peer->push, &p->boot);
    err = bus_send(peer->push, data, len);
    if (err)
        bus_free(data);
    return err;
}

static bool send_pending(struct peer *peer, int64_t now_us)
{
    size_t sent = 0;
    if (now_us - peer->used_us > keep_us)
        peer->count = 0;
    while (sent < peer->count && send_one(peer, &peer->pending[sent]) == ERR_OK)
        sent++;
    peer->count -= sent;
    memmove(peer->pending, peer->pending + sent, peer->count * sizeof peer->pending[0]);
    return peer->count > 0;
}

bool acks_send(struct acks *acks, int64_t now_us)
{
    bool waits = false;
    for (size_t i = 0; i < ACKS_PEERS_MAX; i++)
        if (acks->peers[i].count > 0 && send_pending(&acks->peers[i], now_us))
            waits = true;
    return waits;
}
