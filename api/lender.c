/* SPDX-License-Identifier: MIT */
/* The links to workers, from the greeting to the hang-up.
 *
 * ASKED: connected. OFFERED: it asked, and was sent the descriptor. JOINED: it has mapped the arena, and may be lent to. ENDING: it said what it should not, so it is
 * asked to hang up. What was lent is over only when it does: to close our end would not stop it from reading. */
#include "lender.h"

#include "metrics.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/log.h"
#include "cavage/seqpacket.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MESSAGE_MAX = 256,
    BACKLOG = 64,
    ACCEPT_MAX = 16,                    /* in one round */
    PAUSE_US = 100 * 1000,              /* when no descriptor is left for a connection */
    LINKS_MAX = DISPATCH_PEERS_MAX + 16 /* those that are only asking make room for each other */
};

enum link_state { LINK_FREE, LINK_ASKED, LINK_OFFERED, LINK_JOINED, LINK_ENDING };

struct link {
    struct lender *owner;
    enum link_state state;
    int fd;
    struct loop_watch *watch;
    struct wire_arena arena; /* from OFFERED on */
    uint64_t age;            /* the lower the older */
};

struct lender {
    struct lender_config config;
    struct lending *lending;
    char path[WIRE_ARENA_PATH_SIZE];
    int listener; /* -1: none */
    struct loop_watch *watch;
    struct loop_timer *pause; /* until connections are taken again */
    uint64_t accepted, numbers;
    size_t links_end; /* used ones are below */
    struct link links[LINKS_MAX];
};

/* ---- Ends ---- */

static void release_over(struct lender *l)
{
    struct staged body;
    while (lending_next(l->lending, &body))
        staged_release(l->config.extents, &body);
}

static void link_close(struct link *link)
{
    struct lender *l = link->owner;
    if (link->state == LINK_JOINED || link->state == LINK_ENDING)
        lending_leave(l->lending, &link->arena.worker_boot);
    if (link->watch)
        loop_unwatch(link->watch);
    close(link->fd);
    *link = (struct link){.owner = l, .fd = -1};
    release_over(l);
}

/* It is no worker, or one that does not keep to the rules. */
static void link_refuse(struct link *link, int err)
{
    struct lender *l = link->owner;
    metrics_add(l->config.metrics, API_ARENA_REFUSED, 1);
    log_warn("arena_refused", "a process that asked for the staging arena is not lent to",
             LOG_S("reason", err_text(err)));
    if (link->state < LINK_JOINED) {
        link_close(link);
        return;
    }
    link->state = LINK_ENDING;
    lending_suspend(l->lending, &link->arena.worker_boot);
    shutdown(link->fd, SHUT_WR);
    (void)loop_watch_set(link->watch, 0); /* the hang-up is told all the same */
}

/* ---- Greetings ---- */

static int receive(const struct link *link, struct wire_arena *m)
{
    uint8_t data[MESSAGE_MAX];
    size_t len, fd_count;
    struct frame f;
    int err = seqpacket_recv(link->fd, data, sizeof(data), MSG_DONTWAIT, &len, NULL, 0, &fd_count);
    if (!err)
        err = frame_parse(data, len, 0, &f);
    return err ? err : wire_unpack_arena(&f, m);
}

static int offer(struct link *link)
{
    const struct extents *extents = link->owner->config.extents;
    int fd = extents_fd(extents);
    uint8_t *data;
    size_t len;
    int err = wire_pack_arena(&link->arena, malloc, &data, &len);
    if (!err) {
        err = seqpacket_send(link->fd, data, len, &fd, 1);
        free(data);
    }
    return err;
}

static int take_question(struct link *link, const struct wire_arena *m)
{
    struct lender *l = link->owner;
    if (m->number != 0 || !id_equal(&m->api_boot, &l->config.boot))
        return ERR_INVALID;
    link->arena = *m;
    link->arena.number = ++l->numbers;
    link->arena.extent_bytes = extents_each_bytes(l->config.extents);
    link->arena.extents = extents_count(l->config.extents);
    link->state = LINK_OFFERED;
    return offer(link);
}

static int take_consent(struct link *link, const struct wire_arena *m)
{
    struct lender *l = link->owner;
    if (m->number != link->arena.number || !id_equal(&m->worker_boot, &link->arena.worker_boot))
        return ERR_INVALID;
    int err = lending_join(l->lending, &m->worker_boot);
    if (err)
        return err;
    link->state = LINK_JOINED;
    log_info("arena_lent", "a worker reads images where they are staged", LOG_U("link", m->number));
    return ERR_OK;
}

static void on_link(void *arg, int fd, uint32_t events)
{
    struct link *link = arg;
    struct wire_arena m;
    (void)fd;
    if (events & (EPOLLHUP | EPOLLERR)) {
        link_close(link);
        return;
    }
    int err = receive(link, &m);
    if (err == ERR_AGAIN)
        return;
    if (!err && link->state == LINK_ASKED)
        err = take_question(link, &m);
    else if (!err && link->state == LINK_OFFERED)
        err = take_consent(link, &m);
    else if (!err)
        err = ERR_INVALID;
    if (err)
        link_refuse(link, err);
}

