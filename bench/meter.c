/* SPDX-License-Identifier: MIT */
/* How many durable usage records a second one core can take: check, append and sync batches as the meter does, and pack and spool records
 * as an API server does. Prints JSON. Usage: meter [FOLDER [BATCHES]]. */
#include "cavage/clock.h"
#include "cavage/digest.h"
#include "cavage/err.h"
#include "cavage/ledger.h"
#include "cavage/log.h"
#include "cavage/spool.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { GROUP = 16, BODY_BYTES = 256 * 1024, SPOOLED = 200000 };

static const int64_t hour_us = INT64_C(3600000000);

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int64_t cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void must(int err)
{
    if (err) {
        fprintf(stderr, "meter: %s\n", err_text(err));
        exit(1);
    }
}

static struct usage_record sample(void)
{
    struct usage_record r = {.time_us = 490000 * hour_us + 5,
                             .status = 200,
                             .input_bytes = 262144,
                             .output_bytes = 17000,
                             .input_pixels = 1837500,
                             .output_pixels = 83520,
                             .cpu_us = 5400,
                             .queue_us = 300,
                             .convert_us = 5600,
                             .total_us = 6400,
                             .count = 1};
    strcpy(r.request_id, "0123456789abcdef0123456789abcdef");
    strcpy(r.customer, "customer-12345");
    strcpy(r.key_id, "0123456789abcdef");
    strcpy(r.source, "192.0.2.123");
    strcpy(r.instance, "api");
    strcpy(r.operation, "resize");
    strcpy(r.request, "width=320&height=320&fit=inside&format=jpeg&quality=80");
    strcpy(r.outcome, "ok");
    strcpy(r.input_format, "jpeg");
    strcpy(r.output_format, "jpeg");
    strcpy(r.worker, "0123456789abcdef0123456789abcdef");
    return r;
}

static uint32_t fill(uint8_t *body, size_t *len)
{
    struct usage_record r = sample();
    uint8_t packed[USAGE_RECORD_MAX];
    size_t packed_len;
    uint32_t count = 0;
    must(usage_pack(&r, packed, sizeof packed, &packed_len));
    *len = 0;
    while (usage_add(body, BODY_BYTES, len, packed, packed_len, true) == ERR_OK)
        count++;
    must(count > 0 ? ERR_OK : ERR_RANGE);
    return count;
}

/* What the meter does with a batch before it appends it. */
static void check(const struct wire_usage *m, const uint8_t *body, size_t len)
{
    uint8_t digest[DIGEST_BYTES];
    struct usage_record r;
    const uint8_t *packed;
    size_t pos = 0, packed_len;
    digest_of(body, len, digest);
    must(memcmp(digest, m->digest, sizeof digest) == 0 ? ERR_OK : ERR_CORRUPT);
    while (usage_next(body, len, &pos, &packed, &packed_len) == ERR_OK) {
        must(usage_unpack(packed, packed_len, &r));
        must(usage_hour(r.time_us) == m->hour ? ERR_OK : ERR_CORRUPT);
    }
}

static void bench_ledger(const char *dir, uint64_t batches)
{
    struct usage_sequence *sequence;
    struct ledger *ledger;
    uint8_t *body = malloc(BODY_BYTES);
    size_t len;
    uint64_t expected;

    must(body ? ERR_OK : ERR_NOMEM);
    must(usage_sequence_new(&sequence));
    must(ledger_open(dir, sequence, &ledger));
    uint32_t records = fill(body, &len);
    struct wire_usage m = {.epoch = 1, .hour = 490000, .records = records, .ack_address = "ipc:///none"};
    id_random_uuid(&m.producer);
    digest_of(body, len, m.digest);
    int64_t begin_us = clock_monotonic_us(), begin_cpu_us = cpu_us();
    for (m.sequence = 1; m.sequence <= batches; m.sequence++) {
        must(usage_sequence_judge(sequence, &m, &expected) == USAGE_TAKE ? ERR_OK : ERR_INTERNAL);
        check(&m, body, len);
        must(ledger_append(ledger, &m, body, len));
        must(usage_sequence_taken(sequence, &m));
        if (m.sequence % GROUP == 0 || m.sequence == batches)
            must(ledger_sync(ledger));
    }
    double wall_s = (double)(clock_monotonic_us() - begin_us) / 1e6, cpu_s = (double)(cpu_us() - begin_cpu_us) / 1e6;
    double total = (double)records * (double)batches;
    printf("{\"what\":\"ledger\",\"records\":%.0f,\"record_bytes\":%zu,\"records_per_s\":%.0f,"
           "\"records_per_cpu_s\":%.0f}\n",
           total, len / (records ? records : 1), total / wall_s, total / cpu_s);
    ledger_close(ledger);
    usage_sequence_free(sequence);
    free(body);
}

static void bench_spool(const char *dir)
{
    char spool_dir[256], meter[300], ack[300];
    struct spool *spool;
    snprintf(spool_dir, sizeof spool_dir, "%s/spool", dir);
    snprintf(meter, sizeof meter, "ipc://%s/meter", dir);
    snprintf(ack, sizeof ack, "ipc://%s/ack", dir);
    struct spool_config config = {.dir = spool_dir,
                                  .meter_address = meter,
                                  .ack_address = ack,
                                  .max_bytes = UINT64_C(1) << 30,
                                  .batch_bytes = BODY_BYTES,
                                  .batch_ms = 250};
    must(spool_open(&config, &spool));
    struct usage_record r = sample();
    int64_t begin_us = clock_monotonic_us();
    for (int i = 0; i < SPOOLED; i++) {
        struct spool_ref ref;
        must(spool_append(spool, &r, &ref));
        spool_resolve(spool, ref, true);
    }
    int64_t wall_us = clock_monotonic_us() - begin_us;
    printf("{\"what\":\"spool\",\"records\":%d,\"us_per_record\":%.2f}\n", SPOOLED, (double)wall_us / SPOOLED);
    spool_close(spool);
}

int main(int argc, char **argv)
{
    char dir[128], ledger_dir[160];
    snprintf(dir, sizeof dir, "%s/cavage-bench-XXXXXX", argc > 1 ? argv[1] : "/tmp");
    if (!mkdtemp(dir)) {
        perror("meter: mkdtemp");
        return 1;
    }
    log_set_level(LOG_LEVEL_ERROR);
    must(digest_init());
    snprintf(ledger_dir, sizeof ledger_dir, "%s/ledger", dir);
    bench_ledger(ledger_dir, argc > 2 ? strtoull(argv[2], NULL, 10) : 2000);
    bench_spool(dir);
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 ? 0 : 1;
}
