/* SPDX-License-Identifier: MIT */
/* Maps the plain structs of messages to protobuf headers and back, and bounds every field on the way in. */
#include "cavage/wire.h"

#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/utf8.h"

#include <stdio.h>
#include <string.h>

#include "wire.pb-c.h"

enum {
    SLOTS_MAX = WIRE_HELD_MAX / 2,
    LOAD_MAX = 1000 * 1000,
    REMAINING_MS_MAX = 60 * 60 * 1000,
    HOUR_MAX = 100 * 1000 * 1000 /* the year 13,377 */
};

/* Sequences and epochs count from 1 and stay far from overflow. */
static const uint64_t count_max = (uint64_t)1 << 62;

static int pack(const ProtobufCMessage *m, enum frame_type type, size_t body_len, wire_alloc_fn alloc, uint8_t **data,
                size_t *len, uint8_t **body)
{
    size_t header_len = protobuf_c_message_get_packed_size(m);
    if (header_len > FRAME_HEADER_MAX || body_len > UINT32_MAX)
        return ERR_RANGE;
    size_t total = FRAME_PREAMBLE_BYTES + header_len + body_len;
    uint8_t *p = alloc(total);
    if (!p)
        return ERR_NOMEM;
    frame_write(p, type, header_len, body_len);
    protobuf_c_message_pack(m, p + FRAME_PREAMBLE_BYTES);
    *data = p;
    *len = total;
    if (body)
        *body = p + FRAME_PREAMBLE_BYTES + header_len;
    return ERR_OK;
}

/* NULL when the frame is of another type or its header does not parse. Free with protobuf_c_message_free_unpacked. */
static void *unpack(const struct frame *f, enum frame_type type, const ProtobufCMessageDescriptor *descriptor)
{
    if (f->type != type)
        return NULL;
    return protobuf_c_message_unpack(descriptor, NULL, f->header_len, f->header);
}

static void release(void *message)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}

/* protobuf-c has no const in its messages, but does not write through them when packing. */
static char *text_ref(const char *text)
{
    union {
        const char *in;
        char *out;
    } u = {.in = text};
    return u.out;
}

static ProtobufCBinaryData bytes_ref(const uint8_t *bytes, size_t len)
{
    union {
        const uint8_t *in;
        uint8_t *out;
    } u = {.in = bytes};
    return (ProtobufCBinaryData){.len = len, .data = u.out};
}

static ProtobufCBinaryData id_ref(const struct id *id)
{
    return bytes_ref(id->bytes, id_is_zero(id) ? 0 : ID_BYTES);
}

static bool take_id(const ProtobufCBinaryData *in, struct id *id)
{
    if (in->len != ID_BYTES)
        return false;
    memcpy(id->bytes, in->data, ID_BYTES);
    return !id_is_zero(id);
}

/* Absent means none. */
static bool take_optional_id(const ProtobufCBinaryData *in, struct id *id)
{
    memset(id, 0, sizeof *id);
    return in->len == 0 || take_id(in, id);
}

/* The text fits, is UTF-8 and has no control characters. */
static bool take_text(const char *in, char *out, size_t size)
{
    size_t len = strnlen(in, size);
    if (len >= size)
        return false;
    for (size_t i = 0; i < len;) {
        uint32_t code;
        size_t n = utf8_next((const unsigned char *)in + i, &code);
        if (n == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0))
            return false;
        i += n;
    }
    memcpy(out, in, len + 1);
    return true;
}

/* Where a peer wants its answers; we shall connect there. */
static bool take_address(const char *in, char *out)
{
    return take_text(in, out, WIRE_ADDRESS_SIZE) && (strncmp(out, "ipc://", 6) == 0 || strncmp(out, "tcp://", 6) == 0);
}

bool wire_arena_path(const char *result_address, char out[WIRE_ARENA_PATH_SIZE])
{
    static const char ipc[] = "ipc://", suffix[] = ".arena";
    _Static_assert(sizeof(suffix) <= sizeof(ipc), "what is cut off at the front is as long as what comes behind");
    if (strncmp(result_address, ipc, strlen(ipc)) != 0)
        return false;
    snprintf(out, WIRE_ARENA_PATH_SIZE, "%s%s", result_address + strlen(ipc), suffix);
    return true;
}

static bool is_count(uint64_t n)
{
    return n >= 1 && n <= count_max;
}

