/* SPDX-License-Identifier: MIT */
/* `cavage resize`: sends files to an API and writes the results beside them. */
#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/fs.h"
#include "cli.h"
#include "progress.h"
#include "record.h"
#include "resize_name.h"
#include "resize_options.h"
#include "target.h"
#include "transfer.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The parameters of the request follow. */
enum { OPT_OUT, OPT_JOBS, OPT_URL, OPT_KEY, OPT_KEY_FILE, OPT_DATA, OPT_CONFIG, PARAMETERS };

enum { INPUT_MAX = 1 << 30, JOBS_DEFAULT = 4, NAMES_MAX = 10000 };

/* What format=auto may choose. */
#define ACCEPT "image/avif,image/webp,*/*"
#define RESIZE_PATH "/v1/resize"

/* One `cavage resize`. */
struct resize {
    const struct cli_args *args;
    char query[PARAMS_QUERY_MAX];
    struct target target;
    char url[TARGET_URL_SIZE + sizeof(RESIZE_PATH) + PARAMS_QUERY_MAX];
    const char *out_dir; /* NULL: beside each input */
    char **written;      /* names of results so far, by input; NULL: none */
    struct progress progress;
};

static void report_failure(struct resize *resize, const char *input, const char *reason)
{
    resize->progress.failed++;
    progress_clear(&resize->progress);
    cli_error(resize->args, "%s: %s", input, reason);
}

static uint8_t *load_input(void *arg, size_t index, size_t *len)
{
    struct resize *resize = arg;
    const char *path = resize->args->operand[index], *reason = NULL;
    uint8_t *data = NULL;
    struct stat st = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) != 0)
        reason = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        reason = "not a file";
    else if (st.st_size == 0 || st.st_size > INPUT_MAX)
        reason = st.st_size == 0 ? "the file is empty" : "the file is larger than 1 GiB";
    else if (!(data = malloc((size_t)st.st_size)))
        reason = "memory is short";
    *len = 0;
    while (!reason && *len < (size_t)st.st_size) {
        ssize_t count = read(fd, data + *len, (size_t)st.st_size - *len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            reason = count < 0 ? strerror(errno) : "the file became shorter while it was read";
        else
            *len += (size_t)count;
    }
    if (fd >= 0)
        close(fd);
    if (!reason)
        return data;
    free(data);
    resize->progress.done++;
    report_failure(resize, path, reason);
    return NULL;
}

static bool was_written(const struct resize *resize, const char *path)
{
    for (int i = 0; i < resize->args->operand_count; i++)
        if (resize->written[i] && strcmp(resize->written[i], path) == 0)
            return true;
    return false;
}

/* Write the result under a name that no other result of this run has. */
static int write_result(struct resize *resize, size_t index, const struct transfer_answer *answer, const char **reason)
{
    struct image_header header = {0};
    char path[FS_PATH_SIZE];
    int err = image_header_read(answer->body, answer->len, &header);
    if (err != ERR_OK) {
        *reason = "the answer is not an image";
        return err;
    }
    for (unsigned number = 1; number < NAMES_MAX; number++) {
        err = resize_name(resize->out_dir, resize->args->operand[index], &header, number, path, sizeof(path));
        if (err != ERR_OK || !was_written(resize, path))
            break;
    }
    *reason = "the result's name is too long";
    if (err == ERR_OK) {
        err = fs_write_atomic(path, answer->body, answer->len, 0644);
        *reason = "the result cannot be written";
    }
    if (err == ERR_OK && !(resize->written[index] = strdup(path)))
        err = ERR_NOMEM;
    return err;
}

static void on_answer(void *arg, size_t index, const struct transfer_answer *answer)
{
    struct resize *resize = arg;
    const char *input = resize->args->operand[index], *reason = answer->error;
    char why[CLI_WHY_SIZE], bytes[UNITS_SIZE];
    resize->progress.done++;
    if (answer->status != 0 && answer->status != 200) {
        record_explain((const char *)answer->body, answer->len, answer->status, why, sizeof(why));
        reason = why;
    } else if (answer->status == 200 && write_result(resize, index, answer, &reason) == ERR_OK) {
        resize->progress.bytes += answer->len;
        units_bytes(answer->len, bytes);
        progress_clear(&resize->progress);
        printf("%s -> %s (%s)\n", input, resize->written[index], bytes);
        fflush(stdout);
        return;
    }
    report_failure(resize, input, reason);
}

static bool on_tick(void *arg)
{
    struct resize *resize = arg;
    progress_draw(&resize->progress, clock_monotonic_us());
    return true;
}

