/* SPDX-License-Identifier: MIT */
/* worker.converter: converters that convert, or, for load tests, stubs that sleep for a while and answer a fixed picture. Pure. */
#ifndef CAVAGE_STUB_H
#define CAVAGE_STUB_H

#include <stdbool.h>
#include <stdint.h>

enum { STUB_SLEEP_MAX_US = 600 * 1000 * 1000 };

/* Zeroed: converters convert. */
struct stub {
    bool on;
    bool exponential; /* sleeps vary, exponentially distributed, as service times of M/M/k */
    uint32_t mean_us; /* 0 .. STUB_SLEEP_MAX_US */
};

/* "vips", "sleep:TIME" or "sleep:exp:TIME"; TIME is a number with us, ms (or nothing) or s. ERR_INVALID, ERR_RANGE. */
int stub_parse(const char *text, struct stub *out);

/* How long to sleep for one image, µs; `random` are any 64 random bits. At most STUB_SLEEP_MAX_US. */
uint32_t stub_sleep_us(const struct stub *stub, uint64_t random);

#endif
