/* SPDX-License-Identifier: MIT */
/* `cavage bench`: puts a load of scheduled requests on an API and tells how it fared. */
#include "bench_keys.h"
#include "bench_options.h"
#include "cavage/clock.h"
#include "cavage/err.h"
#include "cli.h"
#include "load.h"
#include "progress.h"
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IMAGES_MAX = 1000, IMAGE_BYTES_MAX = 1 << 30, KEY_MARGIN_S = 600 };

struct bench {
    const struct cli_args *args;
    struct bench_config config;
    struct bench_address address;
    struct target target;
    struct conf *conf; /* of the system whose customers are played; NULL: none */
    struct bench_keys keys;
    struct mix mix;
    struct load_image *images; /* mapped */
    struct load_stats *stats;
    struct progress progress;
};

/* ---- What is needed ---- */

static const char *option_or(const struct bench *bench, enum bench_option option, const char *other)
{
    return bench->args->option[option] ? bench->args->option[option] : other;
}

static enum cli_status map_image(struct bench *bench, int index)
{
    const char *path = bench->args->operand[index], *reason = NULL;
    struct stat st = {0};
    void *data = MAP_FAILED;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    bool is_open = fd >= 0 && fstat(fd, &st) == 0;
    bool fits = is_open && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= IMAGE_BYTES_MAX;
    if (fits)
        data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (data != MAP_FAILED)
        bench->images[index] = (struct load_image){data, (size_t)st.st_size};
    else
        reason = is_open && !fits ? "not a file of 1 byte to 1 GiB" : strerror(errno);
    if (fd >= 0)
        close(fd);
    if (reason)
        cli_error(bench->args, "%s: %s", path, reason);
    return reason ? CLI_FAILED : CLI_OK;
}

static enum cli_status map_images(struct bench *bench)
{
    enum cli_status status = CLI_OK;
    bench->images = calloc((size_t)bench->args->operand_count, sizeof(*bench->images));
    for (int i = 0; bench->images && i < bench->args->operand_count && status == CLI_OK; i++)
        status = map_image(bench, i);
    return bench->images ? status : CLI_FAILED;
}

static enum cli_status find_address(struct bench *bench)
{
    const char *const *option = bench->args->option;
    bool keyless = bench->config.customers > 0 || option[BENCH_KEY_FILE];
    const struct target_options options = {
        .url = option[BENCH_URL], .data = option[BENCH_DATA], .config = option[BENCH_CONFIG]};
    enum cli_status status = keyless ? CLI_OK : target_find_key(bench->args, &options, &bench->target);
    if (status == CLI_OK)
        status = target_find_url(bench->args, &options, keyless, &bench->target);
    if (status == CLI_OK && bench_address_make(bench->target.url, option_or(bench, BENCH_PATH, "/v1/resize"),
                                               option_or(bench, BENCH_QUERY, "width=320"), &bench->address) != ERR_OK) {
        cli_error(bench->args, "the URL has to be http://HOST:PORT; path and query, what may stand in a URL");
        status = CLI_USAGE;
    }
    return status;
}

static enum cli_status find_keys(struct bench *bench)
{
    const struct cli_args *args = bench->args;
    const struct bench_config *config = &bench->config;
    const char *path = args->option[BENCH_KEY_FILE];
    char why[CLI_WHY_SIZE] = "";
    int err = ERR_OK;
    if (path && config->customers > 0) {
        cli_error(args, "--customers and --key-file exclude each other");
        return CLI_USAGE;
    }
    if (path) {
        err = bench_keys_read(&bench->keys, path, why, sizeof(why));
    } else if (config->customers > 0) {
        enum cli_status status =
            cli_conf_open(args, args->option[BENCH_CONFIG], args->option[BENCH_DATA], &bench->conf);
        if (status != CLI_OK)
            return status;
        int64_t valid_s = (config->duration_us + config->timeout_us) / 1000000 + KEY_MARGIN_S;
        err = bench_keys_make(&bench->keys, bench->conf, (size_t)config->customers, valid_s, why, sizeof(why));
    } else {
        err = bench_keys_copy(&bench->keys, bench->target.key);
    }
    if (err != ERR_OK)
        cli_error(args, "%s%s%s", path ? path : "", path ? ": " : "", why[0] ? why : err_text(err));
    return err == ERR_OK ? CLI_OK : CLI_FAILED;
}

/* ---- The run ---- */

static void on_tick(void *arg, int64_t elapsed_us)
{
    struct bench *bench = arg;
    const struct load_stats *stats = bench->stats;
    char text[160];
    snprintf(text, sizeof(text),
             "%.1f of %.1f s  %" PRIu64 " sent  %" PRIu64 " ok  %" PRIu64 " refused  %" PRIu64 " failed  p99 %.1f ms",
             (double)elapsed_us / 1e6, (double)bench->config.duration_us / 1e6, stats->all.sent + stats->warm,
             stats->all.ok, stats->all.refused, stats->all.failed,
             (double)histogram_percentile(&stats->all.latency, 99) / 1000);
    progress_line(&bench->progress, text);
}

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void warn(const struct bench *bench)
{
    const struct load_stats *stats = bench->stats;
    if (load_stats_behind(stats))
        cli_error(bench->args,
                  "warning: requests left %.1f ms late at p99: this machine is too busy for the schedule, and the "
                  "figures tell "
                  "of that as well as of the service",
                  (double)histogram_percentile(&stats->late, 99) / 1000);
    if (stats->held.count > 0)
        cli_error(bench->args,
                  "warning: %" PRIu64 " requests waited because their customer had %" PRId64
                  " connections in use: see --connections",
                  stats->held.count, bench->config.connections);
}

