/* SPDX-License-Identifier: MIT */
/* Starts daemons as child processes that never outlive this one. */
#ifndef CHILD_H
#define CHILD_H

#include <sys/types.h>

/* How to start one. All strings are borrowed for the call. */
struct child_spec {
    const char *path;
    char *const *argv;
    char *const *env;
    int listen_fd; /* handed over as descriptor 3 with LISTEN_FDS and LISTEN_PID; -1: none */
};

/* The environment for a child: `env` without the variables that `overrides` ("NAME=value", NULL-terminated) name, and those. One allocation
 * of pointers; the strings stay borrowed. Free with free. NULL when memory is short. */
char **child_env(char *const *env, char *const *overrides);

/* Start it with an own process group, stdin from /dev/null, stdout to our stderr; SIGTERM comes to it when the calling thread dies. *pidfd becomes
 * readable when it ended; reap with waitid. ERR_IO. A program that cannot be executed ends with status 127. */
int child_start(const struct child_spec *spec, pid_t *pid, int *pidfd);

#endif
