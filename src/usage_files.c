/* SPDX-License-Identifier: MIT */
/* Makes the usage files of hours from the ledger, and rolls them up by day and month. */
#include "cavage/usage_files.h"

#include "cavage/err.h"
#include "cavage/id.h"
#include "cavage/ledger.h"

#include "out_file.h"
#include "usage_manifest.h"
#include "usage_raw.h"
#include "usage_table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t hour_us = INT64_C(3600000000);

/* ---- Versions ---- */

/* Prepare the version after the newest one. */
static int begin_version(const struct usage_files *files, enum period period, int64_t start, struct manifest *newest,
                         struct manifest *next)
{
    int err = manifest_newest(files->usage_dir, period, start, newest);
    if (err == ERR_CORRUPT) /* its version is taken all the same */
        memset(newest->inputs, 0, sizeof newest->inputs);
    else if (err && err != ERR_NOTFOUND)
        return err;
    *next = (struct manifest){.period = period, .start = start, .version = newest->version + 1};
    return ERR_OK;
}

/* name is shorter than MANIFEST_NAME_SIZE. */
static void describe(const struct out_file *out, const char *name, struct manifest *m)
{
    struct manifest_file *file = &m->files[m->file_count++];
    memcpy(file->name, name, strlen(name) + 1);
    file->bytes = out->bytes;
    memcpy(file->digest, out->digest, sizeof file->digest);
}

static int write_csv(const struct usage_files *files, const struct usage_table *table, struct manifest *m)
{
    char name[MANIFEST_NAME_SIZE];
    struct out_file out;

    manifest_name(m->period, m->start, m->version, name);
    memcpy(name + strlen(name), ".csv", sizeof ".csv");
    int err = out_open(&out, files->usage_dir, name);
    if (!err)
        usage_csv_write(table, m->start * hour_us, period_end(m->period, m->start) * hour_us, &out);
    err = out_commit(&out);
    if (err)
        return err;
    describe(&out, name, m);
    m->rows = usage_table_count(table);
    usage_table_totals(table, &m->totals);
    return ERR_OK;
}

/* ---- Hours ---- */

struct survey {
    struct usage_table *table;
    struct digest inputs;
    uint64_t batches, records;
};

/* What a batch is, in an order of bytes that is the same everywhere. */
static void add_input(struct digest *inputs, const struct wire_usage *m)
{
    char text[128], uuid[ID_UUID_SIZE];
    id_to_uuid(&m->producer, uuid);
    int len = snprintf(text, sizeof text, "%s %" PRIu64 " %" PRIu64 " ", uuid, m->epoch, m->sequence);
    digest_add(inputs, text, (size_t)len);
    digest_add(inputs, m->digest, sizeof m->digest);
}

