/* SPDX-License-Identifier: MIT */
/* The table of series, and the few places where they are counted. */
#include "metrics.h"

#include "api.h"
#include "overload.h"
#include "pipeline.h"

#include "cavage/clock.h"
#include "cavage/cluster.h"
#include "cavage/log.h"

static const int64_t duration_edges_us[] = {5000,   10000,  25000,  50000,  75000,   100000,  150000,  200000,
                                            300000, 400000, 500000, 750000, 1000000, 2500000, 5000000, 10000000};
static const int64_t wait_edges_us[] = {100,   250,   500,    1000,   2500,   5000,    10000,
                                        25000, 50000, 100000, 250000, 500000, 1000000, 5000000};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define COUNTER(n, h)                       \
    {                                       \
        n, h, METRIC_COUNTER, NULL, NULL, 0 \
    }
#define GAUGE(n, h)                       \
    {                                     \
        n, h, METRIC_GAUGE, NULL, NULL, 0 \
    }
#define GAUGE_US(n, h)                       \
    {                                        \
        n, h, METRIC_GAUGE_US, NULL, NULL, 0 \
    }
#define HISTOGRAM(n, h, l, e)                  \
    {                                          \
        n, h, METRIC_HISTOGRAM, l, e, COUNT(e) \
    }
#define REQUESTS(o, s)                                                                                   \
    {                                                                                                    \
        "cavage_requests_total", "Requests answered, by operation and class of status.", METRIC_COUNTER, \
            "operation=\"" o "\",status=\"" s "\"", NULL, 0                                              \
    }
#define REFUSAL(name)                                                                              \
    {                                                                                              \
        "cavage_refusals_total", "Requests answered with a problem, by its name.", METRIC_COUNTER, \
            "reason=\"" name "\"", NULL, 0                                                         \
    }
#define CHECK(name)                                                                                                \
    {                                                                                                              \
        "cavage_admission_refusals_total", "Requests refused with 429 or 503, by what was short.", METRIC_COUNTER, \
            "check=\"" name "\"", NULL, 0                                                                          \
    }
#define LANE_GAUGE_US(n, h, lane)                           \
    {                                                       \
        n, h, METRIC_GAUGE_US, "lane=\"" lane "\"", NULL, 0 \
    }
#define FORECAST_WAIT(lane)                       \
    LANE_GAUGE_US("cavage_forecast_wait_seconds", \
                  "How long a job of mean cost would wait, of a customer with no other.", lane)
#define SERVICE_P99(lane) LANE_GAUGE_US("cavage_service_p99_seconds", "What one conversion in a hundred exceeds.", lane)
#define COST_RATIO(format)                                                                                      \
    {                                                                                                           \
        "cavage_cost_ratio", "CPU of conversions beside the first estimate, by input format.", METRIC_GAUGE_US, \
            "format=\"" format "\"", NULL, 0                                                                    \
    }
#define DURATION(o)                                                                                             \
    HISTOGRAM("cavage_request_duration_seconds", "From the request line to the answer, for admitted requests.", \
              "operation=\"" o "\"", duration_edges_us)

