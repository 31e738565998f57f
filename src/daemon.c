/* SPDX-License-Identifier: MIT */
/* The life of a daemon, from its command line to its exit status. */
#include "cavage/daemon.h"

#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/log.h"
#include "cavage/ops.h"
#include "cavage/version.h"
#include "daemon_options.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* What daemon_main acquires besides what the daemon sees. */
struct daemon_life {
    struct daemon_options options;
    struct conf *conf;
    struct ops *ops;
    int lock_fd; /* holds the instance's lock; -1 before */
    char run_file[FS_PATH_SIZE];
    bool draining;
    bool failed;
    bool cut;
    bool misconfigured;
    pthread_mutex_t lock; /* guards serving, and keeps refresh and stop apart */
    bool serving;         /* from the end of start to the beginning of stop: refresh may look at the daemon's state */
};

/* Sanitizers and profilers may be refused by the kernel what they need of a process that is not dumpable; that is theirs to lift. */
static int harden(struct daemon *daemon)
{
    const struct rlimit none = {0, 0};
    struct rlimit files;
    (void)daemon;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
        setrlimit(RLIMIT_CORE, &none) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        log_error("harden_failed", "the process could not give up its rights", LOG_S("error", strerror(errno)));
        return ERR_IO;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0)
            log_warn("descriptor_limit", "the limit of descriptors could not be raised");
    }
    return ERR_OK;
}

static int load_conf(struct daemon *daemon)
{
    char why[1024];
    struct daemon_life *life = daemon->life;
    int err = daemon_options_load(&life->options, &life->conf, why, sizeof(why));
    if (err != ERR_OK) {
        log_error("config_invalid", why);
        life->misconfigured = true;
        return err;
    }
    daemon->conf = life->conf;
    log_set_level((enum log_level)conf_int(life->conf, CONF_COMMON_LOG_LEVEL));
    return ERR_OK;
}

/* The daemon that a section is about is the one with the operations listener in it, or the API for the sections without one. */
static bool concerns(const struct daemon *daemon, const struct conf_key *key)
{
    static const char *const of_api[] = {"staging", "queue", "usage"};
    const char *own = conf_key(daemon->spec->ops_listen)->section;
    bool mine = strcmp(key->section, "common") == 0 || strcmp(key->section, own) == 0;
    if (strcmp(key->section, "limits") == 0 || key == conf_key(CONF_API_MAX_BODY_BYTES))
        mine = strcmp(own, "api") == 0 || strcmp(own, "worker") == 0;
    for (size_t i = 0; i < sizeof(of_api) / sizeof(of_api[0]) && !mine; i++)
        mine = strcmp(own, "api") == 0 && strcmp(key->section, of_api[i]) == 0;
    return mine;
}

static void told_unchanged(void *arg, const struct conf_key *key)
{
    if (!concerns(arg, key))
        return;
    log_warn("config_not_reloadable", "a changed key takes effect only at the next start",
             LOG_S("section", key->section), LOG_S("key", key->name));
}

static void on_hangup(void *arg, int signo)
{
    char why[1024];
    struct daemon *daemon = arg;
    struct conf *fresh = NULL;
    (void)signo;
    int err = daemon_options_load(&daemon->life->options, &fresh, why, sizeof(why));
    if (err == ERR_OK) {
        err = conf_reload(daemon->life->conf, fresh, told_unchanged, daemon);
        snprintf(why, sizeof(why), "%s", err_text(err));
        conf_free(fresh);
    }
    if (err != ERR_OK) {
        log_error("reload_failed", "the configuration stays as it was", LOG_S("error", why));
        return;
    }
    log_set_level((enum log_level)conf_int(daemon->conf, CONF_COMMON_LOG_LEVEL));
    log_info("reloaded", "the configuration was read again");
    if (daemon->spec->reload != NULL)
        daemon->spec->reload(daemon);
}

static void on_terminate(void *arg, int signo)
{
    struct daemon *daemon = arg;
    if (daemon->life->draining) {
        log_warn("stopping", "a second signal ends the drain", LOG_S("signal", strsignal(signo)));
        loop_stop(daemon->loop);
        return;
    }
    daemon->life->draining = true;
    atomic_store(&daemon->ready, false);
    log_info("draining", "finishing what is in hand", LOG_S("signal", strsignal(signo)));
    if (daemon->spec->drain != NULL)
        daemon->spec->drain(daemon);
    else
        loop_stop(daemon->loop);
}

