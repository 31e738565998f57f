/* SPDX-License-Identifier: MIT */
/* Usage files agree with the ledger to the record, in every version, and reports agree with both. */
#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/ledger.h"
#include "cavage/log.h"
#include "cavage/usage.h"
#include "cavage/usage_files.h"
#include "cavage/usage_report.h"

#include "folder.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <zstd.h>

/* 2026-01-31T22:00Z: the hours after it begin another day and another month. */
enum { HOUR = 491638, FILE_BYTES = 1 << 20, ROWS = 64 };

static const int64_t hour_us = INT64_C(3600000000);
static char dir[64], ledger_dir[80], usage_dir[80];
static struct usage_sequence *sequence;
static struct ledger *ledger;
static uint64_t last_batch;
static struct usage_files files;

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    snprintf(dir, sizeof dir, "%s", "/tmp/cavage-files-XXXXXX");
    if (!mkdtemp(dir) || digest_init() != ERR_OK)
        return -1;
    snprintf(ledger_dir, sizeof ledger_dir, "%s/ledger", dir);
    snprintf(usage_dir, sizeof usage_dir, "%s/usage", dir);
    files = (struct usage_files){.usage_dir = usage_dir, .ledger_dir = ledger_dir};
    last_batch = 0;
    return usage_sequence_new(&sequence) || ledger_open(ledger_dir, sequence, &ledger);
}

static int teardown(void **state)
{
    (void)state;
    ledger_close(ledger);
    usage_sequence_free(sequence);
    return folder_remove(dir);
}

/* One batch of `count` records of an hour, spread over `customers`. */
static void add_batch(int64_t hour, int count, int customers)
{
    uint8_t *body = malloc(USAGE_BODY_MAX), packed[USAGE_RECORD_MAX];
    size_t body_len = 0, len;
    for (int i = 0; i < count; i++) {
        struct usage_record r = {.time_us = hour * hour_us + i, .status = i % 10 == 9 ? 415 : 200, .count = 1};
        snprintf(r.customer, sizeof r.customer, "customer-%d", i * 7 % customers);
        snprintf(r.request_id, sizeof r.request_id, "%ld-%lu-%d", (long)hour, (unsigned long)last_batch, i);
        snprintf(r.operation, sizeof r.operation, "%s", i % 3 == 0 ? "info" : "resize");
        r.input_bytes = 1000;
        r.cpu_us = (uint64_t)i;
        r.outputs = i % 3 == 0 ? 0 : 2;
        assert_int_equal(usage_pack(&r, packed, sizeof packed, &len), ERR_OK);
        assert_int_equal(usage_add(body, USAGE_BODY_MAX, &body_len, packed, len, i % 5 != 0), ERR_OK);
    }
    struct wire_usage m = {
        .epoch = 1, .sequence = ++last_batch, .hour = hour, .records = (uint32_t)count, .ack_address = "ipc:///a"};
    m.producer.bytes[0] = 1;
    digest_of(body, body_len, m.digest);
    assert_int_equal(ledger_append(ledger, &m, body, body_len), ERR_OK);
    assert_int_equal(usage_sequence_taken(sequence, &m), ERR_OK);
    free(body);
}

static char *slurp(const char *name, size_t *len)
{
    char path[FS_PATH_SIZE];
    char *data = malloc(FILE_BYTES);
    snprintf(path, sizeof path, "%s/%s", usage_dir, name);
    if (fs_read(path, data, FILE_BYTES, len) != ERR_OK)
        fail_msg("no %s", name);
    return data;
}

