/* SPDX-License-Identifier: MIT */
/* Draws the progress bar. */
#include "progress.h"

#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BAR_WIDTH = 30, INTERVAL_US = 100000 };

void progress_open(struct progress *progress, size_t total)
{
    const char *term = getenv("TERM");
    *progress = (struct progress){.total = total};
    progress->shown = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

void progress_draw(struct progress *progress, int64_t now_us)
{
    static const char full[] = "##############################", empty[] = "..............................";
    char bytes[UNITS_SIZE];
    if (!progress->shown || progress->total == 0 ||
        (progress->last_us != 0 && now_us - progress->last_us < INTERVAL_US))
        return;
    progress->last_us = now_us;
    progress->drawn = true;
    int filled = (int)(BAR_WIDTH * progress->done / progress->total);
    units_bytes(progress->bytes, bytes);
    fprintf(stderr, "\r[%.*s%.*s] %zu/%zu  %s", filled, full, BAR_WIDTH - filled, empty, progress->done,
            progress->total, bytes);
    if (progress->failed > 0)
        fprintf(stderr, "  %zu failed", progress->failed);
    fputs("\033[K", stderr);
    fflush(stderr);
}

void progress_line(struct progress *progress, const char *text)
{
    if (!progress->shown)
        return;
    progress->drawn = true;
    fprintf(stderr, "\r%s\033[K", text);
    fflush(stderr);
}

void progress_clear(struct progress *progress)
{
    if (progress->drawn)
        fputs("\r\033[K", stderr);
    progress->drawn = false;
    progress->last_us = 0;
}
