/* SPDX-License-Identifier: MIT */
/* One JSON line per event on stderr. A stderr that does not drain loses lines, never time: writes do not block. */
#ifndef CAVAGE_LOG_H
#define CAVAGE_LOG_H

#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

enum log_type { LOG_TYPE_END, LOG_TYPE_STR, LOG_TYPE_I64, LOG_TYPE_U64 };

/* One name and value of an event. Strings are borrowed for the call; bytes that are not UTF-8 are replaced. */
struct log_field {
    const char *name;
    enum log_type type;
    union {
        const char *str;
        int64_t i64;
        uint64_t u64;
    };
};

/* clang-format off */
#define LOG_S(n, v) ((struct log_field){ .name = (n), .type = LOG_TYPE_STR, .str = (v) })
#define LOG_I(n, v) ((struct log_field){ .name = (n), .type = LOG_TYPE_I64, .i64 = (v) })
#define LOG_U(n, v) ((struct log_field){ .name = (n), .type = LOG_TYPE_U64, .u64 = (v) })

/* log_error("spool_full", "usage spool is full", LOG_U("bytes", n)); the event is a stable snake_case name, the message one sentence.
 * Each list begins with an end that is skipped (+ 1), so that an event without fields is written alike. */
#define log_error(event, message, ...) log_write(LOG_LEVEL_ERROR, event, message, (struct log_field[]){ { .type = LOG_TYPE_END }, ##__VA_ARGS__, { .type = LOG_TYPE_END } } + 1)
#define log_warn(event, message, ...)  log_write(LOG_LEVEL_WARN,  event, message, (struct log_field[]){ { .type = LOG_TYPE_END }, ##__VA_ARGS__, { .type = LOG_TYPE_END } } + 1)
#define log_info(event, message, ...)  log_write(LOG_LEVEL_INFO,  event, message, (struct log_field[]){ { .type = LOG_TYPE_END }, ##__VA_ARGS__, { .type = LOG_TYPE_END } } + 1)
#define log_debug(event, message, ...) log_write(LOG_LEVEL_DEBUG, event, message, (struct log_field[]){ { .type = LOG_TYPE_END }, ##__VA_ARGS__, { .type = LOG_TYPE_END } } + 1)
/* clang-format on */

/* Name the program and set the least severe level that is written. Call once, before threads start. `program` must outlive all logging.
 * Opens a non-blocking description of stderr of its own, so that the terminal of the parent stays as it was. */
void log_open(const char *program, enum log_level level);

/* Change the least severe level that is written. Thread-safe. */
void log_set_level(enum log_level level);

/* Write one line of at most 4,096 bytes. A string is cut at 1,024 bytes, fields that do not fit are left out, and the line then says
 * "cut":true. Thread-safe; keeps errno. Lines that do not fit the pipe are counted and dropped. Before log_open, lines of level info and
 * above go to stderr. */
void log_write(enum log_level level, const char *event, const char *message, const struct log_field *fields);

/* Lines dropped since log_open. */
uint64_t log_lost(void);

#endif
