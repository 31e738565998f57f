/* SPDX-License-Identifier: MIT */
/* `cavage status`: what runs, how loaded it is, and how far behind. */
#include "cavage/err.h"
#include "cavage/fs.h"
#include "cli.h"
#include "http.h"
#include "prom.h"
#include "record.h"
#include "run_file.h"
#include "supervisor.h"
#include "table.h"
#include "units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OPT_DATA, OPT_CONFIG, OPT_JSON };
enum { METRICS_TIMEOUT_MS = 2000, STAT_SIZE = 4096, INSTANCES_MAX = 64 };

enum unit { UNIT_COUNT, UNIT_BYTES, UNIT_MS /* of a metric in seconds */, UNIT_SWITCH };

/* A figure that is shown of a daemon, from its metrics. */
static const struct figure {
    const char *kind; /* of daemon */
    const char *metric;
    const char *label; /* NULL: all series summed */
    const char *name;  /* in JSON */
    const char *title;
    enum unit unit;
} figures[] = {
    {"authcache", "cavage_identity_customers", NULL, "customers", "customers", UNIT_COUNT},
    {"authcache", "cavage_identity_keys", NULL, "keys", "keys", UNIT_COUNT},
    {"authcache", "cavage_authcache_lag_seconds", NULL, "lag_ms", "cache behind", UNIT_MS},
    {"meter", "cavage_meter_records_total", NULL, "records", "records since its start", UNIT_COUNT},
    {"meter", "cavage_meter_gaps_total", NULL, "gaps", "gaps", UNIT_COUNT},
    {"worker", "cavage_worker_jobs_total", NULL, "jobs", "jobs since its start", UNIT_COUNT},
    {"worker", "cavage_worker_jobs_waiting", NULL, "jobs_waiting", "jobs waiting", UNIT_COUNT},
    {"worker", "cavage_converters_busy", NULL, "converters_busy", "converters at work", UNIT_COUNT},
    {"worker", "cavage_converters_lost_total", NULL, "converters_lost", "converters lost", UNIT_COUNT},
    {"worker", "cavage_converters_memory_cgroup", NULL, "memory_cgroup", "memory bounded by a cgroup", UNIT_SWITCH},
    {"api", "cavage_requests_total", NULL, "requests", "requests since its start", UNIT_COUNT},
    {"api", "cavage_requests_total", "status=\"5xx\"", "requests_5xx", "of them with a 5xx", UNIT_COUNT},
    {"api", "cavage_connections", NULL, "connections", "connections", UNIT_COUNT},
    {"api", "cavage_workers_up", NULL, "workers", "workers", UNIT_COUNT},
    {"api", "cavage_converters", NULL, "converters", "converters", UNIT_COUNT},
    {"api", "cavage_converters_busy", NULL, "converters_busy", "converters at work", UNIT_COUNT},
    {"api", "cavage_jobs_queued", NULL, "jobs_queued", "jobs queued", UNIT_COUNT},
    {"api", "cavage_staged_bytes", NULL, "staged_bytes", "bytes staged", UNIT_BYTES},
    {"api", "cavage_auth_lag_seconds", NULL, "auth_lag_ms", "auth cache behind", UNIT_MS},
    {"api", "cavage_usage_spool_bytes", NULL, "usage_spool_bytes", "usage not acknowledged", UNIT_BYTES},
    {"api", "cavage_usage_oldest_unacknowledged_seconds", NULL, "usage_oldest_ms", "its oldest", UNIT_MS},
    {0},
};

/* What is known of one daemon. */
struct daemon_view {
    char instance[RUN_FILE_NAME_SIZE];
    char kind[RUN_FILE_NAME_SIZE]; /* "worker" */
    struct run_file file;
    bool runs, ready;
    int64_t age_s;
    uint64_t memory_bytes;
    char *metrics; /* exposition; NULL when it could not be had */
};

/* Seconds since the process started, from field 22 of /proc/PID/stat; the name in field 2 may hold anything, so count from its end. */
static int64_t process_age_s(pid_t pid)
{
    char path[64], text[STAT_SIZE];
    size_t len;
    struct timespec now;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (fs_read(path, text, sizeof(text), &len) != ERR_OK)
        return 0;
    const char *field = strrchr(text, ')');
    for (int i = 2; field && i < 22; i++) {
        field = strchr(field, ' ');
        field = field ? field + 1 : NULL;
    }
    if (!field || clock_gettime(CLOCK_BOOTTIME, &now) != 0)
        return 0;
    return now.tv_sec - (int64_t)(strtoull(field, NULL, 10) / (unsigned long long)sysconf(_SC_CLK_TCK));
}

