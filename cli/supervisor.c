/* SPDX-License-Identifier: MIT */
/* One state machine for each daemon: started, watched, started again, stopped. */
#include "supervisor.h"

#include "cavage/backoff.h"
#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/log.h"
#include "child.h"
#include "run_file.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DAEMON_COUNT = 4, API = 3, OPTION_MAX = 16, DEATHS_MAX = 5, EXIT_USAGE = 2, EXIT_NO_EXEC = 127 };
enum { POLL_US = 20000, SLOW_START_US = 10000000, STOP_SLACK_MS = 10000 };

/* A daemon's life. */
enum state {
    STATE_WAITING,  /* not running; its timer will start it */
    STATE_STARTING, /* running, has not said that it is ready */
    STATE_READY,    /* running, was ready since it was started */
    STATE_GONE      /* not running, for good */
};

struct daemon_child {
    struct supervisor *supervisor;
    const char *instance;
    enum state state;
    bool was_ready; /* ever: a failure from now on is met by starting again, for ever */
    bool stopping;  /* was told to stop */
    pid_t pid;
    int pidfd;
    struct loop_watch *watch;
    struct loop_timer *timer; /* WAITING: start; stopping: kill */
    int64_t started_us;
    struct backoff backoff;
};

struct supervisor {
    struct supervisor_spec spec;
    struct daemon_child children[DAEMON_COUNT]; /* in the order of their start; stopped from the last to the first */
    struct loop_timer *poll;
    int64_t begun_us;
    bool slow_said, served, draining, ended;
    enum cli_status status;
};

const char *const supervisor_instances[] = {"authcache", "meter", "worker", "api", NULL};

static bool is_running(const struct daemon_child *child)
{
    return child->state == STATE_STARTING || child->state == STATE_READY;
}

static void on_exit_event(void *arg, int fd, uint32_t events);

static void wait_before_start(struct daemon_child *child, int64_t alive_us)
{
    child->state = STATE_WAITING;
    loop_timer_at(child->timer, clock_monotonic_us() + backoff_next(&child->backoff, alive_us));
}

