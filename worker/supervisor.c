/* SPDX-License-Identifier: MIT */
/* The supervisor's loop: messages in, credit, results out. */
#include "supervisor.h"

#include "arenas.h"
#include "cgroup.h"
#include "greetings.h"
#include "jobs.h"
#include "peers.h"
#include "pool.h"
#include "sizing.h"
#include "worker_metrics.h"

#include "cavage/bus.h"
#include "cavage/clock.h"
#include "cavage/cluster.h"
#include "cavage/credit.h"
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    ADDRESS_SIZE = 256,
    MEMORY_KERNEL = 64 * 1024 * 1024,
    FLUSH_US = 1000,       /* between two tries to send what waits */
    LINGER_US = 300 * 1000 /* after the last result of a drain: nanomsg loses what is sent just before the exit */
};

struct supervisor {
    struct daemon *daemon;
    char address[ADDRESS_SIZE];
    struct id boot;
    size_t max_body;
    struct limits limits;
    struct bus_pull *pull;
    struct loop_watch *pull_watch;
    struct loop_timer *timer;
    struct credit *credit;
    struct seal *seal; /* NULL: worker.listen is not tcp */
    struct greetings *greetings;
    struct peers *peers;
    struct arenas *arenas;
    struct jobs *jobs;
    struct pool *pool;
    struct cgroup *cgroup; /* NULL: memory is watched only */
    unsigned converters;
    int loadavg_fd;
    unsigned load_permille; /* when last read */
    bool ready;
    bool draining;
    int64_t drain_until_us;
    int64_t quiet_since_us; /* draining: nothing was left to do or to send */
};

/* ---- Out ---- */

static void count_dropped(const struct supervisor *s, size_t count, const char *reason)
{
    if (count == 0)
        return;
    metrics_add(s->daemon->metrics, METRIC_RESULTS_DROPPED, (int64_t)count);
    log_warn("result_dropped", "results could not be sent", LOG_U("count", count), LOG_S("reason", reason));
}

/* A RESULT with the status of this moment. */
static void send_result(struct supervisor *s, size_t api, struct wire_result *r, const uint8_t *body, size_t body_len)
{
    uint8_t *data;
    uint8_t *room;
    size_t len;
    int64_t now_us = clock_monotonic_us();
    credit_set_busy(s->credit, now_us, pool_busy(s->pool), s->load_permille);
    credit_status(s->credit, now_us, api, &r->status);
    r->status.longest = s->max_body;
    int err = wire_pack_result(r, body_len, bus_alloc, &data, &len, &room);
    if (!err) {
        if (body_len > 0)
            memcpy(room, body, body_len);
        err = peers_send(s->peers, api, data, len);
    }
    if (err)
        count_dropped(s, 1, err_text(err));
    s->quiet_since_us = 0;
}

static void on_job_ended(void *arg, size_t api, struct wire_result *r, const uint8_t *body, size_t body_len,
                         bool wanted)
{
    struct supervisor *s = arg;
    credit_done(s->credit, clock_monotonic_us(), api, r->sequence);
    if (wanted)
        send_result(s, api, r, body, body_len);
}

static void send_status(struct supervisor *s, int64_t now_us, size_t api)
{
    struct wire_status m;
    uint8_t *data;
    size_t len;
    credit_status(s->credit, now_us, api, &m);
    m.longest = s->max_body;
    /* What waits for this API is older, and says more; the next status is 250 ms away. */
    if (!peers_waits(s->peers, api) && wire_pack_status(&m, bus_alloc, &data, &len) == 0)
        (void)peers_send(s->peers, api, data, len);
}

/* ---- In ---- */

static void refuse(const struct supervisor *s)
{
    metrics_add(s->daemon->metrics, METRIC_MESSAGES_REFUSED, 1);
}

/* A message speaks for the API that sealed it, and for no other. */
static bool is_of(const struct bus_from *from, const struct id *api_boot)
{
    return !from->sealed || id_equal(&from->boot, api_boot);
}

static void on_hello(struct supervisor *s, int64_t now_us, const struct frame *f, const struct bus_from *from)
{
    struct wire_hello m;
    size_t api;
    bool is_new;
    if (wire_unpack_hello(f, &m) || !is_of(from, &m.api_boot) || !bus_may_answer(from, m.result_address)) {
        refuse(s);
        return;
    }
    if (from->sealed && !from->addressed) {
        if (greetings_add(s->greetings, now_us, &m))
            refuse(s);
        return;
    }
    int err = credit_hello(s->credit, now_us, &m, &api, &is_new);
    if (err) {
        if (err != ERR_EXISTS) /* it knows us by two addresses, and says HELLO to both */
            refuse(s);
        return;
    }
    arenas_meet(s->arenas, now_us, api, &m);
    if (is_new)
        (void)peers_open(s->peers, api, now_us, m.result_address, &m.api_boot);
}

