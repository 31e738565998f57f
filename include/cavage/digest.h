/* SPDX-License-Identifier: MIT */
/* BLAKE2b-256, in one piece and as a stream. */
#ifndef CAVAGE_DIGEST_H
#define CAVAGE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_BYTES = 32, DIGEST_HEX_SIZE = 65, DIGEST_KEY_BYTES = 32 };

/* Choose the fastest code for this processor. Safe to call often and from any thread; the others work without, but slower. */
int digest_init(void);

void digest_of(const void *data, size_t len, uint8_t out[DIGEST_BYTES]);

struct digest {
    _Alignas(64) uint8_t opaque[384];
};
void digest_start(struct digest *digest);
/* A digest that only who has the key can make or foresee. */
void digest_start_keyed(struct digest *digest, const uint8_t key[DIGEST_KEY_BYTES]);
void digest_add(struct digest *digest, const void *data, size_t len);
void digest_end(struct digest *digest, uint8_t out[DIGEST_BYTES]);

#endif
