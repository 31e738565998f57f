/* SPDX-License-Identifier: MIT */
/* Parses points in time; what could be read in two ways is refused. */
#include "time_parse.h"

#include "cavage/err.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { YEAR_MIN = 1970, YEAR_MAX = 9999, RELATIVE_DIGITS_MAX = 6 };
static const int64_t second_us = 1000000;

/* Exactly `digits` digits, within min..max; moves *text on. */
static bool take_number(const char **text, int digits, int min, int max, int *out)
{
    int value = 0;
    for (int i = 0; i < digits; i++) {
        if (!isdigit((unsigned char)(*text)[i]))
            return false;
        value = 10 * value + ((*text)[i] - '0');
    }
    *text += digits;
    *out = value;
    return value >= min && value <= max;
}

static bool take_char(const char **text, char c)
{
    if (**text != c)
        return false;
    (*text)++;
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* "-24h" */
static int parse_relative(const char *text, int64_t now_us, int64_t *wall_us)
{
    static const struct {
        char letter;
        int64_t seconds;
    } units[] = {{'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    int64_t count = 0;
    size_t digits = strspn(text + 1, "0123456789");
    const char *unit = text + 1 + digits;
    if (digits == 0 || digits > RELATIVE_DIGITS_MAX || unit[0] == '\0' || unit[1] != '\0')
        return ERR_INVALID;
    for (size_t i = 0; i < digits; i++)
        count = 10 * count + (text[1 + i] - '0');
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (units[i].letter == *unit) {
            int64_t back_us = count * units[i].seconds * second_us;
            *wall_us = now_us > back_us ? now_us - back_us : 0;
            return ERR_OK;
        }
    }
    return ERR_INVALID;
}

/* "Z", "+01:00"; in seconds east of UTC. */
static bool take_zone(const char **text, int *offset_s)
{
    int hours, minutes, sign = **text == '-' ? -1 : 1;
    *offset_s = 0;
    if (take_char(text, 'Z') || take_char(text, 'z'))
        return true;
    if (!take_char(text, '+') && !take_char(text, '-'))
        return false;
    if (!take_number(text, 2, 0, 23, &hours) || !take_char(text, ':') || !take_number(text, 2, 0, 59, &minutes))
        return false;
    *offset_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

/* ".678": as µs; digits beyond the sixth are dropped. */
static bool take_fraction(const char **text, int64_t *fraction_us)
{
    int64_t scale = second_us / 10;
    *fraction_us = 0;
    if (!take_char(text, '.'))
        return true;
    if (!isdigit((unsigned char)**text))
        return false;
    for (; isdigit((unsigned char)**text); (*text)++, scale /= 10)
        *fraction_us += scale * (**text - '0');
    return true;
}

int time_parse(const char *text, int64_t now_us, int64_t *wall_us)
{
    if (strcmp(text, "now") == 0) {
        *wall_us = now_us;
        return ERR_OK;
    }
    if (text[0] == '-')
        return parse_relative(text, now_us, wall_us);

    int year, month, day = 1, hour = 0, minute = 0, second = 0, offset_s = 0;
    int64_t fraction_us = 0;
    if (!take_number(&text, 4, 0, YEAR_MAX, &year) || !take_char(&text, '-') || !take_number(&text, 2, 1, 12, &month))
        return ERR_INVALID;
    if (*text && (!take_char(&text, '-') || !take_number(&text, 2, 1, days_in_month(year, month), &day)))
        return ERR_INVALID;
    if (*text) {
        if (!take_char(&text, 'T') && !take_char(&text, 't'))
            return ERR_INVALID;
        if (!take_number(&text, 2, 0, 23, &hour) || !take_char(&text, ':') || !take_number(&text, 2, 0, 59, &minute))
            return ERR_INVALID;
        if (take_char(&text, ':') && (!take_number(&text, 2, 0, 59, &second) || !take_fraction(&text, &fraction_us)))
            return ERR_INVALID;
        if (!take_zone(&text, &offset_s) || *text)
            return ERR_INVALID;
    }
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    *wall_us = ((int64_t)timegm(&tm) - offset_s) * second_us + fraction_us;
    return year >= YEAR_MIN && *wall_us >= 0 ? ERR_OK : ERR_RANGE;
}

int64_t time_month_start(int64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / second_us);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    struct tm first = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = 1};
    return (int64_t)timegm(&first) * second_us;
}
