/* SPDX-License-Identifier: MIT */
/* The routes of the management API, and what each of them does. */
#include "admin_api.h"

#include "admin_json.h"
#include "cavage/err.h"
#include "cavage/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 1000, KEY_TRIES = 3 };

struct call {
    struct authority *authority;
    const struct admin_request *request;
    struct admin_reply *reply;
    int64_t wall_us;
    char id[CUSTOMER_ID_SIZE]; /* the variable part of the path: a customer's id or a key's */
};

int authority_sync(struct authority *authority, int64_t wall_us)
{
    enum cache_step step;

    int err = cache_sync(authority->cache, authority->identity, wall_us, &step);
    if (err == 0)
        authority->steps[step]++;
    return err;
}

/* ---- Replies ---- */

/* Takes the object over. */
static void reply_json(struct admin_reply *reply, unsigned status, json_t *object)
{
    reply->status = status;
    reply->body = object ? json_dumps(object, JSON_COMPACT) : NULL;
    reply->len = reply->body ? strlen(reply->body) : 0;
    if (!reply->body)
        reply->status = 500;
    json_decref(object);
}

void admin_refuse(struct admin_reply *reply, unsigned status, const char *type, const char *title, const char *detail)
{
    reply_json(reply, status,
               json_pack("{s:s+, s:s, s:i, s:s*}", "type", "/problems/", type, "title", title, "status", (int)status,
                         "detail", detail));
}

void admin_reply_wipe(struct admin_reply *reply)
{
    if (reply->body) {
        explicit_bzero(reply->body, reply->len);
        free(reply->body);
    }
    reply->body = NULL;
    reply->len = 0;
}

static void refuse_bad(struct call *c, const char *why)
{
    admin_refuse(c->reply, 400, "bad_request", "The request is malformed.", why);
}

static void refuse_missing(struct call *c, const char *detail)
{
    admin_refuse(c->reply, 404, "not_found", "There is no such thing.", detail);
}

static const struct {
    int err;
    unsigned status;
    const char *type;
    const char *title;
} refusals[] = {
    {ERR_NOTFOUND, 404, "not_found", "There is no such thing."},
    {ERR_EXISTS, 409, "exists", "It is there already."},
    {ERR_RANGE, 409, "too_many_keys", "The customer has as many keys as one may have."},
    {ERR_FULL, 507, "store_full", "The store is as large as authcache.map_bytes allows."},
};

static void refuse_err(struct call *c, int err)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        if (refusals[i].err == err) {
            admin_refuse(c->reply, refusals[i].status, refusals[i].type, refusals[i].title, NULL);
            return;
        }
    }
    admin_refuse(c->reply, 500, "internal", "The identity store failed.", err_text(err));
}

/* The change is stored; false, with the refusal, when it is not in force yet. */
static bool take_effect(struct call *c)
{
    if (authority_sync(c->authority, c->wall_us) == 0)
        return true;
    admin_refuse(c->reply, 503, "not_in_force", "The change is stored, but not in force on this host yet.",
                 "It will be as soon as the cache can be written; there is no need to ask again.");
    return false;
}

/* ---- Lists ---- */

struct list {
    json_t *items;
    char last[CUSTOMER_ID_SIZE];
};

static int list_customer(void *arg, const struct customer *customer)
{
    struct list *list = arg;

    memcpy(list->last, customer->id, sizeof(customer->id));
    return json_array_append_new(list->items, admin_json_of_customer(customer)) == 0 ? 0 : ERR_NOMEM;
}

static int list_key(void *arg, const struct customer_key *key)
{
    struct list *list = arg;

    memcpy(list->last, key->key_id, sizeof(key->key_id));
    return json_array_append_new(list->items, admin_json_of_key(key)) == 0 ? 0 : ERR_NOMEM;
}

