/* SPDX-License-Identifier: MIT */
/* One HTTP request at a time to a daemon of this machine, over a unix socket or TCP. */
#ifndef HTTP_H
#define HTTP_H

#include <stddef.h>

enum { HTTP_BODY_MAX = 4 << 20 };

struct http_request {
    const char *method;      /* "GET" */
    const char *url;         /* "http://localhost/v1/status" */
    const char *unix_socket; /* NULL: by the URL's host */
    const char *body;        /* JSON text; NULL: none */
    long timeout_ms;
};

struct http_reply {
    long status;
    char *body; /* NUL-terminated; free with http_reply_free */
    size_t len;
};

/* Send and wait for the whole answer of at most HTTP_BODY_MAX bytes, whatever its status. ERR_CLOSED: nobody listens there; ERR_TIMEOUT;
 * ERR_RANGE: the answer is too long; ERR_DENIED: the socket may not be used; ERR_IO. */
int http_call(const struct http_request *request, struct http_reply *reply);

void http_reply_free(struct http_reply *reply);

#endif
