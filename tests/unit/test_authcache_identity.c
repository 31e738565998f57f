/* SPDX-License-Identifier: MIT */
/* The identity store, and the cache that follows it. */
#include "cache.h"
#include "folder.h"
#include "identity.h"

#include "cavage/err.h"
#include "cavage/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAP_BYTES = 64 << 20, LOG_MAX = 8, NOW_US = 5000 };

struct fixture {
    char dir[64];
    char store[80];
    char cached[80];
    struct identity *identity;
    struct cache *cache;
};

static void open_store(struct fixture *f)
{
    assert_int_equal(identity_open(f->store, MAP_BYTES, LOG_MAX, &f->identity), 0);
}

static void open_cache(struct fixture *f, bool damaged)
{
    bool rebuilt;

    assert_int_equal(cache_open(f->cached, MAP_BYTES, &rebuilt, &f->cache), 0);
    assert_int_equal(rebuilt, damaged);
}

static void close_all(struct fixture *f)
{
    cache_close(f->cache);
    identity_close(f->identity);
    f->cache = NULL;
    f->identity = NULL;
}

static void reopen(struct fixture *f)
{
    close_all(f);
    open_store(f);
    open_cache(f, false);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    snprintf(f->dir, sizeof(f->dir), "/tmp/cavage-identity-XXXXXX");
    *state = f;
    if (!mkdtemp(f->dir))
        return -1;
    snprintf(f->store, sizeof(f->store), "%s/identity", f->dir);
    snprintf(f->cached, sizeof(f->cached), "%s/auth", f->dir);
    open_store(f);
    open_cache(f, false);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    close_all(f);
    int rc = folder_remove(f->dir);
    free(f);
    return rc;
}

static struct customer customer_of(const char *id)
{
    struct customer customer = {.name = "Name", .state = AUTH_ACTIVE, .rate_per_s = 3, .burst = 4, .created_us = 1};

    snprintf(customer.id, sizeof(customer.id), "%s", id);
    return customer;
}

static struct customer_key key_of(const char *customer, unsigned number)
{
    struct customer_key key = {.label = "label", .created_us = 2, .expires_us = 9};

    snprintf(key.key_id, sizeof(key.key_id), "%016x", number);
    snprintf(key.customer, sizeof(key.customer), "%s", customer);
    memset(key.secret_hash, (int)number, sizeof(key.secret_hash));
    return key;
}

static void add_customer(struct fixture *f, const char *id)
{
    struct customer customer = customer_of(id);

    assert_int_equal(identity_customer_add(f->identity, &customer), 0);
}

static void add_key(struct fixture *f, const char *customer, unsigned number)
{
    struct customer_key key = key_of(customer, number);

    assert_int_equal(identity_key_add(f->identity, &key), 0);
}

static int remove_key(struct fixture *f, unsigned number)
{
    struct customer_key key = key_of("", number);

    return identity_key_remove(f->identity, key.key_id);
}

static uint64_t revision(struct fixture *f)
{
    struct identity_status status;

    assert_int_equal(identity_status(f->identity, &status), 0);
    return status.revision;
}

/* What a reader of the cache is told. The writer of it is closed meanwhile: one handle a process. */
static int cached(struct fixture *f, unsigned number, struct auth_record *out)
{
    struct customer_key key = key_of("", number);
    struct authdb *db;

    cache_close(f->cache);
    assert_int_equal(authdb_open_reader(f->cached, &db), 0);
    int err = authdb_get(db, key.key_id, out);
    authdb_close(db);
    open_cache(f, false);
    return err;
}

static void assert_step(struct fixture *f, enum cache_step expected)
{
    enum cache_step step;

    assert_int_equal(cache_sync(f->cache, f->identity, NOW_US, &step), 0);
    assert_int_equal(step, expected);
    struct auth_head head;
    assert_int_equal(cache_head(f->cache, &head), 0);
    assert_int_equal(head.revision, revision(f));
    assert_true(head.complete);
    assert_int_equal(head.synced_us, NOW_US);
}

/* ---- The store ---- */

