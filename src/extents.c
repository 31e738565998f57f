/* SPDX-License-Identifier: MIT */
/* The staging arena: one memfd, mapped whole and cut in extents, a stack of the free ones, and what each customer holds of them. */
#include "cavage/extents.h"

#include "cavage/err.h"
#include "cavage/shares.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { EXTENT_BYTES_MIN = 4096 };
#define EXTENTS_MAX ((size_t)1 << 28)

struct extents {
    int fd; /* of the memory */
    unsigned char *memory;
    size_t extent_bytes;
    uint32_t count;
    uint32_t customer_max;
    uint32_t
        *next; /* of a used extent: index + 1 of the one after it, 0 at the end. Written by the body's owner only */

    pthread_mutex_t lock; /* guards what follows */
    uint32_t *stack;      /* free extents; the one used last is on top, since its pages are warm */
    uint32_t free_count;
    struct shares *shares;

    atomic_size_t used_bytes;
};

/* Sealed after our own mapping, which stays writable: whoever is given the descriptor can neither write to the memory nor cut it off under others. */
static int memory_new(size_t bytes, int *fd, unsigned char **memory)
{
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
    *fd = memfd_create("cavage-staging", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0 || ftruncate(*fd, (off_t)bytes) != 0)
        return ERR_NOMEM;
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, *fd, 0);
    if (map == MAP_FAILED)
        return ERR_NOMEM;
    *memory = map;
    if (fcntl(*fd, F_ADD_SEALS, seals) != 0)
        return ERR_NOMEM;
    madvise(map, bytes, MADV_DONTDUMP);
    return ERR_OK;
}

int extents_new(const struct extents_config *config, struct extents **out)
{
    size_t size = config->extent_bytes;
    if (size < EXTENT_BYTES_MIN || (size & (size - 1)) != 0 || config->customer_percent < 1 ||
        config->customer_percent > 100)
        return ERR_RANGE;
    size_t count = config->budget_bytes / size;
    if (count < 1 || count > EXTENTS_MAX)
        return ERR_RANGE;

    struct extents *e = calloc(1, sizeof(*e));
    if (!e)
        return ERR_NOMEM;
    pthread_mutex_init(&e->lock, NULL);
    e->fd = -1;
    e->extent_bytes = size;
    e->count = (uint32_t)count;
    e->customer_max = (uint32_t)(count * config->customer_percent / 100);
    if (e->customer_max == 0)
        e->customer_max = 1;
    e->next = calloc(count, sizeof(*e->next));
    e->stack = calloc(count, sizeof(*e->stack));
    int err = shares_new(count, &e->shares);
    if (!err)
        err = memory_new(count * size, &e->fd, &e->memory);
    if (!e->next || !e->stack || err) {
        extents_free(e);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++)
        e->stack[i] = (uint32_t)(count - 1 - i);
    e->free_count = (uint32_t)count;
    *out = e;
    return 0;
}

