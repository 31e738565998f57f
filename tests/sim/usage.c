/* SPDX-License-Identifier: MIT */
/* An API's spool of usage: a model of src/spool*.c, whose files and thread cannot be simulated. What is appended here outlives the process. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW = 4, RESEND_US = SECOND, REWIND_GUARD_US = 50 * MS, STALE_US = 3 * SECOND };
static const int64_t hour_us = INT64_C(3600) * SECOND;
static const int64_t wall_start_us = INT64_C(1700000000) * SECOND;

static struct producer *producer_of(struct sim *s, int node)
{
    return &s->apis[node].producer;
}

static int64_t wall_clock(const struct sim *s, int node)
{
    return wall_start_us + s->now_us + s->nodes[node].wall_us;
}

void producer_start(struct sim *s, int node)
{
    struct producer *p = producer_of(s, node);
    int64_t wall_us = wall_clock(s, node);

    if (id_is_zero(&p->id))
        p->id = sim_boot(s, node);
    if (p->last_sequence > 0) {
        p->previous_epoch = p->epoch;
        p->previous_sequence = p->last_sequence;
    }
    /* A spool that was put back from a backup does not know the epochs since; the clock is beyond them, unless it was set back. */
    p->epoch = (uint64_t)wall_us > p->epoch ? (uint64_t)wall_us : p->epoch + 1;
    p->last_sequence = 0;
    p->acked_epoch = p->acked_sequence = 0;
    p->rewound_us = p->unexpected_us = 0;
    for (size_t i = 0; i < p->count; i++) {
        struct batch *b = &p->batches[i];
        b->closed = true;
        b->sent = b->tried = false;
        b->unresolved = 0;
    }
}

static struct batch *open_batch(struct sim *s, int node, int64_t hour)
{
    struct producer *p = producer_of(s, node);
    struct batch *last = p->count > 0 ? &p->batches[p->count - 1] : NULL;

    if (last && !last->closed && last->hour == hour && last->count < BATCH_RECORDS)
        return last;
    if (last)
        last->closed = true;
    if (p->count >= p->room) {
        size_t room = p->room + 32;
        p->batches = realloc(p->batches, room * sizeof p->batches[0]);
        p->room = room;
    }
    if (!p->batches)
        abort();
    struct batch *b = &p->batches[p->count++];
    *b = (struct batch){.producer = p->id,
                        .epoch = p->epoch,
                        .sequence = ++p->last_sequence,
                        .hour = hour,
                        .opened_us = sim_clock(s, node)};
    if (b->sequence == 1) {
        b->previous_epoch = p->previous_epoch;
        b->previous_sequence = p->previous_sequence;
    }
    s->counts.batches++;
    return b;
}

void producer_append(struct sim *s, int node, size_t request, uint64_t *epoch, uint64_t *sequence)
{
    struct batch *b = open_batch(s, node, wall_clock(s, node) / hour_us);
    b->records[b->count++] = (struct record){.request = request};
    b->unresolved++;
    b->closed = b->count == BATCH_RECORDS;
    *epoch = b->epoch;
    *sequence = b->sequence;
    judge_spooled(s, request);
}

void producer_resolve(struct sim *s, int node, size_t request, bool confirmed)
{
    struct producer *p = producer_of(s, node);
    for (size_t i = p->count; i-- > 0;) {
        struct batch *b = &p->batches[i];
        for (size_t k = 0; k < b->count && b->epoch == p->epoch; k++) {
            if (b->records[k].request == request) {
                b->records[k].confirmed = confirmed;
                b->unresolved--;
                return;
            }
        }
    }
}

/* ---- Acknowledgements ---- */

static void take_back(struct producer *p, size_t from)
{
    for (size_t i = from; i < p->count; i++)
        p->batches[i].sent = false;
}

static void drop_first(struct producer *p)
{
    memmove(p->batches, p->batches + 1, --p->count * sizeof p->batches[0]);
}

static void acknowledged(struct producer *p, const struct wire_ack *ack)
{
    while (p->count > 0 && p->batches[0].epoch == ack->epoch && p->batches[0].sequence <= ack->sequence &&
           p->batches[0].tried) {
        p->acked_epoch = ack->epoch;
        p->acked_sequence = p->batches[0].sequence;
        p->unexpected_us = 0;
        drop_first(p);
    }
}

