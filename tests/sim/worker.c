/* SPDX-License-Identifier: MIT */
/* A worker: the real credit ledger between a simulated network and converters that sleep. Its order of work is worker/supervisor.c's and worker/jobs.c's. */
#include "sim.h"

#include "cavage/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLACE_US = 3 * MS, LINGER_US = 300 * MS, CANCELLED_GRACE_US = 250 * MS, CONVERT_DEADLINE_US = 10 * SECOND };

static struct worker *worker_of(struct sim *s, int node)
{
    return &s->workers[node - FIRST_WORKER];
}

static size_t running(const struct worker *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->held_count; i++)
        n += w->held[i].running;
    return n;
}

static size_t idle(struct sim *s, int node)
{
    const struct worker *w = worker_of(s, node);
    size_t n = 0;
    for (unsigned i = 0; i < w->slots; i++)
        n += w->idle_again_us[i] <= s->now_us;
    size_t busy = running(w);
    return n > busy ? n - busy : 0;
}

static void held_remove(struct worker *w, size_t i)
{
    memmove(&w->held[i], &w->held[i + 1], (--w->held_count - i) * sizeof w->held[0]);
}

/* ---- Out ---- */

static void post(struct sim *s, int node, int to, int err, uint8_t *data, size_t len)
{
    if (err)
        sim_violate(s, "wire", "a message of worker %d could not be packed: %s", node - FIRST_WORKER, err_text(err));
    else if (to == NEVER_NODE)
        free(data);
    else
        net_send(s, node, to, data, len);
}

static void send_result(struct sim *s, int node, size_t api, const struct wire_job *job, enum outcome outcome,
                        int64_t convert_us)
{
    static struct wire_result m;
    struct worker *w = worker_of(s, node);
    uint8_t *data = NULL, *body;
    size_t len = 0;

    memset(&m, 0, sizeof m);
    credit_set_busy(w->credit, sim_clock(s, node), (unsigned)running(w), 0);
    credit_status(w->credit, sim_clock(s, node), api, &m.status);
    judge_status(s, node - FIRST_WORKER, &m.status);
    m.sequence = job->sequence;
    m.job = job->job;
    m.outcome = outcome;
    m.convert_us = (uint64_t)convert_us;
    sim_trace(s, "worker %d says %s of job %llu, seen %llu, limit %llu, held %zu", node - FIRST_WORKER,
              outcome_text(outcome), (unsigned long long)job->job, (unsigned long long)m.status.seen,
              (unsigned long long)m.status.limit, m.status.held_count);
    int err = wire_pack_result(&m, 0, malloc, &data, &len, &body);
    post(s, node, w->result_node[api], err, data, len);
}

static void send_status(struct sim *s, int node, size_t api)
{
    static struct wire_status m;
    struct worker *w = worker_of(s, node);
    uint8_t *data = NULL;
    size_t len = 0;

    credit_set_busy(w->credit, sim_clock(s, node), (unsigned)running(w), 0);
    credit_status(w->credit, sim_clock(s, node), api, &m);
    judge_status(s, node - FIRST_WORKER, &m);
    int err = wire_pack_status(&m, malloc, &data, &len);
    post(s, node, w->result_node[api], err, data, len);
}

/* ---- Conversions ---- */

static int64_t speed(const struct sim *s, const struct worker *w, int64_t service_us)
{
    return s->now_us < w->slow_until_us ? service_us * w->slowness : service_us;
}