static int make_loop(struct daemon *daemon)
{
    int err = loop_new(&daemon->loop);
    if (err == ERR_OK)
        err = loop_signal(daemon->loop, SIGTERM, on_terminate, daemon);
    if (err == ERR_OK)
        err = loop_signal(daemon->loop, SIGINT, on_terminate, daemon);
    if (err == ERR_OK)
        err = loop_signal(daemon->loop, SIGHUP, on_hangup, daemon);
    if (err != ERR_OK)
        log_error("loop_failed", "the event loop could not be made", LOG_S("error", err_text(err)));
    return err;
}

static int make_metrics(struct daemon *daemon)
{
    int err = metrics_new(daemon->spec->metrics, daemon->spec->metric_count, &daemon->metrics);
    if (err != ERR_OK)
        log_error("metrics_failed", "the metrics could not be made", LOG_S("error", err_text(err)));
    return err;
}

/* A lock of the process, not of the descriptor: children that are forked without exec must not keep it. */
static int lock_instance(struct daemon_life *life, const char *run_dir)
{
    char name[128];
    char path[FS_PATH_SIZE];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    snprintf(name, sizeof(name), "%s.lock", life->options.instance);
    int err = fs_join(path, sizeof(path), run_dir, name);
    if (err != ERR_OK)
        return err;
    life->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (life->lock_fd < 0)
        return err_from_errno(errno);
    if (fcntl(life->lock_fd, F_SETLK, &lock) != 0)
        return errno == EAGAIN || errno == EACCES ? ERR_EXISTS : err_from_errno(errno);
    return ERR_OK;
}

static int make_run_dir(struct daemon *daemon)
{
    char dir[FS_PATH_SIZE];
    char name[128];
    struct daemon_life *life = daemon->life;
    /* The data folder may be entered by those who read usage files in it; what is private has folders of its own. */
    int err = fs_mkdirs(conf_str(daemon->conf, CONF_COMMON_DATA_DIR), 0755);
    if (err == ERR_OK)
        err = conf_path(daemon->conf, CONF_COMMON_RUN_DIR, dir, sizeof(dir));
    if (err == ERR_OK)
        err = fs_private_dir(dir);
    if (err == ERR_OK)
        err = lock_instance(life, dir);
    if (err == ERR_EXISTS) {
        log_error("already_running", "this instance runs already; give another one its own --instance",
                  LOG_S("instance", daemon->instance), LOG_S("folder", dir));
        return err;
    }
    snprintf(name, sizeof(name), "%s.json", daemon->instance);
    if (err == ERR_OK)
        err = fs_join(life->run_file, sizeof(life->run_file), dir, name);
    if (err != ERR_OK) {
        life->run_file[0] = '\0';
        log_error("run_dir_failed", "the run folder cannot be used; it has to be ours, with mode 0700",
                  LOG_S("folder", conf_str(daemon->conf, CONF_COMMON_RUN_DIR)), LOG_S("error", err_text(err)));
        return err;
    }
    unlink(life->run_file); /* of one that was killed */
    return ERR_OK;
}

static void refresh(void *arg)
{
    struct daemon *daemon = arg;
    pthread_mutex_lock(&daemon->life->lock);
    if (daemon->life->serving)
        daemon->spec->refresh(daemon);
    pthread_mutex_unlock(&daemon->life->lock);
}

static void set_serving(struct daemon_life *life, bool serving)
{
    pthread_mutex_lock(&life->lock);
    life->serving = serving;
    pthread_mutex_unlock(&life->lock);
}

/* A listener that nobody configured gives way to whoever has its port: the run file tells the address, and probing before would be a race. */
static int start_ops_or_move(struct daemon *daemon, struct ops_config *config)
{
    int err = ops_start(config, &daemon->life->ops);
    if (err != ERR_EXISTS || strcmp(conf_origin(daemon->conf, daemon->spec->ops_listen), "default") != 0)
        return err;
    log_info("ops_moved", "the default address of the operations listener is taken, so it gets a free port",
             LOG_S("taken", config->listen));
    config->listen = "127.0.0.1:0";
    return ops_start(config, &daemon->life->ops);
}

static int start_ops(struct daemon *daemon)
{
    struct ops_config config = {
        .listen = conf_str(daemon->conf, daemon->spec->ops_listen),
        .metrics = daemon->metrics,
        .ready = &daemon->ready,
        .refresh = daemon->spec->refresh == NULL ? NULL : refresh,
        .arg = daemon,
    };
    int err = start_ops_or_move(daemon, &config);
    if (err != ERR_OK) {
        log_error("ops_failed", "the operations listener could not be started", LOG_S("listen", config.listen),
                  LOG_S("error", err == ERR_EXISTS ? "is taken" : err_text(err)));
        return err;
    }
    daemon->ops_url = ops_url(daemon->life->ops);
    return ERR_OK;
}

