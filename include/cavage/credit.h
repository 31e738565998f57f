/* SPDX-License-Identifier: MIT */
/* The worker's side of the pipeline's accounts: which APIs there are, what each may send, what of theirs is held. A pure state machine.
 *
 * The worker grants its idle converters plus one prefetched job each, shared among the APIs that have work; an idle API keeps one credit where
 * that leaves enough, so that its first job need not ask. With room = 2 * slots (0 when draining) this holds after every call:
 *
 *     sum over the APIs of (limit - seen)  <=  max(0, room - jobs held)
 *
 * A limit may be lowered again, down to what was seen. Jobs that were sent before the API knew are taken all the same, so the jobs held may
 * exceed room for a while; never 2 * room of the most slots there ever were. What is beyond is refused, which costs a job no attempt. */
#ifndef CAVAGE_CREDIT_H
#define CAVAGE_CREDIT_H

#include "cavage/id.h"
#include "cavage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CREDIT_APIS_MAX = 64,
    CREDIT_SLOTS_MAX = WIRE_HELD_MAX / 2,
    CREDIT_STATUS_US = 250 * 1000,      /* between two STATUS to an API */
    CREDIT_SILENCE_US = 1000 * 1000,    /* an API silent this long gets no credit */
    CREDIT_FORGET_US = 10 * 1000 * 1000 /* and is forgotten after this */
};

struct credit;

/* ERR_NOMEM; ERR_INVALID for a boot of zeros. There are no slots yet. */
int credit_new(const struct id *worker_boot, struct credit **out);
void credit_free(struct credit *c);

/* Converters that can take jobs now, or will shortly (being replaced); more than CREDIT_SLOTS_MAX count as that many. */
void credit_set_slots(struct credit *c, int64_t now_us, unsigned slots);
/* For the next STATUS; no reason to send one. */
void credit_set_busy(struct credit *c, int64_t now_us, unsigned busy, unsigned load_permille);
/* Grant no more, for good. */
void credit_drain(struct credit *c, int64_t now_us);

/* HELLO: *api gets the API's index (stable while it is known), *is_new whether it was not known (then open a PUSH to its result address). Every HELLO
 * is owed a STATUS. A new boot at a known result address replaces the old one, whose index is first reported by credit_next_gone. ERR_FULL;
 * ERR_DENIED for a boot that was replaced by one that was heard within CREDIT_SILENCE_US; ERR_EXISTS for a known boot with another link or
 * address, until the one it has was silent for CREDIT_SILENCE_US: then it is replaced likewise. */
int credit_hello(struct credit *c, int64_t now_us, const struct wire_hello *m, size_t *api, bool *is_new);

/* JOB: 0 and the job is held; ERR_DENIED: answer OUTCOME_NOT_STARTED (other worker boot, draining); ERR_NOTFOUND: an API that never said
 * HELLO on this link, drop it; ERR_EXISTS: a duplicate, drop it; ERR_FULL: beyond the highest limit there was, or beyond what may be held at
 * all, answer OUTCOME_NOT_STARTED. *api is the API's index, but for ERR_NOTFOUND. */
int credit_job(struct credit *c, int64_t now_us, const struct wire_job *m, size_t *api);
/* The job's RESULT is being sent, or nobody wants it: it is held no more. From this call to the sending of the RESULT no STATUS may go to the API:
 * by a status alone that holds it no more, the job is lost. So call it when the RESULT can go, and credit_status directly after. Unknown ones are
 * ignored. */
void credit_done(struct credit *c, int64_t now_us, size_t api, uint64_t sequence);

/* The STATUS for an API as of now, its sequence counted up; for riding on a RESULT too. Send them in the order of their making. */
void credit_status(struct credit *c, int64_t now_us, size_t api, struct wire_status *out);
/* The next API that is owed a STATUS (HELLO, changed, or 250 ms old); false when none. Send credit_status to it. */
bool credit_next_status(struct credit *c, int64_t now_us, size_t *api);
/* The next API that was replaced or silent too long; close its PUSH and drop its jobs. It is forgotten with this call. Call it after everything that
 * has arrived was handed in: after a pause of our own (a call much later than the one before) silence is counted anew. */
bool credit_next_gone(struct credit *c, int64_t now_us, size_t *api);
/* When credit_next_status or credit_next_gone will have something, at the latest. Call both then. */
int64_t credit_next_us(const struct credit *c);

/* Jobs held for all APIs. */
size_t credit_held(const struct credit *c);
/* Jobs that may be sent and were not: the sum over the APIs of (limit - seen). */
size_t credit_granted(const struct credit *c);

#endif
