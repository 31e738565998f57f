/* SPDX-License-Identifier: MIT */
/* The keys of the customers that `cavage bench` plays. */
#ifndef BENCH_KEYS_H
#define BENCH_KEYS_H

#include "cavage/conf.h"

#include <stddef.h>

enum { BENCH_KEYS_MAX = 100000, BENCH_KEYS_MADE_MAX = 10000 };

/* Zeroed is empty. */
struct bench_keys {
    size_t count;
    char **keys;
    const struct conf *conf; /* of the system where the keys were made, borrowed; NULL: they were read */
    char (*ids)[64];         /* of keys that were made */
};

/* One key a line of a file; empty lines and those that begin with # do not count. On failure `why` says so: ERR_INVALID, ERR_RANGE, ERR_NOMEM, or as
 * fs_read. */
int bench_keys_read(struct bench_keys *keys, const char *path, char *why, size_t size);

/* The one key that is given. */
int bench_keys_copy(struct bench_keys *keys, const char *key);

/* Make a key, which ends after valid_s, for each of the customers bench-1 to bench-COUNT, and those that are missing of these. Errors of admin_call. */
int bench_keys_make(struct bench_keys *keys, const struct conf *conf, size_t count, int64_t valid_s, char *why,
                    size_t size);

/* Wipe and free the keys, and revoke those that were made; the customers stay. The first error of admin_call, with its `why`. */
int bench_keys_close(struct bench_keys *keys, char *why, size_t size);

#endif
