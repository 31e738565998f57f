/* SPDX-License-Identifier: MIT */
/* The header fields of answers. */
#include "answer.h"

#include "token.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void __attribute__((format(printf, 3, 4))) add(struct answer *a, const char *name, const char *format, ...)
{
    if (a->field_count == ANSWER_FIELDS_MAX)
        return;
    struct answer_field *field = &a->fields[a->field_count++];
    field->name = name;
    va_list args;
    va_start(args, format);
    vsnprintf(field->value, sizeof(field->value), format, args);
    va_end(args);
}

static void add_always(struct answer *a)
{
    add(a, "Cache-Control", "no-store");
    add(a, "X-Content-Type-Options", "nosniff");
}

static void add_problem(struct answer *a, const struct problem *problem, const char *request_id, int64_t wait_us,
                        uint32_t random)
{
    a->status = problem_status(problem->type);
    a->body_len = problem_json(problem, request_id, a->json);
    a->body = a->json;
    add(a, "Content-Type", "application/problem+json");
    if (problem_may_retry(problem->type))
        add(a, "Retry-After", "%u", problem_retry_after_s(wait_us, random));
    if (a->status == 401)
        add(a, "WWW-Authenticate",
            problem->type == PROBLEM_WRONG_KEY ? "Bearer realm=\"cavage\", error=\"invalid_token\""
                                               : "Bearer realm=\"cavage\"");
}

/* Until there is a token and, as far as is known, room. */
static int64_t retry_us(const struct request *r)
{
    return r->rate.wait_us > r->retry_us ? r->rate.wait_us : r->retry_us;
}

static void add_result(struct answer *a, const struct request *r)
{
    a->status = 200;
    a->body = r->text ? (const void *)r->text : r->result;
    a->body_len = r->text ? strlen(r->text) : r->result_len;
    add(a, "Content-Type", "%s", r->media_type);
}

/* The customer's limit, as the IETF draft has it: its policy, and what is left of it. */
static void add_rate(struct answer *a, const struct request *r)
{
    uint32_t burst = r->auth.burst ? r->auth.burst : 1;
    uint32_t window_s = (burst + r->auth.rate_per_s - 1) / r->auth.rate_per_s;
    add(a, "RateLimit-Policy", "\"burst\";q=%" PRIu32 ";w=%" PRIu32, burst, window_s);
    add(a, "RateLimit", "\"burst\";r=%" PRIu32 ";t=%" PRId64, r->rate.remaining, (r->rate.wait_us + 999999) / 1000000);
}

static double ms(int64_t us)
{
    return us > 0 ? (double)us / 1000 : 0;
}

static void add_timing(struct answer *a, const struct request *r)
{
    if (!r->queued_us || !r->dispatched_us) {
        if (r->auth_us > 0)
            add(a, "Server-Timing", "auth;dur=%.3f", ms(r->auth_us));
        return;
    }
    add(a, "Server-Timing", "auth;dur=%.3f, stage;dur=%.3f, queue;dur=%.3f, convert;dur=%.3f", ms(r->auth_us),
        ms(r->staged_us - r->admitted_us), ms(r->dispatched_us - r->queued_us + (int64_t)r->conversion.wait_us),
        ms((int64_t)r->conversion.convert_us));
}

/* What follows the fields of the content. */
static void add_rest(struct answer *a, const struct request *r, enum problem_type type, bool close)
{
    add_always(a);
    if (r->id[0])
        add(a, "X-Request-Id", "%s", r->id);
    if (r->traceparent[0])
        add(a, "traceparent", "%s", r->traceparent);
    if (r->limited)
        add_rate(a, r);
    if (r->varies)
        add(a, "Vary", "Accept");
    if (type == PROBLEM_METHOD_NOT_ALLOWED)
        add(a, "Allow", "%s", route_allow(r->parsed.route));
    if (close)
        add(a, "Connection", "close");
}

void answer_make(const struct request *r, bool close, uint32_t random, struct answer *out)
{
    out->field_count = 0;
    if (r->problem.type != PROBLEM_NONE)
        add_problem(out, &r->problem, r->id, retry_us(r), random);
    else
        add_result(out, r);
    add_timing(out, r);
    add_rest(out, r, r->problem.type, close);
}

void answer_early(const struct request *r, const struct problem *problem, uint32_t random, struct answer *out)
{
    out->field_count = 0;
    add_problem(out, problem, r->id, retry_us(r), random);
    add_rest(out, r, problem->type, true);
}

/* What a raw answer can be. */
static const char *reason(unsigned status)
{
    static const struct {
        unsigned status;
        const char *reason;
    } table[] = {
        {400, "Bad Request"},       {401, "Unauthorized"},          {403, "Forbidden"},
        {404, "Not Found"},         {405, "Method Not Allowed"},    {406, "Not Acceptable"},
        {408, "Request Timeout"},   {411, "Length Required"},       {413, "Content Too Large"},
        {429, "Too Many Requests"}, {500, "Internal Server Error"}, {503, "Service Unavailable"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].status == status)
            return table[i].reason;
    return "Error";
}

/* Append to text of *len bytes; what does not fit is left out. */
static void __attribute__((format(printf, 3, 4)))
append(char out[ANSWER_RAW_SIZE], size_t *len, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out + *len, ANSWER_RAW_SIZE - *len, format, args);
    va_end(args);
    if (n > 0 && (size_t)n < ANSWER_RAW_SIZE - *len)
        *len += (size_t)n;
}

size_t answer_raw(const struct answer *a, char out[ANSWER_RAW_SIZE])
{
    size_t len = 0;
    append(out, &len, "HTTP/1.1 %u %s\r\n", a->status, reason(a->status));
    for (size_t i = 0; i < a->field_count; i++)
        append(out, &len, "%s: %s\r\n", a->fields[i].name, a->fields[i].value);
    append(out, &len, "Content-Length: %zu\r\n\r\n", a->body_len);
    if (a->body_len <= ANSWER_RAW_SIZE - len) {
        memcpy(out + len, a->body, a->body_len);
        len += a->body_len;
    }
    return len;
}

size_t answer_raw_problem(const struct problem *problem, uint32_t random, char out[ANSWER_RAW_SIZE])
{
    struct answer a;
    char id[USAGE_TOKEN_SIZE];
    token_request_id(NULL, id);
    a.field_count = 0;
    add_problem(&a, problem, id, 0, random);
    add_always(&a);
    add(&a, "X-Request-Id", "%s", id);
    add(&a, "Connection", "close");
    return answer_raw(&a, out);
}
