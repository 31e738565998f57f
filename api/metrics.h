/* SPDX-License-Identifier: MIT */
/* The series that cavage-api exposes. */
#ifndef CAVAGE_API_METRICS_H
#define CAVAGE_API_METRICS_H

#include "request.h"

#include "cavage/dispatch.h"
#include "cavage/metrics.h"
#include "cavage/seal.h"

enum api_metric {
    API_REQUESTS, /* operation x status class; see metrics_requests_index */
    API_REQUESTS_LAST = API_REQUESTS + 4 * 3 - 1,
    API_DURATION_RESIZE,
    API_DURATION_INFO,
    API_DURATION_RENDITIONS,
    API_QUEUE_WAIT,
    API_REFUSALS, /* by problem, from the first one */
    API_REFUSALS_LAST = API_REFUSALS + PROBLEM_COUNT - 2,
    API_CHECKS, /* by what was short, from the first one */
    API_CHECKS_LAST = API_CHECKS + CHECK_COUNT - 2,
    API_POISON_REFUSED,
    API_CLIENTS_GONE,
    API_CONNECTIONS_REFUSED,
    API_CONNECTIONS_CLOSED_IDLE,
    API_CONNECTIONS,
    API_IN_FLIGHT,
    API_STAGED_BYTES,
    API_LENT_BYTES,
    API_ARENA_READERS,
    API_QUEUED,
    API_SENT,
    API_WORKERS,
    API_SLOTS,
    API_BUSY,
    API_CAPACITY,
    API_FORECAST_WAIT, /* by lane */
    API_FORECAST_WAIT_LAST = API_FORECAST_WAIT + LANES - 1,
    API_SERVICE_P99, /* by lane */
    API_SERVICE_P99_LAST = API_SERVICE_P99 + LANES - 1,
    API_COST_RATIO, /* by format */
    API_COST_RATIO_LAST = API_COST_RATIO + IMAGE_FORMAT_COUNT - 1,
    API_REQUEUED,
    API_JOBS_HEDGED,
    API_RETRIES_DENIED,
    API_LATE_RESULTS,
    API_STALE_MESSAGES,
    API_LOST_PEERS,
    API_BAD_MESSAGES,
    API_JOBS_LENT,
    API_ARENA_REFUSED,
    API_SEALED, /* + enum seal_verdict */
    API_SEALED_LAST = API_SEALED + SEAL_VERDICTS - 1,
    API_SEALED_ACKS, /* + enum seal_verdict */
    API_SEALED_ACKS_LAST = API_SEALED_ACKS + SEAL_VERDICTS - 1,
    API_USAGE_RECORDS,
    API_USAGE_BYTES,
    API_USAGE_OLDEST,
    API_USAGE_GAPS,
    API_USAGE_LOST,
    API_AUTH_LAG,
    API_LOG_LOST,
    API_METRICS
};

extern const struct metric_def api_metric_defs[API_METRICS];

/* Count a request that is being answered; PROBLEM_NONE: with success. Any thread. */
void metrics_answered(const struct request *r, enum problem_type type, int64_t now_us);

/* Set what is read from other parts. Loop thread. */
void metrics_update(struct api *api, const struct dispatch_stats *stats);

#endif