/* The image is the body, or where the job says. */
static int find_image(struct supervisor *s, size_t api, const struct wire_job *m, const struct frame *f,
                      struct input *image)
{
    *image = (struct input){.len = f->body_len, .whole = f->body};
    if (m->arena == 0)
        return ERR_OK;
    int err = arenas_find(s->arenas, api, m, image);
    if (!err)
        metrics_add(s->daemon->metrics, METRIC_JOBS_LENT, 1);
    return err;
}

/* True when the message was taken over. */
static bool on_job(struct supervisor *s, int64_t now_us, const struct frame *f, const struct bus_from *from,
                   uint8_t *message)
{
    struct wire_job m;
    struct input image;
    size_t api = 0;
    int err =
        wire_unpack_job(f, &m) || !is_of(from, &m.api_boot) ? ERR_INVALID : credit_job(s->credit, now_us, &m, &api);
    int found = err == 0 ? find_image(s, api, &m, f, &image) : ERR_OK;
    if (found) {
        /* From before this link; or one that will never be taken: it is dropped like a message that is too long, or it would come again and again. */
        credit_done(s->credit, now_us, api, m.sequence);
        err = found == ERR_NOTFOUND ? ERR_DENIED : found;
    }
    if (err == 0) {
        if (jobs_add(s->jobs, now_us, api, &m, message, &image))
            credit_done(s->credit, now_us, api, m.sequence);
        return true;
    }
    refuse(s);
    if (err == ERR_DENIED || err == ERR_FULL) {
        struct wire_result r = {.sequence = m.sequence, .job = m.job, .outcome = OUTCOME_NOT_STARTED};
        send_result(s, api, &r, NULL, 0);
        metrics_add(s->daemon->metrics, METRIC_JOBS + OUTCOME_NOT_STARTED, 1);
    }
    return false;
}

static void on_cancel(struct supervisor *s, const struct frame *f, const struct bus_from *from)
{
    struct wire_cancel m;
    if (wire_unpack_cancel(f, &m) || !is_of(from, &m.api_boot) || !id_equal(&m.worker_boot, &s->boot))
        refuse(s);
    else
        jobs_cancel(s->jobs, &m);
}

static void take_message(struct supervisor *s, uint8_t *data, size_t len, const struct bus_from *from)
{
    struct frame f;
    int64_t now_us = clock_monotonic_us();
    bool taken = false;
    bool known = frame_parse(data, len, s->max_body, &f) == 0;
    bool fresh = !from->sealed || from->addressed; /* else it may be a replay, and only HELLO bears one */
    if (known && f.type == FRAME_HELLO)
        on_hello(s, now_us, &f, from);
    else if (known && fresh && f.type == FRAME_JOB)
        taken = on_job(s, now_us, &f, from, data);
    else if (known && fresh && f.type == FRAME_CANCEL)
        on_cancel(s, &f, from);
    else
        refuse(s);
    if (taken)
        return;
    explicit_bzero(data, len); /* it may hold an image */
    bus_free(data);
}

/* ---- Between ---- */

static void tell_apis(struct supervisor *s, int64_t now_us)
{
    size_t api;
    while (credit_next_gone(s->credit, now_us, &api)) {
        jobs_forget_api(s->jobs, api);
        arenas_leave(s->arenas, api);
        peers_close(s->peers, api);
        log_info("api_gone", "an API was silent too long or was replaced", LOG_U("api", api));
    }
    peers_retry(s->peers, now_us);
    bool load_read = false;
    while (credit_next_status(s->credit, now_us, &api)) {
        if (!load_read)
            s->load_permille = sizing_load_permille(s->loadavg_fd);
        load_read = true;
        credit_set_busy(s->credit, now_us, pool_busy(s->pool), s->load_permille);
        send_status(s, now_us, api);
    }
    count_dropped(s, peers_flush(s->peers), "the socket failed while they waited");
    greetings_tick(s->greetings, now_us);
}

