/* SPDX-License-Identifier: MIT */
/* The operations listener, served by libmicrohttpd on one thread. */
#include "cavage/ops.h"

#include "cavage/err.h"
#include "cavage/metrics.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 32, CONNECTIONS = 32, IDLE_SECONDS = 10, POOL_BYTES = 16 * 1024 };

struct ops {
    struct ops_config config;
    struct MHD_Daemon *http;
    char url[96];
};

struct header {
    const char *name;
    const char *value;
};

static const char type_text[] = "text/plain; charset=utf-8";
static const char type_metrics[] = "text/plain; version=0.0.4; charset=utf-8";

static void add_headers(struct MHD_Response *response, const char *type)
{
    const struct header headers[] = {
        {MHD_HTTP_HEADER_CONTENT_TYPE, type},
        {MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"},
        {"X-Content-Type-Options", "nosniff"},
    };
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        MHD_add_response_header(response, headers[i].name, headers[i].value);
}

/* Queue a response and let go of it. */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              struct MHD_Response *response)
{
    if (response == NULL)
        return MHD_NO;
    add_headers(response, type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status, const char *text)
{
    char body[64];
    int len = snprintf(body, sizeof(body), "%s\n", text);
    return answer(connection, status, type_text,
                  MHD_create_response_from_buffer((size_t)len, body, MHD_RESPMEM_MUST_COPY));
}

static enum MHD_Result answer_healthz(struct ops *ops, struct MHD_Connection *connection)
{
    (void)ops;
    return answer_text(connection, MHD_HTTP_OK, "ok");
}

static enum MHD_Result answer_readyz(struct ops *ops, struct MHD_Connection *connection)
{
    bool ready = atomic_load(ops->config.ready);
    return ready ? answer_text(connection, MHD_HTTP_OK, "ready")
                 : answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready");
}

static enum MHD_Result answer_metrics(struct ops *ops, struct MHD_Connection *connection)
{
    size_t len = 0;
    if (ops->config.refresh != NULL)
        ops->config.refresh(ops->config.arg);
    char *text = metrics_render(ops->config.metrics, &len);
    if (text == NULL)
        return answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
    struct MHD_Response *response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL)
        free(text);
    return answer(connection, MHD_HTTP_OK, type_metrics, response);
}

static const struct {
    const char *path;
    enum MHD_Result (*answer)(struct ops *ops, struct MHD_Connection *connection);
} routes[] = {
    {"/metrics", answer_metrics},
    {"/healthz", answer_healthz},
    {"/readyz", answer_readyz},
};

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *body, size_t *body_len, void **seen)
{
    static char mark;
    (void)version;
    (void)body;
    /* Answering at the headers closes the connection: right for what is refused, wrong for what is served again and again. */
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD are served here");
    if (*seen == NULL) {
        *seen = &mark;
        return MHD_YES;
    }
    if (*body_len > 0) /* a GET needs no body; one that sends it is hung up on */
        return MHD_NO;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (strcmp(url, routes[i].path) == 0)
            return routes[i].answer(arg, connection);
    return answer_text(connection, MHD_HTTP_NOT_FOUND, "no such page: see /metrics, /healthz, /readyz");
}

int ops_start(const struct ops_config *config, struct ops **out)
{
    char bound[80];
    int fd = -1;
    struct ops *ops = calloc(1, sizeof(*ops));
    if (ops == NULL)
        return ERR_NOMEM;
    ops->config = *config;
    int err = net_listen(config->listen, BACKLOG, &fd, bound, sizeof(bound));
    if (err != ERR_OK)
        goto fail;
    snprintf(ops->url, sizeof(ops->url), "http://%s", bound);
    ops->http = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, ops,
                                 MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
                                 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES, MHD_OPTION_END);
    /* From here on the descriptor is the library's, which closes it also when it fails. */
    if (ops->http == NULL) {
        err = ERR_INTERNAL;
        goto fail;
    }
    *out = ops;
    return ERR_OK;
fail:
    free(ops);
    return err;
}

void ops_stop(struct ops *ops)
{
    if (ops == NULL)
        return;
    MHD_stop_daemon(ops->http);
    free(ops);
}

const char *ops_url(const struct ops *ops)
{
    return ops->url;
}
