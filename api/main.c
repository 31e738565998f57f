/* SPDX-License-Identifier: MIT */
/* cavage-api: HTTP in, admission, staging, queue, dispatch, HTTP out, usage records. */
#include "admission.h"
#include "api.h"
#include "conn.h"
#include "drain.h"
#include "http.h"
#include "listener.h"
#include "metering.h"
#include "metrics.h"
#include "overload.h"
#include "pipeline.h"
#include "poisoned.h"
#include "ready.h"
#include "watchdog.h"

#include "cavage/cluster.h"
#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/log.h"
#include "cavage/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t us(const struct conf *conf, enum conf_id id)
{
    return conf_int(conf, id) * 1000;
}

static int read_settings(struct api *api)
{
    const struct conf *conf = api->daemon->conf;
    struct id key;
    api->settings = (struct settings){
        .request_deadline_us = us(conf, CONF_API_REQUEST_DEADLINE_MS),
        .keepalive_us = us(conf, CONF_API_KEEPALIVE_MS),
        .send_deadline_us = us(conf, CONF_API_SEND_DEADLINE_MS),
        .discard_us = us(conf, CONF_API_DISCARD_MS),
        .drain_us = us(conf, CONF_API_DRAIN_MS),
        .drain_delay_us = us(conf, CONF_API_DRAIN_DELAY_MS),
        .discard_bytes = (uint64_t)conf_int(conf, CONF_API_DISCARD_BYTES),
        .max_body_bytes = (uint64_t)conf_int(conf, CONF_API_MAX_BODY_BYTES),
        .max_connections = (size_t)conf_int(conf, CONF_API_MAX_CONNECTIONS),
        .max_queued = (size_t)conf_int(conf, CONF_QUEUE_MAX_JOBS),
        .threads = (unsigned)conf_int(conf, CONF_API_THREADS),
    };
    limits_read(conf, &api->settings.limits);
    api->settings.max_output_bytes = limits_most(&api->settings.limits, LIMIT_BYTES_OUT);
    id_random(&key);
    memcpy(api->customer_key, key.bytes, sizeof(api->customer_key));
    return digest_init();
}

/* A customer's part of the connections; one at least. */
static size_t share_of(size_t connections, unsigned percent)
{
    size_t share = connections * percent / 100;
    return share > 0 ? share : 1;
}

static int open_memory(struct api *api)
{
    const struct conf *conf = api->daemon->conf;
    struct extents_config config = {
        .budget_bytes = (size_t)conf_int(conf, CONF_STAGING_BUDGET_BYTES),
        .extent_bytes = (size_t)conf_int(conf, CONF_STAGING_EXTENT_BYTES),
        .customer_percent = (unsigned)conf_int(conf, CONF_STAGING_CUSTOMER_PERCENT),
    };
    int err = extents_new(&config, &api->extents);
    if (err)
        return err;
    /* What can never be staged is too large, whoever else is there. */
    if (api->settings.max_body_bytes > extents_customer_bytes(api->extents))
        api->settings.max_body_bytes = extents_customer_bytes(api->extents);
    atomic_store(&api->longest, api->settings.max_body_bytes);
    return 0;
}

static int open_connections(struct api *api)
{
    unsigned percent = (unsigned)conf_int(api->daemon->conf, CONF_STAGING_CUSTOMER_PERCENT);
    api->settings.customer_connections = share_of(api->settings.max_connections, percent);
    return conns_new(api->settings.max_connections, &api->conns);
}

static int open_admission(struct api *api)
{
    int err = overload_new(api, &api->overload);
    return err ? err : admission_new(api, &api->admission);
}

static int open_poisoned(struct api *api)
{
    const struct conf *conf = api->daemon->conf;
    return poisoned_new((size_t)conf_int(conf, CONF_API_POISON_ENTRIES), us(conf, CONF_API_POISON_MS), &api->poisoned);
}

static int open_auth(struct api *api)
{
    char dir[FS_PATH_SIZE];
    int err = conf_path(api->daemon->conf, CONF_AUTHCACHE_CACHE_DIR, dir, sizeof(dir));
    return err ? err : authdb_open_reader(dir, &api->authdb);
}

/* Not a matter of the configuration alone: only an API sends usage. */
static int check_acks(const char *meter, const char *told)
{
    bool tcp = strncmp(meter, "tcp://", strlen("tcp://")) == 0;
    if (tcp == (strncmp(told, "tcp://", strlen("tcp://")) == 0) && !(tcp && net_is_wildcard(told + strlen("tcp://"))))
        return 0;
    log_error("acks_unreachable",
              "the meter cannot send to usage.acks: give an address of its own kind that it reaches",
              LOG_S("meter", meter), LOG_S("acks", told));
    return ERR_INVALID;
}