/* Over when all that was held is answered, and a while has passed for it to leave. */
static bool drain_over(struct supervisor *s, int64_t now_us)
{
    if (credit_held(s->credit) > 0 || peers_backlog(s->peers) > 0)
        s->quiet_since_us = 0;
    else if (s->quiet_since_us == 0)
        s->quiet_since_us = now_us;
    return (s->quiet_since_us > 0 && now_us - s->quiet_since_us >= LINGER_US) || now_us >= s->drain_until_us;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* After every event: start jobs, tell APIs, and see when to come back. */
static void go_on(struct supervisor *s)
{
    int64_t now_us = clock_monotonic_us();
    if (!s->pool || !s->pull)
        return;
    jobs_begin(s->jobs, now_us);
    credit_set_slots(s->credit, now_us, pool_slots(s->pool));
    tell_apis(s, now_us);
    int64_t next = sooner(credit_next_us(s->credit), greetings_next_us(s->greetings, now_us));
    next = sooner(next, peers_next_us(s->peers));
    if (peers_may_send(s->peers, now_us))
        next = sooner(next, now_us + FLUSH_US);
    if (s->draining && drain_over(s, now_us))
        daemon_drained(s->daemon);
    else if (s->draining)
        next =
            sooner(next, sooner(s->drain_until_us, s->quiet_since_us > 0 ? s->quiet_since_us + LINGER_US : INT64_MAX));
    loop_timer_at(s->timer, next);
}

static void on_messages(void *arg, int fd, uint32_t events)
{
    struct supervisor *s = arg;
    uint8_t *data;
    size_t len;
    struct bus_from from;
    (void)fd;
    (void)events;
    while (bus_recv(s->pull, &data, &len, &from) == 0)
        take_message(s, data, len, &from);
    cluster_count(s->daemon->metrics, METRIC_SEALED, s->seal);
    go_on(s);
}

static void on_timer(void *arg)
{
    go_on(arg);
}

/* Ready when all converters have come up; some may have jobs already, since APIs send as soon as one is there. */
static void on_pool_changed(void *arg)
{
    struct supervisor *s = arg;
    go_on(s);
    if (!s->ready && s->pull && pool_idle(s->pool) + pool_busy(s->pool) == s->converters) {
        s->ready = true;
        daemon_ready(s->daemon);
    }
}

static void on_arena_lost(void *arg, size_t api)
{
    struct supervisor *s = arg;
    jobs_lose_arena(s->jobs, api);
    go_on(s);
}

/* ---- Life ---- */

static int open_jobs(struct supervisor *s)
{
    const struct conf *conf = s->daemon->conf;
    limits_read(conf, &s->limits);
    struct jobs_config jobs = {
        .metrics = s->daemon->metrics,
        .limits = &s->limits,
        .test_mode = s->daemon->test_mode,
        .ended = on_job_ended,
        .arg = s,
    };
    int err = stub_parse(conf_str(conf, CONF_WORKER_CONVERTER), &jobs.stub);
    return err ? err : jobs_new(&jobs, &s->jobs);
}

/* What converters may use together, with room for results and for what the kernel keeps for each. */
static uint64_t memory_of_all(const struct supervisor *s)
{
    return s->converters * (sizing_memory_bytes(s->daemon->conf, &s->limits) +
                            limits_most(&s->limits, LIMIT_BYTES_OUT) + MEMORY_KERNEL);
}

static void open_cgroup(struct supervisor *s)
{
    char why[CGROUP_WHY_SIZE];
    const char *root = s->daemon->test_mode ? getenv("CAVAGE_TEST_CGROUP_ROOT") : NULL;
    uint64_t bytes = memory_of_all(s);
    int err = cgroup_open(root ? root : "", bytes, &s->cgroup, why);
    if (err)
        log_info("memory_watched", "the supervisor bounds converters' memory, without help by a cgroup",
                 LOG_S("reason", why));
    else
        log_info("memory_bounded", "a cgroup bounds the memory of all converters, and the supervisor that of each",
                 LOG_S("cgroup", cgroup_path(s->cgroup)), LOG_U("bytes", bytes));
    metrics_set(s->daemon->metrics, METRIC_MEMORY_CGROUP, !err);
}

static void on_pool_finished(void *arg, const struct pool_job *job, const struct pool_result *result)
{
    struct supervisor *s = arg;
    jobs_finished(s->jobs, job, result);
}

static int open_pool(struct supervisor *s)
{
    const struct conf *conf = s->daemon->conf;
    s->converters = sizing_converters(conf);
    open_cgroup(s);
    struct pool_config pool = {
        .loop = s->daemon->loop,
        .metrics = s->daemon->metrics,
        .converters = s->converters,
        .input_bytes = s->max_body,
        .output_bytes = (size_t)limits_most(&s->limits, LIMIT_BYTES_OUT),
        .limits = &s->limits,
        .deadline_us = conf_int(conf, CONF_WORKER_CONVERT_DEADLINE_MS) * 1000,
        .memory_bytes = sizing_memory_bytes(s->daemon->conf, &s->limits),
        .cgroup = s->cgroup,
        .recycle_jobs = sizing_jobs(conf),
        .recycle_us = conf_int(conf, CONF_WORKER_RECYCLE_MS) * 1000,
        .recycle_bytes = (uint64_t)conf_int(conf, CONF_WORKER_RECYCLE_BYTES),
        .test_mode = s->daemon->test_mode,
        .finished = on_pool_finished,
        .changed = on_pool_changed,
        .arg = s,
    };
    int err = pool_open(&pool, &s->pool);
    if (!err)
        jobs_set_pool(s->jobs, s->pool);
    return err;
}

static int open_arenas(struct supervisor *s)
{
    struct arenas_config config = {
        .loop = s->daemon->loop,
        .metrics = s->daemon->metrics,
        .boot = s->boot,
        .max_bytes = s->max_body,
        .lost = on_arena_lost,
        .arg = s,
    };
    return arenas_new(&config, &s->arenas);
}

static int open_bus(struct supervisor *s)
{
    static const enum conf_id endpoints[] = {CONF_WORKER_LISTEN};
    /* The zygote has been forked: converters never see the keys. */
    int err = cluster_open(s->daemon->conf, endpoints, 1, &s->boot, &s->seal);
    if (!err)
        err = greetings_new(&s->boot, s->seal, &s->greetings);
    if (!err)
        err = peers_new(CREDIT_APIS_MAX, (size_t)2 * s->converters + CREDIT_APIS_MAX, s->seal, &s->peers);
    if (!err)
        err = conf_endpoint(s->daemon->conf, CONF_WORKER_LISTEN, 0, s->address, sizeof(s->address));
    if (!err)
        err = bus_pull_open(s->address, s->max_body + FRAME_HEADER_MAX + FRAME_PREAMBLE_BYTES, s->seal, &s->pull);
    if (!err)
        err = loop_watch(s->daemon->loop, bus_pull_fd(s->pull), EPOLLIN, on_messages, s, &s->pull_watch);
    if (err)
        log_error("listen_failed", "cannot take jobs at worker.listen", LOG_S("address", s->address),
                  LOG_S("reason", err_text(err)));
    return err;
}

int supervisor_start(struct daemon *daemon)
{
    struct supervisor *s = calloc(1, sizeof(*s));
    if (!s)
        return ERR_NOMEM;
    daemon->state = s;
    s->daemon = daemon;
    s->max_body = (size_t)conf_int(daemon->conf, CONF_API_MAX_BODY_BYTES);
    s->loadavg_fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
    id_random(&s->boot);
    int err = credit_new(&s->boot, &s->credit);
    if (!err)
        err = loop_timer_new(daemon->loop, on_timer, s, &s->timer);
    if (!err)
        err = open_jobs(s);
    if (!err)
        err = open_pool(s);
    if (!err)
        err = open_arenas(s);
    if (err)
        log_error("start_failed", "cannot start converters", LOG_S("reason", err_text(err)));
    return err ? err : open_bus(s);
}

void supervisor_drain(struct daemon *daemon)
{
    struct supervisor *s = daemon->state;
    int64_t now_us = clock_monotonic_us();
    s->draining = true;
    s->drain_until_us = now_us + conf_int(daemon->conf, CONF_WORKER_DRAIN_MS) * 1000;
    credit_drain(s->credit, now_us);
    go_on(s);
}

void supervisor_stop(struct daemon *daemon)
{
    struct supervisor *s = daemon->state;
    if (!s)
        return;
    pool_close(s->pool);
    cgroup_close(s->cgroup);
    jobs_free(s->jobs);
    arenas_free(s->arenas);
    peers_free(s->peers);
    greetings_free(s->greetings);
    if (s->pull_watch)
        loop_unwatch(s->pull_watch);
    if (s->pull)
        bus_pull_close(s->pull);
    seal_free(s->seal);
    if (s->timer)
        loop_timer_free(s->timer);
    credit_free(s->credit);
    if (s->loadavg_fd >= 0)
        close(s->loadavg_fd);
    free(s);
    daemon->state = NULL;
}

void supervisor_describe(struct daemon *daemon, char *out, size_t size)
{
    const struct supervisor *s = daemon->state;
    snprintf(out, size, "\"listen\":\"%s\",\"converters\":%u", s->address, s->converters);
}

void supervisor_reload(struct daemon *daemon)
{
    const struct supervisor *s = daemon->state;
    cluster_reload(daemon->conf, s->seal);
}
