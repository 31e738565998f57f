/* SPDX-License-Identifier: MIT */
/* Manifests as JSON, by jansson. */
#include "usage_manifest.h"

#include "cavage/clock.h"
#include "cavage/err.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { MANIFEST_BYTES_MAX = 64 * 1024, FORMAT = 1 };

static const char suffix[] = ".manifest.json";
static const char *const folders[] = {"hourly", "daily", "monthly"};
static const char *const words[] = {"hour", "day", "month"};
static const int64_t hour_us = INT64_C(3600000000);

void manifest_name(enum period period, int64_t start, uint32_t version, char out[MANIFEST_NAME_SIZE])
{
    char name[PERIOD_NAME_SIZE];
    period_name(period, start, name);
    snprintf(out, MANIFEST_NAME_SIZE - 16, "%s/%s.v%" PRIu32, folders[period], name, version);
}

static int manifest_path(const char *usage_dir, const char *name, char out[FS_PATH_SIZE])
{
    int len = snprintf(out, FS_PATH_SIZE, "%s/%s%s", usage_dir, name, suffix);
    return len > 0 && len < FS_PATH_SIZE ? ERR_OK : ERR_RANGE;
}

void manifest_digest_parts(const struct manifest *parts, size_t count, char out[DIGEST_HEX_SIZE])
{
    struct digest state;
    uint8_t digest[DIGEST_BYTES];
    digest_start(&state);
    for (size_t i = 0; i < count; i++) {
        digest_add(&state, parts[i].files[0].name, strlen(parts[i].files[0].name) + 1);
        digest_add(&state, parts[i].files[0].digest, DIGEST_HEX_SIZE);
    }
    digest_end(&state, digest);
    hex_encode(digest, sizeof digest, out);
}

/* ---- Writing ---- */

static json_t *files_json(const struct manifest *m)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->file_count; i++)
        json_array_append_new(list, json_pack("{s:s, s:I, s:s}", "name", m->files[i].name, "bytes",
                                              (json_int_t)m->files[i].bytes, "blake2b", m->files[i].digest));
    return list;
}

static json_t *totals_json(const struct usage_row *t)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "requests", (json_int_t)t->requests, "succeeded",
                     (json_int_t)t->succeeded, "unconfirmed", (json_int_t)t->unconfirmed, "input_bytes",
                     (json_int_t)t->input_bytes, "output_bytes", (json_int_t)t->output_bytes, "input_pixels",
                     (json_int_t)t->input_pixels, "output_pixels", (json_int_t)t->output_pixels, "cpu_us",
                     (json_int_t)t->cpu_us, "outputs", (json_int_t)t->outputs);
}

static json_t *inputs_json(const struct manifest *m)
{
    if (m->period != PERIOD_HOUR)
        return json_pack("{s:I, s:s}", "parts", (json_int_t)m->parts, "blake2b", m->inputs);
    return json_pack("{s:I, s:I, s:s}", "ledger_bytes", (json_int_t)m->ledger_bytes, "ledger_batches",
                     (json_int_t)m->ledger_batches, "blake2b", m->inputs);
}

int manifest_write(const char *usage_dir, const struct manifest *m)
{
    char path[FS_PATH_SIZE], name[MANIFEST_NAME_SIZE], start[25], end[25];
    manifest_name(m->period, m->start, m->version, name);
    clock_format(m->start * hour_us, start);
    clock_format(period_end(m->period, m->start) * hour_us, end);
    int err = manifest_path(usage_dir, name, path);
    if (err)
        return err;
    json_t *json = json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:o}", "format", FORMAT, "period",
                             words[m->period], "start", start, "end", end, "version", (json_int_t)m->version, "rows",
                             (json_int_t)m->rows, "records", (json_int_t)m->records, "totals", totals_json(&m->totals),
                             "files", files_json(m), "inputs", inputs_json(m));
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    err = text ? fs_write_atomic(path, text, strlen(text), 0640) : ERR_NOMEM;
    free(text);
    json_decref(json);
    return err;
}

