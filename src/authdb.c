/* SPDX-License-Identifier: MIT */
/* The auth cache in LMDB: lookups through a pool of parked read transactions, and the writer's transactions. */
#include "cavage/authdb.h"

#include "authdb_record.h"
#include "authdb_source.h"
#include "cavage/err.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct authdb_txn {
    struct authdb *db;
    MDB_txn *txn;
    MDB_dbi dbi;
    int err;
    int64_t synced_us; /* of a head that was set; 0: none */
};

/* ---- Opening ---- */

static int db_new(const char *dir, bool writer, struct authdb **out)
{
    struct authdb *db = calloc(1, sizeof(*db));
    if (!db)
        return ERR_NOMEM;
    db->writer = writer;
    db->lock_fd = -1;
    db->heartbeat_fd = -1;
    int err = fs_join(db->dir, sizeof(db->dir), "", dir);
    if (err == 0)
        err = fs_join(db->data, sizeof(db->data), dir, "data.mdb");
    if (err == 0)
        err = fs_join(db->heartbeat, sizeof(db->heartbeat), dir, "heartbeat");
    if (err == 0 && pthread_mutex_init(&db->following, NULL) != 0)
        err = ERR_NOMEM;
    if (err != 0) {
        free(db);
        return err;
    }
    *out = db;
    return 0;
}

int authdb_open_reader(const char *dir, struct authdb **out)
{
    int err = db_new(dir, false, out);
    if (err == 0)
        authdb_follow(*out);
    return err;
}

int authdb_open_writer(const char *dir, uint64_t map_bytes, struct authdb **out)
{
    char lock[FS_PATH_SIZE];
    struct source *source = NULL;
    struct authdb *db;
    int cleared;

    int err = db_new(dir, true, &db);
    if (err != 0)
        return err;
    if ((err = fs_private_dir(dir)) != 0 || (err = fs_join(lock, sizeof(lock), dir, "writer.lock")) != 0 ||
        (err = fs_lock(lock, &db->lock_fd)) != 0)
        goto out;
    db->heartbeat_fd = open(db->heartbeat, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (db->heartbeat_fd < 0) {
        err = err_from_errno(errno);
        goto out;
    }
    err = authdb_source_open(db, map_bytes, &source);
    if (err != 0)
        goto out;
    atomic_store(&db->source, source);
    err = authdb_check_readers(db, &cleared);
out:
    if (err == 0)
        *out = db;
    else
        authdb_close(db);
    return err;
}

void authdb_close(struct authdb *db)
{
    if (!db)
        return;
    struct source *source = atomic_load(&db->source);
    while (source) {
        struct source *older = source->older;
        authdb_source_free(source);
        source = older;
    }
    if (db->heartbeat_fd >= 0)
        (void)close(db->heartbeat_fd);
    if (db->lock_fd >= 0)
        (void)close(db->lock_fd);
    pthread_mutex_destroy(&db->following);
    free(db);
}

int authdb_destroy(const char *dir)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    char path[FS_PATH_SIZE];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        int err = fs_join(path, sizeof(path), dir, names[i]);
        if (err != 0)
            return err;
        if (unlink(path) != 0 && errno != ENOENT)
            return err_from_errno(errno);
    }
    return fs_sync_parent(path);
}

/* ---- Lookups ---- */

static struct slot *slot_take(struct authdb *db, struct source **out)
{
    int at = sched_getcpu();

    for (unsigned i = at > 0 ? (unsigned)at : 0;; i++) {
        struct source *source = atomic_load(&db->source);
        if (!source)
            return NULL;
        struct slot *slot = &source->slots[i % SLOTS];
        if (!atomic_flag_test_and_set(&slot->busy)) {
            /* With the slot in hand the source cannot be closed; before, it may have been. */
            if (source == atomic_load(&db->source)) {
                *out = source;
                return slot;
            }
            atomic_flag_clear(&slot->busy);
        }
        if (i % SLOTS == SLOTS - 1)
            sched_yield();
    }
}