/* How this attempt will end, and when. */
static void begin(struct sim *s, int node, struct held_job *h)
{
    struct worker *w = worker_of(s, node);
    const struct request *r = &s->requests[h->request];
    const struct input *in = &s->plan->inputs[h->request];
    struct noise n = {noise_of(s->plan->seed, UINT64_C(1) << 32 | in->id, r->starts)};
    static const enum outcome bad[] = {OUTCOME_LOST, OUTCOME_CRASHED, OUTCOME_DEADLINE, OUTCOME_UNDECODABLE};
    int64_t now_us = sim_clock(s, node);

    if (h->wire.arena != 0)
        arena_read(s, node, h->node, &h->wire, h->request);
    h->running = true;
    h->outcome = OUTCOME_OK;
    h->began_us = now_us;
    if (in->flags & REQUEST_POISON)
        h->outcome = OUTCOME_CRASHED;
    else if (!sim_is_quiet(s) && noise_chance(&n, (unsigned)s->plan->bad_outcomes))
        h->outcome = bad[noise_below(&n, 4)];
    h->done_at_us = now_us + speed(s, w, in->x);
    int64_t killed_us = h->deadline_us < now_us + CONVERT_DEADLINE_US ? h->deadline_us : now_us + CONVERT_DEADLINE_US;
    if (h->done_at_us >= killed_us) {
        h->done_at_us = killed_us;
        h->outcome = OUTCOME_DEADLINE;
    }
    sim_trace(s, "worker %d starts job %llu", node - FIRST_WORKER, (unsigned long long)h->wire.job);
    judge_started(s, node - FIRST_WORKER, h->request);
}

/* Off the books and answered in one go: between the two no status may leave. */
static void end(struct sim *s, int node, size_t i, enum outcome outcome)
{
    struct worker *w = worker_of(s, node);
    struct held_job h = w->held[i];

    held_remove(w, i);
    if (h.node == NEVER_NODE)
        return;
    credit_done(w->credit, sim_clock(s, node), h.api, h.wire.sequence);
    if (!h.cancelled)
        send_result(s, node, h.api, &h.wire, outcome, h.running ? sim_clock(s, node) - h.began_us : 0);
}

static void replace_converter(struct sim *s, struct worker *w)
{
    for (unsigned i = 0; i < w->slots; i++) {
        if (w->idle_again_us[i] <= s->now_us) {
            w->idle_again_us[i] = s->now_us + REPLACE_US;
            return;
        }
    }
}

static void finish_due(struct sim *s, int node)
{
    struct worker *w = worker_of(s, node);
    for (size_t i = 0; i < w->held_count;) {
        struct held_job *h = &w->held[i];
        if (!h->running || h->done_at_us > sim_clock(s, node)) {
            i++;
            continue;
        }
        bool ended = h->outcome == OUTCOME_CRASHED || h->outcome == OUTCOME_DEADLINE;
        if (ended) {
            s->requests[h->request].ends++;
            s->counts.crashes++;
        }
        enum outcome outcome = h->outcome;
        end(s, node, i, outcome);
        if (ended)
            replace_converter(s, w);
    }
}

static void begin_waiting(struct sim *s, int node)
{
    struct worker *w = worker_of(s, node);
    for (size_t i = 0; i < w->held_count && idle(s, node) > 0;) {
        struct held_job *h = &w->held[i];
        if (h->running) {
            i++;
        } else if (sim_clock(s, node) >= h->deadline_us) {
            end(s, node, i, OUTCOME_NOT_STARTED);
        } else {
            begin(s, node, h);
            i++;
        }
    }
}

/* ---- In ---- */

static void take_hello(struct sim *s, int node, const struct frame *f)
{
    struct worker *w = worker_of(s, node);
    struct wire_hello m;
    size_t api;
    bool is_new;

    if (wire_unpack_hello(f, &m) != ERR_OK) {
        sim_violate(s, "wire", "a hello cannot be read");
        return;
    }
    int err = credit_hello(w->credit, sim_clock(s, node), &m, &api, &is_new);
    if (err != ERR_OK && err != ERR_DENIED)
        sim_violate(s, "hello", "credit refused a hello: %s", err_text(err));
    if (err)
        return;
    if (is_new) {
        w->result_node[api] = sim_node_of(s, m.result_address);
        w->api_boot[api] = m.api_boot;
    }
    if (m.lends)
        arena_meet(s, node, w->result_node[api], &m.api_boot);
}

