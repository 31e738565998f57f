/* SPDX-License-Identifier: MIT */
/* Arenas that workers read in place: the real account of loans between links that are made and hang up. Their order of work is that of api/lender.c and
 * worker/arenas.c; a greeting takes no time, a hang-up is seen at a step of the other end, or some steps later. */
#include "sim.h"

#include "cavage/err.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LOANS_MAX = 128, SEEN_LATER_US = 1 * MS };

static struct arena_link *link_of(struct sim *s, int api, int worker_node)
{
    return &s->links[api][worker_node - FIRST_WORKER];
}

static void wake(struct sim *s, int node)
{
    if (s->now_us < s->nodes[node].wake_us)
        s->nodes[node].wake_us = s->now_us;
}

static size_t view_bytes(const struct api *api)
{
    return extents_count(api->arena) * extents_each_bytes(api->arena);
}

/* ---- The API's end ---- */

void arena_open(struct sim *s, int node)
{
    struct api *api = &s->apis[node];
    void *view = mmap(NULL, view_bytes(api), PROT_READ, MAP_SHARED, extents_fd(api->arena), 0);
    if (view == MAP_FAILED || lending_new(&api->boot, WORKERS_MAX, LOANS_MAX, &api->lending) != ERR_OK)
        abort();
    api->view = view;
    api->arenas = 0;
}

void arena_close(struct sim *s, int node)
{
    struct api *api = &s->apis[node];
    if (!api->view)
        return;
    munmap(api->view, view_bytes(api));
    lending_free(api->lending);
    api->view = NULL;
    api->lending = NULL;
    for (int w = 0; w < WORKERS_MAX; w++) {
        s->links[node][w].api_end = false;
        wake(s, FIRST_WORKER + w);
    }
}

static void release_over(struct api *api)
{
    struct staged body;
    while (lending_next(api->lending, &body))
        staged_release(api->arena, &body);
}

bool arena_lend(struct sim *s, int node, const struct dispatch_action *a, const struct request *r, struct wire_job *m)
{
    struct api *api = &s->apis[node];
    const struct arena_link *link = &s->links[node][a->peer];
    if (!link->api_end || !id_equal(&link->worker_boot, &a->worker_boot) ||
        staged_numbers(api->arena, &r->staged, m->extents, WIRE_EXTENTS_MAX, &m->extent_count) ||
        lending_lend(api->lending, &a->worker_boot, (uint32_t)a->peer, a->sequence, a->job))
        return false;
    m->arena = link->number;
    m->image_bytes = r->staged.bytes;
    return true;
}

void arena_take_back(struct sim *s, int node, const struct dispatch_action *a)
{
    struct api *api = &s->apis[node];
    lending_take_back(api->lending, &a->worker_boot, (uint32_t)a->peer, a->sequence);
    release_over(api);
}

void arena_hear(struct sim *s, int node, const struct wire_status *m)
{
    struct api *api = &s->apis[node];
    lending_hear(api->lending, m);
    release_over(api);
}

void arena_end(struct sim *s, int node, struct request *r)
{
    struct api *api = &s->apis[node];
    s->counts.kept += lending_keep(api->lending, r->job, &r->staged);
    staged_release(api->arena, &r->staged);
}

void arena_look(struct sim *s, int node)
{
    struct api *api = &s->apis[node];
    struct noise n = sim_noise(s, node);
    for (int w = 0; w < s->plan->workers; w++) {
        struct arena_link *link = &s->links[node][w];
        if (!link->api_end || link->worker_end)
            continue;
        if (noise_chance(&n, 500)) {
            link->seen_at_us = s->now_us + SEEN_LATER_US;
            continue;
        }
        lending_leave(api->lending, &link->worker_boot);
        link->api_end = false;
        link->seen_at_us = never_us;
        release_over(api);
    }
}

/* ---- The worker's end ---- */

void arena_meet(struct sim *s, int worker_node, int api, const struct id *api_boot)
{
    struct arena_link *link = link_of(s, api, worker_node);
    const struct node *node = &s->nodes[api];
    const struct worker *w = &s->workers[worker_node - FIRST_WORKER];
    if (link->api_end || link->worker_end || !node->up || s->now_us < node->paused_until_us ||
        !id_equal(&s->apis[api].boot, api_boot) || lending_join(s->apis[api].lending, &w->boot) != ERR_OK)
        return;
    *link = (struct arena_link){.worker_boot = w->boot,
                                .api_boot = *api_boot,
                                .number = ++s->apis[api].arenas,
                                .api_end = true,
                                .worker_end = true,
                                .seen_at_us = never_us};
}

void arena_hang_up(struct sim *s, int worker_node, int api)
{
    struct arena_link *link = link_of(s, api, worker_node);
    if (!link->worker_end)
        return;
    link->worker_end = false;
    link->seen_at_us = s->now_us;
    wake(s, api);
}

bool arena_is_readable(struct sim *s, int worker_node, int api, const struct wire_job *m)
{
    const struct arena_link *link = link_of(s, api, worker_node);
    return link->worker_end && link->number == m->arena && id_equal(&link->api_boot, &m->api_boot);
}

bool arena_is_lost(struct sim *s, int worker_node, int api)
{
    const struct arena_link *link = link_of(s, api, worker_node);
    return link->worker_end && !link->api_end;
}

/* ---- Bytes ---- */

static uint64_t mark_of(size_t request)
{
    return UINT64_C(0x9e3779b97f4a7c15) * (request + 1) | 1;
}

void arena_draw(uint8_t *image, size_t len, size_t request)
{
    uint64_t mark = mark_of(request);
    for (size_t at = 0; at < len; at += sizeof(mark))
        memcpy(image + at, &mark, len - at < sizeof(mark) ? len - at : sizeof(mark));
}

void arena_read(struct sim *s, int worker_node, int api, const struct wire_job *m, size_t request)
{
    const struct api *owner = &s->apis[api];
    uint64_t mark = mark_of(request);
    s->counts.read++;
    if (!id_equal(&owner->boot, &m->api_boot) || !owner->view)
        return; /* of an API that died just now: nobody else's bytes come there */
    for (size_t i = 0; i < m->extent_count; i++) {
        size_t left = m->image_bytes - i * EXTENT_BYTES, len = left < sizeof(mark) ? left : sizeof(mark);
        if (memcmp(owner->view + (size_t)m->extents[i] * EXTENT_BYTES, &mark, len) != 0)
            sim_violate(s, "bytes", "worker %d reads another image than that of job %llu", worker_node - FIRST_WORKER,
                        (unsigned long long)m->job);
    }
}
