/* SPDX-License-Identifier: MIT */
/* Writes each event as one JSON line to stderr, without ever waiting for it. */
#include "cavage/log.h"

#include "cavage/clock.h"
#include "cavage/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LINE_BYTES = 4096,  /* PIPE_BUF: a pipe takes such a line whole or not at all */
    VALUE_BYTES = 1024, /* of one string in its escaped form, so that one value cannot crowd out the others */
    ESCAPE_BYTES = 6    /* the longest form of one character, \u001f */
};

static const char line_end[] = "}\n";
static const char line_end_cut[] = ",\"cut\":true}\n";

/* How the bytes leave without blocking. */
enum sink_kind {
    SINK_SHARED, /* the stderr we were given, perhaps blocking: ask poll first */
    SINK_OWN,    /* a non-blocking description of our own */
    SINK_SOCKET  /* a socket cannot be opened again, but can be sent to with MSG_DONTWAIT */
};

/* The one log of the process: set by log_open before threads start; afterwards only its atomics change. */
static struct {
    const char *program;
    enum sink_kind kind;
    int fd;
    _Atomic int level;
    atomic_bool torn; /* the last line went out in part: end it before the next */
    _Atomic uint64_t lost;
    pthread_mutex_t lock; /* SINK_SHARED: between poll and write nobody else may fill the pipe */
} sink = {.program = "cavage", .fd = STDERR_FILENO, .level = LOG_LEVEL_INFO, .lock = PTHREAD_MUTEX_INITIALIZER};

void log_open(const char *program, enum log_level level)
{
    if (sink.kind == SINK_OWN)
        close(sink.fd);
    sink.program = program;
    sink.kind = SINK_SHARED;
    atomic_store(&sink.level, (int)level);
    atomic_store(&sink.torn, false);
    atomic_store(&sink.lost, 0);
    sink.fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (sink.fd >= 0) {
        sink.kind = SINK_OWN;
        return;
    }
    int type;
    socklen_t size = sizeof(type);
    sink.fd = STDERR_FILENO;
    if (getsockopt(STDERR_FILENO, SOL_SOCKET, SO_TYPE, &type, &size) == 0)
        sink.kind = SINK_SOCKET;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&sink.level, (int)level, memory_order_relaxed);
}

uint64_t log_lost(void)
{
    return atomic_load_explicit(&sink.lost, memory_order_relaxed);
}

/* A line in the making. `room` is what may still be used before the ending; `cut` says that something was left out. */
struct line {
    char bytes[LINE_BYTES];
    size_t used;
    size_t room;
    bool cut;
};

static void put_raw(struct line *line, const char *text, size_t len)
{
    if (len > line->room) {
        line->cut = true;
        return;
    }
    memcpy(line->bytes + line->used, text, len);
    line->used += len;
    line->room -= len;
}

static void put_text(struct line *line, const char *text)
{
    put_raw(line, text, strlen(text));
}

/* The JSON form of one character, from *text on, which is moved behind it. */
static size_t escape(const unsigned char **text, char out[ESCAPE_BYTES + 1])
{
    uint32_t code;
    size_t len = utf8_next(*text, &code);
    if (len == 0) {
        *text += 1;
        memcpy(out, "\xef\xbf\xbd", 3);
        return 3;
    }
    const unsigned char *from = *text;
    *text += len;
    if (code == '"' || code == '\\') {
        out[0] = '\\';
        out[1] = (char)code;
        return 2;
    }
    /* C1 controls too: terminals obey them. */
    if (code < 0x20 || (code >= 0x7f && code < 0xa0))
        return (size_t)snprintf(out, ESCAPE_BYTES + 1, "\\u%04x", (unsigned)code);
    memcpy(out, from, len);
    return len;
}

