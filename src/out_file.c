/* SPDX-License-Identifier: MIT */
/* Writes a file aside and gives it its name once it is on disk. */
#include "out_file.h"

#include "cavage/err.h"
#include "cavage/id.h"
#include "cavage/period.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_BYTES = 256 * 1024 };

int out_open(struct out_file *out, const char *dir, const char *name)
{
    memset(out, 0, sizeof *out);
    out->fd = -1;
    digest_start(&out->state);
    int err = fs_join(out->path, sizeof out->path, dir, name);
    if (!err && snprintf(out->aside, sizeof out->aside, "%s.new", out->path) >= (int)sizeof out->aside)
        err = ERR_RANGE;
    if (!err)
        err = hour_mkdirs(dir, out->path, 0750);
    if (!err) {
        out->buf = malloc(BUFFER_BYTES);
        err = out->buf ? ERR_OK : ERR_NOMEM;
    }
    if (!err) {
        out->fd = open(out->aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
        err = out->fd < 0 ? err_from_errno(errno) : ERR_OK;
    }
    out->err = err;
    return err;
}

static void flush(struct out_file *out)
{
    if (!out->err && out->used > 0)
        out->err = fs_write_all(out->fd, out->buf, out->used);
    out->used = 0;
}

void out_write(struct out_file *out, const void *data, size_t len)
{
    const uint8_t *p = data;
    if (out->err)
        return;
    digest_add(&out->state, data, len);
    out->bytes += len;
    while (len > 0) {
        size_t n = len < BUFFER_BYTES - out->used ? len : BUFFER_BYTES - out->used;
        memcpy(out->buf + out->used, p, n);
        out->used += n;
        p += n;
        len -= n;
        if (out->used == BUFFER_BYTES)
            flush(out);
    }
}

int out_commit(struct out_file *out)
{
    uint8_t digest[DIGEST_BYTES];
    flush(out);
    if (!out->err && fsync(out->fd) != 0)
        out->err = ERR_IO;
    if (!out->err && rename(out->aside, out->path) != 0)
        out->err = err_from_errno(errno);
    if (!out->err)
        out->err = fs_sync_parent(out->path);
    int err = out->err;
    if (!err) {
        digest_end(&out->state, digest);
        hex_encode(digest, sizeof digest, out->digest);
        out->aside[0] = '\0';
    }
    out_abort(out);
    return err;
}

void out_abort(struct out_file *out)
{
    if (out->fd >= 0)
        close(out->fd);
    out->fd = -1;
    free(out->buf);
    out->buf = NULL;
    if (out->aside[0] != '\0')
        unlink(out->aside);
    out->aside[0] = '\0';
}
