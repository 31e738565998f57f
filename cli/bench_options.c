/* SPDX-License-Identifier: MIT */
/* Reads rates, durations, mixes and the URL of a load test. */
#include "bench_options.h"

#include "bench_keys.h"
#include "cavage/err.h"
#include "load.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double rate_max = 1e6, weight_max = 1e6, exponent_max = 10;
enum { COUNT_MAX = 1000 * 1000 * 1000 };
static const int64_t second = 1000000;

const struct cli_option bench_options[] = {
    [BENCH_RATE] = {"rate", 'r', "N[:M]", "requests a second; N:M goes evenly from N to M (default: 10)"},
    [BENCH_DURATION] = {"duration", 'd', "TIME", "of the schedule, as 30s, 5m, 500ms (default: 10s)"},
    [BENCH_COUNT] = {"count", 'n', "N", "end after so many requests, too"},
    [BENCH_WARM_UP] = {"warm-up", 0, "TIME", "the first part of the duration is not counted (default: 0s)"},
    [BENCH_ARRIVALS] = {"arrivals", 0, "KIND", "poisson or constant (default: poisson)"},
    [BENCH_SEED] = {"seed", 0, "N", "of arrivals, and of who sends what (default: 1)"},
    [BENCH_QUERY] = {"query", 0, "TEXT", "parameters of each request (default: width=320)"},
    [BENCH_PATH] = {"path", 0, "PATH", "what is asked for (default: /v1/resize)"},
    [BENCH_CONNECTIONS] = {"connections", 'c', "N", "most at once for one customer (default: 200)"},
    [BENCH_CUSTOMERS] = {"customers", 0, "N",
                         "play customers bench-1 to bench-N of the data folder, made when missing"},
    [BENCH_MIX] = {"mix", 0, "MIX", "even, first:N (the first sends N times what another does) or zipf:S"},
    [BENCH_SLO] = {"slo", 0, "TIME", "what goodput counts as in time (default: 500ms)"},
    [BENCH_TIMEOUT] = {"timeout", 0, "TIME", "after which a request has failed (default: 30s)"},
    [BENCH_URL] = {"url", 0, "URL", "of the API (default: the one that runs on the data folder)"},
    [BENCH_KEY_FILE] = {"key-file", 0, "FILE", "a file with a key on each line, one for each customer"},
    [BENCH_DATA] = CLI_OPT_DATA,
    [BENCH_CONFIG] = CLI_OPT_CONFIG,
    [BENCH_JSON] = CLI_OPT_JSON,
    {0},
};

/* A decimal number above 0, and nothing that strtod takes beside it. */
static int read_real(const char *text, double max, const char **end, double *out)
{
    char *stop;
    if (!isdigit((unsigned char)*text))
        return ERR_INVALID;
    *out = strtod(text, &stop);
    if (stop != text + strspn(text, "0123456789."))
        return ERR_INVALID;
    *end = stop;
    return *out > 0 && *out <= max ? ERR_OK : ERR_RANGE;
}

int bench_duration(const char *text, int64_t min_us, int64_t max_us, int64_t *out)
{
    static const struct {
        const char *name;
        double us;
    } units[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"m", 60e6}, {"h", 3600e6}};
    const char *end = NULL;
    double number = 0;
    bool zero = strcmp(text, "0s") == 0;
    int err = zero ? ERR_OK : read_real(text, 1e12, &end, &number);
    for (size_t i = 0; err == ERR_OK; i++) {
        if (i == sizeof(units) / sizeof(units[0]))
            return ERR_INVALID;
        if (!zero && strcmp(end, units[i].name) != 0)
            continue;
        double us = number * units[i].us;
        if (us < (double)min_us || us > (double)max_us)
            return ERR_RANGE;
        *out = (int64_t)us;
        return ERR_OK;
    }
    return err;
}

static int read_rate(const char *text, struct bench_config *out)
{
    const char *end;
    int err = read_real(text, rate_max, &end, &out->from_per_s);
    out->to_per_s = out->from_per_s;
    if (err == ERR_OK && *end == ':')
        err = read_real(end + 1, rate_max, &end, &out->to_per_s);
    return err != ERR_OK ? err : *end ? ERR_INVALID : ERR_OK;
}

static int read_mix(const char *text, struct bench_config *out)
{
    const char *end = "";
    int err = ERR_OK;
    if (strncmp(text, "first:", 6) == 0)
        err = read_real(text + 6, weight_max, &end, &out->first);
    else if (strncmp(text, "zipf:", 5) == 0)
        err = read_real(text + 5, exponent_max, &end, &out->zipf);
    else if (strcmp(text, "even") != 0)
        err = ERR_INVALID;
    return err != ERR_OK ? err : *end ? ERR_INVALID : ERR_OK;
}

static int read_arrivals(const char *text, struct bench_config *out)
{
    out->poisson = strcmp(text, "poisson") == 0;
    return out->poisson || strcmp(text, "constant") == 0 ? ERR_OK : ERR_INVALID;
}

