/* SPDX-License-Identifier: MIT */
/* API keys: "cvg_<key id>_<secret>", 16 and 64 lower-case hex digits. Only the keyed hash of a secret is ever stored. */
#ifndef CAVAGE_KEY_H
#define CAVAGE_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KEY_ID_SIZE = 17, /* 16 hex digits and NUL */
    KEY_SECRET_BYTES = 32,
    KEY_TEXT_SIZE = 86, /* "cvg_" 16 "_" 64 NUL */
    KEY_HASH_BYTES = 32,
    KEY_PEPPER_BYTES = 32 /* of the key file that all hosts of a region share */
};

/* A key as a client presents it. Wipe with key_wipe. */
struct key {
    char id[KEY_ID_SIZE];
    uint8_t secret[KEY_SECRET_BYTES];
};

struct key_pepper {
    uint8_t bytes[KEY_PEPPER_BYTES];
};

/* A new key of 64 + 256 random bits. ERR_INTERNAL when the kernel gives none. */
int key_generate(struct key *out);
/* The key as its owner sends it. The caller wipes the text. */
void key_text(const struct key *key, char out[KEY_TEXT_SIZE]);
/* Parse len bytes (not NUL-terminated). ERR_INVALID for anything but the exact form; upper-case digits are refused. */
int key_parse(const char *text, size_t len, struct key *out);
/* True when text is what a key id may be: 16 lower-case hex digits. */
bool key_id_valid(const char *text, size_t len);
/* BLAKE2b-256 of the secret and the id, keyed with the pepper. */
void key_hash(const struct key *key, const struct key_pepper *pepper, uint8_t out[KEY_HASH_BYTES]);
/* Constant-time. */
bool key_hash_equal(const uint8_t a[KEY_HASH_BYTES], const uint8_t b[KEY_HASH_BYTES]);
void key_wipe(struct key *key);

/* Read the pepper file: 64 hex digits, a regular file of our user that nobody else may read (else ERR_DENIED). ERR_NOTFOUND when it is
 * missing; with `create` it is then made, with the folders above it. When several make it at once, all get the same one. ERR_INVALID, ERR_IO. */
int key_pepper_load(const char *path, bool create, struct key_pepper *out);
void key_pepper_wipe(struct key_pepper *pepper);

#endif
