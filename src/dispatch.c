/* SPDX-License-Identifier: MIT */
/* The events and actions of the dispatcher. Jobs change state in dispatch_moves.c, peers in dispatch_peers.c. */
#include "cavage/dispatch.h"

#include "cavage/err.h"

#include <limits.h>
#include <stdlib.h>

#include "dispatch_parts.h"

/* What a customer gets at its turn at most, however dear the jobs are that wait: about one photo. */
static const int64_t quantum_us = 10 * 1000;

/* What a worker is taken to hold until one has told. */
static const unsigned worker_hold_least = 16;

int dispatch_new(const struct dispatch_config *config, struct dispatch **out)
{
    if (id_is_zero(&config->boot) || config->max_queued > config->max_jobs || config->max_jobs > INT_MAX / 4 ||
        config->retry_percent > 100 || config->hedge_percent > 100)
        return ERR_RANGE;

    struct dispatch *d = calloc(1, sizeof *d);
    if (!d)
        return ERR_NOMEM;
    d->config = *config;
    d->queue_was_empty = true;
    d->random = config->random;
    d->worker_hold = worker_hold_least;
    d->lost.milli = d->crashed.milli = (int64_t)worker_hold_least * 1000;

    struct fair_queue_config queue = {.fifo = config->fifo,
                                      .max_entries = config->max_queued,
                                      .max_per_customer = config->max_queued_per_customer,
                                      .max_returns = config->max_jobs,
                                      .quantum_us = quantum_us,
                                      .large_percent = config->large_percent};
    int err = job_table_new(&d->table, config->max_jobs);
    if (!err)
        err = shares_new(config->max_jobs, &d->out);
    if (!err)
        err = fair_queue_new(&queue, &d->queue);
    if (err)
        goto fail;
    /* Two for each job: the current attempt and the one given up. */
    d->cancels_max = 2 * config->max_jobs;
    d->cancels = calloc(d->cancels_max, sizeof d->cancels[0]);
    if (!d->cancels) {
        err = ERR_NOMEM;
        goto fail;
    }
    *out = d;
    return ERR_OK;
fail:
    dispatch_free(d);
    return err;
}

void dispatch_free(struct dispatch *d)
{
    if (!d)
        return;
    free(d->cancels);
    fair_queue_free(d->queue);
    shares_free(d->out);
    job_table_free(&d->table);
    free(d);
}

int dispatch_peer_add(struct dispatch *d, size_t *peer)
{
    if (d->peer_count == DISPATCH_PEERS_MAX)
        return ERR_FULL;
    *peer = d->peer_count++;
    return ERR_OK;
}

/* Every event brings the time, and the first one after a pause of our own notices it: a tick was due long ago. */
static void pass_time(struct dispatch *d, int64_t now_us)
{
    int64_t since_us = d->now_us;
    /* When a tick was due is worth a look at all workers only after a pause. */
    if (now_us - since_us > LATE_TICK_US && dispatch_next_us(d) > since_us)
        since_us = dispatch_next_us(d);
    if (now_us - since_us > LATE_TICK_US)
        d->paused_us += now_us - since_us;
    pace_elapse(d, now_us);
    d->now_us = now_us;
}

void dispatch_peer_up(struct dispatch *d, int64_t now_us, size_t peer)
{
    struct peer *p = &d->peers[peer];

    pass_time(d, now_us);
    p->up = true;
    p->usable = false;
    p->refused = false;
    p->hello_owed = true;
    p->hello_at_us = now_us + DISPATCH_HELLO_US;
}

void dispatch_peer_down(struct dispatch *d, int64_t now_us, size_t peer)
{
    struct peer *p = &d->peers[peer];

    pass_time(d, now_us);
    if (!p->up)
        return;
    if (p->usable && !p->retired)
        d->counts.lost_peers++;
    p->up = false;
    p->usable = false;
    p->hello_owed = false;
    peer_lose_jobs(d, p);
}

void dispatch_peer_retire(struct dispatch *d, int64_t now_us, size_t peer, bool retired)
{
    pass_time(d, now_us);
    d->peers[peer].retired = retired;
}

bool dispatch_peer_idle(const struct dispatch *d, size_t peer)
{
    return d->peers[peer].inflight == 0;
}

void dispatch_peer_reuse(struct dispatch *d, int64_t now_us, size_t peer)
{
    static const struct id unknown;

    pass_time(d, now_us);
    peer_replace_boot(&d->peers[peer], &unknown);
    d->peers[peer].retired = false;
}

