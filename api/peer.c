/* SPDX-License-Identifier: MIT */
/* A ring of actions in front of each PUSH socket; frames are built when they can be sent, since they hold whole images. */
#include "peer.h"

#include "cavage/bus.h"
#include "cavage/clock.h"
#include "cavage/err.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    WAITING_MAX = 1024, /* a power of two; twice what a worker may grant */
    GREETERS_MAX = 8
};

struct peer {
    struct loop *loop;
    struct bus_push *push;
    peer_build_fn build;
    peer_unsent_fn unsent;
    void *arg;
    bool connected;
    struct id met; /* over tcp, the worker's boot; zero: not known */
    int64_t heard_us;
    struct id greeters[GREETERS_MAX]; /* who told their boots, the last one first; zero: nobody */
    int64_t greeted_us;
    struct dispatch_action hello; /* the last one */
    struct loop_watch *watch;     /* while something waits */
    size_t head, count;
    struct dispatch_action waiting[WAITING_MAX];
};

int peer_open(struct loop *loop, const char *address, struct seal *seal, peer_build_fn build, peer_unsent_fn unsent,
              void *arg, struct peer **out)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    if (!peer)
        return ERR_NOMEM;
    peer->loop = loop;
    peer->build = build;
    peer->unsent = unsent;
    peer->arg = arg;
    int err = bus_push_open(address, seal, &peer->push);
    if (err) {
        free(peer);
        return err;
    }
    *out = peer;
    return 0;
}

void peer_close(struct peer *peer)
{
    if (!peer)
        return;
    peer_clear(peer);
    bus_push_close(peer->push);
    free(peer);
}

bool peer_poll(struct peer *peer, bool *changed)
{
    bool connected = bus_push_connected(peer->push);
    *changed = connected != peer->connected;
    peer->connected = connected;
    return connected;
}

static void stop_waiting(struct peer *peer)
{
    peer->head = peer->count = 0;
    if (peer->watch)
        loop_unwatch(peer->watch);
    peer->watch = NULL;
}

void peer_clear(struct peer *peer)
{
    stop_waiting(peer);
    peer->met = (struct id){{0}};
    memset(peer->greeters, 0, sizeof(peer->greeters));
}

/* A worker that was silent for long may be another one by now. */
static bool is_fresh(int64_t now_us, int64_t heard_us)
{
    return now_us - heard_us < DISPATCH_SILENCE_US;
}

static bool has_met(const struct peer *peer, int64_t now_us)
{
    return is_fresh(now_us, peer->heard_us) && !id_is_zero(&peer->met);
}

void peer_meet(struct peer *peer, int64_t now_us, const struct id *boot)
{
    if (has_met(peer, now_us) && !id_equal(&peer->met, boot))
        return;
    memmove(peer->greeters + 1, peer->greeters, sizeof(peer->greeters) - sizeof(peer->greeters[0]));
    peer->greeters[0] = *boot;
    peer->greeted_us = now_us;
    if (peer->hello.type == DISPATCH_HELLO)
        peer_send(peer, &peer->hello);
}

static bool has_greeted(const struct peer *peer, const struct id *boot)
{
    for (size_t i = 0; i < GREETERS_MAX; i++)
        if (id_equal(&peer->greeters[i], boot))
            return true;
    return false;
}

void peer_hear(struct peer *peer, int64_t now_us, const struct id *boot)
{
    if (!has_met(peer, now_us) && has_greeted(peer, boot))
        peer->met = *boot;
    if (id_equal(&peer->met, boot))
        peer->heard_us = now_us;
}

/* Whom a frame is sealed for. */
static struct id receiver_of(const struct peer *peer, const struct dispatch_action *action)
{
    int64_t now_us = clock_monotonic_us();
    if (action->type != DISPATCH_HELLO)
        return action->worker_boot;
    if (has_met(peer, now_us))
        return peer->met;
    return is_fresh(now_us, peer->greeted_us) ? peer->greeters[0] : (struct id){{0}};
}

/* Send one, or leave it out when it is of no use any more. ERR_AGAIN: the socket takes none now. */
static int send_one(struct peer *peer, const struct dispatch_action *action)
{
    size_t len;
    if (!bus_push_ready(peer->push))
        return ERR_AGAIN;
    uint8_t *frame = peer->build(peer->arg, action, &len);
    if (!frame)
        return 0;
    struct id receiver = receiver_of(peer, action);
    bus_push_to(peer->push, &receiver);
    int err = bus_send(peer->push, frame, len);
    if (!err)
        return 0;
    bus_free(frame);
    peer->unsent(peer->arg, action);
    return err;
}

static void on_writable(void *arg, int fd, uint32_t events)
{
    struct peer *peer = arg;
    (void)fd;
    (void)events;
    while (peer->count > 0) {
        /* One that fails for good is left out: the worker's STATUS will tell that it did not get it. */
        if (send_one(peer, &peer->waiting[peer->head]) == ERR_AGAIN)
            return;
        peer->head = (peer->head + 1) % WAITING_MAX;
        peer->count--;
    }
    stop_waiting(peer);
}

int peer_send(struct peer *peer, const struct dispatch_action *action)
{
    if (!peer || !peer->connected)
        return ERR_CLOSED;
    if (action->type == DISPATCH_HELLO)
        peer->hello = *action;
    int err = peer->count == 0 ? send_one(peer, action) : ERR_AGAIN;
    if (err != ERR_AGAIN)
        return err;
    if (peer->count == WAITING_MAX)
        return ERR_FULL;
    if (!peer->watch) {
        err = loop_watch(peer->loop, bus_push_fd(peer->push), EPOLLIN, on_writable, peer, &peer->watch);
        if (err)
            return err;
    }
    peer->waiting[(peer->head + peer->count++) % WAITING_MAX] = *action;
    return 0;
}