void extents_free(struct extents *e)
{
    if (!e)
        return;
    if (e->memory)
        munmap(e->memory, (size_t)e->count * e->extent_bytes);
    if (e->fd >= 0)
        close(e->fd);
    free(e->next);
    free(e->stack);
    shares_free(e->shares);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

/* Would `more` extents of this customer be within the bounds? The lock is held. */
static int judge(const struct extents *e, uint64_t customer, size_t more)
{
    if (more > e->customer_max - shares_held(e->shares, customer))
        return ERR_RANGE;
    return more > e->free_count ? ERR_FULL : 0;
}

static size_t extents_needed(const struct extents *e, size_t bytes)
{
    return bytes / e->extent_bytes + (bytes % e->extent_bytes != 0);
}

int extents_check(struct extents *e, uint64_t customer, size_t len)
{
    pthread_mutex_lock(&e->lock);
    int err = judge(e, customer, extents_needed(e, len));
    pthread_mutex_unlock(&e->lock);
    return err;
}

/* Put `more` free extents at the end of the chain. */
static int chain_grow(struct extents *e, struct staged *s, size_t more)
{
    pthread_mutex_lock(&e->lock);
    int err = judge(e, s->customer, more);
    if (err == 0) {
        shares_take(e->shares, s->customer, (uint32_t)more);
        for (; more > 0; more--) {
            uint32_t index = e->stack[--e->free_count];
            e->next[index] = 0;
            if (s->last)
                e->next[s->last - 1] = index + 1;
            else
                s->first = index + 1;
            s->last = index + 1;
        }
    }
    pthread_mutex_unlock(&e->lock);
    return err;
}

int staged_append(struct extents *e, struct staged *s, const void *data, size_t len)
{
    if (len == 0)
        return 0;
    if (len > SIZE_MAX - s->bytes)
        return ERR_FULL;
    size_t used = s->bytes & (e->extent_bytes - 1);
    size_t room = used ? e->extent_bytes - used : 0;
    uint32_t at = s->last; /* the extent that takes the next byte, once there is room in it */
    if (len > room) {
        int err = chain_grow(e, s, extents_needed(e, len - room));
        if (err)
            return err;
        if (room == 0)
            at = at ? e->next[at - 1] : s->first;
    }
    const unsigned char *from = data;
    for (size_t left = len; left > 0; at = e->next[at - 1], used = 0) {
        size_t piece = e->extent_bytes - used < left ? e->extent_bytes - used : left;
        memcpy(e->memory + (size_t)(at - 1) * e->extent_bytes + used, from, piece);
        from += piece;
        left -= piece;
    }
    s->bytes += len;
    atomic_fetch_add_explicit(&e->used_bytes, len, memory_order_relaxed);
    return 0;
}

void staged_each(const struct extents *e, const struct staged *s, void (*fn)(void *arg, const void *data, size_t len),
                 void *arg)
{
    size_t left = s->bytes;
    for (uint32_t at = s->first; at && left > 0; at = e->next[at - 1]) {
        size_t piece = left < e->extent_bytes ? left : e->extent_bytes;
        fn(arg, e->memory + (size_t)(at - 1) * e->extent_bytes, piece);
        left -= piece;
    }
}

static void copy_piece(void *arg, const void *data, size_t len)
{
    unsigned char **to = arg;
    memcpy(*to, data, len);
    *to += len;
}

void staged_copy(const struct extents *e, const struct staged *s, void *out)
{
    staged_each(e, s, copy_piece, &out);
}

const void *staged_head(const struct extents *e, const struct staged *s, size_t *len)
{
    *len = s->bytes < e->extent_bytes ? s->bytes : e->extent_bytes;
    return s->first ? e->memory + (size_t)(s->first - 1) * e->extent_bytes : NULL;
}

static void wipe_piece(void *arg, const void *data, size_t len)
{
    struct extents *e = arg;
    explicit_bzero(e->memory + ((const unsigned char *)data - e->memory), len);
}

void staged_release(struct extents *e, struct staged *s)
{
    if (!s->first)
        return;
    staged_each(e, s, wipe_piece, e);
    atomic_fetch_sub_explicit(&e->used_bytes, s->bytes, memory_order_relaxed);

    pthread_mutex_lock(&e->lock);
    uint32_t given = 0;
    for (uint32_t at = s->first; at; at = e->next[at - 1]) {
        e->stack[e->free_count++] = at - 1;
        given++;
    }
    shares_give(e->shares, s->customer, given);
    pthread_mutex_unlock(&e->lock);

    s->first = s->last = 0;
    s->bytes = 0;
}

int staged_numbers(const struct extents *e, const struct staged *s, uint32_t *out, size_t max, size_t *count)
{
    size_t n = extents_needed(e, s->bytes);
    if (n > max)
        return ERR_RANGE;
    uint32_t at = s->first;
    for (size_t i = 0; i < n; i++, at = e->next[at - 1])
        out[i] = at - 1;
    *count = n;
    return ERR_OK;
}

int extents_fd(const struct extents *e)
{
    return e->fd;
}

size_t extents_each_bytes(const struct extents *e)
{
    return e->extent_bytes;
}

uint32_t extents_count(const struct extents *e)
{
    return e->count;
}

size_t extents_customer_bytes(const struct extents *e)
{
    return (size_t)e->customer_max * e->extent_bytes;
}

size_t extents_used_bytes(const struct extents *e)
{
    return atomic_load_explicit(&e->used_bytes, memory_order_relaxed);
}
