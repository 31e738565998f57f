/* SPDX-License-Identifier: MIT */
/* The management API: what it answers, and that a change is in the cache when it has answered. */
#include "admin_api.h"
#include "admin_json.h"
#include "folder.h"

#include "cavage/auth.h"
#include "cavage/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAP_BYTES = 64 << 20 };

static const int64_t now_us = INT64_C(1800000000000000); /* 2027-01-15T08:00:00Z */

struct fixture {
    char dir[64];
    char cached[80];
    struct authority authority;
    json_t *last;
    struct admin_reply reply;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char store[80];
    bool rebuilt;

    snprintf(f->dir, sizeof(f->dir), "/tmp/cavage-admin-XXXXXX");
    *state = f;
    if (!mkdtemp(f->dir))
        return -1;
    snprintf(store, sizeof(store), "%s/identity", f->dir);
    snprintf(f->cached, sizeof(f->cached), "%s/auth", f->dir);
    memset(&f->authority.pepper, 3, sizeof(f->authority.pepper));
    *state = f;
    return identity_open(store, MAP_BYTES, 100, &f->authority.identity) == 0 &&
                   cache_open(f->cached, MAP_BYTES, &rebuilt, &f->authority.cache) == 0 &&
                   authority_sync(&f->authority, now_us) == 0
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    json_decref(f->last);
    admin_reply_wipe(&f->reply);
    cache_close(f->authority.cache);
    identity_close(f->authority.identity);
    int rc = folder_remove(f->dir);
    free(f);
    return rc;
}

static unsigned ask_request(struct fixture *f, const struct admin_request *request)
{
    json_decref(f->last);
    f->last = NULL;
    admin_reply_wipe(&f->reply);
    admin_handle(&f->authority, request, now_us, &f->reply);
    if (f->reply.body)
        f->last = json_loadb(f->reply.body, f->reply.len, 0, NULL);
    assert_true((f->reply.body != NULL) == (f->last != NULL));
    return f->reply.status;
}

static unsigned ask(struct fixture *f, const char *method, const char *path, const char *body)
{
    struct admin_request request = {.method = method, .path = path, .body = body, .body_len = strlen(body)};

    return ask_request(f, &request);
}

static const char *text_of(const struct fixture *f, const char *name)
{
    const char *text = json_string_value(json_object_get(f->last, name));

    return text ? text : "(none)";
}

static json_int_t number_of(const struct fixture *f, const char *name)
{
    assert_true(json_is_integer(json_object_get(f->last, name)));
    return json_integer_value(json_object_get(f->last, name));
}

/* What the API servers of this host answer to a key at a time. */
static enum auth_result judge_at(struct fixture *f, const char *key, int64_t wall_us)
{
    struct auth_record record;
    struct authdb *db;
    char header[KEY_TEXT_SIZE + 8];
    bool rebuilt;

    snprintf(header, sizeof(header), "Bearer %s", key);
    cache_close(f->authority.cache);
    assert_int_equal(authdb_open_reader(f->cached, &db), 0);
    enum auth_result result = auth_check(db, &f->authority.pepper, header, wall_us, &record);
    authdb_close(db);
    assert_int_equal(cache_open(f->cached, MAP_BYTES, &rebuilt, &f->authority.cache), 0);
    return result;
}

static enum auth_result judge(struct fixture *f, const char *key)
{
    return judge_at(f, key, now_us);
}

