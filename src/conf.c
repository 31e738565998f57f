/* SPDX-License-Identifier: MIT */
/* Holds the configuration, sets it from text and from the environment, and takes over what may change while running. */
#include "cavage/err.h"
#include "cavage/fs.h"
#include "conf_parts.h"

#include <stdlib.h>
#include <string.h>

int conf_new(struct conf **out)
{
    char why[256];
    struct conf *conf = calloc(1, sizeof(*conf));
    if (conf == NULL)
        return ERR_NOMEM;
    for (int i = 0; i < CONF_COUNT; i++) {
        int err = conf_set(conf, (enum conf_id)i, conf_key((enum conf_id)i)->def, "default", why, sizeof(why));
        if (err != ERR_OK) {
            conf_free(conf);
            return err == ERR_NOMEM ? err : ERR_INTERNAL;
        }
    }
    *out = conf;
    return ERR_OK;
}

static void value_clear(struct conf_value *value)
{
    free(value->text);
    free(value->origin);
}

void conf_free(struct conf *conf)
{
    if (conf == NULL)
        return;
    for (int i = 0; i < CONF_COUNT; i++)
        value_clear(&conf->values[i]);
    free(conf);
}

/* Replace *to by copies. ERR_NOMEM leaves it as it was. */
static int value_set(struct conf_value *to, const char *text, const char *origin, int64_t number)
{
    struct conf_value fresh = {.text = strdup(text), .origin = strdup(origin), .number = number};
    if (fresh.text == NULL || fresh.origin == NULL) {
        value_clear(&fresh);
        return ERR_NOMEM;
    }
    value_clear(to);
    *to = fresh;
    return ERR_OK;
}

int conf_set(struct conf *conf, enum conf_id id, const char *value, const char *origin, char *why, size_t size)
{
    const struct conf_key *key = conf_key(id);
    char wrong[384];
    int64_t number;
    int err = conf_value_parse(key, value, &number, wrong, sizeof(wrong));
    if (err != ERR_OK)
        return conf_fail(err, why, size, "%s: %s.%s: %s", origin, key->section, key->name, wrong);
    err = value_set(&conf->values[id], value, origin, number);
    if (err != ERR_OK)
        return conf_fail(err, why, size, "%s: %s", origin, err_text(err));
    return ERR_OK;
}

int64_t conf_int(const struct conf *conf, enum conf_id id)
{
    return conf->values[id].number;
}

int64_t conf_format(const struct conf *conf, enum conf_id id, enum image_format format)
{
    char why[256];
    int64_t numbers[IMAGE_FORMAT_COUNT];
    int err = conf_formats_parse(conf_key(id), conf->values[id].text, numbers, why, sizeof(why));
    /* It was parsed when it was set. */
    return err == ERR_OK ? numbers[format] : 0;
}

const char *conf_str(const struct conf *conf, enum conf_id id)
{
    return conf->values[id].text;
}

const char *conf_origin(const struct conf *conf, enum conf_id id)
{
    return conf->values[id].origin;
}

int conf_path(const struct conf *conf, enum conf_id id, char *out, size_t size)
{
    const char *dir = id == CONF_COMMON_DATA_DIR ? "" : conf_str(conf, CONF_COMMON_DATA_DIR);
    return fs_join(out, size, dir, conf_str(conf, id));
}

static bool is_in_section(const struct conf_key *key, const char *dotted)
{
    size_t len = strlen(key->section);
    return strncmp(dotted, key->section, len) == 0 && dotted[len] == '.';
}

int conf_find(const char *dotted, enum conf_id *id)
{
    for (int i = 0; i < CONF_COUNT; i++) {
        const struct conf_key *key = conf_key((enum conf_id)i);
        if (is_in_section(key, dotted) && strcmp(dotted + strlen(key->section) + 1, key->name) == 0) {
            *id = (enum conf_id)i;
            return ERR_OK;
        }
    }
    return ERR_NOTFOUND;
}

