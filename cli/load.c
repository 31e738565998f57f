/* SPDX-License-Identifier: MIT */
/* The open loop: a timer for the next arrival, connections by customer, and a list of what is under way, in the order of the schedule. */
#include "load.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "load_conn.h"

#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { TICK_US = 100000, LAUNCHES_A_ROUND = 64, HEAD_SIZE = 8192 };

struct customer;

struct request {
    TAILQ_ENTRY(request) under_way;
    TAILQ_ENTRY(request) waiting; /* in its customer's list while it has no connection */
    struct customer *customer;
    struct load_conn *conn; /* NULL: it waits for one */
    size_t image;
    int64_t due_us; /* monotonic, as all times here */
    bool counts;    /* it is not of the warm-up */
};

TAILQ_HEAD(requests, request);

struct customer {
    bool first;
    unsigned open; /* connections */
    struct load_conns idle;
    struct requests waiting;
    char *fields; /* of the head, its own: the key */
};

struct load {
    const struct load_spec *spec;
    struct load_stats *stats;
    struct arrivals arrivals;
    struct addrinfo *address;
    struct loop *loop;
    struct loop_timer *next, *timeout, *tick;
    struct load_conn_config conns;
    struct customer *customers;
    char (*lengths)[64]; /* of the head, the part of each image */
    char head[HEAD_SIZE];
    struct load_conns idle; /* of all customers, the one idle longest first */
    struct requests under_way;
    struct requests spare; /* linked by under_way too: requests that ended, for new ones */
    size_t under_way_count;
    size_t open;
    uint64_t random; /* for the choice of customers and images */
    int64_t start_us, due_us;
    bool over; /* nothing more is due */
    bool stopping;
};

/* ---- Requests ---- */

static void end_when_idle(struct load *load)
{
    if (load->over && load->under_way_count == 0)
        loop_stop(load->loop);
}

static void forget(struct load *load, struct request *request)
{
    TAILQ_REMOVE(&load->under_way, request, under_way);
    load->under_way_count--;
    if (request->conn)
        request->conn->request = NULL;
    TAILQ_INSERT_HEAD(&load->spare, request, under_way);
    end_when_idle(load);
}

static void fail_request(struct load *load, struct request *request, enum load_failure why)
{
    if (request->counts)
        load_stats_failed(load->stats, request->customer->first, why);
    forget(load, request);
}

static void send_on(struct load *load, struct load_conn *conn, struct request *request)
{
    const struct load_image *image = &load->spec->images[request->image];
    char *length = load->lengths[request->image];
    const struct iovec parts[LOAD_PARTS] = {
        {load->head, strlen(load->head)},
        {request->customer->fields, strlen(request->customer->fields)},
        {length, strlen(length)},
        {(void *)(uintptr_t)image->data, image->len},
    };
    request->conn = conn;
    conn->request = request;
    load_conn_send(conn, parts);
}

/* ---- Connections ---- */

static void close_conn(struct load *load, struct load_conn *conn)
{
    struct customer *customer = conn->customer;
    if (!conn->request) {
        TAILQ_REMOVE(&customer->idle, conn, of_customer);
        TAILQ_REMOVE(&load->idle, conn, idle);
    } else {
        struct request *request = conn->request;
        request->conn = NULL;
        conn->request = NULL;
    }
    customer->open--;
    load->open--;
    load_conn_close(conn);
}

static struct load_conn *open_conn(struct load *load, struct customer *customer)
{
    struct load_conn *conn = NULL;
    if (load->open >= LOAD_CONNECTIONS_MAX && !TAILQ_EMPTY(&load->idle))
        close_conn(load, TAILQ_FIRST(&load->idle));
    if (load->open >= LOAD_CONNECTIONS_MAX || load_conn_open(&load->conns, &conn) != ERR_OK)
        return NULL;
    conn->customer = customer;
    customer->open++;
    load->open++;
    load->stats->connections++;
    return conn;
}

/* An idle connection, the one used last; or a new one. NULL when there is none to be had. */
static struct load_conn *take_conn(struct load *load, struct customer *customer)
{
    struct load_conn *conn = TAILQ_FIRST(&customer->idle);
    if (!conn)
        return open_conn(load, customer);
    TAILQ_REMOVE(&customer->idle, conn, of_customer);
    TAILQ_REMOVE(&load->idle, conn, idle);
    return conn;
}

static bool may_send(const struct load *load, const struct customer *customer)
{
    return !TAILQ_EMPTY(&customer->idle) || customer->open < load->spec->connections;
}

static void held(struct load *load, const struct request *request)
{
    if (request->counts)
        histogram_add(&load->stats->held, clock_monotonic_us() - request->due_us);
}