static enum cli_status make_query(struct resize *resize)
{
    struct params_problem problem = {.message = "the options are too long"};
    if (resize_query(resize->args->option + PARAMETERS, resize->query, sizeof(resize->query), &problem) == ERR_OK)
        return CLI_OK;
    cli_error(resize->args, "%s", problem.message);
    return CLI_USAGE;
}

static void make_url(struct resize *resize)
{
    size_t len = strlen(resize->target.url);
    while (len > 0 && resize->target.url[len - 1] == '/')
        len--;
    snprintf(resize->url, sizeof(resize->url), "%.*s" RESIZE_PATH "%s", (int)len, resize->target.url, resize->query);
}

static enum cli_status find_target(struct resize *resize)
{
    const char *const *option = resize->args->option;
    const struct target_options options = {.url = option[OPT_URL],
                                           .key = option[OPT_KEY],
                                           .key_file = option[OPT_KEY_FILE],
                                           .data = option[OPT_DATA],
                                           .config = option[OPT_CONFIG]};
    enum cli_status status = target_find_key(resize->args, &options, &resize->target);
    if (status == CLI_OK)
        status = target_find_url(resize->args, &options, false, &resize->target);
    if (status == CLI_OK)
        make_url(resize);
    return status;
}

static enum cli_status run_resize(const struct cli_args *args)
{
    struct resize resize = {.args = args, .out_dir = args->option[OPT_OUT]};
    int64_t jobs = JOBS_DEFAULT;
    if (args->option[OPT_JOBS] && cli_number(args->option[OPT_JOBS], 1, TRANSFER_PARALLEL_MAX, &jobs) != ERR_OK) {
        cli_error(args, "--jobs is a number from 1 to %d", TRANSFER_PARALLEL_MAX);
        return CLI_USAGE;
    }
    enum cli_status status = make_query(&resize);
    if (status == CLI_OK)
        status = find_target(&resize);
    if (status == CLI_OK && resize.out_dir && fs_mkdirs(resize.out_dir, 0777) != ERR_OK) {
        cli_error(args, "%s cannot be used as folder for results", resize.out_dir);
        status = CLI_FAILED;
    }
    resize.written = calloc((size_t)args->operand_count, sizeof(*resize.written));
    if (status == CLI_OK && resize.written) {
        struct transfer_spec spec = {.url = resize.url,
                                     .key = resize.target.key,
                                     .accept = ACCEPT,
                                     .count = (size_t)args->operand_count,
                                     .parallel = (unsigned)jobs,
                                     .load = load_input,
                                     .answered = on_answer,
                                     .tick = on_tick,
                                     .arg = &resize};
        progress_open(&resize.progress, spec.count);
        int err = transfer_run(&spec);
        progress_clear(&resize.progress);
        if (err != ERR_OK)
            cli_error(args, "%s", err_text(err));
        if (resize.progress.failed > 0 && args->operand_count > 1)
            cli_error(args, "%zu of %d files failed", resize.progress.failed, args->operand_count);
        status = err == ERR_OK && resize.progress.failed == 0 ? CLI_OK : CLI_FAILED;
    }
    explicit_bzero(resize.target.key, sizeof(resize.target.key));
    for (int i = 0; resize.written && i < args->operand_count; i++)
        free(resize.written[i]);
    free(resize.written);
    return status;
}

static const struct cli_option options[] = {
    [OPT_OUT] = {"out", 'o', "DIR", "where results go (default: beside each file)"},
    [OPT_JOBS] = {"jobs", 'j', "N", "files under way at a time (default: 4)"},
    [OPT_URL] = {"url", 0, "URL", "of the API (default: the one that runs on the data folder)"},
    [OPT_KEY] = {"key", 0, "KEY", "the API key; others can see command lines, so better: CAVAGE_KEY, or"},
    [OPT_KEY_FILE] = {"key-file", 0, "FILE", "a file that holds the API key"},
    [OPT_DATA] = CLI_OPT_DATA,
    [OPT_CONFIG] = CLI_OPT_CONFIG,
    {0},
};

static const struct cli_more parameters = {"Options of the picture:", resize_option_at, resize_option_allowed};

const struct cli_command cli_resize = {
    .name = "resize",
    .operands = "FILE…",
    .summary = "Resize files through the API",
    .notes = "Results are called NAME-WIDTHxHEIGHT.EXTENSION. Without --url and a key, the API and the demo key of\n"
             "the data folder are used. With --format auto the server is told that AVIF and WebP are welcome.\n",
    .operand_min = 1,
    .operand_max = INT32_MAX,
    .options = options,
    .run = run_resize,
    .more = &parameters,
};
