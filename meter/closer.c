/* SPDX-License-Identifier: MIT */
/* The list of periods that wait for their files, and the thread that makes them. */
#include "closer.h"

#include "meter.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/fs.h"
#include "cavage/ledger.h"
#include "cavage/log.h"
#include "cavage/usage_files.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOOK_MS = 1000, LOOK_TEST_MS = 20, RETRY_MS = 60000 };

static const int64_t hour_us = INT64_C(3600000000);

/* A period whose files may have to be made. */
struct waiting {
    enum period period;
    int64_t start;
    int64_t not_before_us; /* monotonic */
};

struct closer {
    char ledger_dir[FS_PATH_SIZE], usage_dir[FS_PATH_SIZE];
    int64_t delay_us;
    bool close_open;
    struct metrics *metrics;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* Under the lock: */
    struct waiting
        *list; /* by start, then period; each once. A start finds years of hours, so it is searched by halves */
    size_t count, room;
    bool stopping;
};

/* ---- The list, under the lock ---- */

/* Where a period stands in the list, or would. */
static size_t place_of(const struct closer *closer, enum period period, int64_t start)
{
    size_t low = 0, high = closer->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct waiting *w = &closer->list[middle];
        if (w->start < start || (w->start == start && w->period < period))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void list_add(struct closer *closer, enum period period, int64_t start, int64_t not_before_us)
{
    size_t i = place_of(closer, period, start);
    if (i < closer->count && closer->list[i].period == period && closer->list[i].start == start) {
        closer->list[i].not_before_us = not_before_us;
        return;
    }
    if (closer->count == closer->room) {
        size_t room = closer->room ? closer->room * 2 : 64;
        struct waiting *list = reallocarray(closer->list, room, sizeof *list);
        if (!list) {
            log_error("meter_out_of_memory", "an hour waits for its files until the next start");
            return;
        }
        closer->list = list;
        closer->room = room;
    }
    memmove(closer->list + i + 1, closer->list + i, (closer->count - i) * sizeof *closer->list);
    closer->list[i] = (struct waiting){.period = period, .start = start, .not_before_us = not_before_us};
    closer->count++;
    metrics_set(closer->metrics, METER_PERIODS_WAITING, (int64_t)closer->count);
}

static void list_remove(struct closer *closer, size_t i)
{
    closer->count--;
    memmove(closer->list + i, closer->list + i + 1, (closer->count - i) * sizeof *closer->list);
    metrics_set(closer->metrics, METER_PERIODS_WAITING, (int64_t)closer->count);
}

static bool over(const struct closer *closer, const struct waiting *w, int64_t wall_us)
{
    return closer->close_open || wall_us >= period_end(w->period, w->start) * hour_us + closer->delay_us;
}

/* Whether a smaller period within this one still waits. */
static bool has_parts(const struct closer *closer, const struct waiting *w)
{
    int64_t end = period_end(w->period, w->start);
    for (size_t i = place_of(closer, PERIOD_HOUR, w->start); i < closer->count && closer->list[i].start < end; i++)
        if (closer->list[i].period < w->period)
            return true;
    return false;
}

static bool take_due(struct closer *closer, struct waiting *out)
{
    int64_t now_us = clock_monotonic_us(), wall_us = clock_wall_us();
    for (size_t i = 0; i < closer->count; i++) {
        const struct waiting *w = &closer->list[i];
        if (now_us < w->not_before_us || !over(closer, w, wall_us) || has_parts(closer, w))
            continue;
        *out = *w;
        list_remove(closer, i);
        return true;
    }
    return false;
}

void closer_touch(struct closer *closer, int64_t hour)
{
    pthread_mutex_lock(&closer->lock);
    list_add(closer, PERIOD_HOUR, hour, clock_monotonic_us() + closer->delay_us);
    pthread_mutex_unlock(&closer->lock);
}

/* ---- The thread ---- */

static void make_files(struct closer *closer, const struct waiting *w)
{
    struct usage_files files = {.usage_dir = closer->usage_dir, .ledger_dir = closer->ledger_dir};
    char name[PERIOD_NAME_SIZE];
    bool made = false;
    int64_t begin_us = clock_monotonic_us();
    int err = w->period == PERIOD_HOUR ? usage_files_hour(&files, w->start, &made)
                                       : usage_files_rollup(&files, w->period, w->start, &made);

    period_name(w->period, w->start, name);
    if (made) {
        metrics_add(closer->metrics, METER_FILES, 1);
        log_info("usage_files_made", "usage files were made", LOG_S("period", name),
                 LOG_I("ms", (clock_monotonic_us() - begin_us) / 1000));
    } else if (err && err != ERR_NOTFOUND) {
        metrics_add(closer->metrics, METER_FILE_ERRORS, 1);
        log_error("usage_files_failed", "usage files could not be made; it is tried again", LOG_S("period", name),
                  LOG_S("error", err_text(err)));
    }
    pthread_mutex_lock(&closer->lock);
    if (err && err != ERR_NOTFOUND)
        list_add(closer, w->period, w->start, clock_monotonic_us() + RETRY_MS * INT64_C(1000));
    else if (w->period != PERIOD_MONTH)
        list_add(closer, w->period + 1, period_start(w->period + 1, w->start), 0);
    pthread_mutex_unlock(&closer->lock);
}

static void wait_a_while(struct closer *closer)
{
    int64_t end_us = clock_monotonic_us() + (closer->close_open ? LOOK_TEST_MS : LOOK_MS) * INT64_C(1000);
    struct timespec end = {.tv_sec = end_us / 1000000, .tv_nsec = end_us % 1000000 * 1000};
    while (!closer->stopping && pthread_cond_timedwait(&closer->wake, &closer->lock, &end) == 0)
        continue;
}

static void *run(void *arg)
{
    struct closer *closer = arg;
    pthread_mutex_lock(&closer->lock);
    while (!closer->stopping) {
        struct waiting due;
        if (!take_due(closer, &due)) {
            wait_a_while(closer);
            continue;
        }
        pthread_mutex_unlock(&closer->lock);
        make_files(closer, &due);
        pthread_mutex_lock(&closer->lock);
    }
    pthread_mutex_unlock(&closer->lock);
    return NULL;
}

/* ---- Start and stop ---- */

static int look_through(struct closer *closer)
{
    int64_t *hours;
    size_t count;
    int err = ledger_hours(closer->ledger_dir, INT64_MIN, INT64_MAX, &hours, &count);
    if (err)
        return err;
    for (size_t i = 0; i < count; i++)
        list_add(closer, PERIOD_HOUR, hours[i], 0);
    free(hours);
    return ERR_OK;
}

static void release(struct closer *closer)
{
    pthread_cond_destroy(&closer->wake);
    pthread_mutex_destroy(&closer->lock);
    free(closer->list);
    free(closer);
}

int closer_start(const struct closer_config *config, struct closer **out)
{
    pthread_condattr_t attr;
    struct closer *closer = calloc(1, sizeof *closer);
    if (!closer)
        return ERR_NOMEM;
    closer->delay_us = config->delay_ms * 1000;
    closer->close_open = config->close_open;
    closer->metrics = config->metrics;
    pthread_mutex_init(&closer->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&closer->wake, &attr);
    pthread_condattr_destroy(&attr);

    int err = fs_join(closer->ledger_dir, sizeof closer->ledger_dir, config->ledger_dir, "");
    if (!err)
        err = fs_join(closer->usage_dir, sizeof closer->usage_dir, config->usage_dir, "");
    if (!err)
        err = fs_mkdirs(closer->usage_dir, 0750);
    if (!err)
        err = look_through(closer);
    if (!err && pthread_create(&closer->thread, NULL, run, closer) != 0)
        err = ERR_NOMEM;
    if (err) {
        release(closer);
        return err;
    }
    *out = closer;
    return ERR_OK;
}

void closer_stop(struct closer *closer)
{
    if (!closer)
        return;
    pthread_mutex_lock(&closer->lock);
    closer->stopping = true;
    pthread_cond_signal(&closer->wake);
    pthread_mutex_unlock(&closer->lock);
    pthread_join(closer->thread, NULL);
    release(closer);
}
