/* SPDX-License-Identifier: MIT */
/* Unix sockets that keep the bounds of messages and carry descriptors. */
#include "cavage/seqpacket.h"

#include "cavage/err.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

union ancillary {
    char bytes[CMSG_SPACE(sizeof(int) * SEQPACKET_FDS_MAX)];
    struct cmsghdr align;
};

static int err_of_socket(void)
{
    switch (errno) {
    case EAGAIN:
        return ERR_AGAIN;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
        return ERR_CLOSED;
    case ENOENT:
    case ECONNREFUSED:
        return ERR_NOTFOUND;
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    case EMFILE:
    case ENFILE:
        return ERR_FULL;
    default:
        return ERR_IO;
    }
}

/* A socket, and the address that it is to be bound or connected to. */
static int socket_for(const char *path, struct sockaddr_un *address, int *fd)
{
    size_t len = strlen(path);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len == 0 || len >= sizeof(address->sun_path))
        return ERR_RANGE;
    memcpy(address->sun_path, path, len + 1);
    *fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return *fd < 0 ? err_of_socket() : ERR_OK;
}

int seqpacket_listen(const char *path, int backlog, int *fd)
{
    struct sockaddr_un address;
    int err = socket_for(path, &address, fd);
    if (err)
        return err;
    unlink(path);
    if (bind(*fd, (const struct sockaddr *)&address, sizeof(address)) || chmod(path, S_IRUSR | S_IWUSR) ||
        listen(*fd, backlog)) {
        err = err_of_socket();
        close(*fd);
    }
    return err;
}

int seqpacket_accept(int listener, int *fd)
{
    do
        /* cppcheck-suppress nullPointer ; who it is tells seqpacket_is_own */
        *fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    while (*fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    return *fd < 0 ? err_of_socket() : ERR_OK;
}

int seqpacket_connect(const char *path, int *fd)
{
    struct sockaddr_un address;
    int err = socket_for(path, &address, fd);
    if (err)
        return err;
    /* A unix socket is connected at once or not at all. */
    if (connect(*fd, (const struct sockaddr *)&address, sizeof(address))) {
        err = err_of_socket();
        close(*fd);
    }
    return err;
}

bool seqpacket_is_own(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && len == sizeof(peer) && peer.uid == geteuid();
}

int seqpacket_send(int fd, const void *message, size_t len, const int *fds, size_t fd_count)
{
    /* sendmsg reads it and no more, though its type does not say so. */
    union {
        const void *in;
        void *out;
    } data = {.in = message};
    if (fd_count > SEQPACKET_FDS_MAX)
        return ERR_RANGE;
    struct iovec iov = {.iov_base = data.out, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    union ancillary ancillary;
    if (fd_count > 0) {
        memset(&ancillary, 0, sizeof(ancillary));
        msg.msg_control = ancillary.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? err_of_socket() : ERR_OK;
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

/* Collect the descriptors of a message; those beyond max are closed and make it invalid. */
static int take_fds(struct msghdr *msg, int *fds, size_t max, size_t *count)
{
    int err = ERR_OK;
    *count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int got;
            memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (*count < max) {
                fds[(*count)++] = got;
            } else {
                close(got);
                err = ERR_INVALID;
            }
        }
    }
    return err;
}

int seqpacket_recv(int fd, void *message, size_t size, int flags, size_t *len, int *fds, size_t max_fds,
                   size_t *fd_count)
{
    struct iovec iov = {.iov_base = message, .iov_len = size};
    union ancillary ancillary;
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ancillary.bytes, .msg_controllen = sizeof(ancillary.bytes)};
    ssize_t n;
    do
        n = recvmsg(fd, &msg, flags | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_of_socket();
    int err = take_fds(&msg, fds, max_fds, fd_count);
    if (n == 0)
        err = ERR_CLOSED;
    else if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        err = ERR_INVALID;
    if (err) {
        close_all(fds, *fd_count);
        *fd_count = 0;
    }
    *len = (size_t)n;
    return err;
}
