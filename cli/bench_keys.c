/* SPDX-License-Identifier: MIT */
/* Reads keys from a file, or makes customers with keys and revokes those again. */
#include "bench_keys.h"

#include "admin.h"
#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/key.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 16 * 1024 * 1024 };

static int add_key(struct bench_keys *keys, const char *key, size_t len)
{
    char *copy = strndup(key, len);
    if (!copy)
        return ERR_NOMEM;
    keys->keys[keys->count++] = copy;
    return ERR_OK;
}

static int add_lines(struct bench_keys *keys, const char *text, char *why, size_t size)
{
    int err = ERR_OK;
    unsigned line = 1;
    for (const char *p = text, *end; *p && err == ERR_OK; p = end + (*end == '\n'), line++) {
        end = p + strcspn(p, "\n");
        size_t len = strcspn(p, "\r\n");
        if (len == 0 || *p == '#')
            continue;
        if (strcspn(p, " \t\r\n") != len || len >= KEY_TEXT_SIZE)
            err = ERR_INVALID;
        else
            err = keys->count < BENCH_KEYS_MAX ? add_key(keys, p, len) : ERR_RANGE;
    }
    if (err == ERR_INVALID)
        snprintf(why, size, "line %u is not a key", line - 1);
    else if (err == ERR_RANGE)
        snprintf(why, size, "there are more than %d keys", BENCH_KEYS_MAX);
    return err;
}

int bench_keys_read(struct bench_keys *keys, const char *path, char *why, size_t size)
{
    size_t len = 0;
    char *text = malloc(FILE_BYTES);
    keys->keys = calloc(BENCH_KEYS_MAX, sizeof(*keys->keys));
    int err = text && keys->keys ? fs_read(path, text, FILE_BYTES, &len) : ERR_NOMEM;
    why[0] = '\0';
    if (err == ERR_OK)
        err = add_lines(keys, text, why, size);
    if (err == ERR_OK && keys->count == 0) {
        snprintf(why, size, "it holds no key");
        err = ERR_INVALID;
    }
    if (err != ERR_OK && !why[0])
        snprintf(why, size, "%s", err_text(err));
    if (text)
        explicit_bzero(text, len);
    free(text);
    return err;
}

int bench_keys_copy(struct bench_keys *keys, const char *key)
{
    keys->keys = calloc(1, sizeof(*keys->keys));
    return keys->keys ? add_key(keys, key, strlen(key)) : ERR_NOMEM;
}

static int make_customer(const struct conf *conf, const char *id, char *why, size_t size)
{
    struct record *body = record_new_object(), *answer = NULL;
    int err = body ? record_set_str(body, "id", id) : ERR_NOMEM;
    if (err == ERR_OK)
        err = record_set_str(body, "name", "cavage bench");
    if (err == ERR_OK)
        err = admin_call(conf, "POST", "/v1/customers", body, &answer, why, size);
    record_free(answer);
    record_free(body);
    return err == ERR_EXISTS ? ERR_OK : err;
}

static int make_key(struct bench_keys *keys, const char *id, const char *expires, char *why, size_t size)
{
    char path[ADMIN_PATH_SIZE];
    struct record *body = record_new_object(), *answer = NULL;
    int err = body ? record_set_str(body, "label", "cavage bench") : ERR_NOMEM;
    if (err == ERR_OK)
        err = record_set_str(body, "expires", expires);
    if (err == ERR_OK)
        err = admin_path("/v1/customers", id, "/keys", path, sizeof(path));
    if (err == ERR_OK)
        err = admin_call(keys->conf, "POST", path, body, &answer, why, size);
    const char *key = err == ERR_OK ? record_str(answer, "key") : NULL,
               *key_id = key ? record_str(answer, "key_id") : NULL;
    if (err == ERR_OK && key_id) {
        snprintf(keys->ids[keys->count], sizeof(keys->ids[0]), "%s", key_id);
        err = add_key(keys, key, strlen(key));
    } else if (err == ERR_OK) {
        err = ERR_INVALID;
    }
    record_free(answer);
    record_free(body);
    return err;
}

int bench_keys_make(struct bench_keys *keys, const struct conf *conf, size_t count, int64_t valid_s, char *why,
                    size_t size)
{
    char id[32], expires[25];
    why[0] = '\0';
    keys->conf = conf;
    keys->keys = calloc(count, sizeof(*keys->keys));
    keys->ids = calloc(count, sizeof(*keys->ids));
    int err = keys->keys && keys->ids ? ERR_OK : ERR_NOMEM;
    clock_format(clock_wall_us() + valid_s * 1000000, expires);
    for (size_t i = 1; i <= count && err == ERR_OK; i++) {
        snprintf(id, sizeof(id), "bench-%zu", i);
        err = make_customer(conf, id, why, size);
        if (err == ERR_OK)
            err = make_key(keys, id, expires, why, size);
    }
    if (err != ERR_OK && !why[0])
        snprintf(why, size, "%s", err_text(err));
    return err;
}

int bench_keys_close(struct bench_keys *keys, char *why, size_t size)
{
    char path[ADMIN_PATH_SIZE], unused[256] = "";
    int first = ERR_OK;
    for (size_t i = 0; i < keys->count; i++) {
        explicit_bzero(keys->keys[i], strlen(keys->keys[i]));
        free(keys->keys[i]);
        if (!keys->conf)
            continue;
        struct record *answer = NULL;
        int err = admin_path("/v1/keys", keys->ids[i], "", path, sizeof(path));
        if (err == ERR_OK)
            err = admin_call(keys->conf, "DELETE", path, NULL, &answer, first ? unused : why,
                             first ? sizeof(unused) : size);
        record_free(answer);
        first = first ? first : err;
    }
    free(keys->keys);
    free(keys->ids);
    *keys = (struct bench_keys){0};
    return first;
}
