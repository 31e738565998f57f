/* SPDX-License-Identifier: MIT */
/* Small steps on the databases of the identity store. */
#include "identity_store.h"

#include "cavage/err.h"
#include "identity_codec.h"

#include <string.h>

int store_err(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return 0;
    case MDB_NOTFOUND:
        return ERR_NOTFOUND;
    case MDB_KEYEXIST:
        return ERR_EXISTS;
    case MDB_MAP_FULL:
        return ERR_FULL;
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
        return ERR_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return ERR_VERSION;
    default:
        return rc > 0 ? err_from_errno(rc) : ERR_INTERNAL;
    }
}

MDB_val store_val(const void *data, size_t len)
{
    union {
        const void *in;
        void *out;
    } u = {.in = data};
    return (MDB_val){.mv_size = len, .mv_data = u.out};
}

MDB_val store_text(const char *text)
{
    return store_val(text, strlen(text));
}

int store_get(MDB_txn *txn, const struct identity *identity, enum identity_db db, MDB_val key, MDB_val *value)
{
    return store_err(mdb_get(txn, identity->dbi[db], &key, value));
}

int store_get_meta(MDB_txn *txn, const struct identity *identity, const char *name, void *out, size_t len)
{
    MDB_val value;

    int err = store_get(txn, identity, DB_META, store_text(name), &value);
    if (err == 0 && value.mv_size != len)
        err = ERR_CORRUPT;
    if (err == 0)
        memcpy(out, value.mv_data, len);
    return err;
}

int store_put(MDB_txn *txn, const struct identity *identity, enum identity_db db, MDB_val key, MDB_val value,
              unsigned flags)
{
    return store_err(mdb_put(txn, identity->dbi[db], &key, &value, flags));
}

int store_get_customer(MDB_txn *txn, const struct identity *identity, const char *id, struct customer *out)
{
    MDB_val value;

    int err = store_get(txn, identity, DB_CUSTOMERS, store_text(id), &value);
    return err == 0 ? identity_customer_unpack(id, strlen(id), value.mv_data, value.mv_size, out) : err;
}

int store_get_key(MDB_txn *txn, const struct identity *identity, const char *id, struct customer_key *out)
{
    MDB_val value;

    int err = store_get(txn, identity, DB_KEYS, store_text(id), &value);
    return err == 0 ? identity_key_unpack(id, strlen(id), value.mv_data, value.mv_size, out) : err;
}

int store_walk(MDB_txn *txn, const struct identity *identity, enum identity_db db, const MDB_val *from,
               store_visit_fn visit, void *arg)
{
    MDB_val key = from ? *from : (MDB_val){0};
    MDB_cursor *cursor;
    MDB_val value;
    int err = 0;

    int rc = mdb_cursor_open(txn, identity->dbi[db], &cursor);
    if (rc != 0)
        return store_err(rc);
    for (rc = mdb_cursor_get(cursor, &key, &value, from ? MDB_SET_RANGE : MDB_FIRST); rc == 0 && err == 0;
         rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))
        err = visit(arg, &key, &value);
    mdb_cursor_close(cursor);
    if (err == 0 && rc != MDB_NOTFOUND)
        err = store_err(rc);
    return err == ERR_CLOSED ? 0 : err;
}

size_t store_make_pair(const char *customer, const char *key_id, char out[IDENTITY_PAIR_SIZE])
{
    size_t len = strlen(customer) + 1;

    memcpy(out, customer, len);
    memcpy(out + len, key_id, strlen(key_id));
    return len + strlen(key_id);
}

int store_split_pair(const MDB_val *pair, const char *customer, char key_id[KEY_ID_SIZE])
{
    size_t len = strlen(customer) + 1;

    if (pair->mv_size <= len || memcmp(pair->mv_data, customer, len) != 0)
        return ERR_CLOSED;
    const char *id = (const char *)pair->mv_data + len;
    if (!key_id_valid(id, pair->mv_size - len))
        return ERR_CORRUPT;
    memcpy(key_id, id, KEY_ID_SIZE - 1);
    key_id[KEY_ID_SIZE - 1] = '\0';
    return 0;
}
