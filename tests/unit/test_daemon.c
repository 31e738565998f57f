/* SPDX-License-Identifier: MIT */
/* The daemons' skeleton, run in a child: options, run file, readiness, reload, drain, failures. */
#include "cavage/daemon.h"
#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/log.h"
#include "cavage/net.h"
#include "cavage/version.h"

#include "folder.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/cvg-daemon-XXXXXX";
static const struct metric_def defs[] = {{"made_total", "Made.", METRIC_COUNTER, NULL, NULL, 0}};

/* The daemon under test. Where --test is given, CAVAGE_TEST_START says how its start goes. */

/* In the child, where cmocka's way to fail would go on with the tests. */
static void must(bool holds)
{
    if (!holds)
        _exit(99);
}

static int start(struct daemon *daemon)
{
    const char *how = getenv("CAVAGE_TEST_START");
    struct rlimit core;
    must(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    must(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    must(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0);
    must(!atomic_load(&daemon->ready));
    log_info("start", "started", LOG_S("how", how == NULL ? "unset" : how), LOG_I("test", daemon->test_mode));
    if (how != NULL && strcmp(how, "fail") == 0)
        return ERR_FULL;
    daemon_ready(daemon);
    return ERR_OK;
}

static void drain(struct daemon *daemon)
{
    log_info("drain", "asked to drain", LOG_I("ready", atomic_load(&daemon->ready)));
    if (!daemon->test_mode)
        daemon_drained(daemon);
}

static void reload(struct daemon *daemon)
{
    log_info("reload", "asked to reload", LOG_S("level", conf_str(daemon->conf, CONF_COMMON_LOG_LEVEL)),
             LOG_S("threads", conf_str(daemon->conf, CONF_API_THREADS)));
}

static void stop(struct daemon *daemon)
{
    (void)daemon;
    log_info("stop", "asked to stop");
}

static void describe(struct daemon *daemon, char *out, size_t size)
{
    snprintf(out, size, "\"listen\":\"%s\"", conf_str(daemon->conf, CONF_API_LISTEN));
}

static const struct daemon_spec spec = {
    .program = "cavage-sample",
    .summary = "A daemon for tests.",
    .metrics = defs,
    .metric_count = 1,
    .ops_listen = CONF_API_OPS_LISTEN,
    .start = start,
    .drain = drain,
    .reload = reload,
    .stop = stop,
    .describe = describe,
};

/* One run of it. */
struct child {
    pid_t pid;
    FILE *log; /* its stderr and stdout */
};

static struct child launch(char *const *args)
{
    int ends[2];
    struct child child = {0};
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    child.pid = fork();
    assert_true(child.pid >= 0);
    if (child.pid == 0) {
        int argc = 0;
        while (args[argc] != NULL)
            argc++;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[1], STDERR_FILENO);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        int status = daemon_main(&spec, argc, (char **)(uintptr_t)args);
        fflush(NULL);
        _exit(status);
    }
    close(ends[1]);
    child.log = fdopen(ends[0], "r");
    assert_non_null(child.log);
    return child;
}

/* Read on to the next line that holds text, which it returns. Fails when the child ends before. */
static const char *await(struct child *child, const char *text)
{
    static char line[8192];
    while (fgets(line, sizeof(line), child->log) != NULL)
        if (strstr(line, text) != NULL)
            return line;
    fail_msg("the daemon ended without a line holding %s", text);
    return NULL;
}

static int finish(struct child *child)
{
    int status;
    char rest[4096];
    while (fread(rest, 1, sizeof(rest), child->log) > 0)
        continue;
    assert_int_equal(fclose(child->log), 0);
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static const char *in_dir(const char *name)
{
    static char path[FS_PATH_SIZE];
    assert_int_equal(fs_join(path, sizeof(path), dir, name), ERR_OK);
    return path;
}

static bool exists(const char *name)
{
    return access(in_dir(name), F_OK) == 0;
}

static int set_up(void **state)
{
    (void)state;
    setenv("CAVAGE_API_OPS_LISTEN", "127.0.0.1:0", 1);
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    return folder_remove(dir);
}

#define ARGS(...) ((char *const[]){(char[]){"cavage-sample"}, (char[]){"--data"}, dir, __VA_ARGS__, NULL})

static void test_life_from_ready_to_stopped(void **state)
{
    (void)state;
    char text[4096];
    size_t len;
    struct child child = launch(ARGS(NULL));
    await(&child, "\"event\":\"ready\"");
    assert_int_equal(fs_read(in_dir("run/sample.json"), text, sizeof(text), &len), ERR_OK);
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    assert_int_equal(json_integer_value(json_object_get(json, "pid")), child.pid);
    assert_string_equal(json_string_value(json_object_get(json, "instance")), "sample");
    assert_string_equal(json_string_value(json_object_get(json, "version")), CAVAGE_VERSION);
    assert_string_equal(json_string_value(json_object_get(json, "listen")), "127.0.0.1:8080");
    assert_memory_equal(json_string_value(json_object_get(json, "ops")), "http://127.0.0.1:", 17);
    json_decref(json);
    kill(child.pid, SIGTERM);
    assert_non_null(strstr(await(&child, "\"event\":\"drain\""), "\"ready\":0"));
    await(&child, "\"event\":\"stop\"");
    await(&child, "\"event\":\"stopped\"");
    assert_int_equal(finish(&child), 0);
    assert_false(exists("run/sample.json"));
}

static void test_second_signal_stops_a_drain(void **state)
{
    (void)state;
    struct child child = launch(ARGS("--test"));
    await(&child, "\"event\":\"ready\"");
    kill(child.pid, SIGINT);
    await(&child, "\"event\":\"drain\"");
    kill(child.pid, SIGINT);
    await(&child, "\"event\":\"stop\"");
    assert_int_equal(finish(&child), 0);
}

static void test_failed_start_stops_and_exits_1(void **state)
{
    (void)state;
    setenv("CAVAGE_TEST_START", "fail", 1);
    struct child child = launch(ARGS("--test"));
    await(&child, "\"event\":\"stop\"");
    assert_non_null(strstr(await(&child, "\"event\":\"failed\""), "limit reached"));
    assert_int_equal(finish(&child), 1);
    unsetenv("CAVAGE_TEST_START");
}

static void test_test_variables_count_only_with_the_option(void **state)
{
    (void)state;
    setenv("CAVAGE_TEST_START", "fail", 1);
    struct child child = launch(ARGS(NULL));
    assert_non_null(strstr(await(&child, "\"event\":\"start\""), "\"how\":\"unset\",\"test\":0"));
    await(&child, "\"event\":\"ready\"");
    kill(child.pid, SIGTERM);
    assert_int_equal(finish(&child), 0);
    unsetenv("CAVAGE_TEST_START");
}

static void test_instance_runs_once(void **state)
{
    (void)state;
    struct child first = launch(ARGS(NULL));
    await(&first, "\"event\":\"ready\"");
    struct child second = launch(ARGS(NULL));
    await(&second, "\"event\":\"already_running\"");
    assert_int_equal(finish(&second), 1);
    assert_true(exists("run/sample.json"));
    struct child other = launch(ARGS("--instance", "other"));
    await(&other, "\"event\":\"ready\"");
    assert_true(exists("run/other.json"));
    kill(first.pid, SIGTERM);
    kill(other.pid, SIGTERM);
    assert_int_equal(finish(&first), 0);
    assert_int_equal(finish(&other), 0);
}

static void test_killed_one_leaves_no_lock(void **state)
{
    (void)state;
    int status;
    struct child first = launch(ARGS(NULL));
    await(&first, "\"event\":\"ready\"");
    kill(first.pid, SIGKILL);
    assert_int_equal(waitpid(first.pid, &status, 0), first.pid);
    fclose(first.log);
    assert_true(exists("run/sample.json"));
    struct child second = launch(ARGS(NULL));
    await(&second, "\"event\":\"ready\"");
    kill(second.pid, SIGTERM);
    assert_int_equal(finish(&second), 0);
}

static void test_open_run_folder_is_refused(void **state)
{
    (void)state;
    assert_int_equal(chmod(in_dir("run"), 0755), 0);
    struct child child = launch(ARGS(NULL));
    await(&child, "\"event\":\"run_dir_failed\"");
    assert_int_equal(finish(&child), 1);
    assert_int_equal(chmod(in_dir("run"), 0700), 0);
}

static void write_config(const char *text)
{
    assert_int_equal(fs_write_atomic(in_dir("c.conf"), text, strlen(text), 0600), ERR_OK);
}

static void test_hangup_reloads_what_may_change(void **state)
{
    (void)state;
    char path[FS_PATH_SIZE];
    snprintf(path, sizeof(path), "%s", in_dir("c.conf"));
    write_config("[api]\nthreads = 2\n");
    struct child child = launch(ARGS("--config", path));
    await(&child, "\"event\":\"ready\"");
    /* The daemon under test is an API by its operations listener: what concerns the meter alone is none of its business. */
    write_config(
        "[api]\nthreads = 3\n[meter]\nledger_dir = x\n[queue]\nmax_jobs = 3\n[worker]\nconverters = 1\n[common]\n"
        "log_level = debug\n");
    kill(child.pid, SIGHUP);
    assert_non_null(strstr(await(&child, "config_not_reloadable"), "\"key\":\"threads\""));
    assert_non_null(strstr(await(&child, "\"event\":"), "\"key\":\"max_jobs\""));
    assert_non_null(strstr(await(&child, "\"event\":"), "\"event\":\"reloaded\""));
    assert_non_null(strstr(await(&child, "\"event\":\"reload\""), "\"level\":\"debug\",\"threads\":\"2\""));
    write_config("[api]\nthreads = many\n");
    kill(child.pid, SIGHUP);
    assert_non_null(strstr(await(&child, "\"event\":\"reload_failed\""), "c.conf:2: api.threads: 'many'"));
    kill(child.pid, SIGTERM);
    assert_int_equal(finish(&child), 0);
}

/* A socket that listens on the default operations address, or -1 when another program does already. */
static int take_default_ops(void)
{
    int fd = -1;
    char bound[64];
    int err = net_listen(conf_key(CONF_API_OPS_LISTEN)->def, 1, &fd, bound, sizeof(bound));
    assert_true(err == ERR_OK || err == ERR_EXISTS);
    return fd;
}

static void test_taken_default_ops_port_gives_way_and_a_configured_one_does_not(void **state)
{
    (void)state;
    int fd = take_default_ops();
    if (fd < 0)
        skip(); /* whoever has it may let go of it at any time */
    unsetenv("CAVAGE_API_OPS_LISTEN");
    struct child child = launch(ARGS(NULL));
    assert_non_null(strstr(await(&child, "\"event\":\"ops_moved\""), conf_key(CONF_API_OPS_LISTEN)->def));
    await(&child, "\"event\":\"ready\"");
    kill(child.pid, SIGTERM);
    assert_int_equal(finish(&child), 0);
    setenv("CAVAGE_API_OPS_LISTEN", conf_key(CONF_API_OPS_LISTEN)->def, 1);
    child = launch(ARGS(NULL));
    assert_non_null(strstr(await(&child, "\"event\":\"ops_failed\""), "is taken"));
    assert_int_equal(finish(&child), 1);
    setenv("CAVAGE_API_OPS_LISTEN", "127.0.0.1:0", 1);
    close(fd);
}

static void test_options_beat_the_environment_and_that_the_file(void **state)
{
    (void)state;
    char path[FS_PATH_SIZE];
    snprintf(path, sizeof(path), "%s", in_dir("c.conf"));
    write_config("[common]\ndata_dir = /nowhere/from/file\n[api]\nlisten = 127.0.0.1:1\n");
    setenv("CAVAGE_CONFIG", path, 1);
    setenv("CAVAGE_COMMON_DATA_DIR", "/nowhere/from/environment", 1);
    setenv("CAVAGE_API_LISTEN", "127.0.0.1:2", 1);
    struct child child = launch(ARGS(NULL));
    await(&child, "\"event\":\"ready\"");
    char text[4096];
    size_t len;
    assert_int_equal(fs_read(in_dir("run/sample.json"), text, sizeof(text), &len), ERR_OK);
    assert_non_null(strstr(text, "\"listen\":\"127.0.0.1:2\""));
    kill(child.pid, SIGTERM);
    assert_int_equal(finish(&child), 0);
    unsetenv("CAVAGE_CONFIG");
    unsetenv("CAVAGE_COMMON_DATA_DIR");
    unsetenv("CAVAGE_API_LISTEN");
}

static void test_invalid_configuration_exits_2(void **state)
{
    (void)state;
    struct child child = launch(ARGS("--config", "/nowhere/c.conf"));
    assert_non_null(strstr(await(&child, "\"event\":\"config_invalid\""), "/nowhere/c.conf: not found"));
    assert_int_equal(finish(&child), 2);
    setenv("CAVAGE_STAGING_EXTENT_BYTES", "5000", 1);
    child = launch(ARGS(NULL));
    assert_non_null(strstr(await(&child, "\"event\":\"config_invalid\""),
                           "environment: staging.extent_bytes: '5000' is no power of two"));
    assert_int_equal(finish(&child), 2);
    unsetenv("CAVAGE_STAGING_EXTENT_BYTES");
}

static void test_help_and_version_exit_0_and_usage_errors_2(void **state)
{
    (void)state;
    struct child child = launch(ARGS("--help"));
    await(&child, "--instance NAME");
    assert_int_equal(finish(&child), 0);
    child = launch(ARGS("--version"));
    await(&child, "cavage-sample " CAVAGE_VERSION "\n");
    assert_int_equal(finish(&child), 0);
    char *const *const wrong[] = {
        ARGS("--unknown"),
        ARGS("stray"),
        ARGS("--instance", ""),
        ARGS("--instance", "../x"),
        ARGS("--instance", "-x"),
        ARGS("--instance", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        child = launch(wrong[i]);
        assert_int_equal(finish(&child), 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_from_ready_to_stopped),
        cmocka_unit_test(test_second_signal_stops_a_drain),
        cmocka_unit_test(test_failed_start_stops_and_exits_1),
        cmocka_unit_test(test_test_variables_count_only_with_the_option),
        cmocka_unit_test(test_instance_runs_once),
        cmocka_unit_test(test_killed_one_leaves_no_lock),
        cmocka_unit_test(test_open_run_folder_is_refused),
        cmocka_unit_test(test_hangup_reloads_what_may_change),
        cmocka_unit_test(test_taken_default_ops_port_gives_way_and_a_configured_one_does_not),
        cmocka_unit_test(test_options_beat_the_environment_and_that_the_file),
        cmocka_unit_test(test_invalid_configuration_exits_2),
        cmocka_unit_test(test_help_and_version_exit_0_and_usage_errors_2),
    };
    return cmocka_run_group_tests_name("daemon", tests, set_up, tear_down);
}