static void take_job(struct sim *s, int node, const struct frame *f)
{
    struct worker *w = worker_of(s, node);
    struct wire_job m;
    size_t api = 0;

    if (wire_unpack_job(f, &m) != ERR_OK) {
        sim_violate(s, "wire", "a job cannot be read");
        return;
    }
    int err = credit_job(w->credit, sim_clock(s, node), &m, &api);
    sim_trace(s, "worker %d gets job %llu as %llu: %s", node - FIRST_WORKER, (unsigned long long)m.job,
              (unsigned long long)m.sequence, err ? err_text(err) : "held");
    if (err == ERR_DENIED || err == ERR_FULL) {
        send_result(s, node, api, &m, OUTCOME_NOT_STARTED, 0);
        return;
    }
    if (err)
        return;
    if (m.arena != 0 && !arena_is_readable(s, node, w->result_node[api], &m)) {
        credit_done(w->credit, sim_clock(s, node), api, m.sequence);
        send_result(s, node, api, &m, OUTCOME_NOT_STARTED, 0);
        return;
    }
    size_t request = sim_request_of(s, m.api_boot.bytes[0] - 1, sim_boot_number(&m.api_boot), m.job);
    if (request == SIZE_MAX) {
        sim_violate(s, "stranger", "worker %d holds job %llu, which no api has", node - FIRST_WORKER,
                    (unsigned long long)m.job);
        return;
    }
    if (w->held_count == HELD_ROOM) {
        sim_violate(s, "memory", "worker %d holds more than %d jobs", node - FIRST_WORKER, HELD_ROOM);
        return;
    }
    w->held[w->held_count++] = (struct held_job){.api = api,
                                                 .node = w->result_node[api],
                                                 .request = request,
                                                 .wire = m,
                                                 .deadline_us = sim_clock(s, node) + (int64_t)m.remaining_ms * 1000};
}

static void take_cancel(struct sim *s, int node, const struct frame *f)
{
    struct worker *w = worker_of(s, node);
    struct wire_cancel m;

    if (wire_unpack_cancel(f, &m) != ERR_OK) {
        sim_violate(s, "wire", "a cancel cannot be read");
        return;
    }
    for (size_t i = 0; i < w->held_count; i++) {
        struct held_job *h = &w->held[i];
        if (!id_equal(&m.worker_boot, &w->boot) || h->wire.sequence != m.sequence ||
            !id_equal(&h->wire.api_boot, &m.api_boot))
            continue;
        h->cancelled = true;
        if (!h->running) {
            end(s, node, i, OUTCOME_NOT_STARTED);
        } else if (h->done_at_us > sim_clock(s, node) + CANCELLED_GRACE_US) {
            h->done_at_us = sim_clock(s, node) + CANCELLED_GRACE_US;
            h->outcome = OUTCOME_LOST;
        }
        return;
    }
}

static void take(struct sim *s, int node, const struct frame *f)
{
    if (f->type == FRAME_HELLO)
        take_hello(s, node, f);
    else if (f->type == FRAME_JOB)
        take_job(s, node, f);
    else
        take_cancel(s, node, f);
}

static void receive(struct sim *s, int node)
{
    while (net_receive(s, node, take)) {
    }
}

/* ---- Between ---- */

static void forget_api(struct worker *w, size_t api)
{
    for (size_t i = w->held_count; i-- > 0;) {
        struct held_job *h = &w->held[i];
        if (h->node == NEVER_NODE || h->api != api)
            continue;
        h->node = NEVER_NODE;
        h->cancelled = true;
        if (!h->running)
            held_remove(w, i);
    }
}

/* The API died, or asked for it. What runs has its copy. */
static void lose_arena(struct sim *s, int node, int api)
{
    struct worker *w = worker_of(s, node);
    for (size_t i = 0; i < w->held_count;) {
        const struct held_job *h = &w->held[i];
        if (h->node == api && h->wire.arena != 0 && !h->running)
            end(s, node, i, OUTCOME_NOT_STARTED);
        else
            i++;
    }
    arena_hang_up(s, node, api);
}

