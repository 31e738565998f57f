/* SPDX-License-Identifier: MIT */
/* The staging arenas of APIs on this host, mapped for reading: a link to each, over a unix socket beside its result address.
 *
 * An API gives an extent that this worker was told of to nobody else until a STATUS says that its job is held no more, or the link hangs up. So what is read there does
 * not change meanwhile, and a link is closed only when nothing reads from it any more. See lending.h. */
#ifndef CAVAGE_WORKER_ARENAS_H
#define CAVAGE_WORKER_ARENAS_H

#include "input.h"

#include "cavage/id.h"
#include "cavage/loop.h"
#include "cavage/metrics.h"
#include "cavage/wire.h"

struct arenas;

struct arenas_config {
    struct loop *loop;
    struct metrics *metrics; /* indices of worker_metrics.h */
    struct id boot;          /* this worker's */
    size_t max_bytes;        /* of one image */
    /* An API's arena is gone: when this returns nothing may read from it any more. Not called by arenas_leave and arenas_free. */
    void (*lost)(void *arg, size_t api);
    void *arg;
};

/* For APIs with indices 0 .. CREDIT_APIS_MAX - 1. ERR_NOMEM. */
int arenas_new(const struct arenas_config *config, struct arenas **out);
/* Nothing reads from them any more. */
void arenas_free(struct arenas *a);

/* An API said HELLO. If it lends, and there is no link to it, ask for one; it is there when the API has answered. What could not be had is asked for again
 * 100 ms later at the soonest, then 200 ms … up to 5 s. */
void arenas_meet(struct arenas *a, int64_t now_us, size_t api, const struct wire_hello *m);
/* The API is forgotten, and nothing reads from its arena any more. */
void arenas_leave(struct arenas *a, size_t api);

/* Where the image of a job is, that names an arena; in->extents are those of m. ERR_NOTFOUND: not in one that is linked now; ERR_RANGE: it does not fit the
 * arena, or is too long. */
int arenas_find(const struct arenas *a, size_t api, const struct wire_job *m, struct input *in);

#endif
