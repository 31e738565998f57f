/* SPDX-License-Identifier: MIT */
/* The ledger's checkpoint file. */
#ifndef CAVAGE_LEDGER_CHECKPOINT_H
#define CAVAGE_LEDGER_CHECKPOINT_H

#include "cavage/usage_sequence.h"

#include <stddef.h>
#include <stdint.h>

/* A log that may be appended to, and its size when the checkpoint was made. */
struct checkpoint_log {
    int64_t hour;
    uint64_t size;
};

/* Write watermarks and logs aside, fsync, rename. */
int checkpoint_write(const char *path, const struct usage_sequence *sequence, const struct checkpoint_log *logs,
                     size_t count);

/* Restore watermarks, and fill logs (room for `room`). ERR_NOTFOUND: there is none; ERR_CORRUPT: it fails its checks; nothing was restored. */
int checkpoint_read(const char *path, struct usage_sequence *sequence, struct checkpoint_log *logs, size_t room,
                    size_t *count);

#endif
