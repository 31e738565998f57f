/* SPDX-License-Identifier: MIT */
/* The values of the identity store as bytes. */
#ifndef IDENTITY_CODEC_H
#define IDENTITY_CODEC_H

#include "identity.h"

#include <stddef.h>

enum { IDENTITY_VALUE_MAX = 1024 };

/* The length. The customer's id, and the key's, are not part of the value. */
size_t identity_customer_pack(const struct customer *customer, uint8_t out[IDENTITY_VALUE_MAX]);
size_t identity_key_pack(const struct customer_key *key, uint8_t out[IDENTITY_VALUE_MAX]);
/* id_len bytes of id, which need not end in NUL. ERR_CORRUPT, ERR_NOMEM. */
int identity_customer_unpack(const void *id, size_t id_len, const void *data, size_t len, struct customer *out);
int identity_key_unpack(const void *id, size_t id_len, const void *data, size_t len, struct customer_key *out);

#endif