static void look_at_arenas(struct sim *s, int node)
{
    for (int a = 0; a < s->plan->apis; a++)
        if (arena_is_lost(s, node, a))
            lose_arena(s, node, a);
}

static void tell_apis(struct sim *s, int node)
{
    struct worker *w = worker_of(s, node);
    size_t api;
    while (credit_next_gone(w->credit, sim_clock(s, node), &api)) {
        sim_trace(s, "worker %d forgets an api", node - FIRST_WORKER);
        forget_api(w, api);
        if (id_equal(&s->links[w->result_node[api]][node - FIRST_WORKER].api_boot, &w->api_boot[api]))
            arena_hang_up(s, node, w->result_node[api]);
    }
    while (credit_next_status(w->credit, sim_clock(s, node), &api))
        send_status(s, node, api);
}

/* ---- Life ---- */

void worker_start(struct sim *s, int node)
{
    struct worker *w = worker_of(s, node);
    struct noise n = sim_noise(s, node);

    w->boot = sim_boot(s, node);
    w->draining = false;
    w->quiet_us = 0;
    w->held_count = 0;
    w->slots_most = w->slots;
    memset(w->idle_again_us, 0, sizeof w->idle_again_us);
    for (size_t i = 0; i < CREDIT_APIS_MAX; i++)
        w->result_node[i] = NEVER_NODE;
    if (credit_new(&w->boot, &w->credit) != ERR_OK)
        abort();
    credit_set_slots(w->credit, sim_clock(s, node), w->slots);
    for (int a = 0; a < s->plan->apis; a++) {
        struct line *line = &s->net.lines[a][node];
        if (!line->up && line->up_at_us < s->now_us)
            line->up_at_us = s->now_us + 1 + noise_below(&n, 100 * MS);
        net_open(s, node, a, s->now_us + 1 + noise_below(&n, 5 * MS));
    }
}

static void sooner(int64_t *next_us, int64_t at_us)
{
    if (at_us < *next_us)
        *next_us = at_us;
}

static int64_t wake_of(struct sim *s, int node)
{
    const struct worker *w = worker_of(s, node);
    int64_t clock_us = s->nodes[node].clock_us, next_us = credit_next_us(w->credit);

    if (next_us != never_us)
        next_us -= clock_us;
    for (size_t i = 0; i < w->held_count; i++) {
        if (w->held[i].running)
            sooner(&next_us, w->held[i].done_at_us - clock_us);
    }
    for (unsigned i = 0; i < w->slots; i++) {
        if (w->idle_again_us[i] > s->now_us && running(w) < w->held_count)
            sooner(&next_us, w->idle_again_us[i]);
    }
    if (w->draining && w->quiet_us != 0)
        sooner(&next_us, w->quiet_us + LINGER_US);
    return next_us;
}

void worker_step(struct sim *s, int node)
{
    struct worker *w = worker_of(s, node);
    struct noise n = sim_noise(s, node);
    bool results_first = noise_chance(&n, 500);

    if (results_first)
        finish_due(s, node);
    look_at_arenas(s, node);
    receive(s, node);
    if (!results_first)
        finish_due(s, node);
    begin_waiting(s, node);
    credit_set_slots(w->credit, sim_clock(s, node), w->slots);
    if (w->slots > w->slots_most)
        w->slots_most = w->slots;
    tell_apis(s, node);
    if (w->held_count > 0)
        w->quiet_us = 0;
    else if (w->quiet_us == 0)
        w->quiet_us = s->now_us;
    s->nodes[node].wake_us = wake_of(s, node);
}

void worker_kill(struct sim *s, int node)
{
    struct worker *w = worker_of(s, node);
    struct noise n = sim_noise(s, node);

    for (int a = 0; a < s->plan->apis; a++) {
        net_break(s, a, node, 0, 0);
        net_break(s, node, a, 0, noise_below(&n, 2) * noise_below(&n, 120 * MS));
    }
    for (int a = 0; a < s->plan->apis; a++)
        arena_hang_up(s, node, a);
    credit_free(w->credit);
    w->credit = NULL;
    w->held_count = 0;
}
