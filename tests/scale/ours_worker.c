/* SPDX-License-Identifier: MIT */
/* Our worker: credit, and converters that take their time. */
#include "ours.h"

#include "cavage/err.h"

#include <stdlib.h>

enum { CANCELLED_US = 250 * 1000 }; /* a conversion that nobody waits for is ended after this */

static void worker_tick_at(struct region *r, int w, int64_t at_us)
{
    struct worker *worker = &ours_of(r)->workers[w];
    if (at_us >= worker->tick_us)
        return;
    worker->tick_us = at_us < r->now_us ? r->now_us : at_us;
    region_post(r, worker->tick_us, EVENT_WORKER_TICK, w, (uint64_t)worker->tick_us, NULL);
}

static struct held *held_new(struct ours *o)
{
    struct held *h = o->free_held;
    if (h) {
        o->free_held = h->next;
        return h;
    }
    h = malloc(sizeof *h);
    if (!h)
        abort();
    return h;
}

static void held_free(struct ours *o, struct held *h)
{
    h->next = o->free_held;
    o->free_held = h;
}

static void send_result(struct region *r, int w, const struct held *h, enum outcome outcome)
{
    struct ours *o = ours_of(r);
    struct worker *worker = &o->workers[w];
    struct message *m = message_new(o);
    struct wire_result *result = &m->of.result;

    m->says = SAYS_RESULT;
    credit_set_busy(worker->credit, r->now_us, (unsigned)worker->running, 0);
    credit_status(worker->credit, r->now_us, h->api, &result->status);
    result->sequence = h->sequence;
    result->job = h->job;
    result->outcome = outcome;
    bool began = h->began_us >= 0;
    result->cpu_us = result->convert_us = began ? (uint64_t)(r->now_us - h->began_us) : 0;
    result->wait_us = 0;
    message_post(r, false, h->node, w, m);
    /* When the conversion began, told as its distance to the message's arrival. */
    result->actual_value = began ? (uint64_t)(ours_of(r)->last_us[false][h->node][w] - h->began_us) : 0;
}

static void worker_begin(struct region *r, int w)
{
    struct ours *o = ours_of(r);
    struct worker *worker = &o->workers[w];

    while (worker->waiting && worker->running < r->config.slots) {
        struct held *h = worker->waiting;
        worker->waiting = h->next;
        if (!worker->waiting)
            worker->waiting_end = &worker->waiting;
        struct job *j = region_job(r, h->job);
        h->began_us = r->now_us;
        h->ticket = ++o->tickets;
        h->next = worker->running_list;
        worker->running_list = h;
        worker->running++;
        int64_t service_us = (j ? j->service_us : 1) * worker->factor;
        region_post(r, r->now_us + service_us, EVENT_DONE, w, h->ticket, h);
    }
}

static void worker_tell(struct region *r, int w)
{
    struct ours *o = ours_of(r);
    struct worker *worker = &o->workers[w];
    size_t api;

    worker_begin(r, w);
    while (credit_next_gone(worker->credit, r->now_us, &api))
        ;
    while (credit_next_status(worker->credit, r->now_us, &api)) {
        struct message *m = message_new(o);
        m->says = SAYS_STATUS;
        credit_set_busy(worker->credit, r->now_us, (unsigned)worker->running, 0);
        credit_status(worker->credit, r->now_us, api, &m->of.result.status);
        message_post(r, false, worker->node_of[api], w, m);
    }
    worker_tick_at(r, w, credit_next_us(worker->credit));
}

static void take_job(struct region *r, int w, const struct message *m)
{
    struct ours *o = ours_of(r);
    struct worker *worker = &o->workers[w];
    size_t api = 0;

    int err = credit_job(worker->credit, r->now_us, &m->of.job, &api);
    struct held h = {.api = api, .node = m->from, .sequence = m->of.job.sequence, .job = m->of.job.job, .began_us = -1};
    if (err == ERR_DENIED || err == ERR_FULL)
        send_result(r, w, &h, OUTCOME_NOT_STARTED);
    if (err)
        return;
    struct held *held = held_new(o);
    *held = h;
    *worker->waiting_end = held;
    worker->waiting_end = &held->next;
}

