/* SPDX-License-Identifier: MIT */
/* Ours: an API is dispatch and admission, a worker is credit; what is between and around them costs network time, and no CPU. */
#include "parts.h"

#include "cavage/credit.h"
#include "cavage/dispatch.h"
#include "cavage/err.h"
#include "cavage/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EVENT_TO_API = EVENT_POLICY,
    EVENT_TO_WORKER,
    EVENT_DONE,
    EVENT_API_TICK,
    EVENT_WORKER_TICK,
    EVENT_LINE_UP,
    EVENT_LINES_DOWN,
    QUEUE_MAX = 4096,      /* of an API */
    CUSTOMER_MAX = 1024,   /* of one customer in it */
    NOTICED_US = 5 * 1000, /* a lost connection is seen after this at the latest: all that are lost by then together */
    CONNECT_US = 100 * 1000,
    CANCELLED_US = 250 * 1000 /* a conversion that nobody waits for is ended after this */
};

static const int64_t never_us = INT64_MAX;

struct message {
    int from, to;
    unsigned generation; /* of the worker at either end */
    enum { SAYS_HELLO, SAYS_JOB, SAYS_CANCEL, SAYS_STATUS, SAYS_RESULT } says;
    union {
        struct wire_hello hello;
        struct wire_job job;
        struct wire_cancel cancel;
        struct wire_result result; /* or its status alone */
    } of;
    struct message *next_free;
};

struct held {
    size_t api; /* index in credit */
    int node;
    uint64_t sequence, job;
    int64_t began_us; /* -1: it waits */
    bool cancelled;
    uint64_t ticket; /* of its conversion */
    struct held *next;
};

struct api {
    struct dispatch *dispatch;
    struct admission_books *books;
    int64_t tick_us; /* that is in the events */
    bool connected[REGION_WORKERS_MAX];
};

struct worker {
    struct credit *credit;
    struct id boot;
    bool up, vanished;
    unsigned generation;
    int running;
    struct held *waiting, **waiting_end;
    struct held *running_list;
    int node_of[CREDIT_APIS_MAX];
    int64_t tick_us, paused_until_us;
    int factor;
};

struct ours {
    struct api apis[REGION_APIS_MAX];
    struct worker workers[REGION_WORKERS_MAX];
    int64_t last_us[2][REGION_APIS_MAX][REGION_WORKERS_MAX]; /* order within a connection */
    uint64_t tickets;
    struct message *free_messages;
    struct held *free_held;
};

static struct ours *ours_of(struct region *r)
{
    return r->policy;
}

static void check(int err, const char *what)
{
    if (err == ERR_OK)
        return;
    fprintf(stderr, "scale: %s: %s\n", what, err_text(err));
    exit(1);
}

/* ---- Messages ---- */

static struct message *message_new(struct ours *o)
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

static void message_free(struct ours *o, struct message *m)
{
    m->next_free = o->free_messages;
    o->free_messages = m;
}

static void post(struct region *r, bool to_worker, int api, int worker, struct message *m)
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

/* ---- API ---- */

static struct id boot_of(int kind, int number, unsigned generation)
{
    struct id id = {{(uint8_t)kind, (uint8_t)(number + 1)}};
    memcpy(id.bytes + 8, &generation, sizeof generation);
    return id;
}

static void unbook(const struct region *r, struct api *api, struct job *j, int64_t service_us)
{
    if (j->booked == BOOKED_WAITING)
        admission_unqueue(api->books, r->now_us, &j->terms);
    else if (j->booked == BOOKED_SENT)
        admission_end(api->books, r->now_us, &j->terms, service_us, j->terms.cost_us);
    j->booked = BOOKED_NOT;
}

