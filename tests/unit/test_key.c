/* SPDX-License-Identifier: MIT */
/* Keys: their text, their hash, and the pepper file. */
#include "cavage/key.h"

#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/id.h"

#include "folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char good[] = "cvg_0123456789abcdef_000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

static void test_text_round_trips(void **state)
{
    (void)state;
    struct key made;
    struct key read;
    char text[KEY_TEXT_SIZE] = "";

    assert_int_equal(key_generate(&made), 0);
    key_text(&made, text);
    assert_int_equal(strlen(text), KEY_TEXT_SIZE - 1);
    assert_int_equal(key_parse(text, strlen(text), &read), 0);
    assert_string_equal(read.id, made.id);
    assert_memory_equal(read.secret, made.secret, sizeof(made.secret));

    struct key other;
    assert_int_equal(key_generate(&other), 0);
    assert_string_not_equal(other.id, made.id);
    assert_memory_not_equal(other.secret, made.secret, sizeof(made.secret));
    key_wipe(&made);
    static const struct key zero;
    assert_memory_equal(&made, &zero, sizeof(zero));
}

/* Each single character that leaves its alphabet, and each length but the right one, is refused. */
static void test_parse_refuses_all_but_the_exact_form(void **state)
{
    (void)state;
    struct key key;
    char text[KEY_TEXT_SIZE + 1] = "";

    assert_int_equal(key_parse(good, strlen(good), &key), 0);
    assert_string_equal(key.id, "0123456789abcdef");
    assert_int_equal(key.secret[31], 0x1f);
    for (size_t i = 0; i < strlen(good); i++) {
        memcpy(text, good, sizeof(good));
        text[i] = text[i] == 'g' ? 'h' : 'g';
        assert_int_equal(key_parse(text, strlen(good), &key), ERR_INVALID);
        text[i] = 'A';
        assert_int_equal(key_parse(text, strlen(good), &key), ERR_INVALID);
        text[i] = '\0';
        assert_int_equal(key_parse(text, strlen(good), &key), ERR_INVALID);
        assert_int_equal(key_parse(good, i, &key), ERR_INVALID);
    }
    memcpy(text, good, sizeof(good));
    text[strlen(good)] = '0';
    assert_int_equal(key_parse(text, strlen(good) + 1, &key), ERR_INVALID);
}

static void test_id_valid_wants_sixteen_hex_digits(void **state)
{
    (void)state;
    assert_true(key_id_valid("0123456789abcdef", 16));
    assert_false(key_id_valid("0123456789abcdef", 15));
    assert_false(key_id_valid("0123456789abcdeF", 16));
    assert_false(key_id_valid("", 0));
}

/* The value stands in every store, so a change of the construction would lock all customers out. */
static void test_hash_is_pinned(void **state)
{
    (void)state;
    struct key key;
    struct key_pepper pepper;
    uint8_t hash[KEY_HASH_BYTES];
    char hex[2 * KEY_HASH_BYTES + 1];

    memset(pepper.bytes, 0x42, sizeof(pepper.bytes));
    assert_int_equal(key_parse(good, strlen(good), &key), 0);
    key_hash(&key, &pepper, hash);
    hex_encode(hash, sizeof(hash), hex);
    assert_string_equal(hex, "802f9c7a55c57ef731fefe2df846ea792fe89f11e6be924087287af6fc67b67f");
}

static void test_hash_depends_on_secret_id_and_pepper(void **state)
{
    (void)state;
    struct key key;
    struct key_pepper pepper = {{1}};
    uint8_t base[KEY_HASH_BYTES];
    uint8_t hash[KEY_HASH_BYTES];

    assert_int_equal(key_parse(good, strlen(good), &key), 0);
    key_hash(&key, &pepper, base);
    key_hash(&key, &pepper, hash);
    assert_true(key_hash_equal(base, hash));
    key.secret[31] ^= 1;
    key_hash(&key, &pepper, hash);
    assert_false(key_hash_equal(base, hash));
    key.secret[31] ^= 1;
    key.id[15] = 'e';
    key_hash(&key, &pepper, hash);
    assert_false(key_hash_equal(base, hash));
    key.id[15] = 'f';
    pepper.bytes[31] = 1;
    key_hash(&key, &pepper, hash);
    assert_false(key_hash_equal(base, hash));
}

static int make_dir(void **state)
{
    char template[] = "/tmp/cavage-key-XXXXXX";

    *state = mkdtemp(template) ? strdup(template) : NULL;
    return *state ? 0 : -1;
}

static int remove_dir(void **state)
{
    int rc = folder_remove(*state);

    free(*state);
    return rc;
}

static void test_pepper_is_made_once_and_private(void **state)
{
    char path[FS_PATH_SIZE];
    struct key_pepper first;
    struct key_pepper second;
    struct stat st;

    assert_int_equal(fs_join(path, sizeof(path), *state, "secret/hash.key"), 0);
    assert_int_equal(key_pepper_load(path, false, &first), ERR_NOTFOUND);
    assert_int_equal(key_pepper_load(path, true, &first), 0);
    assert_int_equal(key_pepper_load(path, true, &second), 0);
    assert_memory_equal(&first, &second, sizeof(first));
    assert_int_equal(key_pepper_load(path, false, &second), 0);
    assert_memory_equal(&first, &second, sizeof(first));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_nlink, 1); /* nothing is left aside */
}

static void test_pepper_refuses_readable_linked_or_malformed(void **state)
{
    char path[FS_PATH_SIZE];
    char alias[FS_PATH_SIZE];
    struct key_pepper pepper;

    assert_int_equal(fs_join(path, sizeof(path), *state, "hash.key"), 0);
    assert_int_equal(fs_join(alias, sizeof(alias), *state, "alias.key"), 0);
    assert_int_equal(key_pepper_load(path, true, &pepper), 0);
    assert_int_equal(symlink(path, alias), 0);
    assert_int_equal(key_pepper_load(alias, true, &pepper), ERR_DENIED);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(key_pepper_load(path, true, &pepper), ERR_DENIED);

    static const char *const bad[] = {"", "00\n", "not hex, though it is as long as the sixty-four digits there are"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(fs_write_atomic(path, bad[i], strlen(bad[i]), 0600), 0);
        assert_int_equal(key_pepper_load(path, true, &pepper), ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_round_trips),
        cmocka_unit_test(test_parse_refuses_all_but_the_exact_form),
        cmocka_unit_test(test_id_valid_wants_sixteen_hex_digits),
        cmocka_unit_test(test_hash_is_pinned),
        cmocka_unit_test(test_hash_depends_on_secret_id_and_pepper),
        cmocka_unit_test_setup_teardown(test_pepper_is_made_once_and_private, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(test_pepper_refuses_readable_linked_or_malformed, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
