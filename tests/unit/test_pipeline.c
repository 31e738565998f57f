/* SPDX-License-Identifier: MIT */
/* Two APIs and two workers, joined by a network that loses and reorders, under crashes, pauses and drains, on a simulated clock.
 *
 * Each seed is one history. In a gentle one a single thing goes wrong, and every job must be answered well. In a wild one much does, and then
 * it is quiet: whatever happened before, the jobs of the quiet time must be answered well and soon. CAVAGE_TEST_SEEDS sets how many there are,
 * CAVAGE_TEST_SEED plays one. */
#include "cavage/credit.h"
#include "cavage/dispatch.h"
#include "cavage/err.h"
#include "cavage/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { APIS = 2, WORKERS = 2, MS = 1000, JOBS_MAX = 1200, HELD_MAX = 64, MESSAGES_MAX = 4096, SLOTS_MAX = 4 };

struct message {
    uint8_t *data;
    size_t len;
    int64_t at_us;
    uint64_t order; /* equal times keep the order of sending */
    int from, to;
    bool to_worker;
};

/* One direction between an API and a worker. */
struct line {
    bool up;
    int64_t up_at_us;   /* when it stands again, while down */
    int64_t last_at_us; /* arrival of the last message, for order within a connection */
    int64_t told_at_us; /* when its API learns of the change; 0: knows */
};

struct sim_job {
    uint64_t id;
    int64_t submitted_us;
    int64_t deadline_us;
    int api;
    bool open, poison, must_succeed;
    unsigned starts;
};

struct held_job {
    size_t api;
    struct wire_job job;
    bool running;
    int64_t done_at_us;
};

struct sim_api {
    struct dispatch *d;
    struct id boot;
    int64_t paused_until_us;
    unsigned newest[WORKERS]; /* the newest boot that was heard of each worker */
};

struct sim_worker {
    struct credit *c;
    struct id boot;
    unsigned boots;
    unsigned slots;
    bool draining;
    int64_t starts_at_us; /* while down */
    int64_t paused_until_us;
    struct held_job held[HELD_MAX];
    size_t held_count;
};

struct sim {
    uint64_t seed, random, order;
    bool wild, quiet;
    int64_t now_us;
    struct sim_api apis[APIS];
    struct sim_worker workers[WORKERS];
    struct line to_worker[APIS][WORKERS], to_api[APIS][WORKERS];
    struct message messages[MESSAGES_MAX];
    size_t message_count;
    struct sim_job jobs[JOBS_MAX];
    size_t job_count, open_count;
    uint64_t boots;
    int64_t patience_us; /* within which a job that must succeed does */
    unsigned answered, failed, requeued, crashed;
};

static uint64_t rnd(struct sim *s, uint64_t n)
{
    s->random ^= s->random >> 12;
    s->random ^= s->random << 25;
    s->random ^= s->random >> 27;
    return (s->random * 0x2545f4914f6cdd1du >> 16) % n;
}

static bool chance(struct sim *s, unsigned percent)
{
    return rnd(s, 100) < percent;
}