static void send_job(struct region *r, int a, const struct dispatch_action *action)
{
    struct ours *o = ours_of(r);
    struct job *j = region_job(r, action->job);
    struct message *m = message_new(o);

    if (j && j->booked == BOOKED_WAITING) {
        admission_send(o->apis[a].books, r->now_us, &j->terms);
        j->booked = BOOKED_SENT;
    }
    if (j && !j->sent) {
        j->sent = true;
        j->sent_us = r->now_us;
    }
    m->says = SAYS_JOB;
    m->of.job.api_boot = boot_of(1, a, 0);
    m->of.job.worker_boot = action->worker_boot;
    m->of.job.link = (uint32_t)action->peer;
    m->of.job.sequence = action->sequence;
    m->of.job.job = action->job;
    m->of.job.remaining_ms = action->remaining_ms;
    m->of.job.operation = OPERATION_RESIZE;
    post(r, true, a, (int)action->peer, m);
}

static void send_other(struct region *r, int a, const struct dispatch_action *action)
{
    struct message *m = message_new(ours_of(r));
    if (action->type == DISPATCH_CANCEL) {
        m->says = SAYS_CANCEL;
        m->of.cancel = (struct wire_cancel){.api_boot = boot_of(1, a, 0),
                                            .worker_boot = action->worker_boot,
                                            .link = (uint32_t)action->peer,
                                            .sequence = action->sequence,
                                            .job = action->job};
    } else {
        m->says = SAYS_HELLO;
        m->of.hello = (struct wire_hello){.api_boot = boot_of(1, a, 0),
                                          .worker_boot = action->worker_boot,
                                          .link = (uint32_t)action->peer,
                                          .sent = action->sequence,
                                          .queued = action->queued};
        snprintf(m->of.hello.result_address, sizeof m->of.hello.result_address, "tcp://api-%d", a);
    }
    post(r, true, a, (int)action->peer, m);
}

static void fail_job(struct region *r, int a, const struct dispatch_action *action)
{
    struct job *j = region_job(r, action->job);
    if (!j)
        return;
    unbook(r, &ours_of(r)->apis[a], j, 0);
    region_fail(r, j, action->failure == DISPATCH_DEADLINE ? FAILED_DEADLINE : FAILED_RETRIES, 0);
}

static void api_tick_at(struct region *r, int a, int64_t at_us)
{
    struct api *api = &ours_of(r)->apis[a];
    if (at_us >= api->tick_us)
        return;
    api->tick_us = at_us < r->now_us ? r->now_us : at_us;
    region_post(r, api->tick_us, EVENT_API_TICK, a, (uint64_t)api->tick_us, NULL);
}

static void api_act(struct region *r, int a)
{
    struct api *api = &ours_of(r)->apis[a];
    struct dispatch_action action;
    struct dispatch_stats stats;

    while (dispatch_next(api->dispatch, &action)) {
        if (action.type == DISPATCH_SEND)
            send_job(r, a, &action);
        else if (action.type == DISPATCH_FAIL)
            fail_job(r, a, &action);
        else
            send_other(r, a, &action);
    }
    dispatch_stats(api->dispatch, &stats);
    admission_set_capacity(api->books, stats.own_slots_milli);
    api_tick_at(r, a, dispatch_next_us(api->dispatch));
}

static void ours_arrive(struct region *r, struct job *j)
{
    struct api *api = &ours_of(r)->apis[j->api];
    struct admission_forecast forecast = {.admitted = true};

    if (r->config.target_us > 0)
        admission_judge(api->books, r->now_us, &j->terms, &forecast);
    if (!forecast.admitted) {
        region_fail(r, j, REFUSED_WAIT, forecast.retry_us);
        return;
    }
    struct dispatch_job job = {.id = j->id,
                               .customer = j->terms.customer,
                               .lane = j->terms.lane,
                               .cost_us = j->terms.cost_us,
                               .deadline_us = j->deadline_us};
    int err = dispatch_submit(api->dispatch, r->now_us, &job);
    if (err) {
        region_fail(r, j, err == ERR_RANGE ? REFUSED_CUSTOMER : REFUSED_QUEUE, 0);
        return;
    }
    if (admission_queue(api->books, r->now_us, &j->terms) == ERR_OK)
        j->booked = BOOKED_WAITING;
    api_act(r, j->api);
}

