/* SPDX-License-Identifier: MIT */
/* The life of a request, and the table of its moves. */
#include "request.h"

#include "api.h"
#include "body.h"
#include "outputs.h"
#include "overload.h"

#include "cavage/bus.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define TO(state) (1U << REQUEST_##state)

static const unsigned moves[REQUEST_STATES] = {
    [REQUEST_HEAD] = TO(JUDGED) | TO(EXPIRED) | TO(GONE),
    [REQUEST_JUDGED] = TO(BODY) | TO(DISCARD) | TO(ANSWERED) | TO(EXPIRED) | TO(GONE),
    [REQUEST_BODY] = TO(DISCARD) | TO(QUEUED) | TO(ANSWERED) | TO(EXPIRED) | TO(GONE),
    [REQUEST_DISCARD] = TO(ANSWERED) | TO(EXPIRED) | TO(GONE),
    [REQUEST_QUEUED] = TO(ANSWERED) | TO(GONE),
    [REQUEST_ANSWERED] = TO(SENT) | TO(GONE),
};

struct request *request_new(struct api *api, struct conn *conn, const char *target, int64_t now_us)
{
    struct request *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->target = strdup(target);
    if (!r->target) {
        free(r);
        return NULL;
    }
    route_parse(r->target, &r->parsed);
    r->api = api;
    r->conn = conn;
    r->started_us = now_us;
    r->deadline_us = now_us + api->settings.request_deadline_us;
    pthread_mutex_lock(&conn->lock);
    conn->request = r;
    pthread_mutex_unlock(&conn->lock);
    return r;
}

void request_free(struct request *r, int64_t now_us)
{
    pthread_mutex_lock(&r->conn->lock);
    r->conn->request = NULL;
    r->conn->served = true;
    r->conn->since_us = now_us;
    pthread_mutex_unlock(&r->conn->lock);
    body_drop(r);
    overload_leave(r->api->overload, r);
    if (r->message)
        bus_free(r->message);
    outputs_free(r->outputs);
    free(r->target);
    free(r);
}

bool request_move_locked(struct request *r, enum request_state to)
{
    if (!(moves[r->state] & (1U << to)))
        return false;
    r->state = to;
    return true;
}

bool request_move(struct request *r, enum request_state to)
{
    pthread_mutex_lock(&r->conn->lock);
    bool moved = request_move_locked(r, to);
    pthread_mutex_unlock(&r->conn->lock);
    return moved;
}

enum request_state request_state(struct request *r)
{
    pthread_mutex_lock(&r->conn->lock);
    enum request_state state = r->state;
    pthread_mutex_unlock(&r->conn->lock);
    return state;
}

uint64_t request_customer(const struct api *api, const char *customer)
{
    unsigned char hash[crypto_shorthash_BYTES];
    uint64_t number;
    _Static_assert(sizeof(hash) == sizeof(number), "SipHash gives 64 bits");
    crypto_shorthash(hash, (const unsigned char *)customer, strlen(customer), api->customer_key);
    memcpy(&number, hash, sizeof(number));
    return number;
}
