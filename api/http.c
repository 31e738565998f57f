/* SPDX-License-Identifier: MIT */
/* The callbacks of libmicrohttpd; the only file that knows it. */
#include "http.h"

#include "accept.h"
#include "admission.h"
#include "answer.h"
#include "api.h"
#include "body.h"
#include "early.h"
#include "metering.h"
#include "metrics.h"
#include "outputs.h"
#include "overload.h"
#include "pipeline.h"
#include "random.h"

#include "cavage/bus.h"
#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/log.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    POOL_BYTES = 64 * 1024, /* of each connection: request head, and a window of half of it for its body */
    THREADS_MAX = 4         /* by default */
};

struct http {
    struct api *api;
    struct MHD_Daemon *daemon;
};

/* One call of the access handler. */
struct call {
    struct request *r;
    struct MHD_Connection *connection;
    const char *method;
    const char *version;
    const char *data; /* of the body */
    size_t *data_len; /* set to what is left of it: always 0 */
    int64_t now_us;
};

/* ---- Headers ---- */

/* Between a header's colon and its value, which both lie where they came in. */
static size_t blanks(const char *name, size_t name_len, const char *value)
{
    return value ? (uintptr_t)value - (uintptr_t)name - name_len - 1 : 0;
}

/* From 0.9.77 on libmicrohttpd refuses folded lines, NULs and bare LFs by itself, but only when it is strict. */
static bool library_is_sure(void)
{
    return strverscmp(MHD_get_version(), "0.9.77") >= 0;
}

/* Before that it glues a folded line to the name of its header, ends the head at a header without a name, and cuts values at a NUL: a
 * Transfer-Encoding that a proxy honours would not be seen here. What it understood must account for every byte of the head. */
static void count_head(const struct call *c, struct framing *f)
{
    if (library_is_sure())
        return;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (!info)
        return;
    f->head_bytes = info->header_size;
    f->known_bytes += strlen(c->method) + 1 + strlen(c->r->target) + 1 + strlen(c->version) + 2 + 2;
}

static enum MHD_Result on_header(void *arg, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                 const char *value, size_t value_len)
{
    struct head *head = arg;
    const struct {
        const char *name;
        const char **value;
    } wanted[] = {
        {"Authorization", &head->authorization},     {"Content-Type", &head->content_type},
        {"X-Request-Id", &head->request_id},         {"traceparent", &head->traceparent},
        {"Idempotency-Key", &head->idempotency_key},
    };
    (void)kind;
    head->framing.known_bytes += name_len + 1 + blanks(name, name_len, value) + value_len + 2;
    if (!value)
        value = "", value_len = 0;
    framing_header(&head->framing, name, name_len, value, value_len);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        if (!*wanted[i].value && strcasecmp(name, wanted[i].name) == 0)
            *wanted[i].value = value;
    if (strcasecmp(name, "Accept") == 0) {
        head->accepts |= accept_formats(value);
        accept_archive_read(value, &head->archive);
    }
    if (strcasecmp(name, "Expect") == 0 && strcasecmp(value, "100-continue") == 0)
        head->expects_continue = true;
    return MHD_YES;
}

static void read_head(const struct call *c, struct head *head)
{
    *head = (struct head){.method = c->method, .http11 = strcmp(c->version, MHD_HTTP_VERSION_1_0) != 0};
    framing_target(&head->framing, c->r->target);
    MHD_get_connection_values_n(c->connection, MHD_HEADER_KIND, on_header, head);
    count_head(c, &head->framing);
    head->expects_continue = head->expects_continue && head->http11;
}

/* ---- Responses ---- */

/* An archive is sent from where its pieces are: the text in the outputs, the pictures in the message. */
static struct MHD_Response *make_archive(struct request *r)
{
    const struct archive *a = &r->outputs->archive;
    struct MHD_IoVec pieces[ARCHIVE_PIECES_MAX];
    for (size_t i = 0; i < a->piece_count; i++)
        pieces[i] = (struct MHD_IoVec){.iov_base = a->pieces[i].data, .iov_len = a->pieces[i].len};
    struct MHD_Response *response =
        MHD_create_response_from_iovec(pieces, (unsigned)a->piece_count, outputs_free, r->outputs);
    if (!response)
        return NULL;
    r->outputs->message = r->message;
    r->outputs = NULL;
    r->message = NULL;
    return response;
}

static struct MHD_Response *make_response(struct request *r, struct answer *a)
{
    struct MHD_Response *response;
    if (a->body == r->result && r->outputs)
        return make_archive(r);
    if (a->body == r->result && r->message) {
        /* The result is sent from the message it came in. libmicrohttpd reads it and no more, though its type does not say so. */
        union {
            const void *in;
            void *out;
        } body = {.in = a->body};
        response = MHD_create_response_from_buffer_with_free_callback_cls(a->body_len, body.out, bus_free, r->message);
        if (response)
            r->message = NULL;
        return response;
    }
    union {
        const void *in;
        void *out;
    } body = {.in = a->body};
    return MHD_create_response_from_buffer(a->body_len, body.out, MHD_RESPMEM_MUST_COPY);
}