#define check(s, condition)                                                                                          \
    do {                                                                                                             \
        if (!(condition))                                                                                            \
            fail_msg("seed %llu at %lld us: %s", (unsigned long long)(s)->seed, (long long)(s)->now_us, #condition); \
    } while (0)

static struct id make_boot(struct sim *s, unsigned kind)
{
    struct id id = {{(uint8_t)kind}};
    s->boots++;
    memcpy(id.bytes + 8, &s->boots, sizeof s->boots);
    return id;
}

static struct sim_job *job_of(struct sim *s, uint64_t id)
{
    return &s->jobs[id - 1];
}

static void net_send(struct sim *s, struct line *line, int from, int to, bool to_worker, uint8_t *data, size_t len)
{
    if (!line->up) {
        free(data);
        return;
    }
    check(s, s->message_count < MESSAGES_MAX);
    int64_t at_us = s->now_us + 50 + (int64_t)rnd(s, s->wild && !s->quiet && chance(s, 3) ? 20 * MS : 300);
    if (at_us < line->last_at_us)
        at_us = line->last_at_us;
    line->last_at_us = at_us;
    s->messages[s->message_count++] = (struct message){data, len, at_us, s->order++, from, to, to_worker};
}

/* A connection breaks: what was on its way is lost, or comes late, beside what the next connection brings. */
static void net_break(struct sim *s, int api, int worker, bool to_worker)
{
    struct line *line = to_worker ? &s->to_worker[api][worker] : &s->to_api[api][worker];
    int from = to_worker ? api : worker, to = to_worker ? worker : api;

    line->up = false;
    line->last_at_us = 0;
    line->up_at_us = s->now_us + 10 * MS + (int64_t)rnd(s, 90 * MS);
    if (to_worker)
        line->told_at_us = s->now_us + 1 + (int64_t)rnd(s, 10 * MS);
    int64_t late_us = (int64_t)rnd(s, 2) * (int64_t)rnd(s, 120 * MS);
    bool lost = false;
    for (size_t i = 0; i < s->message_count;) {
        struct message *m = &s->messages[i];
        bool on_line = m->from == from && m->to == to && m->to_worker == to_worker;
        lost = lost || (on_line && chance(s, 30));
        if (on_line && lost) {
            free(m->data);
            memmove(m, m + 1, (--s->message_count - i) * sizeof *m);
            continue;
        }
        if (on_line)
            m->at_us += late_us;
        i++;
    }
}

static void net_drop_to(struct sim *s, int to, bool to_worker)
{
    for (size_t i = 0; i < s->message_count;) {
        struct message *m = &s->messages[i];
        if (m->to == to && m->to_worker == to_worker) {
            free(m->data);
            memmove(m, m + 1, (--s->message_count - i) * sizeof *m);
        } else {
            i++;
        }
    }
}

/* ---- API ---- */

static void api_settle(struct sim *s, int a, uint64_t id, bool ok)
{
    struct sim_job *job = job_of(s, id);

    check(s, job->open); /* exactly one answer */
    check(s, job->api == a);
    check(s, s->now_us <= job->deadline_us || s->now_us == s->apis[a].paused_until_us);
    check(s, !job->must_succeed || (ok && s->now_us - job->submitted_us <= s->patience_us));
    job->open = false;
    s->open_count--;
    if (ok)
        s->answered++;
    else
        s->failed++;
}

static void api_act(struct sim *s, int a)
{
    struct sim_api *api = &s->apis[a];
    struct dispatch_action action;

    while (dispatch_next(api->d, &action)) {
        int w = (int)action.peer;
        struct line *line = &s->to_worker[a][w];
        uint8_t *data, *body;
        size_t len;
        if (action.type == DISPATCH_FAIL) {
            check(s, action.failure != DISPATCH_POISON || job_of(s, action.job)->poison || s->wild);
            api_settle(s, a, action.job, false);
        } else if (action.type == DISPATCH_SEND) {
            check(s, job_of(s, action.job)->open);
            if (!line->up || (s->wild && chance(s, 3))) {
                dispatch_send_refused(api->d, s->now_us, action.peer, action.job);
                continue;
            }
            struct wire_job m = {.api_boot = api->boot,
                                 .worker_boot = action.worker_boot,
                                 .link = (uint32_t)w,
                                 .sequence = action.sequence,
                                 .job = action.job,
                                 .remaining_ms = action.remaining_ms,
                                 .operation = OPERATION_RESIZE};
            check(s, wire_pack_job(&m, 3, malloc, &data, &len, &body) == ERR_OK);
            memcpy(body, "img", 3);
            net_send(s, line, a, w, true, data, len);
        } else if (action.type == DISPATCH_CANCEL) {
            struct wire_cancel m = {.api_boot = api->boot,
                                    .worker_boot = action.worker_boot,
                                    .link = (uint32_t)w,
                                    .sequence = action.sequence,
                                    .job = action.job};
            check(s, wire_pack_cancel(&m, malloc, &data, &len) == ERR_OK);
            net_send(s, line, a, w, true, data, len);
        } else {
            struct wire_hello m = {.api_boot = api->boot,
                                   .worker_boot = action.worker_boot,
                                   .link = (uint32_t)w,
                                   .sent = action.sequence,
                                   .queued = action.queued};
            snprintf(m.result_address, sizeof m.result_address, "ipc:///run/api-%d", a);
            check(s, wire_pack_hello(&m, malloc, &data, &len) == ERR_OK);
            net_send(s, line, a, w, true, data, len);
        }
    }
}

static void api_start(struct sim *s, int a)
{
    struct sim_api *api = &s->apis[a];
    struct dispatch_config config = {.max_jobs = 512,
                                     .max_queued = 256,
                                     .max_queued_per_customer = 200,
                                     .fifo = s->seed % 3 == 0,
                                     .retry_percent = 10};
    dispatch_free(api->d);
    config.boot = api->boot = make_boot(s, 1);
    check(s, dispatch_new(&config, &api->d) == ERR_OK);
    for (int w = 0; w < WORKERS; w++) {
        size_t peer;
        dispatch_peer_add(api->d, &peer);
        api->newest[w] = 0;
        s->to_worker[a][w] = (struct line){.up_at_us = s->now_us + 1 + (int64_t)rnd(s, 10 * MS)};
    }
    api->paused_until_us = 0;
}

/* kill -9 and a new start: its clients are gone with it. */
static void api_restart(struct sim *s, int a)
{
    for (int w = 0; w < WORKERS; w++) {
        net_break(s, a, w, true);
        net_break(s, a, w, false);
    }
    net_drop_to(s, a, false);
    for (size_t i = 0; i < s->job_count; i++) {
        if (s->jobs[i].api == a && s->jobs[i].open) {
            s->jobs[i].open = false;
            s->open_count--;
        }
    }
    api_start(s, a);
}

static void api_submit(struct sim *s, int a, int64_t patience_us, bool must_succeed)
{
    struct sim_api *api = &s->apis[a];

    if (s->job_count == JOBS_MAX || s->now_us < api->paused_until_us)
        return;
    struct sim_job *job = &s->jobs[s->job_count];
    *job = (struct sim_job){.id = s->job_count + 1,
                            .submitted_us = s->now_us,
                            .deadline_us = s->now_us + patience_us,
                            .api = a,
                            .poison = !must_succeed && chance(s, 4),
                            .must_succeed = must_succeed};
    struct dispatch_job j = {
        .id = job->id, .customer = rnd(s, 5), .cost_us = 1 + (int64_t)rnd(s, 40 * MS), .deadline_us = job->deadline_us};
    int err = dispatch_submit(api->d, s->now_us, &j);
    check(s, err == ERR_OK || (s->wild && !s->quiet && (err == ERR_FULL || err == ERR_RANGE)));
    if (err == ERR_OK) {
        s->job_count++;
        s->open_count++;
        job->open = true;
    }
    api_act(s, a);
}

static unsigned boot_number(const struct id *boot)
{
    uint64_t n;
    memcpy(&n, boot->bytes + 8, sizeof n);
    return (unsigned)n;
}

static void api_receive(struct sim *s, int a, int w, const struct frame *f)
{
    struct sim_api *api = &s->apis[a];
    static struct wire_status status;
    static struct wire_result result;
    const struct wire_status *heard = &status;

    if (f->type == FRAME_STATUS) {
        check(s, wire_unpack_status(f, &status) == ERR_OK);
        dispatch_status(api->d, s->now_us, &status);
    } else {
        check(s, wire_unpack_result(f, &result) == ERR_OK);
        heard = &result.status;
        if (dispatch_result(api->d, s->now_us, &result) == DISPATCH_ANSWER) {
            check(s, id_equal(&heard->api_boot, &api->boot));
            check(s, boot_number(&heard->worker_boot) >= api->newest[w]); /* a replaced boot answers nothing */
            check(s, result.outcome == OUTCOME_OK || result.outcome == OUTCOME_UNDECODABLE ||
                         result.outcome == OUTCOME_DEADLINE);
            api_settle(s, a, result.job, result.outcome != OUTCOME_DEADLINE);
        }
    }
    if (id_equal(&heard->api_boot, &api->boot) && boot_number(&heard->worker_boot) > api->newest[w])
        api->newest[w] = boot_number(&heard->worker_boot);
}

/* ---- worker ---- */

static void worker_check(struct sim *s, const struct sim_worker *w)
{
    size_t room = w->draining ? 0 : 2 * (size_t)w->slots, granted = credit_granted(w->c);

    check(s, credit_held(w->c) == w->held_count);
    check(s, granted <= (room > w->held_count ? room - w->held_count : 0));
    check(s, w->held_count <= 4 * SLOTS_MAX);
}

static void worker_result(struct sim *s, int w, size_t api, const struct wire_job *job, enum outcome outcome)
{
    static struct wire_result m;
    struct sim_worker *worker = &s->workers[w];
    uint8_t *data, *body;
    size_t len;

    memset(&m, 0, sizeof m);
    credit_status(worker->c, s->now_us, api, &m.status);
    m.sequence = job->sequence;
    m.job = job->job;
    m.outcome = outcome;
    check(s, wire_pack_result(&m, 0, malloc, &data, &len, &body) == ERR_OK);
    /* Indices of APIs in credit are not ours; the link of a job names the worker, its job the API. */
    int a = job_of(s, job->job)->api;
    net_send(s, &s->to_api[a][w], w, a, false, data, len);
}

static void worker_run(struct sim *s, struct sim_worker *w)
{
    size_t running = 0;

    for (size_t i = 0; i < w->held_count; i++)
        running += w->held[i].running;
    for (size_t i = 0; i < w->held_count && running < w->slots; i++) {
        struct held_job *h = &w->held[i];
        if (h->running)
            continue;
        h->running = true;
        running++;
        h->done_at_us = s->now_us + 1 * MS + (int64_t)rnd(s, 14 * MS);
        check(s, ++job_of(s, h->job.job)->starts <= 2);
    }
    credit_set_busy(w->c, s->now_us, (unsigned)running, 0);
}

static void worker_remove(struct sim_worker *w, size_t i)
{
    memmove(&w->held[i], &w->held[i + 1], (--w->held_count - i) * sizeof w->held[0]);
}

static void worker_finish(struct sim *s, int w, size_t i)
{
    struct sim_worker *worker = &s->workers[w];
    struct held_job h = worker->held[i];
    enum outcome outcome = OUTCOME_OK;

    worker_remove(worker, i);
    if (job_of(s, h.job.job)->poison)
        outcome = OUTCOME_CRASHED;
    else if (s->wild && !s->quiet && chance(s, 4))
        outcome = (enum outcome[]){OUTCOME_LOST, OUTCOME_CRASHED, OUTCOME_DEADLINE, OUTCOME_UNDECODABLE}[rnd(s, 4)];
    s->crashed += outcome == OUTCOME_CRASHED;
    credit_done(worker->c, s->now_us, h.api, h.job.sequence);
    worker_result(s, w, h.api, &h.job, outcome);
}

static void worker_receive(struct sim *s, int w, const struct frame *f)
{
    struct sim_worker *worker = &s->workers[w];
    size_t api;
    bool is_new;

    if (f->type == FRAME_HELLO) {
        struct wire_hello m;
        check(s, wire_unpack_hello(f, &m) == ERR_OK);
        int err = credit_hello(worker->c, s->now_us, &m, &api, &is_new);
        check(s, err == ERR_OK || err == ERR_DENIED);
    } else if (f->type == FRAME_JOB) {
        struct wire_job m;
        check(s, wire_unpack_job(f, &m) == ERR_OK && f->body_len == 3);
        int err = credit_job(worker->c, s->now_us, &m, &api);
        if (err == ERR_OK) {
            check(s, worker->held_count < HELD_MAX);
            worker->held[worker->held_count++] = (struct held_job){.api = api, .job = m};
        } else if (err == ERR_DENIED || err == ERR_FULL) {
            worker_result(s, w, api, &m, OUTCOME_NOT_STARTED);
        } else {
            check(s, err == ERR_NOTFOUND || err == ERR_EXISTS);
        }
    } else {
        struct wire_cancel m;
        check(s, wire_unpack_cancel(f, &m) == ERR_OK);
        for (size_t i = 0; i < worker->held_count; i++) {
            const struct held_job *h = &worker->held[i];
            if (id_equal(&h->job.api_boot, &m.api_boot) && h->job.sequence == m.sequence &&
                id_equal(&worker->boot, &m.worker_boot)) {
                credit_done(worker->c, s->now_us, h->api, m.sequence);
                worker_remove(worker, i);
                break;
            }
        }
    }
}

static void worker_act(struct sim *s, int w)
{
    struct sim_worker *worker = &s->workers[w];
    static struct wire_status m;
    uint8_t *data;
    size_t len, api;

    while (credit_next_gone(worker->c, s->now_us, &api)) {
        for (size_t i = worker->held_count; i > 0; i--) {
            if (worker->held[i - 1].api == api)
                worker_remove(worker, i - 1);
        }
    }
    worker_run(s, worker);
    while (credit_next_status(worker->c, s->now_us, &api)) {
        credit_status(worker->c, s->now_us, api, &m);
        check(s, wire_pack_status(&m, malloc, &data, &len) == ERR_OK);
        /* Delivered by address in life; here the API whose boot it names, or nobody. */
        int a = 0;
        while (a < APIS && !id_equal(&s->apis[a].boot, &m.api_boot))
            a++;
        if (a < APIS)
            net_send(s, &s->to_api[a][w], w, a, false, data, len);
        else
            free(data);
    }
    worker_check(s, worker);
}

static void worker_start(struct sim *s, int w)
{
    struct sim_worker *worker = &s->workers[w];

    worker->boot = make_boot(s, 2);
    worker->boots++;
    worker->draining = false;
    worker->starts_at_us = 0;
    check(s, credit_new(&worker->boot, &worker->c) == ERR_OK);
    credit_set_slots(worker->c, s->now_us, worker->slots);
    for (int a = 0; a < APIS; a++) {
        if (!s->to_worker[a][w].up)
            s->to_worker[a][w].up_at_us = s->now_us + 1 + (int64_t)rnd(s, 100 * MS);
        s->to_api[a][w] = (struct line){.up_at_us = s->now_us + 1 + (int64_t)rnd(s, 5 * MS)};
    }
}

static void worker_kill(struct sim *s, int w)
{
    struct sim_worker *worker = &s->workers[w];

    if (!worker->c)
        return;
    for (int a = 0; a < APIS; a++) {
        net_break(s, a, w, true);
        net_break(s, a, w, false);
    }
    net_drop_to(s, w, true);
    credit_free(worker->c);
    worker->c = NULL;
    worker->held_count = 0;
    worker->paused_until_us = 0;
    worker->starts_at_us = s->now_us + 1 + (int64_t)rnd(s, chance(s, 50) ? 5 * MS : 200 * MS);
}

/* ---- the world ---- */

static void fault(struct sim *s)
{
    int a = (int)rnd(s, APIS), w = (int)rnd(s, WORKERS);
    struct sim_worker *worker = &s->workers[w];

    s->patience_us = 250 * MS; /* nothing waits for a new start: the other worker takes it all */
    switch (rnd(s, s->wild ? 9 : 6)) {
    case 0:
    case 1:
        worker_kill(s, w);
        break;
    case 2:
        net_break(s, a, w, true);
        break;
    case 3:
        s->patience_us = 500 * MS; /* a result was lost: the next status tells */
        net_break(s, a, w, false);
        break;
    case 4:
        s->patience_us = 1150 * MS; /* a second of silence */
        worker->paused_until_us = s->now_us + (int64_t)rnd(s, 2500 * MS);
        break;
    case 5:
        s->patience_us = 2600 * MS; /* its own pause */
        s->apis[a].paused_until_us = s->now_us + (int64_t)rnd(s, 2500 * MS);
        break;
    case 6:
        api_restart(s, a);
        break;
    case 7:
        if (worker->c) {
            credit_drain(worker->c, s->now_us);
            worker->draining = true;
        }
        break;
    default:
        worker->slots = (unsigned)rnd(s, SLOTS_MAX + 1);
        if (worker->c)
            credit_set_slots(worker->c, s->now_us, worker->slots);
        break;
    }
}

static void lines_tick(struct sim *s)
{
    for (int a = 0; a < APIS; a++) {
        for (int w = 0; w < WORKERS; w++) {
            struct line *out = &s->to_worker[a][w], *back = &s->to_api[a][w];
            bool exists = s->workers[w].c != NULL;
            if (out->told_at_us && s->now_us >= out->told_at_us && s->now_us >= s->apis[a].paused_until_us) {
                out->told_at_us = 0;
                dispatch_peer_down(s->apis[a].d, s->now_us, (size_t)w);
            }
            /* As by a poll of the connection: the API may see it down late, but sees it before it sees it up. */
            if (!out->up && exists && !out->told_at_us && s->now_us >= out->up_at_us &&
                s->now_us >= s->apis[a].paused_until_us) {
                out->up = true;
                dispatch_peer_up(s->apis[a].d, s->now_us, (size_t)w);
            }
            if (!back->up && exists && s->now_us >= back->up_at_us)
                back->up = true;
        }
    }
}

static struct message *next_message(struct sim *s)
{
    struct message *best = NULL;
    for (size_t i = 0; i < s->message_count; i++) {
        struct message *m = &s->messages[i];
        int64_t paused_us = m->to_worker ? s->workers[m->to].paused_until_us : s->apis[m->to].paused_until_us;
        if (m->at_us > s->now_us || paused_us > s->now_us || (m->to_worker && !s->workers[m->to].c))
            continue;
        if (!best || m->at_us < best->at_us || (m->at_us == best->at_us && m->order < best->order))
            best = m;
    }
    return best;
}

static void deliver(struct sim *s)
{
    struct message *next;
    while ((next = next_message(s)) != NULL) {
        struct message m = *next;
        struct frame f;
        memmove(next, next + 1, (size_t)(&s->messages[--s->message_count] - next) * sizeof *next);
        check(s, frame_parse(m.data, m.len, 1024, &f) == ERR_OK);
        if (m.to_worker)
            worker_receive(s, m.to, &f);
        else
            api_receive(s, m.to, m.from, &f);
        free(m.data);
    }
}

/* Everything that happens at now_us: arrivals first, then the clocks. */
static void step(struct sim *s)
{
    lines_tick(s);
    deliver(s);
    for (int w = 0; w < WORKERS; w++) {
        struct sim_worker *worker = &s->workers[w];
        if (!worker->c && s->now_us >= worker->starts_at_us)
            worker_start(s, w);
        if (!worker->c || s->now_us < worker->paused_until_us)
            continue;
        for (size_t i = worker->held_count; i > 0; i--) {
            if (worker->held[i - 1].running && worker->held[i - 1].done_at_us <= s->now_us)
                worker_finish(s, w, i - 1);
        }
        worker_act(s, w);
        if (worker->draining && worker->held_count == 0)
            worker_kill(s, w);
    }
    for (int a = 0; a < APIS; a++) {
        if (s->now_us < s->apis[a].paused_until_us)
            continue;
        if (dispatch_next_us(s->apis[a].d) <= s->now_us)
            dispatch_tick(s->apis[a].d, s->now_us);
        api_act(s, a);
    }
}

static void sooner(const struct sim *s, int64_t *next_us, int64_t at_us, int64_t paused_until_us)
{
    if (at_us < paused_until_us)
        at_us = paused_until_us;
    if (at_us <= s->now_us)
        at_us = s->now_us + 1;
    if (at_us < *next_us)
        *next_us = at_us;
}

static int64_t next_time(const struct sim *s)
{
    int64_t next_us = INT64_MAX;

    for (size_t i = 0; i < s->message_count; i++) {
        const struct message *m = &s->messages[i];
        if (!m->to_worker)
            sooner(s, &next_us, m->at_us, s->apis[m->to].paused_until_us);
        else if (s->workers[m->to].c)
            sooner(s, &next_us, m->at_us, s->workers[m->to].paused_until_us);
    }
    for (int w = 0; w < WORKERS; w++) {
        const struct sim_worker *worker = &s->workers[w];
        if (!worker->c) {
            sooner(s, &next_us, worker->starts_at_us, 0);
            continue;
        }
        sooner(s, &next_us, credit_next_us(worker->c), worker->paused_until_us);
        for (size_t i = 0; i < worker->held_count; i++) {
            if (worker->held[i].running)
                sooner(s, &next_us, worker->held[i].done_at_us, worker->paused_until_us);
        }
    }
    for (int a = 0; a < APIS; a++) {
        sooner(s, &next_us, dispatch_next_us(s->apis[a].d), s->apis[a].paused_until_us);
        for (int w = 0; w < WORKERS; w++) {
            const struct line *out = &s->to_worker[a][w], *back = &s->to_api[a][w];
            if (out->told_at_us)
                sooner(s, &next_us, out->told_at_us, s->apis[a].paused_until_us);
            else if (!out->up && s->workers[w].c)
                sooner(s, &next_us, out->up_at_us, s->apis[a].paused_until_us);
            if (!back->up && s->workers[w].c)
                sooner(s, &next_us, back->up_at_us, 0);
        }
    }
    return next_us;
}

static void run_until(struct sim *s, int64_t end_us)
{
    while (s->now_us < end_us) {
        int64_t next_us = next_time(s);
        s->now_us = next_us < end_us ? next_us : end_us;
        step(s);
    }
}

/* Load until end_us, with faults at random times but `faults` of them at most. */
static void run_load(struct sim *s, int64_t end_us, int64_t every_us, int faults, int64_t fault_every_us)
{
    int64_t next_job_us = s->now_us, next_fault_us = s->now_us + 100 * MS + (int64_t)rnd(s, (uint64_t)fault_every_us);

    while (s->now_us < end_us) {
        int64_t at_us = next_job_us < next_fault_us || faults == 0 ? next_job_us : next_fault_us;
        run_until(s, at_us);
        if (at_us == next_job_us) {
            next_job_us += 1 + (int64_t)rnd(s, 2 * (uint64_t)every_us);
            api_submit(s, (int)rnd(s, APIS), s->wild && !s->quiet ? 20 * MS + (int64_t)rnd(s, 3000 * MS) : 8000 * MS,
                       s->quiet || (!s->wild && chance(s, 96)));
            if (s->wild && !s->quiet && s->job_count > 0 && chance(s, 3)) {
                struct sim_job *job = &s->jobs[rnd(s, s->job_count)];
                struct sim_api *api = &s->apis[job->api];
                if (job->open && s->now_us >= api->paused_until_us) {
                    job->open = false;
                    s->open_count--;
                    dispatch_cancel(api->d, s->now_us, job->id);
                    api_act(s, job->api);
                }
            }
        } else {
            next_fault_us += 1 + (int64_t)rnd(s, (uint64_t)fault_every_us);
            faults--;
            fault(s);
        }
    }
}

/* All is answered: then nothing is held, and all credit is there again. */
static void check_rest(struct sim *s)
{
    run_until(s, s->now_us + 1000 * MS);
    for (int w = 0; w < WORKERS; w++) {
        check(s, s->workers[w].held_count == 0);
        check(s, credit_granted(s->workers[w].c) == 2 * (size_t)s->workers[w].slots);
    }
    for (int a = 0; a < APIS; a++) {
        struct dispatch_stats stats;
        dispatch_stats(s->apis[a].d, &stats);
        check(s, stats.queued == 0 && stats.sent == 0 && stats.peers_up == WORKERS);
        check(s, dispatch_has_worker(s->apis[a].d));
        s->requeued += (unsigned)stats.requeued;
    }
}

static void play(uint64_t seed, struct sim *s)
{
    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->random = seed * 0x9e3779b97f4a7c15u + 1;
    s->wild = seed % 2 == 1;
    s->now_us = 1000 * MS;
    s->patience_us = 250 * MS;
    for (int w = 0; w < WORKERS; w++) {
        s->workers[w].slots = 2 + (unsigned)rnd(s, SLOTS_MAX - 1);
        s->workers[w].starts_at_us = s->now_us;
    }
    for (int a = 0; a < APIS; a++)
        api_start(s, a);

    if (s->wild) {
        run_load(s, s->now_us + 2000 * MS, 4 * MS, 100, 250 * MS);
        s->quiet = true;
        for (int w = 0; w < WORKERS; w++) {
            struct sim_worker *worker = &s->workers[w];
            worker->slots = worker->slots < 2 ? 2 : worker->slots;
            if (worker->c)
                credit_set_slots(worker->c, s->now_us, worker->slots);
        }
        run_until(s, s->now_us + 5000 * MS);
        check(s, s->open_count == 0);
        s->patience_us = 150 * MS;
        run_load(s, s->now_us + 200 * MS, 10 * MS, 0, 1000 * MS);
        run_until(s, s->now_us + 500 * MS);
    } else {
        run_load(s, s->now_us + 1000 * MS, 6 * MS, 1, 800 * MS);
        run_until(s, s->now_us + 6000 * MS);
    }
    check(s, s->open_count == 0); /* all answered, and long before their deadline */
    check_rest(s);

    for (size_t i = 0; i < s->message_count; i++)
        free(s->messages[i].data);
    for (int w = 0; w < WORKERS; w++)
        credit_free(s->workers[w].c);
    for (int a = 0; a < APIS; a++)
        dispatch_free(s->apis[a].d);
}

static uint64_t number_from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void test_pipeline_keeps_its_promises_under_faults(void **state)
{
    (void)state;
    static struct sim s;
    uint64_t only = number_from_env("CAVAGE_TEST_SEED", 0);
    uint64_t seeds = number_from_env("CAVAGE_TEST_SEEDS", 3000);
    unsigned answered = 0, failed = 0, requeued = 0, crashed = 0;

    for (uint64_t seed = only ? only : 1; seed <= (only ? only : seeds); seed++) {
        play(seed, &s);
        answered += s.answered;
        failed += s.failed;
        requeued += s.requeued;
        crashed += s.crashed;
    }
    print_message("%u jobs answered, %u failed, %u queued again, %u converters crashed\n", answered, failed, requeued,
                  crashed);
    assert_true(answered > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipeline_keeps_its_promises_under_faults),
    };
    return cmocka_run_group_tests_name("pipeline", tests, NULL, NULL);
}
