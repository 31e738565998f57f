/* SPDX-License-Identifier: MIT */
/* A producer's spool: records are appended before their answers leave, marked once they have left, and kept until the meter has them.
 *
 *     DIR/lock                       held while open
 *     DIR/producer                   the producer's UUID
 *     DIR/epoch                      number of this epoch, and where the one before it ended
 *     DIR/last                       the latest batch that was begun
 *     DIR/<epoch>-<sequence>.seg     the records of one batch, with marks for those that are confirmed
 *
 * A segment is a batch. It takes records of one hour until it is large or old enough, is sealed when all of them are resolved, then synced,
 * sent, sent again until it is acknowledged, and removed; strictly in the order of (epoch, sequence). What a process that was killed leaves
 * behind is sent by the next one first; records that were not resolved count as unconfirmed. */
#ifndef CAVAGE_SPOOL_H
#define CAVAGE_SPOOL_H

#include "cavage/seal.h"
#include "cavage/usage.h"

#include <stdbool.h>
#include <stdint.h>

enum { SPOOL_BATCH_MAX = USAGE_BODY_MAX / 2 }; /* of batch_bytes */

struct spool;

struct spool_config {
    const char *dir;           /* made when missing, 0700, locked while open */
    const char *meter_address; /* resolved, for PUSH */
    const char *ack_address;   /* resolved, bound as PULL */
    const char *ack_told;      /* where the meter reaches it; NULL: the same */
    struct seal *seal;         /* for tcp; the spool's from spool_open on, also if that fails; may be NULL */
    uint64_t max_bytes;        /* on disk, in blocks of 4 KiB; beyond it spool_append says ERR_FULL */
    uint32_t batch_bytes;      /* a segment is closed at this size (at most SPOOL_BATCH_MAX) … */
    uint32_t batch_ms;         /* … or age, while the meter keeps up */
};

/* Where a record lies, for marking it. */
struct spool_ref {
    uint64_t segment;
    uint32_t index;
};

/* Lock the folder, begin a new epoch (fsynced), take over what earlier epochs left, start the thread that fsyncs, sends and frees segments.
 * The strings of config are copied. ERR_EXISTS: another process has the spool. ERR_RANGE for batch_bytes. */
int spool_open(const struct spool_config *config, struct spool **out);

/* Append a record (its `confirmed` is ignored). Any thread; a write to the page cache, no fsync. ERR_FULL: the spool is at its bound, so the request must
 * be refused before it is admitted; see spool_has_room. ERR_IO: the disk is full or broken. After an error there is no record: the answer must
 * not be a success. ERR_INVALID: a time before 1970 or after 9999. */
int spool_append(struct spool *spool, const struct usage_record *record, struct spool_ref *ref);
/* Its answer has left completely (confirmed), or never will. Any thread. Every appended record is resolved exactly once; until then its segment
 * and all later ones wait. */
void spool_resolve(struct spool *spool, struct spool_ref ref, bool confirmed);

/* False when less than one eighth of max_bytes is left, and from a record that could not be written on until the disk takes bytes again: admit
 * no more requests. Any thread; cheap. */
bool spool_has_room(const struct spool *spool);

struct spool_stats {
    uint64_t acks[SEAL_VERDICTS]; /* messages that came over tcp */
    uint64_t bytes;               /* on disk */
    uint64_t unacked_batches;
    int64_t oldest_unacked_us; /* age; 0 when there is none */
    uint64_t records;          /* appended since the start */
    uint64_t gaps;             /* times that batches, or records of one, were lost before the meter had them */
};
void spool_stats(const struct spool *spool, struct spool_stats *out);

/* Seal and open with these keys from now on. Any thread. */
void spool_set_keys(struct spool *spool, const struct seal_keys *keys);

/* Close the open segment and wait up to timeout_ms for the meter to have all. 0, or ERR_TIMEOUT: the rest stays on disk for the next start. */
int spool_flush(struct spool *spool, int64_t timeout_ms);
/* Stop the thread and let go of the folder. Not while another thread appends or resolves. */
void spool_close(struct spool *spool);

#endif
