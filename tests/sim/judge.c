/* SPDX-License-Identifier: MIT */
/* The invariants of the architecture, counted from what happens in the world: 1 (one answer, in time), 3 (memory), 4 (starts) and 5 (usage).
 * Beside them what the parts promise each other: order within a customer, credit, and boots that stay replaced. */
#include "sim.h"

#include <string.h>

/* ---- 1: every admitted request gets exactly one answer, no later than its deadline ---- */

/* Whoever finds an empty queue is let in. */
void judge_refused(struct sim *s, int api)
{
    for (size_t i = 0; i < s->open_count; i++)
        if (s->requests[s->open[i]].api == api)
            return;
    sim_violate(s, "refused", "api %d has no request and lets none in", api);
}

/* A process that was paused answers when it is awake again; its clock may have leapt as well. */
static bool may_be_late(const struct sim *s, int node)
{
    return s->now_us == s->nodes[node].paused_until_us;
}

static bool must_succeed(const struct sim *s, size_t request)
{
    return (s->plan->inputs[request].flags & REQUEST_MUST_SUCCEED) != 0;
}

void judge_answered(struct sim *s, size_t request, enum request_state state, bool well)
{
    const struct request *r = &s->requests[request];
    unsigned long long job = r->job;

    sim_note(s, 100 + well, r->job);
    if (r->state != REQUEST_OPEN)
        sim_violate(s, "answered-twice", "job %llu is answered again", job);
    if (sim_clock(s, r->api) > r->deadline_us + MS && !may_be_late(s, r->api))
        sim_violate(s, "late", "job %llu is answered %lld us after its deadline", job,
                    (long long)(sim_clock(s, r->api) - r->deadline_us));
    if (state == REQUEST_ANSWERED && must_succeed(s, request) && !well)
        sim_violate(s, "failed", "job %llu fails, though nothing stood in its way", job);
    if (well && must_succeed(s, request) && s->now_us - r->read_us > s->plan->patience_us)
        sim_violate(s, "slow", "job %llu took %lld us", job, (long long)(s->now_us - r->read_us));
    if (well)
        s->counts.answered++;
    else
        s->counts.failed++;
}

static void check_deadlines(struct sim *s)
{
    for (size_t i = 0; i < s->open_count; i++) {
        const struct request *r = &s->requests[s->open[i]];
        const struct node *node = &s->nodes[r->api];
        if (s->now_us > node->paused_until_us && sim_clock(s, r->api) > r->deadline_us + 2 * MS)
            sim_violate(s, "unanswered", "job %llu has no answer at its deadline", (unsigned long long)r->job);
    }
}

/* ---- 3: memory is bounded ---- */

static void check_memory(struct sim *s)
{
    enum { QUARTER = 4 };
    size_t extents[APIS_MAX] = {0}, customers[APIS_MAX][CUSTOMERS + 1] = {{0}}, open[APIS_MAX] = {0};

    for (size_t i = 0; i < s->open_count; i++) {
        const struct input *in = &s->plan->inputs[s->open[i]];
        int api = s->requests[s->open[i]].api;
        size_t n = (size_t)(in->z + EXTENT_BYTES - 1) / EXTENT_BYTES;
        extents[api] += n;
        open[api]++;
        if (in->w >= 0 && in->w <= CUSTOMERS)
            customers[api][in->w] += n;
    }
    for (int a = 0; a < s->plan->apis; a++) {
        size_t budget = (size_t)s->plan->arena_extents;
        if (extents[a] > budget || open[a] > (size_t)s->plan->max_queued * 2)
            sim_violate(s, "memory", "api %d stages %zu extents of %zu requests", a, extents[a], open[a]);
        for (int c = 0; c <= CUSTOMERS; c++)
            if (customers[a][c] > (budget < QUARTER ? 1 : budget / QUARTER))
                sim_violate(s, "memory", "customer %d holds %zu extents of api %d", c, customers[a][c], a);
    }
}

static size_t held_by(const struct worker *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->held_count; i++)
        n += w->held[i].node != NEVER_NODE;
    return n;
}

static size_t room_of(const struct worker *w)
{
    size_t held = held_by(w), room = w->draining ? 0 : 2 * (size_t)w->slots;
    return room > held ? room - held : 0;
}

static void check_workers(struct sim *s)
{
    for (int i = 0; i < s->plan->workers; i++) {
        const struct worker *w = &s->workers[i];
        if (!s->nodes[FIRST_WORKER + i].up)
            continue;
        if (held_by(w) > 4 * (size_t)w->slots_most)
            sim_violate(s, "memory", "worker %d of %u slots holds %zu jobs", i, w->slots_most, held_by(w));
        if (credit_granted(w->credit) > room_of(w))
            sim_violate(s, "credit", "worker %d grants %zu jobs with room for %zu", i, credit_granted(w->credit),
                        room_of(w));
    }
}

