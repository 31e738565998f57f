/* SPDX-License-Identifier: MIT */
/* What keeps a converter in: a user of no rights, namespaces and a root of its own with nothing in them, and a filter of system calls.
 *
 * The zygote prepares it once and enters the namespaces; the process in between gives its child a process namespace; the converter closes
 * the rest behind itself. What this kernel or this user cannot have is left out, and told. */
#ifndef CAVAGE_WORKER_SANDBOX_H
#define CAVAGE_WORKER_SANDBOX_H

#include <stddef.h>
#include <stdint.h>

enum sandbox_part {
    SANDBOX_USER,     /* user namespace */
    SANDBOX_IDENTITY, /* not root */
    SANDBOX_MOUNTS,
    SANDBOX_NETWORK,
    SANDBOX_IPC,
    SANDBOX_PROCESSES, /* process namespace, and a bound of the threads */
    SANDBOX_ROOT,      /* an empty root folder */
    SANDBOX_FILTER,    /* system calls */
    SANDBOX_PARTS
};

enum { SANDBOX_MISSING_SIZE = 256 };

struct sandbox {
    uint32_t missing; /* 1 << enum sandbox_part for each part that could not be had */
    unsigned threads_max;
    int null; /* /dev/null: there is none inside */
    size_t filter_len;
    void *filter; /* NULL: none */
};

/* In the zygote, with a single thread, when nothing is left to be opened: make the filter, enter the namespaces and the empty root. Under a
 * sanitizer, whose runtime needs files and threads, everything is missing. */
void sandbox_enter(struct sandbox *s);
/* In the process in between: the next child gets a process namespace. */
void sandbox_fork(struct sandbox *s);
/* In the converter, at last: give up all capabilities and every system call that a conversion does not need. ERR_DENIED: it must not go on. */
int sandbox_seal(const struct sandbox *s);

/* The missing parts in words, with commas; empty when none is. */
const char *sandbox_missing(uint32_t missing, char out[SANDBOX_MISSING_SIZE]);

#endif
