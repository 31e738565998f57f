/* SPDX-License-Identifier: MIT */
/* Reading the identity store: single things, pages of them, and the view that the cache follows. */
#include "cavage/err.h"
#include "identity.h"
#include "identity_codec.h"
#include "identity_store.h"

#include <stdlib.h>
#include <string.h>

struct identity_view {
    struct identity *identity;
    MDB_txn *txn;
};

int identity_view_open(struct identity *identity, struct identity_view **out)
{
    struct identity_view *view = calloc(1, sizeof(*view));
    if (!view)
        return ERR_NOMEM;
    view->identity = identity;
    int err = store_err(mdb_txn_begin(identity->env, NULL, MDB_RDONLY, &view->txn));
    if (err != 0) {
        free(view);
        return err;
    }
    *out = view;
    return 0;
}

void identity_view_close(struct identity_view *view)
{
    if (!view)
        return;
    mdb_txn_abort(view->txn);
    free(view);
}

int identity_view_status(struct identity_view *view, struct identity_status *out)
{
    struct identity *identity = view->identity;
    MDB_stat customers;
    MDB_stat keys;
    MDB_val value;

    memset(out, 0, sizeof(*out));
    int err = store_get_meta(view->txn, identity, "lineage", &out->lineage, sizeof(out->lineage));
    if (err == 0)
        err = store_get_meta(view->txn, identity, "revision", &out->revision, sizeof(out->revision));
    if (err == 0)
        err = store_err(mdb_stat(view->txn, identity->dbi[DB_CUSTOMERS], &customers));
    if (err == 0)
        err = store_err(mdb_stat(view->txn, identity->dbi[DB_KEYS], &keys));
    if (err != 0)
        return err == ERR_NOTFOUND ? ERR_CORRUPT : err;
    out->customers = customers.ms_entries;
    out->keys = keys.ms_entries;
    out->has_pepper = store_get(view->txn, identity, DB_META, store_text("pepper"), &value) == 0;
    return 0;
}

static void make_record(const struct customer_key *key, const struct customer *customer, struct auth_record *out)
{
    memset(out, 0, sizeof(*out));
    memcpy(out->key_id, key->key_id, sizeof(out->key_id));
    memcpy(out->customer, customer->id, sizeof(out->customer));
    memcpy(out->secret_hash, key->secret_hash, sizeof(out->secret_hash));
    out->state = customer->state;
    out->rate_per_s = customer->rate_per_s;
    out->burst = customer->burst != 0 ? customer->burst : customer->rate_per_s;
    out->expires_us = key->expires_us;
}

int identity_view_record(struct identity_view *view, const char *key_id, struct auth_record *out)
{
    struct customer_key key;
    struct customer customer;

    int err = store_get_key(view->txn, view->identity, key_id, &key);
    if (err != 0)
        return err;
    err = store_get_customer(view->txn, view->identity, key.customer, &customer);
    if (err != 0)
        return err == ERR_NOTFOUND ? ERR_CORRUPT : err;
    make_record(&key, &customer, out);
    return 0;
}

struct record_walk {
    struct identity_view *view;
    identity_record_fn fn;
    void *arg;
};

static int visit_record(void *arg, const MDB_val *key, const MDB_val *value)
{
    struct record_walk *w = arg;
    struct customer_key stored;
    struct customer customer;
    struct auth_record record;

    int err = identity_key_unpack(key->mv_data, key->mv_size, value->mv_data, value->mv_size, &stored);
    if (err == 0)
        err = store_get_customer(w->view->txn, w->view->identity, stored.customer, &customer);
    if (err != 0)
        return err == ERR_NOTFOUND ? ERR_CORRUPT : err;
    make_record(&stored, &customer, &record);
    return w->fn(w->arg, &record);
}

int identity_view_records(struct identity_view *view, identity_record_fn fn, void *arg)
{
    struct record_walk w = {.view = view, .fn = fn, .arg = arg};

    return store_walk(view->txn, view->identity, DB_KEYS, NULL, visit_record, &w);
}

struct change_walk {
    identity_change_fn fn;
    void *arg;
    uint64_t expected; /* the revision of the next entry: the log has no holes */
};

static int visit_change(void *arg, const MDB_val *key, const MDB_val *value)
{
    struct change_walk *w = arg;
    char key_id[KEY_ID_SIZE] = "";
    uint64_t revision;

    if (key->mv_size != sizeof(revision))
        return ERR_CORRUPT;
    memcpy(&revision, key->mv_data, sizeof(revision));
    if (revision != w->expected++)
        return ERR_NOTFOUND;
    if (value->mv_size == 0)
        return 0;
    if (!key_id_valid(value->mv_data, value->mv_size))
        return ERR_CORRUPT;
    memcpy(key_id, value->mv_data, value->mv_size);
    return w->fn(w->arg, key_id);
}