static int survey_batch(void *arg, const struct wire_usage *m, const uint8_t *body, size_t body_len)
{
    struct survey *survey = arg;
    struct usage_record record;
    const uint8_t *packed;
    size_t len, pos = 0;
    int err;

    add_input(&survey->inputs, m);
    survey->batches++;
    while ((err = usage_next(body, body_len, &pos, &packed, &len)) == ERR_OK) {
        if (usage_unpack(packed, len, &record) != ERR_OK)
            return ERR_CORRUPT;
        err = usage_table_add(survey->table, &record, len);
        if (err)
            return err;
        survey->records++;
    }
    return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* Read the whole batches that are on disk for sure. */
static int survey_hour(const struct usage_files *files, int64_t hour, struct usage_table *table, struct manifest *m)
{
    struct survey survey = {.table = table};
    uint8_t digest[DIGEST_BYTES];
    uint64_t bytes = 0;

    digest_start(&survey.inputs);
    int err = ledger_size(files->ledger_dir, hour, true, &bytes);
    if (!err)
        err = ledger_read_part(files->ledger_dir, hour, bytes, survey_batch, &survey, &m->ledger_bytes);
    if (err)
        return err;
    digest_end(&survey.inputs, digest);
    hex_encode(digest, sizeof digest, m->inputs);
    m->ledger_batches = survey.batches;
    m->records = survey.records;
    usage_table_sort(table);
    return ERR_OK;
}

/* The first version has the plain name. */
static void raw_name(int64_t hour, uint32_t version, const char *suffix, char out[MANIFEST_NAME_SIZE])
{
    char name[PERIOD_NAME_SIZE];
    period_name(PERIOD_HOUR, hour, name);
    if (version == 1)
        snprintf(out, MANIFEST_NAME_SIZE, "raw/%s%s", name, suffix);
    else
        snprintf(out, MANIFEST_NAME_SIZE, "raw/%s.v%" PRIu32 "%s", name, version, suffix);
}

static int write_raw(const struct usage_files *files, const struct usage_table *table, struct manifest *m)
{
    char raw[MANIFEST_NAME_SIZE], index[MANIFEST_NAME_SIZE];
    struct out_file raw_out, index_out;

    raw_name(m->start, m->version, ".jsonl.zst", raw);
    raw_name(m->start, m->version, ".idx", index);
    int err = out_open(&raw_out, files->usage_dir, raw);
    int index_err = out_open(&index_out, files->usage_dir, index);
    if (!err)
        err = index_err;
    if (!err)
        err = usage_raw_write(files, m->start, m->ledger_bytes, table, &raw_out, &index_out);
    if (err) {
        out_abort(&raw_out);
        out_abort(&index_out);
        return err;
    }
    err = out_commit(&raw_out);
    if (err) {
        out_abort(&index_out);
        return err;
    }
    err = out_commit(&index_out);
    if (err)
        return err;
    describe(&raw_out, raw, m);
    describe(&index_out, index, m);
    return ERR_OK;
}

int usage_files_hour(const struct usage_files *files, int64_t hour, bool *made)
{
    struct manifest newest, next;
    struct usage_table *table = NULL;

    *made = false;
    int err = begin_version(files, PERIOD_HOUR, hour, &newest, &next);
    if (!err)
        err = ledger_size(files->ledger_dir, hour, false, &next.ledger_bytes);
    bool known = !err && newest.inputs[0] != '\0';
    if (err || (known && newest.ledger_bytes == next.ledger_bytes))
        return err;
    err = usage_table_new(&table);
    if (!err)
        err = survey_hour(files, hour, table, &next);
    if (!err && known && next.ledger_bytes <= newest.ledger_bytes) {
        /* Nothing but a torn tail is new; or the log has lost what was billed, and another version would hide that. */
        err = next.ledger_bytes == newest.ledger_bytes ? ERR_OK : ERR_CORRUPT;
        goto out;
    }
    if (!err && next.records == 0)
        err = ERR_NOTFOUND;
    if (!err)
        err = write_csv(files, table, &next);
    if (!err)
        err = write_raw(files, table, &next);
    if (!err)
        err = manifest_write(files->usage_dir, &next);
    *made = err == ERR_OK;
out:
    usage_table_free(table);
    return err;
}

/* ---- Days and months ---- */

/* Whether the ledger has anything in [from, to). A crash can leave a log empty. */
static bool ledger_has(const struct usage_files *files, int64_t from, int64_t to)
{
    int64_t *hours = NULL;
    size_t count = 0;
    uint64_t bytes = 0;
    if (ledger_hours(files->ledger_dir, from, to, &hours, &count) != ERR_OK)
        return true;
    for (size_t i = 0; i < count && bytes == 0; i++)
        if (ledger_size(files->ledger_dir, hours[i], false, &bytes) != ERR_OK)
            bytes = 1;
    free(hours);
    return bytes > 0;
}

/* Find the newest files of the period's parts. `parts` has room for all of them. */
static int find_parts(const struct usage_files *files, enum period of, int64_t start, int64_t end,
                      struct manifest *parts, size_t *count)
{
    *count = 0;
    for (int64_t at = start; at < end; at = period_end(of, at)) {
        int err = manifest_newest(files->usage_dir, of, at, &parts[*count]);
        if (err == ERR_NOTFOUND && ledger_has(files, at, period_end(of, at)))
            return ERR_AGAIN;
        if (err && err != ERR_NOTFOUND)
            return err;
        if (!err)
            ++*count;
    }
    return *count > 0 ? ERR_OK : ERR_NOTFOUND;
}

static int add_parts(const struct usage_files *files, const struct manifest *parts, size_t count,
                     struct usage_table *table, struct manifest *m)
{
    int err = ERR_OK;
    for (size_t i = 0; i < count && !err; i++) {
        char path[FS_PATH_SIZE];
        err = fs_join(path, sizeof path, files->usage_dir, parts[i].files[0].name);
        if (!err)
            err = usage_csv_read(path, parts[i].files[0].digest, NULL, table);
        m->records += parts[i].records;
    }
    usage_table_sort(table);
    return err;
}

int usage_files_rollup(const struct usage_files *files, enum period period, int64_t start, bool *made)
{
    enum { PARTS_MAX = 31 };
    struct manifest newest, next, *parts = calloc(PARTS_MAX, sizeof *parts);
    struct usage_table *table = NULL;
    size_t count = 0;

    *made = false;
    int err = period == PERIOD_HOUR ? ERR_INVALID : ERR_OK;
    if (!err && !parts)
        err = ERR_NOMEM;
    if (!err)
        err = find_parts(files, period == PERIOD_DAY ? PERIOD_HOUR : PERIOD_DAY, start, period_end(period, start),
                         parts, &count);
    if (!err)
        err = begin_version(files, period, start, &newest, &next);
    if (err)
        goto out;
    next.parts = count;
    manifest_digest_parts(parts, count, next.inputs);
    if (strcmp(next.inputs, newest.inputs) == 0)
        goto out;
    err = usage_table_new(&table);
    if (!err)
        err = add_parts(files, parts, count, table, &next);
    if (!err)
        err = write_csv(files, table, &next);
    if (!err)
        err = manifest_write(files->usage_dir, &next);
    *made = err == ERR_OK;
out:
    usage_table_free(table);
    free(parts);
    return err;
}
