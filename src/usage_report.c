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

static int add_hour(struct report *r, int64_t hour)
{
    const struct usage_query *q = r->query;
    char path[FS_PATH_SIZE];
    struct manifest m;
    uint64_t ledger_bytes = 0;

    int missing = ledger_size(q->ledger_dir, hour, false, &ledger_bytes);
    if (missing && missing != ERR_NOTFOUND)
        return missing;
    int err = manifest_newest(q->usage_dir, PERIOD_HOUR, hour, &m);
    if (err == ERR_NOTFOUND || (!err && m.ledger_bytes < ledger_bytes))
        return missing ? ERR_OK : ledger_read_hour(q->ledger_dir, hour, add_batch, r);
    if (!err)
        err = fs_join(path, sizeof path, q->usage_dir, m.files[0].name);
    return err ? err : usage_csv_read(path, m.files[0].digest, q->customer, r->table);
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

static int find_hours(const struct usage_query *q, struct hour_list *list)
{
    char hourly[FS_PATH_SIZE];
    int64_t from = usage_hour(q->from_us);
    int64_t to = q->to_us > INT64_MAX - hour_us ? INT64_MAX : usage_hour(q->to_us + hour_us - 1);
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
    int err = find_hours(query, &list);
    for (size_t i = 0; i < list.count && !err; i++) {
        int64_t start = period_start(period_of(&r), list.hours[i]);
        if (i > 0 && list.hours[i] == list.hours[i - 1])
            continue;
        if (!r.table || start != r.start)
            err = end_period(&r, start);
        if (!err)
            err = add_hour(&r, list.hours[i]);
    }
    if (!err && r.table)
        err = end_period(&r, 0);
    usage_table_free(r.table);
    free(list.hours);
    return err;
}
