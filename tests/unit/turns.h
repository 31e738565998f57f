/* SPDX-License-Identifier: MIT */
/* Turns of a loop whose events are all of the test's own making. */
#ifndef TURNS_H
#define TURNS_H

#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/loop.h"

enum { TURNS = 20, TURN_US = 500 };

static inline void turns_stop(void *loop)
{
    loop_stop(loop);
}

/* Let the loop do all that it can do now. 0, or the first error. */
static inline int turns_take(struct loop *loop)
{
    struct loop_timer *timer;
    int err = loop_timer_new(loop, turns_stop, loop, &timer);
    if (err)
        return err;
    for (int i = 0; i < TURNS && err == ERR_OK; i++) {
        loop_timer_at(timer, clock_monotonic_us() + TURN_US);
        err = loop_run(loop);
    }
    loop_timer_free(timer);
    return err;
}

#endif
