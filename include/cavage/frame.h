/* SPDX-License-Identifier: MIT */
/* The envelope of every message between processes: a fixed preamble, a protobuf header, a raw body. */
#ifndef CAVAGE_FRAME_H
#define CAVAGE_FRAME_H

#include <stddef.h>
#include <stdint.h>

/* Preamble, little-endian: magic "CVG1" (4), version (1), type (1), zero (2), header length (4), body length (4). */
enum { FRAME_PREAMBLE_BYTES = 16, FRAME_VERSION = 1, FRAME_HEADER_MAX = 16 * 1024 };

enum frame_type {
    FRAME_HELLO = 1,
    FRAME_STATUS = 2,
    FRAME_JOB = 3,
    FRAME_CANCEL = 4,
    FRAME_RESULT = 5,
    FRAME_USAGE = 6,
    FRAME_ACK = 7,
    FRAME_ARENA = 8
};

/* A view into a received message; nothing is copied. */
struct frame {
    enum frame_type type;
    const uint8_t *header;
    size_t header_len; /* 0 .. FRAME_HEADER_MAX */
    const uint8_t *body;
    size_t body_len;
};

/* Check all lengths against len exactly. ERR_INVALID (bad magic, type, lengths), ERR_VERSION, ERR_RANGE (header too long, or body over max_body). */
int frame_parse(const uint8_t *data, size_t len, size_t max_body, struct frame *out);

/* Write the preamble into the first FRAME_PREAMBLE_BYTES of data. ERR_RANGE if a length does not fit. */
int frame_write(uint8_t *data, enum frame_type type, size_t header_len, size_t body_len);

#endif