int wire_pack_hello(const struct wire_hello *m, wire_alloc_fn alloc, uint8_t **data, size_t *len)
{
    Cavage__Hello p;
    cavage__hello__init(&p);
    p.api_boot = id_ref(&m->api_boot);
    p.worker_boot = id_ref(&m->worker_boot);
    p.link = m->link;
    p.result_address = text_ref(m->result_address);
    p.sent = m->sent;
    p.queued = m->queued;
    p.lends = m->lends;
    return pack(&p.base, FRAME_HELLO, 0, alloc, data, len, NULL);
}

int wire_unpack_hello(const struct frame *f, struct wire_hello *m)
{
    Cavage__Hello *p = unpack(f, FRAME_HELLO, &cavage__hello__descriptor);
    if (!p)
        return ERR_INVALID;
    m->link = p->link;
    m->sent = p->sent;
    m->queued = p->queued;
    m->lends = p->lends;
    bool ok = take_id(&p->api_boot, &m->api_boot) && take_optional_id(&p->worker_boot, &m->worker_boot) &&
              take_address(p->result_address, m->result_address) && p->sent <= count_max;
    release(p);
    return ok ? ERR_OK : ERR_RANGE;
}

static int put_status(const struct wire_status *m, Cavage__Status *p, uint64_t *held)
{
    if (m->held_count > WIRE_HELD_MAX)
        return ERR_RANGE;
    p->worker_boot = id_ref(&m->worker_boot);
    p->api_boot = id_ref(&m->api_boot);
    p->link = m->link;
    p->sequence = m->sequence;
    p->slots = m->slots;
    p->busy = m->busy;
    p->load_permille = m->load_permille;
    p->draining = m->draining;
    p->version = text_ref(m->version);
    p->seen = m->seen;
    p->limit = m->limit;
    memcpy(held, m->held, m->held_count * sizeof held[0]);
    p->n_held = m->held_count;
    p->held = held;
    p->longest = m->longest;
    return ERR_OK;
}

static int take_status(const Cavage__Status *p, struct wire_status *m)
{
    if (p->n_held > WIRE_HELD_MAX || p->slots > SLOTS_MAX || p->busy > WIRE_HELD_MAX || p->load_permille > LOAD_MAX)
        return ERR_RANGE;
    if (!is_count(p->sequence) || p->seen > count_max || p->limit > count_max)
        return ERR_RANGE;
    if (!take_id(&p->worker_boot, &m->worker_boot) || !take_id(&p->api_boot, &m->api_boot) ||
        !take_text(p->version, m->version, sizeof m->version))
        return ERR_RANGE;
    m->link = p->link;
    m->sequence = p->sequence;
    m->slots = p->slots;
    m->busy = p->busy;
    m->load_permille = p->load_permille;
    m->draining = p->draining;
    m->seen = p->seen;
    m->limit = p->limit;
    m->held_count = p->n_held;
    if (p->n_held > 0)
        memcpy(m->held, p->held, p->n_held * sizeof m->held[0]);
    m->longest = p->longest;
    return ERR_OK;
}

int wire_pack_status(const struct wire_status *m, wire_alloc_fn alloc, uint8_t **data, size_t *len)
{
    Cavage__Status p;
    cavage__status__init(&p);
    uint64_t held[WIRE_HELD_MAX];
    int err = put_status(m, &p, held);
    return err ? err : pack(&p.base, FRAME_STATUS, 0, alloc, data, len, NULL);
}

int wire_unpack_status(const struct frame *f, struct wire_status *m)
{
    Cavage__Status *p = unpack(f, FRAME_STATUS, &cavage__status__descriptor);
    int err = p ? take_status(p, m) : ERR_INVALID;
    release(p);
    return err;
}

/* The image is the body, or is told where to find. */
static bool is_reference(uint64_t arena, uint64_t bytes, size_t extents, size_t body_len)
{
    if (arena == 0)
        return bytes == 0 && extents == 0;
    return is_count(arena) && bytes >= 1 && bytes <= UINT32_MAX && extents >= 1 && extents <= WIRE_EXTENTS_MAX &&
           body_len == 0;
}

