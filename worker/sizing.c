/* SPDX-License-Identifier: MIT */
/* Numbers of a worker, from its configuration and its host. */
#include "sizing.h"

#include "cavage/credit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MEMORY_BASE = 1024 * 1024 * 1024, MEMORY_PER_PIXEL = 8 };

unsigned sizing_converters(const struct conf *conf)
{
    int64_t n = conf_int(conf, CONF_WORKER_CONVERTERS);
    if (n == 0)
        n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > CREDIT_SLOTS_MAX ? CREDIT_SLOTS_MAX : (unsigned)n;
}

/* A decoded image at eight bytes a pixel, and room for the codec. */
uint64_t sizing_memory_bytes(const struct conf *conf, const struct limits *limits)
{
    static const enum limit of_pixels[] = {LIMIT_PIXELS_IN, LIMIT_TOTAL_PIXELS_IN, LIMIT_PIXELS_OUT};
    uint64_t bytes = (uint64_t)conf_int(conf, CONF_WORKER_MEMORY_BYTES);
    uint64_t pixels = 0;
    for (size_t i = 0; i < sizeof(of_pixels) / sizeof(of_pixels[0]); i++) {
        uint64_t most = limits_most(limits, of_pixels[i]);
        pixels = most > pixels ? most : pixels;
    }
    return bytes > 0 ? bytes : MEMORY_BASE + MEMORY_PER_PIXEL * pixels;
}

unsigned sizing_jobs(const struct conf *conf)
{
    bool one = strcmp(conf_str(conf, CONF_WORKER_ISOLATION), "image") == 0;
    return one ? 1 : (unsigned)conf_int(conf, CONF_WORKER_RECYCLE_JOBS);
}

/* The kernel writes "0.20 0.18 0.12 RUNNABLE/ALL LAST". */
unsigned sizing_load_permille(int loadavg_fd)
{
    char text[128];
    ssize_t n = loadavg_fd >= 0 ? pread(loadavg_fd, text, sizeof(text) - 1, 0) : -1;
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *at = text;
    for (int i = 0; i < 3; i++) {
        at = strchr(at, ' ');
        if (!at)
            return 0;
        at++;
    }
    return (unsigned)(strtoul(at, NULL, 10) * 1000 / (unsigned long)sysconf(_SC_NPROCESSORS_ONLN));
}
