/* SPDX-License-Identifier: MIT */
/* Sealed messages between two and three ends, and everything that may happen to one on its way. */
#include "cavage/err.h"
#include "cavage/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PEERS = 4, FRAME = 100, ROOM = FRAME + SEAL_BYTES };

#define KEY_1 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_2 "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f"

static const struct id id_a = {{'a'}}, id_b = {{'b'}}, nobody;

static struct seal_keys keys_of(const char *text)
{
    struct seal_keys keys;
    unsigned line;
    assert_int_equal(seal_keys_parse(text, &keys, &line), ERR_OK);
    return keys;
}

static struct seal *end_of(const struct id *boot, const char *text)
{
    struct seal_keys keys = keys_of(text);
    struct seal *s;
    assert_int_equal(seal_new(boot, &keys, PEERS, &s), ERR_OK);
    return s;
}

struct pair {
    struct seal *a, *b;
};

static int open_pair(void **state)
{
    static struct pair pair;
    pair.a = end_of(&id_a, "1 " KEY_1);
    pair.b = end_of(&id_b, "1 " KEY_1);
    *state = &pair;
    return 0;
}

static int close_pair(void **state)
{
    struct pair *pair = *state;
    seal_free(pair->a);
    seal_free(pair->b);
    return 0;
}

static void fill(uint8_t *frame, size_t len)
{
    for (size_t i = 0; i < len; i++)
        frame[i] = (uint8_t)(i * 7);
}

/* A frame from one end, for a boot or nobody, as it goes over the wire. */
static void wrap(struct seal *from, const struct id *to, uint8_t message[ROOM])
{
    fill(message, FRAME);
    assert_int_equal(seal_wrap(from, to, message, FRAME), ERR_OK);
}

/* On a copy, so that the message can come again. */
static enum seal_verdict unwrap(struct seal *at, const uint8_t *message, size_t len)
{
    uint8_t copy[ROOM];
    struct id sender;
    bool addressed;
    memcpy(copy, message, len);
    return seal_unwrap(at, copy, &len, &sender, &addressed);
}

static void test_frame_crosses_whole_and_says_whose_it_is(void **state)
{
    struct pair *p = *state;
    uint8_t message[ROOM], frame[FRAME];
    struct id sender;
    bool addressed;

    fill(frame, FRAME);
    wrap(p->a, &id_b, message);
    assert_memory_not_equal(message, frame, FRAME);
    size_t len = ROOM;
    assert_int_equal(seal_unwrap(p->b, message, &len, &sender, &addressed), SEAL_OPENED);
    assert_int_equal(len, FRAME);
    assert_memory_equal(message, frame, FRAME);
    assert_true(id_equal(&sender, &id_a));
    assert_true(addressed);

    wrap(p->a, &nobody, message);
    len = ROOM;
    assert_int_equal(seal_unwrap(p->b, message, &len, &sender, &addressed), SEAL_OPENED);
    assert_memory_equal(message, frame, FRAME);
    assert_false(addressed);
    assert_int_equal(seal_count(p->b, SEAL_OPENED), 2);
}

static void test_empty_and_large_frames(void **state)
{
    struct pair *p = *state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 300000};
    struct id sender;
    bool addressed;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t len = sizes[i] + SEAL_BYTES;
        uint8_t *message = malloc(len), *frame = malloc(sizes[i] + 1);
        assert_non_null(message);
        assert_non_null(frame);
        fill(message, sizes[i]);
        fill(frame, sizes[i]);
        assert_int_equal(seal_wrap(p->a, &id_b, message, sizes[i]), ERR_OK);
        assert_int_equal(seal_unwrap(p->b, message, &len, &sender, &addressed), SEAL_OPENED);
        assert_int_equal(len, sizes[i]);
        assert_memory_equal(message, frame, sizes[i]);
        free(message);
        free(frame);
    }
}

