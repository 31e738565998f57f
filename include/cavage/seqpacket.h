/* SPDX-License-Identifier: MIT */
/* Messages with descriptors between processes of one host: AF_UNIX SOCK_SEQPACKET. */
#ifndef CAVAGE_SEQPACKET_H
#define CAVAGE_SEQPACKET_H

#include <stdbool.h>
#include <stddef.h>

enum { SEQPACKET_FDS_MAX = 3 };

/* Listen at a path, where a stale socket file is replaced: the caller knows that nobody else serves there. The file gets mode 0600; *fd is non-blocking and
 * close-on-exec. ERR_RANGE: the path is too long (108 bytes with its NUL); ERR_DENIED, ERR_IO. */
int seqpacket_listen(const char *path, int backlog, int *fd);
/* Take a connection without waiting; *fd as above. ERR_AGAIN: there is none; ERR_FULL: no descriptor is left; ERR_IO. */
int seqpacket_accept(int listener, int *fd);
/* Connect without waiting; *fd as above. ERR_RANGE, ERR_NOTFOUND: nobody listens there; ERR_AGAIN: too many wait to be taken; ERR_IO. */
int seqpacket_connect(const char *path, int *fd);
/* Whether the other end was made by a process of the same user, as it was then. */
bool seqpacket_is_own(int fd);

/* Send one message with up to SEQPACKET_FDS_MAX descriptors, without waiting. ERR_AGAIN, ERR_CLOSED, ERR_IO. */
int seqpacket_send(int fd, const void *message, size_t len, const int *fds, size_t fd_count);
/* Receive one message of 1 .. size bytes, and at most max_fds descriptors (close-on-exec; the caller's afterwards). ERR_AGAIN (flags with MSG_DONTWAIT),
 * ERR_CLOSED: the other end is gone; ERR_INVALID: a longer one, or with more descriptors, which are closed; ERR_IO. */
int seqpacket_recv(int fd, void *message, size_t size, int flags, size_t *len, int *fds, size_t max_fds,
                   size_t *fd_count);

#endif
