/* SPDX-License-Identifier: MIT */
/* Reads an image piece by piece. */
#include "input.h"

#include <string.h>

/* The bytes from `at` on that lie together. */
static const uint8_t *piece_at(const struct input *in, size_t at, size_t *len)
{
    size_t left = in->len - at;
    *len = left;
    if (in->whole)
        return in->whole + at;
    size_t within = at % in->extent_bytes, room = in->extent_bytes - within;
    if (room < left)
        *len = room;
    return in->arena + (size_t)in->extents[at / in->extent_bytes] * in->extent_bytes + within;
}

static void copy_from(const struct input *in, size_t at, uint8_t *out)
{
    for (size_t len; at < in->len; at += len, out += len) {
        const uint8_t *piece = piece_at(in, at, &len);
        memcpy(out, piece, len);
    }
}

const uint8_t *input_front(const struct input *in, size_t *len)
{
    *len = 0;
    return in->len > 0 ? piece_at(in, 0, len) : (const uint8_t *)"";
}

size_t input_tail(const struct input *in, uint8_t *out, size_t size)
{
    size_t len = in->len < size ? in->len : size;
    copy_from(in, in->len - len, out);
    return len;
}

void input_copy(const struct input *in, uint8_t *out)
{
    copy_from(in, 0, out);
}
