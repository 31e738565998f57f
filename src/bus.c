/* SPDX-License-Identifier: MIT */
/* The only file that speaks to nanomsg: PULL sockets that bind, PUSH sockets that connect to one peer each. */
#include "cavage/bus.h"

#include "cavage/err.h"
#include "cavage/seal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nanomsg/nn.h>
#include <nanomsg/pipeline.h>
#include <nanomsg/tcp.h>

enum {
    RECONNECT_MS = 10,
    RECONNECT_MAX_MS = 100,
    /* So that a photo leaves in one go, and the next one can follow; with nanomsg's 128 KiB a second photo of 300 KB is refused for 0.3 ms.
     * The kernel takes at most net.core.wmem_max. What may wait there is bounded by credit. */
    SEND_BUFFER_BYTES = 4 * 1024 * 1024,
    IPC_PATH_SIZE = 100, /* with NUL; nanomsg aborts the process on paths of 107 bytes */
    REFUSED_MAX = 64     /* messages dropped in one call of bus_recv */
};

struct bus_pull {
    int socket;
    int fd;
    struct seal *seal; /* NULL: ipc */
};

struct bus_push {
    int socket;
    int fd;
    struct seal *seal; /* NULL: ipc */
    struct id to;
};

static int err_from_nanomsg(void)
{
    switch (nn_errno()) {
    case EAGAIN:
    case EINTR:
        return ERR_AGAIN;
    case EADDRINUSE:
        return ERR_EXISTS;
    case EACCES:
        return ERR_DENIED;
    case ENOMEM:
        return ERR_NOMEM;
    case EMFILE:
        return ERR_FULL;
    case EINVAL:
    case EPROTONOSUPPORT:
        return ERR_INVALID;
    case ENAMETOOLONG:
        return ERR_RANGE;
    case ENODEV:
    case EADDRNOTAVAIL:
        return ERR_NOTFOUND;
    case EBADF:
    case ETERM:
        return ERR_CLOSED;
    default:
        return ERR_IO;
    }
}

static const char ipc[] = "ipc://", tcp[] = "tcp://";

static bool begins(const char *address, const char *with)
{
    return strncmp(address, with, strlen(with)) == 0;
}

/* *path gets the file of an ipc address, NULL for tcp. Nothing goes over tcp unsealed. */
static int address_check(const char *address, const struct seal *seal, const char **path)
{
    *path = NULL;
    if (begins(address, tcp)) {
        if (!seal)
            return ERR_DENIED;
        return strlen(address) < NN_SOCKADDR_MAX ? ERR_OK : ERR_RANGE;
    }
    if (!begins(address, ipc))
        return ERR_INVALID;
    *path = address + sizeof ipc - 1;
    size_t len = strlen(*path);
    if (len == 0)
        return ERR_INVALID;
    return len < IPC_PATH_SIZE ? ERR_OK : ERR_RANGE;
}

/* A malformed first byte on an ipc socket aborts the process, so nobody else may reach one. */
static int folder_check(const char *path)
{
    char folder[IPC_PATH_SIZE] = ".";
    const char *slash = strrchr(path, '/');
    struct stat st;

    if (slash) {
        size_t len = slash == path ? 1 : (size_t)(slash - path);
        memcpy(folder, path, len);
        folder[len] = '\0';
    }
    if (stat(folder, &st) != 0)
        return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return ERR_DENIED;
    return ERR_OK;
}

static int set_int(int socket, int level, int option, int value)
{
    return nn_setsockopt(socket, level, option, &value, sizeof value) == 0 ? ERR_OK : err_from_nanomsg();
}

static int get_fd(int socket, int option, int *fd)
{
    size_t len = sizeof *fd;
    return nn_getsockopt(socket, NN_SOL_SOCKET, option, fd, &len) == 0 ? ERR_OK : err_from_nanomsg();
}

/* What tcp needs beside the defaults: no delay, and IPv6 for an address that is one. Where the kernel has no IPv6 the rest works. */
static int set_tcp(int socket, const char *address)
{
    int err = set_int(socket, NN_TCP, NN_TCP_NODELAY, 1);
    if (!err && strncmp(address, "tcp://[", strlen("tcp://[")) == 0)
        err = set_int(socket, NN_SOL_SOCKET, NN_IPV4ONLY, 0);
    return err;
}

int bus_pull_open(const char *address, size_t max_bytes, struct seal *seal, struct bus_pull **out)
{
    const char *path;
    int err = address_check(address, seal, &path);
    if (err == ERR_OK && path)
        err = folder_check(path);
    if (err)
        return err;
    if (max_bytes == 0 || max_bytes > INT_MAX - SEAL_BYTES)
        return ERR_RANGE;

    struct bus_pull *pull = malloc(sizeof *pull);
    if (!pull)
        return ERR_NOMEM;
    pull->socket = nn_socket(AF_SP, NN_PULL);
    if (pull->socket < 0) {
        err = err_from_nanomsg();
        free(pull);
        return err;
    }
    pull->seal = path ? NULL : seal;
    err = set_int(pull->socket, NN_SOL_SOCKET, NN_RCVMAXSIZE, (int)max_bytes + (path ? 0 : SEAL_BYTES));
    if (!err)
        err = set_tcp(pull->socket, address);
    if (!err)
        err = get_fd(pull->socket, NN_RCVFD, &pull->fd);
    if (!err && nn_bind(pull->socket, address) < 0)
        err = err_from_nanomsg();
    if (err) {
        bus_pull_close(pull);
        return err;
    }
    *out = pull;
    return ERR_OK;
}

