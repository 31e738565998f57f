/* SPDX-License-Identifier: MIT */
/* What the files of the pool share. */
#ifndef CAVAGE_WORKER_POOL_PARTS_H
#define CAVAGE_WORKER_POOL_PARTS_H

#include "pool.h"
#include "slot.h"
#include "worker_metrics.h"

struct pool {
    struct pool_config config;
    pid_t zygote_pid; /* 0: none */
    int zygote_pidfd;
    int control;
    struct loop_watch *zygote_watch;
    struct loop_watch *control_watch;
    struct loop_timer *backoff;
    struct loop_timer *watch; /* looks at what converters use */
    int64_t backoff_us;
    int64_t watch_at_us;
    bool sandbox_told;
    uint32_t sandbox_missing; /* as it was told */
    bool zygote_proven;       /* it has made a converter */
    uint64_t generation;
    unsigned count;
    struct slot slots[];
};

static inline void pool_count(struct pool *p, size_t metric)
{
    metrics_add(p->config.metrics, metric, 1);
}

/* Ask the zygote for every converter that is missing; start the zygote first if need be. */
void pool_fill(struct pool *p);
/* Set the gauges, tell the owner. */
void pool_changed(struct pool *p);
/* Reap children that belong to nobody: processes in between whose zygote was killed, and what they forked. */
void pool_reap_strays(struct pool *p);

/* End the converter; what its job gets is decided when it has ended. */
void pool_end_converter(struct slot *s, enum slot_kill why);

/* pool_watch.c: end converters that use more than is theirs. Callback of the timer; arg is the pool. */
void pool_watch(void *arg);
/* Have it look soon, since a converter got a job. */
void pool_watch_soon(struct pool *p);

/* Callbacks of a slot's process, channel and timer; arg is the slot. */
void pool_slot_ended(void *arg, int fd, uint32_t events);
void pool_slot_answered(void *arg, int fd, uint32_t events);
void pool_slot_timer(void *arg);

#endif
