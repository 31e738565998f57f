/* SPDX-License-Identifier: MIT */
/* The converters of a worker: starts them through the zygote, hands each one image at a time, ends them at deadlines, replaces them. */
#ifndef CAVAGE_WORKER_POOL_H
#define CAVAGE_WORKER_POOL_H

#include "act.h"
#include "cgroup.h"
#include "control.h"
#include "input.h"

#include "cavage/image_header.h"
#include "cavage/loop.h"
#include "cavage/metrics.h"
#include "cavage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;

/* A job as a converter gets it. Everything is the caller's until pool_config.finished is called for it. */
struct pool_job {
    enum operation operation;
    const char *request;
    uint32_t outputs;    /* how many the request asks for, 1 .. WIRE_OUTPUTS_MAX */
    struct input input;  /* at most pool_config.input_bytes */
    int64_t deadline_us; /* monotonic */
    enum act act;
    uint32_t sleep_us; /* of ACT_SLEEP */
};

/* How it ended. All of it was checked. */
struct pool_result {
    enum outcome outcome;
    enum convert_detail detail;
    uint8_t *
        output; /* outcome OK, but of an info: a private copy, one behind the other, to be freed by the receiver; else NULL */
    size_t output_len;
    /* Of each output, read from the copy. */
    uint32_t made_count;
    struct image_header made[WIRE_OUTPUTS_MAX];
    size_t made_bytes[WIRE_OUTPUTS_MAX];
    uint32_t failed_output; /* of renditions: the one that could not be made, from 1; 0: none by itself */
    uint64_t limit_value, actual_value;
    struct convert_info info; /* outcome OK of an info */
    int64_t cpu_us;           /* of the converter, as the kernel counts */
    int64_t convert_us;
};

struct pool_config {
    struct loop *loop;
    struct metrics *metrics; /* indices of worker_metrics.h */
    unsigned converters;     /* 1 .. CREDIT_SLOTS_MAX */
    size_t input_bytes;
    size_t output_bytes;
    const struct limits *limits; /* kept by the caller */
    int64_t deadline_us;         /* for one conversion */
    uint64_t memory_bytes;       /* of a converter, private and in use */
    struct cgroup *cgroup;       /* bounds all of them together; NULL: there is none. Borrowed until pool_close */
    /* A converter that has reached any of these is replaced after its job. */
    unsigned recycle_jobs;
    int64_t recycle_us;
    uint64_t recycle_bytes; /* of private memory */
    bool test_mode;
    /* The job is done. NULL result: it was never begun, its converter had ended; give it to another. */
    void (*finished)(void *arg, const struct pool_job *job, const struct pool_result *result);
    /* The number of idle converters changed. */
    void (*changed)(void *arg);
    void *arg;
};

/* Start the zygote and the converters. Makes the process the reaper of its descendants. */
int pool_open(const struct pool_config *config, struct pool **out);
/* Ends all converters; no callback comes any more. */
void pool_close(struct pool *pool);

/* Give the job to an idle converter. ERR_AGAIN: none is idle. ERR_RANGE: too long. */
int pool_start(struct pool *pool, const struct pool_job *job);
/* Nobody waits for the job any more: it may go on for at most grace_us. It still finishes by the callback. */
void pool_hurry(struct pool *pool, const struct pool_job *job, int64_t grace_us);

unsigned pool_idle(const struct pool *pool);
unsigned pool_busy(const struct pool *pool);
/* Converters that take jobs now or in a moment. */
unsigned pool_slots(const struct pool *pool);

#endif