void dispatch_peer_ready(struct dispatch *d, int64_t now_us, size_t peer)
{
    pass_time(d, now_us);
    d->peers[peer].refused = false;
}

/* With less left it is too late even if the job takes only half of what is expected. */
static int64_t least_us(int64_t now_us, const struct dispatch_job *job)
{
    const int64_t any_us = 1000;
    int64_t half_us = min_i64(job->cost_us, job->deadline_us - now_us) / 2;
    return half_us > any_us ? half_us : any_us;
}

int dispatch_submit(struct dispatch *d, int64_t now_us, const struct dispatch_job *job)
{
    pass_time(d, now_us);
    if (job->id == 0)
        return ERR_INVALID;
    if (job_table_find(&d->table, job->id))
        return ERR_EXISTS;
    struct job *j = job_table_add(&d->table, job);
    if (!j)
        return ERR_FULL;
    j->least_us = least_us(now_us, job);
    int err = fair_queue_push(d->queue, &j->entry);
    if (err) {
        job_table_remove(&d->table, j);
        return err;
    }
    pace_submit(d, job->customer);
    if (job->lane == LANE_SMALL)
        d->small_us = now_us;
    int64_t earned_milli = (int64_t)d->config.retry_percent * 10;
    d->lost.milli += earned_milli;
    d->crashed.milli += earned_milli;
    if (d->hedges_milli < (int64_t)d->worker_hold * HEDGE_MILLI)
        d->hedges_milli += (int64_t)d->config.hedge_percent * HEDGE_MILLI / 100;
    return ERR_OK;
}

void dispatch_cancel(struct dispatch *d, int64_t now_us, uint64_t job)
{
    struct job *j = job_table_find(&d->table, job);

    pass_time(d, now_us);
    if (!j)
        return;
    if (j->state == JOB_FAILED) {
        job_list_remove(&d->failures, j);
        job_table_remove(&d->table, j);
        return;
    }
    job_forget(d, j, NULL);
}

static void peer_refused(struct dispatch *d, struct peer *peer)
{
    peer->refused = true;
    peer->refused_until_us = d->now_us + RETRY_REFUSED_US;
}

bool dispatch_send_refused(struct dispatch *d, int64_t now_us, size_t peer, uint64_t job)
{
    struct peer *p = &d->peers[peer];
    struct job *j = job_table_find(&d->table, job);

    pass_time(d, now_us);
    peer_refused(d, p);
    if (!j || j->state != JOB_SENT || j->current.peer != peer)
        return false;
    /* The number was not used; take it back, so that no credit is gone with it, unless a HELLO has told of it. */
    if (j->current.sequence == p->sent && p->told_sent < p->sent)
        p->sent--;
    job_requeue(d, j, REQUEUE_NOT_STARTED);
    return j->state == JOB_QUEUED;
}

void dispatch_status(struct dispatch *d, int64_t now_us, const struct wire_status *m)
{
    pass_time(d, now_us);
    if (!id_equal(&m->api_boot, &d->config.boot) || m->link >= d->peer_count ||
        peer_boot_is_stale(d, &d->peers[m->link], &m->worker_boot)) {
        d->counts.stale_messages++;
        return;
    }
    peer_take_status(d, &d->peers[m->link], m);
}

static bool is_attempt(const struct attempt *attempt, const struct wire_result *m, uint32_t generation)
{
    return attempt->sequence == m->sequence && attempt->peer == m->status.link && attempt->generation == generation;
}

/* It had its result. One that comes again is nobody's: a crash must not count twice. */
static void attempt_over(struct attempt *attempt)
{
    *attempt = (struct attempt){0};
}

/* The job was refused before it began. The refusal may come from the worker's next boot, which counts jobs anew: then it speaks of a
 * number that it has not seen itself. */
static void take_not_started(struct dispatch *d, struct job *job, const struct wire_result *m)
{
    const struct peer *peer = &d->peers[m->status.link];
    bool same_boot = id_equal(&peer->boot, &m->status.worker_boot);
    bool own_number = m->status.seen >= m->sequence;
    uint32_t generation = same_boot && !own_number ? peer->generation - 1 : peer->generation;

    if (job->state == JOB_SENT && same_boot == own_number && is_attempt(&job->current, m, peer->generation)) {
        job_requeue(d, job, REQUEUE_NOT_STARTED);
    } else if (is_attempt(&job->previous, m, generation)) {
        /* Given up when its worker went, but it never began there: it counts no more. */
        attempt_over(&job->previous);
        job->starts--;
    }
}

