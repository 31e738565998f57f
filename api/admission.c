/* SPDX-License-Identifier: MIT */
/* Admission, as one list of checks in order of their cost. */
#include "admission.h"

#include "api.h"
#include "body.h"
#include "metering.h"
#include "metrics.h"
#include "outputs.h"
#include "overload.h"
#include "pipeline.h"
#include "ready.h"
#include "token.h"

#include "cavage/auth.h"
#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/params.h"
#include "cavage/shares.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CUSTOMERS = 128 * 1024 }; /* whose buckets are remembered; a region has 100,000 */

struct admission {
    struct api *api;
    pthread_mutex_t lock; /* guards what follows */
    struct rate_limit *rates;
    struct shares
        *connections; /* those each customer owns: its request came last, until another's comes or it is closed */
};

/* One request before admission. */
struct applicant {
    struct admission *admission;
    struct api *api;
    struct request *r;
    const struct head *head;
    int64_t now_us;
};

int admission_new(struct api *api, struct admission **out)
{
    struct admission *a = calloc(1, sizeof(*a));
    if (!a)
        return ERR_NOMEM;
    a->api = api;
    pthread_mutex_init(&a->lock, NULL);
    int err = rate_limit_new(CUSTOMERS, &a->rates);
    if (!err)
        err = shares_new(conns_capacity(api->conns), &a->connections);
    if (err) {
        admission_free(a);
        return err;
    }
    *out = a;
    return 0;
}

