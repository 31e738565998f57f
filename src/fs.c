/* SPDX-License-Identifier: MIT */
/* Small files and folders that survive a crash whole. */
#include "cavage/fs.h"

#include "cavage/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Close a descriptor on the way out without losing the errno that matters. */
static void close_quietly(int fd)
{
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
}

int fs_join(char *out, size_t size, const char *dir, const char *name)
{
    size_t dir_len = strlen(dir);
    int len;
    if (name[0] == '/' || dir_len == 0)
        len = snprintf(out, size, "%s", name);
    else
        len = snprintf(out, size, "%s%s%s", dir, dir[dir_len - 1] == '/' ? "" : "/", name);
    return len >= 0 && (size_t)len < size ? ERR_OK : ERR_RANGE;
}

static int make_dir(const char *path, mode_t mode)
{
    if (mkdir(path, mode) == 0)
        return ERR_OK;
    int err = err_from_errno(errno);
    struct stat st;
    /* A read-only or forbidden parent answers so too when the folder is there already. */
    if (stat(path, &st) != 0)
        return err;
    return S_ISDIR(st.st_mode) ? ERR_OK : ERR_EXISTS;
}

int fs_mkdirs(const char *path, mode_t mode)
{
    char part[FS_PATH_SIZE];
    size_t len = strlen(path);
    if (len == 0)
        return ERR_INVALID;
    if (len >= sizeof(part))
        return ERR_RANGE;
    memcpy(part, path, len + 1);
    for (size_t i = 1; i < len; i++) {
        if (part[i] != '/' || part[i - 1] == '/')
            continue;
        part[i] = '\0';
        int err = make_dir(part, mode);
        part[i] = '/';
        if (err != ERR_OK)
            return err;
    }
    return make_dir(part, mode);
}

int fs_mkdirs_above(const char *path, mode_t mode)
{
    char dir[FS_PATH_SIZE];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    if (len == 0)
        return ERR_OK;
    if (len >= sizeof(dir))
        return ERR_RANGE;
    memcpy(dir, path, len);
    dir[len] = '\0';
    return fs_mkdirs(dir, mode);
}

int fs_private_dir(const char *path)
{
    int err = fs_mkdirs(path, 0700);
    if (err != ERR_OK)
        return err;
    struct stat st;
    if (stat(path, &st) != 0)
        return err_from_errno(errno);
    if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return ERR_DENIED;
    return ERR_OK;
}

/* Read to the end, NUL-terminate, close. */
static int read_whole(int fd, char *buf, size_t size, size_t *len)
{
    int err = ERR_OK;
    size_t used = 0;
    for (;;) {
        /* The last byte is for the NUL; filling it shows that the file is too long. */
        ssize_t got = read(fd, buf + used, size - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            err = ERR_IO;
        if (got <= 0)
            break;
        used += (size_t)got;
        if (used == size) {
            err = ERR_RANGE;
            break;
        }
    }
    close_quietly(fd);
    if (err != ERR_OK)
        return err;
    buf[used] = '\0';
    *len = used;
    return ERR_OK;
}

int fs_read(const char *path, char *buf, size_t size, size_t *len)
{
    if (size == 0)
        return ERR_RANGE;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? err_from_errno(errno) : read_whole(fd, buf, size, len);
}

int fs_read_private(const char *path, char *buf, size_t size, size_t *len)
{
    struct stat st;
    if (size == 0)
        return ERR_RANGE;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ELOOP ? ERR_DENIED : err_from_errno(errno);
    int err = fstat(fd, &st) == 0 ? ERR_OK : ERR_IO;
    if (err == ERR_OK && (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0))
        err = ERR_DENIED;
    if (err == ERR_OK)
        return read_whole(fd, buf, size, len);
    close_quietly(fd);
    return err;
}

int fs_write_all(int fd, const void *data, size_t len)
{
    const char *next = data;
    while (len > 0) {
        ssize_t put = write(fd, next, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return ERR_IO;
        next += put;
        len -= (size_t)put;
    }
    return ERR_OK;
}

int fs_sync_parent(const char *path)
{
    char dir[FS_PATH_SIZE];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    if (len >= sizeof(dir))
        return ERR_RANGE;
    memcpy(dir, path, len);
    dir[len] = '\0';
    if (len == 0)
        memcpy(dir, slash == NULL ? "." : "/", 2);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    int err = fsync(fd) == 0 ? ERR_OK : ERR_IO;
    close_quietly(fd);
    return err;
}

int fs_write_atomic(const char *path, const void *data, size_t len, mode_t mode)
{
    char aside[FS_PATH_SIZE];
    int need = snprintf(aside, sizeof(aside), "%s.XXXXXX", path);
    if (need < 0 || (size_t)need >= sizeof(aside))
        return ERR_RANGE;
    int fd = mkostemp(aside, O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    int err = fs_write_all(fd, data, len);
    if (err == ERR_OK && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
        err = ERR_IO;
    close_quietly(fd);
    if (err == ERR_OK && rename(aside, path) != 0)
        err = err_from_errno(errno);
    if (err == ERR_OK)
        return fs_sync_parent(path);
    int saved = errno;
    unlink(aside);
    errno = saved;
    return err;
}

int fs_lock(const char *path, int *fd)
{
    int opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (opened < 0)
        return err_from_errno(errno);
    int rc;
    do
        rc = flock(opened, LOCK_EX | LOCK_NB);
    while (rc != 0 && errno == EINTR);
    if (rc != 0) {
        int err = errno == EWOULDBLOCK ? ERR_EXISTS : ERR_IO;
        close_quietly(opened);
        return err;
    }
    *fd = opened;
    return ERR_OK;
}
