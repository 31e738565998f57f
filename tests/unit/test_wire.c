/* SPDX-License-Identifier: MIT */
/* Messages cross the wire whole, and fields out of bounds do not get in. */
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint64_t too_high = ((uint64_t)1 << 62) + 1;

static struct id boot(uint8_t n)
{
    struct id id = {{n, 2, 3}};
    return id;
}

static struct wire_status status_make(size_t held)
{
    struct wire_status m = {.worker_boot = boot(1),
                            .api_boot = boot(2),
                            .link = 3,
                            .sequence = 4,
                            .slots = 5,
                            .busy = 6,
                            .load_permille = 7,
                            .draining = true,
                            .version = "0.1.0",
                            .seen = 8,
                            .limit = 9,
                            .held_count = held,
                            .longest = 10};
    for (size_t i = 0; i < held; i++)
        m.held[i] = ((uint64_t)1 << 61) + i;
    return m;
}

static struct wire_hello hello_make(void)
{
    return (struct wire_hello){.api_boot = boot(1),
                               .worker_boot = boot(2),
                               .link = 3,
                               .result_address = "ipc:///run/results-\xc3\xa4",
                               .sent = 4,
                               .queued = 5,
                               .lends = true};
}

static struct wire_job job_make(void)
{
    return (struct wire_job){.api_boot = boot(1),
                             .worker_boot = boot(2),
                             .link = 3,
                             .sequence = 4,
                             .job = 5,
                             .remaining_ms = 6,
                             .operation = OPERATION_INFO,
                             .request = "width=320",
                             .traceparent = "00-aa-bb-01"};
}

static struct wire_job reference_make(void)
{
    struct wire_job m = job_make();
    m.arena = 9;
    m.image_bytes = 100;
    m.extent_count = 2;
    m.extents[0] = 7;
    m.extents[1] = UINT32_MAX;
    return m;
}

static struct wire_arena arena_make(void)
{
    return (struct wire_arena){
        .api_boot = boot(1), .worker_boot = boot(2), .number = 3, .extent_bytes = 65536, .extents = 8192};
}

static struct wire_usage usage_make(void)
{
    return (struct wire_usage){.producer = boot(1),
                               .epoch = 2,
                               .sequence = 3,
                               .hour = 480000,
                               .records = 4,
                               .digest = {1, 2, 3},
                               .ack_address = "tcp://127.0.0.1:1",
                               .gap = true,
                               .previous_epoch = 1,
                               .previous_sequence = 9};
}

