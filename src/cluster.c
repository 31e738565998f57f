/* SPDX-License-Identifier: MIT */
/* Reads the keys of the cluster for the daemons that speak over tcp. */
#include "cavage/cluster.h"

#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/log.h"

#include <string.h>

/* Boots of others that are remembered; some 3 KiB each. A region has 300 processes. */
enum { PEERS_MAX = 2048 };

int cluster_read(const struct conf *conf, struct seal_keys *keys)
{
    char path[FS_PATH_SIZE];
    unsigned line = 0;
    int err = conf_path(conf, CONF_COMMON_CLUSTER_KEY_FILE, path, sizeof(path));
    if (!err)
        err = seal_keys_load(path, keys, &line);
    if (err)
        log_error("cluster_key_failed",
                  "the cluster's keys cannot be read; tcp:// needs lines 'ID KEY' in a file that is ours, of mode 0600",
                  LOG_S("file", path), LOG_U("line", line), LOG_S("error", err_text(err)));
    return err;
}

int cluster_open(const struct conf *conf, const enum conf_id *endpoints, size_t count, const struct id *boot,
                 struct seal **out)
{
    struct seal_keys keys;
    bool wanted = false;

    *out = NULL;
    for (size_t i = 0; i < count; i++)
        wanted |= strstr(conf_str(conf, endpoints[i]), "tcp://") != NULL;
    if (!wanted)
        return ERR_OK;
    int err = cluster_read(conf, &keys);
    if (!err)
        err = seal_new(boot, &keys, PEERS_MAX, out);
    seal_keys_wipe(&keys);
    return err;
}

void cluster_reload(const struct conf *conf, struct seal *seal)
{
    struct seal_keys keys;
    if (!seal)
        return;
    if (cluster_read(conf, &keys) == ERR_OK) {
        seal_set_keys(seal, &keys);
        log_info("cluster_keys_read", "the cluster's keys were read again", LOG_U("keys", keys.count),
                 LOG_U("seals_with", keys.of[0].id));
    }
    seal_keys_wipe(&keys);
}

void cluster_count(struct metrics *metrics, size_t first, const struct seal *seal)
{
    for (size_t i = 0; i < SEAL_VERDICTS && seal; i++) {
        int64_t more = (int64_t)seal_count(seal, (enum seal_verdict)i) - metrics_get(metrics, first + i);
        if (more != 0)
            metrics_add(metrics, first + i, more);
    }
}
