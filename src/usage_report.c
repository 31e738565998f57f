/* SPDX-License-Identifier: MIT */
/* Answers queries about usage, from files where they are up to date and from the ledger where they are not. */
#include "cavage/usage_report.h"

#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/ledger.h"
#include "cavage/period.h"

#include "usage_manifest.h"
#include "usage_table.h"

#include <stdlib.h>
#include <string.h>

static const int64_t hour_us = INT64_C(3600000000);

struct report {
    const struct usage_query *query;
    usage_row_fn fn;
    void *arg;
    struct usage_table *table; /* of the period that begins with `start` */
    int64_t start;
};

_Static_assert((int)USAGE_BY_HOUR == (int)PERIOD_HOUR && (int)USAGE_BY_DAY == (int)PERIOD_DAY &&
                   (int)USAGE_BY_MONTH == (int)PERIOD_MONTH,
               "a report is made by period");

static enum period period_of(const struct report *r)
{
    return (enum period)r->query->by;
}

/* Hand the rows of the period over, and begin another. */
static int end_period(struct report *r, int64_t next)
{
    int err = ERR_OK;
    if (r->table) {
        usage_table_sort(r->table);
        for (size_t i = 0; i < usage_table_count(r->table) && !err; i++) {
            struct usage_row row = usage_table_at(r->table, i)->row;
            row.start_us = r->start * hour_us;
            row.end_us = period_end(period_of(r), r->start) * hour_us;
            err = r->fn(r->arg, &row);
        }
        usage_table_free(r->table);
        r->table = NULL;
    }
    r->start = next;
    return err ? err : usage_table_new(&r->table);
}

static int add_batch(void *arg, const struct wire_usage *m, const uint8_t *body, size_t body_len)
{
    struct report *r = arg;
    struct usage_record record;
    const uint8_t *packed;
    size_t len, pos = 0;
    int err;

    (void)m;
    while ((err = usage_next(body, body_len, &pos, &packed, &len)) == ERR_OK) {
        if (usage_unpack(packed, len, &record) != ERR_OK)
            return ERR_CORRUPT;
        if (!r->query->customer || strcmp(r->query->customer, record.customer) == 0)
            err = usage_table_add(r->table, &record, len);
        if (err)
            return err;
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* ---- Files that are up to date ---- */

static int newest_of(const struct usage_query *q, enum period period, int64_t start, struct manifest *out);

/* An hour is up to date when its files are made of all that the ledger has. */
static int newest_of_hour(const struct usage_query *q, int64_t hour, struct manifest *out)
{
    uint64_t ledger_bytes = 0;
    int missing = ledger_size(q->ledger_dir, hour, false, &ledger_bytes);
    if (missing && missing != ERR_NOTFOUND)
        return missing;
    int err = manifest_newest(q->usage_dir, PERIOD_HOUR, hour, out);
    if (err == ERR_NOTFOUND)
        return missing || ledger_bytes == 0 ? ERR_NOTFOUND : ERR_AGAIN;
    return !err && out->ledger_bytes < ledger_bytes ? ERR_AGAIN : err;
}

/* A rollup is when all its parts are, and it is made of them. */
static int newest_of_parts(const struct usage_query *q, enum period period, int64_t start, struct manifest *out)
{
    enum { PARTS_MAX = 31 };
    enum period part = period == PERIOD_MONTH ? PERIOD_DAY : PERIOD_HOUR;
    char inputs[DIGEST_HEX_SIZE];
    struct manifest *parts = calloc(PARTS_MAX, sizeof *parts);
    size_t count = 0;
    int err = parts ? ERR_OK : ERR_NOMEM;
    for (int64_t at = start; !err && at < period_end(period, start); at = period_end(part, at)) {
        err = newest_of(q, part, at, &parts[count]);
        if (!err)
            count++;
        else if (err == ERR_NOTFOUND)
            err = ERR_OK;
    }
    if (!err && count == 0)
        err = ERR_NOTFOUND;
    if (!err) {
        manifest_digest_parts(parts, count, inputs);
        err = manifest_newest(q->usage_dir, period, start, out);
        /* Its parts are there, and good. */
        if (err == ERR_NOTFOUND || err == ERR_CORRUPT || (!err && strcmp(out->inputs, inputs) != 0))
            err = ERR_AGAIN;
    }
    free(parts);
    return err;
}

/* The newest manifest of a period. ERR_NOTFOUND: nothing was used then; ERR_AGAIN: its files are missing, or not up to date. */
static int newest_of(const struct usage_query *q, enum period period, int64_t start, struct manifest *out)
{
    return period == PERIOD_HOUR ? newest_of_hour(q, start, out) : newest_of_parts(q, period, start, out);
}

/* Add what was used in the part of a period that lies within [from, to). */
static int add_period(struct report *r, enum period period, int64_t start, int64_t from, int64_t to)
{
    const struct usage_query *q = r->query;
    enum period part = period == PERIOD_MONTH ? PERIOD_DAY : PERIOD_HOUR;
    char path[FS_PATH_SIZE];
    struct manifest m;
    int64_t end = period_end(period, start);
    int err = start >= from && end <= to ? newest_of(q, period, start, &m) : ERR_AGAIN;
    if (err == ERR_NOTFOUND)
        return ERR_OK;
    if (!err) {
        err = fs_join(path, sizeof path, q->usage_dir, m.files[0].name);
        return err ? err : usage_csv_read(path, m.files[0].digest, q->customer, r->table);
    }
    if (err != ERR_AGAIN)
        return err;
    if (period == PERIOD_HOUR)
        return ledger_read_hour(q->ledger_dir, start, add_batch, r);
    err = ERR_OK;
    for (int64_t at = start; !err && at < end; at = period_end(part, at))
        if (at < to && period_end(part, at) > from)
            err = add_period(r, part, at, from, to);
    return err;
}

/* ---- Which hours ---- */

static int note_hour(void *arg, int64_t hour, const char *rest)
{
    (void)rest;
    return hour_list_add(arg, hour);
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int find_hours(const struct usage_query *q, int64_t from, int64_t to, struct hour_list *list)
{
    char hourly[FS_PATH_SIZE];
    int err = fs_join(hourly, sizeof hourly, q->usage_dir, "hourly");
    if (!err)
        err = hour_walk(hourly, from, to, note_hour, list);
    if (!err)
        err = hour_walk(q->ledger_dir, from, to, note_hour, list);
    if (!err && list->count > 0)
        qsort(list->hours, list->count, sizeof *list->hours, by_number);
    return err;
}

int usage_report(const struct usage_query *query, usage_row_fn fn, void *arg)
{
    struct report r = {.query = query, .fn = fn, .arg = arg};
    struct hour_list list = {0};

    if (query->from_us > query->to_us || (unsigned)query->by > USAGE_BY_MONTH)
        return ERR_INVALID;
    int64_t from = usage_hour(query->from_us);
    int64_t to = query->to_us > INT64_MAX - hour_us ? INT64_MAX : usage_hour(query->to_us + hour_us - 1);
    int err = find_hours(query, from, to, &list);
    for (size_t i = 0; i < list.count && !err; i++) {
        int64_t start = period_start(period_of(&r), list.hours[i]);
        if (r.table && start == r.start)
            continue;
        err = end_period(&r, start);
        if (!err)
            err = add_period(&r, period_of(&r), start, from, to);
    }
    if (!err && r.table)
        err = end_period(&r, 0);
    usage_table_free(r.table);
    free(list.hours);
    return err;
}
