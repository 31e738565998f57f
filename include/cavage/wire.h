/* SPDX-License-Identifier: MIT */
/* The messages between processes as plain structs; packed to and unpacked from protobuf headers, with every field bounded. */
#ifndef CAVAGE_WIRE_H
#define CAVAGE_WIRE_H

#include "cavage/id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WIRE_ADDRESS_SIZE = 128, /* with NUL */
    WIRE_REQUEST_SIZE = 4096,
    WIRE_OUTPUTS_MAX = 16,
    WIRE_DETAIL_SIZE = 256,
    WIRE_TRACE_SIZE = 64,
    WIRE_VERSION_SIZE = 32,
    WIRE_HELD_MAX = 512, /* converters and their prefetched jobs */
    WIRE_EXTENTS_MAX = 512,
    WIRE_DIGEST_BYTES = 32
};

/* The path of the socket where workers ask for an API's arena, beside that of its ipc result address. */
enum { WIRE_ARENA_PATH_SIZE = WIRE_ADDRESS_SIZE };
/* False: the address, of less than WIRE_ADDRESS_SIZE characters, is no ipc one. */
bool wire_arena_path(const char *result_address, char out[WIRE_ARENA_PATH_SIZE]);

enum operation { OPERATION_RESIZE = 1, OPERATION_INFO = 2, OPERATION_RENDITIONS = 3 };

/* How a job ended, in the worker's words. */
enum outcome {
    OUTCOME_OK = 0,
    OUTCOME_NOT_STARTED = 1,  /* refused: another boot was named, or the worker drains; counts as no attempt */
    OUTCOME_NOT_AN_IMAGE = 2, /* not a format we take */
    OUTCOME_UNDECODABLE = 3,  /* damaged, or its decoder gave up */
    OUTCOME_TOO_LARGE = 4,    /* pixels or output over the limit; limit_value and actual_value tell */
    OUTCOME_BAD_REQUEST = 5,  /* the parameters do not fit this image */
    OUTCOME_CRASHED = 6,      /* the converter died of a signal, or of its memory limit */
    OUTCOME_DEADLINE = 7,     /* the converter was killed at the deadline */
    OUTCOME_LOST = 8,         /* the converter was lost through no fault of the image; start it again */
    OUTCOME_INTERNAL = 9      /* our fault */
};

/* The parameter that does not fit an image: never a text, which a converter could choose. The numbers travel in RESULT; add at the end. */
enum wire_parameter {
    WIRE_PARAMETER_NONE = 0,
    WIRE_PARAMETER_CROP = 1,
    WIRE_PARAMETER_PAGE = 2,
    WIRE_PARAMETER_MAX_BYTES = 3,
    WIRE_PARAMETER_ROTATE = 4
};

struct wire_hello {
    struct id api_boot;
    struct id worker_boot; /* zero: not known */
    uint32_t link;
    char result_address[WIRE_ADDRESS_SIZE];
    uint64_t sent;
    uint32_t queued;
    bool lends;
};

struct wire_status {
    struct id worker_boot;
    struct id api_boot;
    uint32_t link;
    uint64_t sequence;
    uint32_t slots;
    uint32_t busy;
    uint32_t load_permille;
    bool draining;
    char version[WIRE_VERSION_SIZE];
    uint64_t seen;
    uint64_t limit;
    size_t held_count;            /* 0 .. WIRE_HELD_MAX */
    uint64_t held[WIRE_HELD_MAX]; /* ascending */
    uint64_t longest;             /* image, in bytes; 0: not told */
};

struct wire_job {
    struct id api_boot;
    struct id worker_boot;
    uint32_t link;
    uint64_t sequence;
    uint64_t job;
    uint32_t remaining_ms;
    enum operation operation;
    char request[WIRE_REQUEST_SIZE];
    char traceparent[WIRE_TRACE_SIZE];
    /* The image is in an arena, and the body empty. All 0: the body is the image. */
    uint64_t arena;
    size_t image_bytes;
    size_t extent_count; /* 1 .. WIRE_EXTENTS_MAX */
    uint32_t extents[WIRE_EXTENTS_MAX];
};

struct wire_cancel {
    struct id api_boot;
    struct id worker_boot;
    uint32_t link;
    uint64_t sequence;
    uint64_t job;
};

