/* SPDX-License-Identifier: MIT */
/* The values of the auth cache as bytes, for authdb.c and its tests. */
#ifndef CAVAGE_AUTHDB_RECORD_H
#define CAVAGE_AUTHDB_RECORD_H

#include "cavage/authdb.h"

#include <stddef.h>
#include <stdint.h>

enum { AUTHDB_VALUE_MAX = 512 }; /* bytes of a packed record or head */

/* ERR_INVALID for a record that no reader would take. The key id is not part of the value. */
int authdb_record_pack(const struct auth_record *record, uint8_t out[AUTHDB_VALUE_MAX], size_t *len);
/* ERR_CORRUPT, with *out untouched, unless every field is there and in bounds. Allocates nothing. */
int authdb_record_unpack(const char *key_id, const uint8_t *data, size_t len, struct auth_record *out);

void authdb_head_pack(const struct auth_head *head, uint8_t out[AUTHDB_VALUE_MAX], size_t *len);
int authdb_head_unpack(const uint8_t *data, size_t len, struct auth_head *out);

#endif
