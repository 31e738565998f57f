/* SPDX-License-Identifier: MIT */
/* The spool's thread: closes segments by age, syncs and sends them in order, and removes what the meter has acknowledged. */
#include "spool_parts.h"
#include "spool_segment.h"

#include "cavage/clock.h"
#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RESEND_US = 1000000, TELL_US = 60000000, REWIND_GUARD_US = 50000, STALE_US = 3000000 };
enum { IDLE_MS = 1000, WATCH_MS = 50, RETRY_MS = 10, TROUBLE_MS = 1000 };
enum { PROBE_BYTES = 16 * 1024 };

/* What a step of the thread found: how long it may sleep. */
static const struct id nobody;

struct nap {
    int timeout_ms;
    bool watch_push; /* wait for the socket to take a message */
};

static void nap_at_most(struct nap *nap, int64_t ms)
{
    if (ms < 0)
        ms = 0;
    if (ms < nap->timeout_ms)
        nap->timeout_ms = (int)ms;
}

/* ---- Acknowledgements ---- */

static void take_back(struct spool *spool, uint64_t epoch, uint64_t sequence)
{
    for (size_t i = 0; i < spool->count; i++) {
        struct segment *segment = spool_segment(spool, i);
        if (segment->epoch > epoch || (segment->epoch == epoch && segment->sequence >= sequence))
            segment->sent = false;
    }
}

/* The oldest segment, if the acknowledgement covers it. Nobody but this thread takes it away. */
static struct segment *first_covered(struct spool *spool, const struct wire_ack *ack)
{
    pthread_mutex_lock(&spool->lock);
    struct segment *first = spool_segment(spool, 0);
    pthread_mutex_unlock(&spool->lock);
    return first && first->epoch == ack->epoch && first->sequence <= ack->sequence ? first : NULL;
}

static void forget(struct spool *spool, size_t i)
{
    pthread_mutex_lock(&spool->lock);
    spool_forget(spool, i);
    pthread_mutex_unlock(&spool->lock);
}

static void acknowledged(struct spool *spool, const struct wire_ack *ack)
{
    struct segment *segment;
    while ((segment = first_covered(spool, ack)) != NULL && segment->tried) {
        spool->acked_epoch = segment->epoch;
        spool->acked_sequence = segment->sequence;
        spool->unexpected_us = 0;
        spool_remove_file(spool, segment, false);
        forget(spool, 0);
    }
    bool ahead = segment && segment->epoch == spool->epoch;
    if (ahead && !spool->complained) {
        /* A copy of this spool was used elsewhere, or it was put back from a backup: numbers come twice. */
        spool->complained = true;
        log_error("spool_meter_ahead", "the meter has batches of this epoch that were never sent",
                  LOG_U("epoch", ack->epoch), LOG_U("sequence", ack->sequence));
    }
}

/* The meter asks for what it had acknowledged: an answer that was overtaken, unless it insists. */
static bool insists(struct spool *spool, const struct wire_ack *ack, int64_t now_us)
{
    if (ack->epoch != spool->acked_epoch || ack->sequence > spool->acked_sequence)
        return true;
    if (spool->unexpected_us == 0)
        spool->unexpected_us = now_us;
    return now_us - spool->unexpected_us >= STALE_US;
}

static void expected_locked(struct spool *spool, const struct wire_ack *ack, int64_t now_us)
{
    struct segment *segment = NULL;
    size_t i = 0;
    while ((segment = spool_segment(spool, i)) != NULL &&
           (segment->epoch < ack->epoch || (segment->epoch == ack->epoch && segment->sequence < ack->sequence)))
        i++;
    if (!segment || segment->epoch != ack->epoch || !insists(spool, ack, now_us))
        return;
    if (segment->sequence > ack->sequence && !segment->gap) {
        segment->gap = true;
        spool->gaps++;
        log_error("spool_gap", "usage batches were lost before the meter had them", LOG_U("epoch", ack->epoch),
                  LOG_U("from", ack->sequence), LOG_U("to", segment->sequence - 1));
    } else if (now_us - spool->rewound_us < REWIND_GUARD_US) {
        return; /* every batch of a window behind a lost one says the same */
    }
    spool->rewound_us = now_us;
    take_back(spool, segment->epoch, segment->sequence);
}

