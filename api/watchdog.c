/* SPDX-License-Identifier: MIT */
/* One look at each connection: is what it does within its time? */
#include "watchdog.h"

#include "conn.h"
#include "early.h"
#include "listener.h"
#include "metering.h"
#include "metrics.h"
#include "pipeline.h"
#include "ready.h"
#include "request.h"

#include "cavage/clock.h"
#include "cavage/err.h"

#include <linux/tcp.h>
#include <stdlib.h>

enum {
    SWEEP_US = 50 * 1000,
    NEW_US = 10 * 1000 * 1000, /* a connection that libmicrohttpd has not taken up by now was dropped by it */
    DRAIN_IDLE_US = 250 * 1000 /* in a drain, a connection that was idle this long is closed */
};

struct watchdog {
    struct api *api;
    struct loop_timer *timer;
    int64_t now_us; /* of the sweep under way */
};

static bool has_sent(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_bytes_received > 0;
}

/* No request is under way. A first request gets the time of a request, further ones that of keep-alive. */
static void sweep_idle(struct watchdog *w, struct conn *conn)
{
    const struct settings *s = &w->api->settings;
    int64_t idle_us = w->now_us - conn->since_us;
    if (idle_us >= (conn->served ? s->keepalive_us : s->request_deadline_us)) {
        if (!conn->served && has_sent(conn->fd))
            early_timeout_locked(w->api, conn, w->now_us);
        else
            conn_close(w->api->conns, conn, 0);
    } else if (atomic_load(&w->api->closing) && idle_us >= DRAIN_IDLE_US && conn_is_idle(conn)) {
        conn_close(w->api->conns, conn, 0);
    }
}

static void time_out(struct watchdog *w, struct request *r)
{
    struct problem problem;
    problem_set(&problem, PROBLEM_REQUEST_TIMEOUT, "The limit is %lld ms from the request's first line.",
                (long long)(w->api->settings.request_deadline_us / 1000));
    early_answer_locked(r, &problem, w->now_us);
}

static void sweep_arriving(struct watchdog *w, struct conn *conn)
{
    if (w->now_us >= conn->request->deadline_us)
        time_out(w, conn->request);
}

/* The refusal is constant once a request is in DISCARD. */
static void sweep_discard(struct watchdog *w, struct conn *conn)
{
    if (w->now_us - conn->request->refused_us >= w->api->settings.discard_us)
        early_answer_locked(conn->request, &conn->request->problem, w->now_us);
}

static void sweep_sent(struct watchdog *w, struct conn *conn)
{
    if (w->now_us - conn->request->sent_us >= w->api->settings.send_deadline_us)
        conn_close(w->api->conns, conn, 0);
}

static void sweep_open(struct watchdog *w, struct conn *conn)
{
    static void (*const sweeps[REQUEST_STATES])(struct watchdog *, struct conn *) = {
        [REQUEST_HEAD] = sweep_arriving,
        [REQUEST_BODY] = sweep_arriving,
        [REQUEST_DISCARD] = sweep_discard,
        [REQUEST_SENT] = sweep_sent,
    };
    if (!conn->request)
        sweep_idle(w, conn);
    else if (sweeps[conn->request->state])
        sweeps[conn->request->state](w, conn);
}

static void sweep_conn(void *arg, struct conn *conn)
{
    struct watchdog *w = arg;
    if (conn->state == CONN_OPEN)
        sweep_open(w, conn);
    else if (conn->state == CONN_CLOSING && conn->close_us > 0 && w->now_us >= conn->close_us)
        conn_close(w->api->conns, conn, 0);
}

static void on_sweep(void *arg)
{
    struct watchdog *w = arg;
    struct dispatch_stats stats;
    w->now_us = clock_monotonic_us();
    conns_each(w->api->conns, sweep_conn, w);
    conns_forget_new(w->api->conns, w->now_us - NEW_US);
    listener_sweep(w->api->listener, w->now_us);
    metering_flush_limited(w->api->metering, w->now_us, false);
    pipeline_stats(w->api->pipeline, &stats);
    metrics_update(w->api, &stats);
    ready_update(w->api);
    loop_timer_at(w->timer, w->now_us + SWEEP_US);
}

int watchdog_start(struct api *api, struct watchdog **out)
{
    struct watchdog *w = calloc(1, sizeof(*w));
    if (!w)
        return ERR_NOMEM;
    w->api = api;
    int err = loop_timer_new(api->daemon->loop, on_sweep, w, &w->timer);
    if (err) {
        free(w);
        return err;
    }
    loop_timer_at(w->timer, clock_monotonic_us());
    *out = w;
    return 0;
}

void watchdog_stop(struct watchdog *w)
{
    if (!w)
        return;
    loop_timer_free(w->timer);
    free(w);
}
