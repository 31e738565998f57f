/* SPDX-License-Identifier: MIT */
/* The steps of the drain, on one timer. */
#include "drain.h"

#include "conn.h"
#include "early.h"
#include "listener.h"
#include "metering.h"
#include "pipeline.h"
#include "ready.h"
#include "request.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/log.h"

#include <stdlib.h>
#include <time.h>

enum {
    CHECK_US = 20 * 1000,
    LEAVE_US = 1000 * 1000,  /* for clients to take the refusals that a late drain ends with */
    FLUSH_MS = 5 * 1000,     /* for the meter to take what is spooled; the rest stays on disk */
    CUT_US = 5 * 1000 * 1000 /* for HTTP threads to notice that their sockets were shut */
};

struct drain {
    struct api *api;
    struct loop_timer *timer;
    int64_t close_us; /* when to stop accepting */
    int64_t end_us;   /* when to stop waiting */
    int64_t leave_us; /* when to end what is left; 0: not known yet */
    uint64_t cut;     /* requests that did not get the answer they could have got */
};

static void flush_usage(struct api *api)
{
    metering_flush_limited(api->metering, clock_monotonic_us(), true);
    if (spool_flush(api->spool, FLUSH_MS) != 0)
        log_warn("usage_kept", "the meter has not taken all usage; the rest stays in the spool for the next start");
}

static bool is_open(const struct conn *conn)
{
    return conn->state == CONN_OPEN && conn->request;
}

static void count_unanswered(void *arg, struct conn *conn)
{
    static const bool unanswered[REQUEST_STATES] = {
        [REQUEST_HEAD] = true,
        [REQUEST_JUDGED] = true,
        [REQUEST_BODY] = true,
        [REQUEST_QUEUED] = true,
    };
    struct drain *d = arg;
    d->cut += is_open(conn) && unanswered[conn->request->state];
}

static void count_open(void *arg, struct conn *conn)
{
    struct drain *d = arg;
    d->cut += is_open(conn);
}

/* A request that is still arriving is answered now; a refusal of its own is constant once it is in DISCARD. */
static void refuse(void *arg, struct conn *conn)
{
    struct drain *d = arg;
    if (conn->state != CONN_OPEN)
        return;
    struct problem draining = {.type = PROBLEM_DRAINING};
    struct request *r = conn->request;
    if (r && (r->state == REQUEST_HEAD || r->state == REQUEST_BODY))
        early_answer_locked(r, &draining, clock_monotonic_us());
    else if (r && r->state == REQUEST_DISCARD)
        early_answer_locked(r, &r->problem, clock_monotonic_us());
    else if (conn_is_idle(conn))
        conn_close(d->api->conns, conn, 0);
}

/* The time is over: what has no answer yet is refused, and gets a moment to take its answer and leave. */
static void give_up(struct drain *d, int64_t now_us)
{
    if (!atomic_exchange(&d->api->refusing, true)) {
        conns_each(d->api->conns, count_unanswered, d);
        d->leave_us = now_us + LEAVE_US;
    }
    conns_each(d->api->conns, refuse, d);
    pipeline_abandon(d->api->pipeline);
}

static void finish(struct drain *d)
{
    struct api *api = d->api;
    atomic_store(&api->refusing, true);
    conns_each(api->conns, count_open, d);
    if (d->cut > 0) {
        log_warn("drain_cut", "the drain took too long; requests were refused or cut off", LOG_U("requests", d->cut));
        daemon_cut(api->daemon);
    }
    drain_now(api);
    flush_usage(api);
    daemon_drained(api->daemon);
}

static void on_step(void *arg)
{
    struct drain *d = arg;
    struct api *api = d->api;
    int64_t now_us = clock_monotonic_us();
    if (!atomic_load(&api->closing) && now_us >= d->close_us) {
        listener_close(api->listener);
        atomic_store(&api->closing, true);
    }
    bool empty = atomic_load(&api->closing) && conns_used(api->conns) == 0;
    if (!empty && now_us >= d->end_us)
        give_up(d, now_us);
    if (empty || (d->leave_us && now_us >= d->leave_us))
        finish(d);
    else
        loop_timer_at(d->timer, now_us + CHECK_US);
}

int drain_new(struct api *api, struct drain **out)
{
    struct drain *d = calloc(1, sizeof(*d));
    if (!d)
        return ERR_NOMEM;
    d->api = api;
    int err = loop_timer_new(api->daemon->loop, on_step, d, &d->timer);
    if (err) {
        free(d);
        return err;
    }
    *out = d;
    return 0;
}

void drain_free(struct drain *d)
{
    if (!d)
        return;
    loop_timer_free(d->timer);
    free(d);
}

void drain_start(struct drain *d)
{
    int64_t now_us = clock_monotonic_us();
    atomic_store(&d->api->draining, true);
    ready_update(d->api);
    d->close_us = now_us + d->api->settings.drain_delay_us;
    d->end_us = d->close_us + d->api->settings.drain_us;
    on_step(d);
}

static void cut(void *arg, struct conn *conn)
{
    struct api *api = arg;
    if (conn->state == CONN_OPEN || (conn->state == CONN_CLOSING && conn->close_us > 0))
        conn_close(api->conns, conn, 0);
}

void drain_now(struct api *api)
{
    int64_t end_us = clock_monotonic_us() + CUT_US;
    const struct timespec moment = {.tv_nsec = 1000 * 1000};
    while (conns_used(api->conns) > 0 && clock_monotonic_us() < end_us) {
        conns_each(api->conns, cut, api);
        pipeline_abandon(api->pipeline);
        nanosleep(&moment, NULL);
    }
}
