/* SPDX-License-Identifier: MIT */
/* Texts of the error codes, and the mapping from errno. */
#include "cavage/err.h"

#include <errno.h>
#include <stddef.h>

static const char *const texts[] = {
    [0] = "ok",
    [-ERR_NOMEM] = "out of memory or of room in a bounded table",
    [-ERR_INVALID] = "malformed input",
    [-ERR_RANGE] = "out of range",
    [-ERR_NOTFOUND] = "not found",
    [-ERR_EXISTS] = "exists already",
    [-ERR_AGAIN] = "would block",
    [-ERR_IO] = "input/output error",
    [-ERR_CORRUPT] = "stored data is corrupt",
    [-ERR_CLOSED] = "closed",
    [-ERR_TIMEOUT] = "timed out",
    [-ERR_DENIED] = "permission denied",
    [-ERR_FULL] = "limit reached",
    [-ERR_VERSION] = "unknown version",
    [-ERR_INTERNAL] = "internal error",
};

static const struct {
    int errnum;
    enum err err;
} mapping[] = {
    {0, ERR_OK},
    {ENOMEM, ERR_NOMEM},
    {EINVAL, ERR_INVALID},
    {ERANGE, ERR_RANGE},
    {EOVERFLOW, ERR_RANGE},
    {ENAMETOOLONG, ERR_RANGE},
    {EMSGSIZE, ERR_RANGE},
    {ENOENT, ERR_NOTFOUND},
    {ENOTDIR, ERR_NOTFOUND},
    {ESRCH, ERR_NOTFOUND},
    {EEXIST, ERR_EXISTS},
    {EADDRINUSE, ERR_EXISTS},
    {EAGAIN, ERR_AGAIN},
    {EINTR, ERR_AGAIN},
    {EPIPE, ERR_CLOSED},
    {ECONNRESET, ERR_CLOSED},
    {ECONNREFUSED, ERR_CLOSED},
    {ENOTCONN, ERR_CLOSED},
    {EBADF, ERR_CLOSED},
    {ETIMEDOUT, ERR_TIMEOUT},
    {EACCES, ERR_DENIED},
    {EPERM, ERR_DENIED},
    {EROFS, ERR_DENIED},
    {ENOSPC, ERR_FULL},
    {EDQUOT, ERR_FULL},
    {EMFILE, ERR_FULL},
    {ENFILE, ERR_FULL},
    {EFBIG, ERR_FULL},
};

const char *err_text(int err)
{
    int count = (int)(sizeof(texts) / sizeof(texts[0]));
    if (err > 0 || err <= -count)
        return "unknown error";
    return texts[-err];
}

int err_from_errno(int errnum)
{
    for (size_t i = 0; i < sizeof(mapping) / sizeof(mapping[0]); i++)
        if (mapping[i].errnum == errnum)
            return mapping[i].err;
    return ERR_IO;
}
