/* SPDX-License-Identifier: MIT */
/* `cavage up`: all four daemons on this machine, in the foreground, with a demo customer. */
#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/log.h"
#include "cavage/net.h"
#include "child.h"
#include "cli.h"
#include "demo.h"
#include "run_dir.h"
#include "run_file.h"
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPT_DATA, OPT_LISTEN, OPT_CONVERTERS, OPT_CONFIG, OPT_JSON, OPT_TEST };
enum { OVERRIDE_MAX = 16, BACKLOG = 1024, EARLIER_RUN_MS = 60000, ADDRESS_SIZE = 128 };

/* One `cavage up`. */
struct up {
    const struct cli_args *args;
    struct conf *conf;
    struct loop *loop;
    struct supervisor *supervisor;
    enum cli_status status;
    int lock_fd;
    int listen_fd;
    bool draining;
    bool run_dir_made;
    bool on_terminal; /* at the start */
    char bin_dir[FS_PATH_SIZE];
    char listen[ADDRESS_SIZE]; /* as bound */
    char *override[OVERRIDE_MAX + 1];
    size_t override_count;
    char run_file[FS_PATH_SIZE]; /* ours; empty before it is written */
    char **env;
};

static void add_override(struct up *up, const char *name, const char *value)
{
    char *text = NULL;
    if (up->override_count < OVERRIDE_MAX && asprintf(&text, "%s=%s", name, value) >= 0)
        up->override[up->override_count++] = text;
}

/* ---- Preparations, in the order of run_up ---- */

/* The programs lie beside this one, in the build folder as after installation. */
static int find_programs(struct up *up)
{
    ssize_t len = readlink("/proc/self/exe", up->bin_dir, sizeof(up->bin_dir) - 1);
    if (len <= 0)
        return ERR_IO;
    up->bin_dir[len] = '\0';
    char *slash = strrchr(up->bin_dir, '/');
    if (slash)
        *slash = '\0';
    return ERR_OK;
}

static int apply_options(struct up *up, char *why, size_t size)
{
    const char *const *option = up->args->option;
    int err = ERR_OK;
    if (option[OPT_LISTEN])
        err = conf_set(up->conf, CONF_API_LISTEN, option[OPT_LISTEN], "--listen", why, size);
    if (err == ERR_OK && option[OPT_CONVERTERS])
        err = conf_set(up->conf, CONF_WORKER_CONVERTERS, option[OPT_CONVERTERS], "--converters", why, size);
    return err == ERR_OK ? conf_check(up->conf, why, size) : err;
}

/* Make the data folder and take its path as absolute, so that it holds for every child. */
static int make_data_dir(struct up *up, char *why, size_t size)
{
    char path[PATH_MAX];
    const char *dir = conf_str(up->conf, CONF_COMMON_DATA_DIR);
    int err = fs_mkdirs(dir, 0755);
    if (err == ERR_OK && !realpath(dir, path))
        err = err_from_errno(errno);
    if (err == ERR_OK && access(path, W_OK | X_OK) != 0)
        err = ERR_DENIED;
    if (err == ERR_OK)
        return conf_set(up->conf, CONF_COMMON_DATA_DIR, path, "--data", why, size);
    snprintf(why, size, "%s cannot be used as data folder: %s", dir, err_text(err));
    return err;
}

static int lock_data_dir(struct up *up, char *why, size_t size)
{
    char path[FS_PATH_SIZE];
    int err = fs_join(path, sizeof(path), conf_str(up->conf, CONF_COMMON_DATA_DIR), "up.lock");
    if (err == ERR_OK)
        err = fs_lock(path, &up->lock_fd);
    if (err == ERR_EXISTS)
        snprintf(why, size, "another 'cavage up' runs on %s", conf_str(up->conf, CONF_COMMON_DATA_DIR));
    else if (err != ERR_OK)
        snprintf(why, size, "%.400s: %s", path, err_text(err));
    return err;
}

/* Daemons whose supervisor was killed are draining still: wait until they have let go of sockets and stores. */
static int wait_for_earlier_run(struct up *up, char *why, size_t size)
{
    int64_t until_us = clock_monotonic_us() + EARLIER_RUN_MS * INT64_C(1000);
    for (size_t i = 0; supervisor_instances[i]; i++) {
        pid_t pid = run_file_holder(up->conf, supervisor_instances[i]);
        int fd = pid > 0 ? pidfd_open(pid, 0) : -1;
        if (fd < 0)
            continue;
        log_info("earlier_run", "waiting for a daemon of an earlier run to end",
                 LOG_S("daemon", supervisor_instances[i]), LOG_I("child", pid));
        struct pollfd ended = {.fd = fd, .events = POLLIN};
        int64_t left_ms = (until_us - clock_monotonic_us()) / 1000;
        int count = poll(&ended, 1, left_ms > 0 ? (int)left_ms : 0);
        close(fd);
        if (count <= 0) {
            snprintf(why, size, "cavage-%s (process %d) of another run serves from this data folder",
                     supervisor_instances[i], (int)pid);
            return ERR_EXISTS;
        }
    }
    return ERR_OK;
}

