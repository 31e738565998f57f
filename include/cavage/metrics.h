/* SPDX-License-Identifier: MIT */
/* Counters, gauges and histograms in Prometheus text format; updated by any thread without locks. */
#ifndef CAVAGE_METRICS_H
#define CAVAGE_METRICS_H

#include <stddef.h>
#include <stdint.h>

/* METRIC_GAUGE_US is a gauge that is set in µs and exposed in seconds. */
enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_GAUGE_US, METRIC_HISTOGRAM };

/* One series of a daemon's table. Series that differ only in labels stand next to each other with the same name and help. */
struct metric_def {
    const char *name; /* "cavage_requests_total" */
    const char *help;
    enum metric_type type;
    const char *labels;      /* "status=\"200\"", or NULL */
    const int64_t *edges_us; /* histograms: upper edges in µs, ascending; exposed in seconds */
    size_t edge_count;       /* at most 24 */
};

struct metrics;

/* defs must outlive the registry; a metric is named by its index in defs. ERR_INVALID for a histogram whose edges are missing, too many or
 * not ascending. */
int metrics_new(const struct metric_def *defs, size_t count, struct metrics **out);
void metrics_free(struct metrics *metrics);

void metrics_add(struct metrics *metrics, size_t index, int64_t delta);        /* counter, gauge */
void metrics_set(struct metrics *metrics, size_t index, int64_t value);        /* gauge */
void metrics_observe(struct metrics *metrics, size_t index, int64_t value_us); /* histogram */
int64_t metrics_get(const struct metrics *metrics, size_t index); /* counter, gauge; observations of a histogram */

/* The exposition as a malloc'ed string of *len bytes; the caller frees. NULL when memory is short. */
char *metrics_render(const struct metrics *metrics, size_t *len);

#endif
