/* SPDX-License-Identifier: MIT */
/* A cgroup (version 2) that bounds the memory of all converters together, where one may be made.
 *
 * Rules of the kernel (Documentation/admin-guide/cgroup-v2.rst, "Delegation" and "No Internal Process Constraint") and of systemd: only a
 * cgroup that was handed to us is touched, and one with processes in it cannot have bounded children. So the place for the converters' cgroup
 * is this process's own, when it is alone there and can step into a child, or else the one above, when that holds no process. */
#ifndef CAVAGE_WORKER_CGROUP_H
#define CAVAGE_WORKER_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup;

enum { CGROUP_WHY_SIZE = 160 };

/* Make the cgroup with memory.max = `bytes`, and remove those of workers that were killed. `root` is "" but for tests, which have a tree of files there.
 * ERR_NOTFOUND: this system has none with the memory controller; ERR_DENIED: none was handed to us; ERR_IO: the kernel refused. why: in words. What
 * was begun is undone then. */
int cgroup_open(const char *root, uint64_t bytes, struct cgroup **out, char why[CGROUP_WHY_SIZE]);
/* Step back and remove it; its processes have ended. NULL is fine. */
void cgroup_close(struct cgroup *cgroup);

/* Move a process into it; what that one forks is born there. It takes the kernel some milliseconds. ERR_IO. */
int cgroup_add(struct cgroup *cgroup, pid_t pid);

/* True once for each process of it that the kernel ended since the last call because the bound was reached. */
bool cgroup_take_kill(struct cgroup *cgroup);

/* Its folder, for the log. */
const char *cgroup_path(const struct cgroup *cgroup);

#endif
