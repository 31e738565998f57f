/* SPDX-License-Identifier: MIT */
/* One request, from its first line to the end of its answer. */
#ifndef CAVAGE_API_REQUEST_H
#define CAVAGE_API_REQUEST_H

#include "conn.h"
#include "route.h"

#include "cavage/admission.h"
#include "cavage/authdb.h"
#include "cavage/cost.h"
#include "cavage/extents.h"
#include "cavage/image_header.h"
#include "cavage/problem.h"
#include "cavage/rate_limit.h"
#include "cavage/spool.h"
#include "cavage/usage.h"
#include "cavage/wire.h"

#include <stdatomic.h>

struct api;
struct loop_watch;
struct multipart;
struct digest;
struct outputs;

/* Who may do what: the HTTP thread of the connection owns the request, but in QUEUED, where the loop thread does. In HEAD, BODY and DISCARD the loop
 * may end it: with the connection's lock held it reads the fields that were set by then, and moves the request to EXPIRED. All moves go
 * through request_move. */
enum request_state {
    REQUEST_HEAD,     /* the request line is here, the headers are not */
    REQUEST_JUDGED,   /* the headers are being judged */
    REQUEST_BODY,     /* admitted; the body is being staged */
    REQUEST_DISCARD,  /* refused; the rest of the body is read and thrown away, so that the client sees the refusal */
    REQUEST_QUEUED,   /* suspended; the pipeline has it */
    REQUEST_ANSWERED, /* the answer is known; the HTTP thread is to send it */
    REQUEST_SENT,     /* the answer was given to libmicrohttpd */
    REQUEST_EXPIRED, /* the answer was written past libmicrohttpd; what still comes is thrown away until the connection is closed */
    REQUEST_GONE, /* the client left before its answer */
    REQUEST_STATES
};

/* What was short when a request was refused with 429 or 503. */
enum check {
    CHECK_NONE,
    CHECK_CONNECTIONS, /* of all */
    CHECK_CUSTOMER_CONNECTIONS,
    CHECK_MEMORY,
    CHECK_CUSTOMER_MEMORY,
    CHECK_RATE,
    CHECK_SPOOL,
    CHECK_QUEUE,
    CHECK_CUSTOMER_QUEUE,
    CHECK_WORKERS,
    CHECK_WAIT_SMALL, /* the forecast, by lane */
    CHECK_WAIT_LARGE,
    CHECK_COUNT
};

/* Where the books of admission have a request's job. */
enum booking { BOOKED_NOT, BOOKED_WAITING, BOOKED_SENT };

/* What the worker told of the conversion. */
struct conversion {
    enum image_format input_format, output_format; /* IMAGE_UNKNOWN with outputs: of several formats */
    uint64_t input_pixels, output_pixels;          /* of all pages and frames, and of all outputs */
    uint32_t outputs;                              /* pictures made */
    uint64_t cpu_us, wait_us, convert_us;
    char worker[ID_HEX_SIZE];
};

struct request {
    struct api *api;
    struct conn *conn;
    void *exchange;           /* libmicrohttpd's connection; for http.c only */
    enum request_state state; /* guarded by conn->lock */

    /* Set at the head, then constant. */
    char *target;
    struct target parsed;
    bool http11;
    bool has_body;
    bool chunked;
    uint64_t length; /* of the body, when not chunked */
    char id[USAGE_TOKEN_SIZE];
    char idempotency_key[USAGE_TOKEN_SIZE];
    char traceparent[WIRE_TRACE_SIZE];
    bool authenticated;
    bool admitted; /* it gets a usage record, whatever comes of it */
    bool last;     /* its connection ends with it: it is one too many of its customer's */
    bool limited;  /* this customer has a rate limit: `rate` is known */
    struct auth_record auth;
    struct rate_state rate;
    uint64_t customer;
    enum operation operation;
    char canonical[WIRE_REQUEST_SIZE];
    bool varies;                    /* the answer depends on Accept */
    bool expected;                  /* the next three are set */
    uint32_t box_width, box_height; /* of the result; 0: that side follows the aspect */
    enum image_format made_format;  /* IMAGE_UNKNOWN: as the input, or chosen for it */
    bool made_frames;               /* all frames of an animation may be made */
    struct outputs *outputs;        /* of renditions; NULL: one picture, or none, is asked for */

    /* Monotonic times; 0: not reached. */
    int64_t started_us;
    int64_t deadline_us;
    int64_t auth_us; /* a duration */
    int64_t admitted_us;
    int64_t refused_us;
    int64_t staged_us;
    int64_t queued_us;
    int64_t dispatched_us;
    int64_t answered_us;
    int64_t sent_us;

    /* The body. */
    struct staged staged;
    struct image_header header;    /* of the image; zeros when its first piece does not tell */
    atomic_uint_fast64_t received; /* bytes of the body that came */
    uint64_t discarded;            /* of them, after the refusal */
    struct multipart *multipart;   /* NULL: the body is the image */
    struct digest *digest;         /* of the image; only with an idempotency key */
    uint8_t body_digest[WIRE_DIGEST_BYTES];

    /* The job; the loop's. */
    struct request *next; /* in the inbox */
    uint64_t job;
    struct cost_subject subject;
    struct admission_job job_terms; /* customer, lane and cost, as booked */
    enum booking booking;           /* of overload.c */
    size_t peer;
    uint64_t sequence;
    struct loop_watch *watch;

    /* The answer: a problem, or a message of the pipeline whose body is the result, or a constant text. */
    struct problem problem;
    enum check refused_by;
    int64_t retry_us; /* after which it makes sense to try again; 0: not known */
    void *message;    /* owned; bus memory */
    const uint8_t *result;
    size_t result_len;
    const char *media_type;
    const char *text;
    struct conversion conversion;

    /* Its usage record. Written once, by whoever answers. */
    bool recorded;
    bool resolved;
    struct spool_ref ref;
};

/* Begin a request on a connection, with a copy of the raw target. NULL when memory is short. The connection's request is set. */
struct request *request_new(struct api *api, struct conn *conn, const char *target, int64_t now_us);
/* The exchange is over: forget it, wipe and free what it holds. */
void request_free(struct request *r, int64_t now_us);

/* Move to a state; false, and nothing happens, when another thread moved it elsewhere before or the move makes no sense. */
bool request_move(struct request *r, enum request_state to);
/* The same with the connection's lock held. */
bool request_move_locked(struct request *r, enum request_state to);
enum request_state request_state(struct request *r);

/* The number that stands for a customer in queues and tables of this process. */
uint64_t request_customer(const struct api *api, const char *customer);

#endif