/* Made by other software: blake2b of Python, AESGCM and ChaCha20Poly1305 of its cryptography package, HChaCha20 by hand. */
static void test_vectors(void **state)
{
    (void)state;
    static const char *const hex[] = {
        "6e10779cd88bb42eef610131f7afcea9597ab7106e29c501000000000000001111111111111"
        "111111111111111111122222222222222222222222222222222070000000100000043565331",
        "27e4cbfef0139dedf99b59c4497d4c2f32e710f027c89401000000000000001111111111111"
        "111111111111111111122222222222222222222222222222222070000000200000043565331",
    };
    struct id receiver, sender, want;
    memset(&receiver, 0x22, sizeof(receiver));
    memset(&want, 0x11, sizeof(want));

    for (size_t i = 0; i < 2; i++) {
        struct seal *s = end_of(&receiver, "7 " KEY_1);
        uint8_t message[7 + SEAL_BYTES];
        size_t len = sizeof(message);
        bool addressed;
        assert_int_equal(hex_decode(hex[i], strlen(hex[i]), message, sizeof(message)), ERR_OK);
        assert_int_equal(seal_unwrap(s, message, &len, &sender, &addressed), SEAL_OPENED);
        assert_int_equal(len, 7);
        assert_memory_equal(message, "a frame", 7);
        assert_true(id_equal(&sender, &want));
        seal_free(s);
    }
}

static void test_any_changed_bit_is_noticed(void **state)
{
    struct pair *p = *state;
    uint8_t message[ROOM];

    wrap(p->a, &id_b, message);
    for (size_t bit = 0; bit < (size_t)ROOM * 8; bit++) {
        message[bit / 8] ^= (uint8_t)(1 << (bit % 8));
        assert_int_not_equal(unwrap(p->b, message, ROOM), SEAL_OPENED);
        message[bit / 8] ^= (uint8_t)(1 << (bit % 8));
    }
    /* None of those made the window, or the table of peers, forget or believe anything. */
    assert_int_equal(unwrap(p->b, message, ROOM), SEAL_OPENED);
}

static void test_any_cut_is_noticed(void **state)
{
    struct pair *p = *state;
    uint8_t message[ROOM];

    wrap(p->a, &id_b, message);
    for (size_t len = 0; len < ROOM; len++) {
        assert_int_not_equal(unwrap(p->b, message, len), SEAL_OPENED);
        assert_int_not_equal(unwrap(p->b, message + (ROOM - len), len), SEAL_OPENED);
    }
    assert_int_equal(unwrap(p->b, message, ROOM), SEAL_OPENED);
}

static void test_replays_are_refused(void **state)
{
    struct pair *p = *state;
    uint8_t named[ROOM], unnamed[ROOM];

    wrap(p->a, &id_b, named);
    wrap(p->a, &nobody, unnamed);
    assert_int_equal(unwrap(p->b, named, ROOM), SEAL_OPENED);
    assert_int_equal(unwrap(p->b, named, ROOM), SEAL_REPLAYED);
    assert_int_equal(unwrap(p->b, unnamed, ROOM), SEAL_OPENED);
    assert_int_equal(unwrap(p->b, unnamed, ROOM), SEAL_REPLAYED);
    assert_int_equal(seal_count(p->b, SEAL_REPLAYED), 2);
}

/* Late ones are taken as far as the window goes, each once. */
static void test_window(void **state)
{
    struct pair *p = *state;
    enum { COUNT = 3 * SEAL_WINDOW };
    uint8_t(*messages)[ROOM] = calloc(COUNT + 1, ROOM);
    assert_non_null(messages);

    for (size_t i = 1; i <= COUNT; i++)
        wrap(p->a, &id_b, messages[i]);
    assert_int_equal(unwrap(p->b, messages[1], ROOM), SEAL_OPENED);
    assert_int_equal(unwrap(p->b, messages[SEAL_WINDOW + 2], ROOM), SEAL_OPENED);
    assert_int_equal(unwrap(p->b, messages[2], ROOM), SEAL_REPLAYED); /* too old */
    for (size_t i = 3; i <= SEAL_WINDOW + 1; i++)
        assert_int_equal(unwrap(p->b, messages[i], ROOM), SEAL_OPENED);
    for (size_t i = 1; i <= SEAL_WINDOW + 2; i++)
        assert_int_equal(unwrap(p->b, messages[i], ROOM), SEAL_REPLAYED);
    /* A leap over the whole window, and its edge from behind. */
    assert_int_equal(unwrap(p->b, messages[COUNT], ROOM), SEAL_OPENED);
    assert_int_equal(unwrap(p->b, messages[COUNT - SEAL_WINDOW], ROOM), SEAL_REPLAYED);
    for (size_t i = COUNT - 1; i > COUNT - SEAL_WINDOW; i--)
        assert_int_equal(unwrap(p->b, messages[i], ROOM), SEAL_OPENED);
    free(messages);
}

