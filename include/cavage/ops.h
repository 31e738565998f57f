/* SPDX-License-Identifier: MIT */
/* The operations listener of a daemon: /metrics, /healthz, /readyz over HTTP, on a thread of its own. */
#ifndef CAVAGE_OPS_H
#define CAVAGE_OPS_H

#include "cavage/net.h"

#include <stdatomic.h>
#include <stdbool.h>

struct metrics;
struct ops;

/* What the listener shows. The pointers must outlive the listener. */
struct ops_config {
    const char *listen; /* "host:port"; port 0 takes a free one; loopback unless the operator says otherwise */
    struct metrics *metrics;
    const atomic_bool *ready;   /* /readyz answers 200 or 503 by it */
    void (*refresh)(void *arg); /* called before each /metrics on the listener's thread; may be NULL */
    void *arg;
};

/* ERR_INVALID for a malformed address, ERR_EXISTS when the port is taken, ERR_DENIED, ERR_NOMEM, ERR_IO. */
int ops_start(const struct ops_config *config, struct ops **out);
/* Ends the thread; ops may be NULL. */
void ops_stop(struct ops *ops);
/* "http://127.0.0.1:9180", as bound. Lives as long as ops. */
const char *ops_url(const struct ops *ops);

#endif
