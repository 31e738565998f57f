/* SPDX-License-Identifier: MIT */
/* What converters act out instead of converting, in --test mode only: failures, and tries to break out. */
#ifndef CAVAGE_WORKER_ACT_H
#define CAVAGE_WORKER_ACT_H

#include "control.h"

enum act {
    ACT_CONVERT, /* nothing is acted out */
    ACT_SLEEP,
    ACT_CRASH,
    ACT_HANG,
    ACT_EXIT,
    ACT_BABBLE,
    /* A converter that was taken over. */
    ACT_OPEN,
    ACT_CONNECT,
    ACT_SOCKET,
    ACT_EXEC,
    ACT_FORK,
    ACT_THREADS,
    ACT_PTRACE,
    ACT_KILL,
    ACT_SIBLINGS,
    ACT_MEMORY,
    ACT_SHARED,
    ACT_CODE,
    ACT_LOOP,
    ACT_RESIZE,
    ACT_GARBAGE,
    ACT_SMUGGLE,
    ACT_LIES,
    ACT_ENDLESS,
    ACT_COUNT
};

/* Bytes of the longest order. */
enum { ACT_ORDER_MAX = 32 };

/* The act that data ask for by beginning or ending with "CVGTEST WORD"; ACT_CONVERT when they do not. */
enum act act_find(const uint8_t *data, size_t len);

/* In the converter. Returns when the try did no harm to it: the answer then is OK with a PNG of one pixel, unless the act made another. */
void act_out(enum act act, int channel, const struct control_job *job, uint8_t *output, size_t output_bytes,
             struct control_answer *answer);

#endif
