/* SPDX-License-Identifier: MIT */
/* Reads values out of a Prometheus exposition. Pure. */
#ifndef PROM_H
#define PROM_H

#include <stdbool.h>

/* The sum of all series called `name`; with `label` (as written there: status="503") only of those that carry it. False when there is none. Text is
 * NUL-terminated and not trusted. */
bool prom_value(const char *text, const char *name, const char *label, double *value);

#endif
