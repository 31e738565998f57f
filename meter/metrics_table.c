/* SPDX-License-Identifier: MIT */
/* The metrics of cavage-meter. */
#include "meter.h"

#include "cavage/cluster.h"

static const int64_t sync_edges_us[] = {100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000};

#define PLAIN(n, t, h)                                      \
    {                                                       \
        .name = "cavage_meter_" n, .type = (t), .help = (h) \
    }

const struct metric_def meter_metrics[METER_METRIC_COUNT] = {
    [METER_RECORDS] = PLAIN("records_total", METRIC_COUNTER, "Usage records made durable."),
    [METER_BATCHES] = PLAIN("batches_total", METRIC_COUNTER, "Usage batches made durable."),
    [METER_DUPLICATES] = PLAIN("duplicates_total", METRIC_COUNTER, "Batches that came again and were dropped."),
    [METER_GAPS] = PLAIN("gaps_total", METRIC_COUNTER, "Times that usage was lost before it came here. An alarm."),
    [METER_CONFLICTS] =
        PLAIN("conflicts_total", METRIC_COUNTER, "Batches that came again with other contents. An alarm."),
    [METER_REFUSED] =
        PLAIN("refused_total", METRIC_COUNTER, "Messages that were damaged or could not be written. An alarm."),
    [METER_UNEXPECTED] =
        PLAIN("unexpected_total", METRIC_COUNTER, "Batches that came before one that is still missing."),
    [METER_SYNC_TIME] = {.name = "cavage_meter_sync_seconds",
                         .type = METRIC_HISTOGRAM,
                         .help = "Time to make a group of batches durable.",
                         .edges_us = sync_edges_us,
                         .edge_count = sizeof sync_edges_us / sizeof sync_edges_us[0]},
    [METER_LAG] =
        PLAIN("lag_seconds", METRIC_GAUGE_US, "Age of the newest record of the latest group when it was durable."),
    [METER_NEWEST_HOUR] = PLAIN("hour_timestamp_seconds", METRIC_GAUGE, "Start of the hour that was last appended to."),
    [METER_DAMAGED] = PLAIN("ledger_damaged", METRIC_GAUGE, "Logs of the ledger found damaged at the start. An alarm."),
    [METER_FILES] = PLAIN("files_total", METRIC_COUNTER, "Hours, days and months whose usage files were made."),
    [METER_FILE_ERRORS] = PLAIN("file_errors_total", METRIC_COUNTER, "Times that usage files could not be made."),
    [METER_PERIODS_WAITING] =
        PLAIN("periods_waiting", METRIC_GAUGE, "Hours, days and months that wait for their files."),
    CLUSTER_METRICS(METER_SEALED, "cavage_sealed_messages_total"),
};
