/* SPDX-License-Identifier: MIT */
/* The zygote: a process with a single thread and libvips warmed, from which converters are forked. */
#ifndef CAVAGE_WORKER_ZYGOTE_H
#define CAVAGE_WORKER_ZYGOTE_H

#include <sys/types.h>

/* What main() runs when its one argument is ZYGOTE_OPTION: serves the control socket at CONTROL_FD until the supervisor is gone. Returns the exit status. */
#define ZYGOTE_OPTION "--zygote"
int zygote_main(void);

/* Start one by executing this program again, so that it can be done at any time, whatever threads the caller has. It inherits stdio and
 * its end of the control socket, and nothing else. *pidfd and *control (non-blocking) are the caller's. ERR_IO. */
int zygote_start(pid_t *pid, int *pidfd, int *control);

#endif
