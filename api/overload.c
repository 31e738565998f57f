/* SPDX-License-Identifier: MIT */
/* One lock around the estimate of costs and the books of admission; the request remembers what was booked for it. */
#include "overload.h"

#include "api.h"
#include "outputs.h"

#include "cavage/clock.h"
#include "cavage/cost.h"
#include "cavage/err.h"

#include <stdlib.h>
#include <string.h>

enum { UNKNOWN_BYTES = 256 * 1024 }; /* of a body whose length is not known yet */

struct overload {
    struct api *api;
    pthread_mutex_t lock; /* guards what follows */
    struct cost *cost;
    struct admission_books *books;
};

int overload_new(struct api *api, struct overload **out)
{
    const struct conf *conf = api->daemon->conf;
    struct admission_config config = {
        .jobs_max = conns_capacity(api->conns), /* a connection has one job at most */
        .target_us = {[LANE_SMALL] = conf_int(conf, CONF_QUEUE_TARGET_MS) * 1000,
                      [LANE_LARGE] = conf_int(conf, CONF_QUEUE_LARGE_TARGET_MS) * 1000},
        .large_percent = (unsigned)conf_int(conf, CONF_QUEUE_LARGE_PERCENT),
        .fifo = strcmp(conf_str(conf, CONF_QUEUE_DISCIPLINE), "fifo") == 0,
    };
    struct overload *o = calloc(1, sizeof(*o));
    if (!o)
        return ERR_NOMEM;
    o->api = api;
    pthread_mutex_init(&o->lock, NULL);
    int err = cost_new(&o->cost);
    if (!err)
        err = admission_books_new(&config, &o->books);
    if (err) {
        overload_free(o);
        return err;
    }
    *out = o;
    return 0;
}

