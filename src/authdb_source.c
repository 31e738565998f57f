/* SPDX-License-Identifier: MIT */
/* The auth cache's environments: opened, replaced when they were made anew, closed when nobody reads them any more. */
#include "authdb_source.h"

#include "authdb_record.h"
#include "cavage/err.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

enum {
    READERS_MAX = 512, /* slots of all processes in the lock file */
    FOLLOW_US = 100 * 1000
};

/* Address space only. A reader must map at least what the writer may grow to, and cannot grow under lookups. */
static const size_t reader_map_bytes = (size_t)64 << 30;

int authdb_map_err(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return 0;
    case MDB_NOTFOUND:
        return ERR_NOTFOUND;
    case MDB_MAP_FULL:
    case MDB_READERS_FULL:
        return ERR_FULL;
    case MDB_MAP_RESIZED:
        return ERR_AGAIN;
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_VERSION_MISMATCH:
    case MDB_PANIC:
        return ERR_CORRUPT;
    default:
        return rc > 0 ? err_from_errno(rc) : ERR_INTERNAL;
    }
}

static int source_dbi(struct source *source, bool writer)
{
    MDB_txn *txn = NULL;

    int rc = mdb_txn_begin(source->env, NULL, writer ? 0 : MDB_RDONLY, &txn);
    if (rc != 0)
        return authdb_map_err(rc);
    rc = mdb_dbi_open(txn, NULL, 0, &source->dbi);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return authdb_map_err(rc);
    }
    return authdb_map_err(mdb_txn_commit(txn));
}

int authdb_source_open(const struct authdb *db, uint64_t map_bytes, struct source **out)
{
    unsigned flags = MDB_NOTLS | (db->writer ? 0 : MDB_RDONLY);
    mdb_filehandle_t fd;
    struct stat st;
    int err = 0;

    struct source *source = aligned_alloc(alignof(struct source), sizeof(*source));
    if (!source)
        return ERR_NOMEM;
    memset(source, 0, sizeof(*source));
    for (int i = 0; i < SLOTS; i++)
        atomic_flag_clear(&source->slots[i].busy);
    int rc = mdb_env_create(&source->env);
    if (rc != 0) {
        free(source);
        return authdb_map_err(rc);
    }
    if ((rc = mdb_env_set_mapsize(source->env, db->writer ? map_bytes : reader_map_bytes)) != 0 ||
        (rc = mdb_env_set_maxreaders(source->env, READERS_MAX)) != 0 ||
        (rc = mdb_env_open(source->env, db->dir, flags, 0600)) != 0)
        err = authdb_map_err(rc);
    if (err == 0)
        err = source_dbi(source, db->writer);
    /* The open file is asked, not the path, which may have become another's since. */
    if (err == 0 && (mdb_env_get_fd(source->env, &fd) != 0 || fstat(fd, &st) != 0))
        err = ERR_IO;
    if (err != 0) {
        mdb_env_close(source->env);
        free(source);
        return err;
    }
    source->device = st.st_dev;
    source->inode = st.st_ino;
    *out = source;
    return 0;
}

void authdb_source_free(struct source *source)
{
    for (int i = 0; source->env && i < SLOTS; i++) {
        if (source->slots[i].txn)
            mdb_txn_abort(source->slots[i].txn);
    }
    if (source->env)
        mdb_env_close(source->env);
    free(source);
}

/* Take what can be taken of a replaced source's slots, for good, and close it when that is all. */
static void source_retire(struct source *source)
{
    for (int i = 0; source->env && i < SLOTS; i++) {
        struct slot *slot = &source->slots[i];
        if (atomic_flag_test_and_set(&slot->busy))
            continue;
        if (slot->txn)
            mdb_txn_abort(slot->txn);
        slot->txn = NULL;
        source->seized++;
    }
    if (source->env && source->seized == SLOTS) {
        mdb_env_close(source->env);
        source->env = NULL;
    }
}

int authdb_read_head(MDB_txn *txn, MDB_dbi dbi, struct auth_head *out)
{
    char name[] = AUTHDB_HEAD_KEY;
    MDB_val key = authdb_text_val(name);
    MDB_val value;

    int rc = mdb_get(txn, dbi, &key, &value);
    if (rc == MDB_NOTFOUND) {
        memset(out, 0, sizeof(*out));
        return 0;
    }
    return rc == 0 ? authdb_head_unpack(value.mv_data, value.mv_size, out) : authdb_map_err(rc);
}

static int64_t coarse_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static bool source_complete(const struct source *source)
{
    struct auth_head head = {0};
    MDB_txn *txn = NULL;

    if (mdb_txn_begin(source->env, NULL, MDB_RDONLY, &txn) != 0)
        return false;
    bool complete = authdb_read_head(txn, source->dbi, &head) == 0 && head.complete;
    mdb_txn_abort(txn);
    return complete;
}

/* Open the environment when it has appeared, or was deleted and made anew; the old one serves until the new one can. */
static void follow_locked(struct authdb *db)
{
    struct source *current = atomic_load(&db->source);
    struct source *fresh = NULL;
    struct stat st;

    for (struct source *old = current ? current->older : NULL; old; old = old->older)
        source_retire(old);
    if (stat(db->data, &st) != 0 || st.st_size == 0)
        return;
    if (current && st.st_dev == current->device && st.st_ino == current->inode)
        return;
    if (authdb_source_open(db, 0, &fresh) != 0)
        return;
    /* A writer that made it anew meanwhile: the data are the old ones, and their lock the new one's. */
    bool torn = stat(db->data, &st) != 0 || st.st_dev != fresh->device || st.st_ino != fresh->inode;
    if (torn || (current && !source_complete(fresh))) {
        authdb_source_free(fresh);
        return;
    }
    fresh->older = current;
    atomic_store(&db->source, fresh);
    if (current)
        source_retire(current);
}

void authdb_follow(struct authdb *db)
{
    int64_t now_us = coarse_us();
    int64_t at_us = atomic_load_explicit(&db->follow_at_us, memory_order_relaxed);

    if (now_us < at_us || !atomic_compare_exchange_strong(&db->follow_at_us, &at_us, now_us + FOLLOW_US))
        return;
    if (pthread_mutex_trylock(&db->following) != 0)
        return;
    follow_locked(db);
    pthread_mutex_unlock(&db->following);
}
