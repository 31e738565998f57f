/* SPDX-License-Identifier: MIT */
/* Sends requests on a schedule over many kept connections, and counts how they went. An open loop: a request is due when the schedule says so,
 * whether or not earlier ones were answered, and its latency counts from then, also when it had to wait for a connection. */
#ifndef LOAD_H
#define LOAD_H

#include "arrivals.h"
#include "load_stats.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LOAD_CONNECTIONS_MAX = 20000, /* when there are as many, the one that is idle longest is closed for a new one */
    LOAD_UNDER_WAY_MAX = 1 << 20  /* requests at once; the schedule ends when there are as many */
};

struct load_image {
    const uint8_t *data;
    size_t len;
};

/* Everything is borrowed until load_run returns. */
struct load_spec {
    const char *host, *port;         /* host without the brackets of an IPv6 address */
    const char *authority;           /* of the Host field */
    const char *path;                /* with the query */
    const char *const *keys;         /* of each customer in `mix` */
    const struct mix *mix;           /* whose the requests are */
    const struct load_image *images; /* one is chosen for each request, each as often as another */
    size_t image_count;
    const struct arrivals *arrivals;             /* where the schedule begins */
    uint64_t most;                               /* requests, the warm-up's included */
    int64_t warm_up_us;                          /* requests due before are sent and not counted */
    int64_t timeout_us;                          /* from when a request is due to the end of its answer */
    unsigned connections;                        /* most of one customer */
    void (*tick)(void *arg, int64_t elapsed_us); /* called ten times a second */
    void *arg;
};

/* Until every request was answered, or failed. SIGINT and SIGTERM end the schedule; a second one ends all at once. `stats` is zeroed but for slo_us
 * and grouped. ERR_NOTFOUND when the host has no address, ERR_NOMEM, ERR_IO. */
int load_run(const struct load_spec *spec, struct load_stats *stats);

#endif
