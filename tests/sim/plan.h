/* SPDX-License-Identifier: MIT */
/* A history before it is played: who takes part, the requests that come, and the faults. It follows from a seed, can be cut down, and be written
 * to a file and read back. */
#ifndef CAVAGE_SIM_PLAN_H
#define CAVAGE_SIM_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { APIS_MAX = 3, WORKERS_MAX = 4, SLOTS_MAX = 4, CUSTOMERS = 5, PLAN_INPUTS_MAX = 8192 };

/* Processes by number: APIs, workers, the meter. */
enum { FIRST_WORKER = APIS_MAX, METER = APIS_MAX + WORKERS_MAX, NODES = METER + 1 };

enum input_kind {
    INPUT_REQUEST,   /* at node: x service_us, y time to its deadline_us, z bytes, w customer */
    INPUT_LEAVE,     /* at node: the client of its open request number x, modulo their count, goes */
    INPUT_KILL,      /* node, for x us */
    INPUT_BREAK,     /* the connection from node to peer, for x us; y: late_us of what is not lost */
    INPUT_LOSE,      /* the next x messages from node to peer vanish */
    INPUT_PARTITION, /* node and peer, for x us; y: 1: the connection breaks at its end */
    INPUT_PAUSE,     /* node, for x us */
    INPUT_DRAIN,     /* node: a worker; it is started again x us after it ended */
    INPUT_SLOTS,     /* node: a worker; x slots from now on */
    INPUT_JUMP,      /* node: its monotonic clock leaps x us ahead */
    INPUT_WALL,      /* node: its time of day is set x us ahead, or back */
    INPUT_SLOW,      /* node: a worker; conversions take y times as long for x us */
    INPUT_KINDS
};

enum { REQUEST_POISON = 1, REQUEST_MUST_SUCCEED = 2, REQUEST_LARGE = 4 };

struct input {
    int64_t at_us;
    uint32_t id; /* stays when others are cut away: what is drawn for it hangs on this */
    enum input_kind kind;
    int node, peer;
    int64_t x, y, z, w;
    unsigned flags; /* of a REQUEST */
};

struct plan {
    uint64_t seed;
    int apis, workers;
    int slots[WORKERS_MAX];
    int fifo;
    int max_queued, customer_queued;
    int arena_extents;
    int retry_percent;
    int target_ms; /* of admission, for small images */
    /* Until quiet_us, in thousandths of what could be hit. */
    int loss, duplicates, slow_messages, bad_outcomes, refused_sends;
    int64_t quiet_us;    /* from here on nothing goes wrong by chance */
    int64_t patience_us; /* within which what must succeed does */
    int64_t end_us;
    size_t count;
    struct input inputs[PLAN_INPUTS_MAX]; /* by time */
};

/* Even seeds make a gentle history: one thing goes wrong, and every request must be answered well. Odd ones make a wild one: much goes wrong, then it
 * is quiet, and from some time on every request must be answered well again. */
void plan_make(uint64_t seed, struct plan *p);

void plan_write(const struct plan *p, FILE *out);
/* False: not a plan; *line is the one that is wrong. */
bool plan_read(FILE *in, struct plan *p, int *line);

const char *input_name(enum input_kind kind);

#endif
