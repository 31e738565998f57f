/* SPDX-License-Identifier: MIT */
/* The management API over HTTP on a unix socket, served on the daemon's own loop. */
#ifndef ADMIN_H
#define ADMIN_H

#include "admin_api.h"
#include "cavage/loop.h"

#include <stdint.h>

struct admin;

struct admin_config {
    const char *socket; /* in a folder that is ours and of mode 0700, made when missing; a stale socket is replaced */
    struct loop *loop;
    struct authority *authority;                                                    /* outlives the server */
    void (*done)(void *arg, const char *method, const char *path, unsigned status); /* after each request */
    void *arg;
};

/* ERR_RANGE: the path is too long for a unix socket; ERR_DENIED: others can enter the folder; ERR_EXISTS: somebody listens there; ERR_IO. */
int admin_start(const struct admin_config *config, struct admin **out);
/* Ends all connections. May be NULL. */
void admin_stop(struct admin *admin);

#endif
