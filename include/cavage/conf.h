/* SPDX-License-Identifier: MIT */
/* Configuration: one table of keys, read from an INI file and from CAVAGE_<SECTION>_<KEY> in the environment. */
#ifndef CAVAGE_CONF_H
#define CAVAGE_CONF_H

#include "cavage/image_header.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum conf_type {
    CONF_INT,      /* a decimal number within min..max */
    CONF_SIZE,     /* bytes; suffixes K, M, G (1024) */
    CONF_DURATION, /* ms; suffixes us (rounded up to whole ms within min..max), ms, s, m, h; bare numbers are ms */
    CONF_BOOL,     /* yes or no */
    CONF_STRING,   /* min..max bytes of UTF-8 */
    CONF_ENUM,     /* one of the words of `allowed`, separated by | */
    CONF_LISTEN,   /* "HOST:PORT" as net_listen takes it */
    CONF_ADDRESS, /* min..max endpoints, separated by spaces; at most CONF_VALUE_MAX bytes. `allowed` says which beside "ipc://NAME" */
    CONF_FORMATS /* a number within min..max, then others for formats among `allowed`: "1000 gif:50"; as SIZE if the unit is bytes */
};

enum {
    CONF_VALUE_MAX = 16 * 1024, /* bytes of one value */
    CONF_FILE_MAX = 1024 * 1024 /* bytes of a configuration file */
};

/* conf_key.allowed of endpoints: tcp:// with a numeric host, or also with a name. */
#define CONF_NUMERIC "numeric"
#define CONF_NAMES "names"

/* One key. The table in src/conf_table.c is the only place that names keys, ranges and defaults. To add a key: a line there and an enum
 * constant here, in the same order; the manual and conf/cavage.conf are made from the table, and a test holds them equal. */
struct conf_key {
    const char *section;
    const char *name;
    enum conf_type type;
    const char *unit; /* of the number that conf_int gives: "bytes", "ms", "" */
    int64_t min;
    int64_t max;
    const char *def; /* written as in the file */
    const char *allowed;
    bool reloadable; /* takes effect on SIGHUP */
    const char *help;
};

/* clang-format off */
enum conf_id {
    CONF_COMMON_DATA_DIR, CONF_COMMON_RUN_DIR, CONF_COMMON_LOG_LEVEL, CONF_COMMON_HASH_KEY_FILE, CONF_COMMON_CLUSTER_KEY_FILE,
    CONF_API_LISTEN, CONF_API_ALLOW_PUBLIC_PLAINTEXT, CONF_API_OPS_LISTEN, CONF_API_THREADS, CONF_API_WORKERS, CONF_API_RESOLVE_MS, CONF_API_RESULTS, CONF_API_SHARE_STAGING,
    CONF_API_MAX_CONNECTIONS, CONF_API_KEEPALIVE_MS, CONF_API_REQUEST_DEADLINE_MS, CONF_API_SEND_DEADLINE_MS,
    CONF_API_MAX_BODY_BYTES, CONF_API_DISCARD_BYTES, CONF_API_DISCARD_MS, CONF_API_DRAIN_MS, CONF_API_DRAIN_DELAY_MS,
    CONF_API_POISON_ENTRIES, CONF_API_POISON_MS,
    CONF_STAGING_BUDGET_BYTES, CONF_STAGING_EXTENT_BYTES, CONF_STAGING_CUSTOMER_PERCENT,
    CONF_QUEUE_DISCIPLINE, CONF_QUEUE_MAX_JOBS, CONF_QUEUE_CUSTOMER_MAX_JOBS, CONF_QUEUE_TARGET_MS,
    CONF_QUEUE_LARGE_TARGET_MS, CONF_QUEUE_LARGE_PERCENT, CONF_QUEUE_RETRY_PERCENT, CONF_QUEUE_HEDGE_PERCENT,
    CONF_LIMITS_PIXELS_IN, CONF_LIMITS_FRAMES_IN, CONF_LIMITS_TOTAL_PIXELS_IN, CONF_LIMITS_PIXELS_OUT, CONF_LIMITS_AUTO_PIXELS_OUT,
    CONF_LIMITS_BYTES_OUT, CONF_LIMITS_SVG,
    CONF_WORKER_LISTEN, CONF_WORKER_OPS_LISTEN, CONF_WORKER_CONVERTERS, CONF_WORKER_CONVERTER, CONF_WORKER_CONVERT_DEADLINE_MS,
    CONF_WORKER_MEMORY_BYTES, CONF_WORKER_ISOLATION, CONF_WORKER_RECYCLE_JOBS,
    CONF_WORKER_RECYCLE_MS, CONF_WORKER_RECYCLE_BYTES, CONF_WORKER_DRAIN_MS,
    CONF_AUTHCACHE_CACHE_DIR, CONF_AUTHCACHE_IDENTITY_DIR, CONF_AUTHCACHE_ADMIN_SOCKET, CONF_AUTHCACHE_OPS_LISTEN, CONF_AUTHCACHE_MAP_BYTES,
    CONF_AUTHCACHE_HEARTBEAT_MS,
    CONF_USAGE_SPOOL_DIR, CONF_USAGE_SPOOL_MAX_BYTES, CONF_USAGE_BATCH_BYTES, CONF_USAGE_BATCH_MS, CONF_USAGE_ACKS,
    CONF_METER_LISTEN, CONF_METER_OPS_LISTEN, CONF_METER_LEDGER_DIR, CONF_METER_USAGE_DIR, CONF_METER_CLOSE_DELAY_MS,
    CONF_COUNT
};
/* clang-format on */

