/* SPDX-License-Identifier: MIT */
/* The table of paths. */
#include "route.h"

#include <string.h>
#include <strings.h>

static const struct {
    const char *path;
    const char *methods[2];
    const char *allow;
    const char *name;
} table[ROUTE_COUNT] = {
    [ROUTE_NONE] = {"", {"", ""}, "", "none"},
    [ROUTE_RESIZE] = {"/v1/resize", {"POST", "POST"}, "POST", "resize"},
    [ROUTE_INFO] = {"/v1/info", {"POST", "POST"}, "POST", "info"},
    [ROUTE_RENDITIONS] = {"/v1/renditions", {"POST", "POST"}, "POST", "renditions"},
    [ROUTE_HEALTH] = {"/healthz", {"GET", "HEAD"}, "GET, HEAD", "health"},
    [ROUTE_READY] = {"/readyz", {"GET", "HEAD"}, "GET, HEAD", "ready"},
};

/* Skip "http://authority" of the absolute form. */
static const char *skip_authority(const char *raw)
{
    if (strncasecmp(raw, "http://", 7) != 0)
        return raw;
    return raw + 7 + strcspn(raw + 7, "/?");
}

void route_parse(const char *raw, struct target *out)
{
    const char *path = skip_authority(raw);
    size_t path_len = strcspn(path, "?");
    out->query = path + path_len + (path[path_len] == '?');
    out->query_len = strlen(out->query);
    out->route = ROUTE_NONE;
    for (int i = ROUTE_NONE + 1; i < ROUTE_COUNT; i++)
        if (strlen(table[i].path) == path_len && memcmp(table[i].path, path, path_len) == 0)
            out->route = (enum route)i;
}

bool route_takes(enum route route, const char *method)
{
    return strcmp(table[route].methods[0], method) == 0 || strcmp(table[route].methods[1], method) == 0;
}

const char *route_allow(enum route route)
{
    return table[route].allow;
}

const char *route_name(enum route route)
{
    return table[route].name;
}