static int open_spool(struct api *api)
{
    const struct conf *conf = api->daemon->conf;
    static const enum conf_id endpoints[] = {CONF_METER_LISTEN, CONF_USAGE_ACKS};
    char dir[FS_PATH_SIZE], meter[WIRE_ADDRESS_SIZE], acks[WIRE_ADDRESS_SIZE], told[WIRE_ADDRESS_SIZE];
    struct seal *seal = NULL;
    struct id boot;
    int err = conf_path(conf, CONF_USAGE_SPOOL_DIR, dir, sizeof(dir));
    if (!err)
        err = conf_endpoint(conf, CONF_METER_LISTEN, 0, meter, sizeof(meter));
    if (!err)
        err = conf_endpoint(conf, CONF_USAGE_ACKS, 0, acks, sizeof(acks));
    if (!err)
        err = conf_endpoint_told(conf, CONF_USAGE_ACKS, told, sizeof(told));
    if (!err)
        err = check_acks(meter, told);
    id_random(&boot);
    if (!err)
        err = cluster_open(conf, endpoints, sizeof(endpoints) / sizeof(endpoints[0]), &boot, &seal);
    struct spool_config config = {
        .dir = dir,
        .meter_address = meter,
        .ack_address = acks,
        .ack_told = told,
        .seal = seal,
        .max_bytes = (uint64_t)conf_int(conf, CONF_USAGE_SPOOL_MAX_BYTES),
        .batch_bytes = (uint32_t)conf_int(conf, CONF_USAGE_BATCH_BYTES),
        .batch_ms = (uint32_t)conf_int(conf, CONF_USAGE_BATCH_MS),
    };
    if (!err)
        err = spool_open(&config, &api->spool);
    return err ? err : metering_new(api, &api->metering);
}

static int open_listener(struct api *api)
{
    return listener_open(api, &api->listener);
}

static int start_pipeline(struct api *api)
{
    return pipeline_start(api, http_resume, &api->pipeline);
}

static int start_http(struct api *api)
{
    return http_start(api, &api->http);
}

static int start_timers(struct api *api)
{
    int err = drain_new(api, &api->drain);
    return err ? err : watchdog_start(api, &api->watchdog);
}

static int start_accepting(struct api *api)
{
    int err = listener_start(api->listener);
    if (!err)
        log_info("listening", "customers are served here", LOG_S("listen", listener_address(api->listener)));
    return err;
}

static int start(struct daemon *daemon)
{
    static const struct {
        const char *what;
        int (*open)(struct api *api);
    } steps[] = {
        {"settings", read_settings},
        {"staging memory", open_memory},
        {"connections", open_connections},
        {"admission", open_admission},
        {"memory of images", open_poisoned},
        {"auth cache", open_auth},
        {"listening socket", open_listener},
        {"usage spool", open_spool},
        {"pipeline", start_pipeline},
        {"HTTP threads", start_http},
        {"timers", start_timers},
        {"accept loop", start_accepting},
    };
    struct api *api = calloc(1, sizeof(*api));
    if (!api)
        return ERR_NOMEM;
    daemon->state = api;
    api->daemon = daemon;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        int err = steps[i].open(api);
        if (err) {
            log_error("start_failed", "cannot start", LOG_S("part", steps[i].what), LOG_S("error", err_text(err)));
            return err;
        }
    }
    ready_update(api);
    daemon_ready(daemon);
    return 0;
}

static void drain(struct daemon *daemon)
{
    struct api *api = daemon->state;
    drain_start(api->drain);
}

static void reload(struct daemon *daemon)
{
    struct api *api = daemon->state;
    struct seal_keys keys;
    pipeline_reload(api->pipeline);
    if (strstr(conf_str(daemon->conf, CONF_METER_LISTEN), "tcp://") && cluster_read(daemon->conf, &keys) == ERR_OK) {
        spool_set_keys(api->spool, &keys);
        seal_keys_wipe(&keys);
    }
}

static void stop(struct daemon *daemon)
{
    struct api *api = daemon->state;
    if (!api)
        return;
    atomic_store(&api->refusing, true);
    if (api->listener)
        listener_close(api->listener);
    if (api->http)
        drain_now(api);
    watchdog_stop(api->watchdog);
    drain_free(api->drain);
    http_stop(api->http);
    pipeline_stop(api->pipeline);
    listener_free(api->listener);
    metering_free(api->metering);
    spool_close(api->spool);
    authdb_close(api->authdb);
    admission_free(api->admission);
    overload_free(api->overload);
    poisoned_free(api->poisoned);
    conns_free(api->conns);
    extents_free(api->extents);
    key_pepper_wipe(&api->pepper);
    free(api);
    daemon->state = NULL;
}

static void describe(struct daemon *daemon, char *out, size_t size)
{
    struct api *api = daemon->state;
    const char *address = listener_address(api->listener);
    snprintf(out, size, "\"listen\":\"%s\",\"url\":\"http://%s\"", address, address);
}

static bool can_serve(struct daemon *daemon)
{
    return ready_problem(daemon->state) == NULL;
}

int main(int argc, char **argv)
{
    static const struct daemon_spec spec = {
        .program = "cavage-api",
        .summary = "Takes images over HTTP, has them resized by workers, and accounts for it.",
        .metrics = api_metric_defs,
        .metric_count = API_METRICS,
        .ops_listen = CONF_API_OPS_LISTEN,
        .start = start,
        .drain = drain,
        .reload = reload,
        .stop = stop,
        .describe = describe,
        .can_serve = can_serve,
    };
    return daemon_main(&spec, argc, argv);
}
