/* SPDX-License-Identifier: MIT */
/* The pipeline's events: requests from the inbox, messages of workers, connections that come and go, and time. */
#include "client_watch.h"
#include "metrics.h"
#include "outcome.h"
#include "overload.h"
#include "pipeline_parts.h"
#include "poisoned.h"

#include "cavage/cluster.h"
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    POLL_US = 5 * 1000,            /* between two looks at whether workers are connected */
    STRANDED_US = 3 * 1000 * 1000, /* without a worker, until requests are refused at once */
    RECEIVE_MAX = 256              /* messages taken in one round */
};

/* ---- Answers ---- */

static void answer(struct pipeline *p, struct request *r, enum request_state state)
{
    jobs_remove(p->jobs, r->job);
    lender_keep(p->lender, r->job, &r->staged);
    overload_leave(p->api->overload, r);
    client_unwatch(r);
    r->answered_us = clock_monotonic_us();
    if (r->dispatched_us && state == REQUEST_ANSWERED)
        metrics_observe(p->api->daemon->metrics, API_QUEUE_WAIT,
                        r->dispatched_us - r->queued_us + (int64_t)r->conversion.wait_us);
    void *exchange = r->exchange;
    request_move(r, state); /* hands the request over: nothing of it is touched from here on */
    p->answered(exchange);
}

/* An image that is known as poison by now, in another request of the same customer. */
struct twin {
    struct pipeline *pipeline;
    const struct request *first;
    struct poisoned_digest digest;
};

static void refuse_twin(void *arg, struct request *r)
{
    const struct twin *t = arg;
    struct pipeline *p = t->pipeline;
    if (r == t->first || r->customer != t->first->customer || r->staged.bytes != t->first->staged.bytes ||
        !poisoned_is(p->api->poisoned, r, &t->digest))
        return;
    metrics_add(p->api->daemon->metrics, API_POISON_REFUSED, 1);
    outcome_failure(r, DISPATCH_POISON);
    dispatch_cancel(p->dispatch, clock_monotonic_us(), r->job);
    answer(p, r, REQUEST_ANSWERED);
}

/* Remember the image, and spare the converters those of a storm that wait or run already. */
static void remember_poison(struct pipeline *p, const struct request *r)
{
    struct twin t = {.pipeline = p, .first = r};
    poisoned_add(p->api->poisoned, clock_monotonic_us(), r, &t.digest);
    jobs_each(p->jobs, refuse_twin, &t);
}

static void fail(struct pipeline *p, const struct dispatch_action *a)
{
    struct request *r = jobs_find(p->jobs, a->job);
    if (!r)
        return;
    if (a->failure == DISPATCH_POISON)
        remember_poison(p, r);
    outcome_failure(r, a->failure);
    answer(p, r, REQUEST_ANSWERED);
}

/* A worker drops the connection of whoever sends it more than it takes, and with it the jobs of others. The image was taken before the worker was known. */
static void refuse_long(struct pipeline *p, int64_t now_us, const struct dispatch_action *a, struct request *r)
{
    uint64_t most = dispatch_peer_longest(p->dispatch, a->peer);
    dispatch_send_refused(p->dispatch, now_us, a->peer, a->job);
    if (a->hedge)
        return; /* the first copy is where it can be */
    problem_set(&r->problem, PROBLEM_BODY_TOO_LARGE, "At most %" PRIu64 " bytes are taken.", most);
    problem_set_limit(&r->problem, most, r->staged.bytes);
    dispatch_cancel(p->dispatch, now_us, r->job);
    answer(p, r, REQUEST_ANSWERED);
}

static void send_job(struct pipeline *p, int64_t now_us, const struct dispatch_action *a)
{
    struct request *r = jobs_find(p->jobs, a->job);
    if (r && r->staged.bytes > dispatch_peer_longest(p->dispatch, a->peer)) {
        refuse_long(p, now_us, a, r);
        return;
    }
    if (r) {
        pipeline_note_send(r, a, now_us);
        overload_sent(p->api->overload, r);
    }
    if (peer_send(p->places[a->peer].peer, a) == 0)
        return;
    if (dispatch_send_refused(p->dispatch, now_us, a->peer, a->job) && r)
        overload_unsent(p->api->overload, r);
}

/* The address of a worker that takes no longer images than this. */
static const char *who_takes(const struct pipeline *p, uint64_t longest)
{
    for (size_t i = 0; i < p->place_count; i++)
        if (dispatch_peer_longest(p->dispatch, i) == longest)
            return p->places[i].address;
    return "";
}

/* No body is taken that is longer than all workers take. */
static void bound_bodies(struct pipeline *p, uint64_t longest)
{
    uint64_t own = p->api->settings.max_body_bytes, least = longest < own ? longest : own;
    if (least == atomic_load(&p->api->longest))
        return;
    atomic_store(&p->api->longest, least);
    if (least < own)
        log_warn("bodies_bounded",
                 "a worker takes only shorter images than this API server may, so nothing longer is taken; see "
                 "api.max_body_bytes",
                 LOG_U("bytes", least), LOG_S("address", who_takes(p, least)));
    else
        log_info("bodies_unbounded", "no worker bounds the images any more", LOG_U("bytes", least));
}

