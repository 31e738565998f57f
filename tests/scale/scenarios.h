/* SPDX-License-Identifier: MIT */
/* The situations that docs/scale.md reports on. */
#ifndef CAVAGE_SCALE_SCENARIOS_H
#define CAVAGE_SCALE_SCENARIOS_H

#include "region.h"

/* False: no such scenario. */
bool scenario_find(const char *name, struct region_config *out);
/* All names, ended by NULL. */
const char *const *scenario_names(void);

#endif
