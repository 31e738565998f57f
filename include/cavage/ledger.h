/* SPDX-License-Identifier: MIT */
/* The meter's ledger: one append-only log of batches per hour of usage, framed with length and CRC; and its reader.
 *
 *     DIR/lock                   held while a meter writes
 *     DIR/checkpoint             watermarks, and the logs that may be appended to, with their sizes then
 *     DIR/YYYY/MM/DD/HH.log      frames, each a USAGE message as it came over the wire
 *
 * A log is appended to only while the durable checkpoint lists it at a size no larger than its present one. So after a crash exactly the
 * listed logs, from the listed sizes on, tell what is newer than the checkpoint, and only they can have a torn tail. Without a checkpoint
 * all logs are read. */
#ifndef CAVAGE_LEDGER_H
#define CAVAGE_LEDGER_H

#include "cavage/usage_sequence.h"
#include "cavage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger;

/* Open for writing (one process, locked): read the checkpoint and what was appended after it, cut a torn tail, restore the watermarks into
 * `sequence`, which is borrowed until ledger_close for the checkpoints. ERR_EXISTS: another meter writes here. Damage that is not a torn
 * tail is logged as an alarm and left as it is; see ledger_damaged. */
int ledger_open(const char *dir, struct usage_sequence *sequence, struct ledger **out);
/* Sync, write a checkpoint, close. */
void ledger_close(struct ledger *ledger);
/* Logs that were found damaged, or shorter than they were, at the start. */
uint64_t ledger_damaged(const struct ledger *ledger);

/* Append a batch to its hour's log; durable only after ledger_sync. Call usage_sequence_taken right after it, and before the next append.
 * After ERR_IO nothing of the batch is in the log. */
int ledger_append(struct ledger *ledger, const struct wire_usage *m, const uint8_t *body, size_t body_len);
/* fdatasync all logs appended to since the last sync. After an error nobody knows what is on disk: what was not synced has been cut off, where
 * that was possible; close, and open again. */
int ledger_sync(struct ledger *ledger);
/* Sync, then write watermarks and log sizes aside, fsync, rename. Done by itself before a log is first appended to, and now and then. */
int ledger_checkpoint(struct ledger *ledger);

/* Read all whole batches of an hour, also while the meter appends. fn returns 0 to go on. ERR_NOTFOUND when the hour has no log; ERR_CORRUPT for damage that
 * is not a torn tail: the batches before it have been delivered then. */
typedef int (*ledger_fn)(void *arg, const struct wire_usage *m, const uint8_t *body, size_t body_len);
int ledger_read_hour(const char *dir, int64_t hour, ledger_fn fn, void *arg);
/* The same for the first `bytes` bytes of the log only; *end is that of the last whole batch in them. */
int ledger_read_part(const char *dir, int64_t hour, uint64_t bytes, ledger_fn fn, void *arg, uint64_t *end);
/* Size of an hour's log; with `sync`, of what is on disk for sure. ERR_NOTFOUND. */
int ledger_size(const char *dir, int64_t hour, bool sync, uint64_t *bytes);
/* Hours that have a log, ascending, within [from, to). The caller frees *hours. */
int ledger_hours(const char *dir, int64_t from, int64_t to, int64_t **hours, size_t *count);

#endif
