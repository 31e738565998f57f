/* SPDX-License-Identifier: MIT */
/* Reads and writes the preamble of a message. */
#include "cavage/frame.h"

#include "cavage/err.h"

#include <string.h>

static const uint8_t magic[4] = {'C', 'V', 'G', '1'};

enum { AT_VERSION = 4, AT_TYPE = 5, AT_ZERO = 6, AT_HEADER_LEN = 8, AT_BODY_LEN = 12 };

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)(v >> 16);
    p[3] = (uint8_t)(v >> 24);
}

int frame_parse(const uint8_t *data, size_t len, size_t max_body, struct frame *out)
{
    if (len < FRAME_PREAMBLE_BYTES || memcmp(data, magic, sizeof magic) != 0)
        return ERR_INVALID;
    if (data[AT_VERSION] != FRAME_VERSION)
        return ERR_VERSION;
    if (data[AT_TYPE] < FRAME_HELLO || data[AT_TYPE] > FRAME_ARENA || data[AT_ZERO] != 0 || data[AT_ZERO + 1] != 0)
        return ERR_INVALID;

    uint32_t header_len = get_u32(data + AT_HEADER_LEN);
    uint32_t body_len = get_u32(data + AT_BODY_LEN);
    if (header_len > FRAME_HEADER_MAX || body_len > max_body)
        return ERR_RANGE;
    if ((uint64_t)FRAME_PREAMBLE_BYTES + header_len + body_len != len)
        return ERR_INVALID;

    out->type = (enum frame_type)data[AT_TYPE];
    out->header = data + FRAME_PREAMBLE_BYTES;
    out->header_len = header_len;
    out->body = out->header + header_len;
    out->body_len = body_len;
    return ERR_OK;
}

int frame_write(uint8_t *data, enum frame_type type, size_t header_len, size_t body_len)
{
    if (header_len > FRAME_HEADER_MAX || body_len > UINT32_MAX)
        return ERR_RANGE;
    memcpy(data, magic, sizeof magic);
    data[AT_VERSION] = FRAME_VERSION;
    data[AT_TYPE] = (uint8_t)type;
    data[AT_ZERO] = data[AT_ZERO + 1] = 0;
    put_u32(data + AT_HEADER_LEN, (uint32_t)header_len);
    put_u32(data + AT_BODY_LEN, (uint32_t)body_len);
    return ERR_OK;
}
