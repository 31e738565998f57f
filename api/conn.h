/* SPDX-License-Identifier: MIT */
/* The table of connections: who is connected, since when, doing what. */
#ifndef CAVAGE_API_CONN_H
#define CAVAGE_API_CONN_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct request;
struct conns;

enum conn_state {
    CONN_FREE,   /* the slot is unused */
    CONN_NEW,    /* handed to libmicrohttpd, which has not taken it up yet */
    CONN_OPEN,   /* served by one HTTP thread */
    CONN_CLOSING /* shut down by us, or its last answer was written by us; libmicrohttpd has not closed it yet */
};

/* One connection. Slots are never freed while the table lives, so a pointer to one stays good; the lock guards all fields. While state is OPEN or
 * CLOSING, fd is open: libmicrohttpd tells of a close before it closes. */
struct conn {
    pthread_mutex_t lock;
    enum conn_state state;
    int fd;
    bool served;             /* it had a request before */
    int64_t since_us;        /* accepted, or the last answer ended */
    int64_t close_us;        /* CLOSING: when to stop waiting for the client */
    struct request *request; /* NULL between requests */
    bool owned;              /* it counts as `owner`'s, the customer of its last request; admission.c's */
    uint64_t owner;
    char source[INET6_ADDRSTRLEN];
    struct conn *next_free; /* guarded by the table's lock */
};

/* Room for max connections, and for some that are being closed. ERR_NOMEM. */
int conns_new(size_t max, struct conns **out);
void conns_free(struct conns *conns);

/* Enter a connection that was accepted, as NEW. NULL: no slot is left. Loop thread. */
struct conn *conns_add(struct conns *conns, int64_t now_us, int fd, const struct sockaddr *address);
/* The entry of a descriptor; NULL if there is none. */
struct conn *conns_find(struct conns *conns, int fd);
/* NEW becomes OPEN. False: the slot was forgotten meanwhile, and may be another connection's. */
bool conn_opened(struct conn *conn, int fd);
/* The connection is gone; its slot is free. */
void conns_remove(struct conns *conns, struct conn *conn);

/* End a connection from our side, lock held: at once, or after letting the client read what was written (linger_until_us > 0: only our
 * sending side is shut now, the rest at that time). */
void conn_close(struct conns *conns, struct conn *conn, int64_t linger_until_us);

/* Between requests, with nothing unread. Lock held. */
bool conn_is_idle(const struct conn *conn);
/* Free the slots that are NEW since before a time: libmicrohttpd dropped those connections without a word. */
void conns_forget_new(struct conns *conns, int64_t before_us);
/* Close the connection that was idle longest and has nothing to read. One that is new is spared for a second: its first request is on its way. False
 * when none is idle. */
bool conns_close_idlest(struct conns *conns, int64_t now_us);

/* The same for the connections that a customer owns, however new; best one that is being closed already. It has no owner any more. */
bool conns_close_idlest_of(struct conns *conns, uint64_t owner);

/* Call fn for each slot that is not free, with its lock held. */
void conns_each(struct conns *conns, void (*fn)(void *arg, struct conn *conn), void *arg);

/* Connections that are NEW or OPEN. Any thread. */
size_t conns_live(const struct conns *conns);
/* All slots in use, CLOSING ones too. */
size_t conns_used(const struct conns *conns);
/* Slots that exist. */
size_t conns_capacity(const struct conns *conns);

#endif