struct wire_output {
    uint32_t format, width, height, pages; /* format: enum image_format */
    uint64_t bytes;
};

struct wire_result {
    struct wire_status status;
    uint64_t sequence;
    uint64_t job;
    enum outcome outcome;
    char detail[WIRE_DETAIL_SIZE];
    uint32_t input_format, input_width, input_height, input_pages;     /* format: enum image_format */
    uint32_t output_format, output_width, output_height, output_pages; /* of a resize */
    size_t output_count;                                               /* of renditions; 0 .. WIRE_OUTPUTS_MAX */
    struct wire_output outputs[WIRE_OUTPUTS_MAX];                      /* in the body one behind the other */
    uint32_t failed_output; /* of renditions: 1 .. WIRE_OUTPUTS_MAX; 0: none by itself */
    uint64_t cpu_us, wait_us, convert_us;
    uint64_t limit_value, actual_value;
    enum wire_parameter parameter;
};

struct wire_arena {
    struct id api_boot;
    struct id worker_boot;
    uint64_t number; /* 0: asked for. The rest is 0 then, and not otherwise */
    size_t extent_bytes;
    uint32_t extents;
};

struct wire_usage {
    struct id producer;
    uint64_t epoch;
    uint64_t sequence;
    int64_t hour;
    uint32_t records;
    uint8_t digest[WIRE_DIGEST_BYTES];
    char ack_address[WIRE_ADDRESS_SIZE];
    bool gap;
    uint64_t previous_epoch;
    uint64_t previous_sequence;
};

struct wire_ack {
    struct id producer;
    uint64_t epoch;
    uint64_t sequence;
    bool expected;
};

/* Build a whole frame, preamble, header and room for body_len bytes of body, in memory of `alloc` (bus_alloc in daemons, malloc-like in
 * tests). *data has *len bytes; *body points to the room in it. ERR_NOMEM, ERR_RANGE. */
typedef void *(*wire_alloc_fn)(size_t size);
int wire_pack_hello(const struct wire_hello *m, wire_alloc_fn alloc, uint8_t **data, size_t *len);
int wire_pack_status(const struct wire_status *m, wire_alloc_fn alloc, uint8_t **data, size_t *len);
int wire_pack_job(const struct wire_job *m, size_t body_len, wire_alloc_fn alloc, uint8_t **data, size_t *len,
                  uint8_t **body);
int wire_pack_cancel(const struct wire_cancel *m, wire_alloc_fn alloc, uint8_t **data, size_t *len);
int wire_pack_result(const struct wire_result *m, size_t body_len, wire_alloc_fn alloc, uint8_t **data, size_t *len,
                     uint8_t **body);
int wire_pack_arena(const struct wire_arena *m, wire_alloc_fn alloc, uint8_t **data, size_t *len);
int wire_pack_usage(const struct wire_usage *m, size_t body_len, wire_alloc_fn alloc, uint8_t **data, size_t *len,
                    uint8_t **body);
int wire_pack_ack(const struct wire_ack *m, wire_alloc_fn alloc, uint8_t **data, size_t *len);

/* Read a frame's protobuf header. ERR_INVALID for another type or what does not parse, ERR_RANGE for a field out of bounds; *m is then of no
 * use. Texts fit, are UTF-8 and have no control characters; addresses begin with ipc:// or tcp://; boots and producers are not zero (but
 * hello.worker_boot); sequences, jobs and epochs that name something are not 0, and are at most 2^62. An outcome that is not known here reads
 * as OUTCOME_INTERNAL, a parameter as WIRE_PARAMETER_NONE. */
struct frame;
int wire_unpack_hello(const struct frame *f, struct wire_hello *m);
int wire_unpack_status(const struct frame *f, struct wire_status *m);
int wire_unpack_job(const struct frame *f, struct wire_job *m);
int wire_unpack_cancel(const struct frame *f, struct wire_cancel *m);
int wire_unpack_result(const struct frame *f, struct wire_result *m);
int wire_unpack_arena(const struct frame *f, struct wire_arena *m);
int wire_unpack_usage(const struct frame *f, struct wire_usage *m);
int wire_unpack_ack(const struct frame *f, struct wire_ack *m);

const char *outcome_text(enum outcome outcome); /* "ok", "not_started", … */
/* "crop", "page", …; empty for none. */
const char *wire_parameter_text(enum wire_parameter parameter);

#endif