int identity_view_changes(struct identity_view *view, uint64_t since, identity_change_fn fn, void *arg)
{
    struct change_walk w = {.fn = fn, .arg = arg, .expected = since + 1};
    uint64_t first = since + 1;
    MDB_val from = store_val(&first, sizeof(first));
    uint64_t revision;

    int err = store_get_meta(view->txn, view->identity, "revision", &revision, sizeof(revision));
    if (err == 0)
        err = store_walk(view->txn, view->identity, DB_LOG, &from, visit_change, &w);
    if (err == 0 && w.expected != revision + 1)
        err = ERR_NOTFOUND;
    return err;
}

/* ---- Reading ---- */

int identity_status(struct identity *identity, struct identity_status *out)
{
    struct identity_view *view;

    int err = identity_view_open(identity, &view);
    if (err != 0)
        return err;
    err = identity_view_status(view, out);
    identity_view_close(view);
    return err;
}

int identity_customer_get(struct identity *identity, const char *id, struct customer *out)
{
    struct identity_view *view;

    int err = identity_view_open(identity, &view);
    if (err != 0)
        return err;
    err = store_get_customer(view->txn, identity, id, out);
    identity_view_close(view);
    return err;
}

int identity_key_get(struct identity *identity, const char *key_id, struct customer_key *out)
{
    struct identity_view *view;

    int err = identity_view_open(identity, &view);
    if (err != 0)
        return err;
    err = store_get_key(view->txn, identity, key_id, out);
    identity_view_close(view);
    return err;
}

struct page {
    struct identity_view *view;
    MDB_val after;    /* itself not part of the page */
    const char *head; /* of customer_keys: the customer */
    unsigned left;
    bool more;
    identity_customer_fn customer_fn;
    identity_key_fn key_fn;
    void *arg;
};

/* 0: show it; ERR_CLOSED: the page ends before it; ERR_EXISTS: pass over it. */
static int page_step(struct page *page, const MDB_val *key)
{
    if (key->mv_size == page->after.mv_size && memcmp(key->mv_data, page->after.mv_data, key->mv_size) == 0)
        return ERR_EXISTS;
    if (page->left == 0) {
        page->more = true;
        return ERR_CLOSED;
    }
    page->left--;
    return 0;
}

static int visit_customer(void *arg, const MDB_val *key, const MDB_val *value)
{
    struct page *page = arg;
    struct customer customer;

    int err = page_step(page, key);
    if (err != 0)
        return err == ERR_EXISTS ? 0 : err;
    err = identity_customer_unpack(key->mv_data, key->mv_size, value->mv_data, value->mv_size, &customer);
    return err == 0 ? page->customer_fn(page->arg, &customer) : err;
}

int identity_customer_list(struct identity *identity, const char *after, unsigned limit, identity_customer_fn fn,
                           void *arg, bool *more)
{
    struct page page = {.after = store_text(after), .left = limit, .customer_fn = fn, .arg = arg};

    int err = identity_view_open(identity, &page.view);
    if (err != 0)
        return err;
    err = store_walk(page.view->txn, identity, DB_CUSTOMERS, after[0] ? &page.after : NULL, visit_customer, &page);
    identity_view_close(page.view);
    *more = page.more;
    return err;
}

static int visit_pair(void *arg, const MDB_val *key, const MDB_val *value)
{
    struct page *page = arg;
    struct customer_key stored;
    char key_id[KEY_ID_SIZE];

    (void)value;
    int err = store_split_pair(key, page->head, key_id);
    if (err != 0)
        return err;
    err = page_step(page, key);
    if (err != 0)
        return err == ERR_EXISTS ? 0 : err;
    err = store_get_key(page->view->txn, page->view->identity, key_id, &stored);
    return err == 0 ? page->key_fn(page->arg, &stored) : err;
}

int identity_key_list(struct identity *identity, const char *customer, const char *after, unsigned limit,
                      identity_key_fn fn, void *arg, bool *more)
{
    struct page page = {.head = customer, .left = limit, .key_fn = fn, .arg = arg};
    struct customer owner;
    char pair[IDENTITY_PAIR_SIZE];

    if (after[0] && !key_id_valid(after, strlen(after)))
        return ERR_INVALID;
    page.after = store_val(pair, store_make_pair(customer, after, pair));
    int err = identity_view_open(identity, &page.view);
    if (err != 0)
        return err;
    err = store_get_customer(page.view->txn, identity, customer, &owner);
    if (err == 0)
        err = store_walk(page.view->txn, identity, DB_CUSTOMER_KEYS, &page.after, visit_pair, &page);
    identity_view_close(page.view);
    *more = page.more;
    return err;
}
