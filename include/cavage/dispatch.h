/* SPDX-License-Identifier: MIT */
/* Which job goes to which worker: a pure state machine. Events go in with the time, actions come out; it has no clock, socket or thread.
 *
 * A job whose worker seems to stand still is hedged: sent to a second, idle one as well, and the first result wins. How many jobs at most is configured.
 *
 * A job: QUEUED -> SENT (to one worker) -> answered; back to QUEUED, at the head, when its worker is lost. It is started at most twice
 * because of faults; one that ended two converters fails as poison. A job whose deadline passes fails, wherever it is; one that waits, and could not be
 * done in time even at half its estimated cost, fails when its turn comes. An estimate beyond all the time that the job came with counts as that: such jobs are
 * tried too, or nobody would learn what they take. */
#ifndef CAVAGE_DISPATCH_H
#define CAVAGE_DISPATCH_H

#include "cavage/id.h"
#include "cavage/lane.h"
#include "cavage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DISPATCH_PEERS_MAX = 256,
    DISPATCH_HELLO_US = 250 * 1000,    /* between two HELLOs to a peer */
    DISPATCH_SILENCE_US = 1000 * 1000, /* after which a peer counts as gone */
    /* How long after a small job a worker is kept from being busy with large ones alone: left are one converter in four, at least one of several. Of
     * all workers together as many are left as small jobs were there at once of late; but large ones may always have a quarter. */
    DISPATCH_SMALL_US = 1000 * 1000,
    /* Work for this long may be prefetched by each converter, rounded to whole jobs of the worker: enough that the next job is there when one ends, and no
     * more, since what waits there is out of the queue's reach. */
    DISPATCH_PREFETCH_US = 2400,
    /* For so long after jobs of two customers came one after the other, those of customers who ask for more than their part are spread in time. */
    DISPATCH_OTHERS_US = 5 * 1000 * 1000
};

struct dispatch_config {
    struct id boot;    /* this API's */
    uint64_t random;   /* any number; another one in each process, so that APIs do not choose alike */
    size_t max_jobs;   /* queued and sent, > 0 */
    size_t max_queued; /* <= max_jobs */
    size_t max_queued_per_customer;
    bool fifo;
    unsigned
        large_percent; /* of the CPU, the large lane's part while both lanes wait; 0: only what the small one leaves. < 100 */
    unsigned
        retry_percent; /* of the jobs submitted, for retries of lost jobs; but what one worker can hold may be retried each second.
                                 * Images that crashed have a budget of the same size apart. 0 .. 100 */
    unsigned hedge_percent; /* of the jobs submitted, those that may be hedged. 0 .. 100; 0: none */
};

struct dispatch_job {
    uint64_t id; /* not 0, never used before */
    uint64_t customer;
    enum lane lane; /* of no account in fifo */
    int64_t cost_us;
    int64_t deadline_us; /* monotonic */
};

enum dispatch_failure {
    DISPATCH_DEADLINE, /* not answered in time: 504 */
    DISPATCH_POISON,   /* it ended two converters: 422 */
    DISPATCH_RETRIES   /* lost, and not to be tried again: 503 */
};

enum dispatch_action_type {
    DISPATCH_SEND,   /* send the job to peer; on failure call dispatch_send_refused before anything else */
    DISPATCH_CANCEL, /* tell peer that nobody waits for the job any more */
    DISPATCH_FAIL,   /* answer the job with `failure`; it is forgotten here */
    DISPATCH_HELLO   /* send HELLO to peer; one that cannot be sent is forgotten */
};

struct dispatch_action {
    enum dispatch_action_type type;
    size_t peer;
    uint64_t job;
    struct id worker_boot; /* zero while unknown (HELLO) */
    uint64_t sequence;     /* SEND, CANCEL: on the link; HELLO: highest sent */
    uint32_t remaining_ms; /* SEND: > 0 */
    bool hedge;            /* SEND: a second copy, while the first is still out */
    uint32_t queued;       /* SEND, HELLO: jobs that wait here */
    enum dispatch_failure failure;
};