static uint64_t process_memory_bytes(pid_t pid)
{
    char path[64], text[STAT_SIZE];
    size_t len;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    if (fs_read(path, text, sizeof(text), &len) != ERR_OK)
        return 0;
    const char *resident = strchr(text, ' ');
    return resident ? strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static char *fetch_metrics(const struct run_file *file)
{
    char url[160];
    struct http_reply reply;
    snprintf(url, sizeof(url), "%s/metrics", file->ops);
    struct http_request request = {"GET", url, NULL, NULL, METRICS_TIMEOUT_MS};
    if (!file->ops[0] || http_call(&request, &reply) != ERR_OK)
        return NULL;
    if (reply.status == 200)
        return reply.body;
    http_reply_free(&reply);
    return NULL;
}

/* kind NULL: what its run file says. */
static void look_at(const struct conf *conf, const char *instance, const char *kind, struct daemon_view *view)
{
    static const char prefix[] = "cavage-";
    *view = (struct daemon_view){0};
    snprintf(view->instance, sizeof(view->instance), "%s", instance);
    view->runs = run_file_read(conf, instance, &view->file) == ERR_OK && run_file_alive(&view->file);
    const char *program = view->file.program;
    if (!kind)
        kind = strncmp(program, prefix, sizeof(prefix) - 1) == 0 ? program + sizeof(prefix) - 1 : "";
    snprintf(view->kind, sizeof(view->kind), "%s", kind);
    if (!view->runs)
        return;
    view->ready = run_file_ready(&view->file);
    view->age_s = process_age_s(view->file.pid);
    view->memory_bytes = process_memory_bytes(view->file.pid);
    view->metrics = fetch_metrics(&view->file);
}

static const char *state_of(const struct daemon_view *view)
{
    return view->ready ? "ready" : view->runs ? "not ready" : "down";
}

static bool figure_of(const struct daemon_view *view, const struct figure *figure, double *value)
{
    if (strcmp(figure->kind, view->kind) != 0 || !view->metrics ||
        !prom_value(view->metrics, figure->metric, figure->label, value))
        return false;
    if (figure->unit == UNIT_MS && *value > 0) /* -1 stands for a time that is not known */
        *value *= 1000;
    return true;
}

static void print_processes(const struct daemon_view *views, size_t count)
{
    static const bool right[] = {false, false, true, true, true, false};
    static const char *const titles[] = {"DAEMON", "STATE", "PID", "UP", "MEMORY", "LISTENS"};
    struct table *table = table_new(6, right);
    if (!table)
        return;
    for (size_t i = 0; i < 6; i++)
        table_add(table, titles[i]);
    for (size_t i = 0; i < count; i++) {
        const struct daemon_view *view = &views[i];
        char age[UNITS_SIZE] = "-", memory[UNITS_SIZE] = "-";
        if (view->runs) {
            units_age(view->age_s, age);
            units_bytes(view->memory_bytes, memory);
        }
        table_add(table, view->instance);
        table_add(table, state_of(view));
        if (view->runs)
            table_addf(table, "%d", (int)view->file.pid);
        else
            table_add(table, "-");
        table_add(table, age);
        table_add(table, memory);
        table_addf(table, "%s%s%s", view->runs ? view->file.listen : "", view->runs && view->file.listen[0] ? "  " : "",
                   view->runs ? view->file.ops : "");
    }
    table_print(table, stdout);
    table_free(table);
}

static void print_figures(const struct daemon_view *views, size_t count)
{
    struct table *table = table_new(3, (const bool[]){false, false, true});
    if (!table)
        return;
    for (size_t i = 0; i < count; i++) {
        for (const struct figure *figure = figures; figure->metric; figure++) {
            double value;
            char text[UNITS_SIZE];
            if (!figure_of(&views[i], figure, &value))
                continue;
            if (figure->unit == UNIT_BYTES)
                units_bytes(value > 0 ? (uint64_t)value : 0, text);
            else if (figure->unit == UNIT_SWITCH)
                snprintf(text, sizeof(text), "%s", value > 0 ? "yes" : "no");
            else
                snprintf(text, sizeof(text), figure->unit == UNIT_MS ? "%.0f ms" : "%.0f", value);
            table_add(table, views[i].instance);
            table_add(table, figure->title);
            table_add(table, text);
        }
    }
    putchar('\n');
    table_print(table, stdout);
    table_free(table);
}

/* One daemon's part of the JSON; NULL when memory is short. */
static struct record *describe(const struct daemon_view *view)
{
    struct record *object = record_new_object(), *numbers = record_new_object();
    int err = object && numbers ? ERR_OK : ERR_NOMEM;
    if (err == ERR_OK)
        err = record_set_str(object, "name", view->instance);
    if (err == ERR_OK)
        err = record_set_str(object, "state", state_of(view));
    if (err == ERR_OK && view->runs) {
        record_set_int(object, "pid", view->file.pid);
        record_set_int(object, "up_s", view->age_s);
        record_set_int(object, "memory_bytes", (int64_t)view->memory_bytes);
        record_set_str(object, "ops", view->file.ops);
        if (view->file.listen[0])
            record_set_str(object, "listen", view->file.listen);
    }
    for (const struct figure *figure = figures; err == ERR_OK && figure->metric; figure++) {
        double value;
        if (figure_of(view, figure, &value))
            err = record_set_real(numbers, figure->name, value);
    }
    if (err == ERR_OK)
        return record_set(object, "figures", numbers) == ERR_OK ? object : NULL;
    record_free(numbers);
    record_free(object);
    return NULL;
}

static int print_json(const struct daemon_view *views, size_t count, bool serving)
{
    struct record *all = record_new_object(), *daemons = record_new_array();
    int err = all && daemons ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; i < count && err == ERR_OK; i++)
        err = record_append(daemons, describe(&views[i]));
    if (err == ERR_OK)
        err = record_set_bool(all, "serving", serving);
    if (err == ERR_OK) {
        err = record_set(all, "daemons", daemons);
        daemons = NULL;
    }
    if (err == ERR_OK)
        record_print_json(all, stdout);
    record_free(daemons);
    record_free(all);
    return err;
}

