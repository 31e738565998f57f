/* SPDX-License-Identifier: MIT */
/* Messages of exact size with descriptors over a socket pair. */
#include "control.h"

#include "cavage/err.h"
#include "cavage/seqpacket.h"

#include <unistd.h>

_Static_assert((int)CONTROL_FDS_MAX <= (int)SEQPACKET_FDS_MAX, "a message carries what a converter needs");

int control_send(int fd, const void *message, size_t len, const int *fds, size_t fd_count)
{
    return seqpacket_send(fd, message, len, fds, fd_count);
}

int control_recv(int fd, void *message, size_t len, int flags, int *fds, size_t max_fds, size_t *fd_count)
{
    size_t got;
    int err = seqpacket_recv(fd, message, len, flags, &got, fds, max_fds, fd_count);
    if (err || got == len)
        return err;
    while (*fd_count > 0)
        close(fds[--*fd_count]);
    return ERR_INVALID;
}
