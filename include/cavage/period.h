/* SPDX-License-Identifier: MIT */
/* Hours, days and months of UTC, and the folders in which their files lie: DIR/YYYY/MM/DD/HH and so on. */
#ifndef CAVAGE_PERIOD_H
#define CAVAGE_PERIOD_H

#include <stddef.h>
#include <stdint.h>

enum { PERIOD_NAME_SIZE = 32 };

enum period { PERIOD_HOUR, PERIOD_DAY, PERIOD_MONTH };

/* "2026/01/02/03", "2026/01/02" or "2026/01" of the period that begins with `hour` (hours since the epoch). */
void period_name(enum period period, int64_t hour, char out[PERIOD_NAME_SIZE]);
/* First hour of the period that holds `hour`, and of the one after it. */
int64_t period_start(enum period period, int64_t hour);
int64_t period_end(enum period period, int64_t hour);

/* Visit the names in DIR/YYYY/MM/DD that begin with two digits of an hour within [from, to), in order of hour and then name. `rest` is what
 * follows the digits. A folder that is missing is empty. What fn returns other than 0 ends the walk and is returned. */
typedef int (*hour_walk_fn)(void *arg, int64_t hour, const char *rest);
int hour_walk(const char *dir, int64_t from, int64_t to, hour_walk_fn fn, void *arg);

/* A list of hours that grows: begun with all zeros, ended by free(hours). */
struct hour_list {
    int64_t *hours;
    size_t count, room;
};

/* Append an hour, unless it is the last one already. ERR_NOMEM. */
int hour_list_add(struct hour_list *list, int64_t hour);

/* Make the folders above `path`, which is below `dir`, and sync every one of them up to dir. */
int hour_mkdirs(const char *dir, const char *path, unsigned mode);

#endif