static void expected(struct spool *spool, const struct wire_ack *ack, int64_t now_us)
{
    pthread_mutex_lock(&spool->lock);
    expected_locked(spool, ack, now_us);
    pthread_mutex_unlock(&spool->lock);
}

/* A meter that was restarted has another boot, so who it is lasts no longer than what it answers. */
static void seal_for(struct spool *spool, const struct id *boot)
{
    bus_push_to(spool->push, boot);
}

static void receive(struct spool *spool, int64_t now_us)
{
    uint8_t *data;
    size_t len;
    struct bus_from from;
    while (bus_recv(spool->pull, &data, &len, &from) == ERR_OK) {
        struct frame frame;
        struct wire_ack ack;
        if (frame_parse(data, len, 0, &frame) != ERR_OK || frame.type != FRAME_ACK ||
            wire_unpack_ack(&frame, &ack) != ERR_OK || !id_equal(&ack.producer, &spool->producer)) {
            log_warn("spool_bad_ack", "a message to the spool was not understood", LOG_U("bytes", len));
        } else if (from.sealed && !from.addressed) {
            log_warn("spool_bad_ack", "an acknowledgement does not name this process", LOG_U("bytes", len));
        } else {
            seal_for(spool, &from.boot);
            if (ack.expected)
                expected(spool, &ack, now_us);
            else
                acknowledged(spool, &ack);
        }
        bus_free(data);
    }
}

/* ---- Sending ---- */

static int build(const struct spool *spool, const struct segment *segment, const struct segment_batch *batch,
                 uint8_t **data, size_t *len)
{
    uint8_t *body;
    struct wire_usage m = {.producer = spool->producer,
                           .epoch = segment->epoch,
                           .sequence = segment->sequence,
                           .hour = batch->hour,
                           .records = batch->records,
                           .gap = segment->gap,
                           .previous_epoch = batch->previous_epoch,
                           .previous_sequence = batch->previous_sequence};
    digest_of(batch->body, batch->body_len, m.digest);
    memcpy(m.ack_address, spool->ack_told, sizeof m.ack_address);
    int err = wire_pack_usage(&m, batch->body_len, bus_alloc, data, len, &body);
    if (!err)
        memcpy(body, batch->body, batch->body_len);
    return err;
}

/* A sealed segment stays as it is, so its file is read without the lock. The body is freed; what else the batch tells stays. ERR_NOTFOUND: there is
 * nothing in it to send. */
static int send_segment(const struct spool *spool, const struct segment *segment, struct segment_batch *batch)
{
    char path[FS_PATH_SIZE];
    uint8_t *data = NULL;
    size_t len;

    int err = spool_path(spool, segment, path);
    if (!err)
        err = segment_load(path, batch);
    /* Once sent it must be there after a power failure too, or its number would come again with other contents. */
    if (!err && !segment->tried)
        err = fs_sync_parent(path);
    if (!err && batch->records == 0)
        err = ERR_NOTFOUND;
    if (!err)
        err = build(spool, segment, batch, &data, &len);
    if (!err) {
        err = bus_send(spool->push, data, len);
        if (err)
            bus_free(data);
    }
    free(batch->body);
    batch->body = NULL;
    return err;
}

/* Tell what is wrong with a segment that is sent for the first time, which is not refused for it: the rest counts. */
static void judge_contents(struct spool *spool, size_t i, const struct segment *segment,
                           const struct segment_batch *batch)
{
    pthread_mutex_lock(&spool->lock);
    const struct segment *next = spool_segment(spool, i + 1);
    /* Only the latest segment of a process that was killed may be without its end. */
    bool must_be_closed = next && next->epoch == segment->epoch;
    uint32_t held = segment->records ? segment->records : batch->closed_records;
    bool lost = batch->records < held || (segment->records == 0 && !batch->closed && must_be_closed);
    if (lost)
        spool->gaps++;
    pthread_mutex_unlock(&spool->lock);
    if (lost)
        log_error("spool_records_lost", "records of a segment are lost; the others are sent",
                  LOG_U("epoch", segment->epoch), LOG_U("sequence", segment->sequence),
                  LOG_U("records", batch->records), LOG_U("held", held));
    else if (batch->damaged_bytes > 0)
        log_error(
            "spool_damaged", "marks of a segment are damaged: records that were confirmed may count as unconfirmed",
            LOG_U("epoch", segment->epoch), LOG_U("sequence", segment->sequence), LOG_U("bytes", batch->damaged_bytes));
}

