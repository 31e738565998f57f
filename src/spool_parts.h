/* SPDX-License-Identifier: MIT */
/* What the two halves of the spool share: appending (any thread) and sending (its own thread). */
#ifndef CAVAGE_SPOOL_PARTS_H
#define CAVAGE_SPOOL_PARTS_H

#include "cavage/bus.h"
#include "cavage/fs.h"
#include "cavage/spool.h"
#include "cavage/wire.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    SPOOL_WINDOW = 4,       /* batches in flight */
    SPOOL_NUMBERS_SIZE = 64 /* of the text in the file of the latest batch */
};

enum segment_state {
    SEGMENT_OPEN,   /* takes records; only the last segment is */
    SEGMENT_CLOSED, /* waits for records that are not resolved */
    SEGMENT_SEALED  /* never changes again */
};

struct segment {
    uint64_t epoch, sequence;
    enum segment_state state;
    int fd; /* until it is sealed, else -1 */
    uint64_t size;
    uint32_t records, unresolved; /* 0 when an earlier process wrote it */
    int64_t hour;
    int64_t opened_us; /* monotonic */
    /* The sending thread's own: */
    bool sent;       /* and neither acknowledged nor taken back */
    bool tried;      /* sent at least once by this process */
    bool gap;        /* says that what is before it is lost */
    int64_t sent_us; /* monotonic */
};

struct spool {
    char dir[FS_PATH_SIZE];
    char meter_address[WIRE_ADDRESS_SIZE], ack_address[WIRE_ADDRESS_SIZE], ack_told[WIRE_ADDRESS_SIZE];
    uint64_t max_bytes;
    uint32_t batch_bytes, batch_ms;
    struct id producer;
    uint64_t epoch, previous_epoch, previous_sequence;
    int lock_fd, last_fd, wake_fd;
    pthread_t thread;
    bool started;

    _Atomic uint64_t bytes;
    _Atomic bool
        failing; /* a record could not be written; until the sending thread finds that the disk takes bytes again */
    /* Under the lock: */
    pthread_mutex_t lock;
    pthread_cond_t emptied;
    struct segment **segments; /* in order; this epoch's, without a hole, at the end */
    size_t first, count, room; /* segments[first .. first + count) */
    uint64_t last_sequence;    /* of this epoch; 0: none yet */
    uint64_t records, gaps;
    bool flushing, stopping;
    struct seal_keys keys; /* for the sending thread; none: those it has */
    uint64_t acks[SEAL_VERDICTS];

    /* The sending thread's own. */
    struct seal *seal;
    struct bus_push *push;
    struct bus_pull *pull;
    bool connected;
    int64_t rewound_us;    /* when batches were last taken back at the meter's word */
    int64_t unexpected_us; /* since when the meter asks for what it had acknowledged; 0: it does not */
    uint64_t acked_epoch, acked_sequence;
    bool complained;
    int64_t told_us; /* when it was last told that usage waits */
};

/* Under the lock. */
struct segment *spool_segment(const struct spool *spool, size_t i);
void spool_close_open(struct spool *spool);
/* Append a copy of a segment to the list. ERR_NOMEM. */
int spool_add(struct spool *spool, const struct segment *value);
/* Forget segment i, which need not be the first; its file is gone already. */
void spool_forget(struct spool *spool, size_t i);

/* Not under the lock, for appending must not wait for it: remove a sealed segment's file, or keep it aside when it is damaged. */
void spool_remove_file(const struct spool *spool, const struct segment *segment, bool keep_aside);

void spool_wake(const struct spool *spool);
int spool_path(const struct spool *spool, const struct segment *segment, char out[FS_PATH_SIZE]);
uint64_t spool_disk_bytes(uint64_t size);

/* The sending thread. */
void *spool_send_run(void *arg); /* the spool */

#endif
