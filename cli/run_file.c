/* SPDX-License-Identifier: MIT */
/* Reads run files, and asks the daemons that wrote them. */
#include "run_file.h"

#include "cavage/err.h"
#include "cavage/fs.h"
#include "http.h"
#include "record.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RUN_FILE_MAX = 16384, READY_TIMEOUT_MS = 500, PID_LIMIT = 1 << 22 };

int run_file_read(const struct conf *conf, const char *instance, struct run_file *out)
{
    char dir[FS_PATH_SIZE], path[FS_PATH_SIZE], name[RUN_FILE_NAME_SIZE + 8], text[RUN_FILE_MAX];
    size_t len;
    snprintf(name, sizeof(name), "%.63s.json", instance);
    *out = (struct run_file){0};
    int err = conf_path(conf, CONF_COMMON_RUN_DIR, dir, sizeof(dir));
    if (err == ERR_OK)
        err = fs_join(path, sizeof(path), dir, name);
    if (err == ERR_OK)
        err = fs_read(path, text, sizeof(text), &len);
    if (err != ERR_OK)
        return err;
    struct record *record = record_parse(text, len);
    int64_t pid = record_int(record, "pid", 0);
    const char *ops = record_str(record, "ops"), *listen = record_str(record, "listen");
    const char *program = record_str(record, "program");
    if (pid > 0 && pid <= PID_LIMIT) {
        out->pid = (pid_t)pid;
        snprintf(out->program, sizeof(out->program), "%s", program ? program : "");
        snprintf(out->ops, sizeof(out->ops), "%s", ops ? ops : "");
        snprintf(out->listen, sizeof(out->listen), "%s", listen ? listen : "");
    } else {
        err = ERR_CORRUPT;
    }
    record_free(record);
    return err;
}

static const char suffix[] = ".json";

static int is_instance(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name), end = sizeof(suffix) - 1;
    return len > end && len - end < RUN_FILE_NAME_SIZE && strcmp(entry->d_name + len - end, suffix) == 0 &&
           strcmp(entry->d_name, "up.json") != 0;
}

size_t run_file_instances(const struct conf *conf, char (*names)[RUN_FILE_NAME_SIZE], size_t max)
{
    char dir[FS_PATH_SIZE];
    struct dirent **entries = NULL;
    size_t count = 0;
    int found = conf_path(conf, CONF_COMMON_RUN_DIR, dir, sizeof(dir)) == ERR_OK
                    ? scandir(dir, &entries, is_instance, alphasort)
                    : -1;
    for (int i = 0; i < found; i++) {
        if (count < max) {
            size_t len = strlen(entries[i]->d_name) - (sizeof(suffix) - 1);
            memcpy(names[count], entries[i]->d_name, len);
            names[count++][len] = '\0';
        }
        free(entries[i]);
    }
    free(entries);
    return count;
}

bool run_file_alive(const struct run_file *file)
{
    char path[64], text[1024];
    size_t len;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)file->pid);
    if (fs_read(path, text, sizeof(text), &len) != ERR_OK)
        return false;
    /* "123 (cavage-api) S …"; one that ended and was not reaped is a Z. */
    const char *name = strchr(text, '('), *end = strrchr(text, ')');
    return name && end && strncmp(name, "(cavage", 7) == 0 && strncmp(end, ") Z", 3) != 0;
}

pid_t run_file_holder(const struct conf *conf, const char *instance)
{
    char dir[FS_PATH_SIZE], path[FS_PATH_SIZE], name[64];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    snprintf(name, sizeof(name), "%s.lock", instance);
    if (conf_path(conf, CONF_COMMON_RUN_DIR, dir, sizeof(dir)) != ERR_OK ||
        fs_join(path, sizeof(path), dir, name) != ERR_OK)
        return 0;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    bool held = fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    if (fd >= 0)
        close(fd);
    return held ? lock.l_pid : 0;
}

bool run_file_ready(const struct run_file *file)
{
    char url[160];
    struct http_reply reply;
    snprintf(url, sizeof(url), "%s/readyz", file->ops);
    struct http_request request = {"GET", url, NULL, NULL, READY_TIMEOUT_MS};
    if (!file->ops[0] || http_call(&request, &reply) != ERR_OK)
        return false;
    bool ready = reply.status == 200;
    http_reply_free(&reply);
    return ready;
}