static void test_reflections_and_messages_for_others(void **state)
{
    struct pair *p = *state;
    static const struct id id_c = {{'c'}};
    uint8_t message[ROOM];

    wrap(p->a, &id_b, message);
    assert_int_equal(unwrap(p->a, message, ROOM), SEAL_REFLECTED);
    wrap(p->a, &nobody, message);
    assert_int_equal(unwrap(p->a, message, ROOM), SEAL_REFLECTED);
    wrap(p->a, &id_c, message);
    assert_int_equal(unwrap(p->b, message, ROOM), SEAL_NOT_FOR_US);

    /* What was sent to a boot that is gone does not open at the one that came after it. */
    struct seal *again = end_of(&id_c, "1 " KEY_1);
    wrap(p->a, &id_b, message);
    assert_int_equal(unwrap(again, message, ROOM), SEAL_NOT_FOR_US);
    seal_free(again);
}

static void test_foreign_keys(void **state)
{
    struct pair *p = *state;
    struct seal *other_bytes = end_of(&id_a, "1 " KEY_2), *other_id = end_of(&id_a, "2 " KEY_1);
    uint8_t message[ROOM];

    wrap(other_bytes, &id_b, message);
    assert_int_equal(unwrap(p->b, message, ROOM), SEAL_FORGED);
    wrap(other_id, &id_b, message);
    assert_int_equal(unwrap(p->b, message, ROOM), SEAL_UNKNOWN_KEY);
    seal_free(other_bytes);
    seal_free(other_id);
}

static void send_both_ways(const struct pair *p, const char *expect)
{
    uint8_t message[ROOM];
    bool opens = strcmp(expect, "opens") == 0;
    wrap(p->a, &id_b, message);
    assert_int_equal(unwrap(p->b, message, ROOM) == SEAL_OPENED, opens);
    wrap(p->b, &id_a, message);
    assert_int_equal(unwrap(p->a, message, ROOM) == SEAL_OPENED, opens);
}

/* The documented order: give all the new key behind the old one, then put it first, then take the old one away. */
static void test_rotation_in_steps_loses_nothing(void **state)
{
    struct pair *p = *state;
    static const char *const steps[] = {"1 " KEY_1, "1 " KEY_1 "\n2 " KEY_2, "2 " KEY_2 "\n1 " KEY_1, "2 " KEY_2};
    uint8_t under_way[ROOM];

    for (size_t i = 1; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct seal_keys keys = keys_of(steps[i]);
        send_both_ways(p, "opens");
        wrap(p->a, &id_b, under_way);
        seal_set_keys(p->a, &keys);
        send_both_ways(p, "opens"); /* one is a step ahead */
        seal_set_keys(p->b, &keys);
        send_both_ways(p, "opens");
        assert_int_equal(unwrap(p->b, under_way, ROOM), SEAL_OPENED); /* its key is there still */
    }
    struct seal_keys strange = keys_of("1 " KEY_1);
    seal_set_keys(p->a, &strange);
    send_both_ways(p, "does not open");
}

/* An end that is forgotten for newer ones starts above every counter that was used: a nonce never comes twice under one key. */
static void test_forgotten_peers_never_repeat_a_counter(void **state)
{
    struct pair *p = *state;
    uint8_t message[ROOM];
    uint64_t last = 0;

    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 2 * PEERS; i++) {
            struct id other = {{'x', (uint8_t)i}};
            wrap(p->a, &other, message);
        }
        wrap(p->a, &id_b, message);
        uint64_t counter = 0;
        for (size_t i = 0; i < 8; i++)
            counter |= (uint64_t)message[FRAME + 16 + i] << (8 * i);
        assert_true(counter > last);
        last = counter;
        assert_int_equal(unwrap(p->b, message, ROOM), SEAL_OPENED);
    }
}

/* A frame from a boot of its own, which is gone again. */
static void wrap_from(const struct id *boot, const struct id *to, uint8_t message[ROOM])
{
    struct seal *s = end_of(boot, "1 " KEY_1);
    wrap(s, to, message);
    seal_free(s);
}