const struct metric_def api_metric_defs[API_METRICS] = {
    [API_REQUESTS + 0] = REQUESTS("resize", "2xx"),
    [API_REQUESTS + 1] = REQUESTS("resize", "4xx"),
    [API_REQUESTS + 2] = REQUESTS("resize", "5xx"),
    [API_REQUESTS + 3] = REQUESTS("info", "2xx"),
    [API_REQUESTS + 4] = REQUESTS("info", "4xx"),
    [API_REQUESTS + 5] = REQUESTS("info", "5xx"),
    [API_REQUESTS + 6] = REQUESTS("other", "2xx"),
    [API_REQUESTS + 7] = REQUESTS("other", "4xx"),
    [API_REQUESTS + 8] = REQUESTS("other", "5xx"),
    [API_REQUESTS + 9] = REQUESTS("renditions", "2xx"),
    [API_REQUESTS + 10] = REQUESTS("renditions", "4xx"),
    [API_REQUESTS + 11] = REQUESTS("renditions", "5xx"),
    [API_DURATION_RESIZE] = DURATION("resize"),
    [API_DURATION_INFO] = DURATION("info"),
    [API_DURATION_RENDITIONS] = DURATION("renditions"),
    [API_QUEUE_WAIT] = HISTOGRAM("cavage_queue_wait_seconds", "From the end of the body until a converter had the job.",
                                 NULL, wait_edges_us),
    [API_REFUSALS + 0] = REFUSAL("bad_framing"),
    [API_REFUSALS + 1] = REFUSAL("bad_parameter"),
    [API_REFUSALS + 2] = REFUSAL("bad_body"),
    [API_REFUSALS + 3] = REFUSAL("empty_body"),
    [API_REFUSALS + 4] = REFUSAL("unauthorized"),
    [API_REFUSALS + 5] = REFUSAL("wrong_key"),
    [API_REFUSALS + 6] = REFUSAL("suspended"),
    [API_REFUSALS + 7] = REFUSAL("not_found"),
    [API_REFUSALS + 8] = REFUSAL("method_not_allowed"),
    [API_REFUSALS + 9] = REFUSAL("request_timeout"),
    [API_REFUSALS + 10] = REFUSAL("length_required"),
    [API_REFUSALS + 11] = REFUSAL("body_too_large"),
    [API_REFUSALS + 12] = REFUSAL("not_an_image"),
    [API_REFUSALS + 13] = REFUSAL("undecodable"),
    [API_REFUSALS + 14] = REFUSAL("image_too_large"),
    [API_REFUSALS + 15] = REFUSAL("poison"),
    [API_REFUSALS + 16] = REFUSAL("rate_limited"),
    [API_REFUSALS + 17] = REFUSAL("share_used"),
    [API_REFUSALS + 18] = REFUSAL("internal"),
    [API_REFUSALS + 19] = REFUSAL("overloaded"),
    [API_REFUSALS + 20] = REFUSAL("draining"),
    [API_REFUSALS + 21] = REFUSAL("not_ready"),
    [API_REFUSALS + 22] = REFUSAL("lost"),
    [API_REFUSALS + 23] = REFUSAL("deadline"),
    [API_REFUSALS + 24] = REFUSAL("not_acceptable"),
    [API_CHECKS + CHECK_CONNECTIONS - 1] = CHECK("connections"),
    [API_CHECKS + CHECK_CUSTOMER_CONNECTIONS - 1] = CHECK("customer_connections"),
    [API_CHECKS + CHECK_MEMORY - 1] = CHECK("memory"),
    [API_CHECKS + CHECK_CUSTOMER_MEMORY - 1] = CHECK("customer_memory"),
    [API_CHECKS + CHECK_RATE - 1] = CHECK("rate"),
    [API_CHECKS + CHECK_SPOOL - 1] = CHECK("spool"),
    [API_CHECKS + CHECK_QUEUE - 1] = CHECK("queue"),
    [API_CHECKS + CHECK_CUSTOMER_QUEUE - 1] = CHECK("customer_queue"),
    [API_CHECKS + CHECK_WORKERS - 1] = CHECK("workers"),
    [API_CHECKS + CHECK_WAIT_SMALL - 1] = CHECK("wait"),
    [API_CHECKS + CHECK_WAIT_LARGE - 1] = CHECK("large_wait"),
    [API_POISON_REFUSED] =
        COUNTER("cavage_poison_refused_total", "Requests refused because their image had ended two converters before."),
    [API_CLIENTS_GONE] = COUNTER("cavage_clients_gone_total", "Clients that left while their job waited or ran."),
    [API_CONNECTIONS_REFUSED] =
        COUNTER("cavage_connections_refused_total", "Connections refused because all were busy."),
    [API_CONNECTIONS_CLOSED_IDLE] =
        COUNTER("cavage_connections_closed_idle_total", "Idle connections closed to make room."),
    [API_CONNECTIONS] = GAUGE("cavage_connections", "Open connections."),
    [API_IN_FLIGHT] = GAUGE("cavage_requests_in_flight", "Admitted jobs that wait or run."),
    [API_STAGED_BYTES] = GAUGE("cavage_staged_bytes", "Bytes of request bodies in the staging arena."),
    [API_LENT_BYTES] =
        GAUGE("cavage_staged_lent_bytes", "Of them, bytes of requests that are over, which a worker may still read."),
    [API_ARENA_READERS] = GAUGE("cavage_arena_readers", "Workers of this host that can read the staging arena."),
    [API_QUEUED] = GAUGE("cavage_jobs_queued", "Jobs that wait for a worker."),
    [API_SENT] = GAUGE("cavage_jobs_sent", "Jobs that a worker has."),
    [API_WORKERS] = GAUGE("cavage_workers_up", "Workers that are connected, and were heard within the last second."),
    [API_SLOTS] = GAUGE("cavage_converters", "Converters of the workers that are up."),
    [API_BUSY] = GAUGE("cavage_converters_busy", "Converters at work."),
    [API_CAPACITY] = GAUGE_US("cavage_capacity_converters", "Of them, this server's part, by the credit it has."),
    [API_FORECAST_WAIT + LANE_SMALL] = FORECAST_WAIT("small"),
    [API_FORECAST_WAIT + LANE_LARGE] = FORECAST_WAIT("large"),
    [API_SERVICE_P99 + LANE_SMALL] = SERVICE_P99("small"),
    [API_SERVICE_P99 + LANE_LARGE] = SERVICE_P99("large"),
    [API_COST_RATIO + IMAGE_UNKNOWN] = COST_RATIO("unknown"),
    [API_COST_RATIO + IMAGE_JPEG] = COST_RATIO("jpeg"),
    [API_COST_RATIO + IMAGE_PNG] = COST_RATIO("png"),
    [API_COST_RATIO + IMAGE_WEBP] = COST_RATIO("webp"),
    [API_COST_RATIO + IMAGE_AVIF] = COST_RATIO("avif"),
    [API_COST_RATIO + IMAGE_GIF] = COST_RATIO("gif"),
    [API_COST_RATIO + IMAGE_TIFF] = COST_RATIO("tiff"),
    [API_COST_RATIO + IMAGE_SVG] = COST_RATIO("svg"),
    [API_REQUEUED] = COUNTER("cavage_jobs_requeued_total",
                             "Jobs queued again after their worker was lost, or lost them, or their converter ended."),
    [API_JOBS_HEDGED] = COUNTER("cavage_jobs_hedged_total", "Jobs of which a second copy was sent."),
    [API_RETRIES_DENIED] = COUNTER("cavage_retries_denied_total", "Lost jobs that were not tried again."),
    [API_LATE_RESULTS] = COUNTER("cavage_late_results_total", "Results of jobs that were answered already."),
    [API_STALE_MESSAGES] = COUNTER("cavage_stale_messages_total", "Messages of workers that were replaced."),
    [API_LOST_PEERS] = COUNTER("cavage_workers_lost_total", "Times a worker was lost."),
    [API_BAD_MESSAGES] = COUNTER("cavage_bad_messages_total", "Messages of workers that could not be read."),
    [API_JOBS_LENT] = COUNTER("cavage_jobs_lent_total",
                              "Jobs that went to a worker without their image: it reads the staging arena."),
    [API_ARENA_REFUSED] = COUNTER("cavage_arena_refused_total",
                                  "Processes that asked for the staging arena, or had it, and were refused."),
    CLUSTER_METRICS(API_SEALED, "cavage_sealed_messages_total"),
    CLUSTER_METRICS(API_SEALED_ACKS, "cavage_sealed_acks_total"),
    [API_USAGE_RECORDS] = COUNTER("cavage_usage_records_total", "Usage records written to the spool."),
    [API_USAGE_BYTES] = GAUGE("cavage_usage_spool_bytes", "Usage that the meter has not acknowledged."),
    [API_USAGE_OLDEST] = GAUGE_US("cavage_usage_oldest_unacknowledged_seconds",
                                  "Age of the oldest usage that the meter has not acknowledged."),
    [API_USAGE_GAPS] = COUNTER("cavage_usage_gaps_total", "Times usage was lost between spool and meter."),
    [API_USAGE_LOST] = COUNTER("cavage_usage_records_lost_total", "Usage records that could not be written."),
    [API_AUTH_LAG] = GAUGE_US("cavage_auth_lag_seconds",
                              "How long ago the auth cache last agreed with the authority; -1: it has no snapshot."),
    [API_LOG_LOST] = COUNTER("cavage_log_lines_lost_total", "Log lines dropped because stderr did not drain."),
};

