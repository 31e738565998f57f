/* SPDX-License-Identifier: MIT */
/* Reads and writes the file of cluster keys, and changes them. */
#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/seal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEX_LEN = 2 * SEAL_KEY_BYTES };

void seal_keys_wipe(struct seal_keys *keys)
{
    explicit_bzero(keys, sizeof(*keys));
}

/* A decimal number from 1 to 2^32 - 1, and where it ends. */
static int parse_id(const char **at, uint32_t *id)
{
    uint64_t value = 0;
    const char *p = *at;
    for (; *p >= '0' && *p <= '9' && value <= UINT32_MAX; p++)
        value = value * 10 + (uint64_t)(*p - '0');
    *at = p;
    *id = (uint32_t)value;
    return value >= 1 && value <= UINT32_MAX ? ERR_OK : ERR_INVALID;
}

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t\r");
}

/* One line, without its end. */
static int parse_line(const char *at, const char *end, struct seal_keys *out)
{
    uint32_t id;
    at = skip_blanks(at);
    if (at == end || *at == '#')
        return ERR_OK;
    if (parse_id(&at, &id) != ERR_OK || (*at != ' ' && *at != '\t'))
        return ERR_INVALID;
    at = skip_blanks(at);
    if (end - at < HEX_LEN)
        return ERR_INVALID;
    const char *rest = skip_blanks(at + HEX_LEN);
    if (rest != end && *rest != '#')
        return ERR_INVALID;
    for (size_t i = 0; i < out->count; i++)
        if (out->of[i].id == id)
            return ERR_EXISTS;
    if (out->count == SEAL_KEYS_MAX)
        return ERR_FULL;
    int err = hex_decode(at, HEX_LEN, out->of[out->count].bytes, SEAL_KEY_BYTES);
    if (err == ERR_OK)
        out->of[out->count++].id = id;
    return err;
}

static int parse_lines(const char *text, struct seal_keys *out, unsigned *line)
{
    for (const char *at = text; *at != '\0';) {
        const char *end = at + strcspn(at, "\n");
        ++*line;
        int err = parse_line(at, end, out);
        if (err != ERR_OK)
            return err;
        at = *end == '\n' ? end + 1 : end;
    }
    return out->count > 0 ? ERR_OK : ERR_NOTFOUND;
}

int seal_keys_parse(const char *text, struct seal_keys *out, unsigned *line)
{
    memset(out, 0, sizeof(*out));
    *line = 0;
    int err = parse_lines(text, out, line);
    if (err != ERR_OK)
        seal_keys_wipe(out); /* of the keys before the fault */
    return err;
}

int seal_keys_load(const char *path, struct seal_keys *out, unsigned *line)
{
    size_t len;
    char *text = malloc(SEAL_KEY_FILE_MAX);
    memset(out, 0, sizeof(*out));
    *line = 0;
    if (!text)
        return ERR_NOMEM;
    int err = fs_read_private(path, text, SEAL_KEY_FILE_MAX, &len);
    if (err == ERR_OK)
        err = strlen(text) == len ? seal_keys_parse(text, out, line) : ERR_INVALID;
    explicit_bzero(text, SEAL_KEY_FILE_MAX);
    free(text);
    return err;
}

void seal_keys_text(const struct seal_keys *keys, char out[SEAL_KEYS_TEXT_SIZE])
{
    char hex[HEX_LEN + 1];
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < keys->count; i++) {
        hex_encode(keys->of[i].bytes, SEAL_KEY_BYTES, hex);
        len += (size_t)snprintf(out + len, SEAL_KEYS_TEXT_SIZE - len, "%" PRIu32 " %s\n", keys->of[i].id, hex);
    }
    explicit_bzero(hex, sizeof(hex));
}

int seal_keys_save(const char *path, const struct seal_keys *keys)
{
    char text[SEAL_KEYS_TEXT_SIZE];
    struct seal_keys back;
    unsigned line;
    seal_keys_text(keys, text);
    int err = seal_keys_parse(text, &back, &line);
    if (err == ERR_OK)
        err = fs_write_atomic(path, text, strlen(text), 0600);
    seal_keys_wipe(&back);
    explicit_bzero(text, sizeof(text));
    return err;
}

int seal_keys_add(struct seal_keys *keys, uint32_t *id)
{
    struct id halves[2];
    uint32_t highest = 0;
    static_assert(sizeof(halves) == SEAL_KEY_BYTES, "a key is two times as many random bits as an id");
    for (size_t i = 0; i < keys->count; i++)
        highest = keys->of[i].id > highest ? keys->of[i].id : highest;
    if (keys->count == SEAL_KEYS_MAX || highest == UINT32_MAX)
        return ERR_FULL;
    id_random(&halves[0]);
    id_random(&halves[1]);
    memcpy(keys->of[keys->count].bytes, halves, SEAL_KEY_BYTES);
    explicit_bzero(halves, sizeof(halves));
    keys->of[keys->count++].id = *id = highest + 1;
    return ERR_OK;
}

/* Its place; count when there is none. */
static size_t place_of(const struct seal_keys *keys, uint32_t id)
{
    size_t i = 0;
    while (i < keys->count && keys->of[i].id != id)
        i++;
    return i;
}

int seal_keys_use(struct seal_keys *keys, uint32_t id)
{
    struct seal_keys old = *keys;
    size_t at = place_of(keys, id);
    if (at < keys->count) {
        memcpy(&keys->of[1], &old.of[0], at * sizeof(keys->of[0]));
        keys->of[0] = old.of[at];
    }
    seal_keys_wipe(&old);
    return at < keys->count ? ERR_OK : ERR_NOTFOUND;
}

int seal_keys_drop(struct seal_keys *keys, uint32_t id)
{
    size_t at = place_of(keys, id);
    if (at == keys->count)
        return ERR_NOTFOUND;
    if (at == 0)
        return ERR_DENIED;
    keys->count--;
    memmove(&keys->of[at], &keys->of[at + 1], (keys->count - at) * sizeof(keys->of[0]));
    explicit_bzero(&keys->of[keys->count], sizeof(keys->of[0]));
    return ERR_OK;
}
