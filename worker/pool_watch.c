/* SPDX-License-Identifier: MIT */
/* What converters use, looked at while they work: memory in use and CPU time are bounded by their supervisor. Their address space, threads
 * and files are bounded by the kernel. */
#include "pool_parts.h"

#include "cavage/clock.h"

enum {
    BUSY_US = 50 * 1000, /* between two looks while a converter works */
    IDLE_US = 1000 * 1000,
    IDLE_CPU_US = 500 * 1000, /* what one without a job may use, for ever */
    CPU_PER_DEADLINE = 2      /* codecs may use some threads for a while */
};

/* Why this converter is to be ended; KILL_NONE when all is well. */
static enum slot_kill judge(const struct pool *p, const struct slot *s)
{
    int64_t used_us = slot_cpu_us(s) - s->cpu_started_us;
    if (used_us > (s->state == SLOT_BUSY ? CPU_PER_DEADLINE * p->config.deadline_us : IDLE_CPU_US))
        return KILL_CPU;
    if (s->state == SLOT_BUSY && p->config.memory_bytes > 0 && slot_private_bytes(s) > p->config.memory_bytes)
        return KILL_MEMORY;
    return KILL_NONE;
}

void pool_watch(void *arg)
{
    struct pool *p = arg;
    bool ended = false;
    for (unsigned i = 0; i < p->count; i++) {
        struct slot *s = &p->slots[i];
        enum slot_kill why = s->state == SLOT_BUSY || s->state == SLOT_IDLE ? judge(p, s) : KILL_NONE;
        if (why != KILL_NONE)
            pool_end_converter(s, why);
        ended = ended || why != KILL_NONE;
    }
    p->watch_at_us = clock_monotonic_us() + (pool_busy(p) > 0 ? BUSY_US : IDLE_US);
    loop_timer_at(p->watch, p->watch_at_us);
    if (ended)
        pool_changed(p);
}

void pool_watch_soon(struct pool *p)
{
    int64_t at_us = clock_monotonic_us() + BUSY_US;
    if (at_us >= p->watch_at_us)
        return;
    p->watch_at_us = at_us;
    loop_timer_at(p->watch, at_us);
}