static bool ended_converter(const struct dispatch *d, const struct job *job, enum outcome outcome)
{
    return outcome == OUTCOME_CRASHED || (outcome == OUTCOME_DEADLINE && job->deadline_us - d->now_us > LATE_RESULT_US);
}

static enum dispatch_verdict take_current(struct dispatch *d, struct job *job, enum outcome outcome)
{
    bool crashed = ended_converter(d, job, outcome);
    if (crashed || outcome == OUTCOME_LOST) {
        job_requeue(d, job, crashed ? REQUEUE_CRASHED : REQUEUE_LOST);
        attempt_over(&job->previous);
        return DISPATCH_DROP;
    }
    job_forget(d, job, &job->current);
    return DISPATCH_ANSWER;
}

/* The job was given up there, but its first result wins wherever it comes from. */
static enum dispatch_verdict take_previous(struct dispatch *d, struct job *job, enum outcome outcome)
{
    bool crashed = ended_converter(d, job, outcome);
    if (crashed || outcome == OUTCOME_LOST || outcome == OUTCOME_DEADLINE) {
        attempt_over(&job->previous);
        if (crashed && ++job->crashes >= CRASHES_MAX)
            job_fail(d, job, DISPATCH_POISON);
        return DISPATCH_DROP;
    }
    job_forget(d, job, &job->previous);
    return DISPATCH_ANSWER;
}

static enum dispatch_verdict take_result(struct dispatch *d, const struct wire_result *m)
{
    const struct peer *peer = &d->peers[m->status.link];
    struct job *job = job_table_find(&d->table, m->job);

    if (job && job->state != JOB_FAILED) {
        if (m->outcome == OUTCOME_NOT_STARTED) {
            take_not_started(d, job, m);
            return DISPATCH_DROP;
        }
        if (id_equal(&peer->boot, &m->status.worker_boot)) {
            if (job->state == JOB_SENT && is_attempt(&job->current, m, peer->generation)) {
                peer_learn_pace(d, job, &job->current, m);
                return take_current(d, job, m->outcome);
            }
            if (is_attempt(&job->previous, m, peer->generation)) {
                peer_learn_pace(d, job, &job->previous, m);
                return take_previous(d, job, m->outcome);
            }
        }
    }
    if (m->outcome != OUTCOME_NOT_STARTED)
        d->counts.late_results++;
    return DISPATCH_DROP;
}

enum dispatch_verdict dispatch_result(struct dispatch *d, int64_t now_us, const struct wire_result *m)
{
    pass_time(d, now_us);
    if (!id_equal(&m->status.api_boot, &d->config.boot) || m->status.link >= d->peer_count ||
        peer_boot_is_stale(d, &d->peers[m->status.link], &m->status.worker_boot)) {
        d->counts.stale_messages++;
        return DISPATCH_DROP;
    }
    peer_learn_service(&d->peers[m->status.link], m);
    /* Its own job first: by the status alone, which holds it no more, it would be lost. */
    enum dispatch_verdict verdict = take_result(d, m);
    peer_take_status(d, &d->peers[m->status.link], &m->status);
    /* A worker that refuses in spite of its credit shall not be asked again in a loop. */
    if (m->outcome == OUTCOME_NOT_STARTED)
        peer_refused(d, &d->peers[m->status.link]);
    return verdict;
}

void dispatch_tick(struct dispatch *d, int64_t now_us)
{
    struct job *job;

    pass_time(d, now_us);
    while ((job = job_table_earliest(&d->table)) != NULL && job->deadline_us <= now_us)
        job_fail(d, job, DISPATCH_DEADLINE);
    peers_tick(d);
    d->paused_us = 0;
}

int64_t dispatch_next_us(const struct dispatch *d)
{
    const struct job *job = job_table_earliest(&d->table);
    int64_t next_us = min_i64(peers_next_us(d), min_i64(peers_hedge_us(d), pace_next_us(d)));
    return job ? min_i64(job->deadline_us, next_us) : next_us;
}

static bool next_failure(struct dispatch *d, struct dispatch_action *out)
{
    struct job *job = d->failures.first;

    if (!job)
        return false;
    *out = (struct dispatch_action){.type = DISPATCH_FAIL, .job = job->id, .failure = job->failure};
    job_list_remove(&d->failures, job);
    job_table_remove(&d->table, job);
    return true;
}

