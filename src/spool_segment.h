/* SPDX-License-Identifier: MIT */
/* A segment of the spool as a file: the records of one batch, and marks for those whose answers left. */
#ifndef CAVAGE_SPOOL_SEGMENT_H
#define CAVAGE_SPOOL_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Name "<epoch>-<sequence>.seg", both of 20 digits, so that names sort as batches do. */
enum { SEGMENT_NAME_SIZE = 48 };
void segment_name(uint64_t epoch, uint64_t sequence, char out[SEGMENT_NAME_SIZE]);
/* ERR_INVALID when the name is not one of a segment. */
int segment_parse_name(const char *name, uint64_t *epoch, uint64_t *sequence);

/* Append to a segment's file, which is *size bytes long; errors as framelog_append. */
int segment_put_head(int fd, uint64_t *size, uint64_t previous_epoch, uint64_t previous_sequence);
int segment_put_record(int fd, uint64_t *size, uint32_t index, const uint8_t *record, size_t len);
int segment_put_confirm(int fd, uint64_t *size, uint32_t index);
/* Its records are complete: so many. Only marks follow. */
int segment_put_close(int fd, uint64_t *size, uint32_t records);

/* What a segment holds, as it goes into a batch: the same every time it is read. */
struct segment_batch {
    uint8_t *body; /* malloc'ed; NULL when there are no records */
    size_t body_len;
    uint32_t records;
    int64_t hour;
    uint64_t previous_epoch, previous_sequence;
    bool closed;
    uint32_t closed_records; /* what it held when it was closed */
    uint64_t damaged_bytes;  /* between whole frames, so not a torn tail */
};

/* Sync a segment's file and read it. A record without a mark is unconfirmed; a torn tail is passed over. The caller frees body. */
int segment_load(const char *path, struct segment_batch *out);

#endif
