/* SPDX-License-Identifier: MIT */
/* Where a request ends: the headers that say so are checked here, since libmicrohttpd lets doubtful ones pass. Pure. */
#ifndef CAVAGE_API_FRAMING_H
#define CAVAGE_API_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the headers said so far. All zero is the beginning. */
struct framing {
    unsigned lengths;   /* Content-Length headers */
    unsigned codings;   /* Transfer-Encoding headers */
    unsigned hosts;     /* Host headers */
    unsigned keys;      /* Authorization headers */
    bool bad_length;    /* a Content-Length that is not a number */
    bool bad_coding;    /* a transfer coding other than chunked */
    bool bad_name;      /* a header name that is not a token */
    bool bare_cr;       /* a CR within a value */
    bool bad_target;    /* blanks or control characters in the request target */
    uint64_t length;    /* of the first Content-Length */
    size_t head_bytes;  /* of the head as it came; 0: not known */
    size_t known_bytes; /* of them, what the request line and the headers account for; counted by the caller */
};

/* Take the request target. */
void framing_target(struct framing *f, const char *target);
/* Take one header. Neither name nor value is NUL-terminated necessarily. */
void framing_header(struct framing *f, const char *name, size_t name_len, const char *value, size_t value_len);

/* After all headers: NULL, or one sentence for the client about what makes the end of the message doubtful. `http11`: the version is 1.1 or newer. */
const char *framing_problem(const struct framing *f, bool http11);

/* For a message without a problem. */
bool framing_is_chunked(const struct framing *f);
bool framing_has_length(const struct framing *f);

#endif
