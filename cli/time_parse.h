/* SPDX-License-Identifier: MIT */
/* Points in time as people write them on a command line. Pure. */
#ifndef TIME_PARSE_H
#define TIME_PARSE_H

#include <stdint.h>

/* "now", "2026-01" (its first moment in UTC), "2026-01-31" (likewise), "2026-01-31T12:00Z", "2026-01-31T12:00:00.5+01:00", or relative to
 * now_us: "-90m", "-24h", "-7d", "-4w". ERR_INVALID for all else, also for times without a zone; ERR_RANGE for years outside 1970..9999. */
int time_parse(const char *text, int64_t now_us, int64_t *wall_us);

/* The first moment of the month of wall_us, in UTC. */
int64_t time_month_start(int64_t wall_us);

#endif