static void begin(struct daemon_child *child)
{
    struct supervisor *supervisor = child->supervisor;
    char path[FS_PATH_SIZE], program[64];
    char *argv[OPTION_MAX] = {program};
    snprintf(program, sizeof(program), "cavage-%s", child->instance);
    for (size_t i = 0; i + 2 < OPTION_MAX && supervisor->spec.options[i]; i++)
        argv[i + 1] = supervisor->spec.options[i];
    struct child_spec spec = {path, argv, supervisor->spec.env,
                              child == &supervisor->children[API] ? supervisor->spec.listen_fd : -1};

    int err = fs_join(path, sizeof(path), supervisor->spec.bin_dir, program);
    child->started_us = clock_monotonic_us();
    if (err == ERR_OK)
        err = child_start(&spec, &child->pid, &child->pidfd);
    if (err != ERR_OK) {
        log_error("daemon_start_failed", "a daemon could not be started", LOG_S("daemon", program),
                  LOG_S("error", err_text(err)));
        wait_before_start(child, 0);
        return;
    }
    err = loop_watch(supervisor->spec.loop, child->pidfd, EPOLLIN, on_exit_event, child, &child->watch);
    if (err != ERR_OK) {
        kill(child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
        close(child->pidfd);
        wait_before_start(child, 0);
        return;
    }
    child->state = STATE_STARTING;
    loop_timer_at(supervisor->poll, child->started_us + POLL_US);
    log_info("daemon_started", "a daemon was started", LOG_S("daemon", child->instance), LOG_I("child", child->pid));
}

static int64_t stop_bound_us(const struct daemon_child *child)
{
    const struct conf *conf = child->supervisor->spec.conf;
    int64_t ms = STOP_SLACK_MS;
    if (strcmp(child->instance, "api") == 0)
        ms += conf_int(conf, CONF_API_DRAIN_MS) + conf_int(conf, CONF_API_DRAIN_DELAY_MS);
    else if (strcmp(child->instance, "worker") == 0)
        ms += conf_int(conf, CONF_WORKER_DRAIN_MS);
    return ms * 1000;
}

static void end(struct supervisor *supervisor)
{
    if (supervisor->ended)
        return;
    supervisor->ended = true;
    supervisor->spec.ended(supervisor->spec.arg, supervisor->status);
}

/* Stop the last daemon that is not gone yet; called again when it is. */
static void stop_next(struct supervisor *supervisor)
{
    for (int i = DAEMON_COUNT - 1; i >= 0; i--) {
        struct daemon_child *child = &supervisor->children[i];
        if (child->state == STATE_GONE)
            continue;
        if (is_running(child)) {
            if (child->stopping)
                return;
            child->stopping = true;
            kill(child->pid, SIGTERM);
            loop_timer_at(child->timer, clock_monotonic_us() + stop_bound_us(child));
            return;
        }
        loop_timer_cancel(child->timer);
        child->state = STATE_GONE;
    }
    end(supervisor);
}

/* Why a death before the first readiness ends it all, or NULL when it is worth another try. */
static const char *hopeless(const struct daemon_child *child, const siginfo_t *info)
{
    if (child->was_ready)
        return NULL;
    if (info->si_code == CLD_EXITED && info->si_status == EXIT_USAGE)
        return "does not accept its options or its configuration; the line before this one tells why";
    if (info->si_code == CLD_EXITED && info->si_status == EXIT_NO_EXEC)
        return "could not be executed; it belongs in the same folder as cavage";
    return child->backoff.failures >= DEATHS_MAX ? "failed again and again before it was ready" : NULL;
}

static void on_exit_event(void *arg, int fd, uint32_t events)
{
    (void)events;
    struct daemon_child *child = arg;
    struct supervisor *supervisor = child->supervisor;
    siginfo_t info = {0};
    if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0)
        return;
    loop_unwatch(child->watch);
    child->watch = NULL;
    close(child->pidfd);
    child->pidfd = -1;
    loop_timer_cancel(child->timer);
    const char *how = info.si_code == CLD_EXITED ? "exit" : "signal";
    if (child->stopping) {
        log_info("daemon_stopped", "a daemon has stopped", LOG_S("daemon", child->instance),
                 LOG_I(how, info.si_status));
        child->state = STATE_GONE;
        /* A drain that failed has lost something; the exit status must not hide it. */
        if (supervisor->status == CLI_OK && (info.si_code != CLD_EXITED || info.si_status != 0))
            supervisor->status = CLI_FAILED;
        stop_next(supervisor);
        return;
    }
    wait_before_start(child, clock_monotonic_us() - child->started_us);
    const char *reason = hopeless(child, &info);
    log_error("daemon_died", reason ? reason : "a daemon ended unasked and will be started again",
              LOG_S("daemon", child->instance), LOG_I(how, info.si_status),
              LOG_I("wait_ms", child->backoff.delay_us / 1000));
    if (reason) {
        fprintf(stderr, "cavage up: cavage-%s %s\n", child->instance, reason);
        loop_timer_cancel(child->timer);
        child->state = STATE_GONE;
        supervisor_drain(supervisor,
                         info.si_code == CLD_EXITED && info.si_status == EXIT_USAGE ? CLI_USAGE : CLI_FAILED);
    }
}

static void on_timer(void *arg)
{
    struct daemon_child *child = arg;
    if (child->state == STATE_WAITING) {
        begin(child);
    } else if (is_running(child) && child->stopping) {
        log_error("daemon_stuck", "a daemon did not stop in time and is killed", LOG_S("daemon", child->instance));
        kill(child->pid, SIGKILL);
    }
}

static bool poll_child(struct daemon_child *child)
{
    struct run_file file;
    if (child->state != STATE_STARTING)
        return child->state == STATE_READY;
    if (run_file_read(child->supervisor->spec.conf, child->instance, &file) != ERR_OK || file.pid != child->pid ||
        !run_file_ready(&file))
        return false;
    child->state = STATE_READY;
    child->was_ready = true;
    log_info("daemon_ready", "a daemon is ready", LOG_S("daemon", child->instance),
             LOG_I("start_ms", (clock_monotonic_us() - child->started_us) / 1000));
    return true;
}

