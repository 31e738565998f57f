/* SPDX-License-Identifier: MIT */
/* Hostile frames and headers: each is parsed, packed again and compared, and what gets through is handed to a dispatcher and a worker's credit.
 *
 * An input is taken twice: as one frame, and as a row of headers, each after a byte for its type and one for its length. One that begins with
 * "hex:" is hexadecimal text, which is how the corpus is kept. */
#include "cavage/credit.h"
#include "cavage/dispatch.h"
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/wire.h"

#include <stdlib.h>
#include <string.h>

enum { PEERS = 3, JOBS = 6, MAX_BODY = 1 << 20, MAX_INPUT = 64 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct dispatch *d;
    struct credit *c;
    int64_t now_us;
};

union message {
    struct wire_hello hello;
    struct wire_status status;
    struct wire_job job;
    struct wire_cancel cancel;
    struct wire_result result;
    struct wire_usage usage;
    struct wire_ack ack;
    struct wire_arena arena;
};

static const struct id api_boot = {{'a'}};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static int unpack(const struct frame *f, union message *m)
{
    switch (f->type) {
    case FRAME_HELLO:
        return wire_unpack_hello(f, &m->hello);
    case FRAME_STATUS:
        return wire_unpack_status(f, &m->status);
    case FRAME_JOB:
        return wire_unpack_job(f, &m->job);
    case FRAME_CANCEL:
        return wire_unpack_cancel(f, &m->cancel);
    case FRAME_RESULT:
        return wire_unpack_result(f, &m->result);
    case FRAME_USAGE:
        return wire_unpack_usage(f, &m->usage);
    case FRAME_ACK:
        return wire_unpack_ack(f, &m->ack);
    case FRAME_ARENA:
        return wire_unpack_arena(f, &m->arena);
    }
    return ERR_INVALID;
}

static int pack(enum frame_type type, const union message *m, size_t body_len, uint8_t **data, size_t *len)
{
    uint8_t *body = NULL;
    switch (type) {
    case FRAME_HELLO:
        return wire_pack_hello(&m->hello, malloc, data, len);
    case FRAME_STATUS:
        return wire_pack_status(&m->status, malloc, data, len);
    case FRAME_JOB:
        return wire_pack_job(&m->job, body_len, malloc, data, len, &body);
    case FRAME_CANCEL:
        return wire_pack_cancel(&m->cancel, malloc, data, len);
    case FRAME_RESULT:
        return wire_pack_result(&m->result, body_len, malloc, data, len, &body);
    case FRAME_USAGE:
        return wire_pack_usage(&m->usage, body_len, malloc, data, len, &body);
    case FRAME_ACK:
        return wire_pack_ack(&m->ack, malloc, data, len);
    case FRAME_ARENA:
        return wire_pack_arena(&m->arena, malloc, data, len);
    }
    return ERR_INVALID;
}

/* What was taken once is taken again, and packs to the same header. */
static void check_round_trip(const struct frame *f, const union message *m)
{
    static union message again;
    struct frame g;
    uint8_t *first, *second;
    size_t first_len, second_len;

    must(pack(f->type, m, f->body_len, &first, &first_len) == ERR_OK);
    must(frame_parse(first, first_len, SIZE_MAX, &g) == ERR_OK);
    must(unpack(&g, &again) == ERR_OK);
    must(pack(g.type, &again, g.body_len, &second, &second_len) == ERR_OK);
    must(first_len == second_len && memcmp(first, second, first_len - g.body_len) == 0);
    free(first);
    free(second);
}

/* Boots are too long to guess, so the input only chooses among a few. */
static void choose_boot(struct id *boot, char base)
{
    uint8_t n = boot->bytes[0] % 3;
    memset(boot, 0, sizeof *boot);
    boot->bytes[0] = (uint8_t)(base + n);
}

static void apply(struct world *w, enum frame_type type, union message *m)
{
    size_t api;
    bool is_new;

    switch (type) {
    case FRAME_HELLO:
        choose_boot(&m->hello.api_boot, 'a');
        choose_boot(&m->hello.worker_boot, 'w');
        if (credit_hello(w->c, w->now_us, &m->hello, &api, &is_new) == ERR_OK)
            credit_done(w->c, w->now_us, api, m->hello.sent);
        break;
    case FRAME_JOB:
        choose_boot(&m->job.api_boot, 'a');
        choose_boot(&m->job.worker_boot, 'w');
        credit_job(w->c, w->now_us, &m->job, &api);
        break;
    case FRAME_STATUS:
        choose_boot(&m->status.worker_boot, 'w');
        m->status.api_boot = api_boot;
        dispatch_status(w->d, w->now_us, &m->status);
        break;
    case FRAME_RESULT:
        choose_boot(&m->result.status.worker_boot, 'w');
        m->result.status.api_boot = api_boot;
        dispatch_result(w->d, w->now_us, &m->result);
        break;
    default:
        break;
    }
}