void overload_free(struct overload *o)
{
    if (!o)
        return;
    admission_books_free(o->books);
    cost_free(o->cost);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

void overload_expect(struct request *r, const struct params *params)
{
    uint32_t width, height;
    params_box(params, &width, &height);
    if (r->expected && (uint64_t)width + height <= (uint64_t)r->box_width + r->box_height)
        return;
    r->expected = true;
    r->box_width = width;
    r->box_height = height;
    r->made_format = params->format;
    r->made_frames = params->page == 0 &&
                     (params->format == IMAGE_UNKNOWN || params->format == IMAGE_GIF || params->format == IMAGE_WEBP);
}

/* Pixels of a result in a box, of which one or both sides may follow the aspect of the input. */
static uint64_t pixels_in_box(const struct request *r, const struct image_header *input)
{
    uint64_t across = input->width ? input->width : 4, down = input->height ? input->height : 3;
    uint64_t width = r->box_width, height = r->box_height;
    if (width == 0 && height == 0)
        return input->width ? across * down : 0;
    if (width == 0)
        width = height * across / down + 1;
    if (height == 0)
        height = width * down / across + 1;
    return width * height;
}

/* All zero for a header: it is not known. */
static void describe(const struct request *r, const struct image_header *input, size_t bytes, struct cost_subject *s)
{
    *s = (struct cost_subject){.input = input->format,
                               .bytes = bytes,
                               .input_pixels = input->width ? image_header_pixels(input) : 0,
                               .output = r->made_format};
    if (r->operation == OPERATION_INFO)
        return;
    s->output_pixels = pixels_in_box(r, input);
    if (s->output_pixels == 0)
        s->output_pixels = (uint64_t)bytes + 1; /* as large as the input, of which only the bytes are known */
    if (r->made_frames && input->pages > 1)
        s->output_pixels *= input->pages;
}

static void describe_blindly(const struct request *r, size_t bytes, struct cost_subject *s)
{
    static const struct image_header unknown;
    describe(r, &unknown, bytes, s);
}

static int64_t estimate_us(const struct overload *o, const struct request *r, const struct cost_subject *s)
{
    return outputs_cost_us(r, cost_estimate_us(o->cost, s));
}

static bool judge(struct overload *o, struct request *r, const struct admission_job *job)
{
    struct admission_forecast forecast;
    admission_judge(o->books, clock_monotonic_us(), job, &forecast);
    if (forecast.admitted)
        return true;
    bool large = job->lane == LANE_LARGE;
    problem_set(&r->problem, PROBLEM_OVERLOADED, "The image would have to wait for about %lld ms.",
                (long long)(forecast.wait_us / 1000));
    r->retry_us = forecast.retry_us;
    r->refused_by = large ? CHECK_WAIT_LARGE : CHECK_WAIT_SMALL;
    return false;
}

bool overload_admits(struct overload *o, struct request *r)
{
    struct cost_subject subject;
    size_t bytes = r->chunked ? UNKNOWN_BYTES : (size_t)r->length;
    describe_blindly(r, bytes, &subject);
    pthread_mutex_lock(&o->lock);
    struct admission_job job = {
        .customer = r->customer, .lane = lane_of(bytes), .cost_us = estimate_us(o, r, &subject)};
    bool good = judge(o, r, &job);
    pthread_mutex_unlock(&o->lock);
    return good;
}

bool overload_enter(struct overload *o, struct request *r)
{
    describe(r, &r->header, r->staged.bytes, &r->subject);
    pthread_mutex_lock(&o->lock);
    r->job_terms = (struct admission_job){
        .customer = r->customer, .lane = lane_of(r->staged.bytes), .cost_us = estimate_us(o, r, &r->subject)};
    bool good = judge(o, r, &r->job_terms);
    if (good && admission_queue(o->books, clock_monotonic_us(), &r->job_terms) == 0)
        r->booking = BOOKED_WAITING;
    pthread_mutex_unlock(&o->lock);
    return good;
}

/* Move a booking from one state to another, if it is in that one. */
static void move(struct overload *o, struct request *r, enum booking from, enum booking to,
                 void (*step)(struct admission_books *, int64_t, const struct admission_job *))
{
    pthread_mutex_lock(&o->lock);
    if (r->booking == from) {
        step(o->books, clock_monotonic_us(), &r->job_terms);
        r->booking = to;
    }
    pthread_mutex_unlock(&o->lock);
}

void overload_sent(struct overload *o, struct request *r)
{
    move(o, r, BOOKED_WAITING, BOOKED_SENT, admission_send);
}

void overload_unsent(struct overload *o, struct request *r)
{
    move(o, r, BOOKED_SENT, BOOKED_WAITING, admission_unsend);
}

void overload_converted(struct overload *o, struct request *r)
{
    struct cost_subject blind;
    describe_blindly(r, r->subject.bytes, &blind);
    pthread_mutex_lock(&o->lock);
    if (!r->outputs) {
        cost_learn(o->cost, &r->subject, (int64_t)r->conversion.cpu_us);
        cost_learn(o->cost, &blind, (int64_t)r->conversion.cpu_us);
    }
    if (r->booking == BOOKED_SENT) {
        admission_end(o->books, clock_monotonic_us(), &r->job_terms, (int64_t)r->conversion.convert_us,
                      estimate_us(o, r, &r->subject));
        r->booking = BOOKED_NOT;
    }
    pthread_mutex_unlock(&o->lock);
}

static void end_unlearned(struct admission_books *books, int64_t now_us, const struct admission_job *job)
{
    admission_end(books, now_us, job, 0, 0);
}

void overload_leave(struct overload *o, struct request *r)
{
    move(o, r, BOOKED_WAITING, BOOKED_NOT, admission_unqueue);
    move(o, r, BOOKED_SENT, BOOKED_NOT, end_unlearned);
}

void overload_capacity(struct overload *o, const struct dispatch_stats *stats)
{
    pthread_mutex_lock(&o->lock);
    admission_set_capacity(o->books, stats->own_slots_milli, stats->idle);
    pthread_mutex_unlock(&o->lock);
}

void overload_stats(struct overload *o, struct admission_stats *out)
{
    pthread_mutex_lock(&o->lock);
    admission_stats(o->books, clock_monotonic_us(), out);
    pthread_mutex_unlock(&o->lock);
}

void overload_ratios(struct overload *o, int64_t permille[IMAGE_FORMAT_COUNT])
{
    pthread_mutex_lock(&o->lock);
    for (int i = 0; i < IMAGE_FORMAT_COUNT; i++)
        permille[i] = cost_ratio_permille(o->cost, (enum image_format)i);
    pthread_mutex_unlock(&o->lock);
}