/* The listening socket stays open here while the API is started again, so that no client is turned away meanwhile. */
static int bind_listener(struct up *up, char *why, size_t size)
{
    const char *address = conf_str(up->conf, CONF_API_LISTEN);
    int err = net_listen(address, BACKLOG, &up->listen_fd, up->listen, sizeof(up->listen));
    if (err == ERR_EXISTS)
        snprintf(why, size, "%s is taken; choose another with --listen HOST:PORT", address);
    else if (err != ERR_OK)
        snprintf(why, size, "cannot listen on %s: %s", address, err_text(err));
    return err;
}

static int make_env(struct up *up)
{
    add_override(up, "CAVAGE_API_LISTEN", up->listen);
    add_override(up, "CAVAGE_COMMON_RUN_DIR", conf_str(up->conf, CONF_COMMON_RUN_DIR));
    add_override(up, "CAVAGE_AUTHCACHE_ADMIN_SOCKET", conf_str(up->conf, CONF_AUTHCACHE_ADMIN_SOCKET));
    if (up->args->option[OPT_CONVERTERS])
        add_override(up, "CAVAGE_WORKER_CONVERTERS", up->args->option[OPT_CONVERTERS]);
    up->env = child_env(environ, up->override);
    return up->env ? ERR_OK : ERR_NOMEM;
}

/* ---- While it runs ---- */

/* "http://HOST:PORT" that a client on this machine can use. */
static void public_url(const struct up *up, char *out, size_t size)
{
    if (strncmp(up->listen, "0.0.0.0:", 8) == 0)
        snprintf(out, size, "http://127.0.0.1:%s", up->listen + 8);
    else if (strncmp(up->listen, "[::]:", 5) == 0)
        snprintf(out, size, "http://[::1]:%s", up->listen + 5);
    else
        snprintf(out, size, "http://%s", up->listen);
}

static void print_serving(const struct up *up, const char *key)
{
    char url[ADDRESS_SIZE + 16], key_path[FS_PATH_SIZE];
    const char *data = conf_str(up->conf, CONF_COMMON_DATA_DIR);
    public_url(up, url, sizeof(url));
    if (up->args->option[OPT_JSON]) {
        printf("{\"url\":\"%s\",\"key\":\"%s\"}\n", url, key);
    } else if (demo_key_path(up->conf, key_path, sizeof(key_path)) == ERR_OK) {
        printf("Cavage serves at %s\n\n", url);
        printf("  key     %s\n          (kept in %s)\n", key, key_path);
        printf("  resize  curl -sSf -H \"Authorization: Bearer $(cat %s)\" --data-binary @photo.jpg \\\n"
               "              -o small.jpg '%s/v1/resize?width=320'\n",
               key_path, url);
        printf("  usage   %s/cavage usage --data %s\n", up->bin_dir, data);
        printf("  status  %s/cavage status --data %s\n", up->bin_dir, data);
        puts("  stop    Ctrl-C");
    }
    if (fflush(stdout) != 0)
        log_error("output_failed", "where it serves could not be printed", LOG_S("error", strerror(errno)));
}

static void on_serving(void *arg)
{
    struct up *up = arg;
    char key[KEY_TEXT_SIZE], why[CLI_WHY_SIZE] = "";
    int err = demo_key_ensure(up->conf, key, why, sizeof(why));
    if (err != ERR_OK) {
        cli_error(up->args, "cannot make the demo customer: %s", why[0] ? why : err_text(err));
        up->draining = true;
        supervisor_drain(up->supervisor, CLI_FAILED);
        return;
    }
    print_serving(up, key);
    explicit_bzero(key, sizeof(key));
    log_info("serving", "all daemons are ready", LOG_S("listen", up->listen));
}

static void on_ended(void *arg, enum cli_status status)
{
    struct up *up = arg;
    up->status = status;
    loop_stop(up->loop);
}

static void on_stop_signal(void *arg, int signo)
{
    struct up *up = arg;
    (void)signo;
    if (up->draining)
        supervisor_kill(up->supervisor);
    else
        supervisor_drain(up->supervisor, CLI_OK);
    up->draining = true;
}

/* A terminal that goes away ends it; without one, SIGHUP means to read the configuration again. */
static void on_hangup(void *arg, int signo)
{
    struct up *up = arg;
    if (up->on_terminal)
        on_stop_signal(up, signo);
    else
        supervisor_reload(up->supervisor);
}

/* Tell other commands where the API listens, also while it is started again. */
static int write_run_file(struct up *up, char *why, size_t size)
{
    char dir[FS_PATH_SIZE], path[FS_PATH_SIZE], text[ADDRESS_SIZE + 64];
    int len = snprintf(text, sizeof(text), "{\"pid\":%ld,\"program\":\"cavage\",\"listen\":\"%s\"}\n", (long)getpid(),
                       up->listen);
    int err = conf_path(up->conf, CONF_COMMON_RUN_DIR, dir, sizeof(dir));
    if (err == ERR_OK)
        err = fs_join(path, sizeof(path), dir, "up.json");
    if (err == ERR_OK)
        err = fs_write_atomic(path, text, (size_t)len, 0600);
    if (err == ERR_OK)
        memcpy(up->run_file, path, sizeof(path));
    else
        snprintf(why, size, "cannot write into the run folder: %s", err_text(err));
    return err;
}

