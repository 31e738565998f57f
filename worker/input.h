/* SPDX-License-Identifier: MIT */
/* The image of a job: in one piece in its message, or in extents of its API's arena. */
#ifndef CAVAGE_WORKER_INPUT_H
#define CAVAGE_WORKER_INPUT_H

#include <stddef.h>
#include <stdint.h>

/* A view; what it points to is kept by who made it. */
struct input {
    size_t len;
    const uint8_t *whole; /* NULL: in extents */
    const uint8_t *arena;
    size_t extent_bytes;
    const uint32_t *extents; /* in order; all but the last are full */
};

/* The first piece: all of it, or one extent. */
const uint8_t *input_front(const struct input *in, size_t *len);
/* The last bytes, at most size of them; how many. */
size_t input_tail(const struct input *in, uint8_t *out, size_t size);
/* All of it, into in->len bytes. */
void input_copy(const struct input *in, uint8_t *out);

#endif
