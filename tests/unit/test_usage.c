/* SPDX-License-Identifier: MIT */
/* Usage records: what is packed is what protobuf-c packs, hostile bytes are refused, every record fits its line of JSON. */
#include "cavage/err.h"
#include "cavage/usage.h"

#include "wire.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static const int64_t hour_us = INT64_C(3600000000);

static struct usage_record sample(void)
{
    struct usage_record r = {.time_us = INT64_C(1767323045678901),
                             .status = 200,
                             .input_bytes = 262144,
                             .output_bytes = UINT64_MAX,
                             .input_pixels = 1837500,
                             .output_pixels = 83520,
                             .cpu_us = 5432,
                             .queue_us = 12,
                             .convert_us = 5600,
                             .total_us = 6001,
                             .has_body_digest = true,
                             .count = 1,
                             .outputs = 3};
    snprintf(r.request_id, sizeof r.request_id, "%s", "0123456789abcdef");
    snprintf(r.idempotency_key, sizeof r.idempotency_key, "%s", "a-key");
    snprintf(r.customer, sizeof r.customer, "%s", "ann");
    snprintf(r.key_id, sizeof r.key_id, "%s", "00112233aabbccdd");
    snprintf(r.source, sizeof r.source, "%s", "127.0.0.1");
    snprintf(r.instance, sizeof r.instance, "%s", "api");
    snprintf(r.operation, sizeof r.operation, "%s", "resize");
    snprintf(r.request, sizeof r.request, "%s", "width=320&fit=inside");
    snprintf(r.outcome, sizeof r.outcome, "%s", "ok");
    snprintf(r.input_format, sizeof r.input_format, "%s", "jpeg");
    snprintf(r.output_format, sizeof r.output_format, "%s", "webp");
    snprintf(r.worker, sizeof r.worker, "%s", "worker-1");
    memset(r.body_digest, 0xab, sizeof r.body_digest);
    return r;
}

static void test_packed_record_comes_back(void **state)
{
    (void)state;
    struct usage_record in = sample(), out;
    uint8_t data[USAGE_RECORD_MAX];
    size_t len;
    assert_int_equal(usage_pack(&in, data, sizeof data, &len), ERR_OK);
    assert_int_equal(usage_unpack(data, len, &out), ERR_OK);
    assert_memory_equal(&in, &out, sizeof in);
    for (size_t size = 0; size < len; size++)
        assert_int_equal(usage_pack(&in, data, size, &len), ERR_RANGE);
}

static void test_packed_record_is_protobuf(void **state)
{
    (void)state;
    struct usage_record in = sample(), out;
    uint8_t data[USAGE_RECORD_MAX];
    size_t len;
    assert_int_equal(usage_pack(&in, data, sizeof data, &len), ERR_OK);
    Cavage__UsageRecord *m = cavage__usage_record__unpack(NULL, len, data);
    assert_non_null(m);
    assert_string_equal(m->request_id, in.request_id);
    assert_string_equal(m->worker, in.worker);
    assert_string_equal(m->request, in.request);
    assert_int_equal(m->time_us, in.time_us);
    assert_int_equal(m->output_bytes, in.output_bytes);
    assert_int_equal(m->total_us, in.total_us);
    assert_int_equal(m->body_digest.len, sizeof in.body_digest);
    assert_int_equal(m->count, 1);
    assert_int_equal(m->outputs, 3);
    assert_int_equal(m->base.n_unknown_fields, 0);
    /* And the other way round. */
    m->confirmed = true;
    m->count = 70000;
    len = cavage__usage_record__pack(m, data);
    cavage__usage_record__free_unpacked(m, NULL);
    assert_int_equal(usage_unpack(data, len, &out), ERR_OK);
    in.confirmed = true;
    in.count = 70000;
    assert_memory_equal(&in, &out, sizeof in);
}

static void test_empty_record_counts_as_one(void **state)
{
    (void)state;
    struct usage_record in = {0}, out;
    uint8_t data[8];
    size_t len;
    assert_int_equal(usage_pack(&in, data, sizeof data, &len), ERR_OK);
    assert_int_equal(len, 0);
    assert_int_equal(usage_unpack(data, 0, &out), ERR_OK);
    assert_int_equal(out.count, 1);
}

