/* SPDX-License-Identifier: MIT */
/* An API server: the real dispatch and staging arena between simulated clients, network and spool. Its order of work is api/pipeline.c's. */
#include "sim.h"

#include "cavage/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void grow(void *list, size_t *room, size_t count, size_t size)
{
    if (count < *room)
        return;
    void **at = list;
    *room = *room ? 2 * *room : 64;
    *at = realloc(*at, *room * size);
    if (!*at)
        abort();
}

static struct api *api_of(struct sim *s, int node)
{
    return &s->apis[node];
}

/* Whatever dispatch speaks of must be a job of this API. Another one would be a violation; then any request stands for it. */
static size_t own_request(struct sim *s, int node, uint64_t job)
{
    size_t request = sim_request_of(s, node, s->nodes[node].boots, job);
    if (request == SIZE_MAX)
        sim_violate(s, "stranger", "api %d speaks of job %llu, which it has not", node, (unsigned long long)job);
    return request == SIZE_MAX ? 0 : request;
}

/* ---- Answers ---- */

static void book(struct sim *s, int node, size_t request, bool sent)
{
    struct request *r = &s->requests[request];
    struct admission_books *books = api_of(s, node)->books;
    if (sent && r->booked == BOOKED_WAITING) {
        admission_send(books, sim_clock(s, node), &r->terms);
        r->booked = BOOKED_SENT;
    } else if (!sent && r->booked == BOOKED_SENT) {
        admission_unsend(books, sim_clock(s, node), &r->terms);
        r->booked = BOOKED_WAITING;
    }
}

static void unbook(struct sim *s, int node, size_t request, int64_t service_us)
{
    struct request *r = &s->requests[request];
    struct admission_books *books = api_of(s, node)->books;
    if (r->booked == BOOKED_WAITING)
        admission_unqueue(books, sim_clock(s, node), &r->terms);
    else if (r->booked == BOOKED_SENT)
        admission_end(books, sim_clock(s, node), &r->terms, service_us, r->terms.cost_us);
    r->booked = BOOKED_NOT;
}

static void forget_open(struct sim *s, size_t request)
{
    for (size_t i = 0; i < s->open_count; i++) {
        if (s->open[i] == request) {
            s->open[i] = s->open[--s->open_count];
            return;
        }
    }
}

/* The record first, then the answer, then the mark: as api/answer.c has it. */
static void answer(struct sim *s, int node, size_t request, enum request_state state, bool well)
{
    struct api *api = api_of(s, node);
    struct request *r = &s->requests[request];
    struct noise n = sim_noise(s, node);

    judge_answered(s, request, state, well);
    if (r->state != REQUEST_OPEN)
        return;
    r->state = state;
    r->answered_well = well;
    forget_open(s, request);
    arena_end(s, node, r);
    unbook(s, node, request, 0);
    uint64_t epoch, sequence;
    producer_append(s, node, request, &epoch, &sequence);
    if (state == REQUEST_GONE) {
        producer_resolve(s, node, request, false);
        return;
    }
    grow(&api->leaving, &api->leaving_room, api->leaving_count, sizeof api->leaving[0]);
    api->leaving[api->leaving_count++] =
        (struct leaving){.request = request, .at_us = s->now_us + noise_below(&n, 2 * MS), .well = well};
}

static void let_leave(struct sim *s, int node)
{
    struct api *api = api_of(s, node);
    size_t kept = 0;

    for (size_t i = 0; i < api->leaving_count; i++) {
        struct leaving l = api->leaving[i];
        if (l.at_us > s->now_us) {
            api->leaving[kept++] = l;
            continue;
        }
        judge_left(s, l.request);
        producer_resolve(s, node, l.request, true);
    }
    api->leaving_count = kept;
}

/* ---- What dispatch wants done ---- */

static void transmit(struct sim *s, int from, int to, int err, uint8_t *data, size_t len)
{
    if (err)
        sim_violate(s, "wire", "a message of %d could not be packed: %s", from, err_text(err));
    else
        net_send(s, from, to, data, len);
}

