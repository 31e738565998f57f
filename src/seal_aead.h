/* SPDX-License-Identifier: MIT */
/* The two ciphers of sealed frames: XChaCha20-Poly1305 by libsodium, AES-256-GCM by libcrypto. For seal.c only. */
#ifndef CAVAGE_SEAL_AEAD_H
#define CAVAGE_SEAL_AEAD_H

#include "cavage/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum aead_cipher { AEAD_NONE = 0, AEAD_XCHACHA20 = 1, AEAD_AES256GCM = 2 };
enum { AEAD_TAG_BYTES = 16, AEAD_KEY_BYTES = 32 };

/* Whom a key is for. */
struct aead_scope {
    uint32_t key_id;
    struct id sender;
    struct id receiver;
};

/* A key that is ready for use. All zero: none. */
struct aead {
    enum aead_cipher cipher;
    uint32_t key_id;
    uint8_t key[AEAD_KEY_BYTES]; /* of XChaCha20 */
    void *aes;
};

int aead_init(void);
/* The cipher to seal with on this processor; either can be opened on any. */
enum aead_cipher aead_best(void);

/* Derive the key of a scope from a cluster key. ERR_NOMEM, ERR_INVALID for another cipher. */
int aead_open(struct aead *a, enum aead_cipher cipher, const uint8_t cluster_key[AEAD_KEY_BYTES],
              const struct aead_scope *scope);
/* Wipes. */
void aead_close(struct aead *a);

/* In place. Never use a counter twice with one key. ERR_RANGE: too long, ERR_INTERNAL. */
int aead_encrypt(struct aead *a, uint64_t counter, const uint8_t *ad, size_t ad_len, uint8_t *data, size_t len,
                 uint8_t tag[AEAD_TAG_BYTES]);
/* In place; true when it is authentic. Otherwise data is of no use any more. */
bool aead_decrypt(struct aead *a, uint64_t counter, const uint8_t *ad, size_t ad_len, uint8_t *data, size_t len,
                  const uint8_t tag[AEAD_TAG_BYTES]);

#endif
