/* SPDX-License-Identifier: MIT */
/* The pool: slots, the zygote that fills them, and what happens when one ends. */
#include "pool_parts.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/log.h"
#include "sandbox.h"
#include "sanitizer.h"
#include "zygote.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BACKOFF_MIN_US = 10 * 1000,
    BACKOFF_MAX_US = 1000 * 1000,
    /* For a zygote to load libvips and fork: some hundred times as much as it takes. */
    START_US = (UNDER_SANITIZER ? 60 : 5) * 1000 * 1000
};

/* Address space beyond the memory that may be used: stacks of threads, what is reserved and not touched. */
enum { ADDRESS_ROOM = 1024 * 1024 * 1024 };

static unsigned count_state(const struct pool *p, enum slot_state state)
{
    unsigned n = 0;
    for (unsigned i = 0; i < p->count; i++)
        n += p->slots[i].state == state;
    return n;
}

unsigned pool_idle(const struct pool *pool)
{
    return count_state(pool, SLOT_IDLE);
}

unsigned pool_busy(const struct pool *pool)
{
    return count_state(pool, SLOT_BUSY);
}

unsigned pool_slots(const struct pool *pool)
{
    unsigned live = pool_idle(pool) + pool_busy(pool);
    return pool->zygote_proven ? pool->count : live;
}

void pool_changed(struct pool *p)
{
    metrics_set(p->config.metrics, METRIC_CONVERTERS_BUSY, pool_busy(p));
    metrics_set(p->config.metrics, METRIC_CONVERTERS_IDLE, pool_idle(p));
    p->config.changed(p->config.arg);
}

/* ---- The zygote ---- */

static void retry_later(struct pool *p)
{
    loop_timer_at(p->backoff, clock_monotonic_us() + p->backoff_us);
    p->backoff_us = p->backoff_us * 2 < BACKOFF_MAX_US ? p->backoff_us * 2 : BACKOFF_MAX_US;
}

static void zygote_forget(struct pool *p)
{
    if (p->zygote_watch)
        loop_unwatch(p->zygote_watch);
    if (p->control_watch)
        loop_unwatch(p->control_watch);
    if (p->zygote_pidfd >= 0)
        close(p->zygote_pidfd);
    if (p->control >= 0)
        close(p->control);
    p->zygote_watch = p->control_watch = NULL;
    p->zygote_pidfd = p->control = -1;
    p->zygote_pid = 0;
    p->zygote_proven = false;
}

/* Children that belong to nobody: processes in between whose zygote was killed, and what they forked. Stops at the first that does
 * belong to somebody; its own event comes, and then this is called again. */
void pool_reap_strays(struct pool *p)
{
    siginfo_t info;
    for (;;) {
        memset(&info, 0, sizeof(info));
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid == 0 || info.si_pid == p->zygote_pid)
            return;
        for (unsigned i = 0; i < p->count; i++)
            if (p->slots[i].pid == info.si_pid)
                return;
        waitpid(info.si_pid, NULL, WNOHANG);
    }
}

