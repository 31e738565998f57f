/* SPDX-License-Identifier: MIT */
/* Absolute deadlines of connections: what libmicrohttpd, which knows idleness only, cannot keep. Runs on the loop. */
#ifndef CAVAGE_API_WATCHDOG_H
#define CAVAGE_API_WATCHDOG_H

#include "api.h"

/* Look at all connections every 50 ms, and bring gauges and readiness up to date. */
int watchdog_start(struct api *api, struct watchdog **out);
void watchdog_stop(struct watchdog *w);

#endif
