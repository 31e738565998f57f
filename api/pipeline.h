/* SPDX-License-Identifier: MIT */
/* Staged requests on their way to workers and back: the dispatch machine with its sockets, on the loop's thread. */
#ifndef CAVAGE_API_PIPELINE_H
#define CAVAGE_API_PIPELINE_H

#include "request.h"

#include "cavage/dispatch.h"
#include "cavage/lending.h"

struct pipeline;

/* Called with the exchange of each request that has its answer, is ANSWERED or GONE, and belongs to its HTTP thread again. Loop thread. */
typedef void (*pipeline_answer_fn)(void *exchange);

/* Bind the socket for results, connect to the workers, watch both. Errors were logged. */
int pipeline_start(struct api *api, pipeline_answer_fn answered, struct pipeline **out);
void pipeline_stop(struct pipeline *p);
/* Answer all that is there with 503: the program ends. Loop thread. */
void pipeline_abandon(struct pipeline *p);

/* Read the cluster's keys again. Loop thread. */
void pipeline_reload(struct pipeline *p);

/* Take a request in the state QUEUED. Any thread; after this call it belongs to the loop. */
void pipeline_submit(struct pipeline *p, struct request *r);
/* The client of a request that is QUEUED left. Loop thread. */
void pipeline_cancel(struct pipeline *p, struct request *r);

/* Jobs that wait for a worker, as of the last event. Any thread. */
size_t pipeline_queued(const struct pipeline *p);
/* No worker was there for seconds. Any thread. */
bool pipeline_is_stranded(const struct pipeline *p, int64_t now_us);
/* A worker that can take jobs is known. Any thread. */
bool pipeline_has_worker(const struct pipeline *p);
/* Loop thread. */
void pipeline_stats(const struct pipeline *p, struct dispatch_stats *out);
/* What workers may be reading in the arena. Loop thread. */
void pipeline_lending_stats(const struct pipeline *p, struct lending_stats *out);

#endif