static void test_a_key_lives_and_dies(void **state)
{
    struct fixture *f = *state;
    char key[KEY_TEXT_SIZE] = "";
    char path[64];

    assert_int_equal(ask(f, "POST", "/v1/customers", "{\"id\":\"acme\",\"name\":\"Ac\u00e9me\",\"rate_per_s\":5}"),
                     201);
    assert_string_equal(f->reply.location, "/v1/customers/acme");
    assert_string_equal(text_of(f, "name"), "Ac\u00e9me");
    assert_string_equal(text_of(f, "state"), "active");
    assert_string_equal(text_of(f, "created"), "2027-01-15T08:00:00.000Z");
    assert_int_equal(number_of(f, "rate_per_s"), 5);

    assert_int_equal(ask(f, "POST", "/v1/customers/acme/keys", ""), 201);
    assert_int_equal(strlen(text_of(f, "key")), KEY_TEXT_SIZE - 1);
    memcpy(key, text_of(f, "key"), sizeof(key));
    snprintf(path, sizeof(path), "/v1/keys/%s", text_of(f, "key_id"));
    assert_memory_equal(key + 4, text_of(f, "key_id"), 16);
    assert_int_equal(judge(f, key), AUTH_OK);

    assert_int_equal(ask(f, "GET", "/v1/customers/acme/keys", ""), 200);
    json_t *listed = json_array_get(json_object_get(f->last, "keys"), 0);
    assert_non_null(json_object_get(listed, "key_id"));
    assert_null(json_object_get(listed, "key")); /* shown once, at its making */
    assert_null(strstr(f->reply.body, key + 21));

    assert_int_equal(ask(f, "PATCH", "/v1/customers/acme", "{\"state\":\"suspended\"}"), 200);
    assert_string_equal(text_of(f, "state"), "suspended");
    assert_int_equal(number_of(f, "rate_per_s"), 5);
    assert_int_equal(judge(f, key), AUTH_SUSPENDED_CUSTOMER);
    assert_int_equal(ask(f, "PATCH", "/v1/customers/acme", "{\"state\":\"active\"}"), 200);
    assert_int_equal(judge(f, key), AUTH_OK);

    assert_int_equal(ask(f, "DELETE", path, ""), 204);
    assert_null(f->reply.body);
    assert_int_equal(judge(f, key), AUTH_WRONG);
    assert_int_equal(ask(f, "DELETE", path, ""), 404);
}

static void test_removing_a_customer_revokes_its_keys(void **state)
{
    struct fixture *f = *state;
    char key[KEY_TEXT_SIZE] = "";

    assert_int_equal(ask(f, "POST", "/v1/customers", "{\"id\":\"acme\"}"), 201);
    assert_int_equal(ask(f, "POST", "/v1/customers/acme/keys", "{\"label\":\"x\",\"expires\":null}"), 201);
    memcpy(key, text_of(f, "key"), sizeof(key));
    assert_int_equal(ask(f, "DELETE", "/v1/customers/acme", ""), 204);
    assert_int_equal(judge(f, key), AUTH_WRONG);
    assert_int_equal(ask(f, "GET", "/v1/customers/acme", ""), 404);
    assert_int_equal(ask(f, "GET", "/v1/customers/acme/keys", ""), 404);
    assert_int_equal(ask(f, "POST", "/v1/customers/acme/keys", ""), 404);
}

static void test_expiry_is_enforced(void **state)
{
    struct fixture *f = *state;
    char key[KEY_TEXT_SIZE] = "";

    assert_int_equal(ask(f, "POST", "/v1/customers", "{\"id\":\"acme\"}"), 201);
    assert_int_equal(ask(f, "POST", "/v1/customers/acme/keys", "{\"expires\":\"2027-01-15T08:00:00Z\"}"), 400);
    assert_non_null(strstr(text_of(f, "detail"), "in the future"));
    assert_int_equal(ask(f, "POST", "/v1/customers/acme/keys", "{\"expires\":\"2027-01-15T08:00:00.5Z\"}"), 201);
    assert_string_equal(text_of(f, "expires"), "2027-01-15T08:00:00.500Z");
    memcpy(key, text_of(f, "key"), sizeof(key));
    assert_int_equal(judge(f, key), AUTH_OK);
    assert_int_equal(judge_at(f, key, now_us + 499999), AUTH_OK);
    assert_int_equal(judge_at(f, key, now_us + 500000), AUTH_WRONG);
}

static void test_status_tells_both_stores(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask(f, "POST", "/v1/customers", "{\"id\":\"acme\"}"), 201);
    assert_int_equal(ask(f, "POST", "/v1/customers/acme/keys", ""), 201);
    assert_int_equal(ask(f, "GET", "/v1/status", ""), 200);
    assert_int_equal(number_of(f, "revision"), 2);
    assert_int_equal(number_of(f, "cache_revision"), 2);
    assert_int_equal(number_of(f, "customers"), 1);
    assert_int_equal(number_of(f, "keys"), 1);
    assert_int_equal(number_of(f, "cache_lag_ms"), 0);
    assert_true(json_is_true(json_object_get(f->last, "cache_complete")));
}

