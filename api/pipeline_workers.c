/* SPDX-License-Identifier: MIT */
/* Which workers there are: those of the configuration, and those behind its names, which come and go while requests run. */
#include "names.h"
#include "pipeline_parts.h"

#include "cavage/err.h"
#include "cavage/log.h"
#include "cavage/net.h"

#include <stdlib.h>
#include <string.h>

static const char tcp[] = "tcp://";

static bool is_name(const char *endpoint)
{
    return strncmp(endpoint, tcp, strlen(tcp)) == 0 && net_check(endpoint + strlen(tcp)) != ERR_OK;
}

/* ---- Places ---- */

static struct place *place_of(struct pipeline *p, const char *address)
{
    for (size_t i = 0; i < p->place_count; i++)
        if (strcmp(p->places[i].address, address) == 0)
            return &p->places[i];
    return NULL;
}

/* A place for an address that has none: a new one, or else the one that is closed longest. */
static struct place *place_make(struct pipeline *p, int64_t now_us, const char *address)
{
    struct place *place = NULL;
    size_t index;
    if (dispatch_peer_add(p->dispatch, &index) == 0) {
        place = &p->places[p->place_count++];
    } else {
        for (size_t i = 0; i < p->place_count; i++)
            if (!p->places[i].peer && !p->places[i].listed && (!place || p->places[i].closed_us < place->closed_us))
                place = &p->places[i];
        if (!place)
            return NULL;
        dispatch_peer_reuse(p->dispatch, now_us, (size_t)(place - p->places));
    }
    *place = (struct place){0};
    memcpy(place->address, address, strlen(address) + 1);
    return place;
}

static void place_close(struct pipeline *p, int64_t now_us, struct place *place)
{
    dispatch_peer_down(p->dispatch, now_us, (size_t)(place - p->places));
    peer_close(place->peer);
    place->peer = NULL;
    place->closed_us = now_us;
    log_info("worker_left", "a worker is no longer listed", LOG_S("address", place->address));
}

/* One that stays closed is logged when it comes to that, and not at each try. */
static int place_open(struct pipeline *p, struct place *place)
{
    int err = peer_open(p->loop, place->address, p->seal, pipeline_build, pipeline_unsent, p, &place->peer);
    if (err && err != place->err)
        log_error("worker_failed", "cannot connect to a worker's address", LOG_S("address", place->address),
                  LOG_S("error", err_text(err)));
    else if (!err && !place->fixed)
        log_info("worker_listed", "a worker was found behind a name", LOG_S("address", place->address));
    place->err = err;
    return err;
}

/* ---- What is listed ---- */

/* ERR_FULL without a place. */
static int list_address(struct pipeline *p, const char *address, bool fixed, struct place **out)
{
    int64_t now_us = clock_monotonic_us();
    if (strlen(address) >= sizeof((*out)->address))
        return ERR_RANGE;
    struct place *place = place_of(p, address);
    if (!place)
        place = place_make(p, now_us, address);
    *out = place;
    if (!place)
        return ERR_FULL;
    place->fixed |= fixed;
    place->listed = true;
    place->retired = false;
    dispatch_peer_retire(p->dispatch, now_us, (size_t)(place - p->places), false);
    return place->peer ? ERR_OK : place_open(p, place);
}

/* Those that have a place keep it, before others look for one. */
static void keep_place(void *arg, const char *address)
{
    struct place *place = place_of(arg, address);
    if (place)
        place->listed = true;
}

struct listing {
    struct pipeline *pipeline;
    bool failed;
    size_t left_out;
};

static void list_found(void *arg, const char *address)
{
    struct listing *l = arg;
    struct place *place = NULL;
    l->failed |= list_address(l->pipeline, address, false, &place) != ERR_OK;
    l->left_out += place == NULL;
}