static size_t next_to_send(const struct spool *spool)
{
    size_t i = 0;
    while (i < spool->count && spool_segment(spool, i)->sent)
        i++;
    return i;
}

/* Send the next batch, if it is its turn. 0: sent or dropped, there may be more. */
static int send_next(struct spool *spool, struct nap *nap)
{
    struct segment_batch batch = {0};

    pthread_mutex_lock(&spool->lock);
    size_t i = next_to_send(spool);
    struct segment *segment = i < SPOOL_WINDOW ? spool_segment(spool, i) : NULL;
    /* A new epoch tells where the one before it ended, so the meter must have that one whole first. */
    if (segment && (segment->state != SEGMENT_SEALED || segment->epoch != spool_segment(spool, 0)->epoch))
        segment = NULL;
    pthread_mutex_unlock(&spool->lock);
    if (!segment)
        return ERR_NOTFOUND;
    /* A connection that comes between counts from the next step on, or what goes by it first would be sent twice. */
    if (!spool->connected || !bus_push_ready(spool->push)) {
        nap->watch_push = true;
        nap_at_most(nap, WATCH_MS);
        return ERR_AGAIN;
    }
    int err = send_segment(spool, segment, &batch);
    if (!err && !segment->tried)
        judge_contents(spool, i, segment, &batch);
    bool lost = err == ERR_NOTFOUND || err == ERR_CORRUPT || err == ERR_RANGE;
    if (lost) {
        log_error("spool_segment_lost", "a segment of the spool holds nothing that can be sent",
                  LOG_U("epoch", segment->epoch), LOG_U("sequence", segment->sequence), LOG_S("error", err_text(err)));
        spool_remove_file(spool, segment, true);
        forget(spool, i);
        return ERR_OK;
    }
    if (err && err != ERR_AGAIN) {
        log_error("spool_send_failed", "a segment of the spool could not be sent; it is tried again",
                  LOG_U("epoch", segment->epoch), LOG_U("sequence", segment->sequence), LOG_S("error", err_text(err)));
    }
    if (!err) {
        segment->sent = segment->tried = true;
        segment->sent_us = clock_monotonic_us();
    }
    if (err)
        nap_at_most(nap, err == ERR_AGAIN ? RETRY_MS : TROUBLE_MS);
    return err;
}

/* ---- Time ---- */

static void close_by_age(struct spool *spool, int64_t now_us, struct nap *nap)
{
    struct segment *last = spool->count ? spool_segment(spool, spool->count - 1) : NULL;
    if (!last || last->state != SEGMENT_OPEN)
        return;
    /* Behind a meter that does not answer, many small segments would only fill the disk. */
    bool backlog = spool->count > SPOOL_WINDOW;
    int64_t left_ms = (last->opened_us - now_us) / 1000 + spool->batch_ms;
    if (spool->flushing || (left_ms <= 0 && !backlog))
        spool_close_open(spool);
    else if (!backlog)
        nap_at_most(nap, left_ms);
}

static void resend_late(struct spool *spool, int64_t now_us, struct nap *nap)
{
    const struct segment *first = spool_segment(spool, 0);
    bool connected = bus_push_connected(spool->push);
    bool again = first && first->sent && ((connected && !spool->connected) || now_us - first->sent_us >= RESEND_US);
    spool->connected = connected;
    if (again) {
        seal_for(spool, &nobody);
        take_back(spool, 0, 0);
    } else if (first && first->sent)
        nap_at_most(nap, WATCH_MS);
}