/* ---- Connections ---- */

static struct link *place_for_link(struct lender *l)
{
    struct link *oldest = NULL;
    for (size_t i = 0; i < l->links_end; i++) {
        struct link *link = &l->links[i];
        if (link->state == LINK_FREE)
            return link;
        if (link->state <= LINK_OFFERED && (!oldest || link->age < oldest->age))
            oldest = link;
    }
    if (l->links_end < LINKS_MAX)
        return &l->links[l->links_end++];
    if (oldest)
        link_refuse(oldest, ERR_FULL);
    return oldest;
}

static void take_connection(struct lender *l, int fd)
{
    struct link *link = seqpacket_is_own(fd) ? place_for_link(l) : NULL;
    if (!link) {
        metrics_add(l->config.metrics, API_ARENA_REFUSED, 1);
        close(fd);
        return;
    }
    *link = (struct link){.owner = l, .state = LINK_ASKED, .fd = fd, .age = ++l->accepted};
    int err = loop_watch(l->config.loop, fd, EPOLLIN, on_link, link, &link->watch);
    if (err)
        link_refuse(link, err);
}

static void on_connection(void *arg, int listener, uint32_t events)
{
    struct lender *l = arg;
    int fd, err = ERR_OK;
    (void)events;
    for (int i = 0; i < ACCEPT_MAX && (err = seqpacket_accept(listener, &fd)) == ERR_OK; i++)
        take_connection(l, fd);
    if (err == ERR_OK || err == ERR_AGAIN)
        return;
    (void)loop_watch_set(l->watch, 0);
    loop_timer_at(l->pause, clock_monotonic_us() + PAUSE_US);
}

static void on_pause_over(void *arg)
{
    struct lender *l = arg;
    (void)loop_watch_set(l->watch, EPOLLIN);
}

/* ---- Life ---- */

int lender_start(const struct lender_config *config, struct lender **out)
{
    struct lender *l = calloc(1, sizeof(*l));
    if (!l)
        return ERR_NOMEM;
    if (!wire_arena_path(config->results, l->path)) {
        free(l);
        return ERR_INVALID;
    }
    l->config = *config;
    l->listener = -1;
    for (size_t i = 0; i < LINKS_MAX; i++)
        l->links[i] = (struct link){.owner = l, .fd = -1};
    int err = lending_new(&config->boot, DISPATCH_PEERS_MAX, config->loans_max, &l->lending);
    if (!err && seqpacket_listen(l->path, BACKLOG, &l->listener)) {
        l->listener = -1;
        err = ERR_IO;
    }
    if (!err)
        err = loop_watch(config->loop, l->listener, EPOLLIN, on_connection, l, &l->watch);
    if (!err)
        err = loop_timer_new(config->loop, on_pause_over, l, &l->pause);
    if (err) {
        lender_stop(l);
        return err;
    }
    *out = l;
    return ERR_OK;
}

void lender_stop(struct lender *l)
{
    if (!l)
        return;
    loop_timer_free(l->pause);
    if (l->watch)
        loop_unwatch(l->watch);
    if (l->listener >= 0) {
        close(l->listener);
        unlink(l->path);
    }
    for (size_t i = 0; i < LINKS_MAX; i++)
        if (l->links[i].state != LINK_FREE)
            link_close(&l->links[i]);
    lending_free(l->lending);
    free(l);
}

/* ---- Loans ---- */

static const struct link *link_of(const struct lender *l, const struct id *worker_boot)
{
    for (size_t i = 0; i < l->links_end; i++)
        if (l->links[i].state == LINK_JOINED && id_equal(&l->links[i].arena.worker_boot, worker_boot))
            return &l->links[i];
    return NULL;
}

bool lender_lend(struct lender *l, const struct dispatch_action *a, const struct staged *body, struct wire_job *m)
{
    size_t count;
    const struct link *link = l ? link_of(l, &a->worker_boot) : NULL;
    if (!link || staged_numbers(l->config.extents, body, m->extents, WIRE_EXTENTS_MAX, &count) ||
        lending_lend(l->lending, &a->worker_boot, (uint32_t)a->peer, a->sequence, a->job))
        return false;
    m->arena = link->arena.number;
    m->image_bytes = body->bytes;
    m->extent_count = count;
    metrics_add(l->config.metrics, API_JOBS_LENT, 1);
    return true;
}

void lender_take_back(struct lender *l, const struct dispatch_action *a)
{
    if (!l)
        return;
    lending_take_back(l->lending, &a->worker_boot, (uint32_t)a->peer, a->sequence);
    release_over(l);
}

void lender_hear(struct lender *l, const struct wire_status *m)
{
    if (!l)
        return;
    lending_hear(l->lending, m);
    release_over(l);
}

void lender_keep(struct lender *l, uint64_t job, struct staged *body)
{
    if (l)
        (void)lending_keep(l->lending, job, body);
}

void lender_stats(const struct lender *l, struct lending_stats *out)
{
    *out = (struct lending_stats){0};
    if (l)
        lending_stats(l->lending, out);
}
