/* SPDX-License-Identifier: MIT */
/* What the parts of cavage-api share: settings, the resources each part was given, and two words about the drain. */
#ifndef CAVAGE_API_API_H
#define CAVAGE_API_API_H

#include "cavage/authdb.h"
#include "cavage/daemon.h"
#include "cavage/extents.h"
#include "cavage/key.h"
#include "cavage/limits.h"
#include "cavage/spool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct conns;
struct admission;
struct metering;
struct overload;
struct pipeline;
struct poisoned;
struct http;
struct listener;
struct watchdog;
struct drain;

/* Read once from the configuration. */
struct settings {
    int64_t request_deadline_us;
    int64_t keepalive_us;
    int64_t send_deadline_us;
    int64_t discard_us;
    int64_t drain_us;
    int64_t drain_delay_us;
    uint64_t discard_bytes;
    uint64_t max_body_bytes; /* the configured bound, or what a customer can stage if that is less; see api.longest */
    struct limits limits;
    uint64_t max_output_bytes; /* of any format */
    size_t max_connections;
    size_t customer_connections; /* of them, for requests in progress of one customer */
    size_t max_queued;
    unsigned threads;
};

/* The program. Pointers are set at start, before other threads run, and stay until stop. */
struct api {
    struct daemon *daemon;
    struct settings settings;
    struct extents *extents;
    struct authdb *authdb;
    struct spool *spool;
    struct conns *conns;
    struct overload *overload;
    struct admission *admission;
    struct metering *metering;
    struct pipeline *pipeline;
    _Atomic uint64_t longest; /* body taken now, in bytes: settings.max_body_bytes, or less if a worker takes less */
    struct poisoned *poisoned;
    struct http *http;
    struct listener *listener;
    struct watchdog *watchdog;
    struct drain *drain;
    struct key_pepper pepper; /* valid once has_pepper is set */
    atomic_bool has_pepper;
    int pepper_err;           /* why it could not be read last time; the loop's */
    const char *not_ready;    /* what was logged last; the loop's */
    bool was_ready;           /* once at least; the loop's */
    atomic_bool draining;     /* the stop was asked for: not ready any more */
    atomic_bool closing;      /* nothing is accepted any more: connections end with their next answer */
    atomic_bool refusing;     /* the drain's time is over: no request is admitted */
    uint8_t customer_key[16]; /* for the numbers that stand for customers inside this process */
};

#endif