/* Running converters go on; those that were asked for and not delivered are asked for again. */
static void on_zygote_ended(void *arg, int fd, uint32_t events)
{
    struct pool *p = arg;
    int status = 0;
    (void)fd;
    (void)events;
    waitpid(p->zygote_pid, &status, 0);
    if (p->config.cgroup && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        (void)cgroup_take_kill(p->config.cgroup);
    log_warn("zygote_lost", "the zygote ended and is started again",
             LOG_I("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
             LOG_I("status", WIFEXITED(status) ? WEXITSTATUS(status) : 0));
    zygote_forget(p);
    for (unsigned i = 0; i < p->count; i++)
        if (p->slots[i].state == SLOT_STARTING)
            slot_clear(&p->slots[i]);
    pool_reap_strays(p);
    retry_later(p);
    pool_changed(p);
}

static int slot_deliver(struct pool *p, struct slot *s, pid_t pid, int pidfd)
{
    s->pid = pid;
    s->pidfd = pidfd;
    s->born_us = clock_monotonic_us();
    int err = loop_watch(p->config.loop, pidfd, EPOLLIN, pool_slot_ended, s, &s->pid_watch);
    if (!err)
        err = loop_watch(p->config.loop, s->channel, EPOLLIN, pool_slot_answered, s, &s->channel_watch);
    if (err) {
        slot_kill(s);
        s->state = SLOT_ENDING;
        return err;
    }
    loop_timer_cancel(s->timer);
    s->cpu_started_us = slot_cpu_us(s);
    s->state = SLOT_IDLE;
    p->zygote_proven = true;
    p->backoff_us = BACKOFF_MIN_US;
    pool_count(p, METRIC_CONVERTERS_STARTED);
    return 0;
}

/* Once, and again when it changes: a limit of namespaces may be reached later. */
static void tell_sandbox(struct pool *p, uint32_t missing)
{
    char text[SANDBOX_MISSING_SIZE];
    if (p->sandbox_told && p->sandbox_missing == missing)
        return;
    p->sandbox_told = true;
    p->sandbox_missing = missing;
    metrics_set(p->config.metrics, METRIC_SANDBOX_MISSING, __builtin_popcount(missing));
    if (missing)
        log_warn("sandbox_incomplete", "converters run with less than the whole sandbox",
                 LOG_S("missing", sandbox_missing(missing, text)));
    else
        log_info("sandbox_complete", "converters run in the whole sandbox");
}

static void on_spawned(void *arg, int fd, uint32_t events)
{
    struct pool *p = arg;
    struct control_spawned m;
    int pidfd = -1;
    size_t fds = 0;
    (void)events;
    while (control_recv(fd, &m, sizeof(m), MSG_DONTWAIT, &pidfd, 1, &fds) == 0) {
        tell_sandbox(p, m.missing);
        struct slot *s = m.slot < p->count ? &p->slots[m.slot] : NULL;
        if (!s || s->state != SLOT_STARTING || s->generation != m.generation) {
            if (fds > 0)
                close(pidfd);
        } else if (fds == 0 || slot_deliver(p, s, m.pid, pidfd)) {
            log_error("converter_not_started", "a converter could not be started", LOG_U("slot", m.slot));
            slot_clear(s);
            retry_later(p);
        }
    }
    pool_changed(p);
}

static void zygote_down(struct pool *p)
{
    if (p->zygote_pid > 0) {
        pidfd_send_signal(p->zygote_pidfd, SIGKILL, NULL, 0);
        waitpid(p->zygote_pid, NULL, 0);
    }
    zygote_forget(p);
}

static int zygote_up(struct pool *p)
{
    int err = zygote_start(p->config.limits->svg, &p->zygote_pid, &p->zygote_pidfd, &p->control);
    if (err) {
        p->zygote_pid = 0;
        p->zygote_pidfd = p->control = -1;
        log_error("zygote_not_started", "the zygote cannot be started", LOG_S("reason", err_text(err)));
        return err;
    }
    pool_count(p, METRIC_ZYGOTES_STARTED);
    /* Converters are born where the zygote is, and there is none before it is asked for one. */
    if (p->config.cgroup && cgroup_add(p->config.cgroup, p->zygote_pid))
        log_warn("cgroup_failed",
                 "converters cannot be put into their cgroup; the supervisor alone watches their memory",
                 LOG_S("cgroup", cgroup_path(p->config.cgroup)));
    err = loop_watch(p->config.loop, p->zygote_pidfd, EPOLLIN, on_zygote_ended, p, &p->zygote_watch);
    if (!err)
        err = loop_watch(p->config.loop, p->control, EPOLLIN, on_spawned, p, &p->control_watch);
    if (err)
        zygote_down(p);
    return err;
}

static int slot_request(struct pool *p, struct slot *s)
{
    int fds[CONTROL_FDS_MAX];
    struct control_spawn m;
    int err = slot_prepare(s, p->config.input_bytes, p->config.output_bytes, fds);
    if (err)
        return err;
    memset(&m, 0, sizeof(m));
    m.slot = s->index;
    m.generation = s->generation = ++p->generation;
    m.test = p->config.test_mode;
    m.input_bytes = p->config.input_bytes;
    m.output_bytes = p->config.output_bytes;
    m.memory_bytes = p->config.memory_bytes + ADDRESS_ROOM;
    err = control_send(p->control, &m, sizeof(m), fds, CONTROL_FDS_MAX);
    for (size_t i = 0; i < CONTROL_FDS_MAX; i++)
        close(fds[i]);
    if (err) {
        slot_clear(s);
        return err;
    }
    s->state = SLOT_STARTING;
    loop_timer_at(s->timer, clock_monotonic_us() + START_US);
    return 0;
}

/* Ask the zygote for every converter that is missing; start the zygote first if need be. */
void pool_fill(struct pool *p)
{
    if (p->zygote_pid == 0 && zygote_up(p)) {
        retry_later(p);
        return;
    }
    for (unsigned i = 0; i < p->count; i++) {
        if (p->slots[i].state == SLOT_EMPTY && slot_request(p, &p->slots[i])) {
            retry_later(p);
            return;
        }
    }
}

static void on_backoff(void *arg)
{
    pool_fill(arg);
}

/* ---- Life ---- */

int pool_open(const struct pool_config *config, struct pool **out)
{
    struct pool *p = calloc(1, sizeof(*p) + config->converters * sizeof(p->slots[0]));
    *out = NULL;
    if (!p)
        return ERR_NOMEM;
    p->config = *config;
    p->count = config->converters;
    p->zygote_pidfd = p->control = -1;
    p->backoff_us = BACKOFF_MIN_US;
    int err = prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) ? ERR_IO : 0;
    if (!err)
        err = loop_timer_new(config->loop, on_backoff, p, &p->backoff);
    if (!err)
        err = loop_timer_new(config->loop, pool_watch, p, &p->watch);
    for (unsigned i = 0; i < p->count; i++) {
        struct slot *s = &p->slots[i];
        s->owner = p;
        s->index = i;
        s->pidfd = s->channel = -1;
        if (!err)
            err = loop_timer_new(config->loop, pool_slot_timer, s, &s->timer);
    }
    if (!err)
        err = zygote_up(p);
    if (err) {
        pool_close(p);
        return err;
    }
    pool_fill(p);
    pool_watch(p);
    *out = p;
    return 0;
}

static void slot_close(struct slot *s)
{
    slot_kill(s);
    if (s->pid > 0)
        waitpid(s->pid, NULL, 0);
    slot_clear(s);
    if (s->timer)
        loop_timer_free(s->timer);
}

void pool_close(struct pool *pool)
{
    if (!pool)
        return;
    for (unsigned i = 0; i < pool->count; i++)
        slot_close(&pool->slots[i]);
    zygote_down(pool);
    if (pool->backoff)
        loop_timer_free(pool->backoff);
    if (pool->watch)
        loop_timer_free(pool->watch);
    free(pool);
}
