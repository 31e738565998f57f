/* SPDX-License-Identifier: MIT */
/* Serves the management API with libmicrohttpd, driven by the loop: all requests run on its thread, one after the other. */
#include "admin.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/fs.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 32,
    CONNECTIONS = 32,
    IDLE_SECONDS = 10,
    POOL_BYTES = 32 * 1024,
    DISCARD_MAX = 1024 * 1024, /* of a body that is too long; beyond it the connection is closed */
    ROUNDS_MAX = 16            /* of MHD_run in one callback, so that the heartbeat gets its turn */
};

struct admin {
    struct admin_config config;
    struct MHD_Daemon *http;
    struct loop_watch *watch;
    struct loop_timer *timer;
    char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* One request, from its headers to its end. */
struct exchange {
    char *body;
    size_t len;  /* kept */
    size_t seen; /* received */
    bool answered;
};

/* ---- Answering ---- */

static void reply_done(void *arg)
{
    struct admin_reply *reply = arg;

    admin_reply_wipe(reply);
    free(reply);
}

/* Sends and frees the reply. */
static enum MHD_Result send_reply(struct MHD_Connection *connection, struct admin_reply *reply)
{
    static char nothing[] = "";

    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        reply->len, reply->body ? reply->body : nothing, reply_done, reply);
    if (!response) {
        reply_done(reply);
        return MHD_NO;
    }
    unsigned status = reply->status;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (reply->body)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                      status >= 400 ? "application/problem+json" : "application/json");
    if (reply->allow)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, reply->allow);
    if (reply->location[0])
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_LOCATION, reply->location);
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result take_argument(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct admin_request *request = arg;
    (void)kind;
    if (strcmp(name, "limit") == 0 && !request->limit)
        request->limit = value ? value : "";
    else if (strcmp(name, "after") == 0 && !request->after)
        request->after = value ? value : "";
    else
        request->unknown = name;
    return MHD_YES;
}

static void refuse_too_long(struct admin_reply *reply)
{
    admin_refuse(reply, 413, "body_too_large", "The body is longer than 65536 bytes.", NULL);
}

static enum MHD_Result answer(struct admin *admin, struct MHD_Connection *connection, const char *path,
                              const char *method, const struct exchange *exchange)
{
    struct admin_request request = {
        .method = method, .path = path, .body = exchange->body ? exchange->body : "", .body_len = exchange->len};

    struct admin_reply *reply = calloc(1, sizeof(*reply));
    if (!reply)
        return MHD_NO;
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, take_argument, &request);
    if (exchange->seen > ADMIN_BODY_MAX)
        refuse_too_long(reply);
    else
        admin_handle(admin->config.authority, &request, clock_wall_us(), reply);
    admin->config.done(admin->config.arg, method, path, reply->status);
    return send_reply(connection, reply);
}

/* ---- Reading ---- */

static enum MHD_Result refuse_length(struct MHD_Connection *connection)
{
    struct admin_reply *reply = calloc(1, sizeof(*reply));

    if (!reply)
        return MHD_NO;
    refuse_too_long(reply);
    return send_reply(connection, reply);
}

/* True for a body that is announced as longer than what would be read of it: it is refused at the headers, and the connection closed. */
static bool is_hopeless(struct MHD_Connection *connection)
{
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);

    return length && strtoull(length, NULL, 10) > DISCARD_MAX;
}

static enum MHD_Result take_body(struct exchange *exchange, const char *data, size_t len)
{
    exchange->seen += len;
    if (exchange->seen > DISCARD_MAX)
        return MHD_NO;
    if (exchange->seen > ADMIN_BODY_MAX)
        return MHD_YES;
    if (!exchange->body) {
        exchange->body = malloc(ADMIN_BODY_MAX);
        if (!exchange->body)
            return MHD_NO;
    }
    memcpy(exchange->body + exchange->len, data, len);
    exchange->len += len;
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path, const char *method,
                                  const char *version, const char *data, size_t *data_len, void **state)
{
    struct exchange *exchange = *state;

    (void)version;
    if (!exchange && is_hopeless(connection))
        return refuse_length(connection);
    if (!exchange) {
        exchange = calloc(1, sizeof(*exchange));
        *state = exchange;
        return exchange ? MHD_YES : MHD_NO;
    }
    if (*data_len > 0) {
        size_t len = *data_len;
        *data_len = 0;
        return take_body(exchange, data, len);
    }
    if (exchange->answered)
        return MHD_YES;
    exchange->answered = true;
    return answer(arg, connection, path, method, exchange);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *state;

    (void)arg;
    (void)connection;
    (void)code;
    if (!exchange)
        return;
    free(exchange->body);
    free(exchange);
    *state = NULL;
}

