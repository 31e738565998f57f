/* SPDX-License-Identifier: MIT */
/* What the files of the identity store share: its databases, and small steps on them. */
#ifndef IDENTITY_STORE_H
#define IDENTITY_STORE_H

#include "identity.h"

#include <lmdb.h>
#include <stddef.h>

/* Databases of the environment.
 *   customers       id                    IdentityCustomer
 *   keys            key id                IdentityKey
 *   customer_keys   id NUL key id         nothing; a customer's keys in order
 *   log             revision (uint64_t)   key id, or nothing for a change that touches no key
 *   meta            "format" "lineage" "revision" "pepper" */
enum identity_db { DB_CUSTOMERS, DB_KEYS, DB_CUSTOMER_KEYS, DB_LOG, DB_META, DB_COUNT };

enum { IDENTITY_PAIR_SIZE = CUSTOMER_ID_SIZE + KEY_ID_SIZE };

struct identity {
    MDB_env *env;
    MDB_dbi dbi[DB_COUNT];
    int lock_fd;
    uint64_t log_max;
};

/* The enum err for what LMDB answers. */
int store_err(int rc);

/* LMDB takes what it only reads through a pointer that is not const. */
MDB_val store_val(const void *data, size_t len);
MDB_val store_text(const char *text);

int store_get(MDB_txn *txn, const struct identity *identity, enum identity_db db, MDB_val key, MDB_val *value);
int store_put(MDB_txn *txn, const struct identity *identity, enum identity_db db, MDB_val key, MDB_val value,
              unsigned flags);
/* A value of `meta` of exactly this length. */
int store_get_meta(MDB_txn *txn, const struct identity *identity, const char *name, void *out, size_t len);
int store_get_customer(MDB_txn *txn, const struct identity *identity, const char *id, struct customer *out);
int store_get_key(MDB_txn *txn, const struct identity *identity, const char *id, struct customer_key *out);

/* Walk a database from `from` on (NULL: from the start) until visit says otherwise; ERR_CLOSED from it ends the walk without an error. */
typedef int (*store_visit_fn)(void *arg, const MDB_val *key, const MDB_val *value);
int store_walk(MDB_txn *txn, const struct identity *identity, enum identity_db db, const MDB_val *from,
               store_visit_fn visit, void *arg);

/* The key of customer_keys; its length. */
size_t store_make_pair(const char *customer, const char *key_id, char out[IDENTITY_PAIR_SIZE]);
/* The key id of a pair of this customer; ERR_CLOSED for the next customer's. */
int store_split_pair(const MDB_val *pair, const char *customer, char key_id[KEY_ID_SIZE]);

#endif