static bool exists(const char *name)
{
    char path[FS_PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", usage_dir, name);
    return access(path, F_OK) == 0;
}

static json_t *manifest(const char *name)
{
    size_t len;
    char *text = slurp(name, &len);
    json_t *json = json_loadb(text, len, 0, NULL);
    assert_non_null(json);
    free(text);
    return json;
}

/* Every file that a manifest names is as it says. */
static void check_files(const json_t *json)
{
    size_t i, len;
    json_t *file;
    json_array_foreach(json_object_get(json, "files"), i, file)
    {
        uint8_t digest[DIGEST_BYTES];
        char hex[DIGEST_HEX_SIZE];
        char *data = slurp(json_string_value(json_object_get(file, "name")), &len);
        assert_int_equal(json_integer_value(json_object_get(file, "bytes")), len);
        digest_of(data, len, digest);
        hex_encode(digest, sizeof digest, hex);
        assert_string_equal(json_string_value(json_object_get(file, "blake2b")), hex);
        free(data);
    }
    assert_true(i > 0);
}

static int64_t total(const json_t *json, const char *name)
{
    return json_integer_value(json_object_get(json_object_get(json, "totals"), name));
}

static bool make_hour(int64_t hour)
{
    bool made;
    assert_int_equal(usage_files_hour(&files, hour, &made), ERR_OK);
    return made;
}

/* Records in a stretch of a raw file, all of which belong to `customer`. */
static int count_frame(const char *data, size_t len, const char *customer)
{
    size_t size = FILE_BYTES, got;
    char *text = malloc(size), *save = NULL;
    int count = 0;
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    ZSTD_inBuffer in = {.src = data, .size = len};
    ZSTD_outBuffer out = {.dst = text, .size = size - 1};
    do
        got = ZSTD_decompressStream(zstd, &out, &in);
    while (!ZSTD_isError(got) && in.pos < in.size);
    assert_int_equal(got, 0);
    ZSTD_freeDCtx(zstd);
    text[out.pos] = '\0';
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *json = json_loads(line, 0, NULL);
        assert_non_null(json);
        assert_string_equal(json_string_value(json_object_get(json, "customer")), customer);
        json_decref(json);
        count++;
    }
    free(text);
    return count;
}

/* The index covers the raw file without gaps, in order, one frame a customer. Returns the records. */
static int check_raw(const char *raw_name, const char *index_name)
{
    size_t raw_len, index_len, end = 0;
    char *raw = slurp(raw_name, &raw_len), *index = slurp(index_name, &index_len), *save = NULL, last[64] = "";
    int records = 0;
    char *line = strtok_r(index, "\n", &save);
    assert_string_equal(line, "customer,offset,bytes,records");
    while ((line = strtok_r(NULL, "\n", &save)) != NULL) {
        char *rest = NULL;
        const char *customer = strtok_r(line, ",", &rest);
        unsigned long offset = strtoul(rest, &rest, 10), bytes = strtoul(rest + 1, &rest, 10);
        int count = (int)strtol(rest + 1, &rest, 10);
        assert_string_equal(rest, "");
        assert_true(strcmp(last, customer) < 0);
        snprintf(last, sizeof last, "%s", customer);
        assert_int_equal(offset, end);
        end += bytes;
        assert_true(end <= raw_len);
        assert_int_equal(count_frame(raw + offset, bytes, customer), count);
        records += count;
    }
    assert_int_equal(end, raw_len);
    free(raw);
    free(index);
    return records;
}

static void test_hour_has_every_record_once(void **state)
{
    (void)state;
    /* All in one group, some customers in each, each customer of its own. */
    static const uint64_t sizes[] = {0, 3000, 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int64_t hour = HOUR - 10 + (int64_t)i;
        char name[64];
        files.group_bytes = sizes[i];
        for (int n = 0; n < 5; n++)
            add_batch(hour, 100, 13);
        assert_true(make_hour(hour));
        snprintf(name, sizeof name, "hourly/2026/01/31/%02d.v1.manifest.json", 12 + (int)i);
        json_t *json = manifest(name);
        check_files(json);
        assert_int_equal(json_integer_value(json_object_get(json, "records")), 500);
        assert_int_equal(json_integer_value(json_object_get(json, "rows")), 26);
        assert_int_equal(total(json, "requests"), 500);
        assert_int_equal(total(json, "succeeded"), 450);
        assert_int_equal(total(json, "unconfirmed"), 100);
        assert_int_equal(total(json, "input_bytes"), 500000);
        assert_int_equal(total(json, "cpu_us"), 5 * 99 * 100 / 2);
        assert_int_equal(total(json, "outputs"), 5 * 66 * 2);
        json_decref(json);
        char raw[64], index[64];
        snprintf(raw, sizeof raw, "raw/2026/01/31/%02d.jsonl.zst", 12 + (int)i);
        snprintf(index, sizeof index, "raw/2026/01/31/%02d.idx", 12 + (int)i);
        assert_int_equal(check_raw(raw, index), 500);
        assert_false(make_hour(hour));
    }
}

