/* SPDX-License-Identifier: MIT */
/* A yardstick: a server that reads bodies into the staging arena, hands them on in messages over ipc, wipes them, and answers at once. So an image costs
 * a copy out of the socket, one into a message and one into another socket; the API saves the last two where its workers read the arena, and pays
 * for HTTP, dispatch, metering, and handing requests between threads.
 *
 *     relay DIR
 *
 * Prints its port; serves until its standard input ends. DIR is for its socket. */
#include "cavage/bus.h"
#include "cavage/err.h"
#include "cavage/extents.h"
#include "cavage/loop.h"
#include "cavage/net.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READ_BYTES = 16 * 1024, BODY_MAX = 1 << 20, STAGING_BYTES = 512 << 20, EXTENT_BYTES = 64 * 1024, BACKLOG = 512 };

struct relay {
    struct loop *loop;
    struct extents *extents;
    struct bus_push *push;
    int listen_fd;
    char buffer[READ_BYTES];
};

struct conn {
    struct relay *relay;
    struct loop_watch *watch;
    size_t left; /* of the body; 0: a head comes next */
    struct staged body;
};

static void close_conn(struct conn *conn, int fd)
{
    staged_release(conn->relay->extents, &conn->body);
    loop_unwatch(conn->watch);
    close(fd);
    free(conn);
}

/* Heads are taken to come in one piece, as those of one load tool do. */
static size_t read_head(struct conn *conn, const char *data, size_t len)
{
    static const char field[] = "Content-Length: ";
    const char *end = memmem(data, len, "\r\n\r\n", 4), *length = memmem(data, len, field, sizeof(field) - 1);
    if (!end || !length)
        return 0;
    conn->left = strtoul(length + sizeof(field) - 1, NULL, 10);
    return (size_t)(end + 4 - data);
}

static int hand_on(struct conn *conn, int fd)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    uint8_t *message = bus_alloc(conn->body.bytes);
    int err = message ? ERR_OK : ERR_NOMEM;
    if (err == ERR_OK) {
        staged_copy(conn->relay->extents, &conn->body, message);
        err = bus_send(conn->relay->push, message, conn->body.bytes);
        if (err != ERR_OK)
            bus_free(message);
    }
    staged_release(conn->relay->extents, &conn->body);
    return err == ERR_OK && write(fd, answer, sizeof(answer) - 1) < 0 ? ERR_IO : err;
}

static int take(struct conn *conn, int fd, const char *data, size_t len)
{
    size_t head = conn->left == 0 ? read_head(conn, data, len) : 0, body = len - head;
    if (conn->left == 0 || conn->left > BODY_MAX || body > conn->left)
        return ERR_INVALID;
    int err = staged_append(conn->relay->extents, &conn->body, data + head, body);
    conn->left -= body;
    return err == ERR_OK && conn->left == 0 ? hand_on(conn, fd) : err;
}

static void on_data(void *arg, int fd, uint32_t events)
{
    struct conn *conn = arg;
    (void)events;
    ssize_t n = READ_BYTES;
    while (n == READ_BYTES) {
        n = read(fd, conn->relay->buffer, READ_BYTES);
        if ((n < 0 && errno != EAGAIN) || n == 0 ||
            (n > 0 && take(conn, fd, conn->relay->buffer, (size_t)n) != ERR_OK)) {
            close_conn(conn, fd);
            return;
        }
    }
}

static void on_accept(void *arg, int fd, uint32_t events)
{
    struct relay *relay = arg;
    (void)events;
    /* cppcheck-suppress nullPointer ; nobody asks who it is */
    int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0)
        return;
    struct conn *conn = calloc(1, sizeof(*conn));
    if (!conn)
        exit(1);
    conn->relay = relay;
    conn->body.customer = 1;
    if (loop_watch(relay->loop, client, EPOLLIN, on_data, conn, &conn->watch) != ERR_OK)
        exit(1);
}

static void on_end(void *arg, int fd, uint32_t events)
{
    struct relay *relay = arg;
    (void)fd;
    (void)events;
    loop_stop(relay->loop);
}

/* What stands for a worker: takes messages, and does nothing. */
static void sink(const char *address)
{
    struct bus_pull *pull;
    uint8_t *data;
    size_t len;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (bus_pull_open(address, 2 * BODY_MAX, NULL, &pull) != ERR_OK)
        _exit(1);
    struct pollfd ready = {.fd = bus_pull_fd(pull), .events = POLLIN};
    while (poll(&ready, 1, -1) > 0)
        while (bus_recv(pull, &data, &len, NULL) == ERR_OK)
            bus_free(data);
    _exit(0);
}

static int start(struct relay *relay, const char *address)
{
    const struct extents_config config = {STAGING_BYTES, EXTENT_BYTES, 100};
    char bound[64];
    struct loop_watch *watch;
    int err = extents_new(&config, &relay->extents);
    if (err == ERR_OK)
        err = bus_push_open(address, NULL, &relay->push);
    for (int i = 0; err == ERR_OK && !bus_push_ready(relay->push); i++)
        err = i < 1000 && poll(NULL, 0, 5) == 0 ? ERR_OK : ERR_TIMEOUT;
    if (err == ERR_OK)
        err = net_listen("127.0.0.1:0", BACKLOG, &relay->listen_fd, bound, sizeof(bound));
    if (err == ERR_OK)
        err = loop_new(&relay->loop);
    if (err == ERR_OK)
        err = loop_watch(relay->loop, relay->listen_fd, EPOLLIN, on_accept, relay, &watch);
    if (err == ERR_OK)
        err = loop_watch(relay->loop, STDIN_FILENO, EPOLLIN, on_end, relay, &watch);
    if (err == ERR_OK) {
        printf("%s\n", bound);
        fflush(stdout);
    }
    return err;
}

int main(int argc, char **argv)
{
    static struct relay relay;
    char address[256];
    if (argc != 2) {
        fputs("usage: relay DIR\n", stderr);
        return 2;
    }
    snprintf(address, sizeof(address), "ipc://%s/relay.sock", argv[1]);
    signal(SIGPIPE, SIG_IGN);
    pid_t child = fork();
    if (child == 0)
        sink(address);
    int err = child > 0 ? start(&relay, address) : ERR_IO;
    if (err == ERR_OK)
        err = loop_run(relay.loop);
    else
        fprintf(stderr, "relay: %s\n", err_text(err));
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    return err == ERR_OK ? 0 : 1;
}