/* Frames that name nobody can be had from many boots of the past. They make none forgotten whose frames open once. */
static void test_frames_for_nobody_make_no_named_peer_forgotten(void **state)
{
    struct pair *p = *state;
    uint8_t named[ROOM], unnamed[ROOM];

    wrap(p->a, &id_b, named);
    assert_int_equal(unwrap(p->b, named, ROOM), SEAL_OPENED);
    for (unsigned i = 0; i < 2 * PEERS; i++) {
        struct id other = {{'x', (uint8_t)i}};
        wrap_from(&other, &nobody, unnamed);
        assert_int_equal(unwrap(p->b, unnamed, ROOM), SEAL_OPENED);
        wrap(p->b, &other, unnamed); /* an answer counts for nothing either */
    }
    assert_int_equal(unwrap(p->b, named, ROOM), SEAL_REPLAYED);
}

/* What does not open keeps no boot of the past in the place of a live one. */
static void test_refused_frames_keep_nobody_remembered(void **state)
{
    struct pair *p = *state;
    uint8_t live[ROOM], past[PEERS][ROOM];

    for (unsigned i = 0; i < PEERS; i++) {
        struct id other = {{'x', (uint8_t)i}};
        wrap_from(&other, &id_b, past[i]);
    }
    for (unsigned i = 0; i + 1 < PEERS; i++)
        assert_int_equal(unwrap(p->b, past[i], ROOM), SEAL_OPENED);
    wrap(p->a, &id_b, live);
    assert_int_equal(unwrap(p->b, live, ROOM), SEAL_OPENED);
    for (unsigned i = 0; i + 1 < PEERS; i++)
        assert_int_equal(unwrap(p->b, past[i], ROOM), SEAL_REPLAYED);
    assert_int_equal(unwrap(p->b, past[PEERS - 1], ROOM), SEAL_OPENED); /* for which one is forgotten */
    assert_int_equal(unwrap(p->b, live, ROOM), SEAL_REPLAYED);
}

static void test_key_file_is_parsed_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err;
        unsigned line;
    } cases[] = {
        {"1 " KEY_1, ERR_OK, 1},
        {"# old\n\n 4294967295\t" KEY_1 " # now\r\n1 " KEY_2 "\n", ERR_OK, 4},
        {"", ERR_NOTFOUND, 0},
        {"# none\n", ERR_NOTFOUND, 1},
        {"0 " KEY_1, ERR_INVALID, 1},
        {"4294967296 " KEY_1, ERR_INVALID, 1},
        {"99999999999999999999 " KEY_1, ERR_INVALID, 1},
        {"-1 " KEY_1, ERR_INVALID, 1},
        {"x " KEY_1, ERR_INVALID, 1},
        {"1", ERR_INVALID, 1},
        {"1 ", ERR_INVALID, 1},
        {"1 00", ERR_INVALID, 1},
        {"1 " KEY_1 "00", ERR_INVALID, 1},
        {"1 " KEY_1 " 2", ERR_INVALID, 1},
        {"1 " KEY_1 "\n1\n" KEY_2, ERR_INVALID, 2},
        {"1 " KEY_1 "\n\n1 " KEY_2, ERR_EXISTS, 3},
        {"1 " KEY_1 "\n2 " KEY_1 "\n3 " KEY_1 "\n4 " KEY_1 "\n5 " KEY_1 "\n6 " KEY_1 "\n7 " KEY_1 "\n8 " KEY_1
         "\n9 " KEY_1,
         ERR_FULL, 9},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct seal_keys keys;
        unsigned line;
        int err = seal_keys_parse(cases[i].text, &keys, &line);
        if (err != cases[i].err || line != cases[i].line)
            fail_msg("'%s': %d at line %u", cases[i].text, err, line);
    }
}

static void test_refused_key_file_leaves_no_key(void **state)
{
    (void)state;
    static const struct seal_keys none;
    static const char *const cases[] = {"1 " KEY_1 "\nx", "1 " KEY_1 "\n2 " KEY_2 "\n1 " KEY_2,
                                        "1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1x"};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct seal_keys keys;
        unsigned line;
        assert_int_not_equal(seal_keys_parse(cases[i], &keys, &line), ERR_OK);
        assert_memory_equal(&keys, &none, sizeof(keys));
    }
}

