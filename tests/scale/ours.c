/* SPDX-License-Identifier: MIT */
/* Ours: an API is dispatch and admission, a worker is credit; what is between and around them costs network time, and no CPU. */
#include "ours.h"

#include "cavage/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUEUE_MAX = 4096,     /* of an API */
    CUSTOMER_MAX = 1024,  /* of one customer in it */
    NOTICED_US = 5 * 1000 /* a lost connection is seen after this at the latest: all that are lost by then together */
};

void ours_check(int err, const char *what)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "scale: %s: %s\n", what, err_text(err));
    exit(1);
}

struct id ours_boot(int kind, int number, unsigned generation)
{
    struct id id = {{(uint8_t)kind, (uint8_t)(number + 1)}};
    memcpy(id.bytes + 8, &generation, sizeof generation);
    return id;
}

/* ---- Messages ---- */

struct message *message_new(struct ours *o)
{
    struct message *m = o->free_messages;
    if (m) {
        o->free_messages = m->next_free;
        return m;
    }
    m = calloc(1, sizeof *m);
    if (!m)
        abort();
    return m;
}

void message_free(struct ours *o, struct message *m)
{
    m->next_free = o->free_messages;
    o->free_messages = m;
}

void message_post(struct region *r, bool to_worker, int api, int worker, struct message *m)
{
    struct ours *o = ours_of(r);
    int64_t *last_us = &o->last_us[to_worker][api][worker];
    int64_t at_us = r->now_us;
    if (r->config.network_us > 0)
        at_us += r->config.network_us / 2 + noise_below(&r->network, r->config.network_us + 1);
    if (at_us < *last_us)
        at_us = *last_us;
    *last_us = at_us;
    m->from = to_worker ? api : worker;
    m->to = to_worker ? worker : api;
    m->generation = o->workers[worker].generation;
    region_post(r, at_us, to_worker ? EVENT_TO_WORKER : EVENT_TO_API, m->to, 0, m);
}

/* ---- The policy ---- */

static void line(struct region *r, const struct event *e)
{
    struct ours *o = ours_of(r);
    struct api *api = &o->apis[e->node];
    for (int w = 0; w < r->config.workers; w++) {
        const struct worker *worker = &o->workers[w];
        bool comes = e->kind == EVENT_LINE_UP && (uint64_t)w == e->index && worker->up;
        bool went = e->kind == EVENT_LINES_DOWN && !worker->up && !worker->vanished;
        if (comes && api->connected[w]) /* what vanished is seen when it is there again */
            dispatch_peer_down(api->dispatch, r->now_us, (size_t)w);
        if (comes)
            dispatch_peer_up(api->dispatch, r->now_us, (size_t)w);
        else if (went && api->connected[w])
            dispatch_peer_down(api->dispatch, r->now_us, (size_t)w);
        api->connected[w] = comes || (api->connected[w] && !went);
    }
    api_act(r, e->node);
}

static void ours_event(struct region *r, const struct event *e)
{
    static void (*const takers[])(struct region *, const struct event *) = {
        [EVENT_TO_API] = api_hear,   [EVENT_TO_WORKER] = worker_hear,   [EVENT_DONE] = worker_done,
        [EVENT_API_TICK] = api_tick, [EVENT_WORKER_TICK] = worker_tick, [EVENT_LINE_UP] = line,
        [EVENT_LINES_DOWN] = line,
    };
    bool of_worker = e->kind == EVENT_TO_WORKER || e->kind == EVENT_DONE || e->kind == EVENT_WORKER_TICK;
    if (of_worker && r->now_us < ours_of(r)->workers[e->node].paused_until_us)
        region_post(r, ours_of(r)->workers[e->node].paused_until_us, e->kind, e->node, e->index, e->data);
    else
        takers[e->kind](r, e);
}

static void ours_fault(struct region *r, const struct fault *fault, bool begins)
{
    struct ours *o = ours_of(r);
    for (int w = fault->first; w < fault->first + fault->count && w < r->config.workers; w++) {
        bool ends = fault->kind == FAULT_KILL || fault->kind == FAULT_VANISH;
        if (ends && begins)
            worker_kill(r, w, fault->kind == FAULT_VANISH);
        else if (ends)
            worker_start(r, w);
        else if (fault->kind == FAULT_PAUSE && begins)
            o->workers[w].paused_until_us = fault->to_us;
        else if (fault->kind == FAULT_SLOW)
            o->workers[w].factor = begins ? fault->factor : 1;
    }
    for (int a = 0; a < r->config.apis && fault->kind == FAULT_KILL && begins; a++)
        region_post(r, r->now_us + 1 + noise_below(&r->network, NOTICED_US), EVENT_LINES_DOWN, a, 0, NULL);
}

static void *ours_start(struct region *r)
{
    struct ours *o = calloc(1, sizeof *o);
    if (!o)
        abort();
    r->policy = o;
    for (int a = 0; a < r->config.apis; a++) {
        struct dispatch_config config = {.boot = ours_boot(1, a, 0),
                                         .max_jobs = QUEUE_MAX,
                                         .max_queued = QUEUE_MAX,
                                         .max_queued_per_customer = CUSTOMER_MAX,
                                         .fifo = r->config.fifo,
                                         .large_percent = 25,
                                         .retry_percent = 10,
                                         .hedge_percent = r->config.no_hedges ? 0 : 2};
        struct admission_config books = {.jobs_max = QUEUE_MAX,
                                         .target_us = {r->config.target_us, r->config.target_us / 3 * 20},
                                         .large_percent = 25,
                                         .fifo = r->config.fifo};
        if (r->config.target_us == 0)
            books.target_us[LANE_SMALL] = books.target_us[LANE_LARGE] = 1;
        ours_check(dispatch_new(&config, &o->apis[a].dispatch), "dispatch");
        ours_check(admission_books_new(&books, &o->apis[a].books), "admission");
        o->apis[a].tick_us = never_us;
        for (int w = 0; w < r->config.workers; w++) {
            size_t peer;
            ours_check(dispatch_peer_add(o->apis[a].dispatch, &peer), "dispatch");
        }
    }
    for (int w = 0; w < r->config.workers; w++)
        worker_start(r, w);
    return o;
}

static void free_event(const struct event *e, struct ours *o)
{
    if ((e->kind == EVENT_TO_API || e->kind == EVENT_TO_WORKER) && e->data)
        message_free(o, e->data);
}

static void ours_stop(struct region *r, void *policy)
{
    struct ours *o = policy;
    for (size_t i = 0; i < r->heap_count; i++)
        free_event(&r->heap[i], o);
    for (int w = 0; w < r->config.workers; w++) {
        worker_drop(r, o->workers[w].waiting, false);
        worker_drop(r, o->workers[w].running_list, false);
        credit_free(o->workers[w].credit);
    }
    for (int a = 0; a < r->config.apis; a++) {
        struct dispatch_stats stats;
        dispatch_stats(o->apis[a].dispatch, &stats);
        r->result->requeued += stats.requeued;
        r->result->hedged += stats.hedged;
        dispatch_free(o->apis[a].dispatch);
        admission_books_free(o->apis[a].books);
    }
    while (o->free_messages) {
        struct message *m = o->free_messages;
        o->free_messages = m->next_free;
        free(m);
    }
    while (o->free_held) {
        struct held *h = o->free_held;
        o->free_held = h->next;
        free(h);
    }
    free(o);
}

const struct policy_ops policy_ours = {ours_start, ours_stop, api_arrive, ours_event, ours_fault};
