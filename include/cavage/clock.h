/* SPDX-License-Identifier: MIT */
/* The clocks. Only daemons' loops read them; pure code is handed the time. */
#ifndef CAVAGE_CLOCK_H
#define CAVAGE_CLOCK_H

#include <stdint.h>

/* Microseconds of CLOCK_MONOTONIC; never 0. For durations, deadlines and silence. */
int64_t clock_monotonic_us(void);

/* Microseconds since the Unix epoch. For records and logs only. */
int64_t clock_wall_us(void);

/* Write an RFC 3339 time in UTC with milliseconds, "2026-01-02T03:04:05.678Z", into buf of at least 25 bytes. */
void clock_format(int64_t wall_us, char buf[25]);

#endif
