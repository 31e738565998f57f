/* SPDX-License-Identifier: MIT */
/* The auth cache and the judgement of Authorization headers. Writers run in child processes, as LMDB wants one handle a process. */
#include "cavage/authdb.h"

#include "cavage/auth.h"
#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/fs.h"

#include "folder.h"

#include <lmdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAP_BYTES = 64 << 20, NOW_US = 1000000 };

struct fixture {
    char dir[64];
    char cache[80];
    struct key_pepper pepper;
    struct key key;
    char bearer[KEY_TEXT_SIZE + 8];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char text[KEY_TEXT_SIZE] = "";

    snprintf(f->dir, sizeof(f->dir), "/tmp/cavage-authdb-XXXXXX");
    if (!mkdtemp(f->dir) || key_generate(&f->key) != 0)
        return -1;
    snprintf(f->cache, sizeof(f->cache), "%s/auth", f->dir);
    memset(f->pepper.bytes, 7, sizeof(f->pepper.bytes));
    key_text(&f->key, text);
    snprintf(f->bearer, sizeof(f->bearer), "Bearer %s", text);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    int rc = folder_remove(f->dir);
    free(f);
    return rc;
}

static struct auth_record record_of(const struct fixture *f)
{
    struct auth_record record = {
        .customer = "acme", .state = AUTH_ACTIVE, .rate_per_s = 5, .burst = 9, .expires_us = NOW_US + 1};

    memcpy(record.key_id, f->key.id, sizeof(record.key_id));
    key_hash(&f->key, &f->pepper, record.secret_hash);
    return record;
}

static bool record_equal(const struct auth_record *a, const struct auth_record *b)
{
    return strcmp(a->key_id, b->key_id) == 0 && strcmp(a->customer, b->customer) == 0 &&
           memcmp(a->secret_hash, b->secret_hash, sizeof(a->secret_hash)) == 0 && a->state == b->state &&
           a->rate_per_s == b->rate_per_s && a->burst == b->burst && a->expires_us == b->expires_us;
}

static void fill_id(struct auth_record *record, unsigned number)
{
    snprintf(record->key_id, sizeof(record->key_id), "%016x", number);
}

typedef int (*writer_fn)(struct authdb *db, const struct fixture *f, const void *arg);

static int write_with(const struct fixture *f, writer_fn fn, const void *arg)
{
    struct authdb *db = NULL;

    int err = authdb_open_writer(f->cache, MAP_BYTES, &db);
    if (err == 0)
        err = fn(db, f, arg);
    authdb_close(db);
    return err;
}

static int wait_for(pid_t pid)
{
    int status = 0;

    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

/* Run fn with a writer in another process; its result. */
static int in_writer(const struct fixture *f, writer_fn fn, const void *arg)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(-write_with(f, fn, arg));
    return wait_for(pid);
}

static int put_record(struct authdb *db, const struct fixture *f, const void *arg)
{
    struct auth_head head = {.revision = 1, .lineage = {{9}}, .complete = true, .synced_us = 50};
    struct authdb_txn *txn;

    (void)f;
    int err = authdb_begin(db, &txn);
    if (err != 0)
        return err;
    authdb_put(txn, arg);
    authdb_set_head(txn, &head);
    return authdb_commit(txn);
}

static int put_incomplete(struct authdb *db, const struct fixture *f, const void *arg)
{
    struct authdb_txn *txn;

    (void)f;
    int err = authdb_begin(db, &txn);
    if (err != 0)
        return err;
    authdb_put(txn, arg);
    return authdb_commit(txn);
}

static int delete_record(struct authdb *db, const struct fixture *f, const void *arg)
{
    struct authdb_txn *txn;

    (void)f;
    int err = authdb_begin(db, &txn);
    if (err != 0)
        return err;
    authdb_delete(txn, arg);
    authdb_delete(txn, arg);
    return authdb_commit(txn);
}

static int clear_all(struct authdb *db, const struct fixture *f, const void *arg)
{
    struct authdb_txn *txn;

    (void)f;
    (void)arg;
    int err = authdb_begin(db, &txn);
    if (err != 0)
        return err;
    authdb_clear(txn);
    return authdb_commit(txn);
}