enum dispatch_verdict {
    /* Answer the job with this result; it is forgotten here. Its outcome is none of NOT_STARTED, CRASHED, LOST; it is DEADLINE only when the
     * job's time is up. */
    DISPATCH_ANSWER,
    /* Of another boot, answered already, or the job was queued again or fails by an action FAIL. */
    DISPATCH_DROP
};

struct dispatch;

/* All memory is taken here. ERR_NOMEM, ERR_RANGE. */
int dispatch_new(const struct dispatch_config *config, struct dispatch **out);
void dispatch_free(struct dispatch *d);

/* Peers are the workers' addresses, 0 .. n-1; a peer is used once it was reported up and has sent a STATUS. */
int dispatch_peer_add(struct dispatch *d, size_t *peer);
void dispatch_peer_up(struct dispatch *d, int64_t now_us, size_t peer);
void dispatch_peer_down(struct dispatch *d, int64_t now_us, size_t peer);

/* The longest image that the peer takes, in bytes; UINT64_MAX: it does not tell. */
uint64_t dispatch_peer_longest(const struct dispatch *d, size_t peer);

/* Give a peer no new jobs, or give it jobs again. */
void dispatch_peer_retire(struct dispatch *d, int64_t now_us, size_t peer, bool retired);
/* Whether no job is at the peer. */
bool dispatch_peer_idle(const struct dispatch *d, size_t peer);
/* From now on the number of a peer that is down means another worker: the old one's boot never becomes current again under it. */
void dispatch_peer_reuse(struct dispatch *d, int64_t now_us, size_t peer);

/* Take in a job. ERR_FULL: the queue is full; ERR_RANGE: this customer's share of it is; ERR_EXISTS; ERR_INVALID: id 0, or a cost that is not
 * positive. */
int dispatch_submit(struct dispatch *d, int64_t now_us, const struct dispatch_job *job);
/* The client left: forget the job, and cancel it where it runs. Unknown ids are ignored. */
void dispatch_cancel(struct dispatch *d, int64_t now_us, uint64_t job);
/* The send of an action SEND failed: the job is queued again at the head, or it was a second copy, and the first is still out; no attempt is counted; the
 * peer gets nothing until its next STATUS, dispatch_peer_ready, or 5 ms later. True: the job is queued. */
bool dispatch_send_refused(struct dispatch *d, int64_t now_us, size_t peer, uint64_t job);
/* The peer's socket takes messages again (bus_push_fd tells). To call it is optional. */
void dispatch_peer_ready(struct dispatch *d, int64_t now_us, size_t peer);

/* A STATUS arrived; m->link names the peer. Checked here: boots, link, sequence. */
void dispatch_status(struct dispatch *d, int64_t now_us, const struct wire_status *m);
/* A RESULT arrived (its status included). */
enum dispatch_verdict dispatch_result(struct dispatch *d, int64_t now_us, const struct wire_result *m);

/* Time passes: deadlines, silence, HELLOs. Call at dispatch_next_us at the latest, after everything that has arrived was handed in. A pause of its own (a
 * tick much later than asked for) does not count as silence of others. */
void dispatch_tick(struct dispatch *d, int64_t now_us);
int64_t dispatch_next_us(const struct dispatch *d);

/* The next action, in order; false when there is none. Take all of them after every event. */
bool dispatch_next(struct dispatch *d, struct dispatch_action *out);

struct dispatch_stats {
    size_t queued, sent;      /* jobs now */
    size_t peers_up;          /* connected, and not silent */
    unsigned slots, busy;     /* of the workers that are up */
    unsigned idle;            /* converters of theirs without a job of any API, as far as is known */
    uint64_t own_slots_milli; /* converters at this API's disposal: of those workers, its part of their credit */
    int64_t queued_cost_us;
    uint64_t longest; /* image that each of those workers takes, in bytes; UINT64_MAX: none tells */
    uint64_t requeued, retries_denied, late_results, stale_messages, lost_peers, hedged; /* since the start */
};
void dispatch_stats(const struct dispatch *d, struct dispatch_stats *out);
/* True when a worker that can take jobs is known. */
bool dispatch_has_worker(const struct dispatch *d);

#endif