static void test_late_records_make_another_version(void **state)
{
    (void)state;
    size_t len;
    add_batch(HOUR, 10, 3);
    assert_true(make_hour(HOUR));
    char *first = slurp("hourly/2026/01/31/22.v1.csv", &len);
    add_batch(HOUR, 7, 3);
    assert_true(make_hour(HOUR));
    assert_false(make_hour(HOUR));
    json_t *json = manifest("hourly/2026/01/31/22.v2.manifest.json");
    assert_int_equal(total(json, "requests"), 17);
    assert_int_equal(check_raw("raw/2026/01/31/22.v2.jsonl.zst", "raw/2026/01/31/22.v2.idx"), 17);
    assert_int_equal(check_raw("raw/2026/01/31/22.jsonl.zst", "raw/2026/01/31/22.idx"), 10);
    json_decref(json);
    char *same = slurp("hourly/2026/01/31/22.v1.csv", &len);
    assert_string_equal(first, same);
    free(first);
    free(same);
}

static void test_csv_is_as_documented(void **state)
{
    (void)state;
    size_t len;
    add_batch(HOUR, 3, 1);
    assert_true(make_hour(HOUR));
    char *csv = slurp("hourly/2026/01/31/22.v1.csv", &len);
    assert_string_equal(
        csv,
        "BillingAccountId,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ServiceName,SkuId,ConsumedQuantity,"
        "ConsumedUnit,Requests,Succeeded,Unconfirmed,InputBytes,OutputBytes,InputPixels,OutputPixels,"
        "CpuMicroseconds,Outputs\n"
        "customer-0,2026-01-31T22:00:00Z,2026-01-31T23:00:00Z,Usage,Cavage,info,1,Requests,1,1,1,1000,0,0,0,0,0\n"
        "customer-0,2026-01-31T22:00:00Z,2026-01-31T23:00:00Z,Usage,Cavage,resize,2,Requests,2,2,0,2000,0,0,0,3,4\n");
    free(csv);
}

static void test_unfinished_version_does_not_count(void **state)
{
    (void)state;
    char path[FS_PATH_SIZE];
    add_batch(HOUR, 10, 3);
    assert_true(make_hour(HOUR));
    /* As when the power fails before the manifest is there. */
    snprintf(path, sizeof path, "%s/hourly/2026/01/31/22.v1.manifest.json", usage_dir);
    assert_int_equal(unlink(path), 0);
    assert_true(make_hour(HOUR));
    assert_true(exists("hourly/2026/01/31/22.v1.manifest.json"));
    assert_false(exists("hourly/2026/01/31/22.v2.csv"));
}

static void test_rollups_follow_their_parts(void **state)
{
    (void)state;
    bool made;
    for (int h = 0; h < 4; h++)
        add_batch(HOUR + h, 10, 3);
    assert_true(make_hour(HOUR));
    /* An hour of the day has no files yet. */
    assert_int_equal(usage_files_rollup(&files, PERIOD_DAY, HOUR - 22, &made), ERR_AGAIN);
    for (int h = 1; h < 4; h++)
        assert_true(make_hour(HOUR + h));
    assert_int_equal(usage_files_rollup(&files, PERIOD_MONTH, HOUR + 2, &made), ERR_AGAIN);
    assert_int_equal(usage_files_rollup(&files, PERIOD_DAY, HOUR - 22, &made), ERR_OK);
    assert_int_equal(usage_files_rollup(&files, PERIOD_DAY, HOUR + 2, &made), ERR_OK);
    assert_true(made);
    assert_int_equal(usage_files_rollup(&files, PERIOD_DAY, HOUR + 2, &made), ERR_OK);
    assert_false(made);
    assert_int_equal(usage_files_rollup(&files, PERIOD_MONTH, HOUR + 2, &made), ERR_OK);
    json_t *json = manifest("daily/2026/01/31.v1.manifest.json");
    check_files(json);
    assert_int_equal(total(json, "requests"), 20);
    json_decref(json);
    json = manifest("monthly/2026/02.v1.manifest.json");
    check_files(json);
    assert_int_equal(total(json, "requests"), 20);
    json_decref(json);
    /* A late record goes all the way up. */
    add_batch(HOUR + 3, 1, 1);
    assert_true(make_hour(HOUR + 3));
    assert_int_equal(usage_files_rollup(&files, PERIOD_DAY, HOUR + 2, &made), ERR_OK);
    assert_int_equal(usage_files_rollup(&files, PERIOD_MONTH, HOUR + 2, &made), ERR_OK);
    json = manifest("monthly/2026/02.v2.manifest.json");
    assert_int_equal(total(json, "requests"), 21);
    json_decref(json);
    assert_int_equal(usage_files_rollup(&files, PERIOD_DAY, HOUR + 26, &made), ERR_NOTFOUND);
}

