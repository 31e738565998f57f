/* SPDX-License-Identifier: MIT */
/* The table of poisonous images, with its lock and the key of its digests. */
#include "poisoned.h"

#include "api.h"
#include "request.h"

#include "cavage/digest.h"
#include "cavage/err.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct poisoned {
    struct poison *table; /* NULL: off */
    pthread_mutex_t lock; /* guards table */
    atomic_size_t known;  /* entries, at most */
    uint8_t key[DIGEST_KEY_BYTES];
};

int poisoned_new(size_t entries, int64_t keep_us, struct poisoned **out)
{
    struct poisoned *p = calloc(1, sizeof(*p));
    int err = p ? 0 : ERR_NOMEM;
    *out = NULL;
    if (!err && entries > 0 && keep_us > 0)
        err = poison_new(entries, keep_us, &p->table);
    if (err) {
        free(p);
        return err;
    }
    randombytes_buf(p->key, sizeof(p->key));
    pthread_mutex_init(&p->lock, NULL);
    *out = p;
    return 0;
}

void poisoned_free(struct poisoned *p)
{
    if (!p)
        return;
    poison_free(p->table);
    pthread_mutex_destroy(&p->lock);
    sodium_memzero(p->key, sizeof(p->key));
    free(p);
}

static void add_piece(void *arg, const void *data, size_t len)
{
    digest_add(arg, data, len);
}

static void digest_image(const struct poisoned *p, const struct request *r, struct poisoned_digest *out)
{
    struct digest digest;
    uint8_t whole[DIGEST_BYTES];
    digest_start_keyed(&digest, p->key);
    digest_add(&digest, &r->customer, sizeof(r->customer));
    staged_each(r->api->extents, &r->staged, add_piece, &digest);
    digest_end(&digest, whole);
    memcpy(out->bytes, whole, sizeof(out->bytes));
}

void poisoned_add(struct poisoned *p, int64_t now_us, const struct request *r, struct poisoned_digest *digest)
{
    digest_image(p, r, digest);
    if (!p->table)
        return;
    pthread_mutex_lock(&p->lock);
    poison_add(p->table, now_us, digest->bytes);
    atomic_store(&p->known, poison_count(p->table, now_us));
    pthread_mutex_unlock(&p->lock);
}

bool poisoned_has(struct poisoned *p, int64_t now_us, const struct request *r)
{
    struct poisoned_digest digest;
    if (atomic_load_explicit(&p->known, memory_order_relaxed) == 0)
        return false;
    digest_image(p, r, &digest);
    pthread_mutex_lock(&p->lock);
    bool found = poison_has(p->table, now_us, digest.bytes);
    atomic_store(&p->known, poison_count(p->table, now_us));
    pthread_mutex_unlock(&p->lock);
    return found;
}

bool poisoned_is(struct poisoned *p, const struct request *r, const struct poisoned_digest *digest)
{
    struct poisoned_digest own;
    digest_image(p, r, &own);
    return memcmp(own.bytes, digest->bytes, sizeof(own.bytes)) == 0;
}
