/* SPDX-License-Identifier: MIT */
/* Readiness: the hash key, the auth cache, a worker, room for usage, and no drain. */
#include "ready.h"

#include "pipeline.h"

#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/log.h"

#include <string.h>

const char *ready_problem(const struct api *api)
{
    struct auth_head head;
    if (atomic_load(&api->draining))
        return "This server is stopping.";
    if (!atomic_load(&api->has_pepper))
        return "The key for hashing credentials is not there yet.";
    if (authdb_head(api->authdb, &head) != 0 || !head.complete)
        return "The auth cache holds no complete snapshot yet.";
    if (!pipeline_has_worker(api->pipeline))
        return "No worker is available.";
    if (!spool_has_room(api->spool))
        return "Usage records cannot be stored at the moment.";
    return NULL;
}

/* The identity side makes the key file at its first start, which may be after ours. */
static void load_pepper(struct api *api)
{
    char path[FS_PATH_SIZE];
    if (atomic_load(&api->has_pepper))
        return;
    int err = conf_path(api->daemon->conf, CONF_COMMON_HASH_KEY_FILE, path, sizeof(path));
    if (!err)
        err = key_pepper_load(path, false, &api->pepper);
    if (!err)
        atomic_store(&api->has_pepper, true);
    if (!err || err == api->pepper_err)
        return;
    api->pepper_err = err;
    if (err != ERR_NOTFOUND)
        log_error("hash_key_failed", "the key for hashing credentials cannot be read", LOG_S("path", path),
                  LOG_S("error", err_text(err)));
}

void ready_update(struct api *api)
{
    load_pepper(api);
    const char *problem = ready_problem(api);
    const char *before = api->not_ready;
    atomic_store(&api->daemon->ready, problem == NULL);
    api->not_ready = problem;
    if (problem == before)
        return;
    /* At the start and at the end this is as it should be. */
    if (problem && (!api->was_ready || atomic_load(&api->draining)))
        log_info("not_ready", problem);
    else if (problem)
        log_warn("not_ready", problem);
    else
        log_info("serving", "all that is needed is there");
    api->was_ready = api->was_ready || !problem;
}
