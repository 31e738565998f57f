/* SPDX-License-Identifier: MIT */
/* Notices clients that leave while their connection is suspended, when libmicrohttpd does not look. Loop thread.
 *
 * A FIN alone does not tell: the client may have closed, or only be done with sending and still read. So a client that sent one is written
 * "100 Continue", which every HTTP/1.1 client passes over: a closed socket answers that with a reset, and then it is gone for certain. */
#ifndef CAVAGE_API_CLIENT_WATCH_H
#define CAVAGE_API_CLIENT_WATCH_H

#include "request.h"

/* Begin to watch the connection of a request that is QUEUED; pipeline_cancel is called when its client is gone. */
void client_watch(struct request *r);
/* Before the connection is resumed. Does nothing for one that is not watched. */
void client_unwatch(struct request *r);

#endif