/* ---- Reading ---- */

static int copy_text(json_t *value, char *out, size_t size)
{
    const char *text = json_string_value(value);
    size_t len = text ? strlen(text) : size;
    if (len >= size)
        return ERR_CORRUPT;
    memcpy(out, text, len + 1);
    return ERR_OK;
}

static int read_u64(const json_t *object, const char *key, uint64_t *out)
{
    json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return ERR_CORRUPT;
    *out = (uint64_t)json_integer_value(value);
    return ERR_OK;
}

/* What the others of the file say is for people and billing jobs. */
static int parse(const json_t *json, struct manifest *m)
{
    const json_t *inputs = json_object_get(json, "inputs"), *files = json_object_get(json, "files");
    const json_t *csv = json_array_get(files, 0);
    uint64_t format, version;

    if (read_u64(json, "format", &format) || format != FORMAT || read_u64(json, "version", &version) ||
        version != m->version || read_u64(json, "rows", &m->rows) || read_u64(json, "records", &m->records))
        return ERR_CORRUPT;
    if (copy_text(json_object_get(csv, "name"), m->files[0].name, sizeof m->files[0].name) ||
        copy_text(json_object_get(csv, "blake2b"), m->files[0].digest, sizeof m->files[0].digest) ||
        read_u64(csv, "bytes", &m->files[0].bytes) ||
        copy_text(json_object_get(inputs, "blake2b"), m->inputs, sizeof m->inputs))
        return ERR_CORRUPT;
    m->file_count = 1;
    if (m->period == PERIOD_HOUR)
        return read_u64(inputs, "ledger_bytes", &m->ledger_bytes);
    return read_u64(inputs, "parts", &m->parts);
}

static int load(const char *usage_dir, struct manifest *m)
{
    char path[FS_PATH_SIZE], name[MANIFEST_NAME_SIZE];
    size_t len;
    manifest_name(m->period, m->start, m->version, name);
    int err = manifest_path(usage_dir, name, path);
    char *text = malloc(MANIFEST_BYTES_MAX);
    if (!text)
        return ERR_NOMEM;
    if (!err)
        err = fs_read(path, text, MANIFEST_BYTES_MAX, &len);
    if (!err) {
        json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
        err = json ? parse(json, m) : ERR_CORRUPT;
        json_decref(json);
    }
    free(text);
    return err == ERR_RANGE ? ERR_CORRUPT : err;
}

/* The version in a name such as "03.v2.manifest.json", 0 when it is another's. */
static uint32_t version_in(const char *name, const char *base)
{
    size_t len = strlen(base);
    char *end;
    if (strncmp(name, base, len) != 0 || name[len] < '1' || name[len] > '9')
        return 0;
    errno = 0;
    unsigned long v = strtoul(name + len, &end, 10);
    return errno == 0 && v < UINT32_MAX && strcmp(end, suffix) == 0 ? (uint32_t)v : 0;
}

int manifest_newest(const char *usage_dir, enum period period, int64_t start, struct manifest *out)
{
    char name[MANIFEST_NAME_SIZE], path[FS_PATH_SIZE];
    struct dirent **names;

    memset(out, 0, sizeof *out);
    out->period = period;
    out->start = start;
    manifest_name(period, start, 0, name);
    int err = fs_join(path, sizeof path, usage_dir, name);
    if (err)
        return err;
    char *base = strrchr(path, '/');
    *base++ = '\0';
    base[strlen(base) - 1] = '\0'; /* the version, 0 */
    int n = scandir(path, &names, NULL, alphasort);
    if (n < 0)
        return err_from_errno(errno);
    for (int i = 0; i < n; i++) {
        uint32_t version = version_in(names[i]->d_name, base);
        if (version > out->version)
            out->version = version;
        free(names[i]);
    }
    free(names);
    return out->version == 0 ? ERR_NOTFOUND : load(usage_dir, out);
}