int wire_pack_job(const struct wire_job *m, size_t body_len, wire_alloc_fn alloc, uint8_t **data, size_t *len,
                  uint8_t **body)
{
    uint32_t extents[WIRE_EXTENTS_MAX];
    if (!is_reference(m->arena, m->image_bytes, m->extent_count, body_len))
        return ERR_RANGE;
    Cavage__Job p;
    cavage__job__init(&p);
    p.api_boot = id_ref(&m->api_boot);
    p.worker_boot = id_ref(&m->worker_boot);
    p.link = m->link;
    p.sequence = m->sequence;
    p.job = m->job;
    p.remaining_ms = m->remaining_ms;
    p.operation = (uint32_t)m->operation;
    p.request = text_ref(m->request);
    p.traceparent = text_ref(m->traceparent);
    p.arena = m->arena;
    p.image_bytes = m->image_bytes;
    memcpy(extents, m->extents, m->extent_count * sizeof extents[0]);
    p.n_extents = m->extent_count;
    p.extents = extents;
    return pack(&p.base, FRAME_JOB, body_len, alloc, data, len, body);
}

int wire_unpack_job(const struct frame *f, struct wire_job *m)
{
    Cavage__Job *p = unpack(f, FRAME_JOB, &cavage__job__descriptor);
    if (!p)
        return ERR_INVALID;
    m->link = p->link;
    m->sequence = p->sequence;
    m->job = p->job;
    m->remaining_ms = p->remaining_ms;
    bool known = p->operation >= OPERATION_RESIZE && p->operation <= OPERATION_RENDITIONS;
    m->operation = known ? (enum operation)p->operation : OPERATION_RESIZE;
    bool ok = known && take_id(&p->api_boot, &m->api_boot) && take_id(&p->worker_boot, &m->worker_boot) &&
              is_count(p->sequence) && p->job != 0 && p->remaining_ms <= REMAINING_MS_MAX &&
              take_text(p->request, m->request, sizeof m->request) &&
              take_text(p->traceparent, m->traceparent, sizeof m->traceparent) &&
              is_reference(p->arena, p->image_bytes, p->n_extents, f->body_len);
    m->arena = p->arena;
    m->image_bytes = ok ? (size_t)p->image_bytes : 0;
    m->extent_count = ok ? p->n_extents : 0;
    if (m->extent_count > 0)
        memcpy(m->extents, p->extents, m->extent_count * sizeof m->extents[0]);
    release(p);
    return ok ? ERR_OK : ERR_RANGE;
}

static bool is_geometry(uint64_t number, uint64_t extent_bytes, uint32_t extents)
{
    const uint64_t largest = UINT64_C(1) << 30;
    if (number == 0)
        return extent_bytes == 0 && extents == 0;
    return is_count(number) && extent_bytes >= 1 && extent_bytes <= largest && extents >= 1;
}

int wire_pack_arena(const struct wire_arena *m, wire_alloc_fn alloc, uint8_t **data, size_t *len)
{
    Cavage__Arena p;
    cavage__arena__init(&p);
    p.api_boot = id_ref(&m->api_boot);
    p.worker_boot = id_ref(&m->worker_boot);
    p.number = m->number;
    p.extent_bytes = m->extent_bytes;
    p.extents = m->extents;
    return pack(&p.base, FRAME_ARENA, 0, alloc, data, len, NULL);
}

int wire_unpack_arena(const struct frame *f, struct wire_arena *m)
{
    Cavage__Arena *p = unpack(f, FRAME_ARENA, &cavage__arena__descriptor);
    if (!p)
        return ERR_INVALID;
    m->number = p->number;
    m->extent_bytes = (size_t)p->extent_bytes;
    m->extents = p->extents;
    bool ok = take_id(&p->api_boot, &m->api_boot) && take_id(&p->worker_boot, &m->worker_boot) &&
              is_geometry(p->number, p->extent_bytes, p->extents);
    release(p);
    return ok ? ERR_OK : ERR_RANGE;
}

int wire_pack_cancel(const struct wire_cancel *m, wire_alloc_fn alloc, uint8_t **data, size_t *len)
{
    Cavage__Cancel p;
    cavage__cancel__init(&p);
    p.api_boot = id_ref(&m->api_boot);
    p.worker_boot = id_ref(&m->worker_boot);
    p.link = m->link;
    p.sequence = m->sequence;
    p.job = m->job;
    return pack(&p.base, FRAME_CANCEL, 0, alloc, data, len, NULL);
}

int wire_unpack_cancel(const struct frame *f, struct wire_cancel *m)
{
    Cavage__Cancel *p = unpack(f, FRAME_CANCEL, &cavage__cancel__descriptor);
    if (!p)
        return ERR_INVALID;
    m->link = p->link;
    m->sequence = p->sequence;
    m->job = p->job;
    bool ok = take_id(&p->api_boot, &m->api_boot) && take_id(&p->worker_boot, &m->worker_boot) &&
              is_count(p->sequence) && p->job != 0;
    release(p);
    return ok ? ERR_OK : ERR_RANGE;
}

