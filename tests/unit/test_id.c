/* SPDX-License-Identifier: MIT */
/* Identifiers, hex, and the text form of times. */
#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct id sample = {
    {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x46, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}};
static const char sample_uuid[] = "00112233-4455-4677-8899-aabbccddeeff";

static void test_random_ids_differ_and_are_not_zero(void **state)
{
    (void)state;
    struct id a = {{0}};
    struct id b = {{0}};
    assert_true(id_is_zero(&a));
    id_random(&a);
    id_random(&b);
    assert_false(id_is_zero(&a));
    assert_false(id_equal(&a, &b));
    b = a;
    assert_true(id_equal(&a, &b));
    b.bytes[15] ^= 1;
    assert_false(id_equal(&a, &b));
}

static void test_random_uuid_has_version_and_variant(void **state)
{
    (void)state;
    for (int i = 0; i < 64; i++) {
        struct id id;
        char text[ID_UUID_SIZE];
        id_random_uuid(&id);
        id_to_uuid(&id, text);
        assert_int_equal(strlen(text), 36);
        assert_int_equal(text[14], '4');
        assert_non_null(strchr("89ab", text[19]));
    }
}

static void test_uuid_round_trips(void **state)
{
    (void)state;
    struct id read = {{0}};
    char text[ID_UUID_SIZE];
    id_to_uuid(&sample, text);
    assert_string_equal(text, sample_uuid);
    assert_int_equal(id_from_uuid(text, &read), ERR_OK);
    assert_true(id_equal(&read, &sample));
    assert_int_equal(id_from_uuid("00112233-4455-4677-8899-AABBCCDDEEFF", &read), ERR_OK);
    assert_true(id_equal(&read, &sample));
}

/* Every position takes only its dash or a hex digit, and a refused text leaves the result alone. */
static void test_uuid_of_any_other_form_is_refused(void **state)
{
    (void)state;
    struct id read = sample;
    char text[64];
    assert_int_equal(id_from_uuid("", &read), ERR_INVALID);
    assert_int_equal(id_from_uuid("00112233-4455-4677-8899-aabbccddeef", &read), ERR_INVALID);
    assert_int_equal(id_from_uuid("00112233-4455-4677-8899-aabbccddeeff0", &read), ERR_INVALID);
    for (size_t i = 0; i < 36; i++) {
        memcpy(text, sample_uuid, sizeof(sample_uuid));
        text[i] = 'g';
        assert_int_equal(id_from_uuid(text, &read), ERR_INVALID);
        text[i] = sample_uuid[i] == '-' ? '0' : '-';
        assert_int_equal(id_from_uuid(text, &read), ERR_INVALID);
    }
    assert_true(id_equal(&read, &sample));
}

static void test_hex_round_trips_all_bytes(void **state)
{
    (void)state;
    uint8_t bytes[256];
    uint8_t read[256];
    char text[513];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    hex_encode(bytes, sizeof(bytes), text);
    assert_int_equal(strlen(text), 512);
    assert_memory_equal(text, "000102", 6);
    assert_int_equal(hex_decode(text, 512, read, sizeof(read)), ERR_OK);
    assert_memory_equal(read, bytes, sizeof(bytes));
    hex_encode(bytes, 0, text);
    assert_string_equal(text, "");
    char id_text[ID_HEX_SIZE];
    id_to_hex(&sample, id_text);
    assert_string_equal(id_text, "001122334455467788"
                                 "99aabbccddeeff");
}

static void test_hex_of_wrong_length_or_digits_is_refused(void **state)
{
    (void)state;
    uint8_t out[4];
    assert_int_equal(hex_decode("0a0B", 4, out, 2), ERR_OK);
    assert_int_equal(out[1], 0x0b);
    assert_int_equal(hex_decode("0a0b", 4, out, 3), ERR_INVALID);
    assert_int_equal(hex_decode("0a0", 3, out, 1), ERR_INVALID);
    assert_int_equal(hex_decode("0a0", 3, out, 2), ERR_INVALID);
    assert_int_equal(hex_decode("0g", 2, out, 1), ERR_INVALID);
    assert_int_equal(hex_decode(" 0", 2, out, 1), ERR_INVALID);
    assert_int_equal(hex_decode("", 0, out, 0), ERR_OK);
}

static void test_times_are_written_in_utc(void **state)
{
    (void)state;
    const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {INT64_C(951825599999999), "2000-02-29T11:59:59.999Z"},
        {INT64_C(1767323045678901), "2026-01-02T03:04:05.678Z"},
        {INT64_C(253402300799999999), "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {-1, "1970-01-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[25];
        clock_format(cases[i].us, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_monotonic_clock_does_not_run_back(void **state)
{
    (void)state;
    int64_t before = clock_monotonic_us();
    assert_true(before > 0);
    assert_true(clock_monotonic_us() >= before);
    assert_true(clock_wall_us() > INT64_C(1500000000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_ids_differ_and_are_not_zero),
        cmocka_unit_test(test_random_uuid_has_version_and_variant),
        cmocka_unit_test(test_uuid_round_trips),
        cmocka_unit_test(test_uuid_of_any_other_form_is_refused),
        cmocka_unit_test(test_hex_round_trips_all_bytes),
        cmocka_unit_test(test_hex_of_wrong_length_or_digits_is_refused),
        cmocka_unit_test(test_times_are_written_in_utc),
        cmocka_unit_test(test_monotonic_clock_does_not_run_back),
    };
    return cmocka_run_group_tests_name("id", tests, NULL, NULL);
}