/* Do all that the machine asks for, and ask it when it wants to be called next. */
static void act(struct pipeline *p, int64_t now_us)
{
    struct dispatch_action a;
    while (dispatch_next(p->dispatch, &a)) {
        if (a.type == DISPATCH_FAIL)
            fail(p, &a);
        else if (a.type == DISPATCH_SEND)
            send_job(p, now_us, &a);
        else
            peer_send(p->places[a.peer].peer, &a);
    }
    loop_timer_at(p->tick, dispatch_next_us(p->dispatch));

    struct dispatch_stats stats;
    dispatch_stats(p->dispatch, &stats);
    atomic_store(&p->queued, stats.queued);
    overload_capacity(p->api->overload, &stats);
    bound_bodies(p, stats.longest);
    bool has_worker = dispatch_has_worker(p->dispatch);
    if (has_worker == atomic_load(&p->has_worker))
        return;
    atomic_store(&p->has_worker, has_worker);
    atomic_store(&p->stranded_us, has_worker ? 0 : now_us);
}

/* ---- Messages of workers ---- */

/* A message speaks for the worker that sealed it, and for no other. One that names no receiver may be a replay. */
static bool is_of(const struct bus_from *from, const struct id *worker_boot)
{
    return !from->sealed || (from->addressed && id_equal(&from->boot, worker_boot));
}

/* NULL: there is none with this link. */
static struct peer *peer_of(const struct pipeline *p, uint32_t link)
{
    return link < p->place_count ? p->places[link].peer : NULL;
}

static void hear(struct pipeline *p, int64_t now_us, const struct wire_status *m)
{
    struct peer *peer = peer_of(p, m->link);
    lender_hear(p->lender, m);
    if (peer)
        peer_hear(peer, now_us, &m->worker_boot);
}

/* True: the message's memory belongs to a request now. */
static bool take_result(struct pipeline *p, int64_t now_us, const struct frame *f, const struct bus_from *from,
                        uint8_t *data)
{
    struct wire_result m;
    if (wire_unpack_result(f, &m) != 0 || !is_of(from, &m.status.worker_boot)) {
        metrics_add(p->api->daemon->metrics, API_BAD_MESSAGES, 1);
        return false;
    }
    hear(p, now_us, &m.status);
    if (dispatch_result(p->dispatch, now_us, &m) != DISPATCH_ANSWER)
        return false;
    struct request *r = jobs_find(p->jobs, m.job);
    if (!r)
        return false;
    outcome_result(r, &m, f->body_len);
    bool keep = r->problem.type == PROBLEM_NONE;
    if (keep) {
        overload_converted(p->api->overload, r);
        r->message = data;
        r->result = f->body;
        r->result_len = f->body_len;
    }
    answer(p, r, REQUEST_ANSWERED);
    return keep;
}

/* True: the message could be read. */
static bool take_status(struct pipeline *p, int64_t now_us, const struct frame *f, const struct bus_from *from)
{
    struct wire_status m;
    if (f->type != FRAME_STATUS || wire_unpack_status(f, &m) != 0 || !is_of(from, &m.worker_boot))
        return false;
    hear(p, now_us, &m);
    dispatch_status(p->dispatch, now_us, &m);
    return true;
}

/* Our HELLO came back with the boot of the worker that read it. */
static bool take_greeting(struct pipeline *p, int64_t now_us, const struct frame *f, const struct bus_from *from)
{
    struct wire_hello m;
    if (!from->sealed || wire_unpack_hello(f, &m) != 0 || !is_of(from, &m.worker_boot) ||
        !id_equal(&m.api_boot, &p->boot) || !peer_of(p, m.link))
        return false;
    peer_meet(peer_of(p, m.link), now_us, &m.worker_boot);
    return true;
}

static void take_message(struct pipeline *p, int64_t now_us, uint8_t *data, size_t len, const struct bus_from *from)
{
    struct frame f;
    bool good = frame_parse(data, len, p->api->settings.max_output_bytes, &f) == 0;
    if (good && f.type == FRAME_RESULT && take_result(p, now_us, &f, from, data))
        return;
    if (good && f.type == FRAME_HELLO)
        good = take_greeting(p, now_us, &f, from);
    else if (good && f.type != FRAME_RESULT)
        good = take_status(p, now_us, &f, from);
    if (!good)
        metrics_add(p->api->daemon->metrics, API_BAD_MESSAGES, 1);
    bus_free(data);
}

static void receive(struct pipeline *p)
{
    uint8_t *data;
    size_t len;
    struct bus_from from;
    for (int i = 0; i < RECEIVE_MAX && bus_recv(p->pull, &data, &len, &from) == 0; i++)
        take_message(p, clock_monotonic_us(), data, len, &from);
    cluster_count(p->api->daemon->metrics, API_SEALED, p->seal);
}

void pipeline_on_message(void *arg, int fd, uint32_t events)
{
    struct pipeline *p = arg;
    (void)fd;
    (void)events;
    receive(p);
    act(p, clock_monotonic_us());
}

