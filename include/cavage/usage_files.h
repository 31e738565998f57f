/* SPDX-License-Identifier: MIT */
/* Usage files for billing, made from the ledger: raw records and totals of an hour, and rollups of days and months.
 *
 *     DIR/raw/YYYY/MM/DD/HH.jsonl.zst  .idx                 every record, grouped by customer, a zstd frame each; later versions HH.v2.jsonl.zst …
 *     DIR/hourly/YYYY/MM/DD/HH.v1.csv  .v1.manifest.json    a line for each customer and operation
 *     DIR/daily/YYYY/MM/DD.v1.csv …    DIR/monthly/YYYY/MM.v1.csv …
 *
 * Files are written aside, synced, renamed; the manifest comes last and makes the version count. Nothing is ever changed: other inputs make
 * another version. */
#ifndef CAVAGE_USAGE_FILES_H
#define CAVAGE_USAGE_FILES_H

#include "cavage/period.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct usage_files {
    const char *usage_dir;  /* made when missing */
    const char *ledger_dir; /* only read */
    uint64_t
        group_bytes; /* records held in memory at a time while they are grouped; 0: 64 MiB. An hour beyond 256 times that takes more. */
};

/* Make the files of an hour from what the ledger has on disk, unless its newest files are made of exactly that. *made tells. ERR_NOTFOUND: the hour has no
 * records; ERR_CORRUPT: the ledger is damaged there, so no files are made; ERR_NOMEM, ERR_IO. Memory: group_bytes, and 200 bytes for each
 * customer and operation. One caller at a time for one usage_dir. */
int usage_files_hour(const struct usage_files *files, int64_t hour, bool *made);

/* Roll the hours of a day, or the days of a month, up; `start` is its first hour. The same rules. ERR_AGAIN: the ledger knows a part that has no files
 * yet. */
int usage_files_rollup(const struct usage_files *files, enum period period, int64_t start, bool *made);

#endif
