/* SPDX-License-Identifier: MIT */
/* `cavage usage`: what customers used, by hour, day or month. */
#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/usage_report.h"
#include "cli.h"
#include "table.h"
#include "time_parse.h"
#include "units.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

enum { OPT_CUSTOMER, OPT_FROM, OPT_TO, OPT_BY, OPT_FORMAT, OPT_DATA, OPT_CONFIG };
enum format { FORMAT_TABLE, FORMAT_CSV, FORMAT_JSON };
enum { TABLE_COLUMNS = 12, PERIOD_SIZE = 32 };

static const char *const by_names[] = {
    [USAGE_BY_HOUR] = "hour", [USAGE_BY_DAY] = "day", [USAGE_BY_MONTH] = "month", NULL};
static const char *const format_names[] = {
    [FORMAT_TABLE] = "table", [FORMAT_CSV] = "csv", [FORMAT_JSON] = "json", NULL};

/* What is written of a row in all formats, in this order. */
static const struct {
    const char *name;
    size_t offset;
} counts[] = {
    {"requests", offsetof(struct usage_row, requests)},
    {"succeeded", offsetof(struct usage_row, succeeded)},
    {"unconfirmed", offsetof(struct usage_row, unconfirmed)},
    {"input_bytes", offsetof(struct usage_row, input_bytes)},
    {"output_bytes", offsetof(struct usage_row, output_bytes)},
    {"input_pixels", offsetof(struct usage_row, input_pixels)},
    {"output_pixels", offsetof(struct usage_row, output_pixels)},
    {"cpu_us", offsetof(struct usage_row, cpu_us)},
    {"outputs", offsetof(struct usage_row, outputs)},
};
enum { COUNTS = sizeof(counts) / sizeof(counts[0]) };

/* A report as it is written. */
struct report {
    enum usage_by by;
    enum format format;
    struct table *table;
    struct usage_row total;
    uint64_t rows;
};

static uint64_t count_of(const struct usage_row *row, size_t index)
{
    uint64_t value;
    memcpy(&value, (const char *)row + counts[index].offset, sizeof(value));
    return value;
}

static void add_count(struct usage_row *row, size_t index, uint64_t more)
{
    uint64_t value = count_of(row, index) + more;
    memcpy((char *)row + counts[index].offset, &value, sizeof(value));
}