static void test_hour_without_records_has_no_files(void **state)
{
    (void)state;
    bool made;
    assert_int_equal(usage_files_hour(&files, HOUR, &made), ERR_NOTFOUND);
}

static void test_damaged_ledger_makes_no_files(void **state)
{
    (void)state;
    char path[FS_PATH_SIZE];
    bool made;
    for (int i = 0; i < 3; i++) {
        add_batch(HOUR, 10, 3);
        assert_int_equal(ledger_sync(ledger), ERR_OK);
    }
    snprintf(path, sizeof path, "%s/2026/01/31/22.log", ledger_dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "damage", 6, 100), 6);
    close(fd);
    assert_int_equal(usage_files_hour(&files, HOUR, &made), ERR_CORRUPT);
    assert_false(exists("hourly/2026/01/31/22.v1.manifest.json"));
}

struct rows {
    struct usage_row row[ROWS];
    size_t count;
};

static int keep_row(void *arg, const struct usage_row *row)
{
    struct rows *rows = arg;
    assert_true(rows->count < ROWS);
    rows->row[rows->count++] = *row;
    return ERR_OK;
}

static uint64_t report(struct rows *rows, enum usage_by by, const char *customer, int64_t from, int64_t to)
{
    struct usage_query q = {.usage_dir = usage_dir, .ledger_dir = ledger_dir, .customer = customer, .by = by};
    uint64_t requests = 0;
    q.from_us = from * hour_us;
    q.to_us = to == INT64_MAX ? INT64_MAX : to * hour_us;
    rows->count = 0;
    assert_int_equal(usage_report(&q, keep_row, rows), ERR_OK);
    for (size_t i = 0; i < rows->count; i++)
        requests += rows->row[i].requests;
    return requests;
}

static void test_report_reads_open_and_closed_hours(void **state)
{
    (void)state;
    struct rows rows;
    assert_int_equal(report(&rows, USAGE_BY_HOUR, NULL, 0, INT64_MAX), 0);
    for (int h = 0; h < 4; h++)
        add_batch(HOUR + h, 20, 2);
    for (int closed = 0; closed < 4; closed++) {
        assert_int_equal(report(&rows, USAGE_BY_HOUR, NULL, 0, INT64_MAX), 80);
        assert_int_equal(rows.count, 16);
        assert_int_equal(rows.row[0].start_us, HOUR * hour_us);
        assert_int_equal(rows.row[0].end_us, (HOUR + 1) * hour_us);
        assert_string_equal(rows.row[0].customer, "customer-0");
        assert_string_equal(rows.row[0].operation, "info");
        assert_int_equal(report(&rows, USAGE_BY_DAY, NULL, 0, INT64_MAX), 80);
        assert_int_equal(rows.count, 8);
        assert_int_equal(rows.row[4].start_us, (HOUR + 2) * hour_us);
        assert_int_equal(rows.row[4].end_us, (HOUR + 26) * hour_us);
        assert_int_equal(report(&rows, USAGE_BY_MONTH, "customer-1", 0, INT64_MAX), 40);
        assert_int_equal(rows.count, 4);
        assert_int_equal(report(&rows, USAGE_BY_MONTH, "nobody", 0, INT64_MAX), 0);
        assert_int_equal(report(&rows, USAGE_BY_HOUR, NULL, HOUR + 1, HOUR + 3), 40);
        assert_true(make_hour(HOUR + closed));
    }
    /* A late batch counts at once, before the hour's files are made again. */
    add_batch(HOUR, 5, 2);
    assert_int_equal(report(&rows, USAGE_BY_HOUR, NULL, 0, INT64_MAX), 85);
}