void admission_free(struct admission *a)
{
    if (!a)
        return;
    rate_limit_free(a->rates);
    shares_free(a->connections);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static bool check_framing(struct applicant *p)
{
    const char *why = framing_problem(&p->head->framing, p->head->http11);
    if (why)
        problem_set(&p->r->problem, PROBLEM_BAD_FRAMING, "%s", why);
    return !why;
}

static bool check_route(struct applicant *p)
{
    enum route route = p->r->parsed.route;
    if (route == ROUTE_NONE) {
        problem_set(&p->r->problem, PROBLEM_NOT_FOUND,
                    "There are POST /v1/resize, POST /v1/renditions, POST /v1/info, GET /healthz and GET /readyz.");
        return false;
    }
    if (!route_takes(route, p->head->method)) {
        problem_set(&p->r->problem, PROBLEM_METHOD_NOT_ALLOWED, "Allowed: %s.", route_allow(route));
        return false;
    }
    return true;
}

static bool check_key(struct applicant *p)
{
    static const enum problem_type problems[] = {
        [AUTH_OK] = PROBLEM_NONE,
        [AUTH_MISSING] = PROBLEM_UNAUTHORIZED,
        [AUTH_WRONG] = PROBLEM_WRONG_KEY,
        [AUTH_SUSPENDED_CUSTOMER] = PROBLEM_SUSPENDED,
        [AUTH_UNAVAILABLE] = PROBLEM_NOT_READY,
    };
    struct request *r = p->r;
    enum auth_result result = p->head->authorization ? AUTH_UNAVAILABLE : AUTH_MISSING;
    if (atomic_load(&p->api->has_pepper))
        result = auth_check(p->api->authdb, &p->api->pepper, p->head->authorization, clock_wall_us(), &r->auth);
    r->auth_us = clock_monotonic_us() - p->now_us;
    r->problem.type = problems[result];
    r->authenticated = result == AUTH_OK;
    if (r->authenticated)
        r->customer = request_customer(p->api, r->auth.customer);
    return r->authenticated;
}

static bool check_drain(struct applicant *p)
{
    if (atomic_load(&p->api->refusing))
        p->r->problem.type = PROBLEM_DRAINING;
    return p->r->problem.type == PROBLEM_NONE;
}

static void __attribute__((format(printf, 4, 5)))
refuse(struct request *r, enum check by, enum problem_type type, const char *format, ...)
{
    char detail[PROBLEM_DETAIL_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    problem_set(&r->problem, type, "%s", detail);
    r->refused_by = by;
}

static bool check_rate(struct applicant *p)
{
    struct request *r = p->r;
    struct rate_allowance allowance = {.rate_per_s = r->auth.rate_per_s, .burst = r->auth.burst};
    r->limited = allowance.rate_per_s > 0;
    if (!r->limited)
        return true;
    struct admission *a = p->admission;
    pthread_mutex_lock(&a->lock);
    rate_limit_take(a->rates, p->now_us, r->customer, &allowance, &r->rate);
    pthread_mutex_unlock(&a->lock);
    if (!r->rate.allowed)
        refuse(r, CHECK_RATE, PROBLEM_RATE_LIMITED,
               "At most %" PRIu32 " requests a second, in bursts of up to %" PRIu32 ".", allowance.rate_per_s,
               allowance.burst ? allowance.burst : 1);
    return r->rate.allowed;
}

/* Make the connection nobody's. The lock of admission is held, and comes before that of a connection. */
static void disown(struct admission *a, struct conn *conn)
{
    pthread_mutex_lock(&conn->lock);
    bool owned = conn->owned;
    uint64_t owner = conn->owner;
    conn->owned = false;
    pthread_mutex_unlock(&conn->lock);
    if (owned)
        shares_give(a->connections, owner, 1);
}

static bool owns(struct conn *conn, uint64_t customer)
{
    pthread_mutex_lock(&conn->lock);
    bool yes = conn->owned && conn->owner == customer;
    pthread_mutex_unlock(&conn->lock);
    return yes;
}

/* The customer has all the connections it may have. One of them that is idle is closed for the new one. */
static bool make_room(struct applicant *p)
{
    struct admission *a = p->admission;
    uint64_t customer = p->r->customer;
    if (!conns_close_idlest_of(p->api->conns, customer))
        return false;
    shares_give(a->connections, customer, 1);
    metrics_add(p->api->daemon->metrics, API_CONNECTIONS_CLOSED_IDLE, 1);
    return true;
}

static bool own(struct applicant *p)
{
    struct admission *a = p->admission;
    struct conn *conn = p->r->conn;
    uint64_t customer = p->r->customer;
    if (owns(conn, customer))
        return true;
    if (shares_held(a->connections, customer) >= p->api->settings.customer_connections && !make_room(p))
        return false;
    disown(a, conn);
    shares_take(a->connections, customer, 1);
    pthread_mutex_lock(&conn->lock);
    conn->owned = true;
    conn->owner = customer;
    pthread_mutex_unlock(&conn->lock);
    return true;
}

static bool check_connections(struct applicant *p)
{
    struct request *r = p->r;
    struct admission *a = p->admission;
    pthread_mutex_lock(&a->lock);
    r->last = !own(p);
    pthread_mutex_unlock(&a->lock);
    if (r->last)
        refuse(r, CHECK_CUSTOMER_CONNECTIONS, PROBLEM_SHARE_USED,
               "This customer's requests in progress use all the connections it may have, %zu.",
               p->api->settings.customer_connections);
    return !r->last;
}

void admission_disconnect(struct admission *a, struct conn *conn)
{
    pthread_mutex_lock(&a->lock);
    disown(a, conn);
    pthread_mutex_unlock(&a->lock);
}

static bool check_length(struct applicant *p)
{
    struct request *r = p->r;
    uint64_t max = atomic_load(&p->api->longest);
    if (!r->chunked && !framing_has_length(&p->head->framing)) {
        r->problem.type = PROBLEM_LENGTH_REQUIRED;
    } else if (r->length > max) {
        problem_set(&r->problem, PROBLEM_BODY_TOO_LARGE,
                    "The body has %" PRIu64 " bytes; at most %" PRIu64 " are taken.", r->length, max);
        problem_set_limit(&r->problem, max, r->length);
    } else if (!r->chunked && r->length == 0) {
        problem_set(&r->problem, PROBLEM_EMPTY_BODY,
                    "Send the image as the body, or as the one file of a multipart/form-data body.");
    }
    return r->problem.type == PROBLEM_NONE;
}

/* A result that would be too large for any image. */
static bool check_size(struct request *r, const struct params *params)
{
    struct limits_breach over;
    char text[LIMITS_TEXT_SIZE];
    if (limits_admit(&r->api->settings.limits, params, &over))
        return true;
    problem_set(&r->problem, PROBLEM_BAD_PARAMETER, "%s", limits_tell(&over, text));
    problem_set_parameter(&r->problem, "width");
    problem_set_limit(&r->problem, over.allowed, over.actual);
    return false;
}

static bool check_resize(struct applicant *p)
{
    struct request *r = p->r;
    struct params params;
    struct params_problem why = {0};
    if (params_parse(r->parsed.query, r->parsed.query_len, &params, &why) != 0) {
        problem_set(&r->problem, PROBLEM_BAD_PARAMETER, "%s", why.message);
        problem_set_parameter(&r->problem, why.name);
        return false;
    }
    if (!check_size(r, &params))
        return false;
    _Static_assert((int)WIRE_REQUEST_SIZE >= (int)PARAMS_CANONICAL_SIZE, "canonical parameters fit a JOB");
    if (params.format_auto)
        params.auto_formats |= p->head->accepts;
    r->varies = params.format_auto;
    params_format(&params, r->canonical);
    overload_expect(r, &params);
    r->operation = OPERATION_RESIZE;
    return true;
}

/* The name of the first parameter, as it came. */
static void name_first(const struct target *target, char *out, size_t size)
{
    size_t len = strcspn(target->query, "=&");
    snprintf(out, size, "%.*s", len < size ? (int)len : (int)size - 1, target->query);
}

static bool check_parameters(struct applicant *p)
{
    if (p->r->parsed.route == ROUTE_RESIZE)
        return check_resize(p);
    if (p->r->parsed.route == ROUTE_RENDITIONS)
        return outputs_admit(p->r, p->head);
    p->r->operation = OPERATION_INFO;
    if (p->r->parsed.query_len > 0) {
        problem_set(&p->r->problem, PROBLEM_BAD_PARAMETER, "/v1/info takes no parameters.");
        name_first(&p->r->parsed, p->r->problem.parameter, sizeof(p->r->problem.parameter));
    }
    return p->r->problem.type == PROBLEM_NONE;
}

static bool check_spool(struct applicant *p)
{
    if (!spool_has_room(p->api->spool))
        refuse(p->r, CHECK_SPOOL, PROBLEM_OVERLOADED, "Usage records cannot be stored at the moment.");
    return p->r->problem.type == PROBLEM_NONE;
}

void admission_no_share(struct request *r)
{
    refuse(r, CHECK_CUSTOMER_MEMORY, PROBLEM_SHARE_USED,
           "This customer's images in progress use all the memory it may have.");
}

void admission_no_memory(struct request *r)
{
    refuse(r, CHECK_MEMORY, PROBLEM_OVERLOADED, "The memory for images in progress is full.");
}

static bool check_staging(struct applicant *p)
{
    int err = extents_check(p->api->extents, p->r->customer, p->r->length ? (size_t)p->r->length : 1);
    if (err == ERR_RANGE)
        admission_no_share(p->r);
    else if (err)
        admission_no_memory(p->r);
    return err == 0;
}

static bool check_queue(struct applicant *p)
{
    if (pipeline_queued(p->api->pipeline) >= p->api->settings.max_queued)
        refuse(p->r, CHECK_QUEUE, PROBLEM_OVERLOADED, "The queue is full.");
    else if (pipeline_is_stranded(p->api->pipeline, p->now_us))
        refuse(p->r, CHECK_WORKERS, PROBLEM_NOT_READY, "No worker is available.");
    return p->r->problem.type == PROBLEM_NONE;
}

static bool check_wait(struct applicant *p)
{
    return overload_admits(p->api->overload, p->r);
}

/* What the server says of itself. */
static void answer_local(struct applicant *p)
{
    const char *why = p->r->parsed.route == ROUTE_READY ? ready_problem(p->api) : NULL;
    if (p->r->has_body)
        problem_set(&p->r->problem, PROBLEM_BODY_TOO_LARGE, "This path takes no body.");
    else if (why)
        problem_set(&p->r->problem, PROBLEM_NOT_READY, "%s", why);
    else
        p->r->text = "ok\n";
    p->r->media_type = "text/plain; charset=utf-8";
}

static void read_head(struct applicant *p)
{
    struct request *r = p->r;
    const struct head *head = p->head;
    r->http11 = head->http11;
    r->chunked = framing_is_chunked(&head->framing);
    r->length = r->chunked ? 0 : head->framing.length;
    r->has_body = r->chunked || r->length > 0;
    token_request_id(head->request_id, r->id);
    token_traceparent(head->traceparent, r->traceparent);
}

static bool check_idempotency_key(struct applicant *p)
{
    if (!p->head->idempotency_key || token_idempotency_key(p->head->idempotency_key, p->r->idempotency_key))
        return true;
    problem_set(&p->r->problem, PROBLEM_BAD_PARAMETER, "Idempotency-Key must be 1 to 128 visible ASCII characters.");
    problem_set_parameter(&p->r->problem, "Idempotency-Key");
    return false;
}

static bool check_body(struct applicant *p)
{
    return body_begin(p->r, p->head->content_type);
}

bool admission_decide(struct admission *a, struct request *r, const struct head *head, int64_t now_us)
{
    static bool (*const checks[])(struct applicant *) = {
        check_key,        check_drain,           check_connections, check_length, check_staging, check_rate,
        check_parameters, check_idempotency_key, check_spool,       check_queue,  check_wait,    check_body,
    };
    struct applicant p = {.admission = a, .api = a->api, .r = r, .head = head, .now_us = now_us};
    read_head(&p);
    if (!check_framing(&p) || !check_route(&p))
        return false;
    if (r->parsed.route == ROUTE_HEALTH || r->parsed.route == ROUTE_READY) {
        answer_local(&p);
        return r->problem.type == PROBLEM_NONE;
    }
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
        if (!checks[i](&p)) {
            if (r->authenticated && problem_status(r->problem.type) == 429)
                metering_limited(a->api->metering, r);
            return false;
        }
    r->admitted_us = clock_monotonic_us();
    r->admitted = true;
    return true;
}
