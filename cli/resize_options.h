/* SPDX-License-Identifier: MIT */
/* The parameters of a resize as options of the command line, by the one table of parameters. */
#ifndef RESIZE_OPTIONS_H
#define RESIZE_OPTIONS_H

#include "cavage/params.h"
#include "cli.h"

#include <stddef.h>
#include <stdio.h>

/* The option for the parameter at `index`; false: there is none. */
bool resize_option_at(size_t index, struct cli_option *out);
/* Which values it takes; NULL for a switch. */
const char *resize_option_allowed(size_t index);

/* The query "?width=320&fit=cover" of what was given, empty for nothing. values[i] belongs to the parameter at i: NULL is not given, "" is 1.
 * Checked as the API checks it. ERR_INVALID with *problem filled, ERR_RANGE if it does not fit size. */
int resize_query(const char *const *values, char *out, size_t size, struct params_problem *problem);

/* The options as a list in the source of a manual page. */
void resize_options_print(FILE *out);

#endif
