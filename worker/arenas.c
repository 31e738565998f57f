/* SPDX-License-Identifier: MIT */
/* Links to APIs: asked for, checked, mapped, and let go. */
#include "arenas.h"

#include "worker_metrics.h"

#include "cavage/backoff.h"
#include "cavage/clock.h"
#include "cavage/credit.h"
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/log.h"
#include "cavage/seqpacket.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MESSAGE_MAX = 256 };

struct link {
    struct arenas *owner;
    size_t api;
    int fd; /* -1: none */
    struct loop_watch *watch;
    struct wire_arena arena; /* number 0: asked for */
    const uint8_t *memory;   /* NULL: not mapped */
    int err;                 /* why it could not be had last time, as logged */
    struct backoff backoff;
    int64_t retry_at_us;
};

struct arenas {
    struct arenas_config config;
    struct link of[CREDIT_APIS_MAX];
};

int arenas_new(const struct arenas_config *config, struct arenas **out)
{
    struct arenas *a = calloc(1, sizeof(*a));
    if (!a)
        return ERR_NOMEM;
    a->config = *config;
    for (size_t i = 0; i < CREDIT_APIS_MAX; i++)
        a->of[i] = (struct link){.owner = a, .api = i, .fd = -1};
    *out = a;
    return ERR_OK;
}

static void count(const struct arenas *a)
{
    int64_t linked = 0;
    for (size_t i = 0; i < CREDIT_APIS_MAX; i++)
        linked += a->of[i].memory != NULL;
    metrics_set(a->config.metrics, METRIC_ARENAS, linked);
}

static size_t bytes_of(const struct link *link)
{
    return link->arena.extents * link->arena.extent_bytes;
}

/* munmap takes what is only read as well, though its type does not say so. */
static void unmap(const uint8_t *memory, size_t bytes)
{
    union {
        const void *in;
        void *out;
    } u = {.in = memory};
    munmap(u.out, bytes);
}

/* The hang-up tells the API that nothing is read any more: the memory goes first. When to ask again is kept. */
static void link_close(struct link *link)
{
    if (link->memory)
        unmap(link->memory, bytes_of(link));
    if (link->watch)
        loop_unwatch(link->watch);
    if (link->fd >= 0)
        close(link->fd);
    link->memory = NULL;
    link->watch = NULL;
    link->fd = -1;
    link->arena = (struct wire_arena){0};
    count(link->owner);
}

static void link_fail(struct link *link, int err)
{
    if (err != link->err)
        log_warn("arena_unlinked", "an API's staging arena cannot be read, so images come in messages",
                 LOG_U("api", link->api), LOG_S("reason", err_text(err)));
    link->err = err;
    link->retry_at_us = clock_monotonic_us() + backoff_next(&link->backoff, 0);
}

static void link_lose(struct link *link, int err)
{
    struct arenas *a = link->owner;
    if (link->memory) {
        log_info("arena_lost", "an API's staging arena can be read no more", LOG_U("api", link->api),
                 LOG_S("reason", err_text(err)));
        a->config.lost(a->config.arg, link->api);
    } else {
        link_fail(link, err);
    }
    link_close(link);
}

static int say(const struct link *link)
{
    uint8_t *data;
    size_t len;
    int err = wire_pack_arena(&link->arena, malloc, &data, &len);
    if (!err) {
        err = seqpacket_send(link->fd, data, len, NULL, 0);
        free(data);
    }
    return err;
}

/* The file is as long as it says, and nobody can cut it off: reading beyond its end would kill us. */
static int check_file(const struct wire_arena *m, int fd)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) != 0 || st.st_size < 0)
        return ERR_INVALID;
    return (uint64_t)st.st_size == (uint64_t)m->extents * m->extent_bytes ? ERR_OK : ERR_RANGE;
}

static int link_map(struct link *link, const struct wire_arena *m, int fd)
{
    if (m->number == 0 || !id_equal(&m->api_boot, &link->arena.api_boot) ||
        !id_equal(&m->worker_boot, &link->arena.worker_boot))
        return ERR_INVALID;
    int err = check_file(m, fd);
    if (err)
        return err;
    size_t bytes = m->extents * m->extent_bytes;
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return ERR_NOMEM;
    madvise(map, bytes, MADV_DONTDUMP);
    link->memory = map;
    link->arena = *m;
    return ERR_OK;
}

/* The API's one message. From then on it speaks by hanging up only. */
static int take(struct link *link)
{
    uint8_t data[MESSAGE_MAX];
    size_t len, fd_count;
    struct frame f;
    struct wire_arena m;
    int fd = -1;
    int err = seqpacket_recv(link->fd, data, sizeof(data), MSG_DONTWAIT, &len, &fd, 1, &fd_count);
    if (err)
        return err;
    if (link->memory || fd_count != 1)
        err = ERR_INVALID;
    if (!err)
        err = frame_parse(data, len, 0, &f);
    if (!err)
        err = wire_unpack_arena(&f, &m);
    if (!err)
        err = link_map(link, &m, fd);
    if (!err && say(link))
        err = ERR_CLOSED;
    if (fd_count == 1)
        close(fd);
    return err;
}

static void on_link(void *arg, int fd, uint32_t events)
{
    struct link *link = arg;
    (void)fd;
    (void)events;
    int err = take(link);
    if (err == ERR_AGAIN)
        return;
    if (err) {
        link_lose(link, err);
        return;
    }
    link->err = ERR_OK;
    link->backoff = (struct backoff){0};
    count(link->owner);
    log_info("arena_linked", "images of an API are read where it staged them", LOG_U("api", link->api),
             LOG_U("bytes", bytes_of(link)));
}

void arenas_meet(struct arenas *a, int64_t now_us, size_t api, const struct wire_hello *m)
{
    char path[WIRE_ARENA_PATH_SIZE];
    struct link *link = &a->of[api];
    if (!m->lends || link->fd >= 0 || now_us < link->retry_at_us || !wire_arena_path(m->result_address, path))
        return;
    int err = seqpacket_connect(path, &link->fd);
    if (err) {
        link->fd = -1;
        link_fail(link, err);
        return;
    }
    link->arena = (struct wire_arena){.api_boot = m->api_boot, .worker_boot = a->config.boot};
    err = say(link);
    if (!err)
        err = loop_watch(a->config.loop, link->fd, EPOLLIN, on_link, link, &link->watch);
    if (err)
        link_lose(link, err);
}

void arenas_leave(struct arenas *a, size_t api)
{
    struct link *link = &a->of[api];
    link_close(link);
    *link = (struct link){.owner = a, .api = api, .fd = -1};
}

void arenas_free(struct arenas *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < CREDIT_APIS_MAX; i++)
        link_close(&a->of[i]);
    free(a);
}

int arenas_find(const struct arenas *a, size_t api, const struct wire_job *m, struct input *in)
{
    const struct link *link = &a->of[api];
    const struct wire_arena *arena = &link->arena;
    if (!link->memory || m->arena != arena->number)
        return ERR_NOTFOUND;
    if (m->image_bytes == 0 || m->image_bytes > a->config.max_bytes ||
        m->extent_count != (m->image_bytes - 1) / arena->extent_bytes + 1)
        return ERR_RANGE;
    for (size_t i = 0; i < m->extent_count; i++)
        if (m->extents[i] >= arena->extents)
            return ERR_RANGE;
    *in = (struct input){
        .len = m->image_bytes, .arena = link->memory, .extent_bytes = arena->extent_bytes, .extents = m->extents};
    return ERR_OK;
}
