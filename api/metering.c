/* SPDX-License-Identifier: MIT */
/* Usage records, made from requests. */
#include "metering.h"

#include "api.h"
#include "metrics.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMITED_SLOTS = 1024, MINUTE_US = 60 * 1000 * 1000, STATUS_GONE = 499 };

/* A customer's refusals in the minute since the first of them. */
struct limited {
    uint64_t customer;
    uint32_t count; /* 0: the slot is free */
    int64_t since_us;
    struct usage_record record; /* of the first, count aside */
};

struct metering {
    struct api *api;
    pthread_mutex_t lock; /* guards limited */
    struct limited *limited;
};

int metering_new(struct api *api, struct metering **out)
{
    struct metering *m = calloc(1, sizeof(*m));
    if (!m)
        return ERR_NOMEM;
    m->api = api;
    m->limited = calloc(LIMITED_SLOTS, sizeof(*m->limited));
    if (!m->limited) {
        free(m);
        return ERR_NOMEM;
    }
    pthread_mutex_init(&m->lock, NULL);
    *out = m;
    return 0;
}

void metering_free(struct metering *m)
{
    if (!m)
        return;
    pthread_mutex_destroy(&m->lock);
    free(m->limited);
    free(m);
}

/* Copy text that fits by the bounds of its source. */
static void put(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text);
}

/* What is constant once a request is admitted. */
static void fill_head(const struct request *r, struct usage_record *u)
{
    put(u->request_id, sizeof(u->request_id), r->id);
    put(u->idempotency_key, sizeof(u->idempotency_key), r->idempotency_key);
    put(u->customer, sizeof(u->customer), r->auth.customer);
    put(u->key_id, sizeof(u->key_id), r->auth.key_id);
    put(u->source, sizeof(u->source), r->conn->source);
    put(u->instance, sizeof(u->instance), r->api->daemon->instance);
    put(u->operation, sizeof(u->operation), route_name(r->parsed.route));
    put(u->request, sizeof(u->request), r->canonical);
    u->time_us = clock_wall_us();
    u->count = 1;
}

/* What is known once the body was complete. */
static void fill_job(const struct request *r, struct usage_record *u)
{
    const struct conversion *c = &r->conversion;
    u->input_pixels = c->input_pixels;
    u->output_pixels = c->output_pixels;
    if (c->input_format != IMAGE_UNKNOWN)
        put(u->input_format, sizeof(u->input_format), image_format_name(c->input_format));
    if (c->outputs > 0 && c->output_format == IMAGE_UNKNOWN)
        put(u->output_format, sizeof(u->output_format), "mixed");
    else if (c->output_format != IMAGE_UNKNOWN)
        put(u->output_format, sizeof(u->output_format), image_format_name(c->output_format));
    u->cpu_us = c->cpu_us;
    u->convert_us = c->convert_us;
    if (r->dispatched_us)
        u->queue_us = (uint64_t)(r->dispatched_us - r->queued_us) + c->wait_us;
    put(u->worker, sizeof(u->worker), c->worker);
    u->has_body_digest = r->idempotency_key[0] != '\0';
    memcpy(u->body_digest, r->body_digest, sizeof(u->body_digest));
}

static bool append(struct metering *m, const struct usage_record *u, struct spool_ref *ref)
{
    int err = spool_append(m->api->spool, u, ref);
    if (err == 0)
        return true;
    metrics_add(m->api->daemon->metrics, API_USAGE_LOST, 1);
    log_error("usage_lost", "a usage record could not be spooled", LOG_S("error", err_text(err)),
              LOG_S("request_id", u->request_id), LOG_S("customer", u->customer));
    return false;
}

static bool record(struct metering *m, struct request *r, unsigned status, const char *outcome, bool has_result)
{
    if (!r->admitted || r->recorded)
        return true;
    struct usage_record u = {.status = status};
    fill_head(r, &u);
    put(u.outcome, sizeof(u.outcome), outcome);
    u.input_bytes = atomic_load_explicit(&r->received, memory_order_relaxed);
    if (r->state != REQUEST_EXPIRED &&
        r->staged_us) /* else the body is not complete, and another thread may be at work on it */
        fill_job(r, &u);
    if (has_result) {
        u.output_bytes = r->result_len;
        u.outputs = r->conversion.outputs;
    }
    u.total_us = (uint64_t)((r->answered_us ? r->answered_us : clock_monotonic_us()) - r->started_us);
    bool written = append(m, &u, &r->ref);
    r->resolved = !written;
    r->recorded = true;
    return written;
}

bool metering_record(struct metering *m, struct request *r, enum problem_type type)
{
    return record(m, r, problem_status(type), problem_name(type), type == PROBLEM_NONE);
}

void metering_record_gone(struct metering *m, struct request *r)
{
    record(m, r, STATUS_GONE, "client_gone", false);
}

void metering_resolve(struct metering *m, struct request *r, bool confirmed)
{
    if (!r->recorded || r->resolved)
        return;
    r->resolved = true;
    spool_resolve(m->api->spool, r->ref, confirmed);
}

static void flush_one(struct metering *m, struct limited *l)
{
    struct spool_ref ref;
    l->record.count = l->count;
    l->record.time_us = clock_wall_us();
    l->since_us = clock_monotonic_us();
    if (!append(m, &l->record, &ref))
        return; /* the count stays, for the next minute */
    spool_resolve(m->api->spool, ref, true);
    l->count = 0;
}

/* One customer to a slot: one whose slot is another's is flushed early, which costs a record, never a count. */
void metering_limited(struct metering *m, const struct request *r)
{
    pthread_mutex_lock(&m->lock);
    struct limited *l = &m->limited[r->customer % LIMITED_SLOTS];
    if (l->count > 0 && (l->customer != r->customer || l->count == UINT32_MAX)) {
        flush_one(m, l);
        l->count = 0;
    }
    if (l->count++ == 0) {
        l->customer = r->customer;
        l->since_us = clock_monotonic_us();
        l->record = (struct usage_record){.status = problem_status(r->problem.type)};
        fill_head(r, &l->record);
        put(l->record.outcome, sizeof(l->record.outcome), problem_name(r->problem.type));
    }
    pthread_mutex_unlock(&m->lock);
}

void metering_flush_limited(struct metering *m, int64_t now_us, bool all)
{
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < LIMITED_SLOTS; i++)
        if (m->limited[i].count > 0 && (all || now_us - m->limited[i].since_us >= MINUTE_US))
            flush_one(m, &m->limited[i]);
    pthread_mutex_unlock(&m->lock);
}
