/* SPDX-License-Identifier: MIT */
/* One converter as the pool sees it: its process, its channel, its buffers. */
#ifndef CAVAGE_WORKER_SLOT_H
#define CAVAGE_WORKER_SLOT_H

#include "control.h"

#include "cavage/loop.h"

#include <sys/types.h>

/* EMPTY -> STARTING (asked of the zygote) -> IDLE <-> BUSY -> ENDING (killed, or its channel closed) -> EMPTY. A process may end in any
 * state; then, and only then, the slot is emptied. */
enum slot_state { SLOT_EMPTY, SLOT_STARTING, SLOT_IDLE, SLOT_BUSY, SLOT_ENDING };

/* Why the pool killed a converter. */
enum slot_kill { KILL_NONE, KILL_DEADLINE, KILL_PROTOCOL, KILL_RETIRED, KILL_MEMORY, KILL_CPU };

struct slot {
    void *owner; /* the pool */
    unsigned index;
    enum slot_state state;
    uint64_t generation; /* tells a late answer of the zygote from the awaited one */
    pid_t pid;
    int pidfd;
    int channel;
    struct loop_watch *pid_watch;
    struct loop_watch *channel_watch;
    struct loop_timer
        *timer; /* STARTING: the patience with the zygote; BUSY: the deadline; ENDING: the patience with it */
    uint8_t *input;
    uint8_t *output;
    size_t input_bytes, output_bytes;
    size_t input_used, output_used; /* to be wiped */
    unsigned jobs;
    int64_t born_us;
    unsigned reap_tries;
    enum slot_kill kill;
    uint64_t nonce;                     /* of the job */
    const void *job;                    /* the pool_job of a busy converter; kept while it is being killed */
    bool adopted;                       /* this process is its parent */
    int64_t started_us, cpu_started_us; /* BUSY: of the job; IDLE: of the idleness */
};

/* Make buffers and channel; *fds gets what the converter needs, in the order channel, input, output. The caller closes them. */
int slot_prepare(struct slot *s, size_t input_bytes, size_t output_bytes, int fds[CONTROL_FDS_MAX]);
/* Release process, channel and buffers, whatever there is. */
void slot_clear(struct slot *s);
/* Wipe what the last job left in the buffers, and give big ones back to the kernel. */
void slot_wipe(struct slot *s);

/* CPU time of the process so far; 0 when it cannot be told. */
int64_t slot_cpu_us(const struct slot *s);
/* Private memory of the process, as the kernel counts it; 0 when it cannot be told. */
uint64_t slot_private_bytes(const struct slot *s);
/* Reap the process. ERR_AGAIN: it lives; ERR_NOTFOUND: it is not this process's child, or not yet. *cpu_us gets its whole CPU time. */
int slot_reap(struct slot *s, int *status, int64_t *cpu_us);
/* Whether it is this process's child by now, and not that of the process in between. */
bool slot_is_child(struct slot *s);
/* Whether the converter said something that has not been read. */
bool slot_has_said(const struct slot *s);
void slot_kill(const struct slot *s);

#endif