static void test_changes_last_and_raise_the_revision(void **state)
{
    struct fixture *f = *state;
    struct customer customer = customer_of("acme");
    struct customer got;
    struct customer_key key = key_of("acme", 1);
    struct customer_key got_key;

    assert_int_equal(revision(f), 0);
    add_customer(f, "acme");
    assert_int_equal(revision(f), 1);
    assert_int_equal(identity_customer_add(f->identity, &customer), ERR_EXISTS);
    assert_int_equal(revision(f), 1);
    add_key(f, "acme", 1);
    assert_int_equal(revision(f), 2);
    assert_int_equal(identity_key_add(f->identity, &key), ERR_EXISTS);
    struct customer_key orphan = key_of("nobody", 2);
    assert_int_equal(identity_key_add(f->identity, &orphan), ERR_NOTFOUND);
    customer.state = AUTH_SUSPENDED;
    customer.created_us = 77;
    assert_int_equal(identity_customer_update(f->identity, &customer), 0);
    assert_int_equal(revision(f), 3);
    reopen(f);
    assert_int_equal(revision(f), 3);
    assert_int_equal(identity_customer_get(f->identity, "acme", &got), 0);
    customer.created_us = 1; /* an update does not touch it */
    assert_memory_equal(&got, &customer, sizeof(got));
    assert_int_equal(identity_key_get(f->identity, key.key_id, &got_key), 0);
    assert_memory_equal(&got_key, &key, sizeof(key));
    struct customer nobody = customer_of("nobody");
    assert_int_equal(identity_customer_update(f->identity, &nobody), ERR_NOTFOUND);
    assert_int_equal(identity_customer_remove(f->identity, "nobody"), ERR_NOTFOUND);
    assert_int_equal(remove_key(f, 9), ERR_NOTFOUND);
    assert_int_equal(revision(f), 3);
}

static void test_removing_a_customer_removes_only_its_keys(void **state)
{
    struct fixture *f = *state;
    struct identity_status status;
    struct customer_key key;

    add_customer(f, "a");
    add_customer(f, "a.b"); /* its pairs sort next to those of "a" */
    add_key(f, "a", 1);
    add_key(f, "a", 2);
    add_key(f, "a.b", 3);
    assert_int_equal(identity_customer_remove(f->identity, "a"), 0);
    assert_int_equal(identity_status(f->identity, &status), 0);
    assert_int_equal(status.customers, 1);
    assert_int_equal(status.keys, 1);
    assert_int_equal(identity_key_get(f->identity, "0000000000000003", &key), 0);
    assert_int_equal(remove_key(f, 1), ERR_NOTFOUND);
    /* A customer of the same id does not get the old keys back. */
    add_customer(f, "a");
    assert_int_equal(identity_status(f->identity, &status), 0);
    assert_int_equal(status.keys, 1);
}

struct seen {
    char text[256];
};

static int note_customer(void *arg, const struct customer *customer)
{
    struct seen *seen = arg;

    strncat(seen->text, customer->id, sizeof(seen->text) - strlen(seen->text) - 1);
    return 0;
}

static int note_key(void *arg, const struct customer_key *key)
{
    struct seen *seen = arg;

    strncat(seen->text, key->key_id + KEY_ID_SIZE - 2, sizeof(seen->text) - strlen(seen->text) - 1);
    return 0;
}

static int refuse_customer(void *arg, const struct customer *customer)
{
    (void)arg;
    (void)customer;
    return ERR_NOMEM;
}

static void test_lists_come_in_pages(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {""};
    bool more = true;

    assert_int_equal(identity_customer_list(f->identity, "", 2, note_customer, &seen, &more), 0);
    assert_false(more);
    for (const char *id = "dbca"; *id; id++)
        add_customer(f, (char[]){*id, '\0'});
    assert_int_equal(identity_customer_list(f->identity, "", 2, note_customer, &seen, &more), 0);
    assert_string_equal(seen.text, "ab");
    assert_true(more);
    assert_int_equal(identity_customer_list(f->identity, "b", 2, note_customer, &seen, &more), 0);
    assert_string_equal(seen.text, "abcd");
    assert_false(more);
    /* The one it goes on after may be gone by then. */
    assert_int_equal(identity_customer_remove(f->identity, "b"), 0);
    assert_int_equal(identity_customer_list(f->identity, "b", 1, note_customer, &seen, &more), 0);
    assert_string_equal(seen.text, "abcdc");
    assert_int_equal(identity_customer_list(f->identity, "", 1, refuse_customer, &seen, &more), ERR_NOMEM);

    seen.text[0] = '\0';
    for (unsigned i = 1; i <= 3; i++)
        add_key(f, "a", i);
    add_key(f, "c", 4);
    assert_int_equal(identity_key_list(f->identity, "a", "", 2, note_key, &seen, &more), 0);
    assert_true(more);
    assert_int_equal(identity_key_list(f->identity, "a", "0000000000000002", 2, note_key, &seen, &more), 0);
    assert_false(more);
    assert_string_equal(seen.text, "123");
    assert_int_equal(identity_key_list(f->identity, "d", "", 2, note_key, &seen, &more), 0);
    assert_int_equal(identity_key_list(f->identity, "x", "", 2, note_key, &seen, &more), ERR_NOTFOUND);
    assert_int_equal(identity_key_list(f->identity, "a", "x", 2, note_key, &seen, &more), ERR_INVALID);
}

