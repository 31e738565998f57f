/* SPDX-License-Identifier: MIT */
/* Checks and maps the JSON of the management API, by tables of members. */
#include "admin_json.h"

#include "cavage/clock.h"
#include "cavage/err.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Reads one member into a struct. */
struct member {
    const char *name;
    int (*read)(const json_t *value, void *out, char why[ADMIN_WHY_SIZE]);
};

static int refuse(char why[ADMIN_WHY_SIZE], const char *text)
{
    snprintf(why, ADMIN_WHY_SIZE, "%s", text);
    return ERR_INVALID;
}

json_t *admin_json_parse(const char *body, size_t len, char why[ADMIN_WHY_SIZE])
{
    json_error_t error;

    if (len == 0)
        return json_object();
    json_t *object = json_loadb(body, len, JSON_REJECT_DUPLICATES, &error);
    if (!object) {
        bool twice = json_error_code(&error) == json_error_duplicate_key;
        snprintf(why, ADMIN_WHY_SIZE,
                 twice ? "A member is given twice: line %d, column %d." : "The body is not JSON: line %d, column %d.",
                 error.line, error.column);
        return NULL;
    }
    if (!json_is_object(object)) {
        json_decref(object);
        (void)refuse(why, "The body must be a JSON object.");
        return NULL;
    }
    return object;
}

/* ---- Reading ---- */

/* Text of people: UTF-8 (the parser saw to that), one line, nothing that steers a terminal. */
static int read_text(const json_t *value, char *out, size_t size)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);

    if (!text || len >= size || strlen(text) != len)
        return ERR_INVALID;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f ||
            ((unsigned char)text[i] == 0xc2 && (unsigned char)text[i + 1] < 0xa0))
            return ERR_INVALID;
    }
    memset(out, 0, size);
    memcpy(out, text, len);
    return 0;
}

static int read_count(const json_t *value, uint32_t *out)
{
    json_int_t number = json_integer_value(value);

    if (!json_is_integer(value) || number < 0 || number > ADMIN_RATE_MAX)
        return ERR_INVALID;
    *out = (uint32_t)number;
    return 0;
}

static int read_id(const json_t *value, void *out, char why[ADMIN_WHY_SIZE])
{
    struct customer *customer = out;
    const char *text = json_string_value(value);

    if (!text || strlen(text) != json_string_length(value) || customer_id_check(text) != 0)
        return refuse(why, "id must be 1 to 64 characters of a-z, 0-9, '-' and '.', the first a letter or digit.");
    memset(customer->id, 0, sizeof(customer->id));
    memcpy(customer->id, text, strlen(text));
    return 0;
}

static int read_name(const json_t *value, void *out, char why[ADMIN_WHY_SIZE])
{
    struct customer *customer = out;

    return read_text(value, customer->name, sizeof(customer->name)) == 0
               ? 0
               : refuse(why, "name must be text of at most 200 bytes without control characters.");
}

static int read_state(const json_t *value, void *out, char why[ADMIN_WHY_SIZE])
{
    struct customer *customer = out;
    const char *text = json_string_value(value);

    if (text && strcmp(text, "active") == 0)
        customer->state = AUTH_ACTIVE;
    else if (text && strcmp(text, "suspended") == 0)
        customer->state = AUTH_SUSPENDED;
    else
        return refuse(why, "state must be \"active\" or \"suspended\".");
    return 0;
}

static int read_rate(const json_t *value, void *out, char why[ADMIN_WHY_SIZE])
{
    struct customer *customer = out;

    return read_count(value, &customer->rate_per_s) == 0
               ? 0
               : refuse(why, "rate_per_s must be a whole number from 0 (no limit) to 1000000.");
}

static int read_burst(const json_t *value, void *out, char why[ADMIN_WHY_SIZE])
{
    struct customer *customer = out;

    return read_count(value, &customer->burst) == 0
               ? 0
               : refuse(why, "burst must be a whole number from 0 (as rate_per_s) to 1000000.");
}

static int refuse_id(const json_t *value, void *out, char why[ADMIN_WHY_SIZE])
{
    (void)value;
    (void)out;
    return refuse(why, "id cannot be changed.");
}

static int read_label(const json_t *value, void *out, char why[ADMIN_WHY_SIZE])
{
    struct customer_key *key = out;

    return read_text(value, key->label, sizeof(key->label)) == 0
               ? 0
               : refuse(why, "label must be text of at most 100 bytes without control characters.");
}

static int read_expires(const json_t *value, void *out, char why[ADMIN_WHY_SIZE])
{
    struct customer_key *key = out;
    const char *text = json_string_value(value);

    if (json_is_null(value))
        key->expires_us = 0;
    else if (!text || strlen(text) != json_string_length(value) || admin_parse_time(text, &key->expires_us) != 0)
        return refuse(why, "expires must be null or a time in UTC such as \"2030-01-31T00:00:00Z\".");
    return 0;
}

