/* SPDX-License-Identifier: MIT */
/* Endpoints of sockets: "ipc://NAME" below the run folder, "tcp://HOST:PORT" between hosts. */
#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/net.h"
#include "conf_parts.h"

#include <string.h>

enum { IPC_PATH_MAX = 99, ENDPOINT_MAX = 300 };

static const char ipc[] = "ipc://", tcp[] = "tcp://", local[] = "tcp://localhost:";

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* A numeric host needs a port above 0: nobody could be told which one it got. */
static bool is_numeric(const char *host_port)
{
    const char *port = strrchr(host_port, ':');
    return net_check(host_port) == ERR_OK && port && strspn(port + 1, "0") < strlen(port + 1);
}

/* Whether the len bytes are an endpoint that the key may name. */
static bool is_allowed(const struct conf_key *key, const char *endpoint, size_t len)
{
    char host_port[ENDPOINT_MAX];
    if (begins(endpoint, ipc))
        return len > strlen(ipc);
    if (!begins(endpoint, tcp) || !key->allowed || len - strlen(tcp) >= sizeof(host_port))
        return false;
    memcpy(host_port, endpoint + strlen(tcp), len - strlen(tcp));
    host_port[len - strlen(tcp)] = '\0';
    return is_numeric(host_port) || (strcmp(key->allowed, CONF_NAMES) == 0 && net_name_check(host_port) == ERR_OK);
}

void conf_endpoint_allowed(const struct conf_key *key, char *out, size_t size)
{
    static const char numeric[] = "tcp://HOST:PORT with a numeric host or localhost, [HOST] for IPv6";
    bool names = key->allowed && strcmp(key->allowed, CONF_NAMES) == 0;
    const char *form = !key->allowed ? "" : names ? " or tcp://HOST:PORT, [HOST] for IPv6" : numeric;
    if (key->max == 1)
        snprintf(out, size, "ipc://NAME%s%s", key->allowed && !names ? " or " : "", form);
    else
        snprintf(out, size, "%lld to %lld of ipc://NAME%s%s, separated by spaces", (long long)key->min,
                 (long long)key->max, key->allowed && !names ? " or " : "", form);
}

int conf_endpoints_parse(const struct conf_key *key, const char *text, int64_t *number, char *why, size_t size)
{
    int64_t count = 0;
    for (const char *next = text + strspn(text, " "); *next != '\0'; next += strspn(next, " "), count++) {
        char allowed[256];
        size_t len = strcspn(next, " ");
        if (!is_allowed(key, next, len)) {
            conf_endpoint_allowed(key, allowed, sizeof(allowed));
            return conf_fail(ERR_INVALID, why, size, "'%.*s' is no endpoint for this key; allowed: %s",
                             len > 60 ? 60 : (int)len, next, allowed);
        }
        next += len;
    }
    if (count < key->min || count > key->max)
        return conf_fail(ERR_RANGE, why, size, "%lld endpoints are given; allowed: %lld to %lld", (long long)count,
                         (long long)key->min, (long long)key->max);
    *number = count;
    return ERR_OK;
}

static int copy_tcp(const char *address, char *out, size_t size)
{
    /* nanomsg takes "localhost" for the name of an interface. */
    int n = begins(address, local) ? snprintf(out, size, "tcp://127.0.0.1:%s", address + strlen(local))
                                   : snprintf(out, size, "%s", address);
    return n >= 0 && (size_t)n < size ? ERR_OK : ERR_RANGE;
}

int conf_address(const struct conf *conf, const char *address, char *out, size_t size)
{
    char run_dir[FS_PATH_SIZE];
    if (begins(address, tcp) && address[strlen(tcp)] != '\0')
        return copy_tcp(address, out, size);
    if (!begins(address, ipc) || address[strlen(ipc)] == '\0')
        return ERR_INVALID;
    if (size <= strlen(ipc))
        return ERR_RANGE;
    int err = conf_path(conf, CONF_COMMON_RUN_DIR, run_dir, sizeof(run_dir));
    if (err != ERR_OK)
        return err;
    char *path = out + strlen(ipc);
    memcpy(out, ipc, strlen(ipc));
    err = fs_join(path, size - strlen(ipc), run_dir, address + strlen(ipc));
    if (err != ERR_OK)
        return err;
    return strlen(path) <= IPC_PATH_MAX ? ERR_OK : ERR_RANGE;
}

int conf_endpoint(const struct conf *conf, enum conf_id id, size_t index, char *out, size_t size)
{
    char endpoint[ENDPOINT_MAX];
    const char *next = conf_str(conf, id);
    for (next += strspn(next, " "); *next != '\0'; next += strspn(next, " ")) {
        size_t len = strcspn(next, " ");
        if (index-- == 0) {
            if (len >= sizeof(endpoint))
                return ERR_RANGE;
            memcpy(endpoint, next, len);
            endpoint[len] = '\0';
            return conf_address(conf, endpoint, out, size);
        }
        next += len;
    }
    return ERR_NOTFOUND;
}

int conf_endpoint_told(const struct conf *conf, enum conf_id id, char *out, size_t size)
{
    int err = conf_endpoint(conf, id, 1, out, size);
    return err == ERR_NOTFOUND ? conf_endpoint(conf, id, 0, out, size) : err;
}
