/* SPDX-License-Identifier: MIT */
/* Which of our paths a request target names, and which methods that path takes. Pure. */
#ifndef CAVAGE_API_ROUTE_H
#define CAVAGE_API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

enum route {
    ROUTE_NONE, /* no such path */
    ROUTE_RESIZE,
    ROUTE_INFO,
    ROUTE_HEALTH,
    ROUTE_READY,
    ROUTE_RENDITIONS,
    ROUTE_COUNT
};

struct target {
    enum route route;
    const char *query; /* in the target, after the question mark; "" when there is none */
    size_t query_len;
};

/* Read a raw request target, in origin form or in absolute form with http. Paths are compared byte by byte, without decoding. */
void route_parse(const char *raw, struct target *out);

bool route_takes(enum route route, const char *method);
/* The value of Allow: "GET, HEAD". */
const char *route_allow(enum route route);
/* "resize", "info", "renditions", "health", "ready"; "none". For records and metrics. */
const char *route_name(enum route route);

#endif
