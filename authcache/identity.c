/* SPDX-License-Identifier: MIT */
/* The embedded identity store: opened, and changed, one durable transaction a change. */
#include "identity.h"

#include "cavage/err.h"
#include "cavage/fs.h"
#include "identity_codec.h"
#include "identity_store.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    unsigned flags;
} databases[DB_COUNT] = {
    {"customers", 0}, {"keys", 0}, {"customer_keys", 0}, {"log", MDB_INTEGERKEY}, {"meta", 0},
};

enum { FORMAT = 1 };

/* A write transaction that remembers its first error; the revision it will leave behind. */
struct change {
    struct identity *identity;
    MDB_txn *txn;
    uint64_t revision;
    int err;
};

/* ---- Opening ---- */

static int prepare_meta(MDB_txn *txn, const struct identity *identity)
{
    uint64_t revision = 0;
    uint32_t format = FORMAT;
    struct id lineage;

    int err = store_get_meta(txn, identity, "format", &format, sizeof(format));
    if (err == 0)
        return format == FORMAT ? 0 : ERR_VERSION;
    if (err != ERR_NOTFOUND)
        return err;
    id_random(&lineage);
    err = store_put(txn, identity, DB_META, store_text("lineage"), store_val(&lineage, sizeof(lineage)), 0);
    if (err == 0)
        err = store_put(txn, identity, DB_META, store_text("revision"), store_val(&revision, sizeof(revision)), 0);
    if (err == 0)
        err = store_put(txn, identity, DB_META, store_text("format"), store_val(&format, sizeof(format)), 0);
    return err;
}

static int prepare(struct identity *identity)
{
    MDB_txn *txn;
    int err = 0;

    int rc = mdb_txn_begin(identity->env, NULL, 0, &txn);
    if (rc != 0)
        return store_err(rc);
    for (int i = 0; err == 0 && i < DB_COUNT; i++)
        err = store_err(mdb_dbi_open(txn, databases[i].name, databases[i].flags | MDB_CREATE, &identity->dbi[i]));
    if (err == 0)
        err = prepare_meta(txn, identity);
    if (err == 0)
        return store_err(mdb_txn_commit(txn));
    mdb_txn_abort(txn);
    return err;
}

static int open_env(struct identity *identity, const char *dir, uint64_t map_bytes)
{
    int dead;
    int rc = mdb_env_create(&identity->env);

    if (rc != 0)
        return store_err(rc);
    if ((rc = mdb_env_set_mapsize(identity->env, map_bytes)) != 0 ||
        (rc = mdb_env_set_maxdbs(identity->env, DB_COUNT)) != 0 ||
        (rc = mdb_env_open(identity->env, dir, MDB_NOTLS, 0600)) != 0 ||
        (rc = mdb_reader_check(identity->env, &dead)) != 0)
        return store_err(rc);
    return prepare(identity);
}

int identity_open(const char *dir, uint64_t map_bytes, uint64_t log_max, struct identity **out)
{
    char lock[FS_PATH_SIZE];

    struct identity *identity = calloc(1, sizeof(*identity));
    if (!identity)
        return ERR_NOMEM;
    identity->lock_fd = -1;
    identity->log_max = log_max;
    int err = fs_private_dir(dir);
    if (err == 0)
        err = fs_join(lock, sizeof(lock), dir, "writer.lock");
    if (err == 0)
        err = fs_lock(lock, &identity->lock_fd);
    if (err == 0)
        err = open_env(identity, dir, map_bytes);
    if (err != 0) {
        identity_close(identity);
        return err;
    }
    *out = identity;
    return 0;
}

void identity_close(struct identity *identity)
{
    if (!identity)
        return;
    if (identity->env)
        mdb_env_close(identity->env);
    if (identity->lock_fd >= 0)
        (void)close(identity->lock_fd);
    free(identity);
}

/* ---- Changing ---- */