/* Give waiting requests the connections that have become free. */
static void send_waiting(struct load *load, struct customer *customer)
{
    struct request *request;
    while ((request = TAILQ_FIRST(&customer->waiting)) != NULL && may_send(load, customer)) {
        struct load_conn *conn = take_conn(load, customer);
        TAILQ_REMOVE(&customer->waiting, request, waiting);
        held(load, request);
        if (conn)
            send_on(load, conn, request);
        else
            fail_request(load, request, LOAD_CONNECT);
    }
}

static void on_answered(void *arg, struct load_conn *conn, const struct http_answer *answer, bool reusable)
{
    struct load *load = arg;
    struct request *request = conn->request;
    struct customer *customer = conn->customer;
    if (request->counts)
        load_stats_answered(load->stats, customer->first, answer, load->spec->images[request->image].len,
                            clock_monotonic_us() - request->due_us);
    forget(load, request);
    TAILQ_INSERT_HEAD(&customer->idle, conn, of_customer);
    TAILQ_INSERT_TAIL(&load->idle, conn, idle);
    if (!reusable)
        close_conn(load, conn);
    send_waiting(load, customer);
}

static void on_broken(void *arg, struct load_conn *conn, enum load_failure why)
{
    struct load *load = arg;
    struct request *request = conn->request;
    struct customer *customer = conn->customer;
    close_conn(load, conn);
    if (request)
        fail_request(load, request, why);
    send_waiting(load, customer);
}

/* ---- Time ---- */

static void on_timeout(void *arg)
{
    struct load *load = arg;
    struct request *request;
    int64_t now_us = clock_monotonic_us();
    while ((request = TAILQ_FIRST(&load->under_way)) != NULL && now_us >= request->due_us + load->spec->timeout_us) {
        struct customer *customer = request->customer;
        if (request->conn) {
            close_conn(load, request->conn);
        } else {
            TAILQ_REMOVE(&customer->waiting, request, waiting);
            held(load, request);
        }
        fail_request(load, request, LOAD_TIMEOUT);
        send_waiting(load, customer);
    }
    if (request)
        loop_timer_at(load->timeout, request->due_us + load->spec->timeout_us);
}

static struct request *new_request(struct load *load)
{
    struct request *request = TAILQ_FIRST(&load->spare);
    if (load->under_way_count == LOAD_UNDER_WAY_MAX)
        return NULL;
    if (!request)
        return calloc(1, sizeof(*request));
    TAILQ_REMOVE(&load->spare, request, under_way);
    request->conn = NULL;
    return request;
}

static void launch(struct load *load)
{
    struct request *request = new_request(load);
    if (!request) {
        load->over = load->stats->cut = true;
        return;
    }
    size_t chosen = mix_choose(load->spec->mix, arrivals_unit(&load->random));
    struct customer *customer = &load->customers[chosen];
    request->customer = customer;
    request->image = arrivals_random(&load->random) % load->spec->image_count;
    request->due_us = load->start_us + load->due_us;
    request->counts = load->due_us >= load->spec->warm_up_us;
    if (TAILQ_EMPTY(&load->under_way))
        loop_timer_at(load->timeout, request->due_us + load->spec->timeout_us);
    TAILQ_INSERT_TAIL(&load->under_way, request, under_way);
    load->under_way_count++;
    if (request->counts) {
        load_stats_sent(load->stats, customer->first);
        histogram_add(&load->stats->late, clock_monotonic_us() - request->due_us);
    } else {
        load->stats->warm++;
    }
    struct load_conn *conn = NULL;
    if (!may_send(load, customer))
        TAILQ_INSERT_TAIL(&customer->waiting, request, waiting);
    else if ((conn = take_conn(load, customer)) != NULL)
        send_on(load, conn, request);
    else
        fail_request(load, request, LOAD_CONNECT);
}

static void plan(struct load *load)
{
    uint64_t before = load->arrivals.count;
    load->over = load->over || before >= load->spec->most || !arrivals_next(&load->arrivals, &load->due_us);
}

/* Launch what is due, but let connections have their turn now and then. */
static void on_next(void *arg)
{
    struct load *load = arg;
    for (int i = 0; i < LAUNCHES_A_ROUND && !load->over; i++) {
        if (clock_monotonic_us() < load->start_us + load->due_us)
            break;
        launch(load);
        plan(load);
    }
    if (!load->over)
        loop_timer_at(load->next, load->start_us + load->due_us);
    end_when_idle(load);
}

static void on_tick(void *arg)
{
    struct load *load = arg;
    int64_t now_us = clock_monotonic_us();
    load->spec->tick(load->spec->arg, now_us - load->start_us);
    loop_timer_at(load->tick, now_us + TICK_US);
}

static void on_signal(void *arg, int signo)
{
    struct load *load = arg;
    (void)signo;
    load->over = load->stats->cut = true;
    loop_timer_cancel(load->next);
    if (load->stopping)
        loop_stop(load->loop);
    load->stopping = true;
    end_when_idle(load);
}