static void send_job(struct sim *s, int node, const struct dispatch_action *a)
{
    struct api *api = api_of(s, node);
    int to = FIRST_WORKER + (int)a->peer;
    size_t request = own_request(s, node, a->job), len = 0;
    struct noise n = sim_noise(s, node);
    uint8_t *data = NULL, *body;
    struct wire_job m = {.api_boot = api->boot,
                         .worker_boot = a->worker_boot,
                         .link = (uint32_t)a->peer,
                         .sequence = a->sequence,
                         .job = a->job,
                         .remaining_ms = a->remaining_ms,
                         .operation = OPERATION_RESIZE};

    judge_sent(s, request);
    book(s, node, request, true);
    bool lent = arena_lend(s, node, a, &s->requests[request], &m);
    if (!s->net.lines[node][to].told_up || (!sim_is_quiet(s) && noise_chance(&n, (unsigned)s->plan->refused_sends))) {
        sim_trace(s, "api %d cannot send job %llu to worker %zu", node, (unsigned long long)a->job, a->peer);
        if (lent)
            arena_take_back(s, node, a);
        if (dispatch_send_refused(api->dispatch, sim_clock(s, node), a->peer, a->job))
            book(s, node, request, false);
        return;
    }
    sim_trace(s, "api %d sends job %llu to worker %zu as %llu", node, (unsigned long long)a->job, a->peer,
              (unsigned long long)a->sequence);
    int err = wire_pack_job(&m, lent ? 0 : 1, malloc, &data, &len, &body);
    if (!err && !lent)
        body[0] = 'i';
    transmit(s, node, to, err, data, len);
}

static void send_cancel(struct sim *s, int node, const struct dispatch_action *a)
{
    struct wire_cancel m = {.api_boot = api_of(s, node)->boot,
                            .worker_boot = a->worker_boot,
                            .link = (uint32_t)a->peer,
                            .sequence = a->sequence,
                            .job = a->job};
    uint8_t *data = NULL;
    size_t len = 0;
    int err = wire_pack_cancel(&m, malloc, &data, &len);
    transmit(s, node, FIRST_WORKER + (int)a->peer, err, data, len);
}

static void send_hello(struct sim *s, int node, const struct dispatch_action *a)
{
    struct wire_hello m = {.api_boot = api_of(s, node)->boot,
                           .worker_boot = a->worker_boot,
                           .link = (uint32_t)a->peer,
                           .sent = a->sequence,
                           .queued = a->queued,
                           .lends = true};
    uint8_t *data = NULL;
    size_t len = 0;
    snprintf(m.result_address, sizeof m.result_address, "ipc:///run/api-%d", node);
    int err = wire_pack_hello(&m, malloc, &data, &len);
    transmit(s, node, FIRST_WORKER + (int)a->peer, err, data, len);
}

static void act(struct sim *s, int node)
{
    struct dispatch_action a;
    struct dispatch_stats stats;
    while (s->violation.name[0] == '\0' && dispatch_next(api_of(s, node)->dispatch, &a)) {
        sim_note(s, (uint64_t)a.type * 16 + (uint64_t)node, a.job ^ a.sequence << 32);
        if (a.type == DISPATCH_FAIL) {
            sim_trace(s, "api %d fails job %llu: %d", node, (unsigned long long)a.job, (int)a.failure);
            judge_failure(s, own_request(s, node, a.job), a.failure);
            answer(s, node, own_request(s, node, a.job), REQUEST_ANSWERED, false);
        } else if (a.type == DISPATCH_SEND) {
            send_job(s, node, &a);
        } else if (a.type == DISPATCH_CANCEL) {
            send_cancel(s, node, &a);
        } else {
            send_hello(s, node, &a);
        }
    }
    dispatch_stats(api_of(s, node)->dispatch, &stats);
    admission_set_capacity(api_of(s, node)->books, stats.own_slots_milli, stats.idle);
}

/* ---- Requests ---- */

static void refuse(struct sim *s, size_t request)
{
    s->requests[request].state = REQUEST_REFUSED;
    s->counts.refused++;
}

