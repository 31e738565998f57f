/* SPDX-License-Identifier: MIT */
/* Refusals as RFC 9457 describes them: one table of stable types, and the writer of application/problem+json. Pure. */
#ifndef CAVAGE_PROBLEM_H
#define CAVAGE_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every refusal there is. The names in the table are a promise to clients: add, never rename. */
enum problem_type {
    PROBLEM_NONE,
    PROBLEM_BAD_FRAMING,        /* 400: where the message ends is not certain */
    PROBLEM_BAD_PARAMETER,      /* 400 */
    PROBLEM_BAD_BODY,           /* 400: multipart that is none, or has no file */
    PROBLEM_EMPTY_BODY,         /* 400 */
    PROBLEM_UNAUTHORIZED,       /* 401: no key */
    PROBLEM_WRONG_KEY,          /* 401 */
    PROBLEM_SUSPENDED,          /* 403 */
    PROBLEM_NOT_FOUND,          /* 404 */
    PROBLEM_METHOD_NOT_ALLOWED, /* 405 */
    PROBLEM_REQUEST_TIMEOUT,    /* 408: the request did not arrive in time */
    PROBLEM_LENGTH_REQUIRED,    /* 411 */
    PROBLEM_BODY_TOO_LARGE,     /* 413 */
    PROBLEM_NOT_AN_IMAGE,       /* 415 */
    PROBLEM_UNDECODABLE,        /* 422 */
    PROBLEM_IMAGE_TOO_LARGE,    /* 422 */
    PROBLEM_POISON,             /* 422: it ended two converters */
    PROBLEM_RATE_LIMITED,       /* 429 */
    PROBLEM_SHARE_USED,         /* 429: this customer's share of memory or queue */
    PROBLEM_INTERNAL,           /* 500 */
    PROBLEM_OVERLOADED,         /* 503 */
    PROBLEM_DRAINING,           /* 503 */
    PROBLEM_NOT_READY,          /* 503 */
    PROBLEM_LOST,               /* 503: its worker was lost, and it may not be tried again */
    PROBLEM_DEADLINE,           /* 504 */
    PROBLEM_NOT_ACCEPTABLE,     /* 406: no form of the answer is among those of Accept */
    PROBLEM_COUNT
};

enum { PROBLEM_DETAIL_SIZE = 320, PROBLEM_JSON_SIZE = 4096 };

/* What is known of one refusal. All zero but type is complete. */
struct problem {
    enum problem_type type;
    char detail[PROBLEM_DETAIL_SIZE]; /* one sentence for this case; may be empty */
    char parameter[64];               /* the parameter that is wrong; may be empty */
    char output[40];                  /* the output of several that it is about; may be empty */
    bool has_limit;                   /* the two below are known */
    uint64_t limit;                   /* what is allowed */
    uint64_t actual;                  /* what there was; 0: not known */
};

/* Set type and a formatted detail; the rest becomes zero. Text that does not fit is cut. */
void problem_set(struct problem *p, enum problem_type type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Name the parameter that is wrong; cut at what fits. */
void problem_set_parameter(struct problem *p, const char *name);
/* What is allowed, and what there was; 0: not known. */
void problem_set_limit(struct problem *p, uint64_t limit, uint64_t actual);

unsigned problem_status(enum problem_type type);
/* "bad_parameter": the end of the type, and what usage records and metrics call it; "ok" for PROBLEM_NONE. */
const char *problem_name(enum problem_type type);
const char *problem_title(enum problem_type type);
/* Whether the answer carries Retry-After. */
bool problem_may_retry(enum problem_type type);

/* Seconds for Retry-After: at least wait_us, then spread by `random` (any bits) so that clients do not come back together. */
unsigned problem_retry_after_s(int64_t wait_us, uint32_t random);

/* Write the JSON object with a newline; bytes that are not UTF-8 become U+FFFD. Always fits. Returns its length. */
size_t problem_json(const struct problem *p, const char *request_id, char out[PROBLEM_JSON_SIZE]);

#endif
