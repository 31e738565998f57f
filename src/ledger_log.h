/* SPDX-License-Identifier: MIT */
/* What the ledger's writer and its reader share: where a log lies and how it is walked. */
#ifndef CAVAGE_LEDGER_LOG_H
#define CAVAGE_LEDGER_LOG_H

#include "cavage/fs.h"
#include "cavage/ledger.h"

enum { LEDGER_BATCH = 1 }; /* type of a frame: a USAGE message */

enum ledger_scan_mode {
    LEDGER_ALL,   /* every whole batch, on both sides of a hole */
    LEDGER_STRICT /* up to the first hole; ERR_CORRUPT if it was durable once */
};

int ledger_log_path(const char *dir, int64_t hour, char out[FS_PATH_SIZE]);
/* *end is that of the last whole batch before the first hole (LEDGER_STRICT), or of all (LEDGER_ALL). */
int ledger_scan(int fd, uint64_t from, uint64_t limit, enum ledger_scan_mode mode, ledger_fn fn, void *arg,
                uint64_t *end);

#endif
