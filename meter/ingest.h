/* SPDX-License-Identifier: MIT */
/* Takes usage batches in groups: judge, append, sync once, acknowledge. */
#ifndef CAVAGE_METER_INGEST_H
#define CAVAGE_METER_INGEST_H

#include "cavage/bus.h"
#include "cavage/ledger.h"
#include "cavage/metrics.h"

#include "acks.h"
#include "closer.h"

struct ingest;

/* All are borrowed; closer may be NULL. `sequence` is the one that the ledger restored. */
struct ingest_config {
    struct bus_pull *pull;
    struct ledger *ledger;
    struct usage_sequence *sequence;
    struct acks *acks;
    struct closer *closer;
    struct metrics *metrics;
};

int ingest_new(const struct ingest_config *config, struct ingest **out);
void ingest_free(struct ingest *ingest);

/* Take what has arrived, up to a group's size, and make it durable; the acknowledgements are then in the table. *taken counts messages.
 * ERR_IO: the disk failed in a way that leaves nothing to rely on: the process has to end, and start again from the ledger. */
int ingest_group(struct ingest *ingest, size_t *taken);

/* One message, as ingest_group does it, but not synced: acknowledged only after ingest_commit. */
void ingest_message(struct ingest *ingest, const uint8_t *data, size_t len, const struct bus_from *from);
int ingest_commit(struct ingest *ingest);

#endif
