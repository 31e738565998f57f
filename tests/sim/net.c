/* SPDX-License-Identifier: MIT */
/* The simulated network. A connection keeps order, as nanomsg's do; between connections nothing is kept. By chance a message vanishes in mid-connection
 * (a frame that could not be built or opened), or comes again later. */
#include "sim.h"

#include "cavage/err.h"

#include <stdlib.h>
#include <string.h>

static bool earlier(const struct message *a, const struct message *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_down(struct net *net, size_t i)
{
    struct message *m = net->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= net->count)
            break;
        if (child + 1 < net->count && earlier(net->heap[child + 1], net->heap[child]))
            child++;
        if (!earlier(net->heap[child], m))
            break;
        net->heap[i] = net->heap[child];
        i = child;
    }
    net->heap[i] = m;
}

static void heap_add(struct net *net, struct message *m)
{
    if (net->count == net->room) {
        net->room = net->room ? 2 * net->room : 256;
        net->heap = realloc(net->heap, net->room * sizeof(struct message *));
        if (!net->heap)
            abort();
    }
    size_t i = net->count++;
    for (; i > 0 && earlier(m, net->heap[(i - 1) / 2]); i = (i - 1) / 2)
        net->heap[i] = net->heap[(i - 1) / 2];
    net->heap[i] = m;
}

static struct message *heap_take(struct net *net)
{
    struct message *m = net->heap[0];
    net->heap[0] = net->heap[--net->count];
    if (net->count > 0)
        heap_down(net, 0);
    return m;
}

static void heap_rebuild(struct net *net)
{
    for (size_t i = net->count / 2; i-- > 0;)
        heap_down(net, i);
}

static void message_free(struct message *m)
{
    free(m->data);
    free(m);
}

/* The sender learns of a change of its connection at a time. */
static void tell(struct sim *s, int from, int to, int64_t at_us)
{
    s->net.lines[from][to].told_at_us = at_us;
    if (at_us < s->nodes[from].wake_us)
        s->nodes[from].wake_us = at_us;
}

static struct noise draw(struct sim *s, int from, int to)
{
    struct line *line = &s->net.lines[from][to];
    return (struct noise){
        noise_of(s->plan->seed, UINT64_C(1000) + (uint64_t)from * NODES + (uint64_t)to, line->drawn++)};
}

void net_open(struct sim *s, int from, int to, int64_t up_at_us)
{
    struct line *line = &s->net.lines[from][to];
    line->up = false;
    line->up_at_us = up_at_us;
    line->last_at_us = 0;
    for (size_t i = 0; i < s->net.count; i++) {
        struct message *m = s->net.heap[i];
        if (m->from == from && m->to == to && m->at_us == never_us)
            m->at_us = up_at_us;
    }
    heap_rebuild(&s->net);
}

static void post(struct sim *s, int from, int to, int64_t at_us, bool stray, uint8_t *data, size_t len)
{
    struct message *m = malloc(sizeof *m);
    if (!m)
        abort();
    *m = (struct message){at_us, s->net.order++, from, to, stray, data, len, NULL};
    heap_add(&s->net, m);
}

void net_send(struct sim *s, int from, int to, uint8_t *data, size_t len)
{
    struct line *line = &s->net.lines[from][to];
    struct noise n = draw(s, from, to);
    bool calm = sim_is_quiet(s);
    const struct plan *p = s->plan;

    /* A worker keeps what it cannot send to an API until the connection stands (worker/peers.c). */
    bool kept = !line->up && from >= FIRST_WORKER && from < METER;
    bool vanishes = line->lose > 0;
    line->lose -= vanishes;
    if (vanishes || (!line->up && !kept) || (!calm && noise_chance(&n, (unsigned)p->loss))) {
        s->counts.lost++;
        sim_trace(s, "a message from %d to %d is lost", from, to);
        free(data);
        return;
    }
    int64_t at_us =
        s->now_us + 50 + noise_below(&n, !calm && noise_chance(&n, (unsigned)p->slow_messages) ? 20 * MS : 300);
    if (!calm && noise_chance(&n, (unsigned)p->duplicates)) {
        uint8_t *copy = malloc(len);
        if (!copy)
            abort();
        memcpy(copy, data, len);
        s->counts.duplicates++;
        post(s, from, to, at_us + noise_below(&n, 200 * MS), true, copy, len);
    }
    if (kept && !s->nodes[to].up)
        at_us = never_us;
    else if (kept && at_us < line->up_at_us)
        at_us = line->up_at_us;
    if (at_us < line->last_at_us)
        at_us = line->last_at_us;
    if (at_us < line->held_until_us)
        at_us = line->held_until_us;
    if (at_us != never_us)
        line->last_at_us = at_us;
    post(s, from, to, at_us, false, data, len);
}

/* In the connection: no copy beside it, nor kept by its sender. */
static bool is_under_way(const struct message *m, int from, int to)
{
    return m->from == from && m->to == to && !m->stray && m->at_us != never_us;
}