static void test_unpack_refuses_what_is_out_of_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        int err;
    } cases[] = {
        {"\x0a\x05"
         "ab",
         4, ERR_INVALID},               /* text beyond the end */
        {"\x0a\x01\n", 3, ERR_INVALID}, /* a control character */
        {"\x08\x01", 2, ERR_INVALID},   /* a number where text belongs */
        {"\x32\x01"
         "a",
         3, ERR_INVALID},                                                  /* text where a number belongs */
        {"\x00\x01", 2, ERR_INVALID},                                      /* field 0 */
        {"\x30", 1, ERR_INVALID},                                          /* a number that is missing */
        {"\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, ERR_RANGE},   /* a time before 1970 */
        {"\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, ERR_INVALID}, /* more than 64 bits */
        {"\x50\x80\x80\x80\x80\x10", 6, ERR_RANGE},                        /* a status of 2^32 */
        {"\xc2\x01\x01"
         "a",
         4, ERR_INVALID}, /* a digest of one byte */
        {"\xfa\x01\x03"
         "abc",
         6, ERR_OK}, /* unknown text */
        {"\xf9\x01"
         "12345678",
         10, ERR_OK}, /* unknown, 64 bits */
        {"\xf9\x01"
         "1234",
         6, ERR_INVALID},
        {"\xfd\x01"
         "1234",
         6, ERR_OK},                  /* unknown, 32 bits */
        {"\xfb\x01", 2, ERR_INVALID}, /* a group */
    };
    struct usage_record out;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(usage_unpack((const uint8_t *)cases[i].bytes, cases[i].len, &out), cases[i].err);
    uint8_t longest[USAGE_TOKEN_SIZE + 3] = {0x0a, 0x81, 0x01};
    memset(longest + 3, 'x', USAGE_TOKEN_SIZE);
    assert_int_equal(usage_unpack(longest, sizeof longest, &out), ERR_RANGE);
}

static void test_random_bytes_do_no_harm(void **state)
{
    (void)state;
    struct usage_record in = sample(), out;
    uint8_t data[USAGE_RECORD_MAX];
    char json[USAGE_JSON_MAX];
    size_t len;
    unsigned seed = 7;
    for (int round = 0; round < 20000; round++) {
        assert_int_equal(usage_pack(&in, data, sizeof data, &len), ERR_OK);
        for (int i = 0; i < 3; i++)
            data[(size_t)rand_r(&seed) % len] = (uint8_t)rand_r(&seed);
        if (usage_unpack(data, len, &out) == ERR_OK)
            assert_true(usage_json(&out, json, sizeof json) > 0);
    }
}

static void test_control_characters_are_replaced_when_packed(void **state)
{
    (void)state;
    struct usage_record in = sample(), out;
    uint8_t data[USAGE_RECORD_MAX];
    size_t len;
    snprintf(in.idempotency_key, sizeof in.idempotency_key, "%s", "a\nb\x7f");
    assert_int_equal(usage_pack(&in, data, sizeof data, &len), ERR_OK);
    assert_int_equal(usage_unpack(data, len, &out), ERR_OK);
    assert_string_equal(out.idempotency_key, "a?b?");
}

/* Fill every text of a record with one byte, and its numbers with ones. */
static struct usage_record full(char byte)
{
    struct usage_record r;
    memset(&r, 0xff, sizeof r);
    char *texts[] = {r.request_id, r.idempotency_key, r.customer, r.key_id,       r.source,        r.instance,
                     r.operation,  r.request,         r.outcome,  r.input_format, r.output_format, r.worker};
    size_t sizes[] = {sizeof r.request_id, sizeof r.idempotency_key, sizeof r.customer,      sizeof r.key_id,
                      sizeof r.source,     sizeof r.instance,        sizeof r.operation,     sizeof r.request,
                      sizeof r.outcome,    sizeof r.input_format,    sizeof r.output_format, sizeof r.worker};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        memset(texts[i], byte, sizes[i] - 1);
        texts[i][sizes[i] - 1] = '\0';
    }
    r.time_us = INT64_C(253402300799999999);
    r.has_body_digest = true;
    r.confirmed = false;
    return r;
}

