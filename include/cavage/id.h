/* SPDX-License-Identifier: MIT */
/* Random identifiers of 128 bits, and their text forms. */
#ifndef CAVAGE_ID_H
#define CAVAGE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ID_BYTES = 16, ID_HEX_SIZE = 33, ID_UUID_SIZE = 37 };

/* 128 bits: a boot id, a producer, a request id. All zero means "none". */
struct id {
    uint8_t bytes[ID_BYTES];
};

/* Fill with random bits of the kernel. */
void id_random(struct id *id);
/* The same, with the bits that mark a version 4 UUID. */
void id_random_uuid(struct id *id);

bool id_equal(const struct id *a, const struct id *b);
bool id_is_zero(const struct id *id);

/* 32 lower-case hex digits and NUL. */
void id_to_hex(const struct id *id, char out[ID_HEX_SIZE]);
/* 8-4-4-4-12 lower-case hex digits and NUL. */
void id_to_uuid(const struct id *id, char out[ID_UUID_SIZE]);
/* ERR_INVALID unless text is exactly 36 characters of a UUID. */
int id_from_uuid(const char *text, struct id *id);

/* Value of a hex digit, either case; -1 for another character. */
int hex_digit(char c);
/* Lower-case hex of len bytes; out holds 2 * len + 1. */
void hex_encode(const uint8_t *bytes, size_t len, char *out);
/* Decode exactly 2 * len hex digits, either case. ERR_INVALID for anything else. Not constant-time. */
int hex_decode(const char *text, size_t text_len, uint8_t *bytes, size_t len);

#endif
