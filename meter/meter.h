/* SPDX-License-Identifier: MIT */
/* What the parts of cavage-meter share: the numbers of its metrics. */
#ifndef CAVAGE_METER_H
#define CAVAGE_METER_H

#include "cavage/metrics.h"
#include "cavage/seal.h"

/* Indexes of the table meter_metrics. */
enum meter_metric {
    METER_RECORDS,
    METER_BATCHES,
    METER_DUPLICATES,
    METER_GAPS,
    METER_CONFLICTS,
    METER_REFUSED,
    METER_UNEXPECTED,
    METER_SYNC_TIME,
    METER_LAG,
    METER_NEWEST_HOUR,
    METER_DAMAGED,
    METER_FILES,
    METER_FILE_ERRORS,
    METER_PERIODS_WAITING,
    METER_SEALED, /* + enum seal_verdict */
    METER_SEALED_LAST = METER_SEALED + SEAL_VERDICTS - 1,
    METER_METRIC_COUNT
};

extern const struct metric_def meter_metrics[METER_METRIC_COUNT];

#endif