static void test_largest_records_fit(void **state)
{
    (void)state;
    static const char bytes[] = {'x', '"', '\\', (char)0xff, '\n'};
    for (size_t i = 0; i < sizeof bytes; i++) {
        struct usage_record in = full(bytes[i]), out;
        uint8_t data[USAGE_RECORD_MAX];
        char json[USAGE_JSON_MAX];
        size_t len;
        assert_int_equal(usage_pack(&in, data, sizeof data, &len), ERR_OK);
        assert_int_equal(usage_unpack(data, len, &out), ERR_OK);
        int n = usage_json(&out, json, sizeof json);
        assert_true(n > 0);
        assert_int_equal(n, strlen(json));
    }
}

static void test_json_is_json(void **state)
{
    (void)state;
    struct usage_record in = sample();
    char text[USAGE_JSON_MAX];
    snprintf(in.request, sizeof in.request, "%s", "q\"\\\xff\xc3\xa4");
    in.output_bytes = 17;
    int n = usage_json(&in, text, sizeof text);
    assert_true(n > 0 && text[n - 1] == '\n');
    json_t *json = json_loadb(text, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "time")), "2026-01-02T03:04:05.678Z");
    assert_string_equal(json_string_value(json_object_get(json, "request")), "q\"\\\xef\xbf\xbd\xc3\xa4");
    assert_int_equal(json_integer_value(json_object_get(json, "output_bytes")), 17);
    assert_int_equal(json_integer_value(json_object_get(json, "outputs")), 3);
    assert_true(json_is_false(json_object_get(json, "confirmed")));
    assert_int_equal(strlen(json_string_value(json_object_get(json, "body_digest"))), 64);
    json_decref(json);
    assert_int_equal(usage_json(&in, text, (size_t)n), ERR_RANGE);
}

static void test_hours_begin_on_the_hour(void **state)
{
    (void)state;
    assert_int_equal(usage_hour(0), 0);
    assert_int_equal(usage_hour(hour_us - 1), 0);
    assert_int_equal(usage_hour(hour_us), 1);
    assert_int_equal(usage_hour(-1), -1);
}

static void test_batch_is_walked_record_by_record(void **state)
{
    (void)state;
    struct usage_record in = sample(), out;
    uint8_t data[USAGE_RECORD_MAX], body[2 * USAGE_RECORD_MAX];
    const uint8_t *record;
    size_t len, pos = 0, end = 0, record_len;
    assert_int_equal(usage_pack(&in, data, sizeof data, &len), ERR_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(usage_add(body, sizeof body, &end, data, len, i % 2 == 1), ERR_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(usage_next(body, end, &pos, &record, &record_len), ERR_OK);
        assert_int_equal(usage_unpack(record, record_len, &out), ERR_OK);
        assert_int_equal(out.confirmed, i % 2 == 1);
        assert_string_equal(out.request_id, in.request_id);
    }
    assert_int_equal(usage_next(body, end, &pos, &record, &record_len), ERR_NOTFOUND);
    pos = 0;
    assert_int_equal(usage_next(body, len - 1, &pos, &record, &record_len), ERR_CORRUPT);
    pos = 0;
    assert_int_equal(usage_next((const uint8_t *)"\x00", 1, &pos, &record, &record_len), ERR_CORRUPT);
    pos = 0;
    assert_int_equal(usage_next((const uint8_t *)"\xff\xff\xff\xff\x0f", 5, &pos, &record, &record_len), ERR_CORRUPT);
    assert_int_equal(usage_add(body, end + len, &end, data, len, false), ERR_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packed_record_comes_back),
        cmocka_unit_test(test_packed_record_is_protobuf),
        cmocka_unit_test(test_empty_record_counts_as_one),
        cmocka_unit_test(test_unpack_refuses_what_is_out_of_bounds),
        cmocka_unit_test(test_random_bytes_do_no_harm),
        cmocka_unit_test(test_control_characters_are_replaced_when_packed),
        cmocka_unit_test(test_largest_records_fit),
        cmocka_unit_test(test_json_is_json),
        cmocka_unit_test(test_hours_begin_on_the_hour),
        cmocka_unit_test(test_batch_is_walked_record_by_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