static void test_a_customer_has_a_bounded_number_of_keys(void **state)
{
    struct fixture *f = *state;
    struct customer_key key = key_of("acme", CUSTOMER_KEYS_MAX + 1);

    add_customer(f, "acme");
    for (unsigned i = 1; i <= CUSTOMER_KEYS_MAX; i++)
        add_key(f, "acme", i);
    assert_int_equal(identity_key_add(f->identity, &key), ERR_RANGE);
    assert_int_equal(remove_key(f, 1), 0);
    assert_int_equal(identity_key_add(f->identity, &key), 0);
    /* More changes at once than the log holds. */
    assert_step(f, CACHE_SNAPSHOT);
    assert_int_equal(identity_customer_remove(f->identity, "acme"), 0);
    assert_step(f, CACHE_SNAPSHOT);
    struct auth_record record;
    assert_int_equal(cached(f, 7, &record), ERR_NOTFOUND);
}

static void test_store_is_opened_once(void **state)
{
    struct fixture *f = *state;
    struct identity *other;

    assert_int_equal(identity_open(f->store, MAP_BYTES, LOG_MAX, &other), ERR_EXISTS);
}

static void test_pepper_is_bound_for_ever(void **state)
{
    struct fixture *f = *state;
    struct identity_status status;
    struct key_pepper right = {{1}};
    struct key_pepper wrong = {{2}};

    assert_int_equal(identity_status(f->identity, &status), 0);
    assert_false(status.has_pepper);
    assert_int_equal(identity_bind_pepper(f->identity, &right), 0);
    reopen(f);
    assert_int_equal(identity_bind_pepper(f->identity, &wrong), ERR_DENIED);
    assert_int_equal(identity_bind_pepper(f->identity, &right), 0);
    assert_int_equal(identity_status(f->identity, &status), 0);
    assert_true(status.has_pepper);
    assert_int_equal(status.revision, 0);
}

/* ---- The cache ---- */

static void test_cache_follows_by_change(void **state)
{
    struct fixture *f = *state;
    struct customer customer = customer_of("acme");
    struct auth_record record;

    assert_step(f, CACHE_SNAPSHOT); /* an empty one is complete too */
    assert_step(f, CACHE_CURRENT);
    add_customer(f, "acme");
    add_key(f, "acme", 1);
    add_key(f, "acme", 2);
    assert_step(f, CACHE_FOLLOWED);
    assert_int_equal(cached(f, 2, &record), 0);
    assert_string_equal(record.customer, "acme");
    assert_int_equal(record.secret_hash[31], 2);
    assert_int_equal(record.rate_per_s, 3);
    assert_int_equal(record.burst, 4);
    assert_int_equal(record.expires_us, 9);

    customer.state = AUTH_SUSPENDED;
    customer.burst = 0;
    assert_int_equal(identity_customer_update(f->identity, &customer), 0);
    assert_int_equal(remove_key(f, 1), 0);
    assert_step(f, CACHE_FOLLOWED);
    assert_int_equal(cached(f, 1, &record), ERR_NOTFOUND);
    assert_int_equal(cached(f, 2, &record), 0);
    assert_int_equal(record.state, AUTH_SUSPENDED);
    assert_int_equal(record.burst, 3); /* 0 is as rate_per_s */

    assert_int_equal(identity_customer_remove(f->identity, "acme"), 0);
    assert_step(f, CACHE_FOLLOWED);
    assert_int_equal(cached(f, 2, &record), ERR_NOTFOUND);
}

/* A process killed between the two stores leaves the change in the first only; the next start brings it to the second. */
static void test_cache_heals_after_a_kill_between_the_stores(void **state)
{
    struct fixture *f = *state;
    struct auth_record record;

    add_customer(f, "acme");
    add_key(f, "acme", 1);
    assert_step(f, CACHE_SNAPSHOT);
    assert_int_equal(remove_key(f, 1), 0);
    assert_int_equal(cached(f, 1, &record), 0);
    reopen(f);
    assert_step(f, CACHE_FOLLOWED);
    assert_int_equal(cached(f, 1, &record), ERR_NOTFOUND);
}

