/* SPDX-License-Identifier: MIT */
/* One epoll watch for each suspended connection, and the probe. */
#include "client_watch.h"

#include "api.h"
#include "pipeline.h"

#include <sys/epoll.h>

static void on_event(void *arg, int fd, uint32_t events)
{
    static const char probe[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct request *r = arg;
    if (events & (EPOLLHUP | EPOLLERR)) {
        pipeline_cancel(r->api->pipeline, r);
        return;
    }
    /* Nothing else is written to a suspended connection, so this cannot fall into an answer. HTTP/1.0 has no interim answers: such a client
     * is served to the end. */
    loop_watch_set(r->watch, 0);
    if (r->http11)
        (void)!send(fd, probe, sizeof(probe) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void client_watch(struct request *r)
{
    /* Without a watch the request is served all the same. */
    if (loop_watch(r->api->daemon->loop, r->conn->fd, EPOLLRDHUP, on_event, r, &r->watch) != 0)
        r->watch = NULL;
}

void client_unwatch(struct request *r)
{
    if (r->watch)
        loop_unwatch(r->watch);
    r->watch = NULL;
}
