/* SPDX-License-Identifier: MIT */
/* Quantities as people read them. Pure. */
#ifndef UNITS_H
#define UNITS_H

#include <stddef.h>
#include <stdint.h>

enum { UNITS_SIZE = 32 };

/* "512 B", "1.5 KB", "3.2 MB": powers of 1,000, three digits at most before the point. */
void units_bytes(uint64_t bytes, char out[UNITS_SIZE]);
/* "42 s", "3 min", "2 h 05 min", "3 d 04 h". */
void units_age(int64_t seconds, char out[UNITS_SIZE]);

#endif
