/* SPDX-License-Identifier: MIT */
/* What is known of the workers: their boots, their credit, their silence, and when they are told HELLO. */
#include <string.h>

#include "dispatch_parts.h"

bool peer_is_there(const struct peer *peer)
{
    return peer->usable && !peer->draining && !peer->retired && peer->slots > 0;
}

static bool peer_has_credit(const struct peer *peer)
{
    return peer_is_there(peer) && !peer->refused && peer->sent < peer->limit && peer->inflight < WIRE_HELD_MAX;
}

/* The worker shares its credit among the APIs that have work, two jobs a converter. Before it has told, as much as is in flight. */
uint64_t peer_own_slots_milli(const struct peer *peer)
{
    uint64_t credit = peer->limit > peer->sent ? peer->limit - peer->sent : 0;
    uint64_t own = (peer->inflight + credit) * 1000 / 2, all = (uint64_t)peer->slots * 1000;
    return own < all ? own : all;
}

size_t peer_load(const struct peer *peer)
{
    return peer->inflight + peer->busy_others;
}

unsigned peer_idle(const struct peer *peer)
{
    size_t load = peer_load(peer);
    return load < peer->slots ? peer->slots - (unsigned)load : 0;
}

size_t peer_own_slots(const struct peer *peer)
{
    size_t own = (size_t)((peer_own_slots_milli(peer) + 999) / 1000);
    return own > 0 ? own : 1;
}

/* Small jobs that were at all workers at once, the most of late: it falls to 0 within DISPATCH_SMALL_US. */
static size_t small_peak(const struct dispatch *d)
{
    int64_t left_us = d->small_peak_us + DISPATCH_SMALL_US - d->now_us;
    return left_us <= 0 ? 0 : (size_t)(((int64_t)d->small_peak * left_us + DISPATCH_SMALL_US - 1) / DISPATCH_SMALL_US);
}

void peers_note_small(struct dispatch *d)
{
    if (d->sent_of[LANE_SMALL] < small_peak(d))
        return;
    d->small_peak = d->sent_of[LANE_SMALL];
    d->small_peak_us = d->now_us;
}

static size_t quarter_of(size_t slots)
{
    return (slots + 3) / 4;
}

/* What small jobs had of late is kept for them, of all workers together: one that is full has others beside it. */
bool peers_let_large_go(const struct dispatch *d)
{
    size_t own = 0, kept = small_peak(d);
    for (size_t i = 0; i < d->peer_count; i++)
        own += peer_is_there(&d->peers[i]) ? peer_own_slots(&d->peers[i]) : 0;
    size_t left = own > kept ? own - kept : 0;
    return d->sent_of[LANE_LARGE] < (left > quarter_of(own) ? left : quarter_of(own));
}

/* Converters of one worker that large jobs may have. No more are there, so that none waits behind another: a small one that comes is to be next. */
static size_t large_slots(const struct dispatch *d, size_t own)
{
    if (own == 1 || d->small_us == 0 || d->now_us - d->small_us >= DISPATCH_SMALL_US)
        return own;
    return own - quarter_of(own);
}

/* Jobs that wait there for a converter; until it is known what conversions take, as many as there is credit for. */
static size_t prefetch(const struct peer *peer, size_t own)
{
    if (peer->service_us == 0)
        return SIZE_MAX / 2;
    return (size_t)(((int64_t)own * DISPATCH_PREFETCH_US + peer->service_us / 2) / peer->service_us);
}

bool peer_has_room(const struct dispatch *d, const struct peer *peer, enum lane lane)
{
    if (!peer_has_credit(peer))
        return false;
    size_t own = peer_own_slots(peer);
    if (peer->inflight >= own + prefetch(peer, own))
        return false;
    return lane == LANE_SMALL || d->config.fifo || peer->large < large_slots(d, own);
}

void peer_learn_service(struct peer *peer, const struct wire_result *m)
{
    const int64_t longest_us = INT64_C(3600) * 1000 * 1000, window = 8;
    int64_t us = m->convert_us < (uint64_t)longest_us ? (int64_t)m->convert_us : longest_us;
    if (m->outcome != OUTCOME_OK || us == 0)
        return;
    peer->service_us = peer->service_us ? peer->service_us + (us - peer->service_us) / window : us;
}

static struct replaced_boot *find_replaced(struct peer *peer, const struct id *boot)
{
    size_t n = peer->replaced_count < REPLACED_BOOTS ? peer->replaced_count : REPLACED_BOOTS;
    for (size_t i = 0; i < n; i++) {
        if (id_equal(&peer->replaced[i].boot, boot))
            return &peer->replaced[i];
    }
    return NULL;
}

bool peer_boot_is_stale(const struct dispatch *d, struct peer *peer, const struct id *boot)
{
    return find_replaced(peer, boot) && d->now_us - peer->heard_us < DISPATCH_SILENCE_US;
}

void peer_lose_jobs(struct dispatch *d, struct peer *peer)
{
    for (struct job *job = peer->jobs.last, *prev; job; job = prev) {
        prev = job->prev;
        job_requeue(d, job, REQUEUE_GONE);
    }
}

void peer_replace_boot(struct peer *peer, const struct id *boot)
{
    struct replaced_boot *back = find_replaced(peer, boot);
    uint64_t sent = back ? back->sent : 0;
    if (back)
        *back = (struct replaced_boot){0};
    if (!id_is_zero(&peer->boot))
        peer->replaced[peer->replaced_count++ % REPLACED_BOOTS] =
            (struct replaced_boot){.boot = peer->boot, .sent = peer->sent};
    peer->boot = *boot;
    peer->generation++;
    peer->status_sequence = 0;
    peer->limit = 0;
    peer->sent = peer->told_sent = sent;
    peer->service_us = 0;
    peer->paced = 0;
}

