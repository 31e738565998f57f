/* SPDX-License-Identifier: MIT */
/* Where the sockets and run files of a system lie: below its data folder, or in a short private folder when that path is too long. */
#ifndef RUN_DIR_H
#define RUN_DIR_H

#include "cavage/conf.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Socket paths have to stay below this; 107 bytes and more abort a nanomsg process. */
enum { RUN_DIR_SOCKET_MAX = 100 };

/* The private folder's path for a data folder: "BASE/cavage-<uid>-<hash of data_dir>". Pure. ERR_RANGE if it does not fit size. */
int run_dir_name(const char *base, const char *data_dir, uid_t uid, char *out, size_t size);

/* True when the sockets of `conf` in its run folder have paths that are short enough. */
bool run_dir_fits(const struct conf *conf);

/* Take over the run folder that DATA/run.path records, unless the configuration names one. */
int run_dir_adopt(struct conf *conf, char *why, size_t size);

/* Make the run folder of `conf`, whose data folder exists and is absolute. When its path is too long: choose and make a private one,
 * record it in DATA/run.path and set it in conf. */
int run_dir_make(struct conf *conf, char *why, size_t size);

/* Remove a private run folder that was chosen here, and DATA/run.path, once nobody uses it any more; else they stay. Call it under the lock of
 * the data folder. */
void run_dir_remove(const struct conf *conf);

#endif