static void test_key_file_must_be_private(void **state)
{
    (void)state;
    char path[] = "/tmp/cvg-seal-XXXXXX";
    static const char text[] = "3 " KEY_1 "\n", with_nul[] = "3 " KEY_1 "\n\0x";
    struct seal_keys keys;
    unsigned line;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    assert_int_equal(seal_keys_load(path, &keys, &line), ERR_OK);
    assert_int_equal(keys.of[0].id, 3);
    assert_int_equal(fchmod(fd, 0640), 0);
    assert_int_equal(seal_keys_load(path, &keys, &line), ERR_DENIED);
    assert_int_equal(fchmod(fd, 0600), 0);
    assert_int_equal(pwrite(fd, with_nul, sizeof(with_nul), 0), sizeof(with_nul));
    assert_int_equal(seal_keys_load(path, &keys, &line), ERR_INVALID);
    close(fd);
    unlink(path);
    assert_int_equal(seal_keys_load(path, &keys, &line), ERR_NOTFOUND);
}

static void test_keys_are_changed_and_saved(void **state)
{
    (void)state;
    char path[] = "/tmp/cvg-seal-XXXXXX";
    struct seal_keys keys = {0}, back;
    uint32_t id;
    unsigned line;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(seal_keys_save(path, &keys), ERR_NOTFOUND);
    for (uint32_t i = 1; i <= SEAL_KEYS_MAX; i++) {
        assert_int_equal(seal_keys_add(&keys, &id), ERR_OK);
        assert_int_equal(id, i);
    }
    assert_int_equal(seal_keys_add(&keys, &id), ERR_FULL);
    assert_int_equal(seal_keys_save(path, &keys), ERR_OK);
    assert_int_equal(seal_keys_load(path, &back, &line), ERR_OK);
    assert_memory_equal(&back, &keys, sizeof(keys));

    assert_int_equal(seal_keys_use(&keys, 9), ERR_NOTFOUND);
    assert_int_equal(seal_keys_use(&keys, 3), ERR_OK);
    assert_int_equal(seal_keys_drop(&keys, 3), ERR_DENIED);
    assert_int_equal(seal_keys_drop(&keys, 8), ERR_OK);
    assert_int_equal(seal_keys_drop(&keys, 8), ERR_NOTFOUND);
    assert_int_equal(seal_keys_drop(&keys, 1), ERR_OK);
    static const uint32_t left[] = {3, 2, 4, 5, 6, 7};
    assert_int_equal(keys.count, 6);
    for (size_t i = 0; i < keys.count; i++) {
        assert_int_equal(keys.of[i].id, left[i]);
        assert_memory_equal(keys.of[i].bytes, back.of[left[i] - 1].bytes, SEAL_KEY_BYTES);
    }
    for (size_t i = keys.count * sizeof(keys.of[0]); i < sizeof(keys.of); i++)
        assert_int_equal(((const uint8_t *)keys.of)[i], 0); /* what was dropped is wiped */
    unlink(path);
}

int main(void)
{
#define PAIR(test) cmocka_unit_test_setup_teardown(test, open_pair, close_pair)
    const struct CMUnitTest tests[] = {
        PAIR(test_frame_crosses_whole_and_says_whose_it_is),
        PAIR(test_empty_and_large_frames),
        cmocka_unit_test(test_vectors),
        PAIR(test_any_changed_bit_is_noticed),
        PAIR(test_any_cut_is_noticed),
        PAIR(test_replays_are_refused),
        PAIR(test_window),
        PAIR(test_reflections_and_messages_for_others),
        PAIR(test_foreign_keys),
        PAIR(test_rotation_in_steps_loses_nothing),
        PAIR(test_forgotten_peers_never_repeat_a_counter),
        PAIR(test_frames_for_nobody_make_no_named_peer_forgotten),
        PAIR(test_refused_frames_keep_nobody_remembered),
        cmocka_unit_test(test_key_file_is_parsed_strictly),
        cmocka_unit_test(test_refused_key_file_leaves_no_key),
        cmocka_unit_test(test_key_file_must_be_private),
        cmocka_unit_test(test_keys_are_changed_and_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