void net_break(struct sim *s, int from, int to, int64_t down_us, int64_t late_us)
{
    struct net *net = &s->net;
    struct line *line = &net->lines[from][to];
    struct noise n = draw(s, from, to);
    uint64_t lost_from = UINT64_MAX;
    size_t kept = 0;

    for (size_t i = 0; i < net->count; i++) {
        const struct message *m = net->heap[i];
        if (is_under_way(m, from, to) && m->order < lost_from && noise_chance(&n, 300))
            lost_from = m->order;
    }
    for (size_t i = 0; i < net->count; i++) {
        struct message *m = net->heap[i];
        bool on_line = is_under_way(m, from, to);
        if (on_line && m->order >= lost_from) {
            message_free(m);
            continue;
        }
        if (on_line)
            m->at_us += late_us;
        net->heap[kept++] = m;
    }
    net->count = kept;
    heap_rebuild(net);
    line->up = false;
    line->held_until_us = 0;
    line->break_after = false;
    line->last_at_us = 0;
    line->up_at_us = s->now_us + down_us;
    if (line->told_up && line->told_at_us == never_us)
        tell(s, from, to, s->now_us + 1 + noise_below(&n, 10 * MS));
}

void net_partition(struct sim *s, int a, int b, int64_t length_us, bool then_break)
{
    const int ends[2][2] = {{a, b}, {b, a}};
    for (int i = 0; i < 2; i++) {
        struct line *line = &s->net.lines[ends[i][0]][ends[i][1]];
        if (!line->up) {
            line->stall_us = length_us;
            continue;
        }
        line->held_until_us = s->now_us + length_us;
        line->break_after = then_break;
        /* What is under way waits too; its order stays, since all of it comes at one time. */
        for (size_t k = 0; k < s->net.count; k++) {
            struct message *m = s->net.heap[k];
            if (m->from == ends[i][0] && m->to == ends[i][1] && !m->stray)
                m->at_us = line->held_until_us > m->at_us ? line->held_until_us : m->at_us;
        }
        line->last_at_us = line->held_until_us;
    }
    heap_rebuild(&s->net);
}

static void step_line(struct sim *s, int from, int to)
{
    struct line *line = &s->net.lines[from][to];
    if (line->held_until_us != 0 && s->now_us >= line->held_until_us) {
        bool breaks = line->break_after;
        line->held_until_us = 0;
        if (breaks)
            net_break(s, from, to, 20 * MS, 0);
    }
    /* As by a poll of the connection: its sender may see it down late, but sees it before it sees it up. */
    if (!line->up && s->nodes[from].up && s->nodes[to].up && s->now_us >= line->up_at_us && !line->told_up) {
        line->up = true;
        line->held_until_us = line->stall_us ? s->now_us + line->stall_us : 0;
        line->stall_us = 0;
        tell(s, from, to, s->now_us);
    }
}

static void deliver(struct sim *s, struct message *m)
{
    struct node *node = &s->nodes[m->to];
    if (!node->up) {
        message_free(m);
        return;
    }
    m->next = NULL;
    *node->inbox_end = m;
    node->inbox_end = &m->next;
}

void net_step(struct sim *s)
{
    for (int from = 0; from < NODES; from++)
        for (int to = 0; to < NODES; to++)
            if (s->nodes[from].exists && s->nodes[to].exists)
                step_line(s, from, to);
    while (s->net.count > 0 && s->net.heap[0]->at_us <= s->now_us)
        deliver(s, heap_take(&s->net));
}

int64_t net_next_us(const struct sim *s)
{
    int64_t next_us = s->net.count > 0 ? s->net.heap[0]->at_us : never_us;

    for (int from = 0; from < NODES; from++) {
        for (int to = 0; to < NODES; to++) {
            const struct line *line = &s->net.lines[from][to];
            if (!s->nodes[from].up || !s->nodes[to].up)
                continue;
            if (line->held_until_us != 0 && line->held_until_us < next_us)
                next_us = line->held_until_us;
            if (!line->up && !line->told_up && line->up_at_us < next_us)
                next_us = line->up_at_us;
        }
    }
    return next_us;
}

static struct message *take_message(struct sim *s, int node)
{
    struct node *n = &s->nodes[node];
    struct message *m = n->inbox;
    if (m && !(n->inbox = m->next))
        n->inbox_end = &n->inbox;
    return m;
}

bool net_receive(struct sim *s, int node, void (*take)(struct sim *s, int node, const struct frame *f))
{
    struct message *m = take_message(s, node);
    struct frame f;
    if (!m)
        return false;
    if (frame_parse(m->data, m->len, 4096, &f) == ERR_OK)
        take(s, node, &f);
    else
        sim_violate(s, "wire", "a frame cannot be read");
    message_free(m);
    return true;
}

static void empty_inbox(struct sim *s, int node)
{
    struct message *m;
    while ((m = take_message(s, node)) != NULL)
        message_free(m);
}

void net_end(struct sim *s, int node)
{
    struct net *net = &s->net;
    size_t kept = 0;

    for (size_t i = 0; i < net->count; i++) {
        if (net->heap[i]->to == node || (net->heap[i]->from == node && net->heap[i]->at_us == never_us))
            message_free(net->heap[i]);
        else
            net->heap[kept++] = net->heap[i];
    }
    net->count = kept;
    heap_rebuild(net);
    empty_inbox(s, node);
}

void net_free(struct sim *s)
{
    for (int i = 0; i < NODES; i++)
        empty_inbox(s, i);
    for (size_t i = 0; i < s->net.count; i++)
        message_free(s->net.heap[i]);
    free(s->net.heap);
}
