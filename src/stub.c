/* SPDX-License-Identifier: MIT */
/* Reads worker.converter, and draws the sleeps of stubs. */
#include "cavage/stub.h"

#include "cavage/err.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const char *after(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

static int parse_time(const char *text, uint32_t *out)
{
    static const struct {
        const char *name;
        uint64_t us;
    } units[] = {{"us", 1}, {"ms", 1000}, {"", 1000}, {"s", 1000000}};
    uint64_t value = 0;
    size_t digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9'; digits++)
        if ((value = value * 10 + (uint64_t)(text[digits] - '0')) > STUB_SLEEP_MAX_US)
            return ERR_RANGE;
    for (size_t i = 0; digits > 0 && i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(text + digits, units[i].name) != 0)
            continue;
        if (value * units[i].us > STUB_SLEEP_MAX_US)
            return ERR_RANGE;
        *out = (uint32_t)(value * units[i].us);
        return ERR_OK;
    }
    return ERR_INVALID;
}

int stub_parse(const char *text, struct stub *out)
{
    const char *time = after(text, "sleep:"), *mean = time ? after(time, "exp:") : NULL;
    *out = (struct stub){.on = time != NULL, .exponential = mean != NULL};
    if (!time)
        return strcmp(text, "vips") == 0 ? ERR_OK : ERR_INVALID;
    return parse_time(mean ? mean : time, &out->mean_us);
}

uint32_t stub_sleep_us(const struct stub *stub, uint64_t random)
{
    if (!stub->exponential)
        return stub->mean_us;
    double unit = (double)(random >> 11) * 0x1p-53, us = -log1p(-unit) * stub->mean_us;
    return us < STUB_SLEEP_MAX_US ? (uint32_t)us : STUB_SLEEP_MAX_US;
}
