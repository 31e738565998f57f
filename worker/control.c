/* SPDX-License-Identifier: MIT */
/* Messages with descriptors over a socket pair. */
#include "control.h"

#include "cavage/err.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union ancillary {
    char bytes[CMSG_SPACE(sizeof(int) * CONTROL_FDS_MAX)];
    struct cmsghdr align;
};

static int err_of_socket(void)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return ERR_AGAIN;
    return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? ERR_CLOSED : ERR_IO;
}

int control_send(int fd, const void *message, size_t len, const int *fds, size_t fd_count)
{
    /* sendmsg reads it and no more, though its type does not say so. */
    union {
        const void *in;
        void *out;
    } data = {.in = message};
    if (fd_count > CONTROL_FDS_MAX)
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
    return n < 0 ? err_of_socket() : 0;
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

/* Collect the descriptors of a message; those beyond max are closed and make it invalid. */
static int take_fds(struct msghdr *msg, int *fds, size_t max, size_t *count)
{
    int err = 0;
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

int control_recv(int fd, void *message, size_t len, int flags, int *fds, size_t max_fds, size_t *fd_count)
{
    struct iovec iov = {.iov_base = message, .iov_len = len};
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
    else if ((size_t)n != len || msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        err = ERR_INVALID;
    if (err) {
        close_all(fds, *fd_count);
        *fd_count = 0;
    }
    return err;
}