static const struct member add_members[] = {{"id", read_id},           {"name", read_name},   {"state", read_state},
                                            {"rate_per_s", read_rate}, {"burst", read_burst}, {0}};
static const struct member set_members[] = {{"id", refuse_id},         {"name", read_name},   {"state", read_state},
                                            {"rate_per_s", read_rate}, {"burst", read_burst}, {0}};
static const struct member key_members[] = {{"label", read_label}, {"expires", read_expires}, {0}};

static const struct member *member_find(const struct member *members, const char *name)
{
    for (; members->name; members++) {
        if (strcmp(members->name, name) == 0)
            return members;
    }
    return NULL;
}

static int read_members(const json_t *object, const struct member *members, void *out, char why[ADMIN_WHY_SIZE])
{
    union {
        const json_t *in;
        json_t *out;
    } u = {.in = object}; /* jansson's iterators are not const, but change nothing */

    for (void *it = json_object_iter(u.out); it; it = json_object_iter_next(u.out, it)) {
        const char *name = json_object_iter_key(it);
        const struct member *member = member_find(members, name);
        if (!member) {
            snprintf(why, ADMIN_WHY_SIZE, "There is no member \"%.40s\" here.", name);
            return ERR_INVALID;
        }
        int err = member->read(json_object_iter_value(it), out, why);
        if (err != 0)
            return err;
    }
    return 0;
}

int admin_json_customer(const json_t *object, bool add, struct customer *customer, char why[ADMIN_WHY_SIZE])
{
    int err = read_members(object, add ? add_members : set_members, customer, why);

    if (err == 0 && customer->id[0] == '\0')
        return refuse(why, "id is missing.");
    return err;
}

int admin_json_key(const json_t *object, struct customer_key *key, char why[ADMIN_WHY_SIZE])
{
    return read_members(object, key_members, key, why);
}

/* ---- Writing ---- */

json_t *admin_json_of_time(int64_t wall_us)
{
    char text[25];

    if (wall_us == 0)
        return json_null();
    clock_format(wall_us, text);
    return json_string(text);
}

json_t *admin_json_of_customer(const struct customer *customer)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "id", customer->id, "name", customer->name, "state",
                     customer->state == AUTH_SUSPENDED ? "suspended" : "active", "rate_per_s",
                     (json_int_t)customer->rate_per_s, "burst", (json_int_t)customer->burst, "created",
                     admin_json_of_time(customer->created_us));
}

json_t *admin_json_of_key(const struct customer_key *key)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o}", "key_id", key->key_id, "customer", key->customer, "label", key->label,
                     "created", admin_json_of_time(key->created_us), "expires", admin_json_of_time(key->expires_us));
}

/* ---- Times ---- */

/* Exactly `digits` decimal digits within lo..hi; advances. */
static bool take_number(const char **p, int digits, int lo, int hi, int *out)
{
    int value = 0;

    for (int i = 0; i < digits; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return false;
        value = value * 10 + (**p - '0');
    }
    *out = value;
    return value >= lo && value <= hi;
}

static bool take_char(const char **p, char c)
{
    return *(*p)++ == c;
}

/* ".5", ".250", ...: up to microseconds count. */
static bool take_fraction(const char **p, int64_t *us)
{
    int64_t unit = 100000;

    *us = 0;
    if (**p != '.')
        return true;
    const char *start = ++*p;
    for (; **p >= '0' && **p <= '9' && *p - start < 9; (*p)++, unit /= 10)
        *us += unit * (**p - '0');
    return *p > start;
}

int admin_parse_time(const char *text, int64_t *wall_us)
{
    const char *p = text;
    struct tm tm = {0};
    int64_t fraction_us;
    int year;
    int month;

    bool good = take_number(&p, 4, 1970, 9999, &year) && take_char(&p, '-') && take_number(&p, 2, 1, 12, &month) &&
                take_char(&p, '-') && take_number(&p, 2, 1, 31, &tm.tm_mday) && take_char(&p, 'T') &&
                take_number(&p, 2, 0, 23, &tm.tm_hour) && take_char(&p, ':') && take_number(&p, 2, 0, 59, &tm.tm_min) &&
                take_char(&p, ':') && take_number(&p, 2, 0, 59, &tm.tm_sec) && take_fraction(&p, &fraction_us) &&
                take_char(&p, 'Z') && *p == '\0';
    if (!good)
        return ERR_INVALID;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    int day = tm.tm_mday;
    time_t seconds = timegm(&tm);
    /* timegm makes 30 February the first days of March. */
    if (tm.tm_mday != day)
        return ERR_INVALID;
    *wall_us = (int64_t)seconds * 1000000 + fraction_us;
    return *wall_us > 0 ? 0 : ERR_INVALID;
}
