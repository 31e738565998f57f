/* SPDX-License-Identifier: MIT */
/* The frames that go to workers: JOB, with the image copied out of the arena or told by its place there, CANCEL, HELLO. */
#include "pipeline_parts.h"

#include <string.h>

void pipeline_note_send(struct request *r, const struct dispatch_action *action, int64_t now_us)
{
    r->peer = action->peer;
    r->sequence = action->sequence;
    if (!action->hedge)
        r->dispatched_us = now_us;
}

static uint8_t *build_job(struct pipeline *p, const struct dispatch_action *a, size_t *len)
{
    struct request *r = jobs_find(p->jobs, a->job);
    if (!r || r->peer != a->peer || r->sequence != a->sequence)
        return NULL; /* answered, or sent elsewhere, while it waited for the socket */
    int64_t now_us = clock_monotonic_us();
    if (r->deadline_us <= now_us)
        return NULL;
    struct wire_job m = {
        .api_boot = p->boot,
        .worker_boot = a->worker_boot,
        .link = (uint32_t)a->peer,
        .sequence = a->sequence,
        .job = a->job,
        .remaining_ms = (uint32_t)((r->deadline_us - now_us + 999) / 1000),
        .operation = r->operation,
    };
    memcpy(m.request, r->canonical, sizeof(m.request));
    memcpy(m.traceparent, r->traceparent, sizeof(m.traceparent));
    uint8_t *data, *body;
    bool lent = lender_lend(p->lender, a, &r->staged, &m);
    if (wire_pack_job(&m, lent ? 0 : r->staged.bytes, bus_alloc, &data, len, &body) != 0) {
        pipeline_unsent(p, a);
        return NULL;
    }
    if (!lent)
        staged_copy(p->api->extents, &r->staged, body);
    pipeline_note_send(r, a, now_us);
    return data;
}

static uint8_t *build_cancel(struct pipeline *p, const struct dispatch_action *a, size_t *len)
{
    struct wire_cancel m = {.api_boot = p->boot,
                            .worker_boot = a->worker_boot,
                            .link = (uint32_t)a->peer,
                            .sequence = a->sequence,
                            .job = a->job};
    uint8_t *data;
    return wire_pack_cancel(&m, bus_alloc, &data, len) == 0 ? data : NULL;
}

static uint8_t *build_hello(struct pipeline *p, const struct dispatch_action *a, size_t *len)
{
    struct wire_hello m = {.api_boot = p->boot,
                           .worker_boot = a->worker_boot,
                           .link = (uint32_t)a->peer,
                           .sent = a->sequence,
                           .queued = a->queued,
                           .lends = p->lender != NULL};
    memcpy(m.result_address, p->advertised, sizeof(m.result_address));
    uint8_t *data;
    return wire_pack_hello(&m, bus_alloc, &data, len) == 0 ? data : NULL;
}

void pipeline_unsent(void *arg, const struct dispatch_action *a)
{
    struct pipeline *p = arg;
    if (a->type == DISPATCH_SEND)
        lender_take_back(p->lender, a);
}

uint8_t *pipeline_build(void *arg, const struct dispatch_action *a, size_t *len)
{
    static uint8_t *(*const builders[])(struct pipeline *, const struct dispatch_action *, size_t *) = {
        [DISPATCH_SEND] = build_job,
        [DISPATCH_CANCEL] = build_cancel,
        [DISPATCH_HELLO] = build_hello,
    };
    return builders[a->type](arg, a, len);
}