/* The place of each route among the operations, and its duration. */
static const struct {
    size_t requests, duration;
} operations[ROUTE_COUNT] = {
    [ROUTE_NONE] = {2, API_DURATION_RESIZE},  [ROUTE_RESIZE] = {0, API_DURATION_RESIZE},
    [ROUTE_INFO] = {1, API_DURATION_INFO},    [ROUTE_HEALTH] = {2, API_DURATION_RESIZE},
    [ROUTE_READY] = {2, API_DURATION_RESIZE}, [ROUTE_RENDITIONS] = {3, API_DURATION_RENDITIONS},
};

void metrics_answered(const struct request *r, enum problem_type type, int64_t now_us)
{
    struct metrics *m = r->api->daemon->metrics;
    unsigned status = problem_status(type);
    size_t group = status < 400 ? 0 : (status < 500 ? 1 : 2);
    metrics_add(m, API_REQUESTS + operations[r->parsed.route].requests * 3 + group, 1);
    if (type != PROBLEM_NONE)
        metrics_add(m, API_REFUSALS + (size_t)type - 1, 1);
    if (type != PROBLEM_NONE && r->refused_by != CHECK_NONE)
        metrics_add(m, API_CHECKS + (size_t)r->refused_by - 1, 1);
    if (!r->admitted)
        return;
    metrics_observe(m, operations[r->parsed.route].duration, now_us - r->started_us);
}

