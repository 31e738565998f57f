/* SPDX-License-Identifier: MIT */
/* The options of `cavage bench` as numbers. Pure. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "arrivals.h"
#include "cli.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_option {
    BENCH_RATE,
    BENCH_DURATION,
    BENCH_COUNT,
    BENCH_WARM_UP,
    BENCH_ARRIVALS,
    BENCH_SEED,
    BENCH_QUERY,
    BENCH_PATH,
    BENCH_CONNECTIONS,
    BENCH_CUSTOMERS,
    BENCH_MIX,
    BENCH_SLO,
    BENCH_TIMEOUT,
    BENCH_URL,
    BENCH_KEY_FILE,
    BENCH_DATA,
    BENCH_CONFIG,
    BENCH_JSON
};

extern const struct cli_option bench_options[];

struct bench_config {
    double from_per_s, to_per_s;
    bool poisson;
    int64_t duration_us, warm_up_us, slo_us, timeout_us;
    int64_t count; /* most requests */
    int64_t seed;
    int64_t connections; /* of one customer */
    int64_t customers;   /* to be made; 0: none */
    double zipf;         /* exponent; 0: no Zipf */
    double first;        /* weight of the first customer, when there is no Zipf */
};

/* Read those that are numbers. Says what is wrong: CLI_USAGE. */
enum cli_status bench_options_read(const struct cli_args *args, struct bench_config *out);

/* "500ms", "10s", "1.5m", "1h", "200us"; within min_us..max_us. ERR_INVALID, ERR_RANGE. */
int bench_duration(const char *text, int64_t min_us, int64_t max_us, int64_t *out);

enum { BENCH_HOST_SIZE = 256, BENCH_PATH_SIZE = 4096 };

/* Where requests go. */
struct bench_address {
    char host[BENCH_HOST_SIZE]; /* without the brackets of an IPv6 address */
    char port[8];
    char authority[BENCH_HOST_SIZE + 16]; /* of the Host field */
    char path[BENCH_PATH_SIZE];           /* of the URL, then `path`, "?" and `query` */
};

/* From "http://HOST[:PORT][/PREFIX]". ERR_INVALID, also for characters that no URL has; ERR_RANGE when it is too long. */
int bench_address_make(const char *url, const char *path, const char *query, struct bench_address *out);

#endif
