/* SPDX-License-Identifier: MIT */
/* The meter's way of a batch from the socket to the disk. */
#include "ingest.h"

#include "meter.h"

#include "cavage/clock.h"
#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/log.h"
#include "cavage/usage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP_BATCHES = 256, GROUP_BYTES = 32 << 20 };

/* An answer that waits for the sync. */
struct answer {
    struct acks_to to;
    struct wire_ack ack;
};

struct ingest {
    struct ingest_config config;
    struct answer answers[GROUP_BATCHES];
    size_t answer_count;
    int64_t newest_us;   /* time of the latest record of the group */
    struct id from_boot; /* of the message at hand */
};

int ingest_new(const struct ingest_config *config, struct ingest **out)
{
    struct ingest *ingest = calloc(1, sizeof *ingest);
    if (!ingest)
        return ERR_NOMEM;
    ingest->config = *config;
    *out = ingest;
    return ERR_OK;
}

void ingest_free(struct ingest *ingest)
{
    free(ingest);
}

static void count(const struct ingest *ingest, enum meter_metric metric, int64_t n)
{
    metrics_add(ingest->config.metrics, metric, n);
}

static void answer(struct ingest *ingest, const struct wire_usage *m, uint64_t sequence, bool expected)
{
    if (m->ack_address[0] == '\0' || ingest->answer_count == GROUP_BATCHES)
        return;
    struct answer *a = &ingest->answers[ingest->answer_count++];
    memcpy(a->to.address, m->ack_address, sizeof a->to.address);
    a->to.boot = ingest->from_boot;
    a->ack = (struct wire_ack){.producer = m->producer, .epoch = m->epoch, .sequence = sequence, .expected = expected};
}

static void alarm_batch(const struct wire_usage *m, const char *event, const char *what)
{
    char producer[ID_UUID_SIZE];
    id_to_uuid(&m->producer, producer);
    log_error(event, what, LOG_S("producer", producer), LOG_U("epoch", m->epoch), LOG_U("sequence", m->sequence));
}

/* What is wrong with a batch, or NULL: its digest, and that every record can be read and falls in the hour. */
static const char *fault_in(struct ingest *ingest, const struct wire_usage *m, const struct frame *frame)
{
    uint8_t digest[DIGEST_BYTES];
    struct usage_record record;
    const uint8_t *packed;
    size_t len, pos = 0;
    uint32_t records = 0;
    int err;

    digest_of(frame->body, frame->body_len, digest);
    if (memcmp(digest, m->digest, sizeof digest) != 0)
        return "a batch does not have the digest it claims";
    while ((err = usage_next(frame->body, frame->body_len, &pos, &packed, &len)) == ERR_OK) {
        if (usage_unpack(packed, len, &record) != ERR_OK)
            return "a batch holds a record that cannot be read";
        if (usage_hour(record.time_us) != m->hour)
            return "a batch holds a record of another hour";
        if (record.time_us > ingest->newest_us)
            ingest->newest_us = record.time_us;
        records++;
    }
    if (err != ERR_NOTFOUND || records != m->records || records == 0)
        return "a batch does not hold the records it claims";
    return NULL;
}

/* Append a new batch. What cannot be taken is not answered: the producer keeps it, and sends it again. */
static bool take(struct ingest *ingest, const struct wire_usage *m, const struct frame *frame)
{
    const struct ingest_config *c = &ingest->config;
    const char *fault = fault_in(ingest, m, frame);
    if (fault) {
        count(ingest, METER_REFUSED, 1);
        alarm_batch(m, "meter_batch_refused", fault);
        return false;
    }
    errno = 0;
    int err = ledger_append(c->ledger, m, frame->body, frame->body_len);
    if (err) {
        count(ingest, METER_REFUSED, 1);
        alarm_batch(m, "meter_append_failed", errno == ENOSPC ? "the disk of the ledger is full" : err_text(err));
        return false;
    }
    err = usage_sequence_taken(c->sequence, m);
    if (err) {
        /* In the ledger, but not in the account: go on from the ledger. */
        log_error("meter_out_of_memory", "the account of batches cannot grow");
        exit(EXIT_FAILURE);
    }
    answer(ingest, m, m->sequence, false);
    count(ingest, METER_BATCHES, 1);
    count(ingest, METER_RECORDS, m->records);
    metrics_set(c->metrics, METER_NEWEST_HOUR, m->hour * 3600);
    if (c->closer)
        closer_touch(c->closer, m->hour);
    return true;
}