/* Whatever arrived, actions end, and the sums are right. */
static void settle(struct world *w)
{
    static struct wire_status status;
    struct dispatch_action action;
    struct dispatch_stats stats;
    size_t api;
    unsigned actions = 0;

    while (dispatch_next(w->d, &action)) {
        must(++actions < 1000);
        must(action.type != DISPATCH_SEND || (action.sequence > 0 && action.remaining_ms > 0));
        if (action.type == DISPATCH_SEND && action.job % 3 == 0)
            dispatch_send_refused(w->d, w->now_us, action.peer, action.job);
    }
    dispatch_stats(w->d, &stats);
    must(stats.queued + stats.sent <= JOBS);
    while (credit_next_gone(w->c, w->now_us, &api) || credit_next_status(w->c, w->now_us, &api)) {
        must(++actions < 1000);
        credit_status(w->c, w->now_us, api, &status);
    }
    size_t held = credit_held(w->c);
    must(credit_granted(w->c) <= (held < 8 ? 8 - held : 0));
}

static void world_open(struct world *w)
{
    const struct id worker_boot = {{'w'}};
    struct dispatch_config config = {.boot = api_boot,
                                     .max_jobs = JOBS,
                                     .max_queued = JOBS,
                                     .max_queued_per_customer = JOBS,
                                     .retry_percent = 10,
                                     .hedge_percent = 2};
    size_t peer;

    w->now_us = 1;
    must(dispatch_new(&config, &w->d) == ERR_OK && credit_new(&worker_boot, &w->c) == ERR_OK);
    credit_set_slots(w->c, w->now_us, 4);
    for (size_t i = 0; i < PEERS; i++) {
        must(dispatch_peer_add(w->d, &peer) == ERR_OK);
        dispatch_peer_up(w->d, w->now_us, peer);
    }
    for (uint64_t i = 1; i <= JOBS; i++) {
        struct dispatch_job job = {.id = i, .customer = i % 2, .cost_us = 5000, .deadline_us = 2000000};
        must(dispatch_submit(w->d, w->now_us, &job) == ERR_OK);
    }
}

static void world_close(struct world *w)
{
    dispatch_free(w->d);
    credit_free(w->c);
}

static void take_row(const uint8_t *data, size_t size)
{
    static union message m;
    struct world w;

    world_open(&w);
    while (size >= 2) {
        size_t len = data[1] < size - 2 ? data[1] : size - 2;
        struct frame f = {.type = (enum frame_type)(data[0] % 8), .header = data + 2, .header_len = len};
        if (f.type == 0) { /* time passes */
            w.now_us += (int64_t)data[1] * 10000;
            dispatch_tick(w.d, w.now_us);
            len = 0;
        } else if (unpack(&f, &m) == ERR_OK) {
            check_round_trip(&f, &m);
            apply(&w, f.type, &m);
        }
        settle(&w);
        data += 2 + len;
        size -= 2 + len;
    }
    world_close(&w);
}

static void take_frame(const uint8_t *data, size_t size)
{
    static union message m;
    struct frame f;

    if (frame_parse(data, size, MAX_BODY, &f) != ERR_OK)
        return;
    must(f.header_len <= FRAME_HEADER_MAX && f.body_len <= MAX_BODY && f.body + f.body_len == data + size);
    if (unpack(&f, &m) == ERR_OK)
        check_round_trip(&f, &m);
}

/* Digits to bytes; anything else between them is skipped, so that the corpus may have lines. */
static size_t from_hex(const uint8_t *text, size_t size, uint8_t *out)
{
    static const char digits[] = "0123456789abcdef";
    size_t nibbles = 0;

    for (size_t i = 0; i < size && nibbles / 2 < MAX_INPUT; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit)
            continue;
        uint8_t value = (uint8_t)(digit - digits);
        out[nibbles / 2] = (uint8_t)(nibbles % 2 ? out[nibbles / 2] | value : value << 4);
        nibbles++;
    }
    return nibbles / 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t decoded[MAX_INPUT];

    if (size >= 4 && memcmp(data, "hex:", 4) == 0) {
        size = from_hex(data + 4, size - 4, decoded);
        data = decoded;
    }
    take_frame(data, size);
    take_row(data, size);
    return 0;
}
