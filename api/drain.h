/* SPDX-License-Identifier: MIT */
/* Stopping without a failed request: not ready, wait for balancers, accept no more, answer what is in, flush usage. What takes longer than
 * api.drain_ms is answered 503, and the exit status tells. */
#ifndef CAVAGE_API_DRAIN_H
#define CAVAGE_API_DRAIN_H

#include "api.h"

int drain_new(struct api *api, struct drain **out);
void drain_free(struct drain *d);
/* Begin; daemon_drained is called at the end. */
void drain_start(struct drain *d);
/* End what a drain left over, or what there is when the program is stopped at once: when it returns, no connection is open. */
void drain_now(struct api *api);

#endif
