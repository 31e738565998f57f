/* SPDX-License-Identifier: MIT */
/* Reads the configuration from INI text, through inih. */
#include "cavage/err.h"
#include "cavage/fs.h"
#include "conf_parts.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>

/* Of a line with its newline; longer ones are refused before inih sees them. */
enum { LINE_MAX_BYTES = CONF_VALUE_MAX + 1024 };

/* One reading of one text. The first failure holds. */
struct reading {
    struct conf *conf;
    const char *name;
    const char *next;
    const char *end; /* of the text, so that finding a line costs its length and not the rest's */
    int line;
    int err;
    char *why;
    size_t size;
    int seen[CONF_COUNT]; /* the line that gave the key, or 0 */
};

/* Note a failure at the line that was read last. Returns inih's 0 for an error. */
static int refuse(struct reading *reading, int err, const char *key, const char *what)
{
    reading->err = conf_fail(err, reading->why, reading->size, "%s:%d: %s%s", reading->name, reading->line, key, what);
    return 0;
}

/* fgets from memory. */
static char *read_line(char *out, int size, void *arg)
{
    struct reading *reading = arg;
    size_t left = (size_t)(reading->end - reading->next);
    const char *newline = memchr(reading->next, '\n', left);
    size_t len = newline == NULL ? left : (size_t)(newline + 1 - reading->next);
    if (len == 0 || reading->err != ERR_OK)
        return NULL;
    reading->line++;
    if (len >= (size_t)size || len >= LINE_MAX_BYTES) {
        refuse(reading, ERR_RANGE, "", "the line is too long");
        return NULL;
    }
    memcpy(out, reading->next, len);
    out[len] = '\0';
    reading->next += len;
    return out;
}

/* inih's handler: 1 to go on, 0 for an error. */
static int take_pair(void *arg, const char *section, const char *name, const char *value)
{
    struct reading *reading = arg;
    char dotted[128];
    char origin[FS_PATH_SIZE + 16];
    enum conf_id id;
    if (reading->err != ERR_OK)
        return 0;
    snprintf(dotted, sizeof(dotted), "%s.%s", section, name);
    if (section[0] == '\0')
        return refuse(reading, ERR_INVALID, name, ": a [section] has to come first");
    if (conf_find(dotted, &id) != ERR_OK) {
        char what[768], known[704];
        conf_suggest(dotted, known, sizeof(known));
        snprintf(what, sizeof(what), ": no such key; %s", known);
        return refuse(reading, ERR_INVALID, dotted, what);
    }
    if (reading->seen[id] != 0) {
        char what[64];
        snprintf(what, sizeof(what), ": given already in line %d", reading->seen[id]);
        return refuse(reading, ERR_INVALID, dotted, what);
    }
    if (strstr(value, " ;") != NULL || strstr(value, " #") != NULL)
        return refuse(reading, ERR_INVALID, dotted, ": a comment needs a line of its own");
    reading->seen[id] = reading->line;
    snprintf(origin, sizeof(origin), "%s:%d", reading->name, reading->line);
    reading->err = conf_set(reading->conf, id, value, origin, reading->why, reading->size);
    return reading->err == ERR_OK;
}

int conf_read_text(struct conf *conf, const char *name, const char *text, char *why, size_t size)
{
    struct reading reading = {
        .conf = conf, .name = name, .next = text, .end = text + strlen(text), .why = why, .size = size};
    /* The library's switches are global; they always get the same values here. */
    ini_use_stack = false;
    ini_allow_realloc = false;
    ini_initial_alloc = LINE_MAX_BYTES + 1;
    ini_max_line = LINE_MAX_BYTES + 1;
    ini_allow_multiline = false;
    ini_allow_inline_comments = false;
    ini_allow_no_value = false;
    ini_stop_on_first_error = true;
    int rc = ini_parse_stream(read_line, &reading, take_pair, &reading);
    if (reading.err != ERR_OK)
        return reading.err;
    if (rc == -2)
        return conf_fail(ERR_NOMEM, why, size, "%s: %s", name, err_text(ERR_NOMEM));
    if (rc != 0)
        return conf_fail(ERR_INVALID, why, size, "%s:%d: neither a comment, a [section] nor key = value", name,
                         reading.line);
    return ERR_OK;
}

int conf_read_file(struct conf *conf, const char *path, char *why, size_t size)
{
    size_t len = 0;
    char *text = malloc(CONF_FILE_MAX + 1);
    if (text == NULL)
        return conf_fail(ERR_NOMEM, why, size, "%s: %s", path, err_text(ERR_NOMEM));
    int err = fs_read(path, text, CONF_FILE_MAX + 1, &len);
    if (err == ERR_RANGE)
        conf_fail(err, why, size, "%s: the file is too long; allowed: %d bytes", path, (int)CONF_FILE_MAX);
    else if (err != ERR_OK)
        conf_fail(err, why, size, "%s: %s", path, err_text(err));
    else if (strlen(text) != len)
        err = conf_fail(ERR_INVALID, why, size, "%s: the file holds a NUL byte", path);
    else
        err = conf_read_text(conf, path, text, why, size);
    free(text);
    return err;
}
