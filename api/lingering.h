/* SPDX-License-Identifier: MIT */
/* Refused connections that have their answer: what their clients still send is read for a while, so that they see the answer and not a reset.
 * Loop thread. */
#ifndef CAVAGE_API_LINGERING_H
#define CAVAGE_API_LINGERING_H

#include "cavage/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct lingering;

int lingering_new(struct loop *loop, struct lingering **out);
/* Closes all that linger. */
void lingering_free(struct lingering *l);

/* Take over a connection to which all was written: shut its sending side, read on, close it when its client does. When too many linger, the
 * oldest is closed. */
void lingering_add(struct lingering *l, int64_t now_us, int fd);
/* Close those whose time is over. Call it now and then. */
void lingering_sweep(struct lingering *l, int64_t now_us);

#endif