struct conf;

/* All keys at their defaults. Free with conf_free. */
int conf_new(struct conf **out);
void conf_free(struct conf *conf);

/* Read a file. A key given twice in it is refused; it may be given again by another source, and the last one holds. On failure `why` (of size bytes) gets "file:line: key: what is wrong, what is allowed". ERR_INVALID, ERR_RANGE, ERR_NOTFOUND, ERR_IO. */
int conf_read_file(struct conf *conf, const char *path, char *why, size_t size);

/* Read from a string, as the fuzzer and tests do; `name` stands for the file in messages. */
int conf_read_text(struct conf *conf, const char *name, const char *text, char *why, size_t size);

/* Take CAVAGE_<SECTION>_<KEY> from an environ-like array. A CAVAGE_ variable that names no key is refused, but for names starting
 * CAVAGE_TEST_ and those of one word, such as CAVAGE_CONFIG, which no key can have. */
int conf_read_env(struct conf *conf, char *const *env, char *why, size_t size);

/* Set one key from text; `origin` ("--listen") tells where it came from and is copied. On failure the key keeps its value. */
int conf_set(struct conf *conf, enum conf_id id, const char *value, const char *origin, char *why, size_t size);

/* Judge keys that bound each other, once every source is read: staging.extent_bytes against the budget, a public api.listen. On failure why
 * names the key and its origin. ERR_INVALID, ERR_RANGE. */
int conf_check(const struct conf *conf, char *why, size_t size);

/* Judge keys that may have their value only in --test mode: worker.converter. As conf_check. */
int conf_check_untested(const struct conf *conf, char *why, size_t size);

/* Longest body in bytes that can ever be staged: api.max_body_bytes, or one customer's share of the memory when that is less. After conf_check. */
int64_t conf_body_limit(const struct conf *conf);

/* INT, SIZE in bytes, DURATION in ms, BOOL 0 or 1, ENUM the word's index, ADDRESS how many, FORMATS the largest; else 0. */
int64_t conf_int(const struct conf *conf, enum conf_id id);
/* What a key of CONF_FORMATS says of one format; IMAGE_UNKNOWN: of those without a number of their own. */
int64_t conf_format(const struct conf *conf, enum conf_id id, enum image_format format);
const char *conf_str(const struct conf *conf,
                     enum conf_id id); /* the text as given. Lives as long as conf, or until the key is set again */
const char *conf_origin(const struct conf *conf,
                        enum conf_id id); /* "default", "FILE:LINE", "environment", "--option" */

/* Path of a key that names a file or folder: relative ones are below common.data_dir. ERR_RANGE if longer than size. */
int conf_path(const struct conf *conf, enum conf_id id, char *out, size_t size);

/* One nanomsg endpoint as nanomsg takes it: "ipc://name" is put below common.run_dir. ERR_RANGE when an ipc path is 100 bytes or longer,
 * ERR_INVALID for anything but ipc:// and tcp://. */
int conf_address(const struct conf *conf, const char *address, char *out, size_t size);

/* The same for the endpoint with this index of a key. ERR_NOTFOUND: there are not so many. */
int conf_endpoint(const struct conf *conf, enum conf_id id, size_t index, char *out, size_t size);
/* The same for what others are told to connect to: the second endpoint of a key, if there is one, else the first. */
int conf_endpoint_told(const struct conf *conf, enum conf_id id, char *out, size_t size);

/* Take over from `fresh` the keys that are reloadable. Calls told(arg, key) for each other key whose value differs; it stays as it was.
 * told may be NULL. ERR_NOMEM leaves conf unchanged. */
int conf_reload(struct conf *conf, const struct conf *fresh, void (*told)(void *arg, const struct conf_key *key),
                void *arg);

const struct conf_key *conf_key(enum conf_id id);
/* The key called "section.name", or ERR_NOTFOUND. */
int conf_find(const char *dotted, enum conf_id *id);
/* What the key may hold, for people: "0 to 64", "1K to 1G", "drr or fifo". Cut at size. */
void conf_allowed(const struct conf_key *key, char *out, size_t size);

/* The sample configuration file: every key commented out at its default, with its help. conf/cavage.conf is this. */
void conf_print_sample(FILE *out);
/* Every key with its value and origin. */
void conf_print(const struct conf *conf, FILE *out);
/* The body of cavage.conf(5) in mdoc. */
void conf_print_manual(FILE *out);

#endif
