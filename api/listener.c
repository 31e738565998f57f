/* SPDX-License-Identifier: MIT */
/* Accepting: the longest idle connection makes room for a new one; when none is idle, the new one is told 503. */
#include "listener.h"

#include "answer.h"
#include "conn.h"
#include "http.h"
#include "lingering.h"
#include "metrics.h"
#include "random.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/log.h"
#include "cavage/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    ACCEPTS_MAX = 128,    /* in one round of the loop */
    PAUSE_US = 50 * 1000, /* when descriptors are short */
    HANDED_FD = 3,        /* the first one of systemd */
    BACKLOG = 1024
};

struct listener {
    struct api *api;
    int fd;
    char address[80];
    struct loop_watch *watch;
    struct loop_timer *pause;
    struct lingering *lingering; /* refused connections that may still read their 503 */
};

static void refuse(struct listener *l, int64_t now_us, int fd)
{
    char text[ANSWER_RAW_SIZE];
    struct problem problem;
    problem_set(&problem, PROBLEM_OVERLOADED, "All connections are in use.");
    size_t len = answer_raw_problem(&problem, random_u32(), text);
    metrics_add(l->api->daemon->metrics, API_CONNECTIONS_REFUSED, 1);
    metrics_add(l->api->daemon->metrics, API_CHECKS + CHECK_CONNECTIONS - 1, 1);
    (void)!send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    lingering_add(l->lingering, now_us, fd);
}

void listener_sweep(struct listener *l, int64_t now_us)
{
    lingering_sweep(l->lingering, now_us);
}

/* ---- Accepting ---- */

static bool close_idlest(struct listener *l, int64_t now_us)
{
    bool closed = conns_close_idlest(l->api->conns, now_us);
    if (closed)
        metrics_add(l->api->daemon->metrics, API_CONNECTIONS_CLOSED_IDLE, 1);
    return closed;
}

static void take(struct listener *l, int64_t now_us, int fd, const struct sockaddr_storage *address, socklen_t len)
{
    static const int on = 1;
    struct conns *conns = l->api->conns;
    const struct sockaddr *peer = (const struct sockaddr *)(const void *)address;
    bool room = conns_live(conns) < l->api->settings.max_connections || close_idlest(l, now_us);
    struct conn *conn = room ? conns_add(conns, now_us, fd, peer) : NULL;
    if (!conn) {
        refuse(l, now_us, fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (http_add(l->api->http, fd, peer, len) != 0)
        conns_remove(conns, conn);
}

/* Descriptors or memory are short: make room, and look away for a moment instead of spinning. */
static void pause_accepting(struct listener *l, int64_t now_us)
{
    log_warn("accept_failed", "no more connections can be accepted for now",
             LOG_S("error", err_text(err_from_errno(errno))));
    close_idlest(l, now_us);
    loop_watch_set(l->watch, 0);
    loop_timer_at(l->pause, now_us + PAUSE_US);
}

static void on_pause_over(void *arg)
{
    struct listener *l = arg;
    if (l->watch)
        loop_watch_set(l->watch, EPOLLIN);
}

/* True: there may be more. */
static bool accept_one(struct listener *l, int64_t now_us)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    int fd = accept4(l->fd, (struct sockaddr *)(void *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        take(l, now_us, fd, &address, len);
        return true;
    }
    if (errno == EINTR || errno == ECONNABORTED)
        return true;
    if (errno != EAGAIN && errno != EWOULDBLOCK)
        pause_accepting(l, now_us);
    return false;
}

static void on_connection(void *arg, int fd, uint32_t events)
{
    struct listener *l = arg;
    (void)fd;
    (void)events;
    int64_t now_us = clock_monotonic_us();
    for (int i = 0; i < ACCEPTS_MAX && accept_one(l, now_us); i++) {
    }
}

/* ---- Open and close ---- */

/* A socket that systemd listens on for us (sd_listen_fds(3)). */
static bool handed_over(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    return pid && count && strtol(pid, NULL, 10) == (long)getpid() && strtol(count, NULL, 10) >= 1;
}

static int bind_socket(struct listener *l)
{
    const char *address = conf_str(l->api->daemon->conf, CONF_API_LISTEN);
    if (handed_over()) {
        l->fd = HANDED_FD;
        snprintf(l->address, sizeof(l->address), "%s", address);
        return fcntl(l->fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(l->fd, F_SETFL, O_NONBLOCK) == 0 ? 0
                                                                                                : err_from_errno(errno);
    }
    if (!net_is_loopback(address) && !conf_int(l->api->daemon->conf, CONF_API_ALLOW_PUBLIC_PLAINTEXT)) {
        log_error("listen_refused",
                  "api.listen is not a loopback address: keys would cross the network unencrypted. Set "
                  "api.allow_public_plaintext = yes "
                  "if a proxy before it speaks TLS, or if that is meant",
                  LOG_S("listen", address));
        return ERR_DENIED;
    }
    return net_listen(address, BACKLOG, &l->fd, l->address, sizeof(l->address));
}

int listener_open(struct api *api, struct listener **out)
{
    struct listener *l = calloc(1, sizeof(*l));
    if (!l)
        return ERR_NOMEM;
    l->api = api;
    l->fd = -1;
    int err = bind_socket(l);
    if (err && err != ERR_DENIED)
        log_error("listen_failed", "cannot listen", LOG_S("listen", conf_str(api->daemon->conf, CONF_API_LISTEN)),
                  LOG_S("error", err_text(err)));
    if (!err)
        err = lingering_new(api->daemon->loop, &l->lingering);
    if (!err)
        err = loop_timer_new(api->daemon->loop, on_pause_over, l, &l->pause);
    if (err) {
        listener_free(l);
        return err;
    }
    *out = l;
    return 0;
}

int listener_start(struct listener *l)
{
    return loop_watch(l->api->daemon->loop, l->fd, EPOLLIN, on_connection, l, &l->watch);
}

void listener_close(struct listener *l)
{
    if (l->watch) {
        int64_t now_us = clock_monotonic_us();
        /* What the kernel has taken for us; more than fits its queue comes from clients that would keep us here for ever. */
        for (int i = 0; i < 2 * BACKLOG && accept_one(l, now_us); i++) {
        }
        loop_unwatch(l->watch);
        l->watch = NULL;
    }
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

void listener_free(struct listener *l)
{
    if (!l)
        return;
    if (l->watch)
        loop_unwatch(l->watch);
    if (l->pause)
        loop_timer_free(l->pause);
    if (l->fd >= 0)
        close(l->fd);
    lingering_free(l->lingering);
    free(l);
}

const char *listener_address(const struct listener *l)
{
    return l->address;
}
