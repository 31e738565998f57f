/* SPDX-License-Identifier: MIT */
/* libmicrohttpd: the threads that speak HTTP, and the steps of each request on them. */
#ifndef CAVAGE_API_HTTP_H
#define CAVAGE_API_HTTP_H

#include "request.h"

#include <sys/socket.h>

struct http;

/* Start the HTTP threads. They have no listening socket; connections come by http_add. */
int http_start(struct api *api, struct http **out);
/* Close all connections and join the threads. No request is in QUEUED any more, and none of another thread's calls is under way. */
void http_stop(struct http *http);

/* Hand over a connection that is in the table; its descriptor belongs to libmicrohttpd from here on, also on failure. */
int http_add(struct http *http, int fd, const struct sockaddr *address, socklen_t len);

/* A request has its answer, or its client is gone: let the HTTP thread of its exchange go on. Loop thread. */
void http_resume(void *exchange);

#endif