static bool stage(struct sim *s, int node, struct request *r, const struct input *in)
{
    static uint8_t image[16 * 1024];
    struct extents *arena = api_of(s, node)->arena;
    size_t len = in->z > 0 && in->z < (int64_t)sizeof image ? (size_t)in->z : 1;
    r->staged.customer = (uint64_t)in->w;
    arena_draw(image, len, (size_t)(r - s->requests));
    return extents_check(arena, r->staged.customer, len) == ERR_OK &&
           staged_append(arena, &r->staged, image, len) == ERR_OK;
}

static void read_request(struct sim *s, int node, size_t request)
{
    struct api *api = api_of(s, node);
    struct request *r = &s->requests[request];
    const struct input *in = &s->plan->inputs[request];
    struct noise n = sim_noise(s, node);

    r->api = node;
    r->read_us = s->now_us;
    r->terms = (struct admission_job){.customer = (uint64_t)in->w,
                                      .lane = in->flags & REQUEST_LARGE ? LANE_LARGE : LANE_SMALL,
                                      .cost_us = 1 + in->x * noise_between(&n, 50, 200) / 100};
    struct admission_forecast forecast;
    admission_judge(api->books, sim_clock(s, node), &r->terms, &forecast);
    if (!forecast.admitted)
        judge_refused(s, node);
    if (!forecast.admitted || !stage(s, node, r, in)) {
        staged_release(api->arena, &r->staged);
        refuse(s, request);
        return;
    }
    r->admitted_us = sim_clock(s, node);
    r->deadline_us = r->admitted_us + in->y;
    r->job = ++api->jobs_given;
    r->api_boot = s->nodes[node].boots;
    r->state = REQUEST_OPEN;
    s->open[s->open_count++] = request;
    struct dispatch_job job = {.id = r->job,
                               .customer = (uint64_t)in->w,
                               .lane = r->terms.lane,
                               .cost_us = r->terms.cost_us,
                               .deadline_us = r->deadline_us};
    if (admission_queue(api->books, sim_clock(s, node), &r->terms) == ERR_OK)
        r->booked = BOOKED_WAITING;
    int err = dispatch_submit(api->dispatch, sim_clock(s, node), &job);
    sim_trace(s, "api %d takes job %llu of customer %llu: %s", node, (unsigned long long)job.id,
              (unsigned long long)job.customer, err ? err_text(err) : "queued");
    if (err != ERR_OK && err != ERR_FULL && err != ERR_RANGE)
        sim_violate(s, "submit", "dispatch refused a good job: %s", err_text(err));
    if (err)
        answer(s, node, request, REQUEST_ANSWERED, false);
}

static void read_requests(struct sim *s, int node)
{
    struct api *api = api_of(s, node);
    for (size_t i = 0; i < api->arrived_count; i++)
        read_request(s, node, api->arrived[i]);
    api->arrived_count = 0;
}

void api_leave(struct sim *s, int node, int64_t which)
{
    struct api *api = api_of(s, node);
    size_t own = 0, found = SIZE_MAX;

    for (size_t i = 0; i < s->open_count; i++)
        own += s->requests[s->open[i]].api == node;
    if (own == 0 || !s->nodes[node].up || s->now_us < s->nodes[node].paused_until_us)
        return;
    size_t wanted = (size_t)which % own;
    /* By their numbers, since the order of the list has no meaning. */
    for (uint64_t least = 0; found == SIZE_MAX; wanted--) {
        size_t next = SIZE_MAX;
        for (size_t i = 0; i < s->open_count; i++) {
            const struct request *r = &s->requests[s->open[i]];
            if (r->api == node && r->job > least && (next == SIZE_MAX || r->job < s->requests[next].job))
                next = s->open[i];
        }
        least = s->requests[next].job;
        if (wanted == 0)
            found = next;
    }
    sim_trace(s, "the client of job %llu leaves", (unsigned long long)s->requests[found].job);
    dispatch_cancel(api->dispatch, sim_clock(s, node), s->requests[found].job);
    answer(s, node, found, REQUEST_GONE, false);
    act(s, node);
}

/* ---- Messages ---- */

