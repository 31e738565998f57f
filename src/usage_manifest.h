/* SPDX-License-Identifier: MIT */
/* The manifest of a version of usage files: what it is made of, and what it holds. */
#ifndef CAVAGE_USAGE_MANIFEST_H
#define CAVAGE_USAGE_MANIFEST_H

#include "cavage/digest.h"
#include "cavage/fs.h"
#include "cavage/period.h"
#include "cavage/usage_report.h"

#include <stdint.h>

enum { MANIFEST_FILES_MAX = 3, MANIFEST_NAME_SIZE = 64 };

struct manifest_file {
    char name[MANIFEST_NAME_SIZE]; /* below the usage folder */
    uint64_t bytes;
    char digest[DIGEST_HEX_SIZE];
};

struct manifest {
    enum period period;
    int64_t start; /* hour */
    uint32_t version;
    struct manifest_file files[MANIFEST_FILES_MAX]; /* the CSV comes first */
    size_t file_count;
    uint64_t rows, records;
    struct usage_row totals;
    /* What it was made of. Equal inputs need no new version. */
    uint64_t ledger_bytes, ledger_batches; /* hours only */
    uint64_t parts;                        /* files that were rolled up */
    char inputs[DIGEST_HEX_SIZE];
};

/* Name below the usage folder, such as "hourly/2026/01/02/03.v1" for the period's files of a version, less what follows, for which
 * at least 16 bytes are left. */
void manifest_name(enum period period, int64_t start, uint32_t version, char out[MANIFEST_NAME_SIZE]);

/* The newest version of a period. ERR_NOTFOUND: none; ERR_CORRUPT: it does not parse. */
int manifest_newest(const char *usage_dir, enum period period, int64_t start, struct manifest *out);

/* What `inputs` of a rollup is that was made of these parts, in their order. */
void manifest_digest_parts(const struct manifest *parts, size_t count, char out[DIGEST_HEX_SIZE]);

/* Write it aside, sync, rename. */
int manifest_write(const char *usage_dir, const struct manifest *m);

#endif
