/* SPDX-License-Identifier: MIT */
/* The table of connections. Lock order: a connection's lock, then the table's. */
#include "conn.h"

#include "cavage/err.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

enum { CLOSING_ROOM = 256, FDS_MAX = 1 << 20, FRESH_US = 1000 * 1000 };

struct conns {
    size_t capacity;
    struct conn *slots;
    /* By slot: it is not FREE. Read without a lock, so that a look at the few of many slots that are in use costs little. */
    atomic_bool *taken;
    size_t fd_count;
    _Atomic(struct conn *) *by_fd;
    pthread_mutex_t lock; /* guards free */
    struct conn *free;
    atomic_size_t live;
    atomic_size_t used;
};

static size_t fd_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > FDS_MAX)
        return FDS_MAX;
    return (size_t)limit.rlim_cur;
}

int conns_new(size_t max, struct conns **out)
{
    struct conns *conns = calloc(1, sizeof(*conns));
    if (!conns)
        return ERR_NOMEM;
    pthread_mutex_init(&conns->lock, NULL);
    conns->capacity = max + CLOSING_ROOM;
    conns->slots = calloc(conns->capacity, sizeof(*conns->slots));
    conns->taken = calloc(conns->capacity, sizeof(*conns->taken));
    conns->fd_count = fd_limit();
    conns->by_fd = calloc(conns->fd_count, sizeof(*conns->by_fd));
    if (!conns->slots || !conns->taken || !conns->by_fd) {
        conns->capacity = 0;
        conns_free(conns);
        return ERR_NOMEM;
    }
    for (size_t i = conns->capacity; i-- > 0;) {
        struct conn *conn = &conns->slots[i];
        pthread_mutex_init(&conn->lock, NULL);
        conn->fd = -1;
        conn->next_free = conns->free;
        conns->free = conn;
    }
    *out = conns;
    return 0;
}

void conns_free(struct conns *conns)
{
    if (!conns)
        return;
    for (size_t i = 0; i < conns->capacity; i++)
        pthread_mutex_destroy(&conns->slots[i].lock);
    pthread_mutex_destroy(&conns->lock);
    free(conns->slots);
    free(conns->taken);
    free(conns->by_fd);
    free(conns);
}

static void write_source(const struct sockaddr *address, char *out, socklen_t size)
{
    out[0] = '\0';
    if (address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, out, size);
    else if (address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, out, size);
}

static void set_taken(struct conns *conns, const struct conn *conn, bool taken)
{
    atomic_store_explicit(&conns->taken[conn - conns->slots], taken, memory_order_relaxed);
}

struct conn *conns_add(struct conns *conns, int64_t now_us, int fd, const struct sockaddr *address)
{
    if (fd < 0 || (size_t)fd >= conns->fd_count)
        return NULL;
    pthread_mutex_lock(&conns->lock);
    struct conn *conn = conns->free;
    if (conn)
        conns->free = conn->next_free;
    pthread_mutex_unlock(&conns->lock);
    if (!conn)
        return NULL;

    pthread_mutex_lock(&conn->lock);
    conn->state = CONN_NEW;
    set_taken(conns, conn, true);
    conn->fd = fd;
    conn->served = false;
    conn->since_us = now_us;
    conn->close_us = 0;
    conn->request = NULL;
    conn->owned = false;
    write_source(address, conn->source, sizeof(conn->source));
    pthread_mutex_unlock(&conn->lock);
    atomic_fetch_add(&conns->live, 1);
    atomic_fetch_add(&conns->used, 1);
    atomic_store(&conns->by_fd[fd], conn);
    return conn;
}

struct conn *conns_find(struct conns *conns, int fd)
{
    return fd >= 0 && (size_t)fd < conns->fd_count ? atomic_load(&conns->by_fd[fd]) : NULL;
}

bool conn_opened(struct conn *conn, int fd)
{
    pthread_mutex_lock(&conn->lock);
    bool ours = conn->state == CONN_NEW && conn->fd == fd;
    if (ours)
        conn->state = CONN_OPEN;
    pthread_mutex_unlock(&conn->lock);
    return ours;
}

/* Empty a slot and return what it was. The connection's lock is held. */
static enum conn_state vacate(struct conns *conns, struct conn *conn)
{
    enum conn_state was = conn->state;
    if (was == CONN_FREE)
        return was;
    struct conn *expected = conn;
    atomic_compare_exchange_strong(&conns->by_fd[conn->fd], &expected, NULL);
    conn->state = CONN_FREE;
    set_taken(conns, conn, false);
    conn->fd = -1;
    return was;
}