static bool read_limit(struct call *c, unsigned *limit)
{
    const char *text = c->request->limit;
    unsigned value = 0;

    *limit = LIMIT_DEFAULT;
    if (!text)
        return true;
    size_t digits = strspn(text, "0123456789");
    if (digits > 0 && digits <= 4 && text[digits] == '\0')
        value = (unsigned)strtoul(text, NULL, 10);
    if (value < 1 || value > LIMIT_MAX) {
        refuse_bad(c, "limit must be a whole number from 1 to 1000.");
        return false;
    }
    *limit = value;
    return true;
}

static void reply_list(struct call *c, const char *member, struct list *list, bool more, int err)
{
    if (err != 0) {
        json_decref(list->items);
        refuse_err(c, err);
        return;
    }
    json_t *next = more ? json_string(list->last) : json_null();
    reply_json(c->reply, 200, json_pack("{s:o, s:o}", member, list->items, "next", next));
}

static void customers_get(struct call *c)
{
    const char *after = c->request->after ? c->request->after : "";
    struct list list = {0};
    bool more = false;
    unsigned limit;

    if (!read_limit(c, &limit))
        return;
    if (after[0] && customer_id_check(after) != 0) {
        refuse_bad(c, "after must be the id of a customer.");
        return;
    }
    list.items = json_array();
    int err = identity_customer_list(c->authority->identity, after, limit, list_customer, &list, &more);
    reply_list(c, "customers", &list, more, err);
}

static void customer_keys_get(struct call *c)
{
    const char *after = c->request->after ? c->request->after : "";
    struct list list = {0};
    bool more = false;
    unsigned limit;

    if (!read_limit(c, &limit))
        return;
    if (after[0] && !key_id_valid(after, strlen(after))) {
        refuse_bad(c, "after must be the id of a key.");
        return;
    }
    list.items = json_array();
    int err = identity_key_list(c->authority->identity, c->id, after, limit, list_key, &list, &more);
    reply_list(c, "keys", &list, more, err);
}

/* ---- Customers ---- */

static bool read_customer(struct call *c, bool add, struct customer *customer)
{
    char why[ADMIN_WHY_SIZE] = "";

    json_t *object = admin_json_parse(c->request->body, c->request->body_len, why);
    bool good = object && admin_json_customer(object, add, customer, why) == 0;
    json_decref(object);
    if (!good)
        refuse_bad(c, why);
    return good;
}

static void customers_post(struct call *c)
{
    struct customer customer = {.state = AUTH_ACTIVE, .created_us = c->wall_us};

    if (!read_customer(c, true, &customer))
        return;
    int err = identity_customer_add(c->authority->identity, &customer);
    if (err != 0) {
        refuse_err(c, err);
        return;
    }
    if (!take_effect(c))
        return;
    snprintf(c->reply->location, sizeof(c->reply->location), "/v1/customers/%s", customer.id);
    reply_json(c->reply, 201, admin_json_of_customer(&customer));
}

static void customer_get(struct call *c)
{
    struct customer customer;

    int err = identity_customer_get(c->authority->identity, c->id, &customer);
    if (err != 0)
        refuse_err(c, err);
    else
        reply_json(c->reply, 200, admin_json_of_customer(&customer));
}

static void customer_patch(struct call *c)
{
    struct customer customer;

    int err = identity_customer_get(c->authority->identity, c->id, &customer);
    if (err == 0 && !read_customer(c, false, &customer))
        return;
    if (err == 0)
        err = identity_customer_update(c->authority->identity, &customer);
    if (err != 0)
        refuse_err(c, err);
    else if (take_effect(c))
        reply_json(c->reply, 200, admin_json_of_customer(&customer));
}

static void customer_delete(struct call *c)
{
    int err = identity_customer_remove(c->authority->identity, c->id);

    if (err != 0)
        refuse_err(c, err);
    else if (take_effect(c))
        c->reply->status = 204;
}

/* ---- Keys ---- */

