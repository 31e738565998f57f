/* SPDX-License-Identifier: MIT */
/* Random identifiers, and hex. */
#include "cavage/id.h"

#include "cavage/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void id_random(struct id *id)
{
    ssize_t got;
    do
        got = getrandom(id->bytes, sizeof(id->bytes), 0);
    while (got < 0 && errno == EINTR);
    /* Up to 256 bytes come whole or not at all; without them nothing here is safe to go on. */
    if (got != (ssize_t)sizeof(id->bytes))
        abort();
}

void id_random_uuid(struct id *id)
{
    id_random(id);
    id->bytes[6] = (uint8_t)((id->bytes[6] & 0x0f) | 0x40);
    id->bytes[8] = (uint8_t)((id->bytes[8] & 0x3f) | 0x80);
}

bool id_equal(const struct id *a, const struct id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool id_is_zero(const struct id *id)
{
    static const struct id zero;
    return id_equal(id, &zero);
}

void id_to_hex(const struct id *id, char out[ID_HEX_SIZE])
{
    hex_encode(id->bytes, sizeof(id->bytes), out);
}

static const size_t uuid_groups[] = {4, 2, 2, 2, 6}; /* bytes between the dashes */

enum { UUID_GROUPS = sizeof(uuid_groups) / sizeof(uuid_groups[0]) };

void id_to_uuid(const struct id *id, char out[ID_UUID_SIZE])
{
    const uint8_t *bytes = id->bytes;
    for (size_t i = 0; i < UUID_GROUPS; i++) {
        hex_encode(bytes, uuid_groups[i], out);
        bytes += uuid_groups[i];
        out += 2 * uuid_groups[i];
        if (i + 1 < UUID_GROUPS)
            *out++ = '-';
    }
}

int id_from_uuid(const char *text, struct id *id)
{
    struct id parsed;
    uint8_t *bytes = parsed.bytes;
    if (strnlen(text, ID_UUID_SIZE) != ID_UUID_SIZE - 1)
        return ERR_INVALID;
    for (size_t i = 0; i < UUID_GROUPS; i++) {
        if (i > 0 && *text++ != '-')
            return ERR_INVALID;
        if (hex_decode(text, 2 * uuid_groups[i], bytes, uuid_groups[i]) != ERR_OK)
            return ERR_INVALID;
        text += 2 * uuid_groups[i];
        bytes += uuid_groups[i];
    }
    *id = parsed;
    return ERR_OK;
}

void hex_encode(const uint8_t *bytes, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 0x0f];
    }
    *out = '\0';
}

int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int hex_decode(const char *text, size_t text_len, uint8_t *bytes, size_t len)
{
    if (text_len % 2 != 0 || text_len / 2 != len)
        return ERR_INVALID;
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return ERR_INVALID;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return ERR_OK;
}
