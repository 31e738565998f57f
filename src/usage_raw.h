/* SPDX-License-Identifier: MIT */
/* The raw records of an hour, grouped by customer, as JSON lines compressed with zstd, and their index. */
#ifndef CAVAGE_USAGE_RAW_H
#define CAVAGE_USAGE_RAW_H

#include "cavage/usage_files.h"

#include "out_file.h"
#include "usage_table.h"

/* Write the records of the first `bytes` bytes of an hour's log. The table is sorted and counts exactly these. `index` gets a line for each
 * customer: "customer,offset,bytes,records\n" after a heading, where offset and bytes are those of its frame in `raw`. */
int usage_raw_write(const struct usage_files *files, int64_t hour, uint64_t bytes, const struct usage_table *table,
                    struct out_file *raw, struct out_file *index);

#endif
