/* SPDX-License-Identifier: MIT */
/* Exponential waits between tries. */
#include "cavage/backoff.h"

int64_t backoff_next(struct backoff *backoff, int64_t success_us)
{
    if (success_us >= BACKOFF_RESET_US)
        *backoff = (struct backoff){0};
    backoff->failures++;
    backoff->delay_us = backoff->delay_us == 0 ? BACKOFF_FIRST_US : 2 * backoff->delay_us;
    if (backoff->delay_us > BACKOFF_MAX_US)
        backoff->delay_us = BACKOFF_MAX_US;
    return backoff->delay_us;
}
