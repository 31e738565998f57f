/* SPDX-License-Identifier: MIT */
/* How long to wait before what failed is tried again. Pure. */
#ifndef CAVAGE_BACKOFF_H
#define CAVAGE_BACKOFF_H

#include <stdint.h>

enum { BACKOFF_FIRST_US = 100000, BACKOFF_MAX_US = 5000000, BACKOFF_RESET_US = 10000000 };

/* Zeroed to begin with. */
struct backoff {
    int64_t delay_us; /* the last one; 0 at first */
    int failures;     /* in a row, each after less than BACKOFF_RESET_US of success */
};

/* It failed after so long a success, 0 for none. Returns the wait: 100 ms, then twice the last up to 5 s; from the beginning after 10 s of success. */
int64_t backoff_next(struct backoff *backoff, int64_t success_us);

#endif
