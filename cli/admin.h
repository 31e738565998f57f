/* SPDX-License-Identifier: MIT */
/* A client of the management API that cavage-authcache serves on its unix socket. */
#ifndef ADMIN_H
#define ADMIN_H

#include "cavage/conf.h"
#include "record.h"

#include <stddef.h>

enum { ADMIN_PATH_SIZE = 512 };

/* One request: "POST", "/v1/customers", and the body, borrowed, or NULL. *out gets the answer's object (free with record_free; NULL for an
 * empty answer). On failure `why` says so in a sentence: ERR_NOTFOUND 404, ERR_EXISTS 409, ERR_INVALID any other refusal, ERR_CLOSED when
 * nobody serves the socket, ERR_DENIED, ERR_AGAIN 503, ERR_TIMEOUT, ERR_IO. */
int admin_call(const struct conf *conf, const char *method, const char *path, struct record *body, struct record **out,
               char *why, size_t size);

/* All items of a paged list: the array `member` of every page, as one array in *out. */
int admin_list(const struct conf *conf, const char *path, const char *member, struct record **out, char *why,
               size_t size);

/* "PREFIX/<id>SUFFIX" with an id from the command line. ERR_INVALID for an id with other characters than A-Z a-z 0-9 - . _ */
int admin_path(const char *prefix, const char *id, const char *suffix, char *out, size_t size);

#endif
