/* SPDX-License-Identifier: MIT */
/* Makes usage files on a thread of its own: of hours that are over, of hours that got late records, and of days and months. */
#ifndef CAVAGE_METER_CLOSER_H
#define CAVAGE_METER_CLOSER_H

#include "cavage/metrics.h"

#include <stdbool.h>
#include <stdint.h>

struct closer;

struct closer_config {
    const char *ledger_dir, *usage_dir; /* copied */
    int64_t delay_ms;                   /* after the end of a period, and after a late record */
    bool close_open;                    /* for tests: periods need not be over */
    struct metrics *metrics;
};

/* Look through the ledger for hours whose files are missing or older than it, and start the thread. */
int closer_start(const struct closer_config *config, struct closer **out);
/* Wait for the file that is being made, and end. NULL is allowed. */
void closer_stop(struct closer *closer);

/* An hour's log has grown. Any thread; cheap. */
void closer_touch(struct closer *closer, int64_t hour);

#endif
