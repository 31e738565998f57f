/* SPDX-License-Identifier: MIT */
/* Names and help of the worker's metrics. */
#include "worker_metrics.h"

#include "cavage/cluster.h"

static const int64_t wait_edges[] = {100, 300, 1000, 3000, 10000, 30000, 100000, 300000, 1000000, 3000000, 10000000};
static const int64_t convert_edges[] = {1000,   2000,   5000,    10000,   20000,   50000,   100000,
                                        200000, 500000, 1000000, 2000000, 5000000, 10000000};

#define JOBS(outcome, word)       \
    [METRIC_JOBS + (outcome)] = { \
        "cavage_worker_jobs_total", "Jobs by how they ended.", METRIC_COUNTER, "outcome=\"" word "\"", NULL, 0}
#define VIOLATION(what, word)                                                   \
    [METRIC_VIOLATIONS + (what)] = {"cavage_converter_violations_total",        \
                                    "Converters that tried what they may not.", \
                                    METRIC_COUNTER,                             \
                                    "what=\"" word "\"",                        \
                                    NULL,                                       \
                                    0}
#define COUNTER(name, help)                       \
    {                                             \
        name, help, METRIC_COUNTER, NULL, NULL, 0 \
    }
#define GAUGE(name, help)                       \
    {                                           \
        name, help, METRIC_GAUGE, NULL, NULL, 0 \
    }
#define HISTOGRAM(name, help, edges)                                                  \
    {                                                                                 \
        name, help, METRIC_HISTOGRAM, NULL, edges, sizeof(edges) / sizeof((edges)[0]) \
    }

const struct metric_def worker_metrics[WORKER_METRIC_COUNT] = {
    JOBS(OUTCOME_OK, "ok"),
    JOBS(OUTCOME_NOT_STARTED, "not_started"),
    JOBS(OUTCOME_NOT_AN_IMAGE, "not_an_image"),
    JOBS(OUTCOME_UNDECODABLE, "undecodable"),
    JOBS(OUTCOME_TOO_LARGE, "too_large"),
    JOBS(OUTCOME_BAD_REQUEST, "bad_request"),
    JOBS(OUTCOME_CRASHED, "crashed"),
    JOBS(OUTCOME_DEADLINE, "deadline"),
    JOBS(OUTCOME_LOST, "lost"),
    JOBS(OUTCOME_INTERNAL, "internal"),
    [METRIC_JOBS_CANCELLED] =
        COUNTER("cavage_worker_jobs_cancelled_total", "Jobs whose client left or whose API went away."),
    [METRIC_JOBS_WAITING] = GAUGE("cavage_worker_jobs_waiting", "Jobs that wait here for a converter."),
    [METRIC_CONVERTERS_BUSY] = GAUGE("cavage_converters_busy", "Converters at work."),
    [METRIC_CONVERTERS_IDLE] = GAUGE("cavage_converters_idle", "Converters that wait for work."),
    [METRIC_CONVERTERS_STARTED] = COUNTER("cavage_converters_started_total", "Converters forked from the zygote."),
    [METRIC_CONVERTERS_RECYCLED] = COUNTER("cavage_converters_recycled_total",
                                           "Converters replaced for their images, age or memory: worker.recycle_*."),
    [METRIC_CONVERTERS_LOST] =
        COUNTER("cavage_converters_lost_total", "Converters that ended unplanned, for whatever reason."),
    [METRIC_CONVERTERS_KILLED] = COUNTER("cavage_converters_killed_total",
                                         "Converters killed by their worker: at a deadline, for a client that left."),
    [METRIC_CONVERTERS_CRASHED] = COUNTER("cavage_converters_crashed_total",
                                          "Converters that ended by a signal of their own or broke the protocol."),
    VIOLATION(VIOLATION_SYSTEM_CALL, "system_call"),
    VIOLATION(VIOLATION_PROTOCOL, "protocol"),
    VIOLATION(VIOLATION_MEMORY, "memory"),
    VIOLATION(VIOLATION_CPU, "cpu"),
    [METRIC_SANDBOX_MISSING] =
        GAUGE("cavage_sandbox_parts_missing",
              "Parts of the converters' sandbox that this system does not give; 0 when it is whole."),
    [METRIC_MEMORY_CGROUP] =
        GAUGE("cavage_converters_memory_cgroup",
              "1 when a cgroup bounds the memory of all converters, 0 when only the supervisor watches it."),
    [METRIC_ZYGOTES_STARTED] = COUNTER("cavage_zygotes_started_total", "Zygotes started; 1 when all is well."),
    [METRIC_MESSAGES_REFUSED] = COUNTER(
        "cavage_worker_messages_refused_total",
        "Messages that were malformed, meant for another worker, or named an address that they did not come from."),
    [METRIC_RESULTS_DROPPED] = COUNTER("cavage_worker_results_dropped_total",
                                       "Results that could not be sent, and statuses that waited among them."),
    [METRIC_JOBS_LENT] =
        COUNTER("cavage_worker_jobs_lent_total", "Jobs whose image was read in its API's staging arena."),
    [METRIC_ARENAS] = GAUGE("cavage_worker_arenas", "APIs of this host whose staging arena is mapped."),
    CLUSTER_METRICS(METRIC_SEALED, "cavage_sealed_messages_total"),
    [METRIC_WAIT_SECONDS] =
        HISTOGRAM("cavage_worker_wait_seconds", "From a job's arrival here to its begin.", wait_edges),
    [METRIC_CONVERT_SECONDS] =
        HISTOGRAM("cavage_convert_seconds", "Conversion, as the supervisor sees it.", convert_edges),
    [METRIC_CPU_SECONDS] = HISTOGRAM("cavage_convert_cpu_seconds", "CPU time of a conversion.", convert_edges),
};