/* ---- The loop ---- */

static void run(struct admin *admin)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    bool waits = true;

    for (int i = 0; waits && wait_ms == 0 && i < ROUNDS_MAX; i++) {
        (void)MHD_run(admin->http);
        waits = MHD_get_timeout(admin->http, &wait_ms) == MHD_YES;
    }
    if (waits)
        loop_timer_at(admin->timer, clock_monotonic_us() + (int64_t)wait_ms * 1000);
    else
        loop_timer_cancel(admin->timer);
}

static void on_ready(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    run(arg);
}

static void on_timer(void *arg)
{
    run(arg);
}

/* ---- The socket ---- */

static int parent_is_private(const char *path)
{
    char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
    const char *slash = strrchr(path, '/');

    if (!slash || slash == path)
        return ERR_INVALID;
    snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
    return fs_private_dir(dir);
}

static int bind_socket(int fd, const struct sockaddr_un *address)
{
    /* The mode of the socket before it has a name is the mode of the file that bind makes. */
    if (fchmod(fd, 0600) != 0)
        return ERR_IO;
    if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
        return 0;
    return errno == EADDRINUSE ? ERR_EXISTS : err_from_errno(errno);
}

/* True when a server answers at the address. */
static bool is_served(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool served = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;

    served = served || (fd >= 0 && errno == EAGAIN); /* its backlog is full */
    if (fd >= 0)
        (void)close(fd);
    return served;
}

static int listen_unix(const char *path, int *out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path))
        return ERR_RANGE;
    memcpy(address.sun_path, path, strlen(path));
    int err = parent_is_private(path);
    if (err != 0)
        return err;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_from_errno(errno);
    err = bind_socket(fd, &address);
    if (err == ERR_EXISTS && !is_served(&address) && unlink(path) == 0)
        err = bind_socket(fd, &address);
    if (err == 0 && listen(fd, BACKLOG) != 0)
        err = ERR_IO;
    if (err != 0) {
        (void)close(fd);
        return err;
    }
    *out = fd;
    return 0;
}

static int start_http(struct admin *admin, int fd)
{
    admin->http = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, admin, MHD_OPTION_LISTEN_SOCKET, fd,
                                   MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT,
                                   (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
                                   MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES, MHD_OPTION_END);
    if (!admin->http)
        return ERR_INTERNAL;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(admin->http, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info)
        return ERR_INTERNAL;
    return loop_watch(admin->config.loop, info->epoll_fd, EPOLLIN, on_ready, admin, &admin->watch);
}

int admin_start(const struct admin_config *config, struct admin **out)
{
    int fd = -1;

    struct admin *admin = calloc(1, sizeof(*admin));
    if (!admin)
        return ERR_NOMEM;
    admin->config = *config;
    int err = listen_unix(config->socket, &fd);
    if (err == 0)
        snprintf(admin->socket, sizeof(admin->socket), "%s", config->socket);
    if (err == 0 && (err = loop_timer_new(config->loop, on_timer, admin, &admin->timer)) != 0)
        (void)close(fd);
    else if (err == 0)
        err = start_http(admin, fd); /* the descriptor is the library's now */
    if (err != 0) {
        admin_stop(admin);
        return err;
    }
    *out = admin;
    return 0;
}

void admin_stop(struct admin *admin)
{
    if (!admin)
        return;
    if (admin->watch)
        loop_unwatch(admin->watch);
    if (admin->timer)
        loop_timer_free(admin->timer);
    if (admin->http)
        MHD_stop_daemon(admin->http);
    if (admin->socket[0])
        (void)unlink(admin->socket);
    free(admin);
}