static int start_daemon(struct daemon *daemon)
{
    log_info("starting", "starting", LOG_S("version", CAVAGE_VERSION), LOG_S("instance", daemon->instance));
    return daemon->spec->start(daemon);
}

static int run_loop(struct daemon *daemon)
{
    set_serving(daemon->life, true);
    int err = loop_run(daemon->loop);
    set_serving(daemon->life, false);
    if (err != ERR_OK)
        log_error("loop_failed", "the event loop ended", LOG_S("error", err_text(err)));
    if (daemon->life->failed)
        return ERR_IO;
    return err == ERR_OK && daemon->life->cut ? ERR_TIMEOUT : err;
}

static void release(struct daemon *daemon)
{
    struct daemon_life *life = daemon->life;
    atomic_store(&daemon->ready, false);
    if (life->run_file[0] != '\0')
        unlink(life->run_file);
    ops_stop(life->ops);
    metrics_free(daemon->metrics);
    loop_free(daemon->loop);
    conf_free(life->conf);
    if (life->lock_fd >= 0)
        close(life->lock_fd);
}

static int live(struct daemon *daemon)
{
    static int (*const steps[])(struct daemon *) = {
        harden, load_conf, make_loop, make_metrics, make_run_dir, start_ops,
    };
    int err = ERR_OK;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && err == ERR_OK; i++)
        err = steps[i](daemon);
    if (err == ERR_OK) {
        err = start_daemon(daemon);
        if (err == ERR_OK)
            err = run_loop(daemon);
        daemon->spec->stop(daemon);
    }
    release(daemon);
    return err;
}

int daemon_main(const struct daemon_spec *spec, int argc, char **argv)
{
    struct daemon_life life = {.lock_fd = -1};
    struct daemon daemon = {.spec = spec, .life = &life};
    int parsed = daemon_options_parse(spec, argc, argv, &life.options);
    if (parsed != ERR_OK)
        return parsed > 0 ? 0 : 2;
    if (!life.options.test)
        daemon_options_drop_test();
    daemon.test_mode = life.options.test;
    snprintf(daemon.instance, sizeof(daemon.instance), "%s", life.options.instance);
    log_open(spec->program, LOG_LEVEL_INFO);
    int err = live(&daemon);
    if (err == ERR_OK)
        log_info("stopped", "stopped as asked", LOG_U("log_lines_lost", log_lost()));
    else
        log_error("failed", "ended by a failure", LOG_S("error", err_text(err)));
    /* A supervisor that starts the daemon again would not mend its configuration. */
    if (life.misconfigured)
        return 2;
    return err == ERR_OK ? 0 : 1;
}

static int write_run_file(struct daemon *daemon)
{
    char extra[2048] = "";
    char text[4096];
    if (daemon->spec->describe != NULL)
        daemon->spec->describe(daemon, extra, sizeof(extra));
    int len = snprintf(text, sizeof(text),
                       "{\"pid\":%ld,\"program\":\"%s\",\"instance\":\"%s\",\"version\":\"%s\",\"ops\":\"%s\"%s%s}\n",
                       (long)getpid(), daemon->spec->program, daemon->instance, CAVAGE_VERSION, daemon->ops_url,
                       extra[0] == '\0' ? "" : ",", extra);
    if (len < 0 || (size_t)len >= sizeof(text))
        return ERR_RANGE;
    return fs_write_atomic(daemon->life->run_file, text, (size_t)len, 0600);
}

void daemon_ready(struct daemon *daemon)
{
    /* A drain that has begun is not taken back. */
    if (daemon->life->draining)
        return;
    atomic_store(&daemon->ready, daemon->spec->can_serve == NULL || daemon->spec->can_serve(daemon));
    int err = write_run_file(daemon);
    if (err == ERR_OK) {
        log_info("ready", "serving", LOG_S("ops", daemon->ops_url));
        return;
    }
    log_error("run_file_failed", "the run file could not be written", LOG_S("file", daemon->life->run_file),
              LOG_S("error", err_text(err)));
    atomic_store(&daemon->ready, false);
    daemon->life->failed = true;
    loop_stop(daemon->loop);
}

void daemon_cut(struct daemon *daemon)
{
    daemon->life->cut = true;
}

void daemon_drained(struct daemon *daemon)
{
    loop_stop(daemon->loop);
}