static enum cli_status run_load(struct bench *bench)
{
    const struct bench_config *config = &bench->config;
    const struct arrivals arrivals = {.from_per_s = config->from_per_s,
                                      .to_per_s = config->to_per_s,
                                      .duration_s = (double)config->duration_us / 1e6,
                                      .poisson = config->poisson,
                                      .random = (uint64_t)config->seed};
    const struct load_spec spec = {.host = bench->address.host,
                                   .port = bench->address.port,
                                   .authority = bench->address.authority,
                                   .path = bench->address.path,
                                   .keys = (const char *const *)bench->keys.keys,
                                   .mix = &bench->mix,
                                   .images = bench->images,
                                   .image_count = (size_t)bench->args->operand_count,
                                   .arrivals = &arrivals,
                                   .most = (uint64_t)config->count,
                                   .warm_up_us = config->warm_up_us,
                                   .timeout_us = config->timeout_us,
                                   .connections = (unsigned)config->connections,
                                   .tick = on_tick,
                                   .arg = bench};
    double cpu = cpu_s();
    int64_t begin_us = clock_monotonic_us();
    progress_open(&bench->progress, 0);
    int err = load_run(&spec, bench->stats);
    progress_clear(&bench->progress);
    if (err != ERR_OK) {
        cli_error(bench->args, "%s: %s", bench->address.authority, err_text(err));
        return CLI_FAILED;
    }
    const struct load_summary summary = {.url = bench->target.url,
                                         .arrivals = config->poisson ? "poisson" : "constant",
                                         .mix = option_or(bench, BENCH_MIX, "even"),
                                         .from_per_s = config->from_per_s,
                                         .to_per_s = config->to_per_s,
                                         .seed = (uint64_t)config->seed,
                                         .customers = bench->keys.count,
                                         .cpu_s = cpu_s() - cpu,
                                         .wall_s = (double)(clock_monotonic_us() - begin_us) / 1e6};
    err = load_stats_print(bench->stats, &summary, bench->args->option[BENCH_JSON] != NULL);
    warn(bench);
    return err == ERR_OK && bench->stats->all.ok > 0 ? CLI_OK : CLI_FAILED;
}

static enum cli_status prepare(struct bench *bench)
{
    const struct bench_config *config = &bench->config;
    enum cli_status status = bench_options_read(bench->args, &bench->config);
    if (status == CLI_OK)
        status = map_images(bench);
    if (status == CLI_OK)
        status = find_address(bench);
    if (status == CLI_OK)
        status = find_keys(bench);
    if (status != CLI_OK)
        return status;
    int err = config->zipf > 0 ? mix_open_zipf(&bench->mix, bench->keys.count, config->zipf)
                               : mix_open_first(&bench->mix, bench->keys.count, config->first);
    bench->stats = calloc(1, sizeof(*bench->stats));
    if (err != ERR_OK || !bench->stats) {
        cli_error(bench->args, "memory is short");
        return CLI_FAILED;
    }
    bench->stats->slo_us = config->slo_us;
    bench->stats->grouped = bench->keys.count > 1 && bench->args->option[BENCH_MIX];
    return CLI_OK;
}

static enum cli_status run_bench(const struct cli_args *args)
{
    struct bench bench = {.args = args};
    char why[CLI_WHY_SIZE] = "";
    enum cli_status status = prepare(&bench);
    if (status == CLI_OK)
        status = run_load(&bench);
    if (bench_keys_close(&bench.keys, why, sizeof(why)) != ERR_OK)
        cli_error(args, "the keys made for this are not revoked, but they will expire: %s", why);
    explicit_bzero(bench.target.key, sizeof(bench.target.key));
    for (int i = 0; bench.images && i < args->operand_count; i++)
        if (bench.images[i].data)
            munmap((void *)(uintptr_t)bench.images[i].data, bench.images[i].len);
    mix_close(&bench.mix);
    free(bench.images);
    free(bench.stats);
    conf_free(bench.conf);
    return status;
}

const struct cli_command cli_bench = {
    .name = "bench",
    .operands = "IMAGE…",
    .summary = "Put a scheduled load on an API and measure how it fares",
    .notes = "Requests leave on schedule, whether or not earlier ones were answered, and latency counts from when they "
             "were\n"
             "due. Without keys of its own, the demo key of the data folder is used, or that of CAVAGE_KEY.\n",
    .operand_min = 1,
    .operand_max = IMAGES_MAX,
    .options = bench_options,
    .run = run_bench,
};