static int change_begin(struct identity *identity, struct change *out)
{
    *out = (struct change){.identity = identity};
    int err = store_err(mdb_txn_begin(identity->env, NULL, 0, &out->txn));
    if (err == 0)
        out->err = store_get_meta(out->txn, identity, "revision", &out->revision, sizeof(out->revision));
    return err;
}

static void change_store(struct change *change, enum identity_db db, MDB_val key, MDB_val value, unsigned flags)
{
    if (change->err == 0)
        change->err = store_put(change->txn, change->identity, db, key, value, flags);
}

static void change_delete(struct change *change, enum identity_db db, MDB_val key)
{
    if (change->err == 0)
        change->err = store_err(mdb_del(change->txn, change->identity->dbi[db], &key, NULL));
}

/* Log that a key's record changed, or, with "", that something did. */
static void change_log(struct change *change, const char *key_id)
{
    change->revision++;
    change_store(change, DB_LOG, store_val(&change->revision, sizeof(change->revision)), store_text(key_id),
                 MDB_APPEND);
}

static int trim_log(const struct change *change)
{
    MDB_dbi dbi = change->identity->dbi[DB_LOG];
    MDB_cursor *cursor;
    MDB_stat stat;
    MDB_val key;
    MDB_val value;

    int rc = mdb_stat(change->txn, dbi, &stat);
    if (rc != 0 || stat.ms_entries <= change->identity->log_max)
        return store_err(rc);
    rc = mdb_cursor_open(change->txn, dbi, &cursor);
    if (rc != 0)
        return store_err(rc);
    for (size_t excess = stat.ms_entries - change->identity->log_max; rc == 0 && excess > 0; excess--) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        if (rc == 0)
            rc = mdb_cursor_del(cursor, 0);
    }
    mdb_cursor_close(cursor);
    return store_err(rc);
}

static int change_end(struct change *change)
{
    change_store(change, DB_META, store_text("revision"), store_val(&change->revision, sizeof(change->revision)), 0);
    if (change->err == 0)
        change->err = trim_log(change);
    if (change->err == 0)
        return store_err(mdb_txn_commit(change->txn));
    mdb_txn_abort(change->txn);
    return change->err;
}

int identity_bind_pepper(struct identity *identity, const struct key_pepper *pepper)
{
    static const struct key nobody; /* no real key has an empty id, so this hash opens nothing */
    uint8_t print[KEY_HASH_BYTES];
    uint8_t bound[KEY_HASH_BYTES];
    struct change change;

    key_hash(&nobody, pepper, print);
    int err = change_begin(identity, &change);
    if (err != 0)
        return err;
    err = store_get_meta(change.txn, identity, "pepper", bound, sizeof(bound));
    if (err == ERR_NOTFOUND) {
        change_store(&change, DB_META, store_text("pepper"), store_val(print, sizeof(print)), 0);
        return change_end(&change);
    }
    mdb_txn_abort(change.txn);
    if (err != 0)
        return err;
    return key_hash_equal(print, bound) ? 0 : ERR_DENIED;
}

int identity_customer_add(struct identity *identity, const struct customer *customer)
{
    uint8_t value[IDENTITY_VALUE_MAX];
    struct change change;

    int err = change_begin(identity, &change);
    if (err != 0)
        return err;
    size_t len = identity_customer_pack(customer, value);
    change_store(&change, DB_CUSTOMERS, store_text(customer->id), store_val(value, len), MDB_NOOVERWRITE);
    change_log(&change, "");
    return change_end(&change);
}

typedef void (*key_change_fn)(struct change *change, const char *customer, const char *key_id);

struct key_walk {
    const char *customer;
    unsigned count;
    char (*ids)[KEY_ID_SIZE]; /* of CUSTOMER_KEYS_MAX */
};

static int collect_key(void *arg, const MDB_val *key, const MDB_val *value)
{
    struct key_walk *w = arg;

    (void)value;
    if (w->count == CUSTOMER_KEYS_MAX)
        return ERR_CORRUPT;
    int err = store_split_pair(key, w->customer, w->ids[w->count]);
    if (err == 0)
        w->count++;
    return err;
}

