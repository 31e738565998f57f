/* SPDX-License-Identifier: MIT */
/* Keeps the four daemons of one machine running, and stops them in the order that loses nothing. */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include "cavage/conf.h"
#include "cavage/loop.h"
#include "cli.h"

struct supervisor;

struct supervisor_spec {
    struct loop *loop;
    const struct conf *conf; /* for run files and drain times */
    const char *bin_dir;     /* where the programs are */
    char *const *options;    /* of every daemon, NULL-terminated: "--data", DIR … */
    char *const *env;
    int listen_fd; /* the API's listening socket, taken over; connections wait in it while the API is started again */
    /* All daemons are ready for the first time. */
    void (*serving)(void *arg);
    /* All are gone. CLI_OK after supervisor_drain; CLI_FAILED or CLI_USAGE when they could not be started, or were killed. */
    void (*ended)(void *arg, enum cli_status status);
    void *arg;
};

/* Everything in spec but listen_fd is borrowed until supervisor_stop. Takes listen_fd over, also on failure. */
int supervisor_start(const struct supervisor_spec *spec, struct supervisor **out);

/* Stop one daemon after the other: the API answers what is in, then worker, meter and authcache. Ends with `status`. */
void supervisor_drain(struct supervisor *supervisor, enum cli_status status);
/* Stop all at once, now. */
void supervisor_kill(struct supervisor *supervisor);
/* Have the daemons read their configuration again. */
void supervisor_reload(struct supervisor *supervisor);

/* After `ended`. */
void supervisor_stop(struct supervisor *supervisor);

/* The daemons' instance names in the order of their start, NULL-terminated. */
extern const char *const supervisor_instances[];

#endif