static void api_result(struct region *r, int a, const struct wire_result *m)
{
    struct api *api = &ours_of(r)->apis[a];
    if (dispatch_result(api->dispatch, r->now_us, m) != DISPATCH_ANSWER)
        return;
    struct job *j = region_job(r, m->job);
    if (!j)
        return;
    unbook(r, api, j, m->outcome == OUTCOME_OK ? (int64_t)m->convert_us : 0);
    if (m->outcome != OUTCOME_OK) {
        region_fail(r, j, FAILED_DEADLINE, 0);
        return;
    }
    j->began_us = r->now_us - (int64_t)m->actual_value;
    region_answer(r, j);
}

static void to_api(struct region *r, const struct event *e)
{
    struct ours *o = ours_of(r);
    struct message *m = e->data;
    if (m->says == SAYS_RESULT)
        api_result(r, e->node, &m->of.result);
    else
        dispatch_status(o->apis[e->node].dispatch, r->now_us, &m->of.result.status);
    message_free(o, m);
    api_act(r, e->node);
}

/* ---- Worker ---- */

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
    post(r, false, h->node, w, m);
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
        post(r, false, worker->node_of[api], w, m);
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

static void to_worker(struct region *r, const struct event *e)
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

static void done(struct region *r, const struct event *e)
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

static void worker_start(struct region *r, int w)
{
    struct worker *worker = &ours_of(r)->workers[w];
    worker->generation++;
    worker->boot = boot_of(2, w, worker->generation);
    worker->up = true;
    worker->running = 0;
    worker->waiting = NULL;
    worker->waiting_end = &worker->waiting;
    worker->running_list = NULL;
    worker->tick_us = never_us;
    worker->factor = 1;
    check(credit_new(&worker->boot, &worker->credit), "credit");
    credit_set_slots(worker->credit, r->now_us, (unsigned)r->config.slots);
    for (int a = 0; a < r->config.apis; a++) {
        int64_t at_us = r->now_us == 0 ? 0 : r->now_us + noise_below(&r->network, CONNECT_US);
        region_post(r, at_us, EVENT_LINE_UP, a, (uint64_t)w, NULL);
    }
}

static void drop_list(struct region *r, struct held *h, bool ran)
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

static void worker_kill(struct region *r, int w, bool vanishes)
{
    struct worker *worker = &ours_of(r)->workers[w];
    if (!worker->up)
        return;
    worker->up = false;
    worker->vanished = vanishes;
    drop_list(r, worker->waiting, false);
    drop_list(r, worker->running_list, true);
    worker->waiting = worker->running_list = NULL;
    worker->waiting_end = &worker->waiting;
    credit_free(worker->credit);
    worker->credit = NULL;
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

static void tick(struct region *r, const struct event *e)
{
    struct ours *o = ours_of(r);
    if (e->kind == EVENT_API_TICK) {
        struct api *api = &o->apis[e->node];
        if (api->tick_us != (int64_t)e->index)
            return;
        api->tick_us = never_us;
        dispatch_tick(api->dispatch, r->now_us);
        api_act(r, e->node);
        return;
    }
    struct worker *worker = &o->workers[e->node];
    if (!worker->up || worker->tick_us != (int64_t)e->index)
        return;
    worker->tick_us = never_us;
    worker_tell(r, e->node);
}

static void ours_event(struct region *r, const struct event *e)
{
    static void (*const takers[])(struct region *, const struct event *) = {
        [EVENT_TO_API] = to_api,    [EVENT_TO_WORKER] = to_worker, [EVENT_DONE] = done,       [EVENT_API_TICK] = tick,
        [EVENT_WORKER_TICK] = tick, [EVENT_LINE_UP] = line,        [EVENT_LINES_DOWN] = line,
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
        struct dispatch_config config = {.boot = boot_of(1, a, 0),
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
        check(dispatch_new(&config, &o->apis[a].dispatch), "dispatch");
        check(admission_books_new(&books, &o->apis[a].books), "admission");
        o->apis[a].tick_us = never_us;
        for (int w = 0; w < r->config.workers; w++) {
            size_t peer;
            check(dispatch_peer_add(o->apis[a].dispatch, &peer), "dispatch");
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
        drop_list(r, o->workers[w].waiting, false);
        drop_list(r, o->workers[w].running_list, false);
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

const struct policy_ops policy_ours = {ours_start, ours_stop, ours_arrive, ours_event, ours_fault};
