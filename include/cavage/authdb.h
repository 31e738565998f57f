/* SPDX-License-Identifier: MIT */
/* The auth cache of a host: an LMDB environment that cavage-authcache writes and API processes read. */
#ifndef CAVAGE_AUTHDB_H
#define CAVAGE_AUTHDB_H

#include "cavage/id.h"
#include "cavage/key.h"

#include <stdbool.h>
#include <stdint.h>

enum { CUSTOMER_ID_SIZE = 65 }; /* 1 to 64 of a-z 0-9 - . and NUL */

enum auth_state { AUTH_ACTIVE = 1, AUTH_SUSPENDED = 2 }; /* revoked keys are simply not there */

/* What the cache knows of a key. */
struct auth_record {
    char key_id[KEY_ID_SIZE];
    char customer[CUSTOMER_ID_SIZE];
    uint8_t secret_hash[KEY_HASH_BYTES];
    enum auth_state state; /* the customer's */
    uint32_t rate_per_s;   /* requests; 0: no limit */
    uint32_t burst;
    int64_t expires_us; /* wall clock; 0: never */
};

struct auth_head {
    uint64_t revision; /* of the authority, that the records are a copy of */
    struct id lineage; /* the identity store that counts the revision */
    bool complete;     /* a whole snapshot was written */
    int64_t synced_us; /* wall clock of the last agreement with the authority; 0: never */
};

/* One process's handle; lookups come from any thread. The folder holds the environment (data.mdb, lock.mdb), the writer's lock and the
 * heartbeat, a file of 8 bytes. The heartbeat stands apart so that telling "still current" four times a second needs no commit: commits are
 * for changes, are synchronous, and a crash of the machine leaves the environment as one of them left it. An environment that is damaged all
 * the same is deleted and made anew; readers notice within 100 ms that the file is another, and follow. One handle per folder and process. */
struct authdb;

/* Open for reading. The environment need not be there yet: until it is, every lookup says ERR_AGAIN, and opening is tried again at most
 * every 100 ms. */
int authdb_open_reader(const char *dir, struct authdb **out);
/* Open for writing, made when missing (0700, files 0600). The handle reads too. ERR_EXISTS: another writer has it; ERR_DENIED: others can
 * enter the folder; ERR_CORRUPT: it is damaged; see authdb_destroy. */
int authdb_open_writer(const char *dir, uint64_t map_bytes, struct authdb **out);
void authdb_close(struct authdb *db);
/* Remove a damaged environment that no handle of this process has open. Readers of other processes keep what they had until it is made anew. */
int authdb_destroy(const char *dir);

/* Look a key id up; at most some microseconds, without allocation or lock. ERR_NOTFOUND: no such key; ERR_AGAIN: the cache holds no
 * complete snapshot, or cannot be read, so nothing can be said; ERR_CORRUPT: the record is damaged. */
int authdb_get(struct authdb *db, const char *key_id, struct auth_record *out);
/* ERR_AGAIN: there is no environment yet. A new one has a head of zeros. */
int authdb_head(struct authdb *db, struct auth_head *out);

/* Writer: one transaction that remembers its first error, which commit reports. A record's strings must be valid. */
struct authdb_txn;
int authdb_begin(struct authdb *db, struct authdb_txn **out);
void authdb_put(struct authdb_txn *txn, const struct auth_record *record);
void authdb_delete(struct authdb_txn *txn, const char *key_id); /* one that is not there is no error */
void authdb_clear(struct authdb_txn *txn);                      /* the head too: incomplete until it is set again */
void authdb_set_head(struct authdb_txn *txn, const struct auth_head *head);
int authdb_commit(struct authdb_txn *txn); /* durable when it returns 0; frees txn. ERR_FULL: map_bytes are used up */
void authdb_abort(struct authdb_txn *txn); /* frees txn; may be NULL */

/* Writer: agreed with the authority again, nothing changed. Costs one write of 8 bytes to the page cache. */
int authdb_heartbeat(struct authdb *db, int64_t synced_us);
/* Writer: free the reader slots of processes that died; how many. */
int authdb_check_readers(struct authdb *db, int *cleared);
/* Writer: read every record; ERR_CORRUPT if one is damaged. */
int authdb_verify(struct authdb *db, uint64_t *records);

/* ERR_INVALID unless the id is 1 to 64 characters of a-z 0-9 - . and starts with a letter or digit. */
int customer_id_check(const char *id);

#endif