static void take_result(struct sim *s, int node, const struct frame *f)
{
    static struct wire_result m;
    struct api *api = api_of(s, node);

    if (wire_unpack_result(f, &m) != ERR_OK) {
        sim_violate(s, "wire", "a result cannot be read");
        return;
    }
    arena_hear(s, node, &m.status);
    enum dispatch_verdict verdict = dispatch_result(api->dispatch, sim_clock(s, node), &m);
    sim_trace(s, "api %d hears result %s of job %llu from worker %u: %s", node, outcome_text(m.outcome),
              (unsigned long long)m.job, m.status.link, verdict == DISPATCH_ANSWER ? "answers" : "drops");
    if (verdict == DISPATCH_ANSWER) {
        size_t request = own_request(s, node, m.job);
        judge_result(s, node, request, &m);
        unbook(s, node, request, m.outcome == OUTCOME_OK ? (int64_t)m.convert_us : 0);
        answer(s, node, request, REQUEST_ANSWERED, m.outcome == OUTCOME_OK);
    }
    judge_heard(s, node, &m.status);
}

static void take_status(struct sim *s, int node, const struct frame *f)
{
    static struct wire_status m;
    if (wire_unpack_status(f, &m) != ERR_OK) {
        sim_violate(s, "wire", "a status cannot be read");
        return;
    }
    arena_hear(s, node, &m);
    dispatch_status(api_of(s, node)->dispatch, sim_clock(s, node), &m);
    sim_trace(s, "api %d hears status %llu of worker %u: seen %llu, limit %llu, held %zu", node,
              (unsigned long long)m.sequence, m.link, (unsigned long long)m.seen, (unsigned long long)m.limit,
              m.held_count);
    judge_heard(s, node, &m);
}

static void take_ack(struct sim *s, int node, const struct frame *f)
{
    struct wire_ack m;
    if (wire_unpack_ack(f, &m) != ERR_OK)
        sim_violate(s, "wire", "an acknowledgement cannot be read");
    else if (id_equal(&m.producer, &api_of(s, node)->producer.id))
        producer_ack(s, node, &m);
}

static void take(struct sim *s, int node, const struct frame *f)
{
    if (f->type == FRAME_RESULT)
        take_result(s, node, f);
    else if (f->type == FRAME_STATUS)
        take_status(s, node, f);
    else
        take_ack(s, node, f);
}

static void receive(struct sim *s, int node)
{
    while (net_receive(s, node, take)) {
    }
}

static void look_at_lines(struct sim *s, int node)
{
    for (int w = 0; w < s->plan->workers; w++) {
        struct line *line = &s->net.lines[node][FIRST_WORKER + w];
        if (line->told_at_us > s->now_us)
            continue;
        line->told_at_us = never_us;
        if (line->up == line->told_up)
            continue;
        line->told_up = line->up;
        sim_trace(s, "api %d sees worker %d %s", node, w, line->up ? "connected" : "gone");
        if (line->up) {
            dispatch_peer_up(api_of(s, node)->dispatch, sim_clock(s, node), (size_t)w);
        } else {
            receive(s, node); /* results that came before the end still count */
            dispatch_peer_down(api_of(s, node)->dispatch, sim_clock(s, node), (size_t)w);
        }
    }
}

static void tick(struct sim *s, int node)
{
    struct api *api = api_of(s, node);
    if (dispatch_next_us(api->dispatch) > sim_clock(s, node))
        return;
    receive(s, node); /* nobody is judged silent before what arrived was read */
    dispatch_tick(api->dispatch, sim_clock(s, node));
}

/* ---- Life ---- */

