/* SPDX-License-Identifier: MIT */
/* What this process remembers of images that ended converters, so that sending one again ends no more of them. */
#ifndef CAVAGE_API_POISONED_H
#define CAVAGE_API_POISONED_H

#include "cavage/poison.h"

#include <stdbool.h>
#include <stdint.h>

struct api;
struct request;
struct poisoned;

/* The digest of a request's image: under a key of this process, and of each customer apart, so that nobody learns what others sent. */
struct poisoned_digest {
    uint8_t bytes[POISON_DIGEST_BYTES];
};

/* With entries or keep_us of 0 nothing is remembered. */
int poisoned_new(size_t entries, int64_t keep_us, struct poisoned **out);
void poisoned_free(struct poisoned *p);

/* Remember the staged image of the request; *digest gets its digest. Any thread, like the others. */
void poisoned_add(struct poisoned *p, int64_t now_us, const struct request *r, struct poisoned_digest *digest);
/* Whether the staged image is remembered. Costs nothing while nothing is. */
bool poisoned_has(struct poisoned *p, int64_t now_us, const struct request *r);
/* Whether the staged image of the request has this digest. */
bool poisoned_is(struct poisoned *p, const struct request *r, const struct poisoned_digest *digest);

#endif
