/* SPDX-License-Identifier: MIT */
/* Reads answers of HTTP/1.1 as they arrive, and keeps what a load tool counts. A library that drives connections itself would put its own cost
 * and timing between the schedule and the socket, so this much is done here. Pure. */
#ifndef HTTP_ANSWER_H
#define HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_ANSWER_LINE = 1024, HTTP_ANSWER_HEAD_MAX = 64 * 1024, HTTP_ANSWER_KEPT = 1024 };

/* What Server-Timing tells. */
enum http_timing { HTTP_TIMING_AUTH, HTTP_TIMING_STAGE, HTTP_TIMING_QUEUE, HTTP_TIMING_CONVERT, HTTP_TIMING_COUNT };
extern const char *const http_timing_names[HTTP_TIMING_COUNT];

enum http_answer_state {
    HTTP_ANSWER_STATUS,       /* in the status line; zero */
    HTTP_ANSWER_FIELDS,       /* in a header field */
    HTTP_ANSWER_BODY,         /* `left` bytes of it to come */
    HTTP_ANSWER_CHUNK_SIZE,   /* in the line before a chunk */
    HTTP_ANSWER_CHUNK,        /* `left` bytes of it to come */
    HTTP_ANSWER_CHUNK_END,    /* in the line break after it */
    HTTP_ANSWER_TRAILER,      /* in the fields after the last chunk */
    HTTP_ANSWER_UNTIL_CLOSED, /* the body ends with the connection */
    HTTP_ANSWER_DONE
};

/* One answer; see http_answer_start. */
struct http_answer {
    enum http_answer_state state;
    unsigned status;
    bool close;   /* the connection takes no further request */
    bool chunked; /* the body comes in chunks */
    bool problem; /* its Content-Type is application/problem+json */
    bool has_length;
    uint64_t left;
    uint64_t body_bytes;
    int64_t timing_us[HTTP_TIMING_COUNT]; /* -1: not told */
    size_t head_bytes;
    size_t line_len; /* may exceed what `line` holds: the rest was cut */
    size_t kept_len;
    char line[HTTP_ANSWER_LINE];
    char kept[HTTP_ANSWER_KEPT]; /* the beginning of the body of a problem */
};

void http_answer_start(struct http_answer *a);

/* Read on. ERR_OK when the answer is complete, with *used bytes of the data its own; ERR_AGAIN when there is more to come; ERR_INVALID for what
 * is not an answer. Interim answers (1xx) are skipped. */
int http_answer_feed(struct http_answer *a, const char *data, size_t len, size_t *used);

/* The connection was closed. ERR_OK when that ends the answer, ERR_CLOSED when something is missing. */
int http_answer_closed(struct http_answer *a);

#endif
