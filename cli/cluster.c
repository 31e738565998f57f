/* SPDX-License-Identifier: MIT */
/* `cavage cluster`: makes and changes the keys that seal what goes over tcp. */
#include "cli.h"

#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/seal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { OPT_ADD, OPT_USE, OPT_DROP, OPT_STDOUT, OPT_FILE, OPT_DATA, OPT_CONFIG };

/* One change of the keys. */
struct change {
    const char *done;    /* what is true of the key then */
    const char *missing; /* why, when there is no such file, or key */
    const char *full;    /* or no room */
    const char *refused; /* or it may not be */
    int (*change)(struct seal_keys *keys, uint32_t *id);
};

static int use(struct seal_keys *keys, uint32_t *id)
{
    return seal_keys_use(keys, *id);
}

static int drop(struct seal_keys *keys, uint32_t *id)
{
    return seal_keys_drop(keys, *id);
}

static const char full[] = "there are as many keys as there can be; drop one first";

static const struct change changes[] = {
    [OPT_ADD] = {"opens, and does not seal", NULL, full, NULL, seal_keys_add},
    [OPT_USE] = {"seals", "there is no such key", NULL, NULL, use},
    [OPT_DROP] = {"is dropped", "there is no such key", NULL, "that key seals; use another one first", drop},
};

static const struct change first = {"seals", NULL, full, NULL, seal_keys_add};

/* The change that the options name, and its key; NULL and CLI_USAGE after telling why there is none. */
static const struct change *choose(const struct cli_args *args, uint32_t *id)
{
    const struct change *chosen = &first;
    for (size_t i = OPT_ADD; i <= OPT_DROP; i++) {
        int64_t number = 0;
        if (!args->option[i])
            continue;
        if (chosen != &first) {
            cli_error(args, "one of --add, --use and --drop at a time");
            return NULL;
        }
        if (i != OPT_ADD && cli_number(args->option[i], 1, UINT32_MAX, &number) != ERR_OK) {
            cli_error(args, "'%s' is no key's number", args->option[i]);
            return NULL;
        }
        chosen = &changes[i];
        *id = (uint32_t)number;
    }
    return chosen;
}

static enum cli_status find_file(const struct cli_args *args, char path[FS_PATH_SIZE])
{
    struct conf *conf = NULL;
    if (args->option[OPT_FILE]) {
        int n = snprintf(path, FS_PATH_SIZE, "%s", args->option[OPT_FILE]);
        if (n > 0 && n < FS_PATH_SIZE)
            return CLI_OK;
        cli_error(args, "a path has 1 to %d bytes", FS_PATH_SIZE - 1);
        return CLI_USAGE;
    }
    enum cli_status status = cli_conf_open(args, args->option[OPT_CONFIG], args->option[OPT_DATA], &conf);
    if (status == CLI_OK && conf_path(conf, CONF_COMMON_CLUSTER_KEY_FILE, path, FS_PATH_SIZE) != ERR_OK)
        status = CLI_FAILED;
    conf_free(conf);
    return status;
}

/* The keys that are there; none, for the first. */
static enum cli_status load(const struct cli_args *args, const char *path, bool is_first, struct seal_keys *keys)
{
    unsigned line;
    int err = seal_keys_load(path, keys, &line);
    if (is_first ? err == ERR_NOTFOUND && line == 0 : !err)
        return CLI_OK;
    if (!err)
        cli_error(args, "%s exists already; --add, --use and --drop change it", path);
    else if (line > 0)
        cli_error(args, "%s:%u: %s", path, line, err_text(err));
    else if (err == ERR_DENIED)
        cli_error(args, "%s has to be a plain file of this user, closed to others", path);
    else
        cli_error(args, "%s: %s", path, err_text(err));
    return CLI_FAILED;
}

static enum cli_status tell(const struct seal_keys *keys)
{
    char text[SEAL_KEYS_TEXT_SIZE];
    seal_keys_text(keys, text);
    fputs(text, stdout);
    explicit_bzero(text, sizeof(text));
    return CLI_OK;
}

static enum cli_status save(const struct cli_args *args, const char *path, const struct seal_keys *keys)
{
    int err = fs_mkdirs_above(path, 0700);
    if (!err)
        err = seal_keys_save(path, keys);
    if (err)
        cli_error(args, "cannot write %s: %s", path, err_text(err));
    return err ? CLI_FAILED : CLI_OK;
}

static enum cli_status apply(const struct cli_args *args, const struct change *change, uint32_t *id,
                             struct seal_keys *keys)
{
    int err = change->change(keys, id);
    const char *why = err == ERR_FULL ? change->full : err == ERR_DENIED ? change->refused : change->missing;
    if (err)
        cli_error(args, "%s", why ? why : err_text(err));
    return err ? CLI_FAILED : CLI_OK;
}

static enum cli_status key(const struct cli_args *args)
{
    char path[FS_PATH_SIZE];
    struct seal_keys keys = {0};
    uint32_t id = 0;
    const struct change *change = choose(args, &id);
    enum cli_status status = change ? find_file(args, path) : CLI_USAGE;
    if (status == CLI_OK && !(change == &first && args->option[OPT_STDOUT]))
        status = load(args, path, change == &first, &keys);
    if (status == CLI_OK)
        status = apply(args, change, &id, &keys);
    if (status == CLI_OK && args->option[OPT_STDOUT])
        status = tell(&keys);
    else if (status == CLI_OK && (status = save(args, path, &keys)) == CLI_OK)
        printf("%s: key %" PRIu32 " %s.\n", path, id, change->done);
    seal_keys_wipe(&keys);
    return status;
}

static const struct cli_option options[] = {
    [OPT_ADD] = {"add", 0, NULL, "add another key, which opens what others seal with it"},
    [OPT_USE] = {"use", 0, "ID", "seal with this key"},
    [OPT_DROP] = {"drop", 0, "ID", "remove this key"},
    [OPT_STDOUT] = {"stdout", 0, NULL, "print the keys instead of writing the file"},
    [OPT_FILE] = {"file", 0, "FILE", "the file of keys (default: common.cluster_key_file)"},
    [OPT_DATA] = CLI_OPT_DATA,
    [OPT_CONFIG] = CLI_OPT_CONFIG,
    {0},
};

static const struct cli_command commands[] = {
    {"key", "", "Make the cluster's key, or change its keys",
     "Without --add, --use or --drop the file must not exist yet. Run it as the daemons' user, and bring the file to "
     "all\n"
     "hosts; daemons read it again at SIGHUP.\n",
     0, 0, options, key, NULL, NULL},
    {0},
};

const struct cli_command cli_cluster = {
    .name = "cluster", .summary = "Make and change the keys of a cluster of several hosts", .group = commands};
