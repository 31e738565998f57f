/* SPDX-License-Identifier: MIT */
/* Answers that cannot wait for the end of the request. libmicrohttpd refuses a response while a body comes in, so these are written to the
 * connection's socket, on which nothing of a response was sent yet; then what still comes is read for a while, so that the client sees the answer
 * and not a reset, and the connection ends. */
#ifndef CAVAGE_API_EARLY_H
#define CAVAGE_API_EARLY_H

#include "request.h"

enum { EARLY_LINGER_US = 2 * 1000 * 1000, EARLY_LINGER_BYTES = 64 * 1024 * 1024 };

/* Answer a request that is in HEAD, BODY or DISCARD with `problem` and move it to EXPIRED; its usage record is written first. The
 * connection's lock is held. False: it was answered otherwise. Either thread. */
bool early_answer_locked(struct request *r, const struct problem *problem, int64_t now_us);
/* The same with r->problem, taking the lock. HTTP thread. */
bool early_answer(struct request *r, int64_t now_us);
/* Tell a client that sent no whole request line that it was too slow. The lock is held. */
void early_timeout_locked(struct api *api, struct conn *conn, int64_t now_us);

#endif
