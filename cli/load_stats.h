/* SPDX-License-Identifier: MIT */
/* What a load tool counts, and how it tells it. */
#ifndef LOAD_STATS_H
#define LOAD_STATS_H

#include "histogram.h"
#include "http_answer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Why a request got no answer. */
enum load_failure {
    LOAD_TIMEOUT,   /* none within the time-out, which begins when the request was due */
    LOAD_CONNECT,   /* no connection could be made */
    LOAD_CLOSED,    /* the connection broke before the answer was complete */
    LOAD_MALFORMED, /* the answer is not HTTP */
    LOAD_FAILURES
};
extern const char *const load_failure_names[LOAD_FAILURES];

enum { LOAD_STATUS_MAX = 600, LOAD_REASONS_MAX = 32, LOAD_REASON_SIZE = 48 };

/* How requests of some customers went. Latencies are µs from the time when a request was due. */
struct load_group {
    uint64_t sent, ok, in_time, refused, failed;
    struct histogram latency; /* of the answers 200 */
};

struct load_stats {
    int64_t slo_us;
    bool grouped;                /* customers differ: groups tells them apart */
    struct load_group all;       /* every request that counts */
    struct load_group groups[2]; /* those of the first customer; those of the others */
    struct histogram refused_latency;
    uint64_t status[LOAD_STATUS_MAX];
    uint64_t failure[LOAD_FAILURES];
    struct load_reason {
        char name[LOAD_REASON_SIZE];
        uint64_t count;
    } reasons[LOAD_REASONS_MAX]; /* of refusals: the end of the problem's type, or the status */
    struct histogram timing[HTTP_TIMING_COUNT];
    uint64_t bytes_sent, bytes_received; /* of bodies, of requests that were answered */
    /* The tool itself. */
    struct histogram late; /* when a request was given to a connection, or to wait for one, after it was due */
    struct histogram held; /* how long requests waited for a connection, those that did */
    uint64_t connections;  /* made */
    uint64_t warm;         /* requests of the warm-up, which count nowhere else */
    int64_t measured_us;   /* of the schedule, without the warm-up */
    bool cut;              /* the schedule was ended early */
};

/* One of `first` is of the first customer. */
void load_stats_sent(struct load_stats *stats, bool first);
void load_stats_failed(struct load_stats *stats, bool first, enum load_failure failure);
void load_stats_answered(struct load_stats *stats, bool first, const struct http_answer *answer, size_t body_bytes,
                         int64_t latency_us);

/* What was asked for, and what the run was. */
struct load_summary {
    const char *url, *arrivals, *mix;
    double from_per_s, to_per_s;
    uint64_t seed;
    size_t customers;
    double cpu_s, wall_s; /* of this process */
};

/* True when the tool did not keep to its schedule, so that the figures tell of it more than of the service. */
bool load_stats_behind(const struct load_stats *stats);

/* For people, or as one JSON object. ERR_NOMEM. */
int load_stats_print(const struct load_stats *stats, const struct load_summary *summary, bool json);

#endif
