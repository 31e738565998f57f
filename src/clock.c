/* SPDX-License-Identifier: MIT */
/* Reading the clocks, and writing a time as text. */
#include "cavage/clock.h"

#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void)
{
    int64_t now_us = read_us(CLOCK_MONOTONIC);
    return now_us > 0 ? now_us : 1;
}

int64_t clock_wall_us(void)
{
    return read_us(CLOCK_REALTIME);
}

static char *put_digits(char *out, int value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value /= 10)
        out[i] = (char)('0' + value % 10);
    return out + digits;
}

void clock_format(int64_t wall_us, char buf[25])
{
    const int64_t last_us = INT64_C(253402300799999999); /* the end of the year 9999 */
    if (wall_us < 0)
        wall_us = 0;
    if (wall_us > last_us)
        wall_us = last_us;
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    const struct {
        int value;
        int digits;
        char end;
    } parts[] = {
        {tm.tm_year + 1900, 4, '-'},
        {tm.tm_mon + 1, 2, '-'},
        {tm.tm_mday, 2, 'T'},
        {tm.tm_hour, 2, ':'},
        {tm.tm_min, 2, ':'},
        {tm.tm_sec, 2, '.'},
        {(int)(wall_us % 1000000 / 1000), 3, 'Z'},
    };
    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        buf = put_digits(buf, parts[i].value, parts[i].digits);
        *buf++ = parts[i].end;
    }
    *buf = '\0';
}