static int beat(struct authdb *db, const struct fixture *f, const void *arg)
{
    (void)f;
    return authdb_heartbeat(db, *(const int64_t *)arg);
}

static void test_reader_waits_for_an_environment_and_a_snapshot(void **state)
{
    struct fixture *f = *state;
    struct auth_record record = record_of(f);
    struct auth_record got;
    struct auth_head head;
    struct authdb *db;

    assert_int_equal(authdb_open_reader(f->cache, &db), 0);
    assert_int_equal(authdb_get(db, f->key.id, &got), ERR_AGAIN);
    assert_int_equal(authdb_head(db, &head), ERR_AGAIN);
    authdb_close(db);

    assert_int_equal(in_writer(f, put_incomplete, &record), 0);
    assert_int_equal(authdb_open_reader(f->cache, &db), 0);
    assert_int_equal(authdb_get(db, f->key.id, &got), ERR_AGAIN);
    assert_int_equal(authdb_get(db, "0000000000000000", &got), ERR_AGAIN);
    assert_int_equal(authdb_head(db, &head), 0);
    assert_false(head.complete);
    authdb_close(db);
}

/* Ask until the answer changes from `from`; the reader looks for a new environment every 100 ms. */
static int get_until_not(struct authdb *db, const char *key_id, int from, struct auth_record *got)
{
    int64_t end_us = clock_monotonic_us() + 10 * 1000 * 1000;
    int err;

    do
        err = authdb_get(db, key_id, got);
    while (err == from && clock_monotonic_us() < end_us);
    return err;
}

static void test_reader_finds_an_environment_made_later(void **state)
{
    struct fixture *f = *state;
    struct auth_record record = record_of(f);
    struct auth_record got;
    struct authdb *db;

    assert_int_equal(authdb_open_reader(f->cache, &db), 0);
    assert_int_equal(authdb_get(db, f->key.id, &got), ERR_AGAIN);
    assert_int_equal(in_writer(f, put_record, &record), 0);
    assert_int_equal(get_until_not(db, f->key.id, ERR_AGAIN, &got), 0);
    assert_true(record_equal(&got, &record));
    authdb_close(db);
}

static void test_reader_sees_changes_at_once(void **state)
{
    struct fixture *f = *state;
    struct auth_record record = record_of(f);
    struct auth_record got;
    struct auth_head head;
    struct authdb *db;
    int64_t now_us = 77;

    assert_int_equal(in_writer(f, put_record, &record), 0);
    assert_int_equal(authdb_open_reader(f->cache, &db), 0);
    assert_int_equal(authdb_get(db, f->key.id, &got), 0);
    assert_true(record_equal(&got, &record));
    assert_int_equal(authdb_get(db, "0000000000000000", &got), ERR_NOTFOUND);
    assert_int_equal(authdb_get(db, "head", &got), ERR_NOTFOUND);

    assert_int_equal(authdb_head(db, &head), 0);
    assert_true(head.complete);
    assert_int_equal(head.revision, 1);
    assert_int_equal(head.lineage.bytes[0], 9);
    assert_int_equal(head.synced_us, 50);
    assert_int_equal(in_writer(f, beat, &now_us), 0);
    assert_int_equal(authdb_head(db, &head), 0);
    assert_int_equal(head.synced_us, 77);

    record.state = AUTH_SUSPENDED;
    assert_int_equal(in_writer(f, put_record, &record), 0);
    assert_int_equal(authdb_get(db, f->key.id, &got), 0);
    assert_int_equal(got.state, AUTH_SUSPENDED);
    assert_int_equal(in_writer(f, delete_record, f->key.id), 0);
    assert_int_equal(authdb_get(db, f->key.id, &got), ERR_NOTFOUND);
    assert_int_equal(in_writer(f, clear_all, NULL), 0);
    assert_int_equal(authdb_get(db, f->key.id, &got), ERR_AGAIN);
    authdb_close(db);
}

