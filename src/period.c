/* SPDX-License-Identifier: MIT */
/* Names of hours, days and months, and walks through their folders. */

#include "cavage/period.h"

#include "cavage/err.h"
#include "cavage/fs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HOUR_S = 3600, LEVELS = 4 };

static void civil(int64_t hour, struct tm *tm)
{
    time_t t = (time_t)(hour * HOUR_S);
    if (!gmtime_r(&t, tm))
        memset(tm, 0, sizeof *tm);
}

void period_name(enum period period, int64_t hour, char out[PERIOD_NAME_SIZE])
{
    static const size_t lengths[] = {13, 10, 7};
    struct tm tm;
    civil(hour, &tm);
    if (strftime(out, PERIOD_NAME_SIZE, "%Y/%m/%d/%H", &tm) == 0)
        out[0] = '\0';
    else
        out[lengths[period]] = '\0';
}

static int64_t begin(enum period period, int64_t hour, int later)
{
    struct tm tm;
    civil(hour, &tm);
    struct tm first = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = 1};
    if (period == PERIOD_HOUR)
        return hour + later;
    if (period == PERIOD_DAY)
        first.tm_mday = tm.tm_mday + later;
    else
        first.tm_mon += later;
    return (int64_t)timegm(&first) / HOUR_S;
}

int64_t period_start(enum period period, int64_t hour)
{
    return begin(period, hour, 0);
}

int64_t period_end(enum period period, int64_t hour)
{
    return begin(period, hour, 1);
}

struct walk {
    const char *dir;
    int64_t from, to;
    hour_walk_fn fn;
    void *arg;
    int part[LEVELS]; /* year, month, day, hour */
};

static const int digits[LEVELS] = {4, 2, 2, 2};

/* The number at the start of a name; folders are all digits, files have more behind them. */
static bool parse_level(const char *name, int level, int *value)
{
    int v = 0, n = digits[level];
    for (int i = 0; i < n; i++) {
        if (!isdigit((unsigned char)name[i]))
            return false;
        v = v * 10 + (name[i] - '0');
    }
    *value = v;
    return (name[n] == '\0') == (level < LEVELS - 1);
}

static int64_t hour_at(const int part[LEVELS], int month, int day, int hour)
{
    struct tm tm = {.tm_year = part[0] - 1900, .tm_mon = month, .tm_mday = day, .tm_hour = hour};
    return (int64_t)timegm(&tm) / HOUR_S;
}

/* Whether anything below the folder that part[0..level] names can lie in the range. */
static bool overlaps(const struct walk *w, int level)
{
    const int *p = w->part;
    int64_t first = 0, end = 0;
    if (level == 0) {
        first = hour_at(p, 0, 1, 0);
        end = hour_at(p, 12, 1, 0);
    } else if (level == 1) {
        first = hour_at(p, p[1] - 1, 1, 0);
        end = hour_at(p, p[1], 1, 0);
    } else {
        first = hour_at(p, p[1] - 1, p[2], level == 2 ? 0 : p[3]);
        end = first + (level == 2 ? 24 : 1);
    }
    return first < w->to && end > w->from;
}

static int walk_level(struct walk *w, const char *path, int level);

static int visit(struct walk *w, const char *path, const char *name, int level)
{
    char below[FS_PATH_SIZE];

    if (!parse_level(name, level, &w->part[level]) || !overlaps(w, level))
        return ERR_OK;
    if (level == LEVELS - 1)
        return w->fn(w->arg, hour_at(w->part, w->part[1] - 1, w->part[2], w->part[3]), name + digits[level]);
    int err = fs_join(below, sizeof below, path, name);
    return err ? err : walk_level(w, below, level + 1);
}

static int walk_level(struct walk *w, const char *path, int level)
{
    struct dirent **names;
    int err = ERR_OK;
    int n = scandir(path, &names, NULL, alphasort);
    if (n < 0)
        return errno == ENOENT || errno == ENOTDIR ? ERR_OK : err_from_errno(errno);
    for (int i = 0; i < n; i++) {
        if (!err)
            err = visit(w, path, names[i]->d_name, level);
        free(names[i]);
    }
    free(names);
    return err;
}

int hour_walk(const char *dir, int64_t from, int64_t to, hour_walk_fn fn, void *arg)
{
    struct walk w = {.dir = dir, .from = from, .to = to, .fn = fn, .arg = arg};
    return walk_level(&w, dir, 0);
}

int hour_list_add(struct hour_list *list, int64_t hour)
{
    if (list->count > 0 && list->hours[list->count - 1] == hour)
        return ERR_OK;
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 64;
        int64_t *hours = reallocarray(list->hours, room, sizeof *hours);
        if (!hours)
            return ERR_NOMEM;
        list->hours = hours;
        list->room = room;
    }
    list->hours[list->count++] = hour;
    return ERR_OK;
}

int hour_mkdirs(const char *dir, const char *path, unsigned mode)
{
    char above[FS_PATH_SIZE];
    size_t dir_len = strlen(dir);
    int err = fs_join(above, sizeof above, "", path);
    if (err)
        return err;
    char *slash = strrchr(above, '/');
    if (!slash)
        return ERR_INVALID;
    *slash = '\0';
    err = fs_mkdirs(above, mode);
    while (!err && strlen(above) > dir_len) {
        err = fs_sync_parent(above);
        slash = strrchr(above, '/');
        if (!slash)
            break;
        *slash = '\0';
    }
    return err;
}
