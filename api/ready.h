/* SPDX-License-Identifier: MIT */
/* Whether this server can serve now. */
#ifndef CAVAGE_API_READY_H
#define CAVAGE_API_READY_H

#include "api.h"

/* Why it cannot, as a sentence; NULL when it can. Any thread. */
const char *ready_problem(const struct api *api);
/* Try to read what is still missing, and tell the daemon. Loop thread, now and then. */
void ready_update(struct api *api);

#endif