/* "2026-01-31T12:00:00Z" */
static void write_time(int64_t wall_us, char out[PERIOD_SIZE])
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(out, PERIOD_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* "2026-01-31T12Z", "2026-01-31", "2026-01": as much of the time as the period has. */
static void write_period(int64_t wall_us, enum usage_by by, char out[PERIOD_SIZE])
{
    write_time(wall_us, out);
    if (by == USAGE_BY_HOUR)
        memcpy(out + 13, "Z", 2);
    else
        out[by == USAGE_BY_DAY ? 10 : 7] = '\0';
}

static void table_row(struct report *report, const char *period, const char *customer, const char *operation,
                      const struct usage_row *row)
{
    char text[UNITS_SIZE];
    struct table *table = report->table;
    table_add(table, period);
    table_add(table, customer);
    table_add(table, operation);
    table_addf(table, "%" PRIu64, row->requests);
    table_addf(table, "%" PRIu64, row->succeeded);
    table_addf(table, "%" PRIu64, row->unconfirmed);
    table_addf(table, "%" PRIu64, row->outputs);
    units_bytes(row->input_bytes, text);
    table_add(table, text);
    units_bytes(row->output_bytes, text);
    table_add(table, text);
    table_addf(table, "%.1f", (double)row->input_pixels / 1e6);
    table_addf(table, "%.1f", (double)row->output_pixels / 1e6);
    table_addf(table, "%.3f", (double)row->cpu_us / 1e6);
}

static void csv_row(const struct usage_row *row)
{
    char start[PERIOD_SIZE], end[PERIOD_SIZE];
    write_time(row->start_us, start);
    write_time(row->end_us, end);
    /* Ids and operations are words without commas or quotes. */
    printf("%s,%s,%s,%s", start, end, row->customer, row->operation);
    for (size_t i = 0; i < COUNTS; i++)
        printf(",%" PRIu64, count_of(row, i));
    putchar('\n');
}

static void json_row(const struct usage_row *row, bool first)
{
    char start[PERIOD_SIZE], end[PERIOD_SIZE];
    write_time(row->start_us, start);
    write_time(row->end_us, end);
    printf("%s{\"start\":\"%s\",\"end\":\"%s\",\"customer\":\"%s\",\"operation\":\"%s\"", first ? "[\n" : ",\n", start,
           end, row->customer, row->operation);
    for (size_t i = 0; i < COUNTS; i++)
        printf(",\"%s\":%" PRIu64, counts[i].name, count_of(row, i));
    putchar('}');
}

static int on_row(void *arg, const struct usage_row *row)
{
    struct report *report = arg;
    char period[PERIOD_SIZE];
    write_period(row->start_us, report->by, period);
    if (report->format == FORMAT_TABLE)
        table_row(report, period, row->customer, row->operation, row);
    else if (report->format == FORMAT_CSV)
        csv_row(row);
    else
        json_row(row, report->rows == 0);
    for (size_t i = 0; i < COUNTS; i++)
        add_count(&report->total, i, count_of(row, i));
    report->rows++;
    return 0;
}

static int begin_report(struct report *report)
{
    static const char *const titles[TABLE_COLUMNS] = {"PERIOD (UTC)", "CUSTOMER",    "OPERATION", "REQUESTS",
                                                      "OK",           "UNCONFIRMED", "OUTPUTS",   "IN",
                                                      "OUT",          "MPIX IN",     "MPIX OUT",  "CPU S"};
    static const bool right[TABLE_COLUMNS] = {false, false, false, true, true, true,
                                              true,  true,  true,  true, true, true};
    if (report->format == FORMAT_CSV) {
        fputs("start,end,customer,operation", stdout);
        for (size_t i = 0; i < COUNTS; i++)
            printf(",%s", counts[i].name);
        putchar('\n');
    }
    if (report->format != FORMAT_TABLE)
        return ERR_OK;
    report->table = table_new(TABLE_COLUMNS, right);
    for (size_t i = 0; report->table && i < TABLE_COLUMNS; i++)
        table_add(report->table, titles[i]);
    return report->table ? ERR_OK : ERR_NOMEM;
}

static int end_report(struct report *report)
{
    if (report->format == FORMAT_JSON)
        puts(report->rows == 0 ? "[]" : "\n]");
    if (report->format != FORMAT_TABLE)
        return ERR_OK;
    if (report->rows > 1)
        table_row(report, "total", "", "", &report->total);
    return table_print(report->table, stdout);
}

/* Index of `text` in a NULL-terminated list; -1. */
static int word_index(const char *const *words, const char *text)
{
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    return -1;
}

/* Fill everything of the query that the options tell. */
static enum cli_status parse_options(const struct cli_args *args, struct usage_query *query, enum format *format)
{
    const char *const *option = args->option;
    int64_t now_us = clock_wall_us();
    int by = word_index(by_names, option[OPT_BY] ? option[OPT_BY] : "day");
    int format_index = word_index(format_names, option[OPT_FORMAT] ? option[OPT_FORMAT] : "table");
    const char *refused = NULL;
    query->from_us = time_month_start(now_us);
    query->to_us = now_us;
    query->customer = option[OPT_CUSTOMER];
    if (option[OPT_FROM] && time_parse(option[OPT_FROM], now_us, &query->from_us) != ERR_OK)
        refused = option[OPT_FROM];
    if (option[OPT_TO] && time_parse(option[OPT_TO], now_us, &query->to_us) != ERR_OK)
        refused = option[OPT_TO];
    if (refused)
        cli_error(args, "'%s' is not a time: write 2026-01-31, 2026-01, 2026-01-31T12:00:00Z, now, or -24h, -7d",
                  refused);
    else if (query->from_us >= query->to_us)
        cli_error(args, "the time span is empty: --from must be before --to");
    else if (by < 0)
        cli_error(args, "--by is hour, day or month");
    else if (format_index < 0)
        cli_error(args, "--format is table, csv or json");
    else if (query->customer && customer_id_check(query->customer) != ERR_OK)
        cli_error(args, "'%s' is not a customer's id", query->customer);
    else {
        query->by = (enum usage_by)by;
        *format = (enum format)format_index;
        return CLI_OK;
    }
    return CLI_USAGE;
}

static enum cli_status run_usage(const struct cli_args *args)
{
    struct usage_query query = {0};
    struct report report = {0};
    struct conf *conf = NULL;
    char usage_dir[FS_PATH_SIZE], ledger_dir[FS_PATH_SIZE];
    enum cli_status status = parse_options(args, &query, &report.format);
    if (status == CLI_OK)
        status = cli_conf_open(args, args->option[OPT_CONFIG], args->option[OPT_DATA], &conf);
    if (status != CLI_OK)
        return status;
    report.by = query.by;
    query.usage_dir = usage_dir;
    query.ledger_dir = ledger_dir;
    int err = conf_path(conf, CONF_METER_USAGE_DIR, usage_dir, sizeof(usage_dir));
    if (err == ERR_OK)
        err = conf_path(conf, CONF_METER_LEDGER_DIR, ledger_dir, sizeof(ledger_dir));
    if (err == ERR_OK)
        err = begin_report(&report);
    if (err == ERR_OK)
        err = usage_report(&query, on_row, &report);
    if (err == ERR_OK)
        err = end_report(&report);
    if (err != ERR_OK) {
        cli_error(args, "cannot read the usage below %s: %s", conf_str(conf, CONF_COMMON_DATA_DIR), err_text(err));
        status = CLI_FAILED;
    }
    table_free(report.table);
    conf_free(conf);
    return status;
}

static const struct cli_option options[] = {
    [OPT_CUSTOMER] = {"customer", 0, "CUSTOMER", "of this one only"},
    [OPT_FROM] = {"from", 0, "TIME", "from here on (default: the beginning of this month)"},
    [OPT_TO] = {"to", 0, "TIME", "up to here, not included (default: now)"},
    [OPT_BY] = {"by", 0, "PERIOD", "hour, day or month (default: day)"},
    [OPT_FORMAT] = {"format", 0, "FORMAT", "table, csv or json (default: table)"},
    [OPT_DATA] = CLI_OPT_DATA,
    [OPT_CONFIG] = CLI_OPT_CONFIG,
    {0},
};

const struct cli_command cli_usage = {
    .name = "usage",
    .operands = "",
    .summary = "Show what customers used, the open hour included",
    .notes = "TIME is 2026-01-31, 2026-01, 2026-01-31T12:00:00Z, now, or -90m, -24h, -7d, -4w. Times are UTC;\n"
             "the hours that a span touches are counted whole.\n",
    .options = options,
    .run = run_usage,
};
