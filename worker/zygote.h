/* SPDX-License-Identifier: MIT */
/* The zygote: a process with a single thread and libvips warmed, from which converters are forked. */
#ifndef CAVAGE_WORKER_ZYGOTE_H
#define CAVAGE_WORKER_ZYGOTE_H

#include <stdbool.h>
#include <sys/types.h>

/* What main() runs when its first argument is ZYGOTE_OPTION; svg: there is a second, ZYGOTE_SVG, and SVG is taken. It serves the control socket at CONTROL_FD until the supervisor is gone. Returns the exit status. */
#define ZYGOTE_OPTION "--zygote"
#define ZYGOTE_SVG "svg"
int zygote_main(bool svg);

/* Start one by executing this program again, so that it can be done at any time, whatever threads the caller has. It inherits stdio and
 * its end of the control socket, and nothing else. *pidfd and *control (non-blocking) are the caller's. ERR_IO. */
int zygote_start(bool svg, pid_t *pid, int *pidfd, int *control);

#endif
