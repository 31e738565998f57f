/* SPDX-License-Identifier: MIT */
/* The simulated world: plays the inputs of a plan, steps the processes when something reached them or their time has come. */
#include "sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 2 * 1000 * 1000 };

/* ---- What all parts use ---- */

void sim_violate(struct sim *s, const char *name, const char *format, ...)
{
    va_list args;
    if (s->violation.name[0] != '\0')
        return;
    snprintf(s->violation.name, sizeof s->violation.name, "%s", name);
    s->violation.at_us = s->now_us;
    va_start(args, format);
    vsnprintf(s->violation.text, sizeof s->violation.text, format, args);
    va_end(args);
}

void sim_trace(struct sim *s, const char *format, ...)
{
    va_list args;
    if (!s->trace)
        return;
    printf("%10.3f ms  ", (double)s->now_us / MS);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void sim_note(struct sim *s, uint64_t what, uint64_t value)
{
    s->digest = noise_of(s->digest ^ (uint64_t)s->now_us, what, value);
}

bool sim_is_quiet(const struct sim *s)
{
    return s->now_us >= s->plan->quiet_us;
}

struct noise sim_noise(struct sim *s, int node)
{
    return (struct noise){noise_of(s->plan->seed, (uint64_t)node, s->nodes[node].drawn++)};
}

int64_t sim_clock(const struct sim *s, int node)
{
    return s->now_us + s->nodes[node].clock_us;
}

static bool is_job(const struct request *r, int api, unsigned api_boot, uint64_t job)
{
    return r->job == job && r->api == api && r->api_boot == api_boot;
}

size_t sim_request_of(const struct sim *s, int api, unsigned api_boot, uint64_t job)
{
    for (size_t i = 0; i < s->open_count; i++)
        if (is_job(&s->requests[s->open[i]], api, api_boot, job))
            return s->open[i];
    for (size_t i = 0; i < s->plan->count && job != 0; i++)
        if (is_job(&s->requests[i], api, api_boot, job))
            return i;
    return SIZE_MAX;
}

struct id sim_boot(const struct sim *s, int node)
{
    struct id id = {{(uint8_t)(node + 1)}};
    uint32_t number = s->nodes[node].boots;
    memcpy(id.bytes + 8, &number, sizeof number);
    return id;
}

unsigned sim_boot_number(const struct id *boot)
{
    uint32_t number;
    memcpy(&number, boot->bytes + 8, sizeof number);
    return number;
}

int sim_node_of(struct sim *s, const char *address)
{
    static const char prefix[] = "ipc:///run/api-";
    int node = strncmp(address, prefix, strlen(prefix)) == 0 ? address[strlen(prefix)] - '0' : NEVER_NODE;
    if (node < 0 || node >= s->plan->apis) {
        sim_violate(s, "wire", "an address came out as %s", address);
        return NEVER_NODE;
    }
    return node;
}

const char *sim_node_name(int node, char out[24])
{
    if (node == METER)
        snprintf(out, 24, "the meter");
    else if (node >= FIRST_WORKER)
        snprintf(out, 24, "worker %d", node - FIRST_WORKER);
    else
        snprintf(out, 24, "api %d", node);
    return out;
}

/* ---- Processes ---- */

static void node_start(struct sim *s, int i)
{
    struct node *node = &s->nodes[i];
    char name[24];

    node->up = true;
    node->boots++;
    node->paused_until_us = 0;
    node->wake_us = s->now_us;
    sim_trace(s, "%s starts, boot %u", sim_node_name(i, name), node->boots);
    if (i == METER)
        meter_start(s);
    else if (i >= FIRST_WORKER)
        worker_start(s, i);
    else
        api_start(s, i);
}

static void node_kill(struct sim *s, int i, int64_t down_us)
{
    struct node *node = &s->nodes[i];
    char name[24];

    if (!node->up)
        return;
    sim_trace(s, "%s is gone", sim_node_name(i, name));
    if (i == METER)
        meter_kill(s);
    else if (i >= FIRST_WORKER)
        worker_kill(s, i);
    else
        api_kill(s, i);
    net_end(s, i);
    node->up = false;
    node->start_at_us = s->now_us + down_us;
}

static void node_step(struct sim *s, int i)
{
    if (i == METER)
        meter_step(s);
    else if (i >= FIRST_WORKER)
        worker_step(s, i);
    else
        api_step(s, i);
}

static void end_drained(struct sim *s, int i)
{
    struct worker *w = &s->workers[i - FIRST_WORKER];
    if (s->nodes[i].up && w->draining && w->quiet_us != 0 && s->now_us - w->quiet_us >= 300 * MS)
        node_kill(s, i, w->restart_us);
}

/* ---- Inputs ---- */

static void input_request(struct sim *s, const struct input *in)
{
    struct api *api = &s->apis[in->node];
    size_t request = (size_t)(in - s->plan->inputs);
    if (!s->nodes[in->node].up) {
        s->requests[request].state = REQUEST_REFUSED;
        return;
    }
    if (api->arrived_count == api->arrived_room) {
        api->arrived_room = api->arrived_room ? 2 * api->arrived_room : 64;
        api->arrived = realloc(api->arrived, api->arrived_room * sizeof api->arrived[0]);
        if (!api->arrived)
            abort();
    }
    api->arrived[api->arrived_count++] = request;
    s->nodes[in->node].wake_us = s->now_us;
}

static void input_leave(struct sim *s, const struct input *in)
{
    api_leave(s, in->node, in->x);
}

static void input_kill(struct sim *s, const struct input *in)
{
    node_kill(s, in->node, in->x);
}

static void input_break(struct sim *s, const struct input *in)
{
    net_break(s, in->node, in->peer, in->x, in->y);
}

static void input_lose(struct sim *s, const struct input *in)
{
    s->net.lines[in->node][in->peer].lose = in->x;
}

static void input_partition(struct sim *s, const struct input *in)
{
    net_partition(s, in->node, in->peer, in->x, in->y != 0);
}

static void input_pause(struct sim *s, const struct input *in)
{
    struct node *node = &s->nodes[in->node];
    if (node->up && s->now_us + in->x > node->paused_until_us)
        node->paused_until_us = s->now_us + in->x;
}

static void input_drain(struct sim *s, const struct input *in)
{
    struct worker *w = &s->workers[in->node - FIRST_WORKER];
    if (!s->nodes[in->node].up)
        return;
    w->draining = true;
    w->restart_us = in->x;
    w->quiet_us = 0;
    credit_drain(w->credit, sim_clock(s, in->node));
    s->nodes[in->node].wake_us = s->now_us;
}

static void input_slots(struct sim *s, const struct input *in)
{
    struct worker *w = &s->workers[in->node - FIRST_WORKER];
    w->slots = (unsigned)in->x;
    if (!s->nodes[in->node].up)
        return;
    if (w->slots > w->slots_most)
        w->slots_most = w->slots;
    credit_set_slots(w->credit, sim_clock(s, in->node), w->slots);
    s->nodes[in->node].wake_us = s->now_us;
}

static void input_jump(struct sim *s, const struct input *in)
{
    /* Requests that are open see their time pass at once, as those of a paused API do. */
    struct node *node = &s->nodes[in->node];
    node->clock_us += in->x;
    node->wake_us = s->now_us;
    if (node->paused_until_us < s->now_us)
        node->paused_until_us = s->now_us;
}

static void input_wall(struct sim *s, const struct input *in)
{
    s->nodes[in->node].wall_us += in->x;
}

static void input_slow(struct sim *s, const struct input *in)
{
    s->workers[in->node - FIRST_WORKER].slow_until_us = s->now_us + in->x;
    s->workers[in->node - FIRST_WORKER].slowness = in->y;
}

static void apply(struct sim *s, const struct input *in)
{
    static void (*const takers[INPUT_KINDS])(struct sim *, const struct input *) = {
        [INPUT_REQUEST] = input_request, [INPUT_LEAVE] = input_leave, [INPUT_KILL] = input_kill,
        [INPUT_BREAK] = input_break,     [INPUT_LOSE] = input_lose,   [INPUT_PARTITION] = input_partition,
        [INPUT_PAUSE] = input_pause,     [INPUT_DRAIN] = input_drain, [INPUT_SLOTS] = input_slots,
        [INPUT_JUMP] = input_jump,       [INPUT_WALL] = input_wall,   [INPUT_SLOW] = input_slow,
    };
    char name[24];
    bool is_worker = in->node >= FIRST_WORKER && in->node < METER;
    bool for_worker = in->kind == INPUT_DRAIN || in->kind == INPUT_SLOTS || in->kind == INPUT_SLOW;
    bool for_api = in->kind == INPUT_REQUEST || in->kind == INPUT_LEAVE;
    if (!s->nodes[in->node].exists || (for_worker && !is_worker) || (for_api && in->node >= s->plan->apis) ||
        ((in->kind == INPUT_BREAK || in->kind == INPUT_LOSE || in->kind == INPUT_PARTITION) &&
         !s->nodes[in->peer].exists))
        return;
    if (!for_api)
        sim_trace(s, "%s: %s %" PRId64 " %" PRId64, input_name(in->kind), sim_node_name(in->node, name), in->x, in->y);
    takers[in->kind](s, in);
}

/* ---- Time ---- */

static bool is_awake(const struct sim *s, const struct node *node)
{
    return node->up && s->now_us >= node->paused_until_us;
}

static int64_t next_time(const struct sim *s)
{
    int64_t next_us = net_next_us(s);

    if (s->next_input < s->plan->count && s->plan->inputs[s->next_input].at_us < next_us)
        next_us = s->plan->inputs[s->next_input].at_us;
    for (int i = 0; i < NODES; i++) {
        const struct node *node = &s->nodes[i];
        if (!node->exists)
            continue;
        int64_t at_us = !node->up ? node->start_at_us : node->inbox ? s->now_us : node->wake_us;
        if (node->up && at_us < node->paused_until_us)
            at_us = node->paused_until_us;
        if (at_us < next_us)
            next_us = at_us;
    }
    return next_us;
}

/* Everything that happens now: inputs and arrivals first, then the processes, beginning with any. */
static void step(struct sim *s)
{
    while (s->next_input < s->plan->count && s->plan->inputs[s->next_input].at_us <= s->now_us)
        apply(s, &s->plan->inputs[s->next_input++]);
    for (int i = 0; i < NODES; i++)
        if (s->nodes[i].exists && !s->nodes[i].up && s->now_us >= s->nodes[i].start_at_us)
            node_start(s, i);
    net_step(s);
    int first = (int)(noise_of(s->plan->seed, NODES, s->steps) % NODES);
    for (int k = 0; k < NODES && s->violation.name[0] == '\0'; k++) {
        int i = (first + k) % NODES;
        const struct node *node = &s->nodes[i];
        if (node->exists && is_awake(s, node) && (node->inbox || node->wake_us <= s->now_us))
            node_step(s, i);
    }
    for (int i = FIRST_WORKER; i < METER; i++)
        if (s->nodes[i].exists)
            end_drained(s, i);
    judge_step(s);
}

static void start(const struct plan *plan, struct sim *s)
{
    struct noise n = {noise_of(plan->seed, 1, 1)};

    s->plan = plan;
    s->now_us = 900 * MS;
    s->open = calloc(PLAN_INPUTS_MAX, sizeof s->open[0]);
    if (!s->open)
        abort();
    for (int i = 0; i < NODES; i++) {
        struct node *node = &s->nodes[i];
        node->exists = i == METER || (i < FIRST_WORKER ? i < plan->apis : i - FIRST_WORKER < plan->workers);
        node->inbox_end = &node->inbox;
        node->start_at_us = s->now_us;
        /* Clocks of different machines have nothing to do with each other. */
        node->clock_us = noise_below(&n, INT64_C(1000000) * SECOND);
        for (int to = 0; to < NODES; to++)
            s->net.lines[i][to] = (struct line){.up_at_us = never_us, .told_at_us = never_us};
    }
    for (int w = 0; w < plan->workers; w++)
        s->workers[w].slots = (unsigned)plan->slots[w];
}

void sim_play(const struct plan *plan, bool trace, struct sim *s)
{
    memset(s, 0, sizeof *s);
    s->trace = trace;
    start(plan, s);
    while (s->violation.name[0] == '\0' && s->now_us < plan->end_us) {
        step(s);
        int64_t next_us = next_time(s);
        if (next_us <= s->now_us)
            next_us = s->now_us + 1;
        s->now_us = next_us < plan->end_us ? next_us : plan->end_us;
        if (++s->steps > STEPS_MAX)
            sim_violate(s, "livelock", "there is no end to it");
    }
    if (s->violation.name[0] == '\0')
        judge_end(s);
    for (int a = 0; a < plan->apis; a++) {
        struct dispatch_stats stats;
        if (!s->nodes[a].up)
            continue;
        dispatch_stats(s->apis[a].dispatch, &stats);
        s->counts.requeues += stats.requeued;
    }
}

void sim_free(struct sim *s)
{
    net_free(s);
    for (int a = 0; a < APIS_MAX; a++) {
        arena_close(s, a);
        dispatch_free(s->apis[a].dispatch);
        extents_free(s->apis[a].arena);
        admission_books_free(s->apis[a].books);
        producer_free(&s->apis[a].producer);
        free(s->apis[a].leaving);
        free(s->apis[a].arrived);
    }
    for (int w = 0; w < WORKERS_MAX; w++)
        credit_free(s->workers[w].credit);
    usage_sequence_free(s->meter.sequence);
    free(s->meter.ledger);
    free(s->open);
}