static void judge(struct ingest *ingest, const struct wire_usage *m, const struct frame *frame)
{
    uint64_t expected;
    switch (usage_sequence_judge(ingest->config.sequence, m, &expected)) {
    case USAGE_TAKE_GAP:
        if (take(ingest, m, frame)) {
            count(ingest, METER_GAPS, 1);
            alarm_batch(m, "meter_gap", "usage before this batch is lost");
        }
        break;
    case USAGE_TAKE:
        take(ingest, m, frame);
        break;
    case USAGE_DUPLICATE:
        count(ingest, METER_DUPLICATES, 1);
        answer(ingest, m, expected - 1, false);
        break;
    case USAGE_EXPECT:
        count(ingest, METER_UNEXPECTED, 1);
        answer(ingest, m, expected, true);
        break;
    case USAGE_CONFLICT:
        count(ingest, METER_CONFLICTS, 1);
        alarm_batch(m, "meter_conflict", "a batch came again with other contents");
        break;
    }
}

/* A message that is usage; where it wants an answer, to a place that can be answered. */
static bool is_usage(const uint8_t *data, size_t len, const struct bus_from *from, struct frame *frame,
                     struct wire_usage *m)
{
    return frame_parse(data, len, USAGE_BODY_MAX, frame) == ERR_OK && frame->type == FRAME_USAGE &&
           wire_unpack_usage(frame, m) == ERR_OK && bus_may_answer(from, m->ack_address);
}

void ingest_message(struct ingest *ingest, const uint8_t *data, size_t len, const struct bus_from *from)
{
    struct frame frame;
    struct wire_usage m;
    if (!is_usage(data, len, from, &frame, &m)) {
        count(ingest, METER_REFUSED, 1);
        log_error("meter_bad_message",
                  "a message is not usage, or asks for an answer elsewhere than where it came from",
                  LOG_U("bytes", len));
        return;
    }
    ingest->from_boot = from->boot;
    judge(ingest, &m, &frame);
}

int ingest_commit(struct ingest *ingest)
{
    const struct ingest_config *c = &ingest->config;
    if (ingest->answer_count == 0)
        return ERR_OK;
    int64_t begin_us = clock_monotonic_us();
    int err = ledger_sync(c->ledger);
    int64_t now_us = clock_monotonic_us();
    metrics_observe(c->metrics, METER_SYNC_TIME, now_us - begin_us);
    for (size_t i = 0; i < ingest->answer_count && !err; i++)
        acks_add(c->acks, &ingest->answers[i].to, &ingest->answers[i].ack, now_us);
    ingest->answer_count = 0;
    if (ingest->newest_us > 0)
        metrics_set(c->metrics, METER_LAG, clock_wall_us() - ingest->newest_us);
    ingest->newest_us = 0;
    return err;
}

int ingest_group(struct ingest *ingest, size_t *taken)
{
    size_t bytes = 0;
    *taken = 0;
    while (*taken < GROUP_BATCHES && bytes < GROUP_BYTES) {
        uint8_t *data;
        size_t len;
        struct bus_from from;
        if (bus_recv(ingest->config.pull, &data, &len, &from) != ERR_OK)
            break;
        ingest_message(ingest, data, len, &from);
        bus_free(data);
        bytes += len;
        ++*taken;
    }
    return ingest_commit(ingest);
}