/* The ids are collected first: a cursor must not walk what is being changed. */
static void change_each_key(struct change *change, const char *customer, key_change_fn fn, unsigned *count)
{
    struct key_walk w = {.customer = customer};
    char pair[IDENTITY_PAIR_SIZE];

    *count = 0;
    if (change->err != 0)
        return;
    w.ids = calloc(CUSTOMER_KEYS_MAX, sizeof(*w.ids));
    if (!w.ids) {
        change->err = ERR_NOMEM;
        return;
    }
    MDB_val from = store_val(pair, store_make_pair(customer, "", pair));
    change->err = store_walk(change->txn, change->identity, DB_CUSTOMER_KEYS, &from, collect_key, &w);
    for (unsigned i = 0; fn && i < w.count; i++)
        fn(change, customer, w.ids[i]);
    *count = w.count;
    free(w.ids);
}

static void log_key(struct change *change, const char *customer, const char *key_id)
{
    (void)customer;
    change_log(change, key_id);
}

static void remove_key(struct change *change, const char *customer, const char *key_id)
{
    char pair[IDENTITY_PAIR_SIZE];

    change_delete(change, DB_KEYS, store_text(key_id));
    change_delete(change, DB_CUSTOMER_KEYS, store_val(pair, store_make_pair(customer, key_id, pair)));
    change_log(change, key_id);
}

int identity_customer_update(struct identity *identity, const struct customer *customer)
{
    uint8_t value[IDENTITY_VALUE_MAX];
    struct customer old;
    struct change change;
    unsigned keys;

    int err = change_begin(identity, &change);
    if (err != 0)
        return err;
    if (change.err == 0)
        change.err = store_get_customer(change.txn, identity, customer->id, &old);
    if (change.err == 0) {
        struct customer fresh = *customer;
        fresh.created_us = old.created_us;
        size_t len = identity_customer_pack(&fresh, value);
        change_store(&change, DB_CUSTOMERS, store_text(fresh.id), store_val(value, len), 0);
    }
    change_each_key(&change, customer->id, log_key, &keys);
    if (keys == 0)
        change_log(&change, "");
    return change_end(&change);
}

int identity_customer_remove(struct identity *identity, const char *id)
{
    struct change change;
    unsigned keys;

    int err = change_begin(identity, &change);
    if (err != 0)
        return err;
    change_delete(&change, DB_CUSTOMERS, store_text(id));
    change_each_key(&change, id, remove_key, &keys);
    change_log(&change, "");
    return change_end(&change);
}

int identity_key_add(struct identity *identity, const struct customer_key *key)
{
    uint8_t value[IDENTITY_VALUE_MAX];
    char pair[IDENTITY_PAIR_SIZE];
    struct customer owner;
    struct change change;
    unsigned keys;

    int err = change_begin(identity, &change);
    if (err != 0)
        return err;
    if (change.err == 0)
        change.err = store_get_customer(change.txn, identity, key->customer, &owner);
    change_each_key(&change, key->customer, NULL, &keys);
    if (change.err == 0 && keys >= CUSTOMER_KEYS_MAX)
        change.err = ERR_RANGE;
    size_t len = identity_key_pack(key, value);
    change_store(&change, DB_KEYS, store_text(key->key_id), store_val(value, len), MDB_NOOVERWRITE);
    change_store(&change, DB_CUSTOMER_KEYS, store_val(pair, store_make_pair(key->customer, key->key_id, pair)),
                 store_val("", 0), 0);
    change_log(&change, key->key_id);
    return change_end(&change);
}

int identity_key_remove(struct identity *identity, const char *key_id)
{
    struct customer_key key;
    struct change change;

    int err = change_begin(identity, &change);
    if (err != 0)
        return err;
    if (change.err == 0)
        change.err = store_get_key(change.txn, identity, key_id, &key);
    if (change.err == 0)
        remove_key(&change, key.customer, key_id);
    return change_end(&change);
}
