/* SPDX-License-Identifier: MIT */
/* URL and key of the system that a command talks to. */
#include "target.h"

#include "cavage/err.h"
#include "cavage/fs.h"
#include "demo.h"
#include "run_file.h"

#include <stdio.h>
#include <string.h>

bool target_set_key(struct target *target, const char *key)
{
    size_t len = strlen(key);
    if (len == 0 || len >= sizeof(target->key) || strpbrk(key, " \t\r\n"))
        return false;
    memcpy(target->key, key, len + 1);
    return true;
}

static bool read_key_file(struct target *target, const char *path)
{
    char text[TARGET_KEY_SIZE + 1];
    size_t len;
    bool good = fs_read(path, text, sizeof(text), &len) == ERR_OK;
    if (good) {
        text[strcspn(text, "\r\n")] = '\0';
        good = target_set_key(target, text);
    }
    explicit_bzero(text, sizeof(text));
    return good;
}

enum cli_status target_find_key(const struct cli_args *args, const struct target_options *options,
                                struct target *target)
{
    const char *key = options->key ? options->key : options->key_file ? NULL : args->cli->key;
    if (key && !target_set_key(target, key)) {
        cli_error(args, "the key is malformed");
        return CLI_USAGE;
    }
    if (options->key_file && !options->key && !read_key_file(target, options->key_file)) {
        cli_error(args, "no key can be read from %s", options->key_file);
        return CLI_FAILED;
    }
    return CLI_OK;
}

/* The API; or, while it is started again, `cavage up`, which holds its listening socket. */
static bool find_api(const struct conf *conf, struct run_file *file)
{
    static const char *const instances[] = {"api", "up"};
    for (size_t i = 0; i < 2; i++)
        if (run_file_read(conf, instances[i], file) == ERR_OK && run_file_alive(file) && file->listen[0])
            return true;
    return false;
}

/* An address that stands for all of the host is reached at the loopback address. */
static void set_local_url(struct target *target, const char *listen)
{
    bool any4 = strncmp(listen, "0.0.0.0:", 8) == 0, any6 = strncmp(listen, "[::]:", 5) == 0;
    const char *host = any4 ? "127.0.0.1:" : any6 ? "[::1]:" : "";
    snprintf(target->url, sizeof(target->url), "http://%s%s", host, listen + (any4 ? 8 : any6 ? 5 : 0));
}

static enum cli_status find_local(const struct cli_args *args, const struct target_options *options, bool keyless,
                                  struct target *target)
{
    struct conf *conf = NULL;
    struct run_file file;
    char demo[KEY_TEXT_SIZE];
    enum cli_status status = cli_conf_open(args, options->config, options->data, &conf);
    if (status != CLI_OK)
        return status;
    if (!find_api(conf, &file)) {
        cli_error(args, "no API runs on %s: start 'cavage up', or give --url", conf_str(conf, CONF_COMMON_DATA_DIR));
        status = CLI_FAILED;
    } else {
        set_local_url(target, file.listen);
    }
    if (status == CLI_OK && !target->key[0] && !keyless) {
        if (demo_key_read(conf, demo) == ERR_OK && target_set_key(target, demo)) {
            explicit_bzero(demo, sizeof(demo));
        } else {
            cli_error(args, "there is no key: set CAVAGE_KEY, or give --key-file");
            status = CLI_FAILED;
        }
    }
    conf_free(conf);
    return status;
}

enum cli_status target_find_url(const struct cli_args *args, const struct target_options *options, bool keyless,
                                struct target *target)
{
    const char *url = options->url;
    if (!url)
        return find_local(args, options, keyless, target);
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
        cli_error(args, "--url begins with http:// or https://");
        return CLI_USAGE;
    }
    if (!target->key[0] && !keyless) {
        cli_error(args, "with --url a key is needed: set CAVAGE_KEY, or give --key-file");
        return CLI_FAILED;
    }
    snprintf(target->url, sizeof(target->url), "%s", url);
    return CLI_OK;
}
