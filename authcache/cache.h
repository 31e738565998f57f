/* SPDX-License-Identifier: MIT */
/* Keeps this host's auth cache equal to the identity store. */
#ifndef CACHE_H
#define CACHE_H

#include "cavage/authdb.h"
#include "identity.h"

#include <stdbool.h>
#include <stdint.h>

struct cache;

/* Open the cache for writing and read every record of it. One that is damaged is deleted and made anew; *rebuilt says so. Errors as of
 * authdb_open_writer, but never ERR_CORRUPT. */
int cache_open(const char *dir, uint64_t map_bytes, bool *rebuilt, struct cache **out);
void cache_close(struct cache *cache);

enum cache_step {
    CACHE_CURRENT,  /* nothing to do but the heartbeat */
    CACHE_FOLLOWED, /* the changes since its revision */
    CACHE_SNAPSHOT, /* everything: it was incomplete, of another lineage, ahead of the store, or behind its log */
    CACHE_STEPS
};

/* Bring the cache to the store's newest revision, in one transaction. When it returns 0, every lookup that begins afterwards sees it. A cache
 * that turns out to be damaged is made anew.  */
int cache_sync(struct cache *cache, struct identity *identity, int64_t wall_us, enum cache_step *step);

int cache_head(struct cache *cache, struct auth_head *out);
/* Free the reader slots of processes that died. */
int cache_check_readers(struct cache *cache, int *cleared);

#endif