/* After a failed write: a record more would fit. */
static bool disk_takes_bytes(const struct spool *spool)
{
    static const char zeros[PROBE_BYTES];
    char path[FS_PATH_SIZE];
    if (fs_join(path, sizeof path, spool->dir, "probe") != ERR_OK)
        return false;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool taken = fs_write_all(fd, zeros, sizeof zeros) == ERR_OK;
    close(fd);
    unlink(path);
    return taken;
}

static void recover_from_failure(struct spool *spool, struct nap *nap)
{
    if (!atomic_load(&spool->failing))
        return;
    if (disk_takes_bytes(spool))
        atomic_store(&spool->failing, false);
    else
        nap_at_most(nap, TROUBLE_MS);
}

/* Say now and then that usage does not get through, and at which batch. */
static void tell_waiting(struct spool *spool, int64_t now_us)
{
    pthread_mutex_lock(&spool->lock);
    const struct segment *first = spool_segment(spool, 0);
    bool sealed = first && first->state == SEGMENT_SEALED;
    bool late = first && now_us - first->opened_us >= TELL_US && now_us - spool->told_us >= TELL_US;
    uint64_t batches = spool->count;
    pthread_mutex_unlock(&spool->lock);
    if (!late)
        return;
    spool->told_us = now_us;
    const char *why = !sealed             ? "its answers have not left"
                      : !spool->connected ? "the meter cannot be reached"
                                          : "the meter does not acknowledge it";
    log_error("spool_waiting", "usage waits in the spool", LOG_U("epoch", first->epoch),
              LOG_U("sequence", first->sequence), LOG_S("why", why), LOG_U("batches", batches),
              LOG_I("seconds", (now_us - first->opened_us) / 1000000));
}

static void sleep_until_needed(const struct spool *spool, const struct nap *nap)
{
    struct pollfd fds[] = {{.fd = spool->wake_fd, .events = POLLIN},
                           {.fd = bus_pull_fd(spool->pull), .events = POLLIN},
                           {.fd = bus_push_fd(spool->push), .events = POLLIN}};
    uint64_t count;
    if (poll(fds, nap->watch_push ? 3 : 2, nap->timeout_ms) > 0 && (fds[0].revents & POLLIN) != 0 &&
        read(spool->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN)
        log_error("spool_wake_failed", "the spool's thread lost a wake-up", LOG_I("errno", errno));
}

/* Under the lock: take over new keys, and tell what came. */
static void exchange_seal(struct spool *spool)
{
    if (!spool->seal)
        return;
    if (spool->keys.count > 0) {
        seal_set_keys(spool->seal, &spool->keys);
        seal_keys_wipe(&spool->keys);
    }
    for (size_t i = 0; i < SEAL_VERDICTS; i++)
        spool->acks[i] = seal_count(spool->seal, (enum seal_verdict)i);
}

void spool_set_keys(struct spool *spool, const struct seal_keys *keys)
{
    pthread_mutex_lock(&spool->lock);
    spool->keys = *keys;
    pthread_mutex_unlock(&spool->lock);
    spool_wake(spool);
}

void *spool_send_run(void *arg)
{
    struct spool *spool = arg;
    for (;;) {
        struct nap nap = {.timeout_ms = IDLE_MS};
        int64_t now_us = clock_monotonic_us();

        receive(spool, now_us);
        pthread_mutex_lock(&spool->lock);
        exchange_seal(spool);
        bool stopping = spool->stopping;
        close_by_age(spool, now_us, &nap);
        resend_late(spool, now_us, &nap);
        pthread_mutex_unlock(&spool->lock);
        if (stopping)
            return NULL;
        tell_waiting(spool, now_us);
        recover_from_failure(spool, &nap);
        int err;
        do
            err = send_next(spool, &nap);
        while (!err);
        pthread_mutex_lock(&spool->lock);
        const struct segment *first = spool_segment(spool, 0);
        if (first && first->sent)
            nap_at_most(&nap, WATCH_MS);
        pthread_mutex_unlock(&spool->lock);
        sleep_until_needed(spool, &nap);
    }
}
