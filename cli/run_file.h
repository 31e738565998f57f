/* SPDX-License-Identifier: MIT */
/* The run files in which daemons that serve say where they do. */
#ifndef RUN_FILE_H
#define RUN_FILE_H

#include "cavage/conf.h"

#include <stdbool.h>
#include <sys/types.h>

/* What RUN_DIR/<instance>.json says. */
struct run_file {
    pid_t pid;
    char program[32]; /* "cavage-api" */
    char ops[128];    /* "http://127.0.0.1:9180"; empty when it has none */
    char listen[128]; /* the API's "127.0.0.1:8080"; empty for others */
};

/* ERR_NOTFOUND when there is none, ERR_CORRUPT, ERR_DENIED, ERR_IO. The process may be gone: see run_file_alive. */
int run_file_read(const struct conf *conf, const char *instance, struct run_file *out);

enum { RUN_FILE_NAME_SIZE = 64 };

/* The instances that have a run file, `cavage up` left out, in the order of the names of their files; at most `max` of them. Returns how many. */
size_t run_file_instances(const struct conf *conf, char (*names)[RUN_FILE_NAME_SIZE], size_t max);

/* True when the process it names exists and is a Cavage program. */
bool run_file_alive(const struct run_file *file);

/* The process that holds the lock of an instance in this run folder, from its start to its very end; 0: none does. */
pid_t run_file_holder(const struct conf *conf, const char *instance);

/* True when its operations listener says within a moment that it is ready. */
bool run_file_ready(const struct run_file *file);

#endif
