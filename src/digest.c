/* SPDX-License-Identifier: MIT */
/* BLAKE2b-256 by libsodium. */
#include "cavage/digest.h"

#include "cavage/err.h"

#include <sodium.h>

_Static_assert(sizeof(crypto_generichash_state) <= sizeof(((struct digest *)0)->opaque), "the state fits");

static crypto_generichash_state *state_of(struct digest *digest)
{
    /* cppcheck-suppress ctuuninitvar ; the address only */
    return (crypto_generichash_state *)(void *)digest->opaque;
}

int digest_init(void)
{
    return sodium_init() < 0 ? ERR_INTERNAL : ERR_OK;
}

void digest_of(const void *data, size_t len, uint8_t out[DIGEST_BYTES])
{
    crypto_generichash(out, DIGEST_BYTES, data, len, NULL, 0);
}

void digest_start(struct digest *digest)
{
    crypto_generichash_init(state_of(digest), NULL, 0, DIGEST_BYTES);
}

void digest_start_keyed(struct digest *digest, const uint8_t key[DIGEST_KEY_BYTES])
{
    crypto_generichash_init(state_of(digest), key, DIGEST_KEY_BYTES, DIGEST_BYTES);
}

void digest_add(struct digest *digest, const void *data, size_t len)
{
    crypto_generichash_update(state_of(digest), data, len);
}

void digest_end(struct digest *digest, uint8_t out[DIGEST_BYTES])
{
    crypto_generichash_final(state_of(digest), out, DIGEST_BYTES);
}
