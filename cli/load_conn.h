/* SPDX-License-Identifier: MIT */
/* One kept connection of a load tool: sends a request, reads its answer. */
#ifndef LOAD_CONN_H
#define LOAD_CONN_H

#include "cavage/loop.h"
#include "http_answer.h"
#include "load_stats.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { LOAD_PARTS = 4, LOAD_READ_BYTES = 64 * 1024 };

struct load_conn;

/* What all connections of a run share. Borrowed by them. */
struct load_conn_config {
    struct loop *loop;
    const struct sockaddr *address;
    socklen_t address_len;
    char *buffer; /* LOAD_READ_BYTES */
    /* The answer to what was sent is complete. Close the connection unless `reusable`, or send the next request. */
    void (*answered)(void *arg, struct load_conn *conn, const struct http_answer *answer, bool reusable);
    /* The connection is of no more use: close it. The request on it, if there is one, gets no answer. */
    void (*broken)(void *arg, struct load_conn *conn, enum load_failure why);
    void *arg;
};

/* The first three are the user's. */
struct load_conn {
    void *customer, *request;
    TAILQ_ENTRY(load_conn) of_customer, idle;
    const struct load_conn_config *config;
    struct loop_watch *watch;
    int fd;
    bool connected;
    bool busy;     /* an answer is awaited */
    bool cut;      /* the peer reads no more; its answer may have come all the same */
    bool in_event; /* its watch's callback runs, and frees it when it is closed */
    bool closed;
    struct iovec parts[LOAD_PARTS]; /* what is left to send */
    struct http_answer answer;
};

TAILQ_HEAD(load_conns, load_conn);

/* Begin to connect; neither callback is called yet. ERR_IO, ERR_NOMEM, ERR_CLOSED and others of err_from_errno. */
int load_conn_open(const struct load_conn_config *config, struct load_conn **out);
void load_conn_close(struct load_conn *conn);

/* Send a request of LOAD_PARTS parts, borrowed until it is answered or broken, as soon as the connection is made. */
void load_conn_send(struct load_conn *conn, const struct iovec *parts);

#endif