/* The four daemons that make a system come first, running or not; then the further instances that run. */
static size_t look_at_all(const struct conf *conf, struct daemon_view *views)
{
    char names[INSTANCES_MAX][RUN_FILE_NAME_SIZE];
    size_t usual = 0;
    for (; supervisor_instances[usual]; usual++)
        look_at(conf, supervisor_instances[usual], supervisor_instances[usual], &views[usual]);
    size_t count = usual, found = run_file_instances(conf, names, INSTANCES_MAX - usual);
    for (size_t i = 0; i < found; i++) {
        bool seen = false;
        for (size_t j = 0; j < usual; j++)
            seen = seen || strcmp(names[i], supervisor_instances[j]) == 0;
        if (seen)
            continue;
        look_at(conf, names[i], NULL, &views[count]);
        count += views[count].runs;
    }
    return count;
}

static enum cli_status run_status(const struct cli_args *args)
{
    struct conf *conf = NULL;
    struct daemon_view *views = calloc(INSTANCES_MAX, sizeof(*views));
    bool serving = views != NULL;
    enum cli_status status = cli_conf_open(args, args->option[OPT_CONFIG], args->option[OPT_DATA], &conf);
    if (status != CLI_OK) {
        free(views);
        return status;
    }
    size_t count = views ? look_at_all(conf, views) : 0;
    for (size_t i = 0; i < count && supervisor_instances[i]; i++)
        serving = serving && views[i].ready;
    if (args->option[OPT_JSON]) {
        if (print_json(views, count, serving) != ERR_OK)
            cli_error(args, "%s", err_text(ERR_NOMEM));
    } else {
        print_processes(views, count);
        print_figures(views, count);
    }
    for (size_t i = 0; i < count; i++)
        free(views[i].metrics);
    free(views);
    conf_free(conf);
    return serving ? CLI_OK : CLI_FAILED;
}

static const struct cli_option options[] = {
    [OPT_DATA] = CLI_OPT_DATA, [OPT_CONFIG] = CLI_OPT_CONFIG, [OPT_JSON] = CLI_OPT_JSON, {0}};

const struct cli_command cli_status = {
    .name = "status",
    .operands = "",
    .summary = "Show what runs, how loaded it is, and how far behind",
    .notes = "Exits with 0 when all four daemons are ready, else with 1. Further instances are listed while\n"
             "they run.\n",
    .options = options,
    .run = run_status,
};
