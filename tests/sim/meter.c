/* SPDX-License-Identifier: MIT */
/* The meter: the real account of batches before a simulated ledger, whose tail is lost in a crash unless it was synced. Its order of work is
 * meter/ingest.c's. */
#include "sim.h"

#include "cavage/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP_BATCHES = 256 };

static void answer(struct sim *s, const struct wire_usage *m, uint64_t sequence, bool is_expected)
{
    struct meter *meter = &s->meter;
    int node = sim_node_of(s, m->ack_address);
    if (node == NEVER_NODE || meter->ack_count == GROUP_BATCHES)
        return;
    meter->acks[meter->ack_count].node = node;
    meter->acks[meter->ack_count++].ack =
        (struct wire_ack){.producer = m->producer, .epoch = m->epoch, .sequence = sequence, .expected = is_expected};
}

static void append(struct sim *s, const struct wire_usage *m, const struct frame *f)
{
    struct meter *meter = &s->meter;
    if (meter->count == meter->room) {
        meter->room = meter->room ? 2 * meter->room : 64;
        meter->ledger = realloc(meter->ledger, meter->room * sizeof meter->ledger[0]);
        if (!meter->ledger)
            abort();
    }
    struct batch *b = &meter->ledger[meter->count++];
    *b = (struct batch){.producer = m->producer,
                        .epoch = m->epoch,
                        .sequence = m->sequence,
                        .previous_epoch = m->previous_epoch,
                        .previous_sequence = m->previous_sequence,
                        .hour = m->hour,
                        .gap = m->gap,
                        .count = m->records};
    memcpy(b->digest, m->digest, sizeof b->digest);
    memcpy(b->records, f->body, m->records * sizeof b->records[0]);
    judge_taken(s, b);
    if (usage_sequence_taken(meter->sequence, m) != ERR_OK)
        abort();
    answer(s, m, m->sequence, false);
}

static void take(struct sim *s, int node, const struct frame *f)
{
    struct wire_usage m;
    uint64_t expected;

    (void)node;
    if (f->type != FRAME_USAGE || wire_unpack_usage(f, &m) != ERR_OK || m.records > BATCH_RECORDS ||
        f->body_len != m.records * sizeof(struct record)) {
        sim_violate(s, "wire", "a batch cannot be read");
        return;
    }
    enum usage_verdict verdict = usage_sequence_judge(s->meter.sequence, &m, &expected);
    sim_trace(s, "the meter gets batch %llu-%llu: %d", (unsigned long long)m.epoch, (unsigned long long)m.sequence,
              (int)verdict);
    sim_note(s, 7000 + (uint64_t)verdict, m.sequence);
    if (verdict == USAGE_TAKE || verdict == USAGE_TAKE_GAP)
        append(s, &m, f);
    else if (verdict == USAGE_DUPLICATE)
        answer(s, &m, expected - 1, false);
    else if (verdict == USAGE_EXPECT)
        answer(s, &m, expected, true);
    /* Spools lose nothing here, and no number comes twice. */
    if (verdict == USAGE_TAKE_GAP || verdict == USAGE_CONFLICT)
        sim_violate(s, "usage-alarm", "the meter found a %s at batch %llu-%llu",
                    verdict == USAGE_CONFLICT ? "conflict" : "gap", (unsigned long long)m.epoch,
                    (unsigned long long)m.sequence);
}

static void send_acks(struct sim *s)
{
    struct meter *meter = &s->meter;
    for (size_t i = 0; i < meter->ack_count; i++) {
        uint8_t *data;
        size_t len;
        judge_acked(s, &meter->acks[i].ack);
        if (wire_pack_ack(&meter->acks[i].ack, malloc, &data, &len) == ERR_OK)
            net_send(s, METER, meter->acks[i].node, data, len);
        else
            sim_violate(s, "wire", "an acknowledgement cannot be packed");
    }
    meter->ack_count = 0;
}

void meter_step(struct sim *s)
{
    struct meter *meter = &s->meter;
    struct noise n = sim_noise(s, METER);

    if (meter->sync_done_us != 0 && s->now_us >= meter->sync_done_us) {
        meter->synced = meter->sync_count;
        meter->sync_done_us = 0;
        send_acks(s);
    }
    while (meter->sync_done_us == 0 && meter->ack_count < GROUP_BATCHES && net_receive(s, METER, take)) {
    }
    if (meter->sync_done_us == 0 && meter->ack_count > 0) {
        meter->sync_count = meter->count;
        meter->sync_done_us = s->now_us + noise_between(&n, 200, 5 * MS);
    }
    s->nodes[METER].wake_us = meter->sync_done_us != 0 ? meter->sync_done_us : never_us;
}

static int restore(void *arg, const struct id *producer, uint64_t epoch, uint64_t sequence, const uint8_t *digest)
{
    return usage_sequence_restore(arg, producer, epoch, sequence, digest);
}

/* As ledger_open does it: a checkpoint of some point in time, then what was appended after it. */
void meter_start(struct sim *s)
{
    struct meter *meter = &s->meter;
    struct noise n = sim_noise(s, METER);
    struct usage_sequence *before;
    size_t checkpoint = (size_t)noise_below(&n, (int64_t)meter->count + 1);

    if (usage_sequence_new(&before) != ERR_OK || usage_sequence_new(&meter->sequence) != ERR_OK)
        abort();
    for (size_t i = 0; i < meter->count; i++) {
        struct wire_usage m;
        if (i == checkpoint && usage_sequence_each(before, restore, meter->sequence) != ERR_OK)
            abort();
        batch_header(&meter->ledger[i], &m);
        if (usage_sequence_taken(i < checkpoint ? before : meter->sequence, &m) != ERR_OK)
            abort();
    }
    if (checkpoint == meter->count && usage_sequence_each(before, restore, meter->sequence) != ERR_OK)
        abort();
    usage_sequence_free(before);
    meter->synced = meter->count;
    meter->ack_count = 0;
    meter->sync_done_us = 0;
}

void meter_kill(struct sim *s)
{
    struct meter *meter = &s->meter;
    struct noise n = sim_noise(s, METER);
    size_t kept = meter->synced + (size_t)noise_below(&n, (int64_t)(meter->count - meter->synced) + 1);

    for (size_t i = kept; i < meter->count; i++)
        for (size_t k = 0; k < meter->ledger[i].count; k++)
            s->requests[meter->ledger[i].records[k].request].recorded--;
    meter->count = kept;
    usage_sequence_free(meter->sequence);
    meter->sequence = NULL;
    for (int a = 0; a < s->plan->apis; a++) {
        net_break(s, a, METER, 0, 0);
        net_break(s, METER, a, 0, noise_below(&n, 2) * noise_below(&n, 120 * MS));
    }
}
