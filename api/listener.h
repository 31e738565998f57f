/* SPDX-License-Identifier: MIT */
/* The listening socket and the accept loop. */
#ifndef CAVAGE_API_LISTENER_H
#define CAVAGE_API_LISTENER_H

#include "api.h"

struct listener;

/* Bind api.listen, or take the socket that systemd hands over; accept nothing yet. Errors were logged. ERR_DENIED: a public address without the word for it. */
int listener_open(struct api *api, struct listener **out);
/* Begin to accept. */
int listener_start(struct listener *l);
/* Take in what waits, then close the socket: later connections are refused by the kernel. */
void listener_close(struct listener *l);
void listener_free(struct listener *l);
/* "host:port", as bound. */
const char *listener_address(const struct listener *l);
/* Let go of connections that were refused a while ago. Call it now and then. */
void listener_sweep(struct listener *l, int64_t now_us);

#endif
