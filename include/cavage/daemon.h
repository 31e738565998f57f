/* SPDX-License-Identifier: MIT */
/* The skeleton that all daemons share: options, configuration, log, signals, operations listener, readiness, drain. */
#ifndef CAVAGE_DAEMON_H
#define CAVAGE_DAEMON_H

#include "cavage/conf.h"
#include "cavage/loop.h"
#include "cavage/metrics.h"

#include <stdatomic.h>
#include <stdbool.h>

struct daemon_life;

/* What a daemon's callbacks are handed. Owned by daemon_main. conf may be read by the loop's thread only, and strings of reloadable keys
 * only until the next reload: hand other threads copies. */
struct daemon {
    const struct daemon_spec *spec;
    const struct conf *conf;
    struct loop *loop;
    struct metrics *metrics;
    atomic_bool ready; /* what /readyz says */
    bool test_mode;    /* --test was given */
    void *state;       /* the daemon's own */
    const char *ops_url;
    char instance[64];        /* --instance NAME, else the program's name without "cavage-"; names the run file */
    struct daemon_life *life; /* daemon_main's own */
};

/* One program. start acquires everything, in order, and returns an enum err after logging why it failed; stop releases it, also after a
 * failed start (state may be NULL). */
struct daemon_spec {
    const char *program; /* "cavage-api" */
    const char *summary; /* one line for --help */
    const struct metric_def *metrics;
    size_t metric_count;
    /* When its default address is taken, and nobody configured another, the listener gets a free port of 127.0.0.1. */
    enum conf_id ops_listen;
    int (*start)(struct daemon *daemon);
    /* SIGTERM or SIGINT: begin to drain; call daemon_drained when done. ready is false already. A second signal stops at once. NULL when
     * there is nothing to drain. */
    void (*drain)(struct daemon *daemon);
    /* SIGHUP, with conf already reloaded; may be NULL. */
    void (*reload)(struct daemon *daemon);
    void (*stop)(struct daemon *daemon);
    void (*refresh)(
        struct daemon *daemon); /* set gauges before /metrics, on the listener's thread; called only between the
                                               * end of start and the beginning of stop; may be NULL */
    /* Extra members of the run file, without a comma at either end, as JSON text such as "\"listen\":\"127.0.0.1:8080\""; may be NULL. Called when ready. */
    void (*describe)(struct daemon *daemon, char *out, size_t size);
    /* Whether the daemon, which is started, can serve already; it sets `ready` itself from daemon_ready on. NULL: it can. */
    bool (*can_serve)(struct daemon *daemon);
};

/* The whole life of a daemon. Options: --config FILE (else CAVAGE_CONFIG, else none), --data DIR, --instance NAME, --test, --help,
 * --version. Options beat the environment, which beats the file. Returns the exit status: 0 stopped as asked, 1 failed, 2 usage or a
 * configuration that is refused. Sets no_new_privs, no core files, not dumpable; raises the limit of descriptors. Ignores SIGPIPE. Blocks
 * SIGTERM, SIGINT and SIGHUP: children have to reset their mask. Makes the data folder and the run folder, and refuses to run twice under one
 * instance name. Without --test it removes CAVAGE_TEST_* from the environment. */
int daemon_main(const struct daemon_spec *spec, int argc, char **argv);

/* Say that the daemon serves: sets ready (by can_serve), writes RUN_DIR/<instance>.json {"pid":…,"ops":"http://…",…}, logs event "ready". A run file that cannot be
 * written ends the daemon. Loop thread or start only. */
void daemon_ready(struct daemon *daemon);

/* Say that the drain could not finish what was in hand: once it is over, the exit status is 1. Loop thread only. */
void daemon_cut(struct daemon *daemon);

/* Say that the drain is complete: the loop ends. Loop thread only. */
void daemon_drained(struct daemon *daemon);

#endif
