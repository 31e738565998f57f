/* SPDX-License-Identifier: MIT */
/* The embedded identity store: the authority on customers and keys, in an LMDB environment of its own.
 *
 * Every change is one synchronous transaction: it is on disk when the call returns. It raises the revision, and the change log says which
 * keys' cache records it touched, so that a cache that knows a revision can be brought to the newest one without reading everything. */
#ifndef IDENTITY_H
#define IDENTITY_H

#include "cavage/authdb.h"
#include "cavage/id.h"
#include "cavage/key.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    CUSTOMER_NAME_SIZE = 201, /* bytes of UTF-8, and NUL */
    KEY_LABEL_SIZE = 101,
    CUSTOMER_KEYS_MAX = 1000,
    IDENTITY_LOG_MAX = 100000 /* changed keys that the log remembers */
};

struct customer {
    char id[CUSTOMER_ID_SIZE];
    char name[CUSTOMER_NAME_SIZE];
    enum auth_state state;
    uint32_t rate_per_s; /* 0: no limit */
    uint32_t burst;      /* 0: as rate_per_s */
    int64_t created_us;
};

struct customer_key {
    char key_id[KEY_ID_SIZE];
    char customer[CUSTOMER_ID_SIZE];
    char label[KEY_LABEL_SIZE];
    uint8_t secret_hash[KEY_HASH_BYTES];
    int64_t created_us;
    int64_t expires_us; /* 0: never */
};

struct identity_status {
    struct id lineage; /* made with the store; a revision means something within its lineage only */
    uint64_t revision;
    uint64_t customers;
    uint64_t keys;
    bool has_pepper; /* identity_bind_pepper was called once */
};

struct identity;

/* Open, made when missing (0700). log_max: entries the change log keeps. ERR_EXISTS: another process has it; ERR_VERSION: made by a newer
 * version; ERR_DENIED, ERR_CORRUPT, ERR_IO. Not thread-safe: one thread at a time. */
int identity_open(const char *dir, uint64_t map_bytes, uint64_t log_max, struct identity **out);
void identity_close(struct identity *identity);

int identity_status(struct identity *identity, struct identity_status *out);
/* Remember, the first time, which pepper the hashes are made with; afterwards ERR_DENIED for another one, with which no key would work. */
int identity_bind_pepper(struct identity *identity, const struct key_pepper *pepper);

/* ERR_EXISTS. Strings must be valid; they are not checked again. ERR_FULL: the store is at map_bytes. */
int identity_customer_add(struct identity *identity, const struct customer *customer);
int identity_customer_get(struct identity *identity, const char *id, struct customer *out);
/* All but `created_us`. ERR_NOTFOUND. */
int identity_customer_update(struct identity *identity, const struct customer *customer);
/* Its keys go with it. ERR_NOTFOUND. */
int identity_customer_remove(struct identity *identity, const char *id);
/* Visit up to `limit` customers whose ids come after `after` ("": from the start), in the order of ids. *more: there are others. A visitor's
 * error ends the walk and is returned. */
typedef int (*identity_customer_fn)(void *arg, const struct customer *customer);
int identity_customer_list(struct identity *identity, const char *after, unsigned limit, identity_customer_fn fn,
                           void *arg, bool *more);

/* ERR_NOTFOUND: no such customer; ERR_EXISTS: the key id is taken; ERR_RANGE: the customer has CUSTOMER_KEYS_MAX keys. */
int identity_key_add(struct identity *identity, const struct customer_key *key);
int identity_key_get(struct identity *identity, const char *key_id, struct customer_key *out);
int identity_key_remove(struct identity *identity, const char *key_id);
/* As identity_customer_list. ERR_NOTFOUND: no such customer. */
typedef int (*identity_key_fn)(void *arg, const struct customer_key *key);
int identity_key_list(struct identity *identity, const char *customer, const char *after, unsigned limit,
                      identity_key_fn fn, void *arg, bool *more);

/* One unchanging view of the store, for the cache. */
struct identity_view;
int identity_view_open(struct identity *identity, struct identity_view **out);
void identity_view_close(struct identity_view *view);
int identity_view_status(struct identity_view *view, struct identity_status *out);
/* What the cache is to hold of a key. ERR_NOTFOUND. */
int identity_view_record(struct identity_view *view, const char *key_id, struct auth_record *out);
typedef int (*identity_record_fn)(void *arg, const struct auth_record *record);
int identity_view_records(struct identity_view *view, identity_record_fn fn, void *arg);
/* Visit the ids of the keys that changed after revision `since`, oldest first; some more than once. ERR_NOTFOUND when the log does not hold
 * every change since then. */
typedef int (*identity_change_fn)(void *arg, const char *key_id);
int identity_view_changes(struct identity_view *view, uint64_t since, identity_change_fn fn, void *arg);

#endif