/* ---- Life ---- */

static int make_heads(struct load *load)
{
    const struct load_spec *spec = load->spec;
    int len = snprintf(load->head, sizeof(load->head), "POST %s HTTP/1.1\r\nHost: %s\r\n", spec->path, spec->authority);
    if (len < 0 || (size_t)len >= sizeof(load->head))
        return ERR_RANGE;
    load->lengths = calloc(spec->image_count, sizeof(*load->lengths));
    load->customers = calloc(spec->mix->count, sizeof(*load->customers));
    if (!load->lengths || !load->customers)
        return ERR_NOMEM;
    for (size_t i = 0; i < spec->image_count; i++)
        snprintf(load->lengths[i], sizeof(load->lengths[i]), "Content-Length: %zu\r\n\r\n", spec->images[i].len);
    for (size_t i = 0; i < spec->mix->count; i++) {
        struct customer *customer = &load->customers[i];
        customer->first = i == 0;
        TAILQ_INIT(&customer->idle);
        TAILQ_INIT(&customer->waiting);
        if (asprintf(&customer->fields, "Authorization: Bearer %s\r\n", spec->keys[i]) < 0) {
            customer->fields = NULL;
            return ERR_NOMEM;
        }
    }
    return ERR_OK;
}

static int find_address(struct load *load)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    if (getaddrinfo(load->spec->host, load->spec->port, &hints, &load->address) != 0) {
        load->address = NULL;
        return ERR_NOTFOUND;
    }
    load->conns.address = load->address->ai_addr;
    load->conns.address_len = load->address->ai_addrlen;
    return ERR_OK;
}

static int open_load(struct load *load)
{
    load->conns = (struct load_conn_config){.answered = on_answered, .broken = on_broken, .arg = load};
    TAILQ_INIT(&load->idle);
    TAILQ_INIT(&load->under_way);
    TAILQ_INIT(&load->spare);
    load->arrivals = *load->spec->arrivals;
    load->random = ~load->spec->arrivals->random;
    load->conns.buffer = malloc(LOAD_READ_BYTES);
    int err = load->conns.buffer ? make_heads(load) : ERR_NOMEM;
    if (err == ERR_OK)
        err = find_address(load);
    if (err == ERR_OK)
        err = loop_new(&load->loop);
    load->conns.loop = load->loop;
    if (err == ERR_OK)
        err = loop_timer_new(load->loop, on_next, load, &load->next);
    if (err == ERR_OK)
        err = loop_timer_new(load->loop, on_timeout, load, &load->timeout);
    if (err == ERR_OK)
        err = loop_timer_new(load->loop, on_tick, load, &load->tick);
    if (err == ERR_OK)
        err = loop_signal(load->loop, SIGINT, on_signal, load);
    return err == ERR_OK ? loop_signal(load->loop, SIGTERM, on_signal, load) : err;
}

static void close_load(struct load *load)
{
    struct request *request;
    struct load_conn *conn;
    while ((request = TAILQ_FIRST(&load->under_way)) != NULL) {
        if (request->conn)
            close_conn(load, request->conn);
        forget(load, request);
    }
    for (struct request *next = TAILQ_FIRST(&load->spare); (request = next) != NULL;) {
        next = TAILQ_NEXT(request, under_way);
        free(request);
    }
    while ((conn = TAILQ_FIRST(&load->idle)) != NULL)
        close_conn(load, conn);
    for (size_t i = 0; load->customers && i < load->spec->mix->count; i++) {
        char *fields = load->customers[i].fields;
        if (fields)
            explicit_bzero(fields, strlen(fields));
        free(fields);
    }
    loop_timer_free(load->next);
    loop_timer_free(load->timeout);
    loop_timer_free(load->tick);
    loop_free(load->loop);
    free(load->customers);
    free(load->lengths);
    free(load->conns.buffer);
    if (load->address)
        freeaddrinfo(load->address);
}

/* As many descriptors as may be had; timers to the microsecond. */
static void prepare_process(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

int load_run(const struct load_spec *spec, struct load_stats *stats)
{
    struct load load = {.spec = spec, .stats = stats};
    int err = open_load(&load);
    if (err == ERR_OK) {
        prepare_process();
        load.start_us = clock_monotonic_us();
        plan(&load);
        if (!load.over)
            loop_timer_at(load.next, load.start_us + load.due_us);
        if (spec->tick)
            loop_timer_at(load.tick, load.start_us + TICK_US);
        if (!load.over)
            err = loop_run(load.loop);
        int64_t planned_us = (int64_t)(spec->arrivals->duration_s * 1e6);
        bool whole = !stats->cut && load.arrivals.count < spec->most;
        stats->measured_us = (whole ? planned_us : load.due_us) - spec->warm_up_us;
    }
    close_load(&load);
    return err;
}
