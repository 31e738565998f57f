/* SPDX-License-Identifier: MIT */
/* What the files of the auth cache share: its opened environments, and the errors of LMDB. */
#ifndef CAVAGE_AUTHDB_SOURCE_H
#define CAVAGE_AUTHDB_SOURCE_H

#include "cavage/authdb.h"
#include "cavage/fs.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/types.h>

enum { SLOTS = 64 }; /* lookups at the same time; more wait for a slot some microseconds */

/* A parked read transaction; whoever sets busy has it. */
struct slot {
    alignas(64) atomic_flag busy;
    MDB_txn *txn;       /* NULL until first used */
    size_t complete_at; /* the commit whose head was last seen to be complete; 0: none */
};

/* One opened environment. A replaced one is closed when its slots are out of use; its memory stays until authdb_close, so that a lookup
 * that is just taking a slot of it can see that it was replaced. */
struct source {
    MDB_env *env; /* NULL once closed */
    MDB_dbi dbi;
    dev_t device;
    ino_t inode;
    struct source *older;
    int seized; /* slots of a replaced source that nobody can take any more */
    struct slot slots[SLOTS];
};

struct authdb {
    char dir[FS_PATH_SIZE];
    char data[FS_PATH_SIZE];
    char heartbeat[FS_PATH_SIZE];
    bool writer;
    int lock_fd;
    int heartbeat_fd;
    _Atomic(struct source *) source;
    pthread_mutex_t following;
    _Atomic int64_t follow_at_us;
};

/* Name of the head's record; shorter than any key id. */
#define AUTHDB_HEAD_KEY "head"

static inline MDB_val authdb_text_val(char *text)
{
    return (MDB_val){.mv_size = strlen(text), .mv_data = text};
}

/* The enum err for what LMDB answers. */
int authdb_map_err(int rc);

/* Open the environment of db->dir; map_bytes 0: as a reader does. */
int authdb_source_open(const struct authdb *db, uint64_t map_bytes, struct source **out);
/* Close it and free it. Nobody may use its slots. */
void authdb_source_free(struct source *source);
/* Reader: when the last look is 100 ms ago, open the environment if it has appeared, or was deleted and made anew. Any thread. */
void authdb_follow(struct authdb *db);

/* The head as `txn` sees it; zeros when there is none. */
int authdb_read_head(MDB_txn *txn, MDB_dbi dbi, struct auth_head *out);

#endif