/* Record, then queue: nothing leaves unrecorded. */
static enum MHD_Result send_answer(const struct call *c)
{
    struct request *r = c->r;
    struct api *api = r->api;
    struct answer a;
    r->sent_us = c->now_us; /* from the move on the watchdog reads it */
    if (!request_move(r, REQUEST_SENT))
        return MHD_NO;
    if (!r->answered_us)
        r->answered_us = c->now_us;
    if (r->result && r->outputs && r->problem.type == PROBLEM_NONE)
        outputs_pack(r, clock_wall_us());
    if (!metering_record(api->metering, r, r->problem.type))
        problem_set(&r->problem, PROBLEM_NOT_READY, "Usage cannot be recorded at the moment.");
    body_drop(r);
    answer_make(r, r->last || atomic_load(&api->closing), problem_may_retry(r->problem.type) ? random_u32() : 0, &a);
    metrics_answered(r, r->problem.type, r->answered_us);

    struct MHD_Response *response = make_response(r, &a);
    if (!response)
        return MHD_NO;
    enum MHD_Result ok = MHD_YES;
    for (size_t i = 0; ok == MHD_YES && i < a.field_count; i++)
        ok = MHD_add_response_header(response, a.fields[i].name, a.fields[i].value);
    if (ok == MHD_YES)
        ok = MHD_queue_response(c->connection, a.status, response);
    MHD_destroy_response(response);
    return ok;
}

/* ---- Steps of a request ---- */

/* Refuse what has more body to come: read on for a while, or answer past libmicrohttpd when there is too much of it. */
static enum MHD_Result refuse(const struct call *c)
{
    struct request *r = c->r;
    uint64_t received = atomic_load_explicit(&r->received, memory_order_relaxed);
    r->refused_us = c->now_us;
    body_drop(r); /* nobody needs it, and reading on may take a while */
    bool too_much = !r->chunked && r->length - received > r->api->settings.discard_bytes;
    if (too_much || !request_move(r, REQUEST_DISCARD))
        early_answer(r, c->now_us);
    return MHD_YES;
}

static enum MHD_Result at_head(const struct call *c)
{
    struct request *r = c->r;
    struct head head;
    if (!request_move(r, REQUEST_JUDGED))
        return MHD_NO;
    read_head(c, &head);
    bool admitted = admission_decide(r->api->admission, r, &head, c->now_us);
    if (r->problem.type == PROBLEM_BAD_FRAMING) {
        /* Where the body ends is unknown, so the connection ends here. */
        early_answer(r, c->now_us);
        return MHD_YES;
    }
    if (!r->has_body) {
        /* Sent at the handler's next call: a response to the first one would close the connection. */
        request_move(r, REQUEST_ANSWERED);
        return MHD_YES;
    }
    if (!admitted && head.expects_continue && request_move(r, REQUEST_ANSWERED))
        return send_answer(c); /* the client waits for the word to send its body, and never gets it */
    if (!admitted)
        return refuse(c);
    request_move(r, REQUEST_BODY);
    return MHD_YES;
}

static enum MHD_Result at_body_end(const struct call *c)
{
    struct request *r = c->r;
    bool good = body_end(r) && overload_enter(r->api->overload, r);
    r->staged_us = clock_monotonic_us();
    if (!good) {
        if (request_move(r, REQUEST_ANSWERED))
            return send_answer(c);
        return MHD_NO;
    }
    r->queued_us = r->staged_us;
    if (!request_move(r, REQUEST_QUEUED))
        return MHD_NO;
    MHD_suspend_connection(c->connection);
    pipeline_submit(r->api->pipeline, r);
    return MHD_YES;
}

static enum MHD_Result at_body(const struct call *c)
{
    if (*c->data_len == 0)
        return at_body_end(c);
    size_t len = *c->data_len;
    *c->data_len = 0;
    return body_add(c->r, c->data, len) ? MHD_YES : refuse(c);
}

static enum MHD_Result at_discard(const struct call *c)
{
    struct request *r = c->r;
    if (*c->data_len == 0)
        return request_move(r, REQUEST_ANSWERED) ? send_answer(c) : MHD_NO;
    r->discarded += *c->data_len;
    atomic_fetch_add_explicit(&r->received, *c->data_len, memory_order_relaxed);
    *c->data_len = 0;
    if (r->discarded > r->api->settings.discard_bytes)
        early_answer(r, c->now_us);
    return MHD_YES;
}

