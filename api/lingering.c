/* SPDX-License-Identifier: MIT */
/* A small table of sockets that are read to their end, bounded in number, time and bytes. */
#include "lingering.h"

#include "cavage/err.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LINGERING_MAX = 256,
    LINGER_US = 2 * 1000 * 1000,
    LINGER_BYTES = 64 * 1024 * 1024,
    READ_BYTES = 64 * 1024,
    READS_MAX = 8 /* in one round of the loop */
};

struct late {
    struct lingering *lingering;
    struct loop_watch *watch; /* NULL: the slot is free */
    int fd;
    int64_t since_us;
    uint64_t bytes;
};

struct lingering {
    struct loop *loop;
    struct late slots[LINGERING_MAX];
    char waste[READ_BYTES];
};

int lingering_new(struct loop *loop, struct lingering **out)
{
    struct lingering *l = calloc(1, sizeof(*l));
    if (!l)
        return ERR_NOMEM;
    l->loop = loop;
    *out = l;
    return 0;
}

/* Read and forget. False: the client is done, failed, or sent too much. */
static bool waste(struct late *late)
{
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = recv(late->fd, late->lingering->waste, READ_BYTES, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        late->bytes += (uint64_t)n;
        if (late->bytes > LINGER_BYTES)
            return false;
    }
    return true;
}

static void drop(struct late *late)
{
    /* What was never read would turn the close into a reset. */
    (void)waste(late);
    loop_unwatch(late->watch);
    late->watch = NULL;
    close(late->fd);
}

static void on_readable(void *arg, int fd, uint32_t events)
{
    struct late *late = arg;
    (void)fd;
    (void)events;
    if (!waste(late))
        drop(late);
}

/* A free slot; else the oldest one, freed. */
static struct late *make_room(struct lingering *l)
{
    struct late *oldest = &l->slots[0];
    for (size_t i = 0; i < LINGERING_MAX; i++) {
        if (!l->slots[i].watch)
            return &l->slots[i];
        if (l->slots[i].since_us < oldest->since_us)
            oldest = &l->slots[i];
    }
    drop(oldest);
    return oldest;
}

void lingering_add(struct lingering *l, int64_t now_us, int fd)
{
    struct late *late = make_room(l);
    *late = (struct late){.lingering = l, .fd = fd, .since_us = now_us};
    shutdown(fd, SHUT_WR);
    if (loop_watch(l->loop, fd, EPOLLIN, on_readable, late, &late->watch) != 0) {
        late->watch = NULL;
        close(fd);
    }
}

void lingering_sweep(struct lingering *l, int64_t now_us)
{
    for (size_t i = 0; i < LINGERING_MAX; i++)
        if (l->slots[i].watch && now_us - l->slots[i].since_us >= LINGER_US)
            drop(&l->slots[i]);
}

void lingering_free(struct lingering *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < LINGERING_MAX; i++)
        if (l->slots[i].watch)
            drop(&l->slots[i]);
    free(l);
}