void bus_pull_close(struct bus_pull *pull)
{
    if (!pull)
        return;
    nn_close(pull->socket);
    free(pull);
}

int bus_pull_fd(const struct bus_pull *pull)
{
    return pull->fd;
}

static int take(struct bus_pull *pull, uint8_t **data, size_t *len)
{
    void *message = NULL;
    int n = nn_recv(pull->socket, (void *)&message, NN_MSG, NN_DONTWAIT);
    if (n < 0)
        return err_from_nanomsg();
    *data = message;
    *len = (size_t)n;
    return ERR_OK;
}

int bus_recv(struct bus_pull *pull, uint8_t **data, size_t *len, struct bus_from *from)
{
    struct bus_from sender = {.sealed = pull->seal != NULL};

    for (int i = 0; i < REFUSED_MAX; i++) {
        int err = take(pull, data, len);
        if (err)
            return err;
        if (!pull->seal || seal_unwrap(pull->seal, *data, len, &sender.boot, &sender.addressed) == SEAL_OPENED) {
            if (from)
                *from = sender;
            return ERR_OK;
        }
        bus_free(*data);
    }
    return ERR_AGAIN;
}

bool bus_may_answer(const struct bus_from *from, const char *address)
{
    return begins(address, from->sealed ? tcp : ipc);
}

int bus_push_open(const char *address, struct seal *seal, struct bus_push **out)
{
    const char *path;
    int err = address_check(address, seal, &path);
    if (err)
        return err;

    struct bus_push *push = calloc(1, sizeof *push);
    if (!push)
        return ERR_NOMEM;
    push->seal = path ? NULL : seal;
    push->socket = nn_socket(AF_SP, NN_PUSH);
    if (push->socket < 0) {
        err = err_from_nanomsg();
        free(push);
        return err;
    }
    err = set_int(push->socket, NN_SOL_SOCKET, NN_RECONNECT_IVL, RECONNECT_MS);
    if (!err)
        err = set_int(push->socket, NN_SOL_SOCKET, NN_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
    if (!err)
        err = set_int(push->socket, NN_SOL_SOCKET, NN_SNDBUF, SEND_BUFFER_BYTES);
    if (!err)
        err = set_tcp(push->socket, address);
    if (!err)
        err = get_fd(push->socket, NN_SNDFD, &push->fd);
    if (!err && nn_connect(push->socket, address) < 0)
        err = err_from_nanomsg();
    if (err) {
        bus_push_close(push);
        return err;
    }
    *out = push;
    return ERR_OK;
}

void bus_push_close(struct bus_push *push)
{
    if (!push)
        return;
    nn_close(push->socket);
    free(push);
}

int bus_push_fd(const struct bus_push *push)
{
    return push->fd;
}

void bus_push_to(struct bus_push *push, const struct id *boot)
{
    push->to = *boot;
}

/* A sealed message cannot be given back as it was. If it is refused in spite of the look before, the connection broke in between, and with it
 * this message as any that was under way. */
static int send_sealed(struct bus_push *push, uint8_t *data, size_t len)
{
    void *message = data;
    if (!bus_push_ready(push))
        return ERR_AGAIN;
    int err = seal_wrap(push->seal, &push->to, data, len);
    if (err)
        return err;
    if (nn_send(push->socket, (void *)&message, NN_MSG, NN_DONTWAIT) < 0)
        bus_free(data);
    return ERR_OK;
}

int bus_send(struct bus_push *push, uint8_t *data, size_t len)
{
    if (push->seal)
        return send_sealed(push, data, len);
    /* To make a message shorter nanomsg only changes its size; it stays where it is. */
    void *message = nn_reallocmsg(data, len);
    if (message != data)
        return ERR_INTERNAL;
    if (nn_send(push->socket, (void *)&message, NN_MSG, NN_DONTWAIT) < 0)
        return err_from_nanomsg();
    return ERR_OK;
}

bool bus_push_connected(const struct bus_push *push)
{
    uint64_t n = nn_get_statistic(push->socket, NN_STAT_CURRENT_CONNECTIONS);
    return n != 0 && n != UINT64_MAX;
}

bool bus_push_ready(const struct bus_push *push)
{
    struct nn_pollfd poll = {.fd = push->socket, .events = NN_POLLOUT};
    return nn_poll(&poll, 1, 0) == 1;
}

void *bus_alloc(size_t size)
{
    return size <= SIZE_MAX - SEAL_BYTES ? nn_allocmsg(size + SEAL_BYTES, 0) : NULL;
}

void bus_free(void *data)
{
    if (data)
        nn_freemsg(data);
}
