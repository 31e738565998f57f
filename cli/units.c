/* SPDX-License-Identifier: MIT */
/* Writes bytes and ages with a fitting unit. */
#include "units.h"

#include <inttypes.h>
#include <stdio.h>

void units_bytes(uint64_t bytes, char out[UNITS_SIZE])
{
    static const char *const units[] = {"KB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes / 1000;
    size_t unit = 0;
    if (bytes < 1000) {
        snprintf(out, UNITS_SIZE, "%" PRIu64 " B", bytes);
        return;
    }
    /* 999.95 and above would be written with four digits. */
    for (; value >= 999.95 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1000;
    snprintf(out, UNITS_SIZE, "%.1f %s", value, units[unit]);
}

void units_age(int64_t seconds, char out[UNITS_SIZE])
{
    int64_t minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
    if (seconds < 60)
        snprintf(out, UNITS_SIZE, "%" PRId64 " s", seconds > 0 ? seconds : 0);
    else if (minutes < 60)
        snprintf(out, UNITS_SIZE, "%" PRId64 " min", minutes);
    else if (hours < 24)
        snprintf(out, UNITS_SIZE, "%" PRId64 " h %02" PRId64 " min", hours, minutes % 60);
    else
        snprintf(out, UNITS_SIZE, "%" PRId64 " d %02" PRId64 " h", days, hours % 24);
}