static void test_lists_are_paged(void **state)
{
    struct fixture *f = *state;
    struct admin_request request = {.method = "GET", .path = "/v1/customers", .body = "", .limit = "2"};

    for (const char *id = "abc"; *id; id++) {
        char body[32];
        snprintf(body, sizeof(body), "{\"id\":\"%c\"}", *id);
        assert_int_equal(ask(f, "POST", "/v1/customers", body), 201);
    }
    assert_int_equal(ask_request(f, &request), 200);
    assert_int_equal(json_array_size(json_object_get(f->last, "customers")), 2);
    assert_string_equal(text_of(f, "next"), "b");
    request.after = "b";
    assert_int_equal(ask_request(f, &request), 200);
    assert_int_equal(json_array_size(json_object_get(f->last, "customers")), 1);
    assert_true(json_is_null(json_object_get(f->last, "next")));

    static const char *const bad_limits[] = {"", "0", "1001", "-1", "1x", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad_limits) / sizeof(bad_limits[0]); i++) {
        request.limit = bad_limits[i];
        assert_int_equal(ask_request(f, &request), 400);
    }
    request.limit = NULL;
    request.after = "NO";
    assert_int_equal(ask_request(f, &request), 400);
    request.path = "/v1/customers/a/keys";
    assert_int_equal(ask_request(f, &request), 400);
    request.after = NULL;
    request.unknown = "page";
    assert_int_equal(ask_request(f, &request), 400);
    request.unknown = NULL;
    request.limit = "1";
    request.path = "/v1/status";
    assert_int_equal(ask_request(f, &request), 400);
}

static void test_paths_and_methods_are_told_apart(void **state)
{
    struct fixture *f = *state;
    static const char *const nowhere[] = {"",
                                          "/",
                                          "/v1",
                                          "/v1/customers/",
                                          "/v1/customersx",
                                          "/v1/customers/A",
                                          "/v1/customers/a/b",
                                          "/v1/customers//keys",
                                          "/v1/keys/",
                                          "/v1/keys/zz",
                                          "/v1/status/"};
    char longest[600];

    for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++)
        assert_int_equal(ask(f, "DELETE", nowhere[i], ""), 404);
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "/v1/customers/", 14);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(ask(f, "GET", longest, ""), 404);
    assert_int_equal(ask(f, "PUT", "/v1/customers", ""), 405);
    assert_string_equal(f->reply.allow, "GET, POST");
    assert_string_equal(text_of(f, "type"), "/problems/method_not_allowed");
    assert_int_equal(ask(f, "POST", "/v1/customers/a", ""), 405);
    assert_string_equal(f->reply.allow, "GET, PATCH, DELETE");
    assert_int_equal(ask(f, "GET", "/v1/keys/0123456789abcdef", ""), 405);
    assert_string_equal(f->reply.allow, "DELETE");
}

static void test_bad_bodies_change_nothing(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{\"id\":\"a\"} {}",
        "{\"id\":\"a\",\"id\":\"b\"}",
        "{\"id\":1}",
        "{\"id\":\"A\"}",
        "{\"id\":\"a\\u0000b\"}",
        "{\"id\":\"a\",\"color\":\"red\"}",
        "{\"id\":\"a\",\"state\":\"gone\"}",
        "{\"id\":\"a\",\"state\":null}",
        "{\"id\":\"a\",\"rate_per_s\":-1}",
        "{\"id\":\"a\",\"rate_per_s\":1.5}",
        "{\"id\":\"a\",\"rate_per_s\":1000001}",
        "{\"id\":\"a\",\"burst\":\"9\"}",
        "{\"id\":\"a\",\"name\":\"two\\nlines\"}",
        "{\"id\":\"a\",\"name\":\"\\u009b31m\"}",
        "{\"id\":\"a\",\"name\":\"\xff\"}",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(ask(f, "POST", "/v1/customers", bad[i]), 400);
        assert_string_equal(text_of(f, "type"), "/problems/bad_request");
        assert_true(strlen(text_of(f, "detail")) > 10);
    }
    assert_int_equal(ask(f, "POST", "/v1/customers", "{\"id\":\"a\",\"id\":\"b\"}"), 400);
    assert_non_null(strstr(text_of(f, "detail"), "A member is given twice"));
    assert_int_equal(ask(f, "POST", "/v1/customers", "{\"id\":\"a\"}"), 201);
    assert_int_equal(ask(f, "POST", "/v1/customers", "{\"id\":\"a\"}"), 409);
    assert_int_equal(ask(f, "PATCH", "/v1/customers/a", "{\"id\":\"b\"}"), 400);
    assert_int_equal(ask(f, "PATCH", "/v1/customers/b", "{}"), 404);
    assert_int_equal(ask(f, "POST", "/v1/customers/a/keys", "{\"expires\":\"tomorrow\"}"), 400);
    assert_int_equal(ask(f, "POST", "/v1/customers/a/keys", "{\"label\":7}"), 400);
    assert_int_equal(ask(f, "GET", "/v1/status", ""), 200);
    assert_int_equal(number_of(f, "revision"), 1);
    assert_int_equal(number_of(f, "customers"), 1);
    assert_int_equal(number_of(f, "keys"), 0);
}

