/* SPDX-License-Identifier: MIT */
/* Asks the management API and puts its refusals into words. */
#include "admin.h"

#include "cavage/err.h"
#include "cavage/fs.h"
#include "http.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_TIMEOUT_MS = 10000, PAGES_MAX = 100000, PAGE_LIMIT = 1000 };

static int err_from_status(long status)
{
    switch (status) {
    case 403:
        return ERR_DENIED;
    case 404:
        return ERR_NOTFOUND;
    case 409:
        return ERR_EXISTS;
    case 503:
        return ERR_AGAIN;
    default:
        return status >= 500 ? ERR_IO : ERR_INVALID;
    }
}

int admin_call(const struct conf *conf, const char *method, const char *path, struct record *body, struct record **out,
               char *why, size_t size)
{
    char socket[FS_PATH_SIZE], url[ADMIN_PATH_SIZE + 32];
    struct http_reply reply = {0};
    char *text = body ? record_text(body) : NULL;
    *out = NULL;
    int err = body && !text ? ERR_NOMEM : conf_path(conf, CONF_AUTHCACHE_ADMIN_SOCKET, socket, sizeof(socket));
    if (err == ERR_OK) {
        snprintf(url, sizeof(url), "http://localhost%s", path);
        struct http_request request = {method, url, socket, text, CALL_TIMEOUT_MS};
        err = http_call(&request, &reply);
        if (err == ERR_CLOSED)
            snprintf(why, size, "nobody serves %s: is 'cavage up' (or cavage-authcache) running on this data folder?",
                     socket);
        else if (err != ERR_OK)
            snprintf(why, size, "%s: %s", socket, err_text(err));
    } else {
        snprintf(why, size, "the management socket: %s", err_text(err));
    }
    if (err == ERR_OK && reply.status >= 300) {
        record_explain(reply.body, reply.len, reply.status, why, size);
        err = err_from_status(reply.status);
    } else if (err == ERR_OK && reply.len > 0) {
        *out = record_parse(reply.body, reply.len);
        if (!*out) {
            snprintf(why, size, "the management API gave an answer that is not JSON");
            err = ERR_CORRUPT;
        }
    }
    http_reply_free(&reply);
    free(text);
    return err;
}

int admin_path(const char *prefix, const char *id, const char *suffix, char *out, size_t size)
{
    if (!id[0] || strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
        return ERR_INVALID;
    for (const char *p = id; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-._", *p))
            return ERR_INVALID;
    int len = snprintf(out, size, "%s/%s%s", prefix, id, suffix);
    return len >= 0 && (size_t)len < size ? ERR_OK : ERR_INVALID;
}

int admin_list(const struct conf *conf, const char *path, const char *member, struct record **out, char *why,
               size_t size)
{
    struct record *all = record_new_array();
    char page[ADMIN_PATH_SIZE], after[ADMIN_PATH_SIZE / 2] = "";
    int err = all ? ERR_OK : ERR_NOMEM;
    for (int i = 0; err == ERR_OK && i < PAGES_MAX; i++) {
        struct record *answer = NULL;
        snprintf(page, sizeof(page), "%s?limit=%d%s%s", path, PAGE_LIMIT, after[0] ? "&after=" : "", after);
        err = admin_call(conf, "GET", page, NULL, &answer, why, size);
        if (err == ERR_OK)
            err = record_extend(all, record_get(answer, member));
        const char *next = err == ERR_OK ? record_str(answer, "next") : NULL;
        after[0] = '\0';
        if (next)
            err = admin_path("", next, "", after, sizeof(after));
        record_free(answer);
        if (!after[0])
            break;
        memmove(after, after + 1, strlen(after)); /* the slash */
    }
    if (err != ERR_OK) {
        record_free(all);
        all = NULL;
    }
    *out = all;
    return err;
}
