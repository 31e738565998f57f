/* SPDX-License-Identifier: MIT */
/* How long to wait before a daemon that died is started again. Pure. */
#ifndef BACKOFF_H
#define BACKOFF_H

#include <stdint.h>

enum { BACKOFF_FIRST_US = 100000, BACKOFF_MAX_US = 5000000, BACKOFF_RESET_US = 10000000 };

/* Zeroed to begin with. */
struct backoff {
    int64_t delay_us; /* the last one; 0 at first */
    int deaths;       /* in a row, each after less than BACKOFF_RESET_US of life */
};

/* It died after alive_us. Returns the wait: 100 ms, then twice the last up to 5 s; from the beginning after 10 s of life. */
int64_t backoff_next(struct backoff *backoff, int64_t alive_us);

#endif