static int read_durations(const char *const *option, struct bench_config *out, enum bench_option *wrong)
{
    const struct {
        enum bench_option option;
        int64_t min, max, *out;
    } durations[] = {
        {BENCH_DURATION, 10000, 24 * 3600 * second, &out->duration_us},
        {BENCH_WARM_UP, 0, out->duration_us, &out->warm_up_us},
        {BENCH_SLO, 1, 3600 * second, &out->slo_us},
        {BENCH_TIMEOUT, 1000, 3600 * second, &out->timeout_us},
    };
    int err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < sizeof(durations) / sizeof(durations[0]); i++) {
        *wrong = durations[i].option;
        if (option[*wrong])
            err = bench_duration(option[*wrong], durations[i].min, durations[i].max, durations[i].out);
    }
    return err;
}

static int read_numbers(const char *const *option, struct bench_config *out, enum bench_option *wrong)
{
    const struct {
        enum bench_option option;
        int64_t min, max, *out;
    } numbers[] = {
        {BENCH_COUNT, 1, COUNT_MAX, &out->count},
        {BENCH_SEED, 0, INT64_MAX, &out->seed},
        {BENCH_CONNECTIONS, 1, LOAD_CONNECTIONS_MAX, &out->connections},
        {BENCH_CUSTOMERS, 1, BENCH_KEYS_MADE_MAX, &out->customers},
    };
    int err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        *wrong = numbers[i].option;
        if (option[*wrong])
            err = cli_number(option[*wrong], numbers[i].min, numbers[i].max, numbers[i].out);
    }
    return err;
}

static int read_words(const char *const *option, struct bench_config *out, enum bench_option *wrong)
{
    const struct {
        enum bench_option option;
        int (*read)(const char *text, struct bench_config *out);
    } words[] = {{BENCH_RATE, read_rate}, {BENCH_ARRIVALS, read_arrivals}, {BENCH_MIX, read_mix}};
    int err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < sizeof(words) / sizeof(words[0]); i++) {
        *wrong = words[i].option;
        if (option[*wrong])
            err = words[i].read(option[*wrong], out);
    }
    return err;
}

enum cli_status bench_options_read(const struct cli_args *args, struct bench_config *out)
{
    enum bench_option wrong = BENCH_RATE;
    *out = (struct bench_config){.from_per_s = 10,
                                 .to_per_s = 10,
                                 .poisson = true,
                                 .duration_us = 10 * second,
                                 .slo_us = second / 2,
                                 .timeout_us = 30 * second,
                                 .count = COUNT_MAX,
                                 .seed = 1,
                                 .connections = 200,
                                 .first = 1};
    int err = read_words(args->option, out, &wrong);
    if (err == ERR_OK)
        err = read_durations(args->option, out, &wrong);
    if (err == ERR_OK)
        err = read_numbers(args->option, out, &wrong);
    if (err != ERR_OK)
        cli_error(args, "--%s: '%s' is %s", bench_options[wrong].name, args->option[wrong],
                  err == ERR_RANGE ? "out of range" : "not understood");
    return err == ERR_OK ? CLI_OK : CLI_USAGE;
}

/* ---- The URL ---- */

/* Printable ASCII without blanks: nothing that could end a line of the request's head. */
static bool is_plain(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

/* "HOST", "HOST:PORT", "[V6]", "[V6]:PORT". */
static int read_authority(const char *text, struct bench_address *out)
{
    bool bracketed = *text == '[';
    const char *host = text + bracketed;
    size_t len = strcspn(host, bracketed ? "]" : ":");
    const char *rest = host + len;
    if (bracketed && *rest != ']')
        return ERR_INVALID;
    rest += bracketed;
    if (len == 0 || len >= sizeof(out->host) || strchr(text, '@') || (*rest && *rest != ':'))
        return ERR_INVALID;
    memcpy(out->host, host, len);
    out->host[len] = '\0';
    const char *port = *rest ? rest + 1 : "80";
    int64_t number;
    if (cli_number(port, 1, 65535, &number) != ERR_OK)
        return ERR_INVALID;
    snprintf(out->port, sizeof(out->port), "%d", (int)number);
    return ERR_OK;
}

int bench_address_make(const char *url, const char *path, const char *query, struct bench_address *out)
{
    static const char scheme[] = "http://";
    if (strncmp(url, scheme, strlen(scheme)) != 0 || !is_plain(url) || !is_plain(path) || !is_plain(query) ||
        path[0] != '/' || strpbrk(url, "?#") || strpbrk(path, "?#") || strchr(query, '#'))
        return ERR_INVALID;
    url += strlen(scheme);
    size_t len = strcspn(url, "/"), prefix = strlen(url + len);
    if (len >= sizeof(out->authority))
        return ERR_RANGE;
    memcpy(out->authority, url, len);
    out->authority[len] = '\0';
    while (prefix > 0 && url[len + prefix - 1] == '/')
        prefix--;
    int written =
        snprintf(out->path, sizeof(out->path), "%.*s%s%s%s", (int)prefix, url + len, path, *query ? "?" : "", query);
    if (written < 0 || (size_t)written >= sizeof(out->path))
        return ERR_RANGE;
    return read_authority(out->authority, out);
}
