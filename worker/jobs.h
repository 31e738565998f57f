/* SPDX-License-Identifier: MIT */
/* The jobs a worker holds: they wait in order of arrival, run in a converter, and end in a result. */
#ifndef CAVAGE_WORKER_JOBS_H
#define CAVAGE_WORKER_JOBS_H

#include "pool.h"

#include "cavage/image_header.h"
#include "cavage/metrics.h"
#include "cavage/stub.h"
#include "cavage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct jobs;

/* API of a job whose API is gone. */
#define JOBS_NO_API SIZE_MAX

struct jobs_config {
    struct metrics *metrics;
    const struct limits *limits; /* kept by the caller */
    bool test_mode;
    struct stub stub; /* what converters do instead of converting */
    /* A job has ended; with wanted, its result goes to the API: r without status, and a body. */
    void (*ended)(void *arg, size_t api, struct wire_result *r, const uint8_t *body, size_t body_len, bool wanted);
    void *arg;
};

int jobs_new(const struct jobs_config *config, struct jobs **out);
/* Set once, before the first job: the two know each other. */
void jobs_set_pool(struct jobs *jobs, struct pool *pool);
void jobs_free(struct jobs *jobs);

/* Take in a job. `message` (of bus_alloc) belongs to the jobs in any case; the image lies in it, or in extents that m names, which nobody changes until the job
 * has ended. What the header of the image rules out ends at once. ERR_NOMEM: it was dropped. */
int jobs_add(struct jobs *jobs, int64_t now_us, size_t api, const struct wire_job *m, uint8_t *message,
             const struct input *image);
/* Nobody waits for it any more. Unknown ones are ignored. */
void jobs_cancel(struct jobs *jobs, const struct wire_cancel *m);
/* All jobs of an API that is gone. */
void jobs_forget_api(struct jobs *jobs, size_t api);
/* The arena of an API is gone. Jobs that wait and whose image is there end as not started; those that run have their copy, and are not begun again. Nothing reads
 * from it afterwards. */
void jobs_lose_arena(struct jobs *jobs, size_t api);
/* Start what waits while converters are idle. */
void jobs_begin(struct jobs *jobs, int64_t now_us);

/* The pool's word on a job: pool_config.finished, with the jobs as arg. */
void jobs_finished(void *arg, const struct pool_job *job, const struct pool_result *result);

#endif
