/* SPDX-License-Identifier: MIT */
/* What the parts of the simulator share: the world's state, its network, and the judge of what happens in it.
 *
 * The code under test is libcavage's: dispatch and its fair queue in each API, credit in each worker, the staging arena, and the meter's account
 * of batches. The judge counts for itself, from what passes between those parts and the world, and asks none of them. */
#ifndef CAVAGE_SIM_H
#define CAVAGE_SIM_H

#include "noise.h"
#include "plan.h"

#include "cavage/admission.h"
#include "cavage/credit.h"
#include "cavage/dispatch.h"
#include "cavage/extents.h"
#include "cavage/frame.h"
#include "cavage/lending.h"
#include "cavage/usage_sequence.h"
#include "cavage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MS = 1000,
    SECOND = 1000 * 1000,
    HELD_ROOM = 128,      /* of a worker; more than may ever be held */
    EXTENT_BYTES = 4096,  /* of the arena */
    BATCH_RECORDS = 8,    /* a batch is closed at this size */
    BATCH_US = 50 * 1000, /* or age */
    NEVER_NODE = -1
};

static const int64_t never_us = INT64_MAX;

/* ---- Requests ---- */

enum request_state {
    REQUEST_AHEAD,    /* has not been sent */
    REQUEST_REFUSED,  /* not admitted */
    REQUEST_OPEN,     /* admitted, not answered */
    REQUEST_ANSWERED, /* its record is written */
    REQUEST_GONE,     /* its client left */
    REQUEST_DIED      /* with its API */
};

/* One request, and all that the judge knows of it. By input: sim.requests[index of the input]. */
struct request {
    enum request_state state;
    int api;
    unsigned api_boot;
    uint64_t job;        /* numbers begin anew with each boot of an API */
    int64_t admitted_us; /* by the API's clock, as is */
    int64_t deadline_us;
    int64_t read_us; /* by the world's */
    struct staged staged;
    struct admission_job terms;
    enum { BOOKED_NOT, BOOKED_WAITING, BOOKED_SENT } booked;
    bool sent;         /* at least once */
    unsigned starts;   /* conversions begun, at all workers */
    unsigned ends;     /* converters that ended of the image */
    bool undecodable;  /* a worker said so */
    unsigned answers;  /* that reached the client */
    unsigned spooled;  /* records in a producer's spool, ever */
    unsigned recorded; /* records in the ledger, synced or not */
    bool confirmed;    /* the record says so in the ledger */
    bool answered_well;
};

/* ---- Network ---- */

struct message {
    int64_t at_us;
    uint64_t order; /* equal times keep the order of sending */
    int from, to;
    bool stray; /* a copy beside its connection */
    uint8_t *data;
    size_t len;
    struct message *next; /* in an inbox */
};

/* One direction between two processes. */
struct line {
    bool up;
    int64_t up_at_us;      /* when it stands again, while down */
    int64_t last_at_us;    /* arrival of the last message: order within a connection */
    int64_t held_until_us; /* a partition */
    bool break_after;
    int64_t stall_us; /* the next connection stalls so long after it was made */
    int64_t lose;     /* so many messages vanish */
    uint64_t drawn;   /* counts what was drawn for it */
    bool told_up;     /* what its sender knows */
    int64_t told_at_us;
};

struct net {
    struct line lines[NODES][NODES];
    struct message **heap;
    size_t count, room;
    uint64_t order;
};

/* ---- Processes ---- */

struct node {
    bool exists; /* takes part */
    bool up;
    unsigned boots;
    int64_t start_at_us; /* while down */
    int64_t paused_until_us;
    int64_t clock_us; /* its monotonic clock less the world's */
    int64_t wall_us;  /* its time of day less the world's time */
    int64_t wake_us;  /* when it has to act next */
    struct message *inbox, **inbox_end;
    uint64_t drawn;
};

struct record {
    size_t request;
    bool confirmed;
};

/* A batch of usage: in a producer's spool, on the wire, in the ledger. */
struct batch {
    struct id producer;
    uint64_t epoch, sequence, previous_epoch, previous_sequence;
    size_t count;
    struct record records[BATCH_RECORDS];
    uint8_t digest[WIRE_DIGEST_BYTES]; /* of the records, when it was sent */
    int64_t hour;
    bool gap;
    /* Of the spool: */
    bool closed, sent, tried;
    unsigned unresolved;
    int64_t opened_us, sent_us;
};

