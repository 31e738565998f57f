/* SPDX-License-Identifier: MIT */
/* Which images ended converters: a bounded table of digests, each kept for a while. Not thread-safe; time is passed in. */
#ifndef CAVAGE_POISON_H
#define CAVAGE_POISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { POISON_DIGEST_BYTES = 16, POISON_ENTRIES_MAX = 16384 };

struct poison;

/* A table of 1 .. POISON_ENTRIES_MAX digests, each remembered for keep_us > 0. ERR_RANGE, ERR_NOMEM. */
int poison_new(size_t entries, int64_t keep_us, struct poison **out);
void poison_free(struct poison *p);

/* Remember a digest from now on; a known one anew. A full table forgets the one that has the least time left. */
void poison_add(struct poison *p, int64_t now_us, const uint8_t digest[POISON_DIGEST_BYTES]);
bool poison_has(const struct poison *p, int64_t now_us, const uint8_t digest[POISON_DIGEST_BYTES]);
/* Forget what is over, and count the rest. */
size_t poison_count(struct poison *p, int64_t now_us);

#endif