static int prepare(struct up *up, char *why, size_t size)
{
    int err = apply_options(up, why, size);
    if (err == ERR_OK)
        err = find_programs(up);
    if (err == ERR_OK)
        err = make_data_dir(up, why, size);
    if (err == ERR_OK)
        err = lock_data_dir(up, why, size);
    if (err == ERR_OK)
        err = run_dir_make(up->conf, why, size);
    if (err == ERR_OK)
        up->run_dir_made = true;
    if (err == ERR_OK)
        err = wait_for_earlier_run(up, why, size);
    if (err == ERR_OK)
        err = bind_listener(up, why, size);
    if (err == ERR_OK)
        err = write_run_file(up, why, size);
    if (err == ERR_OK)
        err = make_env(up);
    return err;
}

static int serve(struct up *up)
{
    const char *config = up->args->option[OPT_CONFIG];
    char data_option[] = "--data", config_option[] = "--config", test_option[] = "--test";
    char *data = strdup(conf_str(up->conf, CONF_COMMON_DATA_DIR)), *config_path = config ? strdup(config) : NULL;
    char *options[8] = {data_option, data};
    size_t count = 2;
    if (config) {
        options[count++] = config_option;
        options[count++] = config_path;
    }
    if (up->args->option[OPT_TEST])
        options[count++] = test_option;
    int err = data && (!config || config_path) ? loop_new(&up->loop) : ERR_NOMEM;
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < 3 && err == ERR_OK; i++)
        err = loop_signal(up->loop, signals[i], signals[i] == SIGHUP ? on_hangup : on_stop_signal, up);
    if (err == ERR_OK) {
        struct supervisor_spec spec = {.loop = up->loop,
                                       .conf = up->conf,
                                       .bin_dir = up->bin_dir,
                                       .options = options,
                                       .env = up->env,
                                       .listen_fd = up->listen_fd,
                                       .serving = on_serving,
                                       .ended = on_ended,
                                       .arg = up};
        up->listen_fd = -1;
        err = supervisor_start(&spec, &up->supervisor);
    }
    if (err == ERR_OK)
        err = loop_run(up->loop);
    supervisor_stop(up->supervisor);
    loop_free(up->loop);
    free(config_path);
    free(data);
    return err;
}

/* Daemons, their sanitizers and this program write to one file through descriptions of their own; appending keeps lines whole. */
static void append_to_stderr(void)
{
    struct stat st;
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    if (flags >= 0 && fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode))
        fcntl(STDERR_FILENO, F_SETFL, flags | O_APPEND);
}

static enum cli_status run_up(const struct cli_args *args)
{
    struct up up = {
        .args = args, .status = CLI_FAILED, .lock_fd = -1, .listen_fd = -1, .on_terminal = isatty(STDIN_FILENO) == 1};
    char why[CLI_WHY_SIZE] = "";
    enum cli_status status = cli_conf_open(args, args->option[OPT_CONFIG], args->option[OPT_DATA], &up.conf);
    if (status != CLI_OK)
        return status;
    append_to_stderr();
    log_open("cavage", (enum log_level)conf_int(up.conf, CONF_COMMON_LOG_LEVEL));
    int err = prepare(&up, why, sizeof(why));
    if (err == ERR_OK)
        err = serve(&up);
    if (err != ERR_OK) {
        cli_error(args, "%s", why[0] ? why : err_text(err));
        up.status = err == ERR_INVALID || err == ERR_RANGE ? CLI_USAGE : CLI_FAILED;
    }
    if (up.listen_fd >= 0)
        close(up.listen_fd);
    if (up.run_file[0])
        unlink(up.run_file);
    if (up.run_dir_made)
        run_dir_remove(up.conf);
    if (up.lock_fd >= 0)
        close(up.lock_fd);
    free(up.env);
    for (size_t i = 0; i < up.override_count; i++)
        free(up.override[i]);
    conf_free(up.conf);
    return up.status;
}

static const struct cli_option options[] = {
    [OPT_DATA] = CLI_OPT_DATA,
    [OPT_LISTEN] = {"listen", 0, "HOST:PORT",
                    "where the API listens (default: api.listen, 127.0.0.1:8080); port 0 takes a free one"},
    [OPT_CONVERTERS] = {"converters", 0, "N", "converter processes (default: worker.converters, one per core)"},
    [OPT_CONFIG] = CLI_OPT_CONFIG,
    [OPT_JSON] = {"json", 0, NULL, "say where it serves, and the demo key, as one line of JSON"},
    [OPT_TEST] = {"test", 0, NULL, "have the daemons obey CAVAGE_TEST_… variables"},
    {0},
};

const struct cli_command cli_up = {
    .name = "up",
    .operands = "",
    .summary = "Run all four daemons on this machine, in the foreground",
    .notes = "Makes the data folder and what is missing in it, a demo customer included. SIGINT or\n"
             "SIGTERM drains and stops; a second one stops at once.\n",
    .options = options,
    .run = run_up,
};