static void drop(const char *name)
{
    char path[FS_PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", usage_dir, name);
    assert_int_equal(unlink(path), 0);
}

static void roll_up(enum period period, int64_t start)
{
    bool made;
    assert_int_equal(usage_files_rollup(&files, period, start, &made), ERR_OK);
    assert_true(made);
}

/* What is not there any more cannot have been read. */
static void test_report_reads_rollups_that_are_up_to_date(void **state)
{
    (void)state;
    struct rows rows;
    struct usage_query q = {.usage_dir = usage_dir, .ledger_dir = ledger_dir, .to_us = INT64_MAX};
    for (int h = 0; h < 4; h++) {
        add_batch(HOUR + h, 10, 3);
        assert_true(make_hour(HOUR + h));
    }
    roll_up(PERIOD_DAY, HOUR - 22);
    roll_up(PERIOD_DAY, HOUR + 2);
    drop("hourly/2026/02/01/00.v1.csv");
    assert_int_equal(report(&rows, USAGE_BY_DAY, NULL, 0, INT64_MAX), 40);
    assert_int_equal(report(&rows, USAGE_BY_DAY, NULL, HOUR + 2, HOUR + 26), 20);
    assert_int_equal(report(&rows, USAGE_BY_MONTH, NULL, HOUR + 1, INT64_MAX), 30);
    /* Less than the day is the sum of its hours. */
    assert_int_equal(report(&rows, USAGE_BY_DAY, NULL, HOUR + 1, HOUR + 2), 10);
    assert_int_equal(report(&rows, USAGE_BY_MONTH, NULL, HOUR + 3, INT64_MAX), 10);
    q.by = USAGE_BY_HOUR;
    assert_int_not_equal(usage_report(&q, keep_row, &rows), 0);

    roll_up(PERIOD_MONTH, HOUR - 31 * 24 + 2);
    roll_up(PERIOD_MONTH, HOUR + 2);
    drop("daily/2026/02/01.v1.csv");
    assert_int_equal(report(&rows, USAGE_BY_MONTH, NULL, 0, INT64_MAX), 40);
    /* A late record shows at once: its hour is read from the ledger, the rest of its month from what holds it. */
    add_batch(HOUR, 5, 2);
    assert_int_equal(report(&rows, USAGE_BY_MONTH, NULL, 0, INT64_MAX), 45);
    assert_true(make_hour(HOUR));
    assert_int_equal(report(&rows, USAGE_BY_MONTH, NULL, 0, INT64_MAX), 45);
    roll_up(PERIOD_DAY, HOUR - 22);
    assert_int_equal(report(&rows, USAGE_BY_MONTH, NULL, 0, INT64_MAX), 45);
    roll_up(PERIOD_MONTH, HOUR - 31 * 24 + 2);
    assert_int_equal(report(&rows, USAGE_BY_MONTH, NULL, 0, INT64_MAX), 45);
    drop("monthly/2026/01.v2.manifest.json");
    drop("monthly/2026/01.v1.manifest.json");
    assert_int_equal(report(&rows, USAGE_BY_MONTH, NULL, 0, INT64_MAX), 45);
}

static void test_log_that_lost_what_was_billed_makes_no_version(void **state)
{
    (void)state;
    char path[FS_PATH_SIZE];
    struct rows rows;
    bool made;
    uint64_t first;
    add_batch(HOUR, 10, 3);
    assert_int_equal(ledger_size(ledger_dir, HOUR, true, &first), ERR_OK);
    add_batch(HOUR, 10, 3);
    assert_true(make_hour(HOUR));
    snprintf(path, sizeof path, "%s/2026/01/31/22.log", ledger_dir);
    assert_int_equal(truncate(path, (off_t)first), 0);
    assert_int_equal(usage_files_hour(&files, HOUR, &made), ERR_CORRUPT);
    assert_false(exists("hourly/2026/01/31/22.v2.csv"));
    assert_int_equal(report(&rows, USAGE_BY_HOUR, NULL, 0, INT64_MAX), 20);
}

/* A batch that is being written counts when it is whole, and a part of one never makes a version. */
static void test_torn_tail_makes_no_version(void **state)
{
    (void)state;
    char path[FS_PATH_SIZE];
    uint64_t whole;
    add_batch(HOUR, 10, 3);
    assert_int_equal(ledger_size(ledger_dir, HOUR, true, &whole), ERR_OK);
    snprintf(path, sizeof path, "%s/2026/01/31/22.log", ledger_dir);
    assert_int_equal(truncate(path, (off_t)whole + 10), 0);
    assert_true(make_hour(HOUR));
    assert_false(make_hour(HOUR));
    json_t *json = manifest("hourly/2026/01/31/22.v1.manifest.json");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "inputs"), "ledger_bytes")), whole);
    json_decref(json);
    assert_int_equal(truncate(path, (off_t)whole), 0);
    assert_false(make_hour(HOUR));
}