void judge_status(struct sim *s, int worker, const struct wire_status *m)
{
    const struct worker *w = &s->workers[worker];
    size_t own = 0;

    if (m->limit < m->seen || m->limit - m->seen > room_of(w))
        sim_violate(s, "credit", "worker %d grants %llu jobs with room for %zu", worker,
                    (unsigned long long)(m->limit - m->seen), room_of(w));
    for (size_t i = 0; i < w->held_count; i++) {
        const struct held_job *h = &w->held[i];
        if (h->node == NEVER_NODE || !id_equal(&h->wire.api_boot, &m->api_boot))
            continue;
        bool told = false;
        for (size_t k = 0; k < m->held_count; k++)
            told = told || m->held[k] == h->wire.sequence;
        if (!told)
            sim_violate(s, "held", "worker %d keeps quiet about job %llu", worker, (unsigned long long)h->wire.job);
        own++;
    }
    if (own != m->held_count)
        sim_violate(s, "held", "worker %d says that it holds %zu jobs, and holds %zu", worker, m->held_count, own);
}

/* ---- 4: a job is started at most twice, and an image ends at most two converters ---- */

void judge_started(struct sim *s, int worker, size_t request)
{
    struct request *r = &s->requests[request];
    s->counts.starts++;
    sim_note(s, 200 + (uint64_t)worker, r->job);
    if (++r->starts > 2)
        sim_violate(s, "starts", "job %llu is started a third time", (unsigned long long)r->job);
}

/* From when on a job that waits is given up: even half its estimated cost would be too much. */
static int64_t hopeless_us(const struct request *r)
{
    int64_t half_us = r->terms.cost_us / 2;
    return r->deadline_us - (half_us > 1 * MS ? half_us : 1 * MS);
}

void judge_failure(struct sim *s, size_t request, enum dispatch_failure failure)
{
    const struct request *r = &s->requests[request];
    unsigned long long job = r->job;

    if (failure == DISPATCH_POISON && r->ends < 2)
        sim_violate(s, "poison", "job %llu is called poison and ended %u converters", job, r->ends);
    if (failure == DISPATCH_DEADLINE && sim_clock(s, r->api) < hopeless_us(r))
        sim_violate(s, "early", "job %llu fails by its deadline %lld us before it", job,
                    (long long)(r->deadline_us - sim_clock(s, r->api)));
    if (failure == DISPATCH_RETRIES && r->starts == 0 && r->sent == false)
        sim_violate(s, "retries", "job %llu was lost too often, and never sent", job);
}

/* ---- Order, boots, results ---- */

static bool older_waits(const struct sim *s, size_t request, size_t other)
{
    const struct request *r = &s->requests[request], *o = &s->requests[other];
    bool same_customer = o->terms.customer == r->terms.customer && o->terms.lane == r->terms.lane;
    return o->api == r->api && o->job < r->job && !o->sent && (same_customer || s->plan->fifo) &&
           sim_clock(s, r->api) < hopeless_us(o);
}

void judge_sent(struct sim *s, size_t request)
{
    struct request *r = &s->requests[request];
    if (r->state != REQUEST_OPEN)
        sim_violate(s, "sent-dead", "job %llu is sent, and nobody waits for it", (unsigned long long)r->job);
    for (size_t i = 0; i < s->open_count && !r->sent; i++)
        if (older_waits(s, request, s->open[i]))
            sim_violate(s, "order", "job %llu is sent before job %llu", (unsigned long long)r->job,
                        (unsigned long long)s->requests[s->open[i]].job);
    r->sent = true;
}

void judge_result(struct sim *s, int api, size_t request, const struct wire_result *m)
{
    const struct request *r = &s->requests[request];
    unsigned long long job = m->job;
    bool is_end = m->outcome != OUTCOME_NOT_STARTED && m->outcome != OUTCOME_CRASHED && m->outcome != OUTCOME_LOST;

    if (!id_equal(&m->status.api_boot, &s->apis[api].boot) || r->api != api)
        sim_violate(s, "stranger", "job %llu is answered by a result for another boot of an api", job);
    if (m->status.link >= WORKERS_MAX || sim_boot_number(&m->status.worker_boot) < s->newest_boot[api][m->status.link])
        sim_violate(s, "old-boot", "job %llu is answered by a boot that was replaced", job);
    if (!is_end)
        sim_violate(s, "no-answer", "job %llu is answered with %s", job, outcome_text(m->outcome));
    if (r->starts == 0 && m->outcome != OUTCOME_DEADLINE)
        sim_violate(s, "no-answer", "job %llu is answered, and was never started", job);
}

void judge_heard(struct sim *s, int api, const struct wire_status *m)
{
    unsigned boot = sim_boot_number(&m->worker_boot);
    if (m->link < WORKERS_MAX && id_equal(&m->api_boot, &s->apis[api].boot) && boot > s->newest_boot[api][m->link])
        s->newest_boot[api][m->link] = boot;
}

/* ---- 5: one usage record for every answer; what is acknowledged is on disk, and counted once ---- */

void judge_spooled(struct sim *s, size_t request)
{
    if (++s->requests[request].spooled > 1)
        sim_violate(s, "usage-twice", "job %llu has two records", (unsigned long long)s->requests[request].job);
}