static enum MHD_Result at_expired(const struct call *c)
{
    body_drop(c->r);
    c->r->discarded += *c->data_len;
    if (*c->data_len == 0 || c->r->discarded > EARLY_LINGER_BYTES)
        return MHD_NO;
    *c->data_len = 0;
    return MHD_YES;
}

static enum MHD_Result at_end(const struct call *c)
{
    (void)c;
    return MHD_NO;
}

/* Suspended, or called again after the answer was queued: nothing to do. */
static enum MHD_Result at_rest(const struct call *c)
{
    *c->data_len = 0;
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *data_len, void **context)
{
    static enum MHD_Result (*const steps[REQUEST_STATES])(const struct call *) = {
        [REQUEST_HEAD] = at_head,       [REQUEST_JUDGED] = at_end,      [REQUEST_BODY] = at_body,
        [REQUEST_DISCARD] = at_discard, [REQUEST_QUEUED] = at_rest,     [REQUEST_ANSWERED] = send_answer,
        [REQUEST_SENT] = at_rest,       [REQUEST_EXPIRED] = at_expired, [REQUEST_GONE] = at_end,
    };
    struct request *r = *context;
    (void)arg;
    (void)url;
    if (!r)
        return MHD_NO;
    struct call c = {.r = r,
                     .connection = connection,
                     .method = method,
                     .version = version,
                     .data = data,
                     .data_len = data_len,
                     .now_us = clock_monotonic_us()};
    return steps[request_state(r)](&c);
}

/* ---- Beginning and end of requests and connections ---- */

static void *on_target(void *arg, const char *target, struct MHD_Connection *connection)
{
    struct http *http = arg;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct conn *conn = info ? info->socket_context : NULL;
    if (!conn)
        return NULL;
    struct request *r = request_new(http->api, conn, target, clock_monotonic_us());
    if (r)
        r->exchange = connection;
    return r;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode how)
{
    struct http *http = arg;
    struct request *r = *context;
    (void)connection;
    if (!r)
        return;
    *context = NULL;
    request_move(r, REQUEST_GONE); /* if it has no answer yet: the loop leaves it alone from here on */
    metering_record_gone(http->api->metering, r);
    metering_resolve(http->api->metering, r, how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    request_free(r, clock_monotonic_us());
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http *http = arg;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*context) {
            admission_disconnect(http->api->admission, *context);
            conns_remove(http->api->conns, *context);
        }
        *context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct conn *conn = info ? conns_find(http->api->conns, info->connect_fd) : NULL;
    *context = conn && conn_opened(conn, info->connect_fd) ? conn : NULL;
}

int http_add(struct http *http, int fd, const struct sockaddr *address, socklen_t len)
{
    return MHD_add_connection(http->daemon, fd, address, len) == MHD_YES ? 0 : ERR_FULL;
}

void http_resume(void *exchange)
{
    MHD_resume_connection(exchange);
}

/* ---- Start and stop ---- */

static void on_panic(void *arg, const char *file, unsigned line, const char *reason)
{
    (void)arg;
    log_error("http_panic", "libmicrohttpd found itself in a state that cannot be", LOG_S("file", file),
              LOG_U("line", line), LOG_S("reason", reason ? reason : ""));
    abort();
}

/* The loop's one thread does about half of the work of a request, so more than a few cannot be kept busy; and each that sleeps more has to be woken
 * more often. */
static unsigned thread_count(unsigned wanted)
{
    long half = sysconf(_SC_NPROCESSORS_ONLN) / 2;
    return wanted ? wanted : half < 1 ? 1 : half > THREADS_MAX ? THREADS_MAX : (unsigned)half;
}

int http_start(struct api *api, struct http **out)
{
    struct http *http = calloc(1, sizeof(*http));
    if (!http)
        return ERR_NOMEM;
    http->api = api;
    unsigned threads = thread_count(api->settings.threads);
    MHD_set_panic_func(on_panic, NULL);
    /* The limit is shared out among the threads in equal parts, so each gets room for all: our own table is what bounds connections. */
    unsigned connections = (unsigned)conns_capacity(api->conns) * threads;
    /* Strict only where what is doubtful could not be seen here; else it is refused here, with a problem that says why. */
    http->daemon = MHD_start_daemon(
        MHD_USE_NO_LISTEN_SOCKET | MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL,
        NULL, on_request, http, MHD_OPTION_THREAD_POOL_SIZE, threads > 1 ? threads : 0U, MHD_OPTION_CONNECTION_LIMIT,
        connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, 0U,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, http, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_STRICT_FOR_CLIENT, library_is_sure() ? 1 : 0,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!http->daemon) {
        free(http);
        return ERR_INTERNAL;
    }
    *out = http;
    return 0;
}

void http_stop(struct http *http)
{
    if (!http)
        return;
    MHD_stop_daemon(http->daemon);
    free(http);
}
