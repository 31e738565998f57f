/* SPDX-License-Identifier: MIT */
/* Judges keys that bound each other, once all sources are read. */
#include "cavage/err.h"
#include "cavage/net.h"
#include "cavage/stub.h"
#include "conf_parts.h"

#include <string.h>

enum { ENDPOINT_SIZE = 512 };

/* "FILE:LINE: section.name: " of the key that is to be changed. */
static void name_key(const struct conf *conf, enum conf_id id, char *out, size_t size)
{
    const struct conf_key *key = conf_key(id);
    snprintf(out, size, "%s: %s.%s", conf_origin(conf, id), key->section, key->name);
}

static int check_extents(const struct conf *conf, char *why, size_t size)
{
    char name[384];
    int64_t extent = conf_int(conf, CONF_STAGING_EXTENT_BYTES), budget = conf_int(conf, CONF_STAGING_BUDGET_BYTES);
    name_key(conf, CONF_STAGING_EXTENT_BYTES, name, sizeof(name));
    if ((extent & (extent - 1)) != 0)
        return conf_fail(ERR_RANGE, why, size, "%s: '%.40s' is no power of two", name,
                         conf_str(conf, CONF_STAGING_EXTENT_BYTES));
    if (extent > budget)
        return conf_fail(ERR_RANGE, why, size, "%s: '%.40s' is larger than staging.budget_bytes, which is '%.40s'",
                         name, conf_str(conf, CONF_STAGING_EXTENT_BYTES), conf_str(conf, CONF_STAGING_BUDGET_BYTES));
    return ERR_OK;
}

static int check_listen(const struct conf *conf, char *why, size_t size)
{
    char name[384];
    const char *address = conf_str(conf, CONF_API_LISTEN);
    if (net_is_loopback(address) || conf_int(conf, CONF_API_ALLOW_PUBLIC_PLAINTEXT))
        return ERR_OK;
    name_key(conf, CONF_API_LISTEN, name, sizeof(name));
    return conf_fail(ERR_INVALID, why, size,
                     "%s: '%.60s' is not a loopback address: keys would cross the network unencrypted. Set "
                     "api.allow_public_plaintext = yes if a proxy before it speaks TLS",
                     name, address);
}

static int check_converter(const struct conf *conf, char *why, size_t size)
{
    char name[384];
    struct stub stub;
    int err = stub_parse(conf_str(conf, CONF_WORKER_CONVERTER), &stub);
    if (err == ERR_OK)
        return ERR_OK;
    name_key(conf, CONF_WORKER_CONVERTER, name, sizeof(name));
    return conf_fail(err, why, size,
                     "%s: '%.40s' is not known; allowed: vips, sleep:TIME or sleep:exp:TIME of at most 600s", name,
                     conf_str(conf, CONF_WORKER_CONVERTER));
}

static bool is_tcp(const char *endpoint)
{
    return strncmp(endpoint, "tcp://", strlen("tcp://")) == 0;
}

/* What answers at one kind of socket must be able to reach the other end. */
static int check_results(const struct conf *conf, char *why, size_t size)
{
    char name[384], told[ENDPOINT_SIZE], worker[ENDPOINT_SIZE];
    int err = conf_endpoint_told(conf, CONF_API_RESULTS, told, sizeof(told));
    name_key(conf, CONF_API_RESULTS, name, sizeof(name));
    if (err)
        return ERR_OK; /* too long below this run folder, which is told where it is opened */
    if (is_tcp(told) && net_is_wildcard(told + strlen("tcp://")))
        return conf_fail(ERR_INVALID, why, size,
                         "%s: workers cannot send to '%.60s'; give the address that they reach as a second endpoint",
                         name, told);
    for (size_t i = 0; conf_endpoint(conf, CONF_API_WORKERS, i, worker, sizeof(worker)) == ERR_OK; i++)
        if (is_tcp(worker) != is_tcp(told))
            return conf_fail(ERR_INVALID, why, size,
                             "%s: '%.60s' cannot be reached by the worker at '%.60s'; use tcp:// for both, or ipc://",
                             name, told, worker);
    return ERR_OK;
}

int conf_check(const struct conf *conf, char *why, size_t size)
{
    int err = check_extents(conf, why, size);
    if (err == ERR_OK)
        err = check_listen(conf, why, size);
    if (err == ERR_OK)
        err = check_converter(conf, why, size);
    return err == ERR_OK ? check_results(conf, why, size) : err;
}

int conf_check_untested(const struct conf *conf, char *why, size_t size)
{
    char name[384];
    struct stub stub;
    if (stub_parse(conf_str(conf, CONF_WORKER_CONVERTER), &stub) == ERR_OK && !stub.on)
        return ERR_OK;
    name_key(conf, CONF_WORKER_CONVERTER, name, sizeof(name));
    return conf_fail(ERR_INVALID, why, size, "%s: '%.40s' converts nothing: it is for load tests, and needs --test",
                     name, conf_str(conf, CONF_WORKER_CONVERTER));
}

int64_t conf_body_limit(const struct conf *conf)
{
    int64_t extent = conf_int(conf, CONF_STAGING_EXTENT_BYTES);
    int64_t extents = conf_int(conf, CONF_STAGING_BUDGET_BYTES) / extent;
    int64_t share = extents * conf_int(conf, CONF_STAGING_CUSTOMER_PERCENT) / 100;
    int64_t bytes = (share > 0 ? share : 1) * extent;
    int64_t longest = conf_int(conf, CONF_API_MAX_BODY_BYTES);
    return bytes < longest ? bytes : longest;
}