static int slot_begin(const struct source *source, struct slot *slot)
{
    int dead;
    int rc = slot->txn ? mdb_txn_renew(slot->txn) : mdb_txn_begin(source->env, NULL, MDB_RDONLY, &slot->txn);

    if (rc == MDB_READERS_FULL && mdb_reader_check(source->env, &dead) == 0 && dead > 0)
        rc = mdb_txn_begin(source->env, NULL, MDB_RDONLY, &slot->txn);
    if (rc == 0)
        return 0;
    if (slot->txn)
        mdb_txn_abort(slot->txn);
    slot->txn = NULL;
    return ERR_AGAIN;
}

/* The head only changes with a commit, so it is read once after each. */
static bool slot_complete(struct slot *slot, MDB_dbi dbi)
{
    size_t commit = mdb_txn_id(slot->txn);
    struct auth_head head = {0};

    if (slot->complete_at == commit && commit != 0)
        return true;
    if (authdb_read_head(slot->txn, dbi, &head) != 0 || !head.complete)
        return false;
    slot->complete_at = commit;
    return true;
}

static int read_record(struct slot *slot, MDB_dbi dbi, const char *key_id, struct auth_record *out)
{
    char id[KEY_ID_SIZE];
    MDB_val value;

    if (!slot_complete(slot, dbi))
        return ERR_AGAIN;
    memcpy(id, key_id, sizeof(id));
    MDB_val key = authdb_text_val(id);
    int rc = mdb_get(slot->txn, dbi, &key, &value);
    return rc == 0 ? authdb_record_unpack(id, value.mv_data, value.mv_size, out) : authdb_map_err(rc);
}

int authdb_get(struct authdb *db, const char *key_id, struct auth_record *out)
{
    struct source *source = NULL;

    if (!key_id_valid(key_id, strnlen(key_id, KEY_ID_SIZE)))
        return ERR_NOTFOUND;
    if (!db->writer)
        authdb_follow(db);
    struct slot *slot = slot_take(db, &source);
    if (!slot)
        return ERR_AGAIN;
    int err = slot_begin(source, slot);
    if (err == 0) {
        err = read_record(slot, source->dbi, key_id, out);
        mdb_txn_reset(slot->txn);
    }
    atomic_flag_clear(&slot->busy);
    return err;
}