static void take_cancel(struct region *r, int w, const struct message *m)
{
    struct ours *o = ours_of(r);
    struct worker *worker = &o->workers[w];
    for (struct held **at = &worker->waiting; *at; at = &(*at)->next) {
        struct held *h = *at;
        if (h->node != m->from || h->sequence != m->of.cancel.sequence)
            continue;
        *at = h->next;
        if (!h->next)
            worker->waiting_end = at;
        credit_done(worker->credit, r->now_us, h->api, h->sequence);
        held_free(o, h);
        return;
    }
    for (struct held *h = worker->running_list; h; h = h->next) {
        if (h->node != m->from || h->sequence != m->of.cancel.sequence)
            continue;
        h->cancelled = true;
        region_post(r, r->now_us + CANCELLED_US, EVENT_DONE, w, h->ticket, h);
    }
}

static void take_hello(struct region *r, int w, const struct message *m)
{
    struct worker *worker = &ours_of(r)->workers[w];
    size_t api;
    bool is_new;
    if (credit_hello(worker->credit, r->now_us, &m->of.hello, &api, &is_new) == ERR_OK)
        worker->node_of[api] = m->from;
}

void worker_hear(struct region *r, const struct event *e)
{
    struct ours *o = ours_of(r);
    struct message *m = e->data;
    struct worker *worker = &o->workers[e->node];
    if (worker->up && worker->generation == m->generation) {
        if (m->says == SAYS_HELLO)
            take_hello(r, e->node, m);
        else if (m->says == SAYS_JOB)
            take_job(r, e->node, m);
        else
            take_cancel(r, e->node, m);
        worker_tell(r, e->node);
    }
    message_free(o, m);
}

void worker_tick(struct region *r, const struct event *e)
{
    struct worker *worker = &ours_of(r)->workers[e->node];
    if (!worker->up || worker->tick_us != (int64_t)e->index)
        return;
    worker->tick_us = never_us;
    worker_tell(r, e->node);
}

void worker_done(struct region *r, const struct event *e)
{
    struct ours *o = ours_of(r);
    struct worker *worker = &o->workers[e->node];
    struct held **at = &worker->running_list;

    while (*at && (*at)->ticket != e->index)
        at = &(*at)->next;
    struct held *h = *at;
    if (!h)
        return;
    *at = h->next;
    worker->running--;
    struct job *j = region_job(r, h->job);
    region_used(r, j, h->began_us, r->now_us, j != NULL && !h->cancelled);
    credit_done(worker->credit, r->now_us, h->api, h->sequence);
    if (!h->cancelled)
        send_result(r, e->node, h, OUTCOME_OK);
    held_free(o, h);
    worker_tell(r, e->node);
}

void worker_start(struct region *r, int w)
{
    struct worker *worker = &ours_of(r)->workers[w];
    worker->generation++;
    worker->boot = ours_boot(2, w, worker->generation);
    worker->up = true;
    worker->running = 0;
    worker->waiting = NULL;
    worker->waiting_end = &worker->waiting;
    worker->running_list = NULL;
    worker->tick_us = never_us;
    worker->factor = 1;
    ours_check(credit_new(&worker->boot, &worker->credit), "credit");
    credit_set_slots(worker->credit, r->now_us, (unsigned)r->config.slots);
    for (int a = 0; a < r->config.apis; a++) {
        int64_t at_us = r->now_us == 0 ? 0 : r->now_us + noise_below(&r->network, CONNECT_US);
        region_post(r, at_us, EVENT_LINE_UP, a, (uint64_t)w, NULL);
    }
}

void worker_drop(struct region *r, struct held *h, bool ran)
{
    struct ours *o = ours_of(r);
    while (h) {
        struct held *next = h->next;
        if (ran)
            region_used(r, region_job(r, h->job), h->began_us, r->now_us, false);
        held_free(o, h);
        h = next;
    }
}

void worker_kill(struct region *r, int w, bool vanishes)
{
    struct worker *worker = &ours_of(r)->workers[w];
    if (!worker->up)
        return;
    worker->up = false;
    worker->vanished = vanishes;
    worker_drop(r, worker->waiting, false);
    worker_drop(r, worker->running_list, true);
    worker->waiting = worker->running_list = NULL;
    worker->waiting_end = &worker->waiting;
    credit_free(worker->credit);
    worker->credit = NULL;
}
