/* SPDX-License-Identifier: MIT */
/* Append-only files of frames with length and CRC: what the usage spool and the ledger are made of.
 *
 * A frame, little-endian: magic "CVF" (3), type (1), payload length (4), durable (8), CRC-32C of all before it and the payload (4), the
 * payload. `durable` is the size of the file that was known to be on disk when the frame was written. It tells damage from a torn tail: a
 * hole below it was once whole; a hole above every later frame's `durable` was never acknowledged to anybody. */
#ifndef CAVAGE_FRAMELOG_H
#define CAVAGE_FRAMELOG_H

#include <stddef.h>
#include <stdint.h>

enum { FRAMELOG_HEADER_BYTES = 20, FRAMELOG_PAYLOAD_MAX = 16 << 20, FRAMELOG_PARTS_MAX = 4 };

/* A piece of a payload that is written in one go with the others. */
struct framelog_part {
    const void *data;
    size_t len;
};

struct framelog_frame {
    uint8_t type;
    uint64_t durable;
    const uint8_t *payload;
    size_t len;
    uint64_t offset;  /* of the frame in the file */
    uint64_t skipped; /* bytes before it that belong to no frame */
};

/* CRC-32C (Castagnoli) of data, going on from crc; 0 to begin. */
uint32_t framelog_crc(uint32_t crc, const void *data, size_t len);

/* Append one frame with a single system call to fd (opened with O_APPEND), which is *size bytes long now; *size grows by the frame. When
 * the write fails the file is cut back to *size. ERR_RANGE (too long, too many parts), ERR_IO with errno kept. */
int framelog_append(int fd, uint64_t *size, uint8_t type, uint64_t durable, const struct framelog_part *parts,
                    size_t count);

struct framelog_reader;

/* Read fd from offset `from` up to `limit`. The descriptor is borrowed, its position is not used. ERR_NOMEM. */
int framelog_reader_new(int fd, uint64_t from, uint64_t limit, struct framelog_reader **out);
void framelog_reader_free(struct framelog_reader *reader);

/* The next whole frame; bytes that belong to none are skipped and counted in it. Its payload lives until the next call. ERR_NOTFOUND: no
 * more whole frames; ERR_NOMEM, ERR_IO. */
int framelog_next(struct framelog_reader *reader, struct framelog_frame *frame);

/* End of the last whole frame that was returned, or `from`. What lies between it and the limit after ERR_NOTFOUND is no frame. */
uint64_t framelog_end(const struct framelog_reader *reader);

/* Find the length up to which a file can be relied on, reading from `from` to `limit`: *end is the start of the first hole, or the end of
 * the last whole frame. ERR_CORRUPT: a later frame proves that the hole was durable once; *end is set all the same. */
int framelog_check(int fd, uint64_t from, uint64_t limit, uint64_t *end);

#endif