void judge_left(struct sim *s, size_t request)
{
    struct request *r = &s->requests[request];
    if (++r->answers > 1 || r->spooled != 1)
        sim_violate(s, "answered-twice", "job %llu leaves %u answers with %u records", (unsigned long long)r->job,
                    r->answers, r->spooled);
}

void judge_taken(struct sim *s, const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->records[i].request >= s->plan->count) {
            sim_violate(s, "usage-torn", "the ledger has a record of no request");
            return;
        }
        struct request *r = &s->requests[batch->records[i].request];
        r->confirmed = batch->records[i].confirmed;
        if (++r->recorded > 1)
            sim_violate(s, "usage-twice", "job %llu is counted twice", (unsigned long long)r->job);
    }
}

void judge_acked(struct sim *s, const struct wire_ack *ack)
{
    uint64_t found = 0;
    if (ack->expected)
        return;
    for (size_t i = 0; i < s->meter.synced; i++) {
        const struct batch *b = &s->meter.ledger[i];
        found += id_equal(&b->producer, &ack->producer) && b->epoch == ack->epoch && b->sequence <= ack->sequence;
    }
    if (found != ack->sequence)
        sim_violate(s, "usage-lost", "batches up to %llu are acknowledged, and %llu are on disk",
                    (unsigned long long)ack->sequence, (unsigned long long)found);
}

static void check_usage(struct sim *s, size_t request)
{
    const struct request *r = &s->requests[request];
    unsigned wanted = r->state == REQUEST_ANSWERED || r->state == REQUEST_GONE;

    if (r->recorded != wanted)
        sim_violate(s, r->recorded < wanted ? "usage-lost" : "usage-twice", "job %llu has %u records in the ledger",
                    (unsigned long long)r->job, r->recorded);
    if (r->confirmed && r->answers != 1)
        sim_violate(s, "usage-confirmed", "job %llu is confirmed and was not answered", (unsigned long long)r->job);
}

/* ---- When ---- */

void judge_step(struct sim *s)
{
    check_deadlines(s);
    check_memory(s);
    check_workers(s);
}

/* All is answered: then nothing is held, all credit is there again, and all usage is in the ledger. */
void judge_end(struct sim *s)
{
    for (int w = 0; w < s->plan->workers; w++) {
        const struct worker *worker = &s->workers[w];
        if (!s->nodes[FIRST_WORKER + w].up || worker->held_count != 0)
            sim_violate(s, "rest", "worker %d holds %zu jobs at the end", w, worker->held_count);
        else if (credit_granted(worker->credit) != 2 * (size_t)worker->slots)
            sim_violate(s, "rest", "worker %d of %u slots grants %zu jobs at the end", w, worker->slots,
                        credit_granted(worker->credit));
    }
    for (int a = 0; a < s->plan->apis && s->violation.name[0] == '\0'; a++) {
        struct dispatch_stats stats;
        if (!s->nodes[a].up) {
            sim_violate(s, "rest", "api %d is not up at the end", a);
            return;
        }
        dispatch_stats(s->apis[a].dispatch, &stats);
        if (stats.queued != 0 || stats.sent != 0 || !dispatch_has_worker(s->apis[a].dispatch) || stats.slots == 0 ||
            stats.peers_up != (size_t)s->plan->workers)
            sim_violate(s, "rest", "api %d has %zu jobs queued, %zu sent, %zu workers, %u slots at the end", a,
                        stats.queued, stats.sent, stats.peers_up, stats.slots);
        unsigned slots = 0;
        for (int w = 0; w < s->plan->workers; w++)
            slots += s->workers[w].slots;
        if (stats.slots != slots)
            sim_violate(s, "rest", "api %d knows %u of %u slots at the end", a, stats.slots, slots);
        for (int lane = 0; lane < LANES; lane++) {
            struct admission_job job = {.customer = 1, .lane = (enum lane)lane, .cost_us = MS};
            struct admission_forecast forecast;
            admission_judge(s->apis[a].books, sim_clock(s, a), &job, &forecast);
            if (forecast.wait_us != 0 || !forecast.admitted)
                sim_violate(s, "rest", "api %d expects %lld us of waiting at the end", a, (long long)forecast.wait_us);
        }
        struct lending_stats lent;
        lending_stats(s->apis[a].lending, &lent);
        if (lent.loans != 0 || lent.kept_bytes != 0 || extents_used_bytes(s->apis[a].arena) != 0)
            sim_violate(s, "rest", "api %d has %zu loans and %zu bytes staged at the end", a, lent.loans,
                        extents_used_bytes(s->apis[a].arena));
        if (s->apis[a].producer.count != 0)
            sim_violate(s, "rest", "api %d keeps %zu batches at the end", a, s->apis[a].producer.count);
    }
    for (size_t i = 0; i < s->plan->count && s->violation.name[0] == '\0'; i++)
        if (s->plan->inputs[i].kind == INPUT_REQUEST)
            check_usage(s, i);
}
