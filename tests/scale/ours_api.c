/* SPDX-License-Identifier: MIT */
/* Our API: dispatch and admission, and what is between them and the rest. */
#include "ours.h"

#include "cavage/err.h"

#include <stdio.h>

static void unbook(const struct region *r, struct api *api, struct job *j, int64_t service_us)
{
    if (j->booked == BOOKED_WAITING)
        admission_unqueue(api->books, r->now_us, &j->terms);
    else if (j->booked == BOOKED_SENT)
        admission_end(api->books, r->now_us, &j->terms, service_us, j->terms.cost_us);
    j->booked = BOOKED_NOT;
}

static void send_job(struct region *r, int a, const struct dispatch_action *action)
{
    struct ours *o = ours_of(r);
    struct job *j = region_job(r, action->job);
    struct message *m = message_new(o);

    if (j && j->booked == BOOKED_WAITING) {
        admission_send(o->apis[a].books, r->now_us, &j->terms);
        j->booked = BOOKED_SENT;
    }
    if (j && !j->sent) {
        j->sent = true;
        j->sent_us = r->now_us;
    }
    m->says = SAYS_JOB;
    m->of.job.api_boot = ours_boot(1, a, 0);
    m->of.job.worker_boot = action->worker_boot;
    m->of.job.link = (uint32_t)action->peer;
    m->of.job.sequence = action->sequence;
    m->of.job.job = action->job;
    m->of.job.remaining_ms = action->remaining_ms;
    m->of.job.operation = OPERATION_RESIZE;
    message_post(r, true, a, (int)action->peer, m);
}

static void send_other(struct region *r, int a, const struct dispatch_action *action)
{
    struct message *m = message_new(ours_of(r));
    if (action->type == DISPATCH_CANCEL) {
        m->says = SAYS_CANCEL;
        m->of.cancel = (struct wire_cancel){.api_boot = ours_boot(1, a, 0),
                                            .worker_boot = action->worker_boot,
                                            .link = (uint32_t)action->peer,
                                            .sequence = action->sequence,
                                            .job = action->job};
    } else {
        m->says = SAYS_HELLO;
        m->of.hello = (struct wire_hello){.api_boot = ours_boot(1, a, 0),
                                          .worker_boot = action->worker_boot,
                                          .link = (uint32_t)action->peer,
                                          .sent = action->sequence,
                                          .queued = action->queued};
        snprintf(m->of.hello.result_address, sizeof m->of.hello.result_address, "tcp://api-%d", a);
    }
    message_post(r, true, a, (int)action->peer, m);
}

static void fail_job(struct region *r, int a, const struct dispatch_action *action)
{
    struct job *j = region_job(r, action->job);
    if (!j)
        return;
    unbook(r, &ours_of(r)->apis[a], j, 0);
    region_fail(r, j, action->failure == DISPATCH_DEADLINE ? FAILED_DEADLINE : FAILED_RETRIES, 0);
}

static void api_tick_at(struct region *r, int a, int64_t at_us)
{
    struct api *api = &ours_of(r)->apis[a];
    if (at_us >= api->tick_us)
        return;
    api->tick_us = at_us < r->now_us ? r->now_us : at_us;
    region_post(r, api->tick_us, EVENT_API_TICK, a, (uint64_t)api->tick_us, NULL);
}

void api_act(struct region *r, int a)
{
    struct api *api = &ours_of(r)->apis[a];
    struct dispatch_action action;
    struct dispatch_stats stats;

    while (dispatch_next(api->dispatch, &action)) {
        if (action.type == DISPATCH_SEND)
            send_job(r, a, &action);
        else if (action.type == DISPATCH_FAIL)
            fail_job(r, a, &action);
        else
            send_other(r, a, &action);
    }
    dispatch_stats(api->dispatch, &stats);
    admission_set_capacity(api->books, stats.own_slots_milli, stats.idle);
    api_tick_at(r, a, dispatch_next_us(api->dispatch));
}

void api_arrive(struct region *r, struct job *j)
{
    struct api *api = &ours_of(r)->apis[j->api];
    struct admission_forecast forecast = {.admitted = true};

    if (r->config.target_us > 0)
        admission_judge(api->books, r->now_us, &j->terms, &forecast);
    if (!forecast.admitted) {
        region_fail(r, j, REFUSED_WAIT, forecast.retry_us);
        return;
    }
    struct dispatch_job job = {.id = j->id,
                               .customer = j->terms.customer,
                               .lane = j->terms.lane,
                               .cost_us = j->terms.cost_us,
                               .deadline_us = j->deadline_us};
    int err = dispatch_submit(api->dispatch, r->now_us, &job);
    if (err) {
        region_fail(r, j, err == ERR_RANGE ? REFUSED_CUSTOMER : REFUSED_QUEUE, 0);
        return;
    }
    if (admission_queue(api->books, r->now_us, &j->terms) == ERR_OK)
        j->booked = BOOKED_WAITING;
    api_act(r, j->api);
}

static void api_result(struct region *r, int a, const struct wire_result *m)
{
    struct api *api = &ours_of(r)->apis[a];
    if (dispatch_result(api->dispatch, r->now_us, m) != DISPATCH_ANSWER)
        return;
    struct job *j = region_job(r, m->job);
    if (!j)
        return;
    unbook(r, api, j, m->outcome == OUTCOME_OK ? (int64_t)m->convert_us : 0);
    if (m->outcome != OUTCOME_OK) {
        region_fail(r, j, FAILED_DEADLINE, 0);
        return;
    }
    j->began_us = r->now_us - (int64_t)m->actual_value;
    region_answer(r, j);
}

void api_hear(struct region *r, const struct event *e)
{
    struct ours *o = ours_of(r);
    struct message *m = e->data;
    if (m->says == SAYS_RESULT)
        api_result(r, e->node, &m->of.result);
    else
        dispatch_status(o->apis[e->node].dispatch, r->now_us, &m->of.result.status);
    message_free(o, m);
    api_act(r, e->node);
}

void api_tick(struct region *r, const struct event *e)
{
    struct api *api = &ours_of(r)->apis[e->node];
    if (api->tick_us != (int64_t)e->index)
        return;
    api->tick_us = never_us;
    dispatch_tick(api->dispatch, r->now_us);
    api_act(r, e->node);
}
