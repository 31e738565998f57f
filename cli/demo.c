/* SPDX-License-Identifier: MIT */
/* Makes the demo customer and its key when they are missing. */
#include "demo.h"

#include "admin.h"
#include "cavage/err.h"
#include "cavage/fs.h"

#include <stdio.h>
#include <string.h>

static const char customer[] = "demo";

int demo_key_path(const struct conf *conf, char *out, size_t size)
{
    return fs_join(out, size, conf_str(conf, CONF_COMMON_DATA_DIR), "demo.key");
}

int demo_key_read(const struct conf *conf, char key[KEY_TEXT_SIZE])
{
    char path[FS_PATH_SIZE], text[KEY_TEXT_SIZE + 1] = "";
    size_t len;
    struct key parsed;
    int err = demo_key_path(conf, path, sizeof(path));
    if (err == ERR_OK)
        err = fs_read(path, text, sizeof(text), &len);
    if (err == ERR_OK) {
        text[strcspn(text, "\n")] = '\0';
        err = key_parse(text, strlen(text), &parsed) == ERR_OK ? ERR_OK : ERR_CORRUPT;
        key_wipe(&parsed);
    }
    if (err == ERR_OK)
        memcpy(key, text, KEY_TEXT_SIZE);
    explicit_bzero(text, sizeof(text));
    return err;
}

/* True when the management API lists the key as the demo customer's. */
static bool is_known(const struct conf *conf, const char *key, char *why, size_t size)
{
    struct key parsed;
    struct record *keys = NULL;
    char path[ADMIN_PATH_SIZE];
    bool known = false;
    if (key_parse(key, strlen(key), &parsed) == ERR_OK &&
        admin_path("/v1/customers", customer, "/keys", path, sizeof(path)) == ERR_OK &&
        admin_list(conf, path, "keys", &keys, why, size) == ERR_OK) {
        for (size_t i = 0; i < record_count(keys) && !known; i++) {
            const char *id = record_str(record_at(keys, i), "key_id");
            known = id && strcmp(id, parsed.id) == 0;
        }
    }
    record_free(keys);
    key_wipe(&parsed);
    return known;
}

static int make_customer(const struct conf *conf, char *why, size_t size)
{
    struct record *body = record_new_object(), *answer = NULL;
    int err = body ? record_set_str(body, "id", customer) : ERR_NOMEM;
    if (err == ERR_OK)
        err = record_set_str(body, "name", "Demo");
    if (err == ERR_OK)
        err = admin_call(conf, "POST", "/v1/customers", body, &answer, why, size);
    record_free(answer);
    record_free(body);
    return err == ERR_EXISTS ? ERR_OK : err;
}

static int make_key(const struct conf *conf, char key[KEY_TEXT_SIZE], char *why, size_t size)
{
    char path[ADMIN_PATH_SIZE];
    struct record *body = record_new_object(), *answer = NULL;
    int err = body ? record_set_str(body, "label", "demo.key") : ERR_NOMEM;
    if (err == ERR_OK)
        err = admin_path("/v1/customers", customer, "/keys", path, sizeof(path));
    if (err == ERR_OK)
        err = admin_call(conf, "POST", path, body, &answer, why, size);
    const char *text = err == ERR_OK ? record_str(answer, "key") : NULL;
    if (text && strlen(text) == KEY_TEXT_SIZE - 1) {
        memcpy(key, text, KEY_TEXT_SIZE);
    } else if (err == ERR_OK) {
        snprintf(why, size, "the management API gave no key");
        err = ERR_CORRUPT;
    }
    record_free(answer);
    record_free(body);
    return err;
}

int demo_key_ensure(const struct conf *conf, char key[KEY_TEXT_SIZE], char *why, size_t size)
{
    char path[FS_PATH_SIZE], line[KEY_TEXT_SIZE + 1];
    if (demo_key_read(conf, key) == ERR_OK && is_known(conf, key, why, size))
        return ERR_OK;
    int err = make_customer(conf, why, size);
    if (err == ERR_OK)
        err = make_key(conf, key, why, size);
    if (err != ERR_OK)
        return err;
    int len = snprintf(line, sizeof(line), "%s\n", key);
    err = demo_key_path(conf, path, sizeof(path));
    if (err == ERR_OK)
        err = fs_write_atomic(path, line, (size_t)len, 0600);
    explicit_bzero(line, sizeof(line));
    if (err != ERR_OK)
        snprintf(why, size, "cannot keep the demo key in %s: %s", path, err_text(err));
    return err;
}
