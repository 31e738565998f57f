/* SPDX-License-Identifier: MIT */
/* What the files of the pipeline share; for them only. */
#ifndef CAVAGE_API_PIPELINE_PARTS_H
#define CAVAGE_API_PIPELINE_PARTS_H

#include "api.h"
#include "jobs.h"
#include "lender.h"
#include "peer.h"
#include "pipeline.h"

#include "cavage/backoff.h"
#include "cavage/bus.h"
#include "cavage/clock.h"

/* A worker's address, listed now or once. */
struct place {
    char address[WIRE_ADDRESS_SIZE];
    struct peer *peer; /* NULL: closed */
    bool fixed;        /* by the configuration */
    bool listed;       /* by the configuration, or by a name as last looked up */
    bool retired;      /* no longer listed: it finishes what it has */
    int64_t closed_us;
    int err; /* why it could not be opened, last time */
};

struct pipeline {
    struct api *api;
    struct loop *loop;
    pipeline_answer_fn answered;
    struct dispatch *dispatch;
    struct jobs *jobs;
    struct id boot;
    char results[WIRE_ADDRESS_SIZE];    /* bound */
    char advertised[WIRE_ADDRESS_SIZE]; /* what workers are told */
    struct seal *seal;                  /* NULL: no tcp */
    struct lender *lender;              /* NULL: every JOB carries its image */
    struct bus_pull *pull;
    struct loop_watch *pull_watch;
    struct names *names;
    struct place *places; /* of DISPATCH_PEERS_MAX; their index is that of dispatch */
    size_t place_count;
    struct loop_timer *retry; /* armed while something that is listed could not be connected to */
    struct backoff backoff;
    size_t left_out; /* addresses without a place, as logged */
    struct loop_timer *tick;
    struct loop_timer *poll;
    int inbox_fd;
    struct loop_watch *inbox_watch;
    pthread_mutex_t lock; /* guards the inbox */
    struct request *inbox, **inbox_tail;
    atomic_size_t queued;
    atomic_bool has_worker;
    _Atomic int64_t stranded_us; /* since when there is no worker; 0: there is one */
};

/* pipeline_frames.c: build the frame of an action; a peer_build_fn. */
uint8_t *pipeline_build(void *arg, const struct dispatch_action *action, size_t *len);
/* The request goes out by this SEND. It has waited until then, but not until a second copy of it was made. */
void pipeline_note_send(struct request *r, const struct dispatch_action *action, int64_t now_us);
/* It was not sent; a peer_unsent_fn. */
void pipeline_unsent(void *arg, const struct dispatch_action *action);

/* pipeline_workers.c */
int pipeline_start_workers(struct pipeline *p);
void pipeline_stop_workers(struct pipeline *p);
/* Close those that are retired and have nothing left. */
void pipeline_close_retired(struct pipeline *p, int64_t now_us);

/* pipeline.c: the callbacks of the loop. */
void pipeline_on_inbox(void *arg, int fd, uint32_t events);
void pipeline_on_message(void *arg, int fd, uint32_t events);
void pipeline_on_tick(void *arg);
void pipeline_on_poll(void *arg);

#endif
