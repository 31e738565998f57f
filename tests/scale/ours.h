/* SPDX-License-Identifier: MIT */
/* What the parts of our policy share: API servers and workers, and the messages between them. */
#ifndef CAVAGE_SCALE_OURS_H
#define CAVAGE_SCALE_OURS_H

#include "parts.h"

#include "cavage/credit.h"
#include "cavage/dispatch.h"
#include "cavage/wire.h"

enum {
    EVENT_TO_API = EVENT_POLICY,
    EVENT_TO_WORKER,
    EVENT_DONE,
    EVENT_API_TICK,
    EVENT_WORKER_TICK,
    EVENT_LINE_UP,
    EVENT_LINES_DOWN,
    CONNECT_US = 100 * 1000
};

static const int64_t never_us = INT64_MAX;

struct message {
    int from, to;
    unsigned generation; /* of the worker at either end */
    enum { SAYS_HELLO, SAYS_JOB, SAYS_CANCEL, SAYS_STATUS, SAYS_RESULT } says;
    union {
        struct wire_hello hello;
        struct wire_job job;
        struct wire_cancel cancel;
        struct wire_result result; /* or its status alone */
    } of;
    struct message *next_free;
};

struct held {
    size_t api; /* index in credit */
    int node;
    uint64_t sequence, job;
    int64_t began_us; /* -1: it waits */
    bool cancelled;
    uint64_t ticket; /* of its conversion */
    struct held *next;
};

struct api {
    struct dispatch *dispatch;
    struct admission_books *books;
    int64_t tick_us; /* that is in the events */
    bool connected[REGION_WORKERS_MAX];
};

struct worker {
    struct credit *credit;
    struct id boot;
    bool up, vanished;
    unsigned generation;
    int running;
    struct held *waiting, **waiting_end;
    struct held *running_list;
    int node_of[CREDIT_APIS_MAX];
    int64_t tick_us, paused_until_us;
    int factor;
};

struct ours {
    struct api apis[REGION_APIS_MAX];
    struct worker workers[REGION_WORKERS_MAX];
    int64_t last_us[2][REGION_APIS_MAX][REGION_WORKERS_MAX]; /* order within a connection */
    uint64_t tickets;
    struct message *free_messages;
    struct held *free_held;
};

static inline struct ours *ours_of(struct region *r)
{
    return r->policy;
}

/* ---- ours.c ---- */

/* Ends the program when err is one. */
void ours_check(int err, const char *what);
struct id ours_boot(int kind, int number, unsigned generation);
struct message *message_new(struct ours *o);
void message_free(struct ours *o, struct message *m);
/* To the other end, after the network's delay and behind what went before. */
void message_post(struct region *r, bool to_worker, int api, int worker, struct message *m);

/* ---- ours_api.c ---- */

void api_arrive(struct region *r, struct job *j);
void api_hear(struct region *r, const struct event *e);
void api_tick(struct region *r, const struct event *e);
/* Do what dispatch wants done. */
void api_act(struct region *r, int a);

/* ---- ours_worker.c ---- */

void worker_start(struct region *r, int w);
void worker_kill(struct region *r, int w, bool vanishes);
void worker_hear(struct region *r, const struct event *e);
void worker_done(struct region *r, const struct event *e);
void worker_tick(struct region *r, const struct event *e);
/* Forget jobs that are held; of those that ran, the time is wasted. */
void worker_drop(struct region *r, struct held *h, bool ran);

#endif
