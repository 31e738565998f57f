/* SPDX-License-Identifier: MIT */
/* Small files and folders, made so that a crash leaves the old or the new, never a half. */
#ifndef CAVAGE_FS_H
#define CAVAGE_FS_H

#include <stddef.h>
#include <sys/types.h>

enum { FS_PATH_SIZE = 4096 };

/* Join two path parts with one slash into out; an absolute `name` replaces `dir`. ERR_RANGE if it does not fit size. */
int fs_join(char *out, size_t size, const char *dir, const char *name);

/* Make a folder and those above it; folders that are made get `mode` less the umask. 0 if it is there already. */
int fs_mkdirs(const char *path, mode_t mode);

/* The same for the folder that holds path. */
int fs_mkdirs_above(const char *path, mode_t mode);

/* Make a folder of mode 0700, and those above it, if they are missing, and refuse (ERR_DENIED) one that others own or can enter. */
int fs_private_dir(const char *path);

/* Read a whole file of at most size - 1 bytes into buf, NUL-terminated; *len without the NUL. ERR_NOTFOUND, ERR_DENIED,
 * ERR_RANGE when it is longer, ERR_IO. */
int fs_read(const char *path, char *buf, size_t size, size_t *len);

/* The same for a secret: ERR_DENIED as well for a symbolic link, what is no plain file, and one that is not ours or open to others. What is left
 * in buf after a failure may be part of it. */
int fs_read_private(const char *path, char *buf, size_t size, size_t *len);

/* Write aside, fsync, rename over path, fsync the folder. The file gets `mode`. */
int fs_write_atomic(const char *path, const void *data, size_t len, mode_t mode);

/* fsync the folder that holds path, so that a rename or unlink in it lasts. */
int fs_sync_parent(const char *path);

/* Open (made if missing, 0600) and flock path exclusively without waiting; the descriptor, and every copy that a
 * forked child holds of it, holds the lock. ERR_EXISTS when another holds it. */
int fs_lock(const char *path, int *fd);

/* write(2) until all is written; ERR_IO with errno kept. */
int fs_write_all(int fd, const void *data, size_t len);

#endif