/* Let a slot that was emptied be used again. */
static void give_back(struct conns *conns, struct conn *conn, enum conn_state was)
{
    if (was == CONN_FREE)
        return;
    if (was != CONN_CLOSING)
        atomic_fetch_sub(&conns->live, 1);
    atomic_fetch_sub(&conns->used, 1);
    pthread_mutex_lock(&conns->lock);
    conn->next_free = conns->free;
    conns->free = conn;
    pthread_mutex_unlock(&conns->lock);
}

void conns_remove(struct conns *conns, struct conn *conn)
{
    pthread_mutex_lock(&conn->lock);
    enum conn_state was = vacate(conns, conn);
    pthread_mutex_unlock(&conn->lock);
    give_back(conns, conn, was);
}

void conn_close(struct conns *conns, struct conn *conn, int64_t linger_until_us)
{
    if (conn->state == CONN_NEW || conn->state == CONN_OPEN)
        atomic_fetch_sub(&conns->live, 1);
    conn->state = CONN_CLOSING;
    conn->close_us = linger_until_us;
    shutdown(conn->fd, linger_until_us > 0 ? SHUT_WR : SHUT_RDWR);
}

bool conn_is_idle(const struct conn *conn)
{
    int unread = 0;
    return conn->state == CONN_OPEN && !conn->request && ioctl(conn->fd, FIONREAD, &unread) == 0 && unread == 0;
}

static bool is_fresh(const struct conn *conn, int64_t now_us)
{
    return !conn->served && now_us - conn->since_us < FRESH_US;
}

/* The first slot in use from *slot on, locked; NULL: there is none. *slot becomes the one after it. */
static struct conn *lock_next(struct conns *conns, size_t *slot)
{
    while (*slot < conns->capacity) {
        struct conn *conn = &conns->slots[*slot];
        if (!atomic_load_explicit(&conns->taken[(*slot)++], memory_order_relaxed))
            continue;
        pthread_mutex_lock(&conn->lock);
        if (conn->state != CONN_FREE)
            return conn;
        pthread_mutex_unlock(&conn->lock);
    }
    return NULL;
}

/* Since when a connection is idle that may be closed, INT64_MAX for one that must stay: of anyone's, one that is new; of an owner's, one of somebody
 * else. An owner's that is closing already goes before all that are idle. Its lock is held. */
static int64_t idle_since(const struct conn *conn, int64_t now_us, const uint64_t *owner)
{
    if (owner ? !conn->owned || conn->owner != *owner : is_fresh(conn, now_us))
        return INT64_MAX;
    if (owner && conn->state == CONN_CLOSING)
        return INT64_MIN;
    return conn_is_idle(conn) ? conn->since_us : INT64_MAX;
}

static bool close_idlest(struct conns *conns, int64_t now_us, const uint64_t *owner)
{
    struct conn *conn, *idlest = NULL;
    int64_t idlest_us = INT64_MAX;
    for (size_t slot = 0; (conn = lock_next(conns, &slot)) != NULL;) {
        bool earlier = conn->since_us < idlest_us || conn->state == CONN_CLOSING;
        int64_t since_us = earlier ? idle_since(conn, now_us, owner) : INT64_MAX;
        if (since_us < idlest_us) {
            idlest = conn;
            idlest_us = since_us;
        }
        pthread_mutex_unlock(&conn->lock);
    }
    if (!idlest)
        return false;
    pthread_mutex_lock(&idlest->lock);
    bool still = idle_since(idlest, now_us, owner) != INT64_MAX; /* the slot may be another's by now */
    if (still && owner)
        idlest->owned = false;
    if (still && idlest->state == CONN_OPEN)
        conn_close(conns, idlest, 0);
    pthread_mutex_unlock(&idlest->lock);
    return still;
}

bool conns_close_idlest(struct conns *conns, int64_t now_us)
{
    return close_idlest(conns, now_us, NULL);
}

bool conns_close_idlest_of(struct conns *conns, uint64_t owner)
{
    return close_idlest(conns, 0, &owner);
}

void conns_forget_new(struct conns *conns, int64_t before_us)
{
    struct conn *conn;
    for (size_t slot = 0; (conn = lock_next(conns, &slot)) != NULL;) {
        enum conn_state was = CONN_FREE;
        if (conn->state == CONN_NEW && conn->since_us < before_us)
            was = vacate(conns, conn);
        pthread_mutex_unlock(&conn->lock);
        give_back(conns, conn, was);
    }
}

void conns_each(struct conns *conns, void (*fn)(void *arg, struct conn *conn), void *arg)
{
    struct conn *conn;
    for (size_t slot = 0; (conn = lock_next(conns, &slot)) != NULL;) {
        fn(arg, conn);
        pthread_mutex_unlock(&conn->lock);
    }
}

size_t conns_live(const struct conns *conns)
{
    return atomic_load(&conns->live);
}

size_t conns_used(const struct conns *conns)
{
    return atomic_load(&conns->used);
}

size_t conns_capacity(const struct conns *conns)
{
    return conns->capacity;
}
