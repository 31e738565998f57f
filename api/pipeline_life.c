/* SPDX-License-Identifier: MIT */
/* The pipeline's start, from configuration to watched sockets, and its stop. */
#include "pipeline_parts.h"

#include "cavage/cluster.h"
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int start_dispatch(struct pipeline *p)
{
    const struct conf *conf = p->api->daemon->conf;
    size_t max_jobs = conns_capacity(p->api->conns); /* a connection has one job at most */
    size_t max_queued = p->api->settings.max_queued;
    uint64_t random; /* a boot is random */
    memcpy(&random, &p->boot, sizeof(random));
    struct dispatch_config config = {
        .boot = p->boot,
        .random = random,
        .max_jobs = max_jobs,
        .max_queued = max_queued < max_jobs ? max_queued : max_jobs,
        .max_queued_per_customer = (size_t)conf_int(conf, CONF_QUEUE_CUSTOMER_MAX_JOBS),
        .fifo = strcmp(conf_str(conf, CONF_QUEUE_DISCIPLINE), "fifo") == 0,
        .large_percent = (unsigned)conf_int(conf, CONF_QUEUE_LARGE_PERCENT),
        .retry_percent = (unsigned)conf_int(conf, CONF_QUEUE_RETRY_PERCENT),
        .hedge_percent = (unsigned)conf_int(conf, CONF_QUEUE_HEDGE_PERCENT),
    };
    int err = jobs_new(max_jobs, &p->jobs);
    return err ? err : dispatch_new(&config, &p->dispatch);
}

static int start_seal(struct pipeline *p)
{
    static const enum conf_id endpoints[] = {CONF_API_WORKERS, CONF_API_RESULTS};
    return cluster_open(p->api->daemon->conf, endpoints, sizeof(endpoints) / sizeof(endpoints[0]), &p->boot, &p->seal);
}

static int start_results(struct pipeline *p)
{
    const struct conf *conf = p->api->daemon->conf;
    size_t max = p->api->settings.max_output_bytes + FRAME_PREAMBLE_BYTES + FRAME_HEADER_MAX;
    int err = conf_endpoint(conf, CONF_API_RESULTS, 0, p->results, sizeof(p->results));
    if (!err)
        err = conf_endpoint_told(conf, CONF_API_RESULTS, p->advertised, sizeof(p->advertised));
    if (!err)
        err = bus_pull_open(p->results, max, p->seal, &p->pull);
    if (err)
        log_error("results_failed", "cannot take results", LOG_S("address", p->results), LOG_S("error", err_text(err)));
    return err;
}

/* Workers reach the socket beside the results where these are ipc for both. Without it all works, at the cost of copies. */
static void start_lender(struct pipeline *p)
{
    char path[WIRE_ARENA_PATH_SIZE];
    const struct lender_config config = {
        .loop = p->loop,
        .metrics = p->api->daemon->metrics,
        .extents = p->api->extents,
        .boot = p->boot,
        .results = p->results,
        .loans_max = 2 * conns_capacity(p->api->conns), /* a job and its hedge */
    };
    if (!conf_int(p->api->daemon->conf, CONF_API_SHARE_STAGING) || !wire_arena_path(p->results, path) ||
        !wire_arena_path(p->advertised, path))
        return;
    int err = lender_start(&config, &p->lender);
    if (err)
        log_warn("arena_failed", "the staging arena cannot be lent to workers; images are sent to them instead",
                 LOG_S("error", err_text(err)));
}

static int start_events(struct pipeline *p)
{
    p->inbox_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->inbox_fd < 0)
        return ERR_IO;
    int err = loop_watch(p->loop, p->inbox_fd, EPOLLIN, pipeline_on_inbox, p, &p->inbox_watch);
    if (!err)
        err = loop_watch(p->loop, bus_pull_fd(p->pull), EPOLLIN, pipeline_on_message, p, &p->pull_watch);
    if (!err)
        err = loop_timer_new(p->loop, pipeline_on_tick, p, &p->tick);
    if (!err)
        err = loop_timer_new(p->loop, pipeline_on_poll, p, &p->poll);
    if (!err) {
        loop_timer_at(p->tick, dispatch_next_us(p->dispatch));
        loop_timer_at(p->poll, clock_monotonic_us());
    }
    return err;
}

int pipeline_start(struct api *api, pipeline_answer_fn answered, struct pipeline **out)
{
    struct pipeline *p = calloc(1, sizeof(*p));
    if (!p)
        return ERR_NOMEM;
    p->api = api;
    p->loop = api->daemon->loop;
    p->answered = answered;
    p->inbox_fd = -1;
    p->inbox_tail = &p->inbox;
    atomic_store(&p->stranded_us, clock_monotonic_us());
    pthread_mutex_init(&p->lock, NULL);
    id_random(&p->boot);

    int err = start_dispatch(p);
    if (!err)
        err = start_seal(p);
    if (!err)
        err = start_results(p);
    if (!err)
        start_lender(p);
    if (!err)
        err = pipeline_start_workers(p);
    if (!err)
        err = start_events(p);
    if (err) {
        pipeline_stop(p);
        return err;
    }
    *out = p;
    return 0;
}

void pipeline_stop(struct pipeline *p)
{
    if (!p)
        return;
    if (p->tick)
        loop_timer_free(p->tick);
    if (p->poll)
        loop_timer_free(p->poll);
    if (p->inbox_watch)
        loop_unwatch(p->inbox_watch);
    if (p->pull_watch)
        loop_unwatch(p->pull_watch);
    pipeline_stop_workers(p);
    lender_stop(p->lender);
    if (p->pull)
        bus_pull_close(p->pull);
    seal_free(p->seal);
    if (p->inbox_fd >= 0)
        close(p->inbox_fd);
    dispatch_free(p->dispatch);
    jobs_free(p->jobs);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