static void on_poll(void *arg)
{
    struct supervisor *supervisor = arg;
    int ready = 0, starting = 0;
    const char *late = NULL;
    for (int i = 0; i < DAEMON_COUNT; i++) {
        if (poll_child(&supervisor->children[i]))
            ready++;
        else
            late = supervisor->children[i].instance;
        starting += supervisor->children[i].state == STATE_STARTING;
    }
    if (ready == DAEMON_COUNT && !supervisor->served && !supervisor->draining) {
        supervisor->served = true;
        supervisor->spec.serving(supervisor->spec.arg);
    }
    int64_t now_us = clock_monotonic_us();
    if (!supervisor->served && !supervisor->slow_said && late && now_us - supervisor->begun_us > SLOW_START_US) {
        supervisor->slow_said = true;
        log_warn("start_slow", "a daemon is not ready yet", LOG_S("daemon", late));
    }
    if (starting > 0)
        loop_timer_at(supervisor->poll, now_us + POLL_US);
}

int supervisor_start(const struct supervisor_spec *spec, struct supervisor **out)
{
    struct supervisor *supervisor = calloc(1, sizeof(*supervisor));
    if (!supervisor) {
        close(spec->listen_fd);
        return ERR_NOMEM;
    }
    supervisor->spec = *spec;
    supervisor->begun_us = clock_monotonic_us();
    int err = loop_timer_new(spec->loop, on_poll, supervisor, &supervisor->poll);
    for (int i = 0; i < DAEMON_COUNT && err == ERR_OK; i++) {
        struct daemon_child *child = &supervisor->children[i];
        *child = (struct daemon_child){.supervisor = supervisor, .instance = supervisor_instances[i], .pidfd = -1};
        err = loop_timer_new(spec->loop, on_timer, child, &child->timer);
    }
    if (err != ERR_OK) {
        supervisor_stop(supervisor);
        return err;
    }
    for (int i = 0; i < DAEMON_COUNT; i++)
        begin(&supervisor->children[i]);
    *out = supervisor;
    return ERR_OK;
}

static void close_listener(struct supervisor *supervisor)
{
    if (supervisor->spec.listen_fd >= 0)
        close(supervisor->spec.listen_fd);
    supervisor->spec.listen_fd = -1;
}

void supervisor_drain(struct supervisor *supervisor, enum cli_status status)
{
    if (supervisor->draining)
        return;
    supervisor->draining = true;
    supervisor->status = status;
    /* From here on only the API's own copy takes connections, and ends when the API closes it. */
    close_listener(supervisor);
    log_info("drain", "stopping: the API answers what is in, then worker, meter and authcache stop");
    stop_next(supervisor);
}

void supervisor_kill(struct supervisor *supervisor)
{
    supervisor->draining = true;
    supervisor->status = CLI_FAILED;
    close_listener(supervisor);
    for (int i = 0; i < DAEMON_COUNT; i++) {
        struct daemon_child *child = &supervisor->children[i];
        if (is_running(child)) {
            child->stopping = true;
            kill(child->pid, SIGKILL);
        }
    }
    stop_next(supervisor);
}

void supervisor_reload(struct supervisor *supervisor)
{
    for (int i = 0; i < DAEMON_COUNT; i++)
        if (is_running(&supervisor->children[i]) && !supervisor->children[i].stopping)
            kill(supervisor->children[i].pid, SIGHUP);
}

void supervisor_stop(struct supervisor *supervisor)
{
    if (!supervisor)
        return;
    for (int i = 0; i < DAEMON_COUNT; i++)
        if (supervisor->children[i].timer)
            loop_timer_free(supervisor->children[i].timer);
    if (supervisor->poll)
        loop_timer_free(supervisor->poll);
    close_listener(supervisor);
    free(supervisor);
}