static int abort_put(struct authdb *db, const struct fixture *f, const void *arg)
{
    struct auth_record bad = *(const struct auth_record *)arg;
    struct authdb_txn *txn;

    (void)f;
    if (authdb_begin(db, &txn) != 0)
        return ERR_INTERNAL;
    authdb_put(txn, arg);
    authdb_abort(txn);
    /* The first error is remembered, whatever follows it. */
    if (authdb_begin(db, &txn) != 0)
        return ERR_INTERNAL;
    memcpy(bad.customer, "No Such", 8);
    authdb_put(txn, &bad);
    authdb_put(txn, arg);
    authdb_set_head(txn, &(struct auth_head){.revision = 99, .complete = true});
    if (authdb_commit(txn) != ERR_INVALID)
        return ERR_INTERNAL;
    if (authdb_begin(db, &txn) != 0)
        return ERR_INTERNAL;
    authdb_delete(txn, "head");
    return authdb_commit(txn) == ERR_INVALID ? 0 : ERR_INTERNAL;
}

static void test_transaction_is_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct auth_record record = record_of(f);
    struct auth_record other = record;
    struct auth_record got;
    struct auth_head head;
    struct authdb *db;

    fill_id(&other, 1);
    assert_int_equal(in_writer(f, put_record, &record), 0);
    assert_int_equal(in_writer(f, abort_put, &other), 0);
    assert_int_equal(authdb_open_reader(f->cache, &db), 0);
    assert_int_equal(authdb_get(db, other.key_id, &got), ERR_NOTFOUND);
    assert_int_equal(authdb_get(db, record.key_id, &got), 0);
    assert_int_equal(authdb_head(db, &head), 0);
    assert_int_equal(head.revision, 1);
    struct authdb_txn *txn;
    assert_int_equal(authdb_begin(db, &txn), ERR_DENIED);
    authdb_close(db);
}

static int second_writer(struct authdb *db, const struct fixture *f, const void *arg)
{
    struct authdb *other;

    (void)db;
    (void)arg;
    return authdb_open_writer(f->cache, MAP_BYTES, &other);
}

