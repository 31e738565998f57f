/* SPDX-License-Identifier: MIT */
/* Whether a job may still be taken in: books of the work that waits, and a forecast of how long one more job would wait. Pure: the time is passed.
 * Not thread-safe.
 *
 * The forecast follows the fair queue. A job waits until everybody in its lane had a turn; and, behind other jobs of its own customer and behind those
 * of others that are yet to come, until its customer was given what all these jobs cost. The rate of that is what the fair queue leaves to the customer when
 * all others go on as they did in the last second, corrected by what it really got while it waited. So a customer with little is hardly delayed by
 * one with much, and it is the one with much whose jobs are forecast to be late, and are refused. That work, and the prefetched jobs of the workers, is divided
 * by the converters at this server's disposal and multiplied by what conversions take beside their estimated cost: so the forecast finds a new limit
 * by itself when workers slow down, leave or come. */
#ifndef CAVAGE_ADMISSION_H
#define CAVAGE_ADMISSION_H

#include "cavage/lane.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct admission_books;

struct admission_config {
    size_t jobs_max;          /* in the books at once, > 0 */
    int64_t target_us[LANES]; /* wait and p99 of service together, > 0 */
    unsigned large_percent;   /* of the capacity, the large lane's part while both wait; < 100 */
    bool fifo;                /* strict order of arrival: no lanes, no customers */
};

/* A job as the books know it. It is to be named in the same words each time. */
struct admission_job {
    uint64_t customer;
    enum lane lane;
    int64_t cost_us; /* estimated, > 0; more than 10^12 counts as that */
};

struct admission_forecast {
    bool admitted;      /* the wait is 0, or the target is met */
    int64_t wait_us;    /* until a converter begins with it */
    int64_t service_us; /* p99 of what a conversion takes in this lane; before any was seen, this job's cost */
    int64_t retry_us;   /* 0 when admitted; else after which the same job would be, if nothing else came */
};

/* All memory is taken here. ERR_NOMEM, ERR_RANGE. */
int admission_books_new(const struct admission_config *config, struct admission_books **out);
void admission_books_free(struct admission_books *b);

/* Converters at this server's disposal, in thousandths: those of the workers that are up, less what other servers use. 0, no worker known, keeps the last;
 * before the first it is one. `idle`: whole converters that have no job of any server; who had no work has little at its disposal, but gets these when
 * it asks. */
void admission_set_capacity(struct admission_books *b, uint64_t slots_milli, unsigned idle);

/* A job's way: queue, then send or unqueue; after send, either unsend (it is queued again) or end. ERR_FULL: jobs_max are in the books; the job is not. */
int admission_queue(struct admission_books *b, int64_t now_us, const struct admission_job *job);
void admission_unqueue(struct admission_books *b, int64_t now_us, const struct admission_job *job);
void admission_send(struct admission_books *b, int64_t now_us, const struct admission_job *job);
void admission_unsend(struct admission_books *b, int64_t now_us, const struct admission_job *job);
/* It is with no worker any more. service_us: how long the converter was at it; 0 or less when it was not, or did not end well: nothing is learned. cost_us: what
 * such a job is estimated at now, as those will be that come next. */
void admission_end(struct admission_books *b, int64_t now_us, const struct admission_job *job, int64_t service_us,
                   int64_t cost_us);

/* May this job be queued now? Nothing is booked. When nothing waits before it and a converter is free it always may. The wait may be what
 * p99 of service leaves of the target, a tenth of the target at least, or a little more for who asks for no more than its
 * share where converters are few: slow conversions alone never close the door. Bounded work. */
void admission_judge(struct admission_books *b, int64_t now_us, const struct admission_job *job,
                     struct admission_forecast *out);

struct admission_stats {
    int64_t wait_us[LANES];    /* forecast for a customer without other jobs and a job of mean cost */
    int64_t service_us[LANES]; /* p99; 0: none seen */
    int64_t stretch_permille;  /* what conversions take ÷ their estimated cost, of both lanes */
};
void admission_stats(struct admission_books *b, int64_t now_us, struct admission_stats *out);

#endif
