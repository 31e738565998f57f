/* SPDX-License-Identifier: MIT */
/* cavage-authcache: the identity store, its management API, and the writer of this host's auth cache. */
#include "admin.h"
#include "cache.h"
#include "cavage/clock.h"
#include "cavage/daemon.h"
#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/log.h"
#include "identity.h"

#include <stdlib.h>
#include <string.h>

enum { READERS_US = 5 * 1000 * 1000, LOG_AGAIN_US = 10 * 1000 * 1000 };

enum metric {
    METRIC_REVISION,
    METRIC_CACHE_REVISION,
    METRIC_CUSTOMERS,
    METRIC_KEYS,
    METRIC_LAG,
    METRIC_ADMIN_2XX,
    METRIC_ADMIN_4XX,
    METRIC_ADMIN_5XX,
    METRIC_FOLLOWED,
    METRIC_SNAPSHOTS,
    METRIC_FAILURES,
    METRIC_DEAD_READERS,
    METRIC_COUNT
};

#define ADMIN_HELP "Requests to the management API, by class of status."
#define SYNC_HELP "Times the cache was brought up to date after a change, by how."

static const struct metric_def metrics[METRIC_COUNT] = {
    [METRIC_REVISION] = {"cavage_identity_revision", "Revision of the identity store.", METRIC_GAUGE, NULL, NULL, 0},
    [METRIC_CACHE_REVISION] = {"cavage_authcache_revision", "Revision that the cache is a copy of.", METRIC_GAUGE, NULL,
                               NULL, 0},
    [METRIC_CUSTOMERS] = {"cavage_identity_customers", "Customers in the identity store.", METRIC_GAUGE, NULL, NULL, 0},
    [METRIC_KEYS] = {"cavage_identity_keys", "Keys in the identity store.", METRIC_GAUGE, NULL, NULL, 0},
    [METRIC_LAG] = {"cavage_authcache_lag_seconds", "Time since the cache last agreed with the identity store.",
                    METRIC_GAUGE_US, NULL, NULL, 0},
    [METRIC_ADMIN_2XX] = {"cavage_admin_requests_total", ADMIN_HELP, METRIC_COUNTER, "status=\"2xx\"", NULL, 0},
    [METRIC_ADMIN_4XX] = {"cavage_admin_requests_total", ADMIN_HELP, METRIC_COUNTER, "status=\"4xx\"", NULL, 0},
    [METRIC_ADMIN_5XX] = {"cavage_admin_requests_total", ADMIN_HELP, METRIC_COUNTER, "status=\"5xx\"", NULL, 0},
    [METRIC_FOLLOWED] = {"cavage_authcache_syncs_total", SYNC_HELP, METRIC_COUNTER, "how=\"changes\"", NULL, 0},
    [METRIC_SNAPSHOTS] = {"cavage_authcache_syncs_total", SYNC_HELP, METRIC_COUNTER, "how=\"snapshot\"", NULL, 0},
    [METRIC_FAILURES] = {"cavage_authcache_sync_failures_total", "Times the cache could not be brought up to date.",
                         METRIC_COUNTER, NULL, NULL, 0},
    [METRIC_DEAD_READERS] = {"cavage_authcache_dead_readers_total", "Reader slots of dead processes that were freed.",
                             METRIC_COUNTER, NULL, NULL, 0},
};

struct authcache {
    struct daemon *daemon;
    struct authority authority;
    struct admin *admin;
    struct loop_timer *heartbeat;
    int64_t heartbeat_us;
    int64_t readers_at_us;
    int64_t failure_log_at_us; /* a lasting failure is logged now and then, not at each heartbeat */
    _Atomic int64_t synced_us;
};

/* ---- Running ---- */

static void update_metrics(struct authcache *a)
{
    static const struct {
        enum cache_step step;
        enum metric metric;
    } counters[] = {{CACHE_FOLLOWED, METRIC_FOLLOWED}, {CACHE_SNAPSHOT, METRIC_SNAPSHOTS}};
    struct metrics *m = a->daemon->metrics;
    struct identity_status status;
    struct auth_head head;

    if (identity_status(a->authority.identity, &status) == 0) {
        metrics_set(m, METRIC_REVISION, (int64_t)status.revision);
        metrics_set(m, METRIC_CUSTOMERS, (int64_t)status.customers);
        metrics_set(m, METRIC_KEYS, (int64_t)status.keys);
    }
    if (cache_head(a->authority.cache, &head) == 0) {
        metrics_set(m, METRIC_CACHE_REVISION, (int64_t)head.revision);
        a->synced_us = head.synced_us;
    }
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        uint64_t *count = &a->authority.steps[counters[i].step];
        metrics_add(m, counters[i].metric, (int64_t)*count);
        *count = 0;
    }
}

static int sync(struct authcache *a)
{
    int64_t now_us = clock_monotonic_us();

    int err = authority_sync(&a->authority, clock_wall_us());
    if (err == 0)
        return 0;
    metrics_add(a->daemon->metrics, METRIC_FAILURES, 1);
    if (now_us >= a->failure_log_at_us) {
        log_error("cache_sync_failed", "the auth cache cannot be brought up to date", LOG_S("error", err_text(err)));
        a->failure_log_at_us = now_us + LOG_AGAIN_US;
    }
    return err;
}

static void on_heartbeat(void *arg)
{
    struct authcache *a = arg;
    int64_t now_us = clock_monotonic_us();
    int cleared;

    (void)sync(a);
    update_metrics(a);
    if (now_us >= a->readers_at_us) {
        a->readers_at_us = now_us + READERS_US;
        if (cache_check_readers(a->authority.cache, &cleared) == 0)
            metrics_add(a->daemon->metrics, METRIC_DEAD_READERS, cleared);
    }
    loop_timer_at(a->heartbeat, now_us + a->heartbeat_us);
}