/* The heartbeat is younger than the head's time, but for an instant after a commit. */
static void read_heartbeat(const struct authdb *db, struct auth_head *head)
{
    int64_t synced_us;

    int fd = open(db->heartbeat, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    if (pread(fd, &synced_us, sizeof(synced_us), 0) == (ssize_t)sizeof(synced_us) && synced_us > head->synced_us)
        head->synced_us = synced_us;
    (void)close(fd);
}

int authdb_head(struct authdb *db, struct auth_head *out)
{
    struct source *source = NULL;

    if (!db->writer)
        authdb_follow(db);
    struct slot *slot = slot_take(db, &source);
    if (!slot)
        return ERR_AGAIN;
    int err = slot_begin(source, slot);
    if (err == 0) {
        err = authdb_read_head(slot->txn, source->dbi, out);
        mdb_txn_reset(slot->txn);
    }
    atomic_flag_clear(&slot->busy);
    if (err == 0 && out->synced_us > 0)
        read_heartbeat(db, out);
    return err;
}

/* ---- The writer ---- */

int authdb_begin(struct authdb *db, struct authdb_txn **out)
{
    if (!db->writer)
        return ERR_DENIED;
    struct authdb_txn *txn = calloc(1, sizeof(*txn));
    if (!txn)
        return ERR_NOMEM;
    struct source *source = atomic_load(&db->source);
    int rc = mdb_txn_begin(source->env, NULL, 0, &txn->txn);
    if (rc != 0) {
        free(txn);
        return authdb_map_err(rc);
    }
    txn->db = db;
    txn->dbi = source->dbi;
    *out = txn;
    return 0;
}

static void txn_put(struct authdb_txn *txn, char *name, uint8_t *bytes, size_t len)
{
    MDB_val key = authdb_text_val(name);
    MDB_val value = {.mv_size = len, .mv_data = bytes};

    txn->err = authdb_map_err(mdb_put(txn->txn, txn->dbi, &key, &value, 0));
}

void authdb_put(struct authdb_txn *txn, const struct auth_record *record)
{
    uint8_t bytes[AUTHDB_VALUE_MAX];
    char id[KEY_ID_SIZE];
    size_t len;

    if (txn->err != 0)
        return;
    memcpy(id, record->key_id, sizeof(id));
    txn->err = key_id_valid(id, strnlen(id, sizeof(id))) ? authdb_record_pack(record, bytes, &len) : ERR_INVALID;
    if (txn->err == 0)
        txn_put(txn, id, bytes, len);
}

void authdb_delete(struct authdb_txn *txn, const char *key_id)
{
    char id[KEY_ID_SIZE];

    if (txn->err != 0)
        return;
    if (!key_id_valid(key_id, strnlen(key_id, KEY_ID_SIZE))) {
        txn->err = ERR_INVALID;
        return;
    }
    memcpy(id, key_id, sizeof(id));
    MDB_val key = authdb_text_val(id);
    int rc = mdb_del(txn->txn, txn->dbi, &key, NULL);
    if (rc != MDB_NOTFOUND)
        txn->err = authdb_map_err(rc);
}

void authdb_clear(struct authdb_txn *txn)
{
    if (txn->err == 0)
        txn->err = authdb_map_err(mdb_drop(txn->txn, txn->dbi, 0));
}

void authdb_set_head(struct authdb_txn *txn, const struct auth_head *head)
{
    uint8_t bytes[AUTHDB_VALUE_MAX];
    char name[] = AUTHDB_HEAD_KEY;
    size_t len;

    if (txn->err != 0)
        return;
    authdb_head_pack(head, bytes, &len);
    txn_put(txn, name, bytes, len);
    txn->synced_us = head->synced_us;
}

int authdb_commit(struct authdb_txn *txn)
{
    int err = txn->err;

    if (err != 0) {
        authdb_abort(txn);
        return err;
    }
    err = authdb_map_err(mdb_txn_commit(txn->txn));
    /* The heartbeat only follows: when it fails, the head has the time. */
    if (err == 0 && txn->synced_us != 0)
        (void)authdb_heartbeat(txn->db, txn->synced_us);
    free(txn);
    return err;
}

void authdb_abort(struct authdb_txn *txn)
{
    if (!txn)
        return;
    mdb_txn_abort(txn->txn);
    free(txn);
}

int authdb_heartbeat(struct authdb *db, int64_t synced_us)
{
    ssize_t n = pwrite(db->heartbeat_fd, &synced_us, sizeof(synced_us), 0);

    return n == (ssize_t)sizeof(synced_us) ? 0 : ERR_IO;
}

int authdb_check_readers(struct authdb *db, int *cleared)
{
    return authdb_map_err(mdb_reader_check(atomic_load(&db->source)->env, cleared));
}

static int verify_pair(const MDB_val *key, const MDB_val *value, uint64_t *records)
{
    char id[KEY_ID_SIZE] = "";
    struct auth_record record;
    struct auth_head head = {0};

    if (key->mv_size == strlen(AUTHDB_HEAD_KEY) && memcmp(key->mv_data, AUTHDB_HEAD_KEY, key->mv_size) == 0)
        return authdb_head_unpack(value->mv_data, value->mv_size, &head);
    if (!key_id_valid(key->mv_data, key->mv_size))
        return ERR_CORRUPT;
    memcpy(id, key->mv_data, key->mv_size);
    (*records)++;
    return authdb_record_unpack(id, value->mv_data, value->mv_size, &record);
}

int authdb_verify(struct authdb *db, uint64_t *records)
{
    const struct source *source = atomic_load(&db->source);
    MDB_cursor *cursor = NULL;
    MDB_txn *txn;
    MDB_val key;
    MDB_val value;
    int err = 0;

    *records = 0;
    int rc = mdb_txn_begin(source->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return authdb_map_err(rc);
    rc = mdb_cursor_open(txn, source->dbi, &cursor);
    while (rc == 0 && err == 0) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        if (rc == 0)
            err = verify_pair(&key, &value, records);
    }
    if (err == 0 && rc != MDB_NOTFOUND)
        err = authdb_map_err(rc);
    if (cursor)
        mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return err;
}
