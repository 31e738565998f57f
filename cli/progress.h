/* SPDX-License-Identifier: MIT */
/* A progress bar on a terminal's stderr; nothing anywhere else. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed but for `total`; set up by progress_open. */
struct progress {
    size_t total, done, failed;
    uint64_t bytes;  /* of results */
    bool shown;      /* stderr is a terminal that can */
    bool drawn;      /* the bar stands on the current line */
    int64_t last_us; /* when it was drawn */
};

void progress_open(struct progress *progress, size_t total);
/* Draw it, at most ten times a second. */
void progress_draw(struct progress *progress, int64_t now_us);
/* Show a line of text instead of a bar. */
void progress_line(struct progress *progress, const char *text);
/* Take the bar away, so that a line can be written. */
void progress_clear(struct progress *progress);

#endif
