/* SPDX-License-Identifier: MIT */
/* API keys and the pepper: made, parsed, hashed and compared with libsodium. */
#include "cavage/key.h"

#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/id.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char prefix[] = "cvg_";

enum {
    PREFIX_LEN = sizeof(prefix) - 1,
    ID_LEN = KEY_ID_SIZE - 1,
    SECRET_LEN = 2 * KEY_SECRET_BYTES,
    SECRET_AT = PREFIX_LEN + ID_LEN + 1,
    TEXT_LEN = KEY_TEXT_SIZE - 1,
    PEPPER_LEN = 2 * KEY_PEPPER_BYTES
};

_Static_assert(SECRET_AT + SECRET_LEN == TEXT_LEN, "the parts of a key make its text");

static bool is_lower_hex(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
            return false;
    }
    return true;
}

bool key_id_valid(const char *text, size_t len)
{
    return len == ID_LEN && is_lower_hex(text, len);
}

int key_generate(struct key *out)
{
    uint8_t id[ID_LEN / 2];

    if (sodium_init() < 0)
        return ERR_INTERNAL;
    randombytes_buf(id, sizeof(id));
    hex_encode(id, sizeof(id), out->id);
    randombytes_buf(out->secret, sizeof(out->secret));
    return 0;
}

void key_text(const struct key *key, char out[KEY_TEXT_SIZE])
{
    memcpy(out, prefix, PREFIX_LEN);
    memcpy(out + PREFIX_LEN, key->id, ID_LEN);
    out[SECRET_AT - 1] = '_';
    sodium_bin2hex(out + SECRET_AT, SECRET_LEN + 1, key->secret, sizeof(key->secret));
}

int key_parse(const char *text, size_t len, struct key *out)
{
    if (len != TEXT_LEN || memcmp(text, prefix, PREFIX_LEN) != 0 || text[SECRET_AT - 1] != '_' ||
        !is_lower_hex(text + PREFIX_LEN, ID_LEN) || !is_lower_hex(text + SECRET_AT, SECRET_LEN))
        return ERR_INVALID;
    memcpy(out->id, text + PREFIX_LEN, ID_LEN);
    out->id[ID_LEN] = '\0';
    return hex_decode(text + SECRET_AT, SECRET_LEN, out->secret, sizeof(out->secret));
}

/* The id is hashed too: a hash that is copied to another key's record does not open that key. */
void key_hash(const struct key *key, const struct key_pepper *pepper, uint8_t out[KEY_HASH_BYTES])
{
    uint8_t input[KEY_SECRET_BYTES + ID_LEN];

    memcpy(input, key->secret, KEY_SECRET_BYTES);
    memcpy(input + KEY_SECRET_BYTES, key->id, ID_LEN);
    crypto_generichash(out, KEY_HASH_BYTES, input, sizeof(input), pepper->bytes, sizeof(pepper->bytes));
    sodium_memzero(input, sizeof(input));
}

bool key_hash_equal(const uint8_t a[KEY_HASH_BYTES], const uint8_t b[KEY_HASH_BYTES])
{
    return sodium_memcmp(a, b, KEY_HASH_BYTES) == 0;
}

void key_wipe(struct key *key)
{
    sodium_memzero(key, sizeof(*key));
}

void key_pepper_wipe(struct key_pepper *pepper)
{
    sodium_memzero(pepper, sizeof(*pepper));
}

/* The file appears whole or not at all, and of several processes that make it at once the first one's stays. */
static int pepper_create(const char *path)
{
    char aside[FS_PATH_SIZE];
    char text[PEPPER_LEN + 2] = "";
    uint8_t bytes[KEY_PEPPER_BYTES];
    int fd = -1;
    int err;

    int n = snprintf(aside, sizeof(aside), "%s.XXXXXX", path);
    if (n < 0 || (size_t)n >= sizeof(aside))
        return ERR_RANGE;
    fd = mkostemp(aside, O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    randombytes_buf(bytes, sizeof(bytes));
    sodium_bin2hex(text, sizeof(text), bytes, sizeof(bytes));
    text[PEPPER_LEN] = '\n';
    err = fs_write_all(fd, text, PEPPER_LEN + 1);
    if (err == 0 && fsync(fd) != 0)
        err = ERR_IO;
    if (err == 0 && link(aside, path) != 0 && errno != EEXIST)
        err = err_from_errno(errno);
    (void)unlink(aside);
    (void)close(fd);
    if (err == 0)
        err = fs_sync_parent(path);
    sodium_memzero(bytes, sizeof(bytes));
    sodium_memzero(text, sizeof(text));
    return err;
}

static int pepper_read(const char *path, struct key_pepper *out)
{
    char text[PEPPER_LEN + 3]; /* with a newline, the NUL, and a byte that shows a longer file */
    size_t len = 0;

    int err = fs_read_private(path, text, sizeof(text), &len);
    if (err == ERR_RANGE || (err == 0 && !(len == PEPPER_LEN || (len == PEPPER_LEN + 1 && text[PEPPER_LEN] == '\n'))))
        err = ERR_INVALID;
    if (err == 0)
        err = hex_decode(text, PEPPER_LEN, out->bytes, sizeof(out->bytes));
    sodium_memzero(text, sizeof(text));
    return err;
}

int key_pepper_load(const char *path, bool create, struct key_pepper *out)
{
    if (sodium_init() < 0)
        return ERR_INTERNAL;
    int err = pepper_read(path, out);
    if (err != ERR_NOTFOUND || !create)
        return err;
    err = fs_mkdirs_above(path, 0700);
    if (err == 0)
        err = pepper_create(path);
    return err == 0 ? pepper_read(path, out) : err;
}
