/* SPDX-License-Identifier: MIT */
/* The one question the API asks about credentials: who sent this Authorization header? */
#ifndef CAVAGE_AUTH_H
#define CAVAGE_AUTH_H

#include "cavage/authdb.h"
#include "cavage/key.h"

#include <stdint.h>

enum auth_result {
    AUTH_OK,
    AUTH_MISSING,            /* 401: no header, or no Bearer credentials in it */
    AUTH_WRONG,              /* 401: malformed, unknown, revoked or expired key, or a wrong secret: not told apart */
    AUTH_SUSPENDED_CUSTOMER, /* 403: the key is right, its customer is suspended */
    AUTH_UNAVAILABLE         /* 503: the cache cannot tell */
};

/* Judge the value of an Authorization header (NULL: there was none). wall_us decides whether the key has expired. Any thread.
 *
 * *out is filled for OK and SUSPENDED_CUSTOMER, else zeroed. Every well-formed key costs the same hash and comparison, whether it is known or
 * not. A malformed one is AUTH_WRONG even when the cache cannot tell: no cache could make it right. */
enum auth_result auth_check(struct authdb *db, const struct key_pepper *pepper, const char *authorization,
                            int64_t wall_us, struct auth_record *out);

#endif
