/* SPDX-License-Identifier: MIT */
/* The supervisor: takes jobs from APIs, has converters do them, sends the results back. The callbacks of the worker's daemon_spec.
 *
 * In --test mode an input that begins or ends with "CVGTEST crash", "CVGTEST hang", "CVGTEST exit" or "CVGTEST babble" has its converter act that out. */
#ifndef CAVAGE_WORKER_SUPERVISOR_H
#define CAVAGE_WORKER_SUPERVISOR_H

#include "cavage/daemon.h"

int supervisor_start(struct daemon *daemon);
void supervisor_drain(struct daemon *daemon);
/* Read the cluster's keys again. */
void supervisor_reload(struct daemon *daemon);
void supervisor_stop(struct daemon *daemon);
void supervisor_describe(struct daemon *daemon, char *out, size_t size);

#endif
