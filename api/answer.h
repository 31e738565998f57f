/* SPDX-License-Identifier: MIT */
/* An answer as a status, header fields and a body, made from what is known of a request; and its raw text for when it is written past libmicrohttpd. */
#ifndef CAVAGE_API_ANSWER_H
#define CAVAGE_API_ANSWER_H

#include "request.h"

enum { ANSWER_FIELDS_MAX = 16, ANSWER_VALUE_SIZE = 192, ANSWER_RAW_SIZE = 8192 };

struct answer_field {
    const char *name;
    char value[ANSWER_VALUE_SIZE];
};

struct answer {
    unsigned status;
    struct answer_field fields[ANSWER_FIELDS_MAX];
    size_t field_count;
    const void *body; /* in the request, or in json below */
    size_t body_len;
    char json[PROBLEM_JSON_SIZE];
};

/* Make the answer. `random` spreads Retry-After; `close` says that the connection ends with it. */
void answer_make(const struct request *r, bool close, uint32_t random, struct answer *out);
/* The answer to a request that is not over, with a problem that is not the request's own; it closes the connection. Reads only what was set at the
 * head. */
void answer_early(const struct request *r, const struct problem *problem, uint32_t random, struct answer *out);
/* The whole HTTP/1.1 message of a short answer. Returns its length, at most ANSWER_RAW_SIZE. */
size_t answer_raw(const struct answer *a, char out[ANSWER_RAW_SIZE]);
/* The same for a problem of a client that has no request yet: a connection too many, or one that was too slow. */
size_t answer_raw_problem(const struct problem *problem, uint32_t random, char out[ANSWER_RAW_SIZE]);

#endif