/* What a producer keeps over restarts. As src/spool*.c does it, without its files and its thread. */
struct producer {
    struct id id;
    uint64_t epoch, previous_epoch, previous_sequence, last_sequence;
    struct batch *batches; /* in order; the last one may be open */
    size_t count, room;
    int64_t rewound_us, unexpected_us;
    uint64_t acked_epoch, acked_sequence;
};

/* An answer on its way out: its record is written. */
struct leaving {
    size_t request;
    int64_t at_us;
    bool well;
};

struct api {
    struct dispatch *dispatch;
    struct id boot;
    struct extents *arena;
    uint8_t *view; /* of the arena, as workers map it */
    struct lending *lending;
    uint64_t arenas; /* numbers of links that were given */
    struct admission_books *books;
    struct producer producer;
    struct leaving *leaving;
    size_t leaving_count, leaving_room;
    size_t *arrived; /* requests not read yet: the sockets' queues */
    size_t arrived_count, arrived_room;
    uint64_t jobs_given;
};

struct held_job {
    size_t api; /* index in credit */
    int node;   /* of the API, NEVER_NODE: it was forgotten */
    size_t request;
    struct wire_job wire;
    int64_t deadline_us, began_us, done_at_us; /* by the worker's clock; the last two: when it is running */
    bool running, cancelled;
    enum outcome outcome;
};

struct worker {
    struct credit *credit;
    struct id boot;
    unsigned slots, slots_most;
    bool draining;
    int64_t quiet_us;      /* draining: since when all is answered; 0: it is not */
    int64_t restart_us;    /* after the drain */
    int64_t slow_until_us; /* by the world's clock */
    int64_t slowness;
    int result_node[CREDIT_APIS_MAX];
    struct id api_boot[CREDIT_APIS_MAX];
    struct held_job held[HELD_ROOM]; /* in order of arrival */
    size_t held_count;
    int64_t idle_again_us[SLOTS_MAX]; /* converters that are being replaced */
};

/* Between an API and a worker; it hung up when one of the ends is gone. */
struct arena_link {
    struct id api_boot, worker_boot;
    uint64_t number;
    bool api_end, worker_end;
    int64_t seen_at_us; /* the API looks at it, when the worker's end is gone */
};

struct meter {
    struct usage_sequence *sequence;
    struct batch *ledger; /* durable up to `synced` */
    size_t count, synced, room;
    int64_t sync_done_us; /* 0: no sync is under way */
    size_t sync_count;    /* what it makes durable */
    struct {
        int node;
        struct wire_ack ack;
    } acks[256];
    size_t ack_count;
};

/* ---- The world ---- */

struct violation {
    char name[32]; /* of the rule; empty: none */
    char text[256];
    int64_t at_us;
};

struct sim {
    const struct plan *plan;
    bool trace;
    int64_t now_us;
    size_t next_input;
    struct net net;
    struct node nodes[NODES];
    struct api apis[APIS_MAX];
    struct worker workers[WORKERS_MAX];
    struct arena_link links[APIS_MAX][WORKERS_MAX];
    struct meter meter;
    struct request requests[PLAN_INPUTS_MAX];
    size_t *open; /* indices of open requests */
    size_t open_count;
    unsigned newest_boot[APIS_MAX][WORKERS_MAX]; /* that an API heard of each worker */
    uint64_t digest;                             /* of all that happened */
    uint64_t steps;
    struct violation violation;
    struct {
        uint64_t answered, failed, refused, starts, requeues, crashes, duplicates, lost, batches, read, kept;
    } counts;
};

/* Play a plan to its end, or to the first violation. */
void sim_play(const struct plan *plan, bool trace, struct sim *s);
void sim_free(struct sim *s);