static void on_admin_done(void *arg, const char *method, const char *path, unsigned status)
{
    struct authcache *a = arg;
    enum metric class = status < 400 ? METRIC_ADMIN_2XX : status < 500 ? METRIC_ADMIN_4XX : METRIC_ADMIN_5XX;

    metrics_add(a->daemon->metrics, class, 1);
    if (strcmp(method, "GET") != 0)
        log_info("admin_request", "the management API was asked for a change", LOG_S("method", method),
                 LOG_S("path", path), LOG_U("status", status));
}

/* ---- Starting ---- */

static int fail(const char *what, const char *path, int err)
{
    log_error("start_failed", what, LOG_S("path", path), LOG_S("error", err_text(err)));
    return err;
}

/* The pepper belongs to the store: with another one no key would work, so none is made for a store that has one. */
static int load_pepper(struct authcache *a, const char *path)
{
    struct identity_status status;

    int err = identity_status(a->authority.identity, &status);
    if (err == 0)
        err = key_pepper_load(path, !status.has_pepper, &a->authority.pepper);
    if (err == ERR_NOTFOUND)
        return fail("the hash key file is missing, and the keys in the identity store need it: restore it", path, err);
    if (err != 0)
        return fail("the hash key file cannot be used: it must hold 64 hex digits and be readable by its owner only",
                    path, err);
    err = identity_bind_pepper(a->authority.identity, &a->authority.pepper);
    return err == 0
               ? 0
               : fail("the hash key file is not the one that the keys in the identity store were made with", path, err);
}

static int open_identity(struct authcache *a, const struct conf *conf)
{
    char path[FS_PATH_SIZE];

    int err = conf_path(conf, CONF_AUTHCACHE_IDENTITY_DIR, path, sizeof(path));
    if (err == 0)
        err = identity_open(path, (uint64_t)conf_int(conf, CONF_AUTHCACHE_MAP_BYTES), IDENTITY_LOG_MAX,
                            &a->authority.identity);
    if (err != 0)
        return fail("the identity store cannot be opened", path, err);
    err = conf_path(conf, CONF_COMMON_HASH_KEY_FILE, path, sizeof(path));
    return err == 0 ? load_pepper(a, path) : fail("the path of the hash key file is too long", "", err);
}

static int open_cache(struct authcache *a, const struct conf *conf)
{
    char path[FS_PATH_SIZE];
    bool rebuilt = false;

    int err = conf_path(conf, CONF_AUTHCACHE_CACHE_DIR, path, sizeof(path));
    if (err == 0)
        err = cache_open(path, (uint64_t)conf_int(conf, CONF_AUTHCACHE_MAP_BYTES), &rebuilt, &a->authority.cache);
    if (err != 0)
        return fail("the auth cache cannot be opened", path, err);
    if (rebuilt)
        log_warn("cache_rebuilt", "the auth cache was damaged and is made anew", LOG_S("path", path));
    return sync(a);
}

static int start_admin(struct authcache *a, struct daemon *daemon)
{
    char path[FS_PATH_SIZE];

    int err = conf_path(daemon->conf, CONF_AUTHCACHE_ADMIN_SOCKET, path, sizeof(path));
    if (err == 0)
        err = admin_start(
            &(struct admin_config){
                .socket = path, .loop = daemon->loop, .authority = &a->authority, .done = on_admin_done, .arg = a},
            &a->admin);
    return err == 0 ? 0 : fail("the management socket cannot be served", path, err);
}

static int start(struct daemon *daemon)
{
    struct authcache *a = calloc(1, sizeof(*a));
    if (!a)
        return ERR_NOMEM;
    daemon->state = a;
    a->daemon = daemon;
    a->heartbeat_us = conf_int(daemon->conf, CONF_AUTHCACHE_HEARTBEAT_MS) * 1000;
    int err = open_identity(a, daemon->conf);
    if (err == 0)
        err = open_cache(a, daemon->conf);
    if (err == 0)
        err = start_admin(a, daemon);
    if (err == 0)
        err = loop_timer_new(daemon->loop, on_heartbeat, a, &a->heartbeat);
    if (err != 0)
        return err;
    on_heartbeat(a);
    daemon_ready(daemon);
    return 0;
}

static void stop(struct daemon *daemon)
{
    struct authcache *a = daemon->state;

    if (!a)
        return;
    if (a->heartbeat)
        loop_timer_free(a->heartbeat);
    admin_stop(a->admin);
    cache_close(a->authority.cache);
    identity_close(a->authority.identity);
    key_pepper_wipe(&a->authority.pepper);
    free(a);
}

/* On the listener's thread: only what is atomic. */
static void refresh(struct daemon *daemon)
{
    struct authcache *a = daemon->state;
    int64_t lag_us = clock_wall_us() - a->synced_us;

    metrics_set(daemon->metrics, METRIC_LAG, lag_us > 0 ? lag_us : 0);
}

int main(int argc, char **argv)
{
    static const struct daemon_spec spec = {
        .program = "cavage-authcache",
        .summary = "Keeps customers and keys, and this host's copy of them.",
        .metrics = metrics,
        .metric_count = METRIC_COUNT,
        .ops_listen = CONF_AUTHCACHE_OPS_LISTEN,
        .start = start,
        .stop = stop,
        .refresh = refresh,
    };

    return daemon_main(&spec, argc, argv);
}