static void put(const char *name, const char *data, size_t len)
{
    char path[FS_PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", usage_dir, name);
    assert_int_equal(fs_write_atomic(path, data, len, 0640), ERR_OK);
}

static void hex_of(const char *data, size_t len, char hex[DIGEST_HEX_SIZE])
{
    uint8_t digest[DIGEST_BYTES];
    digest_of((const uint8_t *)data, len, digest);
    hex_encode(digest, sizeof digest, hex);
}

static void test_report_reads_files_without_later_columns(void **state)
{
    static const char csv[] = "hourly/2026/01/31/22.v1.csv", described[] = "hourly/2026/01/31/22.v1.manifest.json";
    char hex[DIGEST_HEX_SIZE], hex_before[DIGEST_HEX_SIZE];
    struct rows rows;
    size_t len, manifest_len;
    (void)state;
    add_batch(HOUR, 3, 1);
    assert_true(make_hour(HOUR));
    assert_int_equal(report(&rows, USAGE_BY_HOUR, NULL, 0, INT64_MAX), 3);
    assert_int_equal(rows.row[1].outputs, 4);
    char *text = slurp(csv, &len);
    char *json = slurp(described, &manifest_len);
    hex_of(text, len, hex);
    /* Cut the last field off each line. */
    char *to = text;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        size_t kept = (size_t)(strrchr(line, ',') - line);
        memmove(to, line, kept);
        to[kept] = '\n';
        to += kept + 1;
    }
    hex_of(text, (size_t)(to - text), hex_before);
    memcpy(strstr(json, hex), hex_before, strlen(hex_before));
    put(csv, text, (size_t)(to - text));
    put(described, json, manifest_len);
    assert_int_equal(report(&rows, USAGE_BY_HOUR, NULL, 0, INT64_MAX), 3);
    assert_int_equal(rows.count, 2);
    assert_int_equal(rows.row[1].cpu_us, 3);
    assert_int_equal(rows.row[1].outputs, 0);
    free(text);
    free(json);
}

static void test_report_finds_changed_files(void **state)
{
    (void)state;
    struct rows rows = {0};
    char path[FS_PATH_SIZE];
    struct usage_query q = {.usage_dir = usage_dir, .ledger_dir = ledger_dir, .to_us = INT64_MAX};
    add_batch(HOUR, 5, 2);
    assert_true(make_hour(HOUR));
    snprintf(path, sizeof path, "%s/hourly/2026/01/31/22.v1.csv", usage_dir);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "\n", 1), 1);
    close(fd);
    assert_int_equal(usage_report(&q, keep_row, &rows), ERR_CORRUPT);
    assert_int_equal(rows.count, 0);
    q.from_us = 1;
    q.to_us = 0;
    assert_int_equal(usage_report(&q, keep_row, &rows), ERR_INVALID);
}

static void test_periods_begin_and_end_where_they_should(void **state)
{
    (void)state;
    char name[PERIOD_NAME_SIZE];
    assert_int_equal(period_start(PERIOD_HOUR, HOUR), HOUR);
    assert_int_equal(period_end(PERIOD_HOUR, HOUR), HOUR + 1);
    assert_int_equal(period_start(PERIOD_DAY, HOUR), HOUR - 22);
    assert_int_equal(period_end(PERIOD_DAY, HOUR), HOUR + 2);
    assert_int_equal(period_start(PERIOD_MONTH, HOUR), HOUR - 22 - 30 * 24);
    assert_int_equal(period_end(PERIOD_MONTH, HOUR), HOUR + 2);
    period_name(PERIOD_HOUR, HOUR, name);
    assert_string_equal(name, "2026/01/31/22");
    period_name(PERIOD_DAY, HOUR, name);
    assert_string_equal(name, "2026/01/31");
    period_name(PERIOD_MONTH, HOUR, name);
    assert_string_equal(name, "2026/01");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_hour_has_every_record_once),
        TEST(test_late_records_make_another_version),
        TEST(test_csv_is_as_documented),
        TEST(test_unfinished_version_does_not_count),
        TEST(test_rollups_follow_their_parts),
        TEST(test_hour_without_records_has_no_files),
        TEST(test_damaged_ledger_makes_no_files),
        TEST(test_report_reads_open_and_closed_hours),
        TEST(test_report_reads_rollups_that_are_up_to_date),
        TEST(test_log_that_lost_what_was_billed_makes_no_version),
        TEST(test_torn_tail_makes_no_version),
        TEST(test_report_reads_files_without_later_columns),
        TEST(test_report_finds_changed_files),
        cmocka_unit_test(test_periods_begin_and_end_where_they_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