static void test_writer_is_alone_and_private(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct stat st;

    assert_int_equal(in_writer(f, second_writer, NULL), ERR_EXISTS);
    static const char *const files[] = {"data.mdb", "lock.mdb", "heartbeat", "writer.lock"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", f->cache, files[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(chmod(f->cache, 0755), 0);
    assert_int_equal(in_writer(f, clear_all, NULL), ERR_DENIED);
}

static int fill_up(struct authdb *db, const struct fixture *f, const void *arg)
{
    struct auth_record record = *(const struct auth_record *)arg;
    struct authdb *small;
    struct authdb_txn *txn;
    char dir[128];

    (void)db;
    snprintf(dir, sizeof(dir), "%s/small", f->dir);
    if (authdb_open_writer(dir, 1 << 20, &small) != 0 || authdb_begin(small, &txn) != 0)
        return ERR_INTERNAL;
    for (unsigned i = 0; i < 100000; i++) {
        fill_id(&record, i);
        authdb_put(txn, &record);
    }
    int err = authdb_commit(txn);
    if (authdb_begin(small, &txn) != 0)
        return ERR_INTERNAL;
    authdb_put(txn, &record);
    if (authdb_commit(txn) != 0)
        return ERR_INTERNAL;
    authdb_close(small);
    return err;
}

static void test_full_map_is_told_and_harmless(void **state)
{
    struct fixture *f = *state;
    struct auth_record record = record_of(f);

    assert_int_equal(in_writer(f, fill_up, &record), ERR_FULL);
}

/* Write raw bytes under a key, as damage or another version would leave them. */
static void put_raw(const char *dir, const char *name, const void *data, size_t len)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        char key_text_copy[32];
        char bytes[2048] = "";
        MDB_env *env;
        MDB_txn *txn;
        MDB_dbi dbi;
        snprintf(key_text_copy, sizeof(key_text_copy), "%s", name);
        memcpy(bytes, data, len);
        MDB_val key = {strlen(key_text_copy), key_text_copy};
        MDB_val value = {len, bytes};
        int bad = mdb_env_create(&env) || mdb_env_open(env, dir, 0, 0600) || mdb_txn_begin(env, NULL, 0, &txn) ||
                  mdb_dbi_open(txn, NULL, 0, &dbi) || mdb_put(txn, dbi, &key, &value, 0) || mdb_txn_commit(txn);
        _exit(bad);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static int verify(struct authdb *db, const struct fixture *f, const void *arg)
{
    uint64_t records;

    (void)f;
    int err = authdb_verify(db, &records);
    return err != 0 ? err : records == *(const uint64_t *)arg ? 0 : ERR_INTERNAL;
}

static void test_damaged_records_are_found(void **state)
{
    struct fixture *f = *state;
    struct auth_record record = record_of(f);
    struct auth_record got;
    struct authdb *db;
    uint64_t one = 1;

    assert_int_equal(in_writer(f, put_record, &record), 0);
    assert_int_equal(in_writer(f, verify, &one), 0);
    static const char no_hash[] = "\x0a\x04"
                                  "acme\x18\x01";
    put_raw(f->cache, "00000000000000aa", no_hash, sizeof(no_hash) - 1);
    assert_int_equal(in_writer(f, verify, &one), ERR_CORRUPT);
    char junk[2000];
    memset(junk, 0xff, sizeof(junk));
    put_raw(f->cache, "00000000000000bb", junk, sizeof(junk) / 2);
    assert_int_equal(authdb_open_reader(f->cache, &db), 0);
    assert_int_equal(authdb_get(db, "00000000000000aa", &got), ERR_CORRUPT);
    assert_int_equal(authdb_get(db, "00000000000000bb", &got), ERR_CORRUPT);
    assert_int_equal(authdb_get(db, record.key_id, &got), 0);
    put_raw(f->cache, "head", junk, 100);
    assert_int_equal(authdb_get(db, record.key_id, &got), ERR_AGAIN);
    authdb_close(db);
}

static void test_unknown_fields_are_skipped(void **state)
{
    struct fixture *f = *state;
    struct auth_record record = record_of(f);
    struct auth_record got;
    struct authdb *db;
    char value[128];
    size_t len = 0;

    assert_int_equal(in_writer(f, put_record, &record), 0);
    memcpy(value,
           "\x0a\x04"
           "acme\x12\x20",
           8);
    memset(value + 8, 5, 32);
    len = 40;
    memcpy(value + len, "\x18\x01\xa2\x06\x03xyz\xa8\x06\x07", 11); /* state, then fields 100 and 101 */
    len += 11;
    put_raw(f->cache, "00000000000000cc", value, len);
    assert_int_equal(authdb_open_reader(f->cache, &db), 0);
    assert_int_equal(authdb_get(db, "00000000000000cc", &got), 0);
    assert_string_equal(got.customer, "acme");
    assert_int_equal(got.secret_hash[31], 5);
    authdb_close(db);
}

static void test_reader_follows_an_environment_made_anew(void **state)
{
    struct fixture *f = *state;
    struct auth_record record = record_of(f);
    struct auth_record got;
    struct authdb *db;

    assert_int_equal(in_writer(f, put_record, &record), 0);
    assert_int_equal(authdb_open_reader(f->cache, &db), 0);
    assert_int_equal(authdb_get(db, record.key_id, &got), 0);
    for (unsigned round = 1; round < 4; round++) {
        char old_id[KEY_ID_SIZE];
        memcpy(old_id, record.key_id, sizeof(old_id));
        assert_int_equal(authdb_destroy(f->cache), 0);
        assert_int_equal(authdb_get(db, old_id, &got), 0); /* it serves on from what it has */
        fill_id(&record, round);
        assert_int_equal(in_writer(f, put_record, &record), 0);
        assert_int_equal(get_until_not(db, old_id, 0, &got), ERR_NOTFOUND);
        assert_int_equal(authdb_get(db, record.key_id, &got), 0);
    }
    authdb_close(db);
}

static void test_truncated_environment_is_corrupt(void **state)
{
    struct fixture *f = *state;
    struct auth_record record = record_of(f);
    char path[128];

    assert_int_equal(in_writer(f, put_record, &record), 0);
    snprintf(path, sizeof(path), "%s/data.mdb", f->cache);
    char junk[8192];
    memset(junk, 0x55, sizeof(junk));
    assert_int_equal(fs_write_atomic(path, junk, sizeof(junk), 0600), 0);
    assert_int_equal(in_writer(f, clear_all, NULL), ERR_CORRUPT);
    assert_int_equal(authdb_destroy(f->cache), 0);
    assert_int_equal(in_writer(f, put_record, &record), 0);
}

struct lookups {
    struct authdb *db;
    const struct auth_record *record;
    int wrong;
};

static void *look_up_often(void *arg)
{
    struct lookups *l = arg;
    struct auth_record got;

    for (int i = 0; i < 20000; i++) {
        int err = authdb_get(l->db, l->record->key_id, &got);
        if (err != 0 || !record_equal(&got, l->record))
            l->wrong++;
    }
    return NULL;
}

/* Delete the environment and make it anew, some times over, once a byte comes. Forked before there are threads. */
static pid_t fork_remaker(const struct fixture *f, const struct auth_record *record, int start)
{
    pid_t pid = fork();
    char byte;

    if (pid != 0)
        return pid;
    int err = read(start, &byte, 1) == 1 ? 0 : ERR_IO;
    for (int round = 0; err == 0 && round < 3; round++) {
        err = authdb_destroy(f->cache);
        if (err == 0)
            err = write_with(f, put_record, record);
    }
    _exit(-err);
}

/* More threads than the pool has slots, while the environment is replaced under them. */
static void test_lookups_from_many_threads_agree(void **state)
{
    enum { THREADS = 80 };
    struct fixture *f = *state;
    struct auth_record record = record_of(f);
    struct lookups lookups[THREADS];
    pthread_t threads[THREADS];
    struct authdb *db;
    int start[2];

    assert_int_equal(in_writer(f, put_record, &record), 0);
    assert_int_equal(pipe(start), 0);
    pid_t remaker = fork_remaker(f, &record, start[0]);
    assert_int_equal(authdb_open_reader(f->cache, &db), 0);
    for (int i = 0; i < THREADS; i++) {
        lookups[i] = (struct lookups){.db = db, .record = &record};
        assert_int_equal(pthread_create(&threads[i], NULL, look_up_often, &lookups[i]), 0);
    }
    assert_int_equal(write(start[1], "!", 1), 1);
    assert_int_equal(wait_for(remaker), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(lookups[i].wrong, 0);
    }
    authdb_close(db);
    assert_int_equal(close(start[0]), 0);
    assert_int_equal(close(start[1]), 0);
}

/* ---- auth_check ---- */

static void test_check_accepts_the_right_key_only(void **state)
{
    struct fixture *f = *state;
    struct auth_record record = record_of(f);
    struct auth_record got;
    struct authdb *db;
    char text[sizeof(f->bearer) + 8];

    assert_int_equal(in_writer(f, put_record, &record), 0);
    assert_int_equal(authdb_open_reader(f->cache, &db), 0);
    assert_int_equal(auth_check(db, &f->pepper, f->bearer, NOW_US, &got), AUTH_OK);
    assert_true(record_equal(&got, &record));
    snprintf(text, sizeof(text), "bEARER   %s \t", f->bearer + 7);
    assert_int_equal(auth_check(db, &f->pepper, text, NOW_US, &got), AUTH_OK);

    static const char *const missing[] = {NULL, "", "Bearer", "Bearer ", "Basic abc", "Bearercvg_"};
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
        assert_int_equal(auth_check(db, &f->pepper, missing[i], NOW_US, &got), AUTH_MISSING);

    static const struct auth_record zero;
    /* The last digit of the secret, and the last of the id: a wrong secret, and an unknown key. */
    static const size_t at[] = {7 + KEY_TEXT_SIZE - 2, 7 + 4 + 15};
    for (size_t i = 0; i < 2; i++) {
        memcpy(text, f->bearer, sizeof(f->bearer));
        text[at[i]] = text[at[i]] == '0' ? '1' : '0';
        assert_int_equal(auth_check(db, &f->pepper, text, NOW_US, &got), AUTH_WRONG);
        assert_memory_equal(&got, &zero, sizeof(got));
    }
    assert_int_equal(auth_check(db, &f->pepper, "Bearer hello", NOW_US, &got), AUTH_WRONG);
    struct key_pepper other = f->pepper;
    other.bytes[0] ^= 1;
    assert_int_equal(auth_check(db, &other, f->bearer, NOW_US, &got), AUTH_WRONG);
    authdb_close(db);
}

static void test_check_minds_expiry_and_suspension(void **state)
{
    struct fixture *f = *state;
    struct auth_record record = record_of(f);
    struct auth_record got;
    struct authdb *db;
    char wrong[sizeof(f->bearer)];

    assert_int_equal(in_writer(f, put_record, &record), 0);
    assert_int_equal(authdb_open_reader(f->cache, &db), 0);
    assert_int_equal(auth_check(db, &f->pepper, f->bearer, record.expires_us - 1, &got), AUTH_OK);
    assert_int_equal(auth_check(db, &f->pepper, f->bearer, record.expires_us, &got), AUTH_WRONG);
    record.expires_us = 0;
    record.state = AUTH_SUSPENDED;
    assert_int_equal(in_writer(f, put_record, &record), 0);
    assert_int_equal(auth_check(db, &f->pepper, f->bearer, INT64_MAX, &got), AUTH_SUSPENDED_CUSTOMER);
    assert_string_equal(got.customer, "acme");
    /* Only the holder of the key learns of the suspension. */
    memcpy(wrong, f->bearer, sizeof(wrong));
    wrong[strlen(wrong) - 1] = wrong[strlen(wrong) - 1] == '0' ? '1' : '0';
    assert_int_equal(auth_check(db, &f->pepper, wrong, NOW_US, &got), AUTH_WRONG);
    authdb_close(db);
}

static void test_check_is_unavailable_without_a_snapshot(void **state)
{
    struct fixture *f = *state;
    struct auth_record record = record_of(f);
    struct auth_record got;
    struct authdb *db;

    assert_int_equal(authdb_open_reader(f->cache, &db), 0);
    assert_int_equal(auth_check(db, &f->pepper, f->bearer, NOW_US, &got), AUTH_UNAVAILABLE);
    assert_int_equal(auth_check(db, &f->pepper, NULL, NOW_US, &got), AUTH_MISSING);
    authdb_close(db);
    assert_int_equal(in_writer(f, put_incomplete, &record), 0);
    assert_int_equal(authdb_open_reader(f->cache, &db), 0);
    assert_int_equal(auth_check(db, &f->pepper, f->bearer, NOW_US, &got), AUTH_UNAVAILABLE);
    authdb_close(db);
}

static void test_customer_ids_are_bounded(void **state)
{
    (void)state;
    char longest[66];

    memset(longest, 'a', sizeof(longest));
    longest[65] = '\0';
    assert_int_equal(customer_id_check(longest), ERR_INVALID);
    longest[64] = '\0';
    assert_int_equal(customer_id_check(longest), 0);
    static const char *const bad[] = {"", "-a", ".a", "A", "a b", "a/b", "a_b", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(customer_id_check(bad[i]), ERR_INVALID);
    assert_int_equal(customer_id_check("0a.b-c"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reader_waits_for_an_environment_and_a_snapshot),
        TEST(test_reader_finds_an_environment_made_later),
        TEST(test_reader_sees_changes_at_once),
        TEST(test_transaction_is_all_or_nothing),
        TEST(test_writer_is_alone_and_private),
        TEST(test_full_map_is_told_and_harmless),
        TEST(test_damaged_records_are_found),
        TEST(test_unknown_fields_are_skipped),
        TEST(test_reader_follows_an_environment_made_anew),
        TEST(test_truncated_environment_is_corrupt),
        TEST(test_lookups_from_many_threads_agree),
        TEST(test_check_accepts_the_right_key_only),
        TEST(test_check_minds_expiry_and_suspension),
        TEST(test_check_is_unavailable_without_a_snapshot),
        cmocka_unit_test(test_customer_ids_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
