/* SPDX-License-Identifier: MIT */
/* What to compare with: one queue for all converters; and round robin to hosts, or to cores, with a queue each, which is how nanomsg's PUSH routes as long as
 * the peers' buffers take messages. None refuses anything. */
#include "parts.h"

#include <stdlib.h>

enum { EVENT_REACHED = EVENT_POLICY, EVENT_DONE };

struct queue {
    uint64_t *ids; /* ring */
    size_t first, count, room;
};

struct host {
    struct queue queue;
    int slots, running;
    int factor;
};

struct plain {
    int hosts;
    size_t turn[REGION_APIS_MAX];
    struct host *host;
};

static void queue_add(struct queue *q, uint64_t id)
{
    if (q->count == q->room) {
        size_t room = q->room ? 2 * q->room : 1024;
        uint64_t *ids = malloc(room * sizeof ids[0]);
        if (!ids)
            abort();
        for (size_t i = 0; i < q->count; i++)
            ids[i] = q->ids[(q->first + i) % q->room];
        free(q->ids);
        *q = (struct queue){ids, 0, q->count, room};
    }
    q->ids[(q->first + q->count++) % q->room] = id;
}

static uint64_t queue_take(struct queue *q)
{
    uint64_t id = q->ids[q->first];
    q->first = (q->first + 1) % q->room;
    q->count--;
    return id;
}

static void *plain_start(struct region *r)
{
    struct plain *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    int cores = r->config.workers * r->config.slots;
    p->hosts = r->config.policy == POLICY_POOLED ? 1 : r->config.policy == POLICY_CORES ? cores : r->config.workers;
    p->host = calloc((size_t)p->hosts, sizeof p->host[0]);
    if (!p->host)
        abort();
    for (int i = 0; i < p->hosts; i++)
        p->host[i] = (struct host){.slots = cores / p->hosts, .factor = 1};
    for (int a = 0; a < r->config.apis; a++)
        p->turn[a] = (size_t)noise_below(&r->routes, p->hosts);
    return p;
}

static void plain_stop(struct region *r, void *policy)
{
    struct plain *p = policy;
    (void)r;
    for (int i = 0; i < p->hosts; i++)
        free(p->host[i].queue.ids);
    free(p->host);
    free(p);
}

static void go_on(struct region *r, int i)
{
    struct plain *p = r->policy;
    struct host *h = &p->host[i];
    while (h->queue.count > 0 && h->running < h->slots) {
        struct job *j = region_job(r, queue_take(&h->queue));
        if (!j)
            continue;
        h->running++;
        j->began_us = r->now_us;
        region_post(r, r->now_us + j->service_us * h->factor, EVENT_DONE, i, j->id, NULL);
    }
}

static void plain_arrive(struct region *r, struct job *j)
{
    struct plain *p = r->policy;
    int i = (int)(p->turn[j->api]++ % (size_t)p->hosts);
    j->sent_us = r->now_us;
    region_post(r, r->now_us + (r->config.policy == POLICY_POOLED ? 0 : r->config.network_us), EVENT_REACHED, i, j->id,
                NULL);
}

static void plain_event(struct region *r, const struct event *e)
{
    struct plain *p = r->policy;
    if (e->kind == EVENT_REACHED) {
        queue_add(&p->host[e->node].queue, e->index);
    } else {
        struct job *j = region_job(r, e->index);
        p->host[e->node].running--;
        if (j) {
            region_used(r, j, j->began_us, r->now_us, true);
            region_answer(r, j);
        }
    }
    go_on(r, e->node);
}

static void plain_fault(struct region *r, const struct fault *fault, bool begins)
{
    struct plain *p = r->policy;
    int per_worker = p->hosts / r->config.workers;
    for (int i = fault->first * per_worker; i < (fault->first + fault->count) * per_worker && i < p->hosts; i++)
        if (fault->kind == FAULT_SLOW)
            p->host[i].factor = begins ? fault->factor : 1;
}

const struct policy_ops policy_plain = {plain_start, plain_stop, plain_arrive, plain_event, plain_fault};
