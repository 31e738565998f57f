/* SPDX-License-Identifier: MIT */
/* What the management API answers to each request; without HTTP, so that it is tested without it. */
#ifndef ADMIN_API_H
#define ADMIN_API_H

#include "cache.h"
#include "identity.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ADMIN_BODY_MAX = 64 * 1024 };

/* What requests act on. Borrowed; one thread at a time. */
struct authority {
    struct identity *identity;
    struct cache *cache;
    struct key_pepper pepper;
    uint64_t steps[CACHE_STEPS]; /* successful syncs, by what they took; whoever reports them sets them back */
};

/* Bring the cache to the store's revision, and count it. */
int authority_sync(struct authority *authority, int64_t wall_us);

struct admin_request {
    const char *method;
    const char *path;  /* decoded, without the query */
    const char *limit; /* of the query; NULL: not given */
    const char *after;
    const char *unknown; /* a query parameter with another name, or one given twice; NULL: none */
    const char *body;    /* not NUL-terminated */
    size_t body_len;
};

struct admin_reply {
    unsigned status;
    char *body; /* JSON, or NULL when there is none; the caller gives it to admin_reply_wipe */
    size_t len;
    const char *allow;  /* of a 405; else NULL */
    char location[128]; /* of a 201; else empty */
};

/* Answer one request. A change is durable, and in force in this host's cache, when its 2xx is returned. The reply is always complete; its body is
 * NULL, and its status 500, when memory is short. */
void admin_handle(struct authority *authority, const struct admin_request *request, int64_t wall_us,
                  struct admin_reply *reply);

/* The same form for a refusal that was found while reading the request. */
void admin_refuse(struct admin_reply *reply, unsigned status, const char *type, const char *title, const char *detail);

/* Wipe and free the body: it may hold a new key. */
void admin_reply_wipe(struct admin_reply *reply);

#endif
