/* SPDX-License-Identifier: MIT */
/* Lines and bodies of an HTTP/1.1 answer. */
#include "http_answer.h"

#include "cavage/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const http_timing_names[HTTP_TIMING_COUNT] = {"auth", "stage", "queue", "convert"};

void http_answer_start(struct http_answer *a)
{
    a->state = HTTP_ANSWER_STATUS;
    a->status = 0;
    a->close = a->chunked = a->problem = a->has_length = false;
    a->left = a->body_bytes = 0;
    a->head_bytes = a->line_len = a->kept_len = 0;
    for (size_t i = 0; i < HTTP_TIMING_COUNT; i++)
        a->timing_us[i] = -1;
}

/* A number of the base, and nothing that strtoull would take beside it. */
static int read_number(const char *text, int base, uint64_t *out, const char **end)
{
    char *stop;
    static const char digits[] = "0123456789abcdefABCDEF";
    if (!*text || !memchr(digits, *text, base == 16 ? sizeof(digits) - 1 : 10))
        return ERR_INVALID;
    errno = 0;
    *out = strtoull(text, &stop, base);
    *end = stop;
    return errno == 0 && *out <= INT64_MAX ? ERR_OK : ERR_RANGE;
}

static int read_status(struct http_answer *a)
{
    const char *line = a->line, *end;
    uint64_t status;
    if (strncmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') || line[8] != ' ')
        return ERR_INVALID;
    if (read_number(line + 9, 10, &status, &end) != ERR_OK || end != line + 12 || (*end && *end != ' ') || status < 100)
        return ERR_INVALID;
    a->status = (unsigned)status;
    a->close = line[7] == '0';
    a->state = HTTP_ANSWER_FIELDS;
    return ERR_OK;
}

/* "queue;dur=1.250, convert;dur=20.5": milliseconds. */
static void read_timing(struct http_answer *a, const char *value)
{
    for (const char *p = value; p; p = strchr(p, ',')) {
        p += strspn(p, ", \t");
        for (size_t i = 0; i < HTTP_TIMING_COUNT; i++) {
            size_t n = strlen(http_timing_names[i]);
            if (strncmp(p, http_timing_names[i], n) != 0 || strncmp(p + n, ";dur=", 5) != 0)
                continue;
            double ms = strtod(p + n + 5, NULL);
            if (ms >= 0 && ms < 1e9)
                a->timing_us[i] = (int64_t)(ms * 1000 + 0.5);
        }
    }
}

static int read_field(struct http_answer *a)
{
    char *colon = strchr(a->line, ':');
    const char *value = colon ? colon + 1 : "", *end;
    if (!colon)
        return ERR_INVALID;
    *colon = '\0';
    value += strspn(value, " \t");
    if (strcasecmp(a->line, "Content-Length") == 0) {
        if (a->has_length || read_number(value, 10, &a->left, &end) != ERR_OK || end[strspn(end, " \t")])
            return ERR_INVALID;
        a->has_length = true;
    } else if (strcasecmp(a->line, "Transfer-Encoding") == 0) {
        a->chunked = strcasecmp(value, "chunked") == 0;
        return a->chunked ? ERR_OK : ERR_INVALID;
    } else if (strcasecmp(a->line, "Connection") == 0) {
        a->close = strncasecmp(value, "close", 5) == 0 || (a->close && strncasecmp(value, "keep-alive", 10) != 0);
    } else if (strcasecmp(a->line, "Content-Type") == 0) {
        a->problem = strncasecmp(value, "application/problem+json", 24) == 0;
    } else if (strcasecmp(a->line, "Server-Timing") == 0) {
        read_timing(a, value);
    }
    return ERR_OK;
}

static int end_head(struct http_answer *a)
{
    if (a->status < 200) {
        http_answer_start(a);
        return ERR_OK;
    }
    if (a->chunked && a->has_length)
        return ERR_INVALID;
    if (a->status == 204 || a->status == 304 || (a->has_length && a->left == 0))
        a->state = HTTP_ANSWER_DONE;
    else if (a->chunked)
        a->state = HTTP_ANSWER_CHUNK_SIZE;
    else
        a->state = a->has_length ? HTTP_ANSWER_BODY : HTTP_ANSWER_UNTIL_CLOSED;
    a->close = a->close || a->state == HTTP_ANSWER_UNTIL_CLOSED;
    return ERR_OK;
}

static int read_chunk_size(struct http_answer *a)
{
    const char *end;
    if (read_number(a->line, 16, &a->left, &end) != ERR_OK || (*end && !strchr("; \t", *end)))
        return ERR_INVALID;
    a->state = a->left > 0 ? HTTP_ANSWER_CHUNK : HTTP_ANSWER_TRAILER;
    return ERR_OK;
}

/* A whole line, without its end. */
static int read_line(struct http_answer *a)
{
    switch (a->state) {
    case HTTP_ANSWER_STATUS:
        return read_status(a);
    case HTTP_ANSWER_FIELDS:
        return a->line_len == 0 ? end_head(a) : read_field(a);
    case HTTP_ANSWER_CHUNK_SIZE:
        return read_chunk_size(a);
    case HTTP_ANSWER_CHUNK_END:
        a->state = HTTP_ANSWER_CHUNK_SIZE;
        return a->line_len == 0 ? ERR_OK : ERR_INVALID;
    default:
        if (a->line_len == 0)
            a->state = HTTP_ANSWER_DONE;
        return ERR_OK;
    }
}

/* Bytes up to the end of a line or of the data. */
static int feed_line(struct http_answer *a, const char *data, size_t len, size_t *used)
{
    const char *end = memchr(data, '\n', len);
    size_t n = end ? (size_t)(end - data) : len;
    size_t room = a->line_len < sizeof(a->line) - 1 ? sizeof(a->line) - 1 - a->line_len : 0;
    memcpy(a->line + (sizeof(a->line) - 1 - room), data, n < room ? n : room);
    a->line_len += n;
    *used = n + (end ? 1 : 0);
    a->head_bytes += *used;
    if (a->head_bytes > HTTP_ANSWER_HEAD_MAX)
        return ERR_INVALID;
    if (!end)
        return ERR_OK;
    size_t kept = a->line_len < sizeof(a->line) - 1 ? a->line_len : sizeof(a->line) - 1;
    if (kept > 0 && kept == a->line_len && a->line[kept - 1] == '\r')
        a->line_len = --kept;
    a->line[kept] = '\0';
    int err = read_line(a);
    a->line_len = 0;
    return err;
}

static void feed_body(struct http_answer *a, const char *data, size_t len, size_t *used)
{
    bool bounded = a->state != HTTP_ANSWER_UNTIL_CLOSED;
    size_t n = bounded && a->left < len ? (size_t)a->left : len;
    size_t room = a->problem ? sizeof(a->kept) - a->kept_len : 0, keep = n < room ? n : room;
    memcpy(a->kept + a->kept_len, data, keep);
    a->kept_len += keep;
    a->body_bytes += n;
    *used = n;
    if (!bounded || (a->left -= n) > 0)
        return;
    /* The lines of a body are no part of the head. */
    a->head_bytes = 0;
    a->state = a->state == HTTP_ANSWER_BODY ? HTTP_ANSWER_DONE : HTTP_ANSWER_CHUNK_END;
}

int http_answer_feed(struct http_answer *a, const char *data, size_t len, size_t *used)
{
    int err = ERR_OK;
    *used = 0;
    while (*used < len && a->state != HTTP_ANSWER_DONE && err == ERR_OK) {
        size_t n = 0;
        if (a->state == HTTP_ANSWER_BODY || a->state == HTTP_ANSWER_CHUNK || a->state == HTTP_ANSWER_UNTIL_CLOSED)
            feed_body(a, data + *used, len - *used, &n);
        else
            err = feed_line(a, data + *used, len - *used, &n);
        *used += n;
    }
    return err != ERR_OK ? err : a->state == HTTP_ANSWER_DONE ? ERR_OK : ERR_AGAIN;
}

int http_answer_closed(struct http_answer *a)
{
    if (a->state == HTTP_ANSWER_UNTIL_CLOSED)
        a->state = HTTP_ANSWER_DONE;
    return a->state == HTTP_ANSWER_DONE ? ERR_OK : ERR_CLOSED;
}
