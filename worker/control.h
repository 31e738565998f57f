/* SPDX-License-Identifier: MIT */
/* What supervisor, zygote and converters say to each other over SOCK_SEQPACKET pairs. Same program, same build: plain structs, of exact size. */
#ifndef CAVAGE_WORKER_CONTROL_H
#define CAVAGE_WORKER_CONTROL_H

#include "convert.h"

#include "cavage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { CONTROL_FD = 3, CONTROL_FDS_MAX = 3 };

/* Supervisor to zygote: make a converter. With it go its channel and the memfds of its input and output. */
struct control_spawn {
    uint32_t slot;
    uint32_t test; /* 1: act out what tests ask for */
    uint64_t generation;
    uint64_t input_bytes;
    uint64_t output_bytes;
    uint64_t memory_bytes; /* bound of its private address space; 0: none */
};

/* The answer. With it goes the converter's pidfd, unless pid is 0: it could not be forked. */
struct control_spawned {
    uint32_t slot;
    pid_t pid;
    uint64_t generation;
    uint32_t missing; /* parts of the sandbox; struct sandbox */
};

/* Supervisor to converter: the image is in the input. */
struct control_job {
    uint32_t operation;   /* enum operation */
    uint32_t act;         /* enum act */
    uint32_t sleep_us;    /* of ACT_SLEEP */
    uint32_t adopted;     /* 1: the supervisor is the parent by now, not the process in between */
    uint32_t deadline_ms; /* after which the converter ends itself, should the supervisor be gone */
    uint32_t outputs;     /* how many are asked for */
    uint64_t nonce;       /* of this job; its answer repeats it, so that none can be made beforehand */
    uint64_t len;
    struct limits limits;
    char request[WIRE_REQUEST_SIZE];
};

/* Converter to supervisor, once for each job: nothing in it is believed unchecked. */
struct control_answer {
    uint32_t outcome; /* enum outcome */
    uint32_t detail;  /* enum convert_detail */
    uint64_t nonce;
    uint64_t len;
    uint64_t limit_value, actual_value;
    struct convert_info info;
    uint32_t failed_output;
    uint32_t output_count;
    struct convert_output outputs[WIRE_OUTPUTS_MAX]; /* of renditions, within len */
};

/* Send one message with up to CONTROL_FDS_MAX descriptors, without waiting. ERR_AGAIN, ERR_CLOSED, ERR_IO. */
int control_send(int fd, const void *message, size_t len, const int *fds, size_t fd_count);

/* Receive a message of exactly len bytes and at most max_fds descriptors (close-on-exec; the caller's afterwards). ERR_AGAIN (flags with
 * MSG_DONTWAIT), ERR_CLOSED: the other end is gone, ERR_INVALID: another length or too many descriptors, which are closed. */
int control_recv(int fd, void *message, size_t len, int flags, int *fds, size_t max_fds, size_t *fd_count);

#endif