static bool next_cancel(struct dispatch *d, struct dispatch_action *out)
{
    if (d->cancels_count == 0)
        return false;
    const struct cancel *c = &d->cancels[d->cancels_first];
    *out = (struct dispatch_action){.type = DISPATCH_CANCEL,
                                    .peer = c->peer,
                                    .job = c->job,
                                    .worker_boot = c->worker_boot,
                                    .sequence = c->sequence};
    d->cancels_first = (d->cancels_first + 1) % d->cancels_max;
    d->cancels_count--;
    return true;
}

/* The next job that a worker can take, and which worker. False when there is none. */
static bool next_job(struct dispatch *d, struct job **job, size_t *peer)
{
    struct fleet fleet;
    unsigned open = 0;

    if (fair_queue_count(d->queue) == 0)
        return false;
    peers_survey(d, &fleet);
    for (int i = 0; i < LANES; i++) {
        enum lane lane = (enum lane)i;
        if (fair_queue_lane_count(d->queue, lane) > 0 && peers_have_room(d, &fleet, lane))
            open |= 1U << lane;
    }
    /* The entry is the job's first member. */
    *job = (struct job *)pace_pop(d, &fleet, open);
    return *job && peer_choose(d, &fleet, (*job)->entry.lane, peer);
}

static void fill_send(const struct dispatch *d, const struct job *job, struct dispatch_action *out)
{
    int64_t remaining_ms = (job->deadline_us - d->now_us) / 1000;
    *out = (struct dispatch_action){.type = DISPATCH_SEND,
                                    .peer = job->current.peer,
                                    .job = job->id,
                                    .worker_boot = d->peers[job->current.peer].boot,
                                    .sequence = job->current.sequence,
                                    .hedge = job->current.hedge,
                                    .remaining_ms = remaining_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)remaining_ms,
                                    .queued = (uint32_t)fair_queue_count(d->queue)};
}

/* A job is bound to a worker only now, when it goes out. */
static bool next_send(struct dispatch *d, struct dispatch_action *out)
{
    struct job *job;
    size_t peer;

    while (next_job(d, &job, &peer)) {
        if (job->deadline_us - d->now_us < job->least_us) {
            job_fail(d, job, DISPATCH_DEADLINE);
            continue;
        }
        job_send(d, job, peer);
        fill_send(d, job, out);
        return true;
    }
    return false;
}

/* A second copy of a job whose worker seems to stand still. */
static bool next_hedge(struct dispatch *d, struct dispatch_action *out)
{
    struct job *job;
    size_t peer;

    if (!peer_hedge(d, &job, &peer) || job->deadline_us - d->now_us < 1000)
        return false;
    job_hedge(d, job, peer);
    fill_send(d, job, out);
    return true;
}

bool dispatch_next(struct dispatch *d, struct dispatch_action *out)
{
    if (next_failure(d, out) || next_cancel(d, out) || next_send(d, out) || next_failure(d, out) || next_hedge(d, out))
        return true;
    bool empty = fair_queue_count(d->queue) == 0;
    if (!empty && d->queue_was_empty)
        peers_announce_queue(d);
    d->queue_was_empty = empty;
    return peers_next_hello(d, out);
}

uint64_t dispatch_peer_longest(const struct dispatch *d, size_t peer)
{
    uint64_t longest = d->peers[peer].longest;
    return longest > 0 ? longest : UINT64_MAX;
}

void dispatch_stats(const struct dispatch *d, struct dispatch_stats *out)
{
    *out = d->counts;
    out->queued = fair_queue_count(d->queue);
    out->queued_cost_us = fair_queue_cost_us(d->queue);
    out->longest = UINT64_MAX;
    for (size_t i = 0; i < d->peer_count; i++) {
        const struct peer *peer = &d->peers[i];
        out->sent += peer->inflight;
        if (peer->usable) {
            out->peers_up++;
            out->slots += peer->slots;
            out->busy += peer->busy;
            uint64_t longest = dispatch_peer_longest(d, i);
            out->longest = longest < out->longest ? longest : out->longest;
            out->idle += peer_is_there(peer) ? peer_idle(peer) : 0;
            out->own_slots_milli += peer_is_there(peer) ? peer_own_slots_milli(peer) : 0;
        }
    }
}

bool dispatch_has_worker(const struct dispatch *d)
{
    for (size_t i = 0; i < d->peer_count; i++) {
        if (peer_is_there(&d->peers[i]))
            return true;
    }
    return false;
}