static void test_longest_texts_fit(void **state)
{
    struct fixture *f = *state;
    char text[256];
    char body[400];

    memset(text, 'n', sizeof(text));
    snprintf(body, sizeof(body), "{\"id\":\"a\",\"name\":\"%.201s\"}", text);
    assert_int_equal(ask(f, "POST", "/v1/customers", body), 400);
    snprintf(body, sizeof(body), "{\"id\":\"%.64s\",\"name\":\"%.200s\"}", text, text);
    assert_int_equal(ask(f, "POST", "/v1/customers", body), 201);
    assert_int_equal(strlen(text_of(f, "name")), 200);
    char path[128];
    snprintf(path, sizeof(path), "/v1/customers/%.64s/keys", text);
    snprintf(body, sizeof(body), "{\"label\":\"%.100s\"}", text);
    assert_int_equal(ask(f, "POST", path, body), 201);
}

/* When the cache cannot be written, a revocation is told to be stored only; it comes into force with the next sync that works. */
static void test_a_change_that_is_not_in_force_says_so(void **state)
{
    struct fixture *f = *state;
    struct cache *good = f->authority.cache;
    struct cache *full = NULL;
    char dir[96];
    bool rebuilt;

    snprintf(dir, sizeof(dir), "%s/small", f->dir);
    assert_int_equal(cache_open(dir, 128 << 10, &rebuilt, &full), 0);
    assert_int_equal(ask(f, "POST", "/v1/customers", "{\"id\":\"acme\"}"), 201);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 1000; k++) {
            struct customer_key key = {.customer = "acme", .created_us = 1};
            snprintf(key.key_id, sizeof(key.key_id), "%016x", i * 1000 + k);
            snprintf(key.customer, sizeof(key.customer), "c%u", i);
            struct customer owner = {.state = AUTH_ACTIVE};
            memcpy(owner.id, key.customer, sizeof(owner.id));
            if (k == 0)
                assert_int_equal(identity_customer_add(f->authority.identity, &owner), 0);
            assert_int_equal(identity_key_add(f->authority.identity, &key), 0);
        }
    }
    f->authority.cache = full;
    assert_int_equal(ask(f, "DELETE", "/v1/keys/0000000000000005", ""), 503);
    assert_string_equal(text_of(f, "type"), "/problems/not_in_force");
    assert_int_equal(ask(f, "POST", "/v1/customers/acme/keys", "{\"label\":\"lost\"}"), 503);
    assert_null(json_object_get(f->last, "key"));
    f->authority.cache = good;
    assert_int_equal(ask(f, "GET", "/v1/customers/acme/keys", ""), 200);
    assert_int_equal(json_array_size(json_object_get(f->last, "keys")), 0);
    assert_int_equal(ask(f, "DELETE", "/v1/keys/0000000000000005", ""), 404);
    cache_close(full);
}

static void test_times_are_read_strictly(void **state)
{
    (void)state;
    int64_t us;

    assert_int_equal(admin_parse_time("2027-01-15T08:00:00Z", &us), 0);
    assert_int_equal(us, now_us);
    assert_int_equal(admin_parse_time("2028-02-29T23:59:59.123456789Z", &us), 0);
    assert_int_equal(us % 1000000, 123456);
    static const char *const bad[] = {"",
                                      "2027-01-15",
                                      "2027-01-15T08:00:00",
                                      "2027-01-15T08:00:00+01:00",
                                      "2027-02-29T00:00:00Z",
                                      "2027-13-01T00:00:00Z",
                                      "2027-01-15T24:00:00Z",
                                      "2027-01-15T08:00:00.Z",
                                      "2027-01-15T08:00:00.1234567890Z",
                                      "1969-12-31T23:59:59Z",
                                      "1970-01-01T00:00:00Z",
                                      "2027-01-15T08:00:00Zx",
                                      " 2027-01-15T08:00:00Z"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(admin_parse_time(bad[i], &us), ERR_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_key_lives_and_dies),
        TEST(test_removing_a_customer_revokes_its_keys),
        TEST(test_expiry_is_enforced),
        TEST(test_status_tells_both_stores),
        TEST(test_lists_are_paged),
        TEST(test_paths_and_methods_are_told_apart),
        TEST(test_bad_bodies_change_nothing),
        TEST(test_longest_texts_fit),
        TEST(test_a_change_that_is_not_in_force_says_so),
        cmocka_unit_test(test_times_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
