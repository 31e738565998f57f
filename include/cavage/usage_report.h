/* SPDX-License-Identifier: MIT */
/* Reads usage back: from the newest files of closed hours, and from the ledger for the hours that have none yet; from the rollups of days and months
 * where they are made of all that. */
#ifndef CAVAGE_USAGE_REPORT_H
#define CAVAGE_USAGE_REPORT_H

#include "cavage/authdb.h"

#include <stdint.h>

enum { USAGE_OPERATION_SIZE = 16 };

enum usage_by { USAGE_BY_HOUR, USAGE_BY_DAY, USAGE_BY_MONTH };

struct usage_query {
    const char *usage_dir;  /* meter.usage_dir, resolved */
    const char *ledger_dir; /* meter.ledger_dir, resolved */
    int64_t from_us,
        to_us;            /* wall clock, [from, to); whole hours: the hours that contain any of it are counted whole */
    const char *customer; /* NULL: all */
    enum usage_by by;
};

/* What one customer used of one operation in one period of UTC. */
struct usage_row {
    int64_t start_us, end_us; /* of the whole period, even when the query covers a part of it */
    char customer[CUSTOMER_ID_SIZE];
    char operation[USAGE_OPERATION_SIZE];
    uint64_t requests;    /* a record counts as many requests as it stands for */
    uint64_t succeeded;   /* of them, answered with a status below 400 */
    uint64_t unconfirmed; /* of them, never known to have left */
    uint64_t input_bytes, output_bytes, input_pixels, output_pixels, cpu_us;
    uint64_t outputs; /* pictures that were made */
};

/* Called for each row, ordered by period, customer, operation. 0 to go on; anything else ends the report and is returned. */
typedef int (*usage_row_fn)(void *arg, const struct usage_row *row);

/* Run the query; works while the meter runs and when it does not. No usage at all is no rows and 0. ERR_INVALID for a query that makes no
 * sense, ERR_CORRUPT for a file or a ledger that is damaged, ERR_NOMEM, ERR_IO. */
int usage_report(const struct usage_query *query, usage_row_fn fn, void *arg);

#endif