/* The object with the key's text as its last member. It is put in by hand, so that no copy of it stays in the JSON library's memory. */
static void reply_new_key(struct admin_reply *reply, const struct customer_key *stored, const struct key *key)
{
    char secret[KEY_TEXT_SIZE] = "";
    struct admin_reply plain = {0};

    reply_json(&plain, 201, admin_json_of_key(stored));
    size_t size = plain.len + sizeof(secret) + sizeof(",\"key\":\"\"}");
    char *body = plain.body ? malloc(size) : NULL;
    reply->status = body ? 201 : 500;
    if (body) {
        key_text(key, secret);
        int n = snprintf(body, size, "%.*s,\"key\":\"%s\"}", (int)plain.len - 1, plain.body, secret);
        reply->body = body;
        reply->len = (size_t)n;
    }
    explicit_bzero(secret, sizeof(secret));
    admin_reply_wipe(&plain);
}

static int store_new_key(struct call *c, struct customer_key *stored, struct key *key)
{
    int err = ERR_EXISTS;

    /* Two keys of one id are not to be expected in this world; but the store would refuse the second. */
    for (int i = 0; err == ERR_EXISTS && i < KEY_TRIES; i++) {
        err = key_generate(key);
        if (err != 0)
            break;
        memcpy(stored->key_id, key->id, sizeof(stored->key_id));
        key_hash(key, &c->authority->pepper, stored->secret_hash);
        err = identity_key_add(c->authority->identity, stored);
    }
    return err;
}

static void customer_keys_post(struct call *c)
{
    struct customer_key stored = {.created_us = c->wall_us};
    char why[ADMIN_WHY_SIZE] = "";
    struct key key = {0};

    json_t *object = admin_json_parse(c->request->body, c->request->body_len, why);
    bool good = object && admin_json_key(object, &stored, why) == 0;
    json_decref(object);
    if (good && stored.expires_us != 0 && stored.expires_us <= c->wall_us) {
        good = false;
        snprintf(why, sizeof(why), "expires has to be in the future: this key would never work.");
    }
    if (!good) {
        refuse_bad(c, why);
        return;
    }
    memcpy(stored.customer, c->id, sizeof(stored.customer));
    int err = store_new_key(c, &stored, &key);
    if (err != 0) {
        refuse_err(c, err);
    } else if (authority_sync(c->authority, c->wall_us) == 0) {
        reply_new_key(c->reply, &stored, &key);
    } else {
        /* Its secret is told now or never; one that does not work yet is better not made. */
        (void)identity_key_remove(c->authority->identity, stored.key_id);
        admin_refuse(c->reply, 503, "not_in_force", "No key was made.",
                     "This host's cache cannot be written; try again.");
    }
    key_wipe(&key);
}

static void key_delete(struct call *c)
{
    int err = identity_key_remove(c->authority->identity, c->id);

    if (err != 0)
        refuse_err(c, err);
    else if (take_effect(c))
        c->reply->status = 204;
}

/* ---- Status ---- */

static void status_get(struct call *c)
{
    struct identity_status status;
    struct auth_head head = {0};
    char lineage[ID_HEX_SIZE];

    int err = identity_status(c->authority->identity, &status);
    if (err != 0) {
        refuse_err(c, err);
        return;
    }
    (void)cache_head(c->authority->cache, &head); /* zeros: the cache cannot be read, and serves nobody */
    id_to_hex(&status.lineage, lineage);
    int64_t lag_us = c->wall_us > head.synced_us ? c->wall_us - head.synced_us : 0;
    json_t *lag_ms = head.synced_us != 0 ? json_integer(lag_us / 1000) : json_null();
    reply_json(c->reply, 200,
               json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:o, s:o}", "version", CAVAGE_VERSION, "lineage", lineage,
                         "revision", (json_int_t)status.revision, "customers", (json_int_t)status.customers, "keys",
                         (json_int_t)status.keys, "cache_revision", (json_int_t)head.revision, "cache_complete",
                         (int)head.complete, "cache_synced", admin_json_of_time(head.synced_us), "cache_lag_ms",
                         lag_ms));
}