static void test_cache_behind_the_log_takes_a_snapshot(void **state)
{
    struct fixture *f = *state;
    struct auth_record record;

    add_customer(f, "acme");
    assert_step(f, CACHE_SNAPSHOT);
    for (unsigned i = 1; i <= LOG_MAX; i++)
        add_key(f, "acme", i);
    assert_step(f, CACHE_FOLLOWED);
    for (unsigned i = 1; i <= LOG_MAX; i++)
        assert_int_equal(remove_key(f, i), 0);
    add_key(f, "acme", 99);
    assert_step(f, CACHE_SNAPSHOT);
    assert_int_equal(cached(f, 1, &record), ERR_NOTFOUND);
    assert_int_equal(cached(f, 99, &record), 0);
}

static void test_cache_minds_a_log_that_is_empty(void **state)
{
    struct fixture *f = *state;
    struct auth_record record;

    add_customer(f, "acme");
    assert_step(f, CACHE_SNAPSHOT);
    identity_close(f->identity);
    assert_int_equal(identity_open(f->store, MAP_BYTES, 0, &f->identity), 0);
    add_key(f, "acme", 1);
    assert_step(f, CACHE_SNAPSHOT);
    assert_int_equal(cached(f, 1, &record), 0);
}

static void store_path(const struct fixture *f, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", f->store, name);
}

/* Copy the store's file to another name in its folder, as a backup and its restoration do. */
static void copy_store(const struct fixture *f, const char *from, const char *to)
{
    const size_t size = (size_t)1 << 20;
    char path[128];
    size_t len = 0;

    char *data = malloc(size);
    assert_non_null(data);
    store_path(f, from, path);
    assert_int_equal(fs_read(path, data, size, &len), 0);
    store_path(f, to, path);
    assert_int_equal(fs_write_atomic(path, data, len, 0600), 0);
    free(data);
}

static void test_cache_of_another_lineage_or_ahead_takes_a_snapshot(void **state)
{
    struct fixture *f = *state;
    struct auth_record record;
    char path[128];

    add_customer(f, "acme");
    close_all(f);
    copy_store(f, "data.mdb", "backup");
    open_store(f);
    open_cache(f, false);
    add_key(f, "acme", 1);
    assert_step(f, CACHE_SNAPSHOT);
    assert_int_equal(cached(f, 1, &record), 0);
    close_all(f);
    copy_store(f, "backup", "data.mdb"); /* the cache is ahead now */
    open_store(f);
    open_cache(f, false);
    assert_step(f, CACHE_SNAPSHOT);
    assert_int_equal(cached(f, 1, &record), ERR_NOTFOUND);

    add_key(f, "acme", 2);
    assert_step(f, CACHE_FOLLOWED);
    close_all(f);
    store_path(f, "data.mdb", path);
    assert_int_equal(unlink(path), 0);
    open_store(f);
    open_cache(f, false);
    for (unsigned i = 0; i < 10; i++) /* past the old one's revision: only the lineage tells */
        add_customer(f, (char[]){(char)('a' + i), '\0'});
    assert_step(f, CACHE_SNAPSHOT);
    assert_int_equal(cached(f, 2, &record), ERR_NOTFOUND);
}

static void test_damaged_cache_is_made_anew(void **state)
{
    struct fixture *f = *state;
    struct auth_record record;
    char path[128];
    char junk[12288];

    add_customer(f, "acme");
    add_key(f, "acme", 1);
    assert_step(f, CACHE_SNAPSHOT);
    close_all(f);
    memset(junk, 0x5a, sizeof(junk));
    snprintf(path, sizeof(path), "%s/data.mdb", f->cached);
    assert_int_equal(fs_write_atomic(path, junk, sizeof(junk), 0600), 0);
    open_store(f);
    open_cache(f, true);
    assert_step(f, CACHE_SNAPSHOT);
    assert_int_equal(cached(f, 1, &record), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_changes_last_and_raise_the_revision),
        TEST(test_removing_a_customer_removes_only_its_keys),
        TEST(test_lists_come_in_pages),
        TEST(test_a_customer_has_a_bounded_number_of_keys),
        TEST(test_store_is_opened_once),
        TEST(test_pepper_is_bound_for_ever),
        TEST(test_cache_follows_by_change),
        TEST(test_cache_heals_after_a_kill_between_the_stores),
        TEST(test_cache_behind_the_log_takes_a_snapshot),
        TEST(test_cache_minds_a_log_that_is_empty),
        TEST(test_cache_of_another_lineage_or_ahead_takes_a_snapshot),
        TEST(test_damaged_cache_is_made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
