/* SPDX-License-Identifier: MIT */
/* Customers and keys as JSON: read from bodies, with a sentence about what is wrong, and written. */
#ifndef ADMIN_JSON_H
#define ADMIN_JSON_H

#include "identity.h"

#include <jansson.h>
#include <stddef.h>

enum { ADMIN_RATE_MAX = 1000000, ADMIN_WHY_SIZE = 200 };

/* An object of at most what fits a body; an empty body is an empty object. NULL with `why` filled. Free with json_decref. */
json_t *admin_json_parse(const char *body, size_t len, char why[ADMIN_WHY_SIZE]);

/* Set the members of `object` in *customer; others stay. With `add` the id is wanted, else refused. ERR_INVALID with `why`. */
int admin_json_customer(const json_t *object, bool add, struct customer *customer, char why[ADMIN_WHY_SIZE]);
/* The same for a key's label and end. */
int admin_json_key(const json_t *object, struct customer_key *key, char why[ADMIN_WHY_SIZE]);

/* New objects; NULL when memory is short. */
json_t *admin_json_of_customer(const struct customer *customer);
json_t *admin_json_of_key(const struct customer_key *key);
/* A wall clock time as RFC 3339 in UTC; null for 0. */
json_t *admin_json_of_time(int64_t wall_us);

/* "2030-01-31T00:00:00Z", with an optional fraction. ERR_INVALID for anything else, other offsets than Z included. */
int admin_parse_time(const char *text, int64_t *wall_us);

#endif
