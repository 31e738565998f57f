/* SPDX-License-Identifier: MIT */
/* Follows the identity store by its change log, or takes a whole snapshot of it. */
#include "cache.h"

#include "cavage/err.h"
#include "cavage/fs.h"

#include <stdlib.h>
#include <string.h>

struct cache {
    char dir[FS_PATH_SIZE];
    uint64_t map_bytes;
    struct authdb *db; /* NULL while a damaged one could not be made anew */
};

static int open_verified(struct cache *cache)
{
    uint64_t records;

    int err = authdb_open_writer(cache->dir, cache->map_bytes, &cache->db);
    if (err == 0)
        err = authdb_verify(cache->db, &records);
    return err;
}

static int rebuild(struct cache *cache)
{
    authdb_close(cache->db);
    cache->db = NULL;
    int err = authdb_destroy(cache->dir);
    return err == 0 ? authdb_open_writer(cache->dir, cache->map_bytes, &cache->db) : err;
}

int cache_open(const char *dir, uint64_t map_bytes, bool *rebuilt, struct cache **out)
{
    *rebuilt = false;
    struct cache *cache = calloc(1, sizeof(*cache));
    if (!cache)
        return ERR_NOMEM;
    cache->map_bytes = map_bytes;
    int err = fs_join(cache->dir, sizeof(cache->dir), "", dir);
    if (err == 0)
        err = open_verified(cache);
    if (err == ERR_CORRUPT) {
        *rebuilt = true;
        err = rebuild(cache);
    }
    if (err != 0) {
        cache_close(cache);
        return err;
    }
    *out = cache;
    return 0;
}

void cache_close(struct cache *cache)
{
    if (!cache)
        return;
    authdb_close(cache->db);
    free(cache);
}

struct follower {
    struct identity_view *view;
    struct authdb_txn *txn;
};

static int copy_record(void *arg, const struct auth_record *record)
{
    authdb_put(((struct follower *)arg)->txn, record);
    return 0;
}

/* The log says only which key changed; its present state is what counts, also when later entries name it again. */
static int copy_change(void *arg, const char *key_id)
{
    struct follower *f = arg;
    struct auth_record record;

    int err = identity_view_record(f->view, key_id, &record);
    if (err == 0)
        authdb_put(f->txn, &record);
    else if (err == ERR_NOTFOUND)
        authdb_delete(f->txn, key_id);
    return err == ERR_NOTFOUND ? 0 : err;
}

static int snapshot(struct follower *f)
{
    authdb_clear(f->txn);
    return identity_view_records(f->view, copy_record, f);
}

static int update(struct cache *cache, struct follower *f, const struct auth_head *old, struct auth_head *head,
                  enum cache_step *step)
{
    int err = authdb_begin(cache->db, &f->txn);
    if (err != 0)
        return err;
    bool follows = old->complete && id_equal(&old->lineage, &head->lineage) && old->revision < head->revision;
    *step = CACHE_FOLLOWED;
    err = follows ? identity_view_changes(f->view, old->revision, copy_change, f) : ERR_NOTFOUND;
    if (err == ERR_NOTFOUND) {
        *step = CACHE_SNAPSHOT;
        err = snapshot(f);
    }
    if (err != 0) {
        /* The store's fault, then: whatever authdb_put met is kept for the commit. */
        authdb_abort(f->txn);
        return ERR_INTERNAL;
    }
    authdb_set_head(f->txn, head);
    return authdb_commit(f->txn);
}

/* Damage of the cache is ERR_CORRUPT; the store's own is told apart as ERR_INTERNAL, since a new cache would not mend it and the old one
 * still serves. */
static int sync_once(struct cache *cache, struct identity *identity, int64_t wall_us, enum cache_step *step)
{
    struct follower f = {0};
    struct identity_status status;
    struct auth_head head;

    int err = authdb_head(cache->db, &head);
    if (err != 0)
        return err == ERR_AGAIN ? ERR_CORRUPT : err;
    if (identity_view_open(identity, &f.view) != 0)
        return ERR_INTERNAL;
    err = identity_view_status(f.view, &status);
    struct auth_head fresh = {
        .revision = status.revision, .lineage = status.lineage, .complete = true, .synced_us = wall_us};
    if (err != 0)
        err = ERR_INTERNAL;
    else if (head.complete && head.revision == fresh.revision && id_equal(&head.lineage, &fresh.lineage))
        err = authdb_heartbeat(cache->db, wall_us);
    else
        err = update(cache, &f, &head, &fresh, step);
    identity_view_close(f.view);
    return err;
}

int cache_sync(struct cache *cache, struct identity *identity, int64_t wall_us, enum cache_step *step)
{
    *step = CACHE_CURRENT;
    int err = cache->db ? sync_once(cache, identity, wall_us, step) : ERR_CORRUPT;
    if (err != ERR_CORRUPT)
        return err;
    err = rebuild(cache);
    return err == 0 ? sync_once(cache, identity, wall_us, step) : err;
}

int cache_head(struct cache *cache, struct auth_head *out)
{
    return cache->db ? authdb_head(cache->db, out) : ERR_AGAIN;
}

int cache_check_readers(struct cache *cache, int *cleared)
{
    *cleared = 0;
    return cache->db ? authdb_check_readers(cache->db, cleared) : ERR_AGAIN;
}