/* Packing and unpacking as one step; the body, if any, must come back. */
#define CROSS_PLAIN(kind, in, out) \
    cross((wire_pack_##kind(in, malloc, &wire, &wire_len)), (unpack_fn)wire_unpack_##kind, out)

typedef int (*unpack_fn)(const struct frame *f, void *m);
static uint8_t *wire;
static size_t wire_len;

static int cross(int packed, unpack_fn unpack, void *out)
{
    struct frame f;
    assert_int_equal(packed, ERR_OK);
    assert_int_equal(frame_parse(wire, wire_len, 16, &f), ERR_OK);
    int err = unpack(&f, out);
    free(wire);
    return err;
}

static int cross_hello(const struct wire_hello *in, struct wire_hello *out)
{
    memset(out, 0, sizeof *out);
    return CROSS_PLAIN(hello, in, out);
}

static int cross_status(const struct wire_status *in, struct wire_status *out)
{
    memset(out, 0, sizeof *out);
    return CROSS_PLAIN(status, in, out);
}

static int cross_job(const struct wire_job *in, struct wire_job *out)
{
    uint8_t *body;
    memset(out, 0, sizeof *out);
    int err = wire_pack_job(in, 3, malloc, &wire, &wire_len, &body);
    memcpy(body, "img", 3);
    assert_memory_equal(wire + wire_len - 3, "img", 3);
    return cross(err, (unpack_fn)wire_unpack_job, out);
}

/* A job without a body. */
static int cross_reference(const struct wire_job *in, struct wire_job *out)
{
    uint8_t *body;
    memset(out, 0, sizeof *out);
    return cross(wire_pack_job(in, 0, malloc, &wire, &wire_len, &body), (unpack_fn)wire_unpack_job, out);
}

static int cross_arena(const struct wire_arena *in, struct wire_arena *out)
{
    memset(out, 0, sizeof *out);
    return CROSS_PLAIN(arena, in, out);
}

static int cross_usage(const struct wire_usage *in, struct wire_usage *out)
{
    uint8_t *body;
    memset(out, 0, sizeof *out);
    int err = wire_pack_usage(in, 4, malloc, &wire, &wire_len, &body);
    memset(body, 0, 4);
    return cross(err, (unpack_fn)wire_unpack_usage, out);
}

static void assert_same_status(const struct wire_status *a, const struct wire_status *b)
{
    assert_memory_equal(&a->worker_boot, &b->worker_boot, ID_BYTES);
    assert_memory_equal(&a->api_boot, &b->api_boot, ID_BYTES);
    assert_int_equal(a->link, b->link);
    assert_int_equal(a->sequence, b->sequence);
    assert_int_equal(a->slots, b->slots);
    assert_int_equal(a->busy, b->busy);
    assert_int_equal(a->load_permille, b->load_permille);
    assert_int_equal(a->draining, b->draining);
    assert_string_equal(a->version, b->version);
    assert_int_equal(a->seen, b->seen);
    assert_int_equal(a->limit, b->limit);
    assert_int_equal(a->held_count, b->held_count);
    for (size_t i = 0; i < a->held_count; i++)
        assert_int_equal(a->held[i], b->held[i]);
    assert_int_equal(a->longest, b->longest);
}

#define REFUSED(kind, change)                                \
    do {                                                     \
        struct wire_##kind m = kind##_make(), out;           \
        change;                                              \
        assert_int_equal(cross_##kind(&m, &out), ERR_RANGE); \
    } while (0)

static void test_hello_crosses_whole(void **state)
{
    (void)state;
    struct wire_hello in = hello_make(), out;

    assert_int_equal(cross_hello(&in, &out), ERR_OK);
    assert_memory_equal(&in.api_boot, &out.api_boot, ID_BYTES);
    assert_memory_equal(&in.worker_boot, &out.worker_boot, ID_BYTES);
    assert_int_equal(in.link, out.link);
    assert_string_equal(in.result_address, out.result_address);
    assert_int_equal(in.sent, out.sent);
    assert_int_equal(in.queued, out.queued);
    assert_true(out.lends);
    memset(&in.worker_boot, 0, sizeof in.worker_boot);
    assert_int_equal(cross_hello(&in, &out), ERR_OK);
    assert_true(id_is_zero(&out.worker_boot));
}

static void test_status_crosses_whole_up_to_its_bound(void **state)
{
    (void)state;
    static struct wire_status in, out;

    for (size_t held = 0; held <= WIRE_HELD_MAX; held += WIRE_HELD_MAX / 2) {
        in = status_make(held);
        assert_int_equal(cross_status(&in, &out), ERR_OK);
        assert_same_status(&in, &out);
    }
    in.held_count = WIRE_HELD_MAX + 1;
    assert_int_equal(wire_pack_status(&in, malloc, &wire, &wire_len), ERR_RANGE);
}

static void test_job_crosses_whole(void **state)
{
    (void)state;
    struct wire_job in = job_make(), out;

    assert_int_equal(cross_job(&in, &out), ERR_OK);
    assert_memory_equal(&in.api_boot, &out.api_boot, ID_BYTES);
    assert_memory_equal(&in.worker_boot, &out.worker_boot, ID_BYTES);
    assert_int_equal(in.link, out.link);
    assert_int_equal(in.sequence, out.sequence);
    assert_int_equal(in.job, out.job);
    assert_int_equal(in.remaining_ms, out.remaining_ms);
    assert_int_equal(in.operation, out.operation);
    assert_string_equal(in.request, out.request);
    assert_string_equal(in.traceparent, out.traceparent);
}

static void test_reference_and_arena_cross_whole(void **state)
{
    (void)state;
    static struct wire_job in, out;
    struct wire_arena a = arena_make(), a_out;
    uint8_t *body;

    in = reference_make();
    memset(in.request, 'r', sizeof in.request - 1);
    in.image_bytes = UINT32_MAX;
    in.extent_count = WIRE_EXTENTS_MAX;
    for (uint32_t i = 0; i < WIRE_EXTENTS_MAX; i++)
        in.extents[i] = UINT32_MAX - i;
    assert_int_equal(cross_reference(&in, &out), ERR_OK);
    assert_true(out.arena == 9 && out.image_bytes == UINT32_MAX && out.extent_count == WIRE_EXTENTS_MAX);
    assert_memory_equal(in.extents, out.extents, sizeof in.extents);
    in.extent_count++;
    assert_int_equal(wire_pack_job(&in, 0, malloc, &wire, &wire_len, &body), ERR_RANGE);
    in = reference_make(); /* the image is in one place or the other */
    assert_int_equal(wire_pack_job(&in, 1, malloc, &wire, &wire_len, &body), ERR_RANGE);
    in.arena = 0;
    assert_int_equal(wire_pack_job(&in, 0, malloc, &wire, &wire_len, &body), ERR_RANGE);

    assert_int_equal(cross_arena(&a, &a_out), ERR_OK);
    assert_true(id_equal(&a.api_boot, &a_out.api_boot) && id_equal(&a.worker_boot, &a_out.worker_boot));
    assert_true(a_out.number == 3 && a_out.extent_bytes == 65536 && a_out.extents == 8192);
    a.number = a.extent_bytes = a.extents = 0;
    assert_int_equal(cross_arena(&a, &a_out), ERR_OK);
    assert_true(a_out.number == 0);
}

static void test_arena_out_of_bounds_is_refused(void **state)
{
    (void)state;
    REFUSED(arena, memset(&m.api_boot, 0, sizeof m.api_boot));
    REFUSED(arena, memset(&m.worker_boot, 0, sizeof m.worker_boot));
    REFUSED(arena, m.number = 0);
    REFUSED(arena, m.number = too_high);
    REFUSED(arena, m.extent_bytes = 0);
    REFUSED(arena, m.extent_bytes = ((size_t)1 << 30) + 1);
    REFUSED(arena, m.extents = 0);
}

static void test_cancel_and_ack_cross_whole(void **state)
{
    (void)state;
    struct wire_cancel c = {.api_boot = boot(1), .worker_boot = boot(2), .link = 3, .sequence = 4, .job = 5}, c_out;
    struct wire_ack a = {.producer = boot(1), .epoch = 2, .sequence = 0, .expected = true}, a_out;

    memset(&c_out, 0, sizeof c_out);
    memset(&a_out, 0, sizeof a_out);
    assert_int_equal(CROSS_PLAIN(cancel, &c, &c_out), ERR_OK);
    assert_true(id_equal(&c.api_boot, &c_out.api_boot) && id_equal(&c.worker_boot, &c_out.worker_boot));
    assert_true(c_out.link == 3 && c_out.sequence == 4 && c_out.job == 5);
    assert_int_equal(CROSS_PLAIN(ack, &a, &a_out), ERR_OK);
    assert_true(id_equal(&a.producer, &a_out.producer) && a_out.epoch == 2 && a_out.sequence == 0 && a_out.expected);
}

static void test_result_crosses_whole_and_unknown_outcome_is_internal(void **state)
{
    (void)state;
    static struct wire_result in, out;
    uint8_t *body;
    in = (struct wire_result){.status = status_make(2),
                              .sequence = 1,
                              .job = 2,
                              .outcome = OUTCOME_TOO_LARGE,
                              .detail = "The image has too many pixels.",
                              .input_format = 3,
                              .input_width = 4,
                              .input_height = 5,
                              .input_pages = 6,
                              .output_format = 7,
                              .output_width = 8,
                              .output_height = 9,
                              .output_pages = 15,
                              .cpu_us = 10,
                              .wait_us = 11,
                              .convert_us = 12,
                              .limit_value = 13,
                              .actual_value = 14,
                              .parameter = WIRE_PARAMETER_PAGE};
    assert_int_equal(
        cross(wire_pack_result(&in, 0, malloc, &wire, &wire_len, &body), (unpack_fn)wire_unpack_result, &out), ERR_OK);
    assert_same_status(&in.status, &out.status);
    assert_true(out.sequence == 1 && out.job == 2 && out.outcome == OUTCOME_TOO_LARGE);
    assert_string_equal(in.detail, out.detail);
    assert_true(out.input_format == 3 && out.input_width == 4 && out.input_height == 5 && out.input_pages == 6);
    assert_true(out.output_format == 7 && out.output_width == 8 && out.output_height == 9);
    assert_int_equal(out.output_pages, 15);
    assert_true(out.cpu_us == 10 && out.wait_us == 11 && out.convert_us == 12);
    assert_true(out.limit_value == 13 && out.actual_value == 14);
    assert_string_equal(wire_parameter_text(out.parameter), "page");
    in.parameter = (enum wire_parameter)4711;
    assert_int_equal(
        cross(wire_pack_result(&in, 0, malloc, &wire, &wire_len, &body), (unpack_fn)wire_unpack_result, &out), ERR_OK);
    assert_int_equal(out.parameter, WIRE_PARAMETER_NONE);
    assert_string_equal(wire_parameter_text(in.parameter), "");
    assert_true(out.output_count == 0 && out.failed_output == 0);
    in.failed_output = WIRE_OUTPUTS_MAX;
    in.output_count = WIRE_OUTPUTS_MAX;
    for (uint32_t i = 0; i < WIRE_OUTPUTS_MAX; i++)
        in.outputs[i] = (struct wire_output){i, i + 1, i + 2, i + 3, UINT64_MAX - i};
    assert_int_equal(
        cross(wire_pack_result(&in, 0, malloc, &wire, &wire_len, &body), (unpack_fn)wire_unpack_result, &out), ERR_OK);
    assert_int_equal(out.failed_output, WIRE_OUTPUTS_MAX);
    assert_int_equal(out.output_count, WIRE_OUTPUTS_MAX);
    assert_memory_equal(in.outputs, out.outputs, sizeof in.outputs);
    in.failed_output++;
    assert_int_equal(
        cross(wire_pack_result(&in, 0, malloc, &wire, &wire_len, &body), (unpack_fn)wire_unpack_result, &out),
        ERR_RANGE);
    in.failed_output = 0;
    in.output_count++;
    assert_int_equal(wire_pack_result(&in, 0, malloc, &wire, &wire_len, &body), ERR_RANGE);
    in.output_count = 0;
    in.outcome = (enum outcome)77;
    assert_int_equal(
        cross(wire_pack_result(&in, 0, malloc, &wire, &wire_len, &body), (unpack_fn)wire_unpack_result, &out), ERR_OK);
    assert_int_equal(out.outcome, OUTCOME_INTERNAL);
    in.status.sequence = 0;
    assert_int_equal(
        cross(wire_pack_result(&in, 0, malloc, &wire, &wire_len, &body), (unpack_fn)wire_unpack_result, &out),
        ERR_RANGE);
}

static void test_usage_crosses_whole(void **state)
{
    (void)state;
    struct wire_usage in = usage_make(), out;

    assert_int_equal(cross_usage(&in, &out), ERR_OK);
    assert_true(id_equal(&in.producer, &out.producer));
    assert_true(out.epoch == 2 && out.sequence == 3 && out.hour == 480000 && out.records == 4);
    assert_memory_equal(in.digest, out.digest, sizeof in.digest);
    assert_string_equal(in.ack_address, out.ack_address);
    assert_true(out.gap && out.previous_epoch == 1 && out.previous_sequence == 9);
}

static void test_hello_out_of_bounds_is_refused(void **state)
{
    (void)state;
    REFUSED(hello, memset(&m.api_boot, 0, sizeof m.api_boot));
    REFUSED(hello, m.sent = too_high);
    REFUSED(hello, strcpy(m.result_address, ""));
    REFUSED(hello, strcpy(m.result_address, "inproc://x"));
    REFUSED(hello, strcpy(m.result_address, "ipc:///a\nb"));
    REFUSED(hello, strcpy(m.result_address, "ipc:///a\x7f"));
    REFUSED(hello, strcpy(m.result_address, "ipc:///a\xc2\x85"));     /* a control character of two bytes */
    REFUSED(hello, strcpy(m.result_address, "ipc:///a\xc0\x80"));     /* overlong */
    REFUSED(hello, strcpy(m.result_address, "ipc:///a\xed\xa0\x80")); /* a surrogate */
    REFUSED(hello, strcpy(m.result_address, "ipc:///a\xe2\x82"));     /* cut short */
}

#define status_make() status_make(1)
static void test_status_out_of_bounds_is_refused(void **state)
{
    (void)state;
    REFUSED(status, memset(&m.api_boot, 0, sizeof m.api_boot));
    REFUSED(status, memset(&m.worker_boot, 0, sizeof m.worker_boot));
    REFUSED(status, m.sequence = 0);
    REFUSED(status, m.sequence = too_high);
    REFUSED(status, m.seen = too_high);
    REFUSED(status, m.limit = too_high);
    REFUSED(status, m.slots = WIRE_HELD_MAX / 2 + 1);
    REFUSED(status, m.busy = WIRE_HELD_MAX + 1);
    REFUSED(status, m.load_permille = 1000001);
    REFUSED(status, strcpy(m.version, "1\r"));
}

static void test_job_out_of_bounds_is_refused(void **state)
{
    (void)state;
    REFUSED(job, memset(&m.api_boot, 0, sizeof m.api_boot));
    REFUSED(job, memset(&m.worker_boot, 0, sizeof m.worker_boot));
    REFUSED(job, m.sequence = 0);
    REFUSED(job, m.sequence = too_high);
    REFUSED(job, m.job = 0);
    REFUSED(job, m.remaining_ms = 3600001);
    REFUSED(job, m.operation = (enum operation)0);
    REFUSED(job, m.operation = (enum operation)4);
    REFUSED(job, strcpy(m.request, "a\tb"));
    REFUSED(job, strcpy(m.traceparent, "\xff"));
}

static void test_usage_out_of_bounds_is_refused(void **state)
{
    (void)state;
    REFUSED(usage, memset(&m.producer, 0, sizeof m.producer));
    REFUSED(usage, m.epoch = 0);
    REFUSED(usage, m.sequence = 0);
    REFUSED(usage, m.hour = -1);
    REFUSED(usage, m.records = 5); /* more than bytes */
    REFUSED(usage, strcpy(m.ack_address, "x"));
    REFUSED(usage, m.previous_epoch = too_high);
    REFUSED(usage, m.previous_sequence = too_high);
}

/* Headers as another program may write them, by hand: field number, wire type, value. */
static int unpack_job(const char *header, size_t len)
{
    struct wire_job m;
    struct frame f = {.type = FRAME_JOB, .header = (const uint8_t *)header, .header_len = len};
    return wire_unpack_job(&f, &m);
}

#define BOOT           \
    "\x0a\x10"         \
    "0123456789abcdef" \
    "\x12\x10"         \
    "0123456789abcdef"
#define GOOD_JOB BOOT "\x20\x01\x28\x01\x38\x01"
#define TRY(text) unpack_job(text, sizeof(text) - 1)

/* What is packed here is whole; what comes may be anything. */
static void test_foreign_references(void **state)
{
    (void)state;
#define PLACE "\x50\x09\x58\x64\x62\x02\x07\x08"
    assert_int_equal(TRY(GOOD_JOB PLACE), ERR_OK);
    assert_int_equal(TRY(GOOD_JOB "\x50\x09\x58\x64\x60\x07\x60\x08"), ERR_OK);  /* not packed */
    assert_int_equal(TRY(GOOD_JOB "\x50\x09\x58\x64"), ERR_RANGE);               /* nowhere */
    assert_int_equal(TRY(GOOD_JOB "\x50\x09\x62\x02\x07\x08"), ERR_RANGE);       /* of no length */
    assert_int_equal(TRY(GOOD_JOB "\x58\x64\x62\x02\x07\x08"), ERR_RANGE);       /* in no arena */
    assert_int_equal(TRY(GOOD_JOB PLACE "\x58\x80\x80\x80\x80\x10"), ERR_RANGE); /* of 4 GiB */
    char many[sizeof(GOOD_JOB PLACE) + 4 + WIRE_EXTENTS_MAX] = GOOD_JOB PLACE "\x62";
    size_t at = sizeof(GOOD_JOB PLACE);
    for (size_t more = WIRE_EXTENTS_MAX - 2; more <= WIRE_EXTENTS_MAX - 1; more++) {
        many[at] = (char)(0x80 | (more & 0x7f));
        many[at + 1] = (char)(more >> 7);
        memset(many + at + 2, 1, more);
        assert_int_equal(unpack_job(many, at + 2 + more), more + 2 <= WIRE_EXTENTS_MAX ? ERR_OK : ERR_RANGE);
    }
    struct wire_job m;
    struct frame f = {.type = FRAME_JOB,
                      .header = (const uint8_t *)GOOD_JOB PLACE,
                      .header_len = sizeof(GOOD_JOB PLACE) - 1,
                      .body_len = 1};
    assert_int_equal(wire_unpack_job(&f, &m), ERR_RANGE); /* and with a body beside */
#undef PLACE
}

static void test_foreign_headers(void **state)
{
    (void)state;
    char request[WIRE_REQUEST_SIZE + 64] = GOOD_JOB "\x42";
    size_t at = sizeof GOOD_JOB;

    assert_int_equal(TRY(GOOD_JOB), ERR_OK);
    assert_int_equal(TRY(GOOD_JOB "\xf8\x07\x05"), ERR_OK); /* an unknown field is skipped */
    assert_int_equal(TRY(GOOD_JOB "\x42\x05"
                                  "ab"),
                     ERR_INVALID); /* a length beyond the end */
    assert_int_equal(TRY(GOOD_JOB "\x42"), ERR_INVALID);
    assert_int_equal(TRY("\x0a\x01x" GOOD_JOB), ERR_OK);    /* the last one counts */
    assert_int_equal(TRY(GOOD_JOB "\x0a\x01x"), ERR_RANGE); /* a boot of one byte */
    assert_int_equal(TRY(""), ERR_RANGE);
    assert_int_equal(TRY("\xff\xff\xff\xff"), ERR_INVALID);

    /* The longest request, and one more. */
    for (size_t len = WIRE_REQUEST_SIZE - 1; len <= WIRE_REQUEST_SIZE; len++) {
        request[at] = (char)(0x80 | (len & 0x7f));
        request[at + 1] = (char)(len >> 7);
        memset(request + at + 2, 'a', len);
        assert_int_equal(unpack_job(request, at + 2 + len), len < WIRE_REQUEST_SIZE ? ERR_OK : ERR_RANGE);
    }
}

/* A RESULT with so many empty outputs. */
static int unpack_outputs(size_t count)
{
    static char header[16 + 2 + 18 + 18 + 16 + 3 * 64];
    static const char start[] = "\x0a\x2c\x0a\x10"
                                "0123456789abcdef"
                                "\x12\x10"
                                "0123456789abcdef"
                                "\x20\x01\x50\x01\x58\x01\x62\x00"
                                "\x10\x01\x18\x01";
    static struct wire_result m;
    size_t len = sizeof start - 1;
    memcpy(header, start, len);
    for (size_t i = 0; i < count; i++, len += 3)
        memcpy(header + len, "\xaa\x01\x00", 3);
    struct frame f = {.type = FRAME_RESULT, .header = (const uint8_t *)header, .header_len = len};
    int err = wire_unpack_result(&f, &m);
    assert_true(err || m.output_count == count);
    return err;
}

static void test_outputs_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(unpack_outputs(0), ERR_OK);
    assert_int_equal(unpack_outputs(WIRE_OUTPUTS_MAX), ERR_OK);
    assert_int_equal(unpack_outputs(WIRE_OUTPUTS_MAX + 1), ERR_RANGE);
}

static void test_header_of_another_type_is_refused(void **state)
{
    (void)state;
    struct frame f = {.type = FRAME_CANCEL, .header = (const uint8_t *)GOOD_JOB, .header_len = sizeof GOOD_JOB - 1};
    struct wire_job job;
    struct wire_result result;

    assert_int_equal(wire_unpack_job(&f, &job), ERR_INVALID);
    f.type = FRAME_RESULT;
    f.header_len = 0; /* no status at all */
    assert_int_equal(wire_unpack_result(&f, &result), ERR_RANGE);
}

static void *no_memory(size_t size)
{
    (void)size;
    return NULL;
}

static void test_pack_tells_of_no_memory_and_too_long_bodies(void **state)
{
    (void)state;
    struct wire_job m = job_make();
    uint8_t *body;

    assert_int_equal(wire_pack_job(&m, 1, no_memory, &wire, &wire_len, &body), ERR_NOMEM);
    assert_int_equal(wire_pack_job(&m, (size_t)UINT32_MAX + 1, no_memory, &wire, &wire_len, &body), ERR_RANGE);
}

static void test_outcomes_have_names(void **state)
{
    (void)state;
    assert_string_equal(outcome_text(OUTCOME_OK), "ok");
    assert_string_equal(outcome_text(OUTCOME_INTERNAL), "internal");
    assert_string_equal(outcome_text((enum outcome)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_crosses_whole),
        cmocka_unit_test(test_status_crosses_whole_up_to_its_bound),
        cmocka_unit_test(test_job_crosses_whole),
        cmocka_unit_test(test_cancel_and_ack_cross_whole),
        cmocka_unit_test(test_reference_and_arena_cross_whole),
        cmocka_unit_test(test_arena_out_of_bounds_is_refused),
        cmocka_unit_test(test_foreign_references),
        cmocka_unit_test(test_result_crosses_whole_and_unknown_outcome_is_internal),
        cmocka_unit_test(test_usage_crosses_whole),
        cmocka_unit_test(test_hello_out_of_bounds_is_refused),
        cmocka_unit_test(test_status_out_of_bounds_is_refused),
        cmocka_unit_test(test_job_out_of_bounds_is_refused),
        cmocka_unit_test(test_usage_out_of_bounds_is_refused),
        cmocka_unit_test(test_foreign_headers),
        cmocka_unit_test(test_outputs_are_bounded),
        cmocka_unit_test(test_header_of_another_type_is_refused),
        cmocka_unit_test(test_pack_tells_of_no_memory_and_too_long_bodies),
        cmocka_unit_test(test_outcomes_have_names),
    };
    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