static void adopt_boot(struct dispatch *d, struct peer *peer, const struct id *boot)
{
    if (!id_is_zero(&peer->boot)) {
        d->counts.lost_peers++;
        peer_lose_jobs(d, peer);
    }
    peer_replace_boot(peer, boot);
}

/* Seen or passed over, not held, and no result: the worker will never answer it. Both lists ascend. */
static void lose_unheld(struct dispatch *d, struct peer *peer, const struct wire_status *m)
{
    size_t held = m->held_count;

    for (struct job *job = peer->jobs.last, *prev; job; job = prev) {
        prev = job->prev;
        uint64_t sequence = job->current.sequence;
        if (sequence > m->seen)
            continue;
        while (held > 0 && m->held[held - 1] > sequence)
            held--;
        if (held == 0 || m->held[held - 1] != sequence)
            job_requeue(d, job, REQUEUE_LOST);
    }
}

static bool held_ascends(const struct wire_status *m)
{
    for (size_t i = 1; i < m->held_count; i++) {
        if (m->held[i - 1] >= m->held[i])
            return false;
    }
    return true;
}

static void note_worker_hold(struct dispatch *d, unsigned hold)
{
    if (hold <= d->worker_hold)
        return;
    int64_t more_milli = (int64_t)(hold - d->worker_hold) * 1000;
    d->lost.milli += more_milli;
    d->crashed.milli += more_milli;
    d->worker_hold = hold;
}

void peer_take_status(struct dispatch *d, struct peer *peer, const struct wire_status *m)
{
    if (!held_ascends(m)) {
        d->counts.stale_messages++;
        return;
    }
    if (!id_equal(&peer->boot, &m->worker_boot))
        adopt_boot(d, peer, &m->worker_boot);
    if (m->sequence <= peer->status_sequence || m->seen > peer->sent) {
        d->counts.stale_messages++;
        return;
    }
    peer->status_sequence = m->sequence;
    peer->slots = m->slots;
    peer->busy = m->busy;
    peer->load_permille = m->load_permille;
    peer->busy_others = m->busy > m->held_count ? m->busy - (unsigned)m->held_count : 0;
    peer->draining = m->draining;
    peer->limit = m->limit;
    peer->longest = m->longest;
    peer->heard_us = d->now_us;
    peer->refused = false;
    peer->usable = peer->up;
    note_worker_hold(d, 2 * m->slots);
    lose_unheld(d, peer, m);
}

/* The peer said nothing for too long, though its connection stands: paused, or cut off. */
static void peer_silent(struct dispatch *d, struct peer *peer)
{
    peer->usable = false;
    d->counts.lost_peers++;
    peer_lose_jobs(d, peer);
}

void peers_tick(struct dispatch *d)
{
    for (size_t i = 0; i < d->peer_count; i++) {
        struct peer *peer = &d->peers[i];
        if (!peer->up)
            continue;
        /* Only what passed while we were awake to hear is silence. */
        peer->heard_us = min_i64(d->now_us, peer->heard_us + d->paused_us);
        if (peer->usable && d->now_us - peer->heard_us >= DISPATCH_SILENCE_US)
            peer_silent(d, peer);
        if (d->now_us >= peer->hello_at_us) {
            peer->hello_owed = true;
            peer->hello_at_us = d->now_us + DISPATCH_HELLO_US;
        }
        if (peer->refused && d->now_us >= peer->refused_until_us)
            peer->refused = false;
    }
}

int64_t peers_next_us(const struct dispatch *d)
{
    int64_t next_us = INT64_MAX;

    for (size_t i = 0; i < d->peer_count; i++) {
        const struct peer *peer = &d->peers[i];
        if (!peer->up)
            continue;
        next_us = min_i64(next_us, peer->hello_at_us);
        if (peer->usable)
            next_us = min_i64(next_us, peer->heard_us + DISPATCH_SILENCE_US);
        if (peer->refused)
            next_us = min_i64(next_us, peer->refused_until_us);
    }
    return next_us;
}

void peers_announce_queue(struct dispatch *d)
{
    for (size_t i = 0; i < d->peer_count; i++) {
        struct peer *peer = &d->peers[i];
        if (!peer->up)
            continue;
        int64_t gap_end_us = peer->hello_us + HELLO_QUEUED_GAP_US;
        if (peer->told_queued == 0 || d->now_us >= gap_end_us)
            peer->hello_owed = true;
        else
            peer->hello_at_us = min_i64(peer->hello_at_us, gap_end_us);
    }
}

bool peers_next_hello(struct dispatch *d, struct dispatch_action *out)
{
    for (size_t i = 0; i < d->peer_count; i++) {
        struct peer *peer = &d->peers[i];
        if (!peer->hello_owed || !peer->up)
            continue;
        peer->hello_owed = false;
        peer->hello_us = d->now_us;
        peer->hello_at_us = d->now_us + DISPATCH_HELLO_US;
        peer->told_sent = peer->sent;
        peer->told_queued = (uint32_t)fair_queue_count(d->queue);
        *out = (struct dispatch_action){.type = DISPATCH_HELLO,
                                        .peer = i,
                                        .worker_boot = peer->boot,
                                        .sequence = peer->told_sent,
                                        .queued = peer->told_queued};
        return true;
    }
    return false;
}
