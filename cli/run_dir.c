/* SPDX-License-Identifier: MIT */
/* Chooses, makes and remembers the folder of a system's sockets and run files. */
#include "run_dir.h"

#include "cavage/err.h"
#include "cavage/fs.h"
#include "run_file.h"
#include "supervisor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char record_name[] = "run.path";
static const char record_origin[] = "run.path of the data folder";
static const char admin_socket_name[] = "admin.sock";

int run_dir_name(const char *base, const char *data_dir, uid_t uid, char *out, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a: tells folders apart; it guards nothing, the folder's mode does */
    for (const unsigned char *p = (const unsigned char *)data_dir; *p; p++)
        hash = (hash ^ *p) * 0x100000001b3;
    int len = snprintf(out, size, "%s/cavage-%lu-%016" PRIx64, base, (unsigned long)uid, hash);
    return len >= 0 && (size_t)len < size ? ERR_OK : ERR_RANGE;
}

static bool is_default(const struct conf *conf, enum conf_id id)
{
    return strcmp(conf_origin(conf, id), "default") == 0;
}

bool run_dir_fits(const struct conf *conf)
{
    static const enum conf_id addresses[] = {CONF_API_RESULTS, CONF_WORKER_LISTEN, CONF_USAGE_ACKS, CONF_METER_LISTEN};
    char path[FS_PATH_SIZE];
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
        if (conf_endpoint(conf, addresses[i], 0, path, sizeof(path)) == ERR_RANGE)
            return false;
    return conf_path(conf, CONF_AUTHCACHE_ADMIN_SOCKET, path, sizeof(path)) == ERR_OK &&
           strlen(path) < RUN_DIR_SOCKET_MAX;
}

/* The management socket has a key of its own, but lies in the run folder unless told otherwise. */
static int set_run_dir(struct conf *conf, const char *dir, char *why, size_t size)
{
    int err = conf_set(conf, CONF_COMMON_RUN_DIR, dir, record_origin, why, size);
    if (err == ERR_OK && is_default(conf, CONF_AUTHCACHE_ADMIN_SOCKET)) {
        char path[FS_PATH_SIZE];
        err = fs_join(path, sizeof(path), dir, admin_socket_name);
        if (err == ERR_OK)
            err = conf_set(conf, CONF_AUTHCACHE_ADMIN_SOCKET, path, record_origin, why, size);
    }
    return err;
}

int run_dir_adopt(struct conf *conf, char *why, size_t size)
{
    if (!is_default(conf, CONF_COMMON_RUN_DIR))
        return ERR_OK;
    char path[FS_PATH_SIZE], dir[RUN_DIR_SOCKET_MAX + 1];
    size_t len;
    if (fs_join(path, sizeof(path), conf_str(conf, CONF_COMMON_DATA_DIR), record_name) != ERR_OK)
        return ERR_OK;
    if (fs_read(path, dir, sizeof(dir), &len) != ERR_OK)
        return ERR_OK;
    dir[strcspn(dir, "\n")] = '\0';
    if (dir[0] != '/') {
        snprintf(why, size, "%s does not hold a path", path);
        return ERR_CORRUPT;
    }
    return set_run_dir(conf, dir, why, size);
}

/* True when the user's own runtime folder exists and is ours alone. */
static bool is_private(const char *path)
{
    struct stat st;
    return path && path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 022) == 0;
}

static int choose_private(struct conf *conf, char *why, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    const char *bases[] = {is_private(runtime) ? runtime : NULL, "/tmp"};
    const char *data_dir = conf_str(conf, CONF_COMMON_DATA_DIR);
    for (size_t i = 0; i < 2; i++) {
        char dir[FS_PATH_SIZE], path[FS_PATH_SIZE], text[FS_PATH_SIZE];
        if (!bases[i] || run_dir_name(bases[i], data_dir, geteuid(), dir, sizeof(dir)) != ERR_OK)
            continue;
        int err = set_run_dir(conf, dir, why, size);
        if (err != ERR_OK)
            return err;
        if (!run_dir_fits(conf))
            continue;
        err = fs_private_dir(dir);
        if (err != ERR_OK) {
            snprintf(why, size, "%s cannot be used as run folder: %s", dir, err_text(err));
            return err;
        }
        int len = snprintf(text, sizeof(text), "%s\n", dir);
        err = fs_join(path, sizeof(path), data_dir, record_name);
        if (err == ERR_OK)
            err = fs_write_atomic(path, text, (size_t)len, 0600);
        if (err != ERR_OK)
            snprintf(why, size, "cannot write %s: %s", path, err_text(err));
        return err;
    }
    snprintf(why, size, "no run folder has a path short enough for sockets; set common.run_dir");
    return ERR_RANGE;
}

int run_dir_make(struct conf *conf, char *why, size_t size)
{
    if (run_dir_fits(conf)) {
        char dir[FS_PATH_SIZE];
        int err = conf_path(conf, CONF_COMMON_RUN_DIR, dir, sizeof(dir));
        if (err == ERR_OK)
            err = fs_private_dir(dir);
        if (err != ERR_OK)
            snprintf(why, size, "%s cannot be used as run folder: %s", dir, err_text(err));
        return err;
    }
    const char *origin = conf_origin(conf, CONF_COMMON_RUN_DIR);
    if (strcmp(origin, "default") != 0 && strcmp(origin, record_origin) != 0) {
        snprintf(why, size, "common.run_dir (%s): the paths of sockets in it would be longer than %d bytes", origin,
                 RUN_DIR_SOCKET_MAX - 1);
        return ERR_RANGE;
    }
    return choose_private(conf, why, size);
}

void run_dir_remove(const struct conf *conf)
{
    char dir[FS_PATH_SIZE], path[FS_PATH_SIZE], name[64];
    if (strcmp(conf_origin(conf, CONF_COMMON_RUN_DIR), record_origin) != 0 ||
        conf_path(conf, CONF_COMMON_RUN_DIR, dir, sizeof(dir)) != ERR_OK)
        return;
    for (size_t i = 0; supervisor_instances[i]; i++) {
        snprintf(name, sizeof(name), "%s.lock", supervisor_instances[i]);
        if (run_file_holder(conf, supervisor_instances[i]) == 0 && fs_join(path, sizeof(path), dir, name) == ERR_OK)
            unlink(path);
    }
    /* What else lies in it keeps it. */
    if (rmdir(dir) == 0 && fs_join(path, sizeof(path), conf_str(conf, CONF_COMMON_DATA_DIR), record_name) == ERR_OK)
        unlink(path);
}