static const char *const parameters[] = {
    [WIRE_PARAMETER_NONE] = "",         [WIRE_PARAMETER_CROP] = "crop",
    [WIRE_PARAMETER_PAGE] = "page",     [WIRE_PARAMETER_MAX_BYTES] = "max_bytes",
    [WIRE_PARAMETER_ROTATE] = "rotate",
};
enum { WIRE_PARAMETERS = sizeof(parameters) / sizeof(parameters[0]) };

const char *wire_parameter_text(enum wire_parameter parameter)
{
    return (unsigned)parameter < WIRE_PARAMETERS ? parameters[parameter] : "";
}

static size_t put_outputs(const struct wire_result *m, Cavage__Output *outputs, Cavage__Output **refs)
{
    for (size_t i = 0; i < m->output_count; i++) {
        const struct wire_output *o = &m->outputs[i];
        cavage__output__init(&outputs[i]);
        outputs[i].format = o->format;
        outputs[i].width = o->width;
        outputs[i].height = o->height;
        outputs[i].pages = o->pages;
        outputs[i].bytes = o->bytes;
        refs[i] = &outputs[i];
    }
    return m->output_count;
}

/* False when there are too many of them. */
static bool take_outputs(const Cavage__Result *p, struct wire_result *m)
{
    m->output_count = p->n_outputs <= WIRE_OUTPUTS_MAX ? p->n_outputs : 0;
    for (size_t i = 0; i < m->output_count; i++) {
        const Cavage__Output *o = p->outputs[i];
        m->outputs[i] = (struct wire_output){
            .format = o->format, .width = o->width, .height = o->height, .pages = o->pages, .bytes = o->bytes};
    }
    m->failed_output = p->failed_output;
    return p->n_outputs <= WIRE_OUTPUTS_MAX && p->failed_output <= WIRE_OUTPUTS_MAX;
}

int wire_pack_result(const struct wire_result *m, size_t body_len, wire_alloc_fn alloc, uint8_t **data, size_t *len,
                     uint8_t **body)
{
    Cavage__Status status;
    cavage__status__init(&status);
    Cavage__Result p;
    cavage__result__init(&p);
    uint64_t held[WIRE_HELD_MAX];
    Cavage__Output outputs[WIRE_OUTPUTS_MAX];
    Cavage__Output *refs[WIRE_OUTPUTS_MAX];
    int err = put_status(&m->status, &status, held);
    if (!err && m->output_count > WIRE_OUTPUTS_MAX)
        err = ERR_RANGE;
    if (err)
        return err;
    p.status = &status;
    p.sequence = m->sequence;
    p.job = m->job;
    p.outcome = (uint32_t)m->outcome;
    p.detail = text_ref(m->detail);
    p.input_format = m->input_format;
    p.input_width = m->input_width;
    p.input_height = m->input_height;
    p.input_pages = m->input_pages;
    p.output_format = m->output_format;
    p.output_width = m->output_width;
    p.output_height = m->output_height;
    p.output_pages = m->output_pages;
    p.failed_output = m->failed_output;
    p.n_outputs = put_outputs(m, outputs, refs);
    p.outputs = refs;
    p.cpu_us = m->cpu_us;
    p.wait_us = m->wait_us;
    p.convert_us = m->convert_us;
    p.limit_value = m->limit_value;
    p.actual_value = m->actual_value;
    p.parameter = (uint32_t)m->parameter;
    return pack(&p.base, FRAME_RESULT, body_len, alloc, data, len, body);
}