static void put_string(struct line *line, const char *text)
{
    const unsigned char *next = (const unsigned char *)(text == NULL ? "" : text);
    size_t left = VALUE_BYTES;
    put_text(line, "\"");
    while (*next != '\0') {
        char one[ESCAPE_BYTES + 1];
        size_t len = escape(&next, one);
        /* One byte stays for the closing quote. */
        if (len > left || len + 1 > line->room) {
            line->cut = true;
            break;
        }
        put_raw(line, one, len);
        left -= len;
    }
    put_text(line, "\"");
}

static void put_name(struct line *line, const char *name)
{
    put_text(line, line->used <= 1 ? "{" : ",");
    put_string(line, name);
    put_text(line, ":");
}

static void put_named_string(struct line *line, const char *name, const char *text)
{
    put_name(line, name);
    put_string(line, text);
}

static void put_number(struct line *line, const char *name, bool negative, uint64_t magnitude)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%s%llu", negative ? "-" : "", (unsigned long long)magnitude);
    put_name(line, name);
    put_text(line, digits);
}

/* Leave a field out unless its name, quotes and some of its value fit. */
static void put_field(struct line *line, const struct log_field *field)
{
    enum { VALUE_MIN = 24 };
    if (ESCAPE_BYTES * strlen(field->name) + VALUE_MIN + 8 > line->room) {
        line->cut = true;
        return;
    }
    if (field->type == LOG_TYPE_STR)
        put_named_string(line, field->name, field->str);
    else if (field->type == LOG_TYPE_I64)
        put_number(line, field->name, field->i64 < 0, field->i64 < 0 ? 0 - (uint64_t)field->i64 : (uint64_t)field->i64);
    else
        put_number(line, field->name, false, field->u64);
}

static void compose(struct line *line, enum log_level level, const char *event, const char *message,
                    const struct log_field *fields)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    char time[25];
    clock_format(clock_wall_us(), time);
    /* The first byte can end a line that was torn; see emit. */
    line->bytes[0] = '\n';
    line->used = 1;
    line->room = sizeof(line->bytes) - 1 - (sizeof(line_end_cut) - 1);
    line->cut = false;
    put_named_string(line, "time", time);
    put_named_string(line, "level", levels[level]);
    put_named_string(line, "program", sink.program);
    put_number(line, "pid", false, (uint64_t)getpid());
    put_named_string(line, "event", event);
    put_named_string(line, "message", message);
    for (; fields->type != LOG_TYPE_END; fields++)
        put_field(line, fields);
    line->room += sizeof(line_end_cut) - 1;
    put_text(line, line->cut ? line_end_cut : line_end);
}

static ssize_t write_shared(const char *bytes, size_t len)
{
    struct pollfd ready = {.fd = sink.fd, .events = POLLOUT};
    ssize_t put = -1;
    pthread_mutex_lock(&sink.lock);
    if (poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0)
        put = write(sink.fd, bytes, len);
    pthread_mutex_unlock(&sink.lock);
    return put;
}

static ssize_t write_once(const char *bytes, size_t len)
{
    if (sink.kind == SINK_OWN)
        return write(sink.fd, bytes, len);
    if (sink.kind == SINK_SOCKET)
        return send(sink.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return write_shared(bytes, len);
}

/* One write a line. A line that went out in part is closed with a newline by the next one, so that only that one is spoilt. */
static void emit(const struct line *line)
{
    bool torn = atomic_exchange_explicit(&sink.torn, false, memory_order_relaxed);
    size_t start = torn ? 0 : 1;
    size_t len = line->used - start;
    ssize_t put = write_once(line->bytes + start, len);
    if (put == (ssize_t)len)
        return;
    if (torn || put > 0)
        atomic_store_explicit(&sink.torn, true, memory_order_relaxed);
    atomic_fetch_add_explicit(&sink.lost, 1, memory_order_relaxed);
}

void log_write(enum log_level level, const char *event, const char *message, const struct log_field *fields)
{
    if ((int)level > atomic_load_explicit(&sink.level, memory_order_relaxed))
        return;
    int saved = errno;
    struct line line;
    compose(&line, level, event, message, fields);
    emit(&line);
    errno = saved;
}
