/* SPDX-License-Identifier: MIT */
/* The transitions of a job, and the budget that bounds how many are tried again. */
#include "dispatch_parts.h"

/* Time gives back what one worker can hold in each second, so that the loss of one worker is always made good. */
static void budget_refill(const struct dispatch *d, struct budget *budget)
{
    const int64_t second_us = 1000 * 1000;
    int64_t hold_milli = (int64_t)d->worker_hold * 1000;
    int64_t cap_milli = hold_milli + (int64_t)d->config.max_jobs * d->config.retry_percent * 10;
    int64_t past_us = min_i64(d->now_us - budget->refilled_us, second_us);

    if (past_us > 0) {
        budget->milli += hold_milli * past_us / second_us;
        budget->refilled_us = d->now_us;
    }
    budget->milli = min_i64(budget->milli, cap_milli);
}

static bool budget_spend(const struct dispatch *d, struct budget *budget)
{
    budget_refill(d, budget);
    if (budget->milli < 1000)
        return false;
    budget->milli -= 1000;
    return true;
}

static void cancel_attempt(struct dispatch *d, const struct job *job, const struct attempt *attempt)
{
    if (attempt->sequence == 0 || !attempt->open)
        return;
    const struct peer *peer = &d->peers[attempt->peer];
    /* To cancel only saves work, so what cannot be told, or finds no room, is let go. */
    if (!peer->up || peer->generation != attempt->generation || d->cancels_count == d->cancels_max)
        return;
    size_t at = (d->cancels_first + d->cancels_count++) % d->cancels_max;
    d->cancels[at] = (struct cancel){
        .peer = attempt->peer, .job = job->id, .worker_boot = peer->boot, .sequence = attempt->sequence};
}

static enum lane lane_in(const struct dispatch *d, const struct job *job)
{
    return d->config.fifo ? LANE_SMALL : job->entry.lane;
}

static void join_peer(struct dispatch *d, const struct job *job)
{
    struct peer *peer = &d->peers[job->current.peer];
    peer->inflight++;
    peer->large += lane_in(d, job) == LANE_LARGE;
    d->sent_of[lane_in(d, job)]++;
    shares_take(d->out, job->entry.customer, 1);
}

static void leave_peer(struct dispatch *d, struct job *job)
{
    struct peer *peer = &d->peers[job->current.peer];
    job_list_remove(&peer->jobs, job);
    peer->inflight--;
    peer->large -= lane_in(d, job) == LANE_LARGE;
    d->sent_of[lane_in(d, job)]--;
    shares_give(d->out, job->entry.customer, 1);
}

/* Out of its peer's list or the queue, unless it was just popped. */
static void leave(struct dispatch *d, struct job *job)
{
    if (job->state == JOB_SENT)
        leave_peer(d, job);
    else if (job->entry.flow)
        fair_queue_remove(d->queue, &job->entry);
}

static void move_to_failed(struct dispatch *d, struct job *job, enum dispatch_failure failure)
{
    job_table_unwatch(&d->table, job);
    job->state = JOB_FAILED;
    job->failure = failure;
    job_list_append(&d->failures, job);
}

void job_send(struct dispatch *d, struct job *job, size_t peer)
{
    struct peer *p = &d->peers[peer];

    job->state = JOB_SENT;
    job->starts++;
    job->current = (struct attempt){
        .peer = peer, .generation = p->generation, .open = true, .sequence = ++p->sent, .sent_us = d->now_us};
    job_list_append(&p->jobs, job);
    join_peer(d, job);
    pace_sent(d);
    if (lane_in(d, job) == LANE_SMALL)
        peers_note_small(d);
}

void job_hedge(struct dispatch *d, struct job *job, size_t peer)
{
    peer_learn_overdue(d, job);
    leave_peer(d, job);
    job->previous = job->current;
    d->hedges_milli -= HEDGE_MILLI;
    d->counts.hedged++;
    job_send(d, job, peer);
    job->current.hedge = true;
}

/* The copy is lost, but the attempt that was hedged may still be at work: wait for that one again. */
static bool return_to_hedged(struct dispatch *d, struct job *job)
{
    struct attempt back = job->previous;
    struct peer *peer = &d->peers[back.peer];

    if (!job->current.hedge || !back.open || !peer->usable || peer->generation != back.generation)
        return false;
    leave_peer(d, job);
    job->previous = job->current;
    job->current = back;
    job_list_insert(&peer->jobs, job);
    join_peer(d, job);
    return true;
}

void job_requeue(struct dispatch *d, struct job *job, enum requeue_reason reason)
{
    if (reason == REQUEUE_CRASHED)
        job->crashes++;
    if (job->crashes < CRASHES_MAX && return_to_hedged(d, job)) {
        job->previous.open = reason == REQUEUE_GONE;
        if (reason == REQUEUE_NOT_STARTED) {
            job->previous = (struct attempt){0};
            job->starts--;
        }
        return;
    }
    leave_peer(d, job);
    if (reason == REQUEUE_NOT_STARTED) {
        job->starts--;
    } else {
        cancel_attempt(d, job, &job->previous);
        job->previous = job->current;
    }
    job->current = (struct attempt){0};

    if (reason == REQUEUE_LOST || reason == REQUEUE_CRASHED)
        job->previous.open = false;
    if (job->crashes >= CRASHES_MAX) {
        move_to_failed(d, job, DISPATCH_POISON);
        return;
    }
    if (reason != REQUEUE_NOT_STARTED) {
        struct budget *budget = reason == REQUEUE_CRASHED ? &d->crashed : &d->lost;
        if (job->starts >= STARTS_MAX || !budget_spend(d, budget)) {
            d->counts.retries_denied++;
            cancel_attempt(d, job, &job->previous);
            move_to_failed(d, job, DISPATCH_RETRIES);
            return;
        }
        d->counts.requeued++;
    }
    job->state = JOB_QUEUED;
    fair_queue_push_head(d->queue, &job->entry);
}

void job_fail(struct dispatch *d, struct job *job, enum dispatch_failure failure)
{
    if (job->state == JOB_SENT)
        cancel_attempt(d, job, &job->current);
    cancel_attempt(d, job, &job->previous);
    leave(d, job);
    move_to_failed(d, job, failure);
}

void job_forget(struct dispatch *d, struct job *job, const struct attempt *done)
{
    if (job->state == JOB_SENT && done != &job->current)
        cancel_attempt(d, job, &job->current);
    if (done != &job->previous)
        cancel_attempt(d, job, &job->previous);
    leave(d, job);
    job_table_remove(&d->table, job);
}