/* Append to out, which is cut at size. */
static void append(char *out, size_t size, const char *text)
{
    size_t used = strlen(out);
    snprintf(out + used, size - used, "%s", text);
}

void conf_suggest(const char *dotted, char *out, size_t size)
{
    const char *section = "", *comma = " ";
    bool known = false;
    for (int i = 0; i < CONF_COUNT && !known; i++)
        known = is_in_section(conf_key((enum conf_id)i), dotted);
    if (known)
        snprintf(out, size, "[%.*s] has", (int)strcspn(dotted, "."), dotted);
    else
        snprintf(out, size, "the sections are");
    for (int i = 0; i < CONF_COUNT; i++) {
        const struct conf_key *key = conf_key((enum conf_id)i);
        bool listed = known ? is_in_section(key, dotted) : strcmp(section, key->section) != 0;
        section = key->section;
        if (!listed)
            continue;
        append(out, size, comma);
        append(out, size, known ? key->name : key->section);
        comma = ", ";
    }
}

/* "API_MAX_BODY_BYTES" of len bytes to "api.max_body_bytes". False if it has no such form. */
static bool env_to_dotted(const char *name, size_t len, char *out, size_t size)
{
    bool dotted = false;
    if (len >= size)
        return false;
    for (size_t i = 0; i < len; i++) {
        out[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
        if (name[i] >= 'a' && name[i] <= 'z')
            return false;
        if (name[i] == '_' && !dotted) {
            out[i] = '.';
            dotted = true;
        }
    }
    out[len] = '\0';
    return dotted;
}

static int read_variable(struct conf *conf, const char *variable, char *why, size_t size)
{
    static const char prefix[] = "CAVAGE_";
    static const char test[] = "TEST_";
    enum conf_id id;
    char dotted[64], known[704];
    if (strncmp(variable, prefix, sizeof(prefix) - 1) != 0)
        return ERR_OK;
    const char *name = variable + sizeof(prefix) - 1;
    size_t len = strcspn(name, "=");
    /* No section and key without an underscore between them. */
    if (name[len] == '\0' || memchr(name, '_', len) == NULL || strncmp(name, test, sizeof(test) - 1) == 0)
        return ERR_OK;
    bool formed = env_to_dotted(name, len, dotted, sizeof(dotted));
    if (!formed || conf_find(dotted, &id) != ERR_OK) {
        conf_suggest(formed ? dotted : "", known, sizeof(known));
        return conf_fail(ERR_INVALID, why, size, "environment: %s%.*s: names no configuration key; %s", prefix,
                         len > 60 ? 60 : (int)len, name, known);
    }
    return conf_set(conf, id, name + len + 1, "environment", why, size);
}

int conf_read_env(struct conf *conf, char *const *env, char *why, size_t size)
{
    for (; *env != NULL; env++) {
        int err = read_variable(conf, *env, why, size);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

int conf_reload(struct conf *conf, const struct conf *fresh, void (*told)(void *arg, const struct conf_key *key),
                void *arg)
{
    struct conf_value copies[CONF_COUNT] = {0};
    int err = ERR_OK;
    for (int i = 0; i < CONF_COUNT && err == ERR_OK; i++)
        if (conf_key((enum conf_id)i)->reloadable)
            err = value_set(&copies[i], fresh->values[i].text, fresh->values[i].origin, fresh->values[i].number);
    for (int i = 0; i < CONF_COUNT; i++) {
        const struct conf_key *key = conf_key((enum conf_id)i);
        if (err != ERR_OK) {
            value_clear(&copies[i]);
        } else if (key->reloadable) {
            value_clear(&conf->values[i]);
            conf->values[i] = copies[i];
        } else if (told != NULL && strcmp(conf->values[i].text, fresh->values[i].text) != 0) {
            told(arg, key);
        }
    }
    return err;
}
