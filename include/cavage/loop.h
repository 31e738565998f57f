/* SPDX-License-Identifier: MIT */
/* One thread's event loop over epoll: descriptors, timers, signals, and calls posted by other threads. */
#ifndef CAVAGE_LOOP_H
#define CAVAGE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_watch; /* a watched descriptor */
struct loop_timer;

typedef void (*loop_fd_fn)(void *arg, int fd, uint32_t events);
typedef void (*loop_fn)(void *arg);
typedef void (*loop_signal_fn)(void *arg, int signo);

int loop_new(struct loop **out);
/* Frees the loop with the watches and timers that are left. Posts that have not run are dropped; what they point to stays the poster's. */
void loop_free(struct loop *loop);

/* Dispatch events until loop_stop. Returns ERR_OK, or ERR_IO when epoll itself fails. */
int loop_run(struct loop *loop);
/* End loop_run after the current callback; before loop_run, make it return at once. The loop's thread only. loop_run may be called again. */
void loop_stop(struct loop *loop);

/* Monotonic time at which the current round of callbacks began, µs; the current time when the loop does not run. */
int64_t loop_now_us(const struct loop *loop);

/* Watch fd (not owned) for EPOLLIN and such, level-triggered. unwatch may be called from any callback, also its own; its
 * callback is not called again afterwards, even for events already fetched. Unwatch before closing fd. */
int loop_watch(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *arg, struct loop_watch **out);
int loop_watch_set(struct loop_watch *watch, uint32_t events);
void loop_unwatch(struct loop_watch *watch);

/* A timer, unarmed at first. Arming again replaces the time. The callback may arm or free its own timer. A time that has passed
 * fires in the next round. cancel and free accept NULL. */
int loop_timer_new(struct loop *loop, loop_fn fn, void *arg, struct loop_timer **out);
void loop_timer_at(struct loop_timer *timer, int64_t monotonic_us);
void loop_timer_cancel(struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer);

/* Block signo for this and all later threads and deliver it here. Call before other threads start. One function a signal; a second call
 * replaces it. Children inherit the blocked mask: reset it between fork and exec. loop_free leaves the signals blocked. */
int loop_signal(struct loop *loop, int signo, loop_signal_fn fn, void *arg);

/* Have fn(arg) called by the loop's thread soon, in the order of posting. The one function that other threads may call; after loop_run has
 * returned, calls wait for the next loop_run. ERR_NOMEM. */
int loop_post(struct loop *loop, loop_fn fn, void *arg);

#endif