void api_start(struct sim *s, int node)
{
    struct api *api = api_of(s, node);
    const struct plan *p = s->plan;
    struct noise n = sim_noise(s, node);

    api->boot = sim_boot(s, node);
    memset(s->newest_boot[node], 0, sizeof s->newest_boot[node]);
    struct dispatch_config config = {.boot = api->boot,
                                     .max_jobs = (size_t)p->max_queued * 2,
                                     .max_queued = (size_t)p->max_queued,
                                     .max_queued_per_customer = (size_t)p->customer_queued,
                                     .fifo = p->fifo != 0,
                                     .large_percent = 25,
                                     .retry_percent = (unsigned)p->retry_percent,
                                     .hedge_percent = 2};
    struct extents_config arena = {
        .budget_bytes = (size_t)p->arena_extents * EXTENT_BYTES, .extent_bytes = EXTENT_BYTES, .customer_percent = 25};
    struct admission_config books = {
        .jobs_max = config.max_jobs,
        .target_us = {[LANE_SMALL] = (int64_t)p->target_ms * MS, [LANE_LARGE] = 4 * (int64_t)p->target_ms * MS},
        .large_percent = config.large_percent,
        .fifo = config.fifo};
    if (dispatch_new(&config, &api->dispatch) != ERR_OK || extents_new(&arena, &api->arena) != ERR_OK ||
        admission_books_new(&books, &api->books) != ERR_OK)
        abort();
    arena_open(s, node);
    for (int w = 0; w < p->workers; w++) {
        size_t peer;
        if (dispatch_peer_add(api->dispatch, &peer) != ERR_OK)
            abort();
        net_open(s, node, FIRST_WORKER + w, s->now_us + 1 + noise_below(&n, 10 * MS));
        if (s->nodes[FIRST_WORKER + w].up)
            net_open(s, FIRST_WORKER + w, node, s->now_us + 1 + noise_below(&n, 100 * MS));
    }
    net_open(s, node, METER, s->now_us + 1 + noise_below(&n, 10 * MS));
    net_open(s, METER, node, s->now_us + 1 + noise_below(&n, 10 * MS));
    producer_start(s, node);
}

static void sooner(int64_t *next_us, int64_t at_us)
{
    if (at_us < *next_us)
        *next_us = at_us;
}

static int64_t wake_of(struct sim *s, int node)
{
    const struct api *api = api_of(s, node);
    int64_t next_us = dispatch_next_us(api->dispatch);

    if (next_us != never_us)
        next_us -= s->nodes[node].clock_us;
    for (size_t i = 0; i < api->leaving_count; i++)
        sooner(&next_us, api->leaving[i].at_us);
    for (int w = 0; w < s->plan->workers; w++) {
        sooner(&next_us, s->net.lines[node][FIRST_WORKER + w].told_at_us);
        if (s->links[node][w].api_end && !s->links[node][w].worker_end)
            sooner(&next_us, s->links[node][w].seen_at_us);
    }
    sooner(&next_us, producer_next_us(s, node));
    return next_us;
}

/* What is due, in any order: an event loop promises none. */
void api_step(struct sim *s, int node)
{
    static void (*const parts[])(struct sim *, int) = {receive, read_requests, look_at_lines, arena_look, tick};
    enum { PARTS = sizeof parts / sizeof parts[0] };
    struct noise n = sim_noise(s, node);
    int64_t first = noise_below(&n, PARTS);

    for (int64_t i = 0; i < PARTS && s->violation.name[0] == '\0'; i++) {
        parts[(first + i) % PARTS](s, node);
        act(s, node);
    }
    let_leave(s, node);
    producer_step(s, node);
    s->nodes[node].wake_us = wake_of(s, node);
}

void api_kill(struct sim *s, int node)
{
    struct api *api = api_of(s, node);
    struct dispatch_stats stats;

    dispatch_stats(api->dispatch, &stats);
    s->counts.requeues += stats.requeued;
    for (size_t i = s->open_count; i-- > 0;) {
        size_t request = s->open[i];
        struct request *r = &s->requests[request];
        if (r->api != node)
            continue;
        r->state = REQUEST_DIED;
        staged_release(api->arena, &r->staged);
        s->open[i] = s->open[--s->open_count];
    }
    arena_close(s, node);
    dispatch_free(api->dispatch);
    extents_free(api->arena);
    admission_books_free(api->books);
    api->books = NULL;
    api->dispatch = NULL;
    api->arena = NULL;
    api->leaving_count = 0;
    api->jobs_given = 0;
    for (size_t i = 0; i < api->arrived_count; i++)
        refuse(s, api->arrived[i]);
    api->arrived_count = 0;
    for (int to = FIRST_WORKER; to < NODES; to++) {
        net_break(s, node, to, 0, 0);
        net_break(s, to, node, 0, 0);
        s->net.lines[node][to].told_up = false;
        s->net.lines[node][to].told_at_us = never_us;
    }
}