/* The first one stays. */
void sim_violate(struct sim *s, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
void sim_trace(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Mix something that happened into the digest. */
void sim_note(struct sim *s, uint64_t what, uint64_t value);

bool sim_is_quiet(const struct sim *s);
struct noise sim_noise(struct sim *s, int node); /* for one decision of a process */
int64_t sim_clock(const struct sim *s, int node);
/* The request of a job's number; SIZE_MAX when none has it. */
size_t sim_request_of(const struct sim *s, int api, unsigned api_boot, uint64_t job);
struct id sim_boot(const struct sim *s, int node);
unsigned sim_boot_number(const struct id *boot);
/* Of an API's address. */
int sim_node_of(struct sim *s, const char *address);
const char *sim_node_name(int node, char out[24]);

/* ---- net.c ---- */

void net_open(struct sim *s, int from, int to, int64_t up_at_us);
/* Takes data over. What finds no connection is lost; but a worker keeps it for its API. */
void net_send(struct sim *s, int from, int to, uint8_t *data, size_t len);
/* What is under way is lost from some point on; the rest comes late_us later. The connection stands again down_us from now. */
void net_break(struct sim *s, int from, int to, int64_t down_us, int64_t late_us);
void net_partition(struct sim *s, int a, int b, int64_t length_us, bool then_break);
/* Lines that change, and messages that arrive, by now. */
void net_step(struct sim *s);
int64_t net_next_us(const struct sim *s);
/* The process ends: its sockets with it, all that was on its way to them, and what it had kept. */
void net_end(struct sim *s, int node);
/* Hand the next message that has arrived to `take`. False: there is none. */
bool net_receive(struct sim *s, int node, void (*take)(struct sim *s, int node, const struct frame *f));
void net_free(struct sim *s);

/* ---- The processes: started, stepped when something arrived or their time has come, killed ---- */

void api_start(struct sim *s, int node);
void api_step(struct sim *s, int node);
void api_kill(struct sim *s, int node);
void api_leave(struct sim *s, int node, int64_t which);

void worker_start(struct sim *s, int node);
void worker_step(struct sim *s, int node);
void worker_kill(struct sim *s, int node);

void meter_start(struct sim *s);
void meter_step(struct sim *s);
void meter_kill(struct sim *s);

/* ---- arena.c: images that are read where they are staged ---- */

/* The API starts, and ends. */
void arena_open(struct sim *s, int node);
void arena_close(struct sim *s, int node);
bool arena_lend(struct sim *s, int node, const struct dispatch_action *a, const struct request *r, struct wire_job *m);
void arena_take_back(struct sim *s, int node, const struct dispatch_action *a);
void arena_hear(struct sim *s, int node, const struct wire_status *m);
/* The request is over: its body is released, or kept. */
void arena_end(struct sim *s, int node, struct request *r);
/* Links that hung up. */
void arena_look(struct sim *s, int node);
/* A worker heard HELLO; its node, the API's, and the boot it names. */
void arena_meet(struct sim *s, int worker_node, int api, const struct id *api_boot);
void arena_hang_up(struct sim *s, int worker_node, int api);
bool arena_is_readable(struct sim *s, int worker_node, int api, const struct wire_job *m);
bool arena_is_lost(struct sim *s, int worker_node, int api);
/* What an image looks like; and a conversion reads it. */
void arena_draw(uint8_t *image, size_t len, size_t request);
void arena_read(struct sim *s, int worker_node, int api, const struct wire_job *m, size_t request);

/* ---- usage.c: the producer's side ---- */

void producer_start(struct sim *s, int node);
/* Append a record. *epoch and *sequence are its batch's. */
void producer_append(struct sim *s, int node, size_t request, uint64_t *epoch, uint64_t *sequence);
void producer_resolve(struct sim *s, int node, size_t request, bool confirmed);
void producer_ack(struct sim *s, int node, const struct wire_ack *ack);
void producer_step(struct sim *s, int node);
/* What tells of a batch on the wire, but the address for its acknowledgement. */
void batch_header(const struct batch *b, struct wire_usage *m);
int64_t producer_next_us(const struct sim *s, int node);
void producer_free(struct producer *p);

/* ---- judge.c: the invariants, counted independently ---- */

void judge_refused(struct sim *s, int api);
void judge_answered(struct sim *s, size_t request, enum request_state state, bool well);
void judge_failure(struct sim *s, size_t request, enum dispatch_failure failure);
void judge_result(struct sim *s, int api, size_t request, const struct wire_result *m);
void judge_heard(struct sim *s, int api, const struct wire_status *m);
void judge_sent(struct sim *s, size_t request);
void judge_started(struct sim *s, int worker, size_t request);
void judge_status(struct sim *s, int worker, const struct wire_status *m);
void judge_spooled(struct sim *s, size_t request);
void judge_left(struct sim *s, size_t request);
void judge_taken(struct sim *s, const struct batch *batch);
void judge_acked(struct sim *s, const struct wire_ack *ack);
/* After every step. */
void judge_step(struct sim *s);
/* When all is over. */
void judge_end(struct sim *s);

#endif
