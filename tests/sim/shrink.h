/* SPDX-License-Identifier: MIT */
/* Cuts a failing history down to what is needed to fail. */
#ifndef CAVAGE_SIM_SHRINK_H
#define CAVAGE_SIM_SHRINK_H

#include "sim.h"

/* Play a plan in a process of its own, so that a crash is a result as well. */
void shrink_play(const struct plan *plan, struct violation *out);

/* Make the plan smaller as long as it violates the same rule. Returns how many plans were played. */
unsigned shrink(struct plan *plan, const char *violation);

#endif
