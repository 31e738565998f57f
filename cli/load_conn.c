/* SPDX-License-Identifier: MIT */
/* Connections of a load tool, watched for edges so that one costs no system call but its reads and writes. */
#include "load_conn.h"

#include "cavage/err.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static size_t unsent(const struct load_conn *conn)
{
    size_t bytes = 0;
    for (size_t i = 0; i < LOAD_PARTS; i++)
        bytes += conn->parts[i].iov_len;
    return bytes;
}

static void advance(struct load_conn *conn, size_t bytes)
{
    for (size_t i = 0; i < LOAD_PARTS && bytes > 0; i++) {
        struct iovec *part = &conn->parts[i];
        size_t n = bytes < part->iov_len ? bytes : part->iov_len;
        part->iov_base = (char *)part->iov_base + n;
        part->iov_len -= n;
        bytes -= n;
    }
}

/* Send what the socket takes. When it takes no more for good, the answer may still be there to be read. */
static void flush(struct load_conn *conn)
{
    while (!conn->cut && unsent(conn) > 0) {
        ssize_t n = writev(conn->fd, conn->parts, LOAD_PARTS);
        if (n >= 0)
            advance(conn, (size_t)n);
        else if (errno == EAGAIN)
            return;
        else if (errno != EINTR)
            conn->cut = true;
    }
}

static void finish(struct load_conn *conn, bool reusable)
{
    conn->busy = false;
    conn->config->answered(conn->config->arg, conn, &conn->answer, reusable);
}

static void fail(struct load_conn *conn, enum load_failure why)
{
    conn->config->broken(conn->config->arg, conn, why);
}

/* What was read; len 0 is the end. */
static void take(struct load_conn *conn, const char *data, size_t len)
{
    size_t used = 0;
    int err = ERR_CLOSED;
    if (conn->busy)
        err = len > 0 ? http_answer_feed(&conn->answer, data, len, &used) : http_answer_closed(&conn->answer);
    if (err == ERR_OK)
        finish(conn, len > 0 && used == len && !conn->answer.close && !conn->cut && unsent(conn) == 0);
    else if (err != ERR_AGAIN)
        fail(conn, err == ERR_CLOSED ? LOAD_CLOSED : LOAD_MALFORMED);
}

static void receive(struct load_conn *conn, uint32_t events)
{
    bool ends = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0, more = true;
    while (more && !conn->closed) {
        ssize_t n = read(conn->fd, conn->config->buffer, LOAD_READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        /* After less than was asked for there is nothing more, unless the end is. */
        more = n == LOAD_READ_BYTES || (n > 0 && ends);
        if (n >= 0)
            take(conn, conn->config->buffer, (size_t)n);
        else if (errno != EAGAIN)
            fail(conn, LOAD_CLOSED);
    }
}

static bool is_connected(struct load_conn *conn, uint32_t events)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (!conn->connected && getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error != 0)
        fail(conn, LOAD_CONNECT);
    else if (events & (EPOLLIN | EPOLLOUT))
        conn->connected = true;
    return conn->connected && !conn->closed;
}

static void on_event(void *arg, int fd, uint32_t events)
{
    struct load_conn *conn = arg;
    (void)fd;
    conn->in_event = true;
    if (is_connected(conn, events)) {
        flush(conn);
        receive(conn, events);
    }
    conn->in_event = false;
    if (conn->closed)
        free(conn);
}

int load_conn_open(const struct load_conn_config *config, struct load_conn **out)
{
    const int on = 1;
    struct load_conn *conn = calloc(1, sizeof(*conn));
    if (!conn)
        return ERR_NOMEM;
    conn->config = config;
    conn->fd = socket(config->address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int err = conn->fd < 0 ? err_from_errno(errno) : ERR_OK;
    if (err == ERR_OK) {
        setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (connect(conn->fd, config->address, config->address_len) != 0 && errno != EINPROGRESS)
            err = err_from_errno(errno);
    }
    if (err == ERR_OK)
        err =
            loop_watch(config->loop, conn->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, on_event, conn, &conn->watch);
    if (err != ERR_OK)
        load_conn_close(conn);
    else
        *out = conn;
    return err;
}

void load_conn_close(struct load_conn *conn)
{
    loop_unwatch(conn->watch);
    if (conn->fd >= 0)
        close(conn->fd);
    conn->closed = true;
    if (!conn->in_event)
        free(conn);
}

void load_conn_send(struct load_conn *conn, const struct iovec *parts)
{
    memcpy(conn->parts, parts, sizeof(conn->parts));
    conn->busy = true;
    http_answer_start(&conn->answer);
    if (conn->connected)
        flush(conn);
}
