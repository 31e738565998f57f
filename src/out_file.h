/* SPDX-License-Identifier: MIT */
/* A file that is written aside, with its digest, and appears whole or not at all. */
#ifndef CAVAGE_OUT_FILE_H
#define CAVAGE_OUT_FILE_H

#include "cavage/digest.h"
#include "cavage/fs.h"

#include <stdint.h>

struct out_file {
    char path[FS_PATH_SIZE];
    char aside[FS_PATH_SIZE];
    int fd;
    uint64_t bytes;
    struct digest state;
    char digest[DIGEST_HEX_SIZE]; /* after out_commit */
    uint8_t *buf;
    size_t used;
    int err; /* the first error; everything after it does nothing, and out_commit returns it */
};

/* Begin `name` below dir, with the folders above it. Always call out_abort or out_commit after it, whatever it returns. */
int out_open(struct out_file *out, const char *dir, const char *name);
void out_write(struct out_file *out, const void *data, size_t len);
/* Sync, rename, sync the folder. */
int out_commit(struct out_file *out);
void out_abort(struct out_file *out);

#endif
