/* SPDX-License-Identifier: MIT */
/* Which staged bodies other processes may be reading: a pure state machine, without socket, clock or thread.
 *
 * A JOB can tell a worker where in the arena its image is. From then on the image may be read there, until the worker's own word says otherwise or the
 * worker is dead; time alone ends nothing, so a worker that is paused keeps what it has. A loan of (worker boot, link, sequence) is over when
 *
 *   - a STATUS of that boot, for that link, has seen the sequence and does not hold it: credit.h takes no sequence a second time, and a job is held until
 *     nothing reads its image any more. A RESULT tells by the STATUS that rides on it. However late or often a STATUS comes, what it says stays true:
 *     sequences are not used again;
 *   - the reader is gone: its link hung up, which it lets happen only when it reads nothing more, or is dead;
 *   - the message was never sent.
 *
 * A worker forgets an API, and what it has seen of it, only when it ends its link; and a JOB names the link's number, so that one of an earlier link is refused. That is why
 * `seen` stays believable as long as the reader is the same. */
#ifndef CAVAGE_LENDING_H
#define CAVAGE_LENDING_H

#include "cavage/extents.h"
#include "cavage/id.h"
#include "cavage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lending;

/* For the API with this boot, to at most readers_max workers at once, with at most loans_max loans out. ERR_NOMEM; ERR_RANGE. */
int lending_new(const struct id *api_boot, size_t readers_max, size_t loans_max, struct lending **out);
/* Bodies that were kept and not taken by lending_next are forgotten. */
void lending_free(struct lending *l);

/* A worker can read the arena from now on. ERR_EXISTS: this boot can already; ERR_FULL. */
int lending_join(struct lending *l, const struct id *worker_boot);
/* Nothing more is lent to it; what it has stays out. Unknown ones are ignored, here and below. */
void lending_suspend(struct lending *l, const struct id *worker_boot);
/* It is dead, or reads nothing more: all its loans are over. */
void lending_leave(struct lending *l, const struct id *worker_boot);

/* Note that a message with this link and sequence lets the worker read the body of `job`. Before the message is sent. ERR_NOTFOUND: this worker cannot
 * read the arena, or is suspended; ERR_FULL: too many loans are out, of all or of this worker: WIRE_HELD_MAX, as many jobs as it can say that it holds,
 * so that one that never gives back cannot keep the whole arena. */
int lending_lend(struct lending *l, const struct id *worker_boot, uint32_t link, uint64_t sequence, uint64_t job);
/* The message was not sent, and never will be. */
void lending_take_back(struct lending *l, const struct id *worker_boot, uint32_t link, uint64_t sequence);
/* A worker spoke, alone or on a RESULT. What is meant for another API, or does not list what it holds in order, is ignored. */
void lending_hear(struct lending *l, const struct wire_status *m);

/* The request of the job is over. True: its body may still be read; it belongs to the lending now, and *body is empty. False: nobody can read it. */
bool lending_keep(struct lending *l, uint64_t job, struct staged *body);
/* The next kept body that nobody can read any more; the caller releases it. False: none. Call it until then after each leave and hear. */
bool lending_next(struct lending *l, struct staged *body);

struct lending_stats {
    size_t readers;
    size_t loans;
    size_t kept_bytes; /* of requests that are over */
};
void lending_stats(const struct lending *l, struct lending_stats *out);

#endif