static void expected(struct sim *s, int node, struct producer *p, const struct wire_ack *ack)
{
    int64_t now_us = sim_clock(s, node);
    size_t i = 0;

    while (i < p->count && (p->batches[i].epoch < ack->epoch ||
                            (p->batches[i].epoch == ack->epoch && p->batches[i].sequence < ack->sequence)))
        i++;
    if (i == p->count || p->batches[i].epoch != ack->epoch)
        return;
    if (ack->epoch == p->acked_epoch && ack->sequence <= p->acked_sequence) {
        if (p->unexpected_us == 0)
            p->unexpected_us = now_us;
        if (now_us - p->unexpected_us < STALE_US)
            return;
    }
    if (p->batches[i].sequence > ack->sequence && !p->batches[i].gap)
        p->batches[i].gap = true;
    else if (now_us - p->rewound_us < REWIND_GUARD_US)
        return;
    p->rewound_us = now_us;
    take_back(p, i);
}

void producer_ack(struct sim *s, int node, const struct wire_ack *ack)
{
    struct producer *p = producer_of(s, node);
    sim_trace(s, "api %d hears %s of batch %llu-%llu", node, ack->expected ? "wanted" : "acknowledged",
              (unsigned long long)ack->epoch, (unsigned long long)ack->sequence);
    if (ack->expected)
        expected(s, node, p, ack);
    else
        acknowledged(p, ack);
}

/* ---- Sending ---- */

void batch_header(const struct batch *b, struct wire_usage *m)
{
    *m = (struct wire_usage){.producer = b->producer,
                             .epoch = b->epoch,
                             .sequence = b->sequence,
                             .hour = b->hour,
                             .records = (uint32_t)b->count,
                             .gap = b->gap,
                             .previous_epoch = b->previous_epoch,
                             .previous_sequence = b->previous_sequence};
    memcpy(m->digest, b->digest, sizeof m->digest);
}

static void send_batch(struct sim *s, int node, struct batch *b)
{
    struct wire_usage m;
    uint8_t *data = NULL, *body;
    size_t len = 0;

    memset(b->digest, 0, sizeof b->digest);
    for (size_t i = 0; i < b->count; i++) {
        uint64_t h = noise_of(b->records[i].request, b->records[i].confirmed, i);
        for (size_t k = 0; k < sizeof h; k++)
            b->digest[(8 * i + k) % sizeof b->digest] ^= (uint8_t)(h >> 8 * k);
    }
    batch_header(b, &m);
    snprintf(m.ack_address, sizeof m.ack_address, "ipc:///run/api-%d", node);
    if (wire_pack_usage(&m, b->count * sizeof b->records[0], malloc, &data, &len, &body) != 0) {
        sim_violate(s, "wire", "a batch cannot be packed");
        return;
    }
    memcpy(body, b->records, b->count * sizeof b->records[0]);
    b->sent = b->tried = true;
    b->sent_us = sim_clock(s, node);
    net_send(s, node, METER, data, len);
}

/* An epoch begins when the one before it is in the ledger. */
static bool can_be_sent(const struct producer *p, const struct batch *b)
{
    return b->closed && b->unresolved == 0 && !b->sent && b->epoch == p->batches[0].epoch;
}

static size_t next_to_send(const struct producer *p)
{
    size_t i = 0;
    while (i < p->count && p->batches[i].sent)
        i++;
    return i;
}

void producer_step(struct sim *s, int node)
{
    struct producer *p = producer_of(s, node);
    int64_t now_us = sim_clock(s, node);

    if (p->count > 0 && now_us - p->batches[p->count - 1].opened_us >= BATCH_US)
        p->batches[p->count - 1].closed = true;
    if (p->count > 0 && p->batches[0].sent && now_us - p->batches[0].sent_us >= RESEND_US)
        take_back(p, 0);
    size_t i;
    while ((i = next_to_send(p)) < p->count && i < WINDOW && can_be_sent(p, &p->batches[i]))
        send_batch(s, node, &p->batches[i]);
}

int64_t producer_next_us(const struct sim *s, int node)
{
    const struct producer *p = &s->apis[node].producer;
    int64_t next_us = never_us;

    if (p->count == 0)
        return never_us;
    const struct batch *last = &p->batches[p->count - 1];
    if (!last->closed)
        next_us = last->opened_us + BATCH_US;
    if (p->batches[0].sent && p->batches[0].sent_us + RESEND_US < next_us)
        next_us = p->batches[0].sent_us + RESEND_US;
    return next_us == never_us ? never_us : next_us - s->nodes[node].clock_us;
}

void producer_free(struct producer *p)
{
    free(p->batches);
}
