/* SPDX-License-Identifier: MIT */
/* The meter's account of batches: one watermark per (producer, epoch), kept for ever. Pure.
 *
 * A conflict is told for the latest eight batches of an epoch, which is more than a producer has in flight. */
#ifndef CAVAGE_USAGE_SEQUENCE_H
#define CAVAGE_USAGE_SEQUENCE_H

#include "cavage/id.h"
#include "cavage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum usage_verdict {
    USAGE_TAKE,      /* new: append it, call usage_sequence_taken, make it durable, then acknowledge */
    USAGE_DUPLICATE, /* known: acknowledge the watermark again, once that is durable */
    USAGE_EXPECT,    /* something before it is missing: ask for *expected */
    USAGE_TAKE_GAP, /* as TAKE, after a gap that the producer declared, or the lost end of its epoch before: an alarm */
    USAGE_CONFLICT  /* a known sequence with another digest: an alarm; not taken, not acknowledged */
};

struct usage_sequence;

int usage_sequence_new(struct usage_sequence **out);
void usage_sequence_free(struct usage_sequence *s);

/* Judge a batch. Changes nothing. *expected is the sequence that may come next in the batch's epoch. */
enum usage_verdict usage_sequence_judge(const struct usage_sequence *s, const struct wire_usage *m, uint64_t *expected);
/* The batch is in the ledger: what follows it may be judged. If it cannot be made durable then, start again from the ledger: nothing was
 * acknowledged. Also used when the ledger is read at start, where an older batch may come later. ERR_NOMEM. */
int usage_sequence_taken(struct usage_sequence *s, const struct wire_usage *m);

/* Highest sequence taken; 0 when none is known. */
uint64_t usage_sequence_get(const struct usage_sequence *s, const struct id *producer, uint64_t epoch);

/* Visit all watermarks, for the checkpoint. `digest` is that of the batch at the watermark, NULL when it is not known. */
typedef int (*usage_sequence_fn)(void *arg, const struct id *producer, uint64_t epoch, uint64_t sequence,
                                 const uint8_t *digest);
int usage_sequence_each(const struct usage_sequence *s, usage_sequence_fn fn, void *arg);
/* Set a watermark from a checkpoint; it never sinks. digest: as above. ERR_NOMEM. */
int usage_sequence_restore(struct usage_sequence *s, const struct id *producer, uint64_t epoch, uint64_t sequence,
                           const uint8_t *digest);

#endif