/* ---- Requests ---- */

static void submit(struct pipeline *p, int64_t now_us, struct request *r)
{
    r->job = jobs_add(p->jobs, r);
    struct dispatch_job job = {.id = r->job,
                               .customer = r->customer,
                               .lane = r->job_terms.lane,
                               .cost_us = r->job_terms.cost_us,
                               .deadline_us = r->deadline_us};
    int err = r->job ? dispatch_submit(p->dispatch, now_us, &job) : ERR_FULL;
    if (err == 0) {
        client_watch(r);
        return;
    }
    if (err == ERR_RANGE)
        problem_set(&r->problem, PROBLEM_SHARE_USED, "This customer's jobs use all the queue it may have.");
    else
        problem_set(&r->problem, PROBLEM_OVERLOADED, "The queue is full.");
    r->refused_by = err == ERR_RANGE ? CHECK_CUSTOMER_QUEUE : CHECK_QUEUE;
    answer(p, r, REQUEST_ANSWERED);
}

static void empty_inbox(struct pipeline *p, int64_t now_us)
{
    pthread_mutex_lock(&p->lock);
    struct request *r = p->inbox;
    p->inbox = NULL;
    p->inbox_tail = &p->inbox;
    pthread_mutex_unlock(&p->lock);
    while (r) {
        struct request *next = r->next; /* r may be answered, and gone, by submit */
        submit(p, now_us, r);
        r = next;
    }
}

void pipeline_on_inbox(void *arg, int fd, uint32_t events)
{
    struct pipeline *p = arg;
    uint64_t wakes;
    (void)events;
    if (read(fd, &wakes, sizeof(wakes)) < 0)
        return;
    int64_t now_us = clock_monotonic_us();
    empty_inbox(p, now_us);
    act(p, now_us);
}

void pipeline_submit(struct pipeline *p, struct request *r)
{
    static const uint64_t one = 1;
    r->next = NULL;
    pthread_mutex_lock(&p->lock);
    bool was_empty = p->inbox == NULL;
    *p->inbox_tail = r;
    p->inbox_tail = &r->next;
    pthread_mutex_unlock(&p->lock);
    /* An eventfd that cannot take one more has been written 2^64 - 2 times unread. */
    if (was_empty && write(p->inbox_fd, &one, sizeof(one)) < 0)
        abort();
}

void pipeline_cancel(struct pipeline *p, struct request *r)
{
    int64_t now_us = clock_monotonic_us();
    metrics_add(p->api->daemon->metrics, API_CLIENTS_GONE, 1);
    dispatch_cancel(p->dispatch, now_us, r->job);
    answer(p, r, REQUEST_GONE);
    act(p, now_us);
}

static void abandon(void *arg, struct request *r)
{
    struct pipeline *p = arg;
    r->problem.type = PROBLEM_DRAINING;
    dispatch_cancel(p->dispatch, clock_monotonic_us(), r->job);
    answer(p, r, REQUEST_ANSWERED);
}

void pipeline_abandon(struct pipeline *p)
{
    empty_inbox(p, clock_monotonic_us());
    jobs_each(p->jobs, abandon, p);
    act(p, clock_monotonic_us());
}

/* ---- Time ---- */

void pipeline_on_tick(void *arg)
{
    struct pipeline *p = arg;
    receive(p); /* nobody is judged silent before what arrived was read */
    int64_t now_us = clock_monotonic_us();
    dispatch_tick(p->dispatch, now_us);
    act(p, now_us);
}

void pipeline_on_poll(void *arg)
{
    struct pipeline *p = arg;
    int64_t now_us = clock_monotonic_us();
    bool any = false;
    for (size_t i = 0; i < p->place_count; i++) {
        struct peer *peer = p->places[i].peer;
        bool changed = false, up = peer && peer_poll(peer, &changed);
        if (!changed)
            continue;
        any = true;
        peer_clear(peer);
        if (up) {
            dispatch_peer_up(p->dispatch, now_us, i);
        } else {
            receive(p); /* results that came before the end still count */
            dispatch_peer_down(p->dispatch, now_us, i);
        }
    }
    pipeline_close_retired(p, now_us);
    if (any)
        act(p, now_us);
    loop_timer_at(p->poll, now_us + POLL_US);
}

/* ---- What others ask ---- */

size_t pipeline_queued(const struct pipeline *p)
{
    return atomic_load_explicit(&p->queued, memory_order_relaxed);
}

bool pipeline_has_worker(const struct pipeline *p)
{
    return atomic_load(&p->has_worker);
}

bool pipeline_is_stranded(const struct pipeline *p, int64_t now_us)
{
    int64_t since_us = atomic_load(&p->stranded_us);
    return since_us != 0 && now_us - since_us >= STRANDED_US;
}

void pipeline_stats(const struct pipeline *p, struct dispatch_stats *out)
{
    dispatch_stats(p->dispatch, out);
}

void pipeline_lending_stats(const struct pipeline *p, struct lending_stats *out)
{
    lender_stats(p->lender, out);
}

void pipeline_reload(struct pipeline *p)
{
    cluster_reload(p->api->daemon->conf, p->seal);
}