int wire_unpack_result(const struct frame *f, struct wire_result *m)
{
    Cavage__Result *p = unpack(f, FRAME_RESULT, &cavage__result__descriptor);
    if (!p)
        return ERR_INVALID;
    int err = p->status ? take_status(p->status, &m->status) : ERR_RANGE;
    bool ok = !err && is_count(p->sequence) && p->job != 0 && take_text(p->detail, m->detail, sizeof m->detail) &&
              take_outputs(p, m);
    m->sequence = p->sequence;
    m->job = p->job;
    /* A newer worker may know outcomes that we do not; to drop its answer would hide the job. */
    m->outcome = p->outcome <= OUTCOME_INTERNAL ? (enum outcome)p->outcome : OUTCOME_INTERNAL;
    m->input_format = p->input_format;
    m->input_width = p->input_width;
    m->input_height = p->input_height;
    m->input_pages = p->input_pages;
    m->output_format = p->output_format;
    m->output_width = p->output_width;
    m->output_height = p->output_height;
    m->output_pages = p->output_pages;
    m->cpu_us = p->cpu_us;
    m->wait_us = p->wait_us;
    m->convert_us = p->convert_us;
    m->limit_value = p->limit_value;
    m->actual_value = p->actual_value;
    m->parameter = p->parameter < WIRE_PARAMETERS ? (enum wire_parameter)p->parameter : WIRE_PARAMETER_NONE;
    release(p);
    return ok ? ERR_OK : ERR_RANGE;
}

int wire_pack_usage(const struct wire_usage *m, size_t body_len, wire_alloc_fn alloc, uint8_t **data, size_t *len,
                    uint8_t **body)
{
    Cavage__Usage p;
    cavage__usage__init(&p);
    p.producer = id_ref(&m->producer);
    p.epoch = m->epoch;
    p.sequence = m->sequence;
    p.hour = m->hour;
    p.records = m->records;
    p.digest = bytes_ref(m->digest, sizeof m->digest);
    p.ack_address = text_ref(m->ack_address);
    p.gap = m->gap;
    p.previous_epoch = m->previous_epoch;
    p.previous_sequence = m->previous_sequence;
    return pack(&p.base, FRAME_USAGE, body_len, alloc, data, len, body);
}

int wire_unpack_usage(const struct frame *f, struct wire_usage *m)
{
    Cavage__Usage *p = unpack(f, FRAME_USAGE, &cavage__usage__descriptor);
    if (!p)
        return ERR_INVALID;
    m->epoch = p->epoch;
    m->sequence = p->sequence;
    m->hour = p->hour;
    m->records = p->records;
    m->gap = p->gap;
    m->previous_epoch = p->previous_epoch;
    m->previous_sequence = p->previous_sequence;
    /* Each record takes at least the byte of its length, so the body bounds their number. */
    bool ok = take_id(&p->producer, &m->producer) && is_count(p->epoch) && is_count(p->sequence) && p->hour >= 0 &&
              p->hour <= HOUR_MAX && p->records <= f->body_len && p->digest.len == WIRE_DIGEST_BYTES &&
              take_address(p->ack_address, m->ack_address) && p->previous_epoch <= count_max &&
              p->previous_sequence <= count_max;
    if (ok)
        memcpy(m->digest, p->digest.data, WIRE_DIGEST_BYTES);
    release(p);
    return ok ? ERR_OK : ERR_RANGE;
}

int wire_pack_ack(const struct wire_ack *m, wire_alloc_fn alloc, uint8_t **data, size_t *len)
{
    Cavage__Ack p;
    cavage__ack__init(&p);
    p.producer = id_ref(&m->producer);
    p.epoch = m->epoch;
    p.sequence = m->sequence;
    p.expected = m->expected;
    return pack(&p.base, FRAME_ACK, 0, alloc, data, len, NULL);
}

int wire_unpack_ack(const struct frame *f, struct wire_ack *m)
{
    Cavage__Ack *p = unpack(f, FRAME_ACK, &cavage__ack__descriptor);
    if (!p)
        return ERR_INVALID;
    m->epoch = p->epoch;
    m->sequence = p->sequence;
    m->expected = p->expected;
    bool ok = take_id(&p->producer, &m->producer) && is_count(p->epoch) && p->sequence <= count_max;
    release(p);
    return ok ? ERR_OK : ERR_RANGE;
}

const char *outcome_text(enum outcome outcome)
{
    static const char *const texts[] = {
        [OUTCOME_OK] = "ok",
        [OUTCOME_NOT_STARTED] = "not_started",
        [OUTCOME_NOT_AN_IMAGE] = "not_an_image",
        [OUTCOME_UNDECODABLE] = "undecodable",
        [OUTCOME_TOO_LARGE] = "too_large",
        [OUTCOME_BAD_REQUEST] = "bad_request",
        [OUTCOME_CRASHED] = "crashed",
        [OUTCOME_DEADLINE] = "deadline",
        [OUTCOME_LOST] = "lost",
        [OUTCOME_INTERNAL] = "internal",
    };
    return (unsigned)outcome < sizeof texts / sizeof texts[0] ? texts[outcome] : "unknown";
}
