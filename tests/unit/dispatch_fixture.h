/* SPDX-License-Identifier: MIT */
/* One dispatcher with PEERS peers, and the words in which its tests speak. Worker n's address is peer n - 1, but where a test restarts workers. */
#ifndef DISPATCH_FIXTURE_H
#define DISPATCH_FIXTURE_H

#include "cavage/dispatch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { PEERS = 3, MS = 1000 };

/* The one under test, made anew for each of them, and its time. */
extern struct dispatch *d;
extern int64_t now_us;

int dispatch_setup(void **state);
int dispatch_teardown(void **state);
#define DISPATCH_TEST(name) cmocka_unit_test_setup_teardown(name, dispatch_setup, dispatch_teardown)

/* What dispatch_setup starts; another one in its place. */
struct dispatch_config config_make(void);
void restart(const struct dispatch_config *config);

struct id boot(uint8_t n);
struct dispatch_stats stats(void);

/* ---- Events ---- */

void tick_at(int64_t at_us);
/* As a loop does that is not late: at every time that is asked for, and then at at_us. */
void tick_until(int64_t at_us);
int submit(uint64_t id);
/* A job that goes out at once. */
struct dispatch_action send_one(uint64_t id);

struct wire_status status_of(size_t peer, uint8_t worker, uint64_t seen, uint64_t limit);
/* A STATUS that holds nothing; one that holds those of the numbers that are not 0. */
void status(size_t peer, uint8_t worker, uint64_t seen, uint64_t limit);
void status_holding(size_t peer, uint8_t worker, uint64_t seen, uint64_t limit, uint64_t first, uint64_t second);
void up(size_t peer, uint8_t worker, uint64_t limit);
/* Worker 1 is up; jobs 1 .. jobs came, and those up to the limit are at it. */
void begin(uint64_t jobs, uint64_t limit);

/* A RESULT whose status has seen the job and holds nothing else, and grants up to limit; or far more, from where the job was sent to. */
enum dispatch_verdict result(size_t peer, uint8_t worker, uint64_t job, uint64_t sequence, enum outcome outcome,
                             uint64_t limit);
enum dispatch_verdict result_of(const struct dispatch_action *sent, enum outcome outcome);

/* A job goes out, and its result comes when that peer's time is over; returns the peer. */
size_t run_job(uint64_t id, int64_t (*taken_us)(size_t peer));
int64_t all_are_quick(size_t peer);
/* Two workers are up, and have done jobs 1 .. jobs; returns the last one's id. */
uint64_t warm_up(uint64_t jobs, int64_t (*taken_us)(size_t peer));

/* ---- Actions ---- */

/* The next action that is no HELLO. */
bool next(struct dispatch_action *action);
void expect_nothing(void);
struct dispatch_action expect_hello(void);
struct dispatch_action expect(enum dispatch_action_type type, uint64_t job);
void expect_send(size_t peer, uint64_t job, uint64_t sequence);
void expect_fail(uint64_t job, enum dispatch_failure failure);
void expect_cancel(size_t peer, uint64_t job, uint64_t sequence);
/* How many jobs go out now. */
unsigned sends(void);
/* Not an action: how many jobs wait, and how many are at workers. */
void expect_jobs(size_t queued, size_t sent);

#endif
