/* SPDX-License-Identifier: MIT */
/* Many POSTs to one URL, several at a time, tried again when the server asks for patience. */
#ifndef TRANSFER_H
#define TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRANSFER_PARALLEL_MAX = 64, TRANSFER_TRIES = 6, TRANSFER_ANSWER_MAX = 256 << 20 };

/* The answer to one body. Borrowed by the callback. */
struct transfer_answer {
    long status;       /* 0: no answer came; then `error` says why */
    const char *error; /* one sentence */
    const uint8_t *body;
    size_t len;
};

struct transfer_spec {
    const char *url;
    const char *key;    /* of the Authorization header; NULL: none */
    const char *accept; /* the Accept header */
    size_t count;
    unsigned parallel; /* 1 .. TRANSFER_PARALLEL_MAX */
    /* Load the body of number `index`: malloc'ed, taken over. NULL: skip it. */
    uint8_t *(*load)(void *arg, size_t index, size_t *len);
    /* Each loaded one gets exactly one answer. */
    void (*answered)(void *arg, size_t index, const struct transfer_answer *answer);
    /* Called several times a second; false ends all at once. */
    bool (*tick)(void *arg);
    void *arg;
};

/* Run them all. 503, 429 and lost connections are tried again, with one Idempotency-Key for all tries of a body. ERR_CLOSED when tick said to
 * stop, ERR_NOMEM, ERR_INTERNAL. */
int transfer_run(const struct transfer_spec *spec);

#endif