/* ---- Routes ---- */

enum id_kind { ID_NONE, ID_CUSTOMER, ID_KEY };

static const struct route {
    const char *prefix;
    enum id_kind id; /* what follows the prefix */
    const char *suffix;
    const char *method;
    bool paged; /* takes limit and after */
    void (*handle)(struct call *c);
} routes[] = {
    {"/v1/customers", ID_NONE, "", "GET", true, customers_get},
    {"/v1/customers", ID_NONE, "", "POST", false, customers_post},
    {"/v1/customers/", ID_CUSTOMER, "", "GET", false, customer_get},
    {"/v1/customers/", ID_CUSTOMER, "", "PATCH", false, customer_patch},
    {"/v1/customers/", ID_CUSTOMER, "", "DELETE", false, customer_delete},
    {"/v1/customers/", ID_CUSTOMER, "/keys", "GET", true, customer_keys_get},
    {"/v1/customers/", ID_CUSTOMER, "/keys", "POST", false, customer_keys_post},
    {"/v1/keys/", ID_KEY, "", "DELETE", false, key_delete},
    {"/v1/status", ID_NONE, "", "GET", false, status_get},
};

/* What a 405 allows, by prefix and suffix. */
static const struct {
    const char *prefix;
    const char *suffix;
    const char *allow;
} allowed[] = {
    {"/v1/customers", "", "GET, POST"},
    {"/v1/customers/", "", "GET, PATCH, DELETE"},
    {"/v1/customers/", "/keys", "GET, POST"},
    {"/v1/keys/", "", "DELETE"},
    {"/v1/status", "", "GET"},
};

static bool id_good(enum id_kind kind, const char *id)
{
    return kind == ID_CUSTOMER ? customer_id_check(id) == 0 : key_id_valid(id, strlen(id));
}

/* True when the path has the route's form; its id, cut to what fits, in `id`. */
static bool route_matches(const struct route *route, const char *path, char id[CUSTOMER_ID_SIZE])
{
    size_t prefix = strlen(route->prefix);

    if (strncmp(path, route->prefix, prefix) != 0)
        return false;
    path += prefix;
    if (route->id == ID_NONE)
        return path[0] == '\0';
    size_t len = strcspn(path, "/");
    if (len == 0 || strcmp(path + len, route->suffix) != 0)
        return false;
    snprintf(id, CUSTOMER_ID_SIZE, "%.*s", len < CUSTOMER_ID_SIZE ? (int)len : 0, path);
    return true;
}

static const char *allow_of(const struct route *route)
{
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        if (strcmp(allowed[i].prefix, route->prefix) == 0 && strcmp(allowed[i].suffix, route->suffix) == 0)
            return allowed[i].allow;
    }
    return "";
}

static void run(struct call *c, const struct route *route)
{
    const struct admin_request *r = c->request;

    if (route->id != ID_NONE && !id_good(route->id, c->id))
        refuse_missing(c, "No id has this form.");
    else if (r->unknown || (!route->paged && (r->limit || r->after)))
        refuse_bad(c, route->paged ? "The query may have limit and after, each once." : "No query is taken here.");
    else
        route->handle(c);
}

void admin_handle(struct authority *authority, const struct admin_request *request, int64_t wall_us,
                  struct admin_reply *reply)
{
    struct call c = {.authority = authority, .request = request, .reply = reply, .wall_us = wall_us};
    const struct route *other = NULL;

    memset(reply, 0, sizeof(*reply));
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (!route_matches(&routes[i], request->path, c.id))
            continue;
        other = &routes[i];
        if (strcmp(other->method, request->method) == 0) {
            run(&c, other);
            return;
        }
    }
    if (!other) {
        refuse_missing(&c, "See /v1/customers, /v1/keys/{key id} and /v1/status.");
        return;
    }
    reply->allow = allow_of(other);
    admin_refuse(reply, 405, "method_not_allowed", "This path takes other methods; Allow names them.", NULL);
}