/* What is listed no more gets no new job, and is closed once the last one is answered. */
static void retire_unlisted(struct pipeline *p)
{
    for (size_t i = 0; i < p->place_count; i++) {
        struct place *place = &p->places[i];
        if (!place->peer || place->fixed || place->listed || place->retired)
            continue;
        place->retired = true;
        dispatch_peer_retire(p->dispatch, clock_monotonic_us(), i, true);
    }
}

static void tell_left_out(struct pipeline *p, size_t left_out)
{
    if (left_out > 0 && left_out != p->left_out)
        log_warn("too_many_workers", "workers are left out: there are more than one API server can know",
                 LOG_U("left_out", left_out), LOG_U("most", DISPATCH_PEERS_MAX));
    else if (left_out != p->left_out)
        log_info("workers_fit", "no worker is left out any more");
    p->left_out = left_out;
}

/* Connect to all that is listed, and come back for what could not be. */
static void list_all(struct pipeline *p)
{
    struct listing l = {.pipeline = p};
    for (size_t i = 0; i < p->place_count; i++)
        p->places[i].listed = p->places[i].fixed;
    names_each(p->names, keep_place, p);
    retire_unlisted(p);
    pipeline_close_retired(p, clock_monotonic_us());
    names_each(p->names, list_found, &l);
    tell_left_out(p, l.left_out);
    if (l.failed)
        loop_timer_at(p->retry, clock_monotonic_us() + backoff_next(&p->backoff, 0));
    else
        loop_timer_cancel(p->retry);
}

static void on_names_changed(void *arg)
{
    struct pipeline *p = arg;
    p->backoff = (struct backoff){0};
    list_all(p);
}

static void on_retry(void *arg)
{
    struct pipeline *p = arg;
    list_all(p);
}

void pipeline_close_retired(struct pipeline *p, int64_t now_us)
{
    bool any = false;
    for (size_t i = 0; i < p->place_count; i++) {
        if (!p->places[i].peer || !p->places[i].retired || !dispatch_peer_idle(p->dispatch, i))
            continue;
        place_close(p, now_us, &p->places[i]);
        any = true;
    }
    if (any && p->left_out > 0)
        loop_timer_at(p->retry, now_us); /* there is a place now */
}

/* ---- Start and stop ---- */

static int start_endpoint(struct pipeline *p, const char *endpoint)
{
    char address[WIRE_ADDRESS_SIZE];
    struct place *place;
    if (is_name(endpoint))
        return names_add(p->names, endpoint);
    int err = conf_address(p->api->daemon->conf, endpoint, address, sizeof(address));
    return err ? err : list_address(p, address, true, &place);
}

static int start_listed(struct pipeline *p)
{
    char *list = strdup(conf_str(p->api->daemon->conf, CONF_API_WORKERS));
    int err = list ? 0 : ERR_NOMEM;
    char *rest = NULL;
    for (char *one = list ? strtok_r(list, " ", &rest) : NULL; one && !err; one = strtok_r(NULL, " ", &rest)) {
        err = start_endpoint(p, one);
        if (err)
            log_error("worker_failed", "cannot use a worker's address", LOG_S("address", one),
                      LOG_S("error", err_text(err)));
    }
    free(list);
    return err;
}

int pipeline_start_workers(struct pipeline *p)
{
    struct names_config config = {
        .loop = p->loop,
        .interval_us = conf_int(p->api->daemon->conf, CONF_API_RESOLVE_MS) * 1000,
        .lookup = names_lookup,
        .changed = on_names_changed,
        .arg = p,
    };
    p->places = calloc(DISPATCH_PEERS_MAX, sizeof(p->places[0]));
    int err = p->places ? names_new(&config, &p->names) : ERR_NOMEM;
    if (!err)
        err = loop_timer_new(p->loop, on_retry, p, &p->retry);
    if (!err)
        err = start_listed(p);
    return err ? err : names_start(p->names);
}

void pipeline_stop_workers(struct pipeline *p)
{
    names_stop(p->names);
    loop_timer_free(p->retry);
    for (size_t i = 0; i < p->place_count; i++)
        peer_close(p->places[i].peer);
    free(p->places);
}