/* A counter that is kept elsewhere. */
static void follow(struct metrics *m, size_t index, uint64_t value)
{
    metrics_add(m, index, (int64_t)value - metrics_get(m, index));
}

static void update_usage(struct api *api, struct metrics *m)
{
    struct spool_stats spool;
    spool_stats(api->spool, &spool);
    follow(m, API_USAGE_RECORDS, spool.records);
    follow(m, API_USAGE_GAPS, spool.gaps);
    for (size_t i = 0; i < SEAL_VERDICTS; i++)
        follow(m, API_SEALED_ACKS + i, spool.acks[i]);
    metrics_set(m, API_USAGE_BYTES, (int64_t)spool.bytes);
    metrics_set(m, API_USAGE_OLDEST, spool.oldest_unacked_us);
}

static void update_auth(struct api *api, struct metrics *m)
{
    struct auth_head head;
    bool known = authdb_head(api->authdb, &head) == 0 && head.complete;
    metrics_set(m, API_AUTH_LAG, known ? clock_wall_us() - head.synced_us : -1000000);
}

/* Gauges that are exposed in seconds are kept in millionths, whatever their unit. */
static void update_forecast(struct api *api, struct metrics *m)
{
    struct admission_stats stats;
    int64_t permille[IMAGE_FORMAT_COUNT];
    overload_stats(api->overload, &stats);
    overload_ratios(api->overload, permille);
    for (size_t lane = 0; lane < LANES; lane++) {
        metrics_set(m, API_FORECAST_WAIT + lane, stats.wait_us[lane]);
        metrics_set(m, API_SERVICE_P99 + lane, stats.service_us[lane]);
    }
    for (size_t i = 0; i < IMAGE_FORMAT_COUNT; i++)
        metrics_set(m, API_COST_RATIO + i, permille[i] * 1000);
}

static void update_lending(struct api *api, struct metrics *m)
{
    struct lending_stats stats;
    pipeline_lending_stats(api->pipeline, &stats);
    metrics_set(m, API_LENT_BYTES, (int64_t)stats.kept_bytes);
    metrics_set(m, API_ARENA_READERS, (int64_t)stats.readers);
}

void metrics_update(struct api *api, const struct dispatch_stats *stats)
{
    struct metrics *m = api->daemon->metrics;
    metrics_set(m, API_CONNECTIONS, (int64_t)conns_live(api->conns));
    metrics_set(m, API_STAGED_BYTES, (int64_t)extents_used_bytes(api->extents));
    update_lending(api, m);
    metrics_set(m, API_QUEUED, (int64_t)stats->queued);
    metrics_set(m, API_SENT, (int64_t)stats->sent);
    metrics_set(m, API_IN_FLIGHT, (int64_t)(stats->queued + stats->sent));
    metrics_set(m, API_WORKERS, (int64_t)stats->peers_up);
    metrics_set(m, API_SLOTS, stats->slots);
    metrics_set(m, API_CAPACITY, (int64_t)stats->own_slots_milli * 1000); /* shown in seconds, so in millionths */
    metrics_set(m, API_BUSY, stats->busy);
    follow(m, API_REQUEUED, stats->requeued);
    follow(m, API_JOBS_HEDGED, stats->hedged);
    follow(m, API_RETRIES_DENIED, stats->retries_denied);
    follow(m, API_LATE_RESULTS, stats->late_results);
    follow(m, API_STALE_MESSAGES, stats->stale_messages);
    follow(m, API_LOST_PEERS, stats->lost_peers);
    follow(m, API_LOG_LOST, log_lost());
    update_forecast(api, m);
    update_usage(api, m);
    update_auth(api, m);
}
