/* SPDX-License-Identifier: MIT */
/* Jobs, from their arrival to their result. */
#include "jobs.h"

#include "answer.h"
#include "worker_metrics.h"

#include "cavage/bus.h"
#include "cavage/clock.h"
#include "cavage/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a job whose client left may still use of a converter: less than replacing the converter would cost. */
enum { CANCELLED_GRACE_US = 250 * 1000 };

struct job {
    struct pool_job pool; /* first: the pool hands back its address */
    struct job *next;
    size_t api;
    bool cancelled;
    bool unreadable; /* its image was in an arena that is gone */
    struct wire_job wire;
    uint8_t *message; /* holds the image; NULL: it is in an arena, */
    uint8_t *copy;    /* or here, once it had to be put together */
    int64_t received_us, begun_us;
    struct image_header header;
};

/* A singly linked list in order of arrival. */
struct list {
    struct job *first;
    struct job **last;
};

struct jobs {
    struct jobs_config config;
    struct pool *pool;
    struct list waiting;
    struct list running;
};

static void list_init(struct list *l)
{
    l->first = NULL;
    l->last = &l->first;
}

static void list_append(struct list *l, struct job *j)
{
    j->next = NULL;
    *l->last = j;
    l->last = &j->next;
}

static void list_prepend(struct list *l, struct job *j)
{
    j->next = l->first;
    l->first = j;
    if (!j->next)
        l->last = &j->next;
}

static void list_remove(struct list *l, struct job *j)
{
    for (struct job **at = &l->first; *at; at = &(*at)->next) {
        if (*at == j) {
            *at = j->next;
            if (!j->next)
                l->last = at;
            return;
        }
    }
}

int jobs_new(const struct jobs_config *config, struct jobs **out)
{
    struct jobs *jobs = calloc(1, sizeof(*jobs));
    if (!jobs)
        return ERR_NOMEM;
    jobs->config = *config;
    list_init(&jobs->waiting);
    list_init(&jobs->running);
    *out = jobs;
    return 0;
}

void jobs_set_pool(struct jobs *jobs, struct pool *pool)
{
    jobs->pool = pool;
}

static bool is_lent(const struct job *j)
{
    return !j->message && !j->copy;
}

/* An image of our own goes with its job; one in an arena its API wipes. */
static void job_free(struct job *j)
{
    uint8_t *image = j->message ? j->message + (j->pool.input.whole - j->message) : j->copy;
    if (image)
        explicit_bzero(image, j->pool.input.len);
    bus_free(j->message);
    free(j->copy);
    free(j);
}

static void list_free(struct list *l)
{
    while (l->first) {
        struct job *j = l->first;
        list_remove(l, j);
        job_free(j);
    }
}

void jobs_free(struct jobs *jobs)
{
    if (!jobs)
        return;
    list_free(&jobs->waiting);
    list_free(&jobs->running);
    free(jobs);
}

/* A result with what is known of the job. */
static void result_init(const struct job *j, enum outcome outcome, enum convert_detail detail, struct wire_result *r)
{
    memset(r, 0, sizeof(*r));
    r->sequence = j->wire.sequence;
    r->job = j->wire.job;
    r->outcome = outcome;
    snprintf(r->detail, sizeof(r->detail), "%s", answer_text(outcome, detail));
    r->parameter = answer_parameter(detail);
    r->input_format = j->header.format;
    r->input_width = j->header.width;
    r->input_height = j->header.height;
    r->input_pages = j->header.pages;
    r->wait_us = (uint64_t)((j->begun_us ? j->begun_us : clock_monotonic_us()) - j->received_us);
}

/* What is allowed and what there is, and for a limit by format its sentence. */
static void take_limit(struct wire_result *r, enum convert_detail detail, uint64_t allowed, uint64_t actual)
{
    char text[LIMITS_TEXT_SIZE];
    r->limit_value = allowed;
    r->actual_value = actual;
    if (detail < DETAIL_LIMITS || r->outcome != OUTCOME_TOO_LARGE)
        return;
    struct limits_breach over = {(enum limit)(detail - DETAIL_LIMITS), allowed, actual};
    snprintf(r->detail, sizeof(r->detail), "%s", limits_tell(&over, text));
}

/* Hand the result over and forget the job, which is on no list any more. */
static void job_end(struct jobs *jobs, struct job *j, struct wire_result *r, const uint8_t *body, size_t body_len)
{
    bool wanted = !j->cancelled;
    metrics_add(jobs->config.metrics, wanted ? METRIC_JOBS + (size_t)r->outcome : METRIC_JOBS_CANCELLED, 1);
    if (j->api != JOBS_NO_API)
        jobs->config.ended(jobs->config.arg, j->api, r, body, body_len, wanted);
    job_free(j);
}

static void job_refuse(struct jobs *jobs, struct job *j, enum outcome outcome, enum convert_detail detail)
{
    struct wire_result r;
    result_init(j, outcome, detail, &r);
    job_end(jobs, j, &r, NULL, 0);
}

static void job_refuse_large(struct jobs *jobs, struct job *j, const struct limits_breach *over)
{
    struct wire_result r;
    result_init(j, OUTCOME_TOO_LARGE, (enum convert_detail)(DETAIL_LIMITS + over->limit), &r);
    take_limit(&r, (enum convert_detail)(DETAIL_LIMITS + over->limit), over->allowed, over->actual);
    job_end(jobs, j, &r, NULL, 0);
}

/* What a test's image asks to be acted out. */
static enum act act_of(const struct jobs *jobs, const struct input *image)
{
    enum act act = ACT_CONVERT;
    uint8_t tail[ACT_ORDER_MAX];
    size_t len;
    if (jobs->config.test_mode) {
        const uint8_t *front = input_front(image, &len);
        act = act_find(front, len);
    }
    if (jobs->config.test_mode && act == ACT_CONVERT && !image->whole)
        act = act_find(tail, input_tail(image, tail, sizeof(tail)));
    return act == ACT_CONVERT && jobs->config.stub.on ? ACT_SLEEP : act;
}

static uint32_t sleep_of(const struct jobs *jobs)
{
    struct id id = {0};
    uint64_t random;
    if (jobs->config.stub.exponential)
        id_random(&id);
    memcpy(&random, id.bytes, sizeof(random));
    return stub_sleep_us(&jobs->config.stub, random);
}

/* Put the image together in memory of our own. */
static int job_gather(struct job *j)
{
    j->copy = malloc(j->pool.input.len);
    if (!j->copy)
        return ERR_NOMEM;
    input_copy(&j->pool.input, j->copy);
    j->pool.input = (struct input){.len = j->pool.input.len, .whole = j->copy};
    return ERR_OK;
}

/* What is read here is what the converter will get: its API changes nothing in extents that are lent, and the converter has no access to them. It could change its own
 * input meanwhile, so that is never read for this. */
static int job_read_header(struct job *j)
{
    size_t len;
    const uint8_t *front = input_front(&j->pool.input, &len);
    if (len < j->pool.input.len && image_header_read_front(front, len, &j->header) == ERR_OK)
        return ERR_OK;
    if (len < j->pool.input.len && job_gather(j))
        return ERR_NOMEM;
    return image_header_read(j->copy ? j->copy : front, j->pool.input.len, &j->header);
}

/* Judge the image by our own reading of its header. False when the job ended by that. */
static bool job_admit(struct jobs *jobs, struct job *j)
{
    if (j->pool.act != ACT_CONVERT && j->pool.act != ACT_SLEEP)
        return true;
    struct limits_breach over;
    int err = job_read_header(j);
    if (err == ERR_NOMEM)
        job_refuse(jobs, j, OUTCOME_NOT_STARTED, DETAIL_NONE);
    else if (err == ERR_NOTFOUND)
        job_refuse(jobs, j, OUTCOME_NOT_AN_IMAGE, DETAIL_NONE);
    else if (err && limits_know(jobs->config.limits, j->header.format))
        job_refuse(jobs, j, OUTCOME_UNDECODABLE, j->header.format == IMAGE_SVG ? DETAIL_SVG : DETAIL_DAMAGED);
    else if (!limits_know(jobs->config.limits, j->header.format))
        job_refuse(jobs, j, OUTCOME_NOT_AN_IMAGE, DETAIL_SVG_OFF);
    else if (!limits_take(jobs->config.limits, &j->header, &over))
        job_refuse_large(jobs, j, &over);
    else
        return true;
    return false;
}

/* How many pictures the job asks for; 0: it is not understood. */
static uint32_t outputs_of(const struct wire_job *m)
{
    struct renditions r;
    struct renditions_problem problem;
    if (m->operation != OPERATION_RENDITIONS)
        return 1;
    return renditions_parse(m->request, strlen(m->request), &r, &problem) ? 0 : (uint32_t)r.count;
}

int jobs_add(struct jobs *jobs, int64_t now_us, size_t api, const struct wire_job *m, uint8_t *message,
             const struct input *image)
{
    struct job *j = calloc(1, sizeof(*j));
    if (!j) {
        bus_free(message);
        return ERR_NOMEM;
    }
    j->api = api;
    j->wire = *m;
    j->received_us = now_us;
    j->pool.input = *image;
    if (image->whole) {
        j->message = message;
    } else {
        j->pool.input.extents = j->wire.extents;
        bus_free(message);
    }
    j->pool.operation = m->operation;
    j->pool.request = j->wire.request;
    j->pool.deadline_us = now_us + (int64_t)m->remaining_ms * 1000;
    j->pool.act = act_of(jobs, &j->pool.input);
    j->pool.sleep_us = sleep_of(jobs);
    j->pool.outputs = outputs_of(m);
    if (j->pool.outputs == 0) {
        job_refuse(jobs, j, OUTCOME_BAD_REQUEST, DETAIL_REQUEST);
    } else if (job_admit(jobs, j)) {
        list_append(&jobs->waiting, j);
        metrics_add(jobs->config.metrics, METRIC_JOBS_WAITING, 1);
    }
    return 0;
}

static void leave_queue(struct jobs *jobs, struct job *j)
{
    list_remove(&jobs->waiting, j);
    metrics_add(jobs->config.metrics, METRIC_JOBS_WAITING, -1);
}

static void job_cancel_waiting(struct jobs *jobs, struct job *j)
{
    struct wire_result r;
    leave_queue(jobs, j);
    j->cancelled = true;
    result_init(j, OUTCOME_NOT_STARTED, DETAIL_NONE, &r);
    job_end(jobs, j, &r, NULL, 0);
}

static void job_cancel_running(struct jobs *jobs, struct job *j)
{
    j->cancelled = true;
    pool_hurry(jobs->pool, &j->pool, CANCELLED_GRACE_US);
}

/* An API that comes by another link begins its sequences anew. */
static struct job *list_find(const struct list *l, const struct wire_cancel *m)
{
    for (struct job *j = l->first; j; j = j->next)
        if (j->wire.sequence == m->sequence && j->wire.link == m->link && j->wire.job == m->job &&
            id_equal(&j->wire.api_boot, &m->api_boot))
            return j;
    return NULL;
}

void jobs_cancel(struct jobs *jobs, const struct wire_cancel *m)
{
    struct job *waiting = list_find(&jobs->waiting, m);
    struct job *running = list_find(&jobs->running, m);
    if (waiting)
        job_cancel_waiting(jobs, waiting);
    if (running)
        job_cancel_running(jobs, running);
}

void jobs_forget_api(struct jobs *jobs, size_t api)
{
    struct job *next;
    for (struct job *j = jobs->waiting.first; j; j = next) {
        next = j->next;
        if (j->api == api) {
            j->api = JOBS_NO_API;
            job_cancel_waiting(jobs, j);
        }
    }
    for (struct job *j = jobs->running.first; j; j = j->next) {
        if (j->api == api) {
            j->api = JOBS_NO_API;
            job_cancel_running(jobs, j);
        }
    }
}

void jobs_lose_arena(struct jobs *jobs, size_t api)
{
    struct job *next;
    for (struct job *j = jobs->waiting.first; j; j = next) {
        next = j->next;
        if (j->api == api && is_lent(j)) {
            leave_queue(jobs, j);
            job_refuse(jobs, j, OUTCOME_NOT_STARTED, DETAIL_NONE);
        }
    }
    for (struct job *j = jobs->running.first; j; j = j->next)
        if (j->api == api && is_lent(j))
            j->unreadable = true;
}

/* The job goes back to where it was: at the head. */
static void job_put_back(struct jobs *jobs, struct job *j)
{
    j->begun_us = 0;
    list_prepend(&jobs->waiting, j);
    metrics_add(jobs->config.metrics, METRIC_JOBS_WAITING, 1);
}

void jobs_begin(struct jobs *jobs, int64_t now_us)
{
    struct job *j;
    while ((j = jobs->waiting.first) && pool_idle(jobs->pool) > 0) {
        leave_queue(jobs, j);
        if (now_us >= j->pool.deadline_us) {
            /* No converter ended of it, so this is no word on the image. Its API knows when its time is up. */
            job_refuse(jobs, j, OUTCOME_NOT_STARTED, DETAIL_NONE);
            continue;
        }
        j->begun_us = now_us;
        int err = pool_start(jobs->pool, &j->pool);
        if (err == ERR_AGAIN) {
            job_put_back(jobs, j);
            return;
        }
        if (err) {
            job_refuse(jobs, j, OUTCOME_INTERNAL, DETAIL_NONE);
            continue;
        }
        metrics_observe(jobs->config.metrics, METRIC_WAIT_SECONDS, now_us - j->received_us);
        list_append(&jobs->running, j);
    }
}

static void finish_resize(struct jobs *jobs, struct job *j, const struct pool_result *result, struct wire_result *r)
{
    r->output_format = result->made[0].format;
    r->output_width = result->made[0].width;
    r->output_height = result->made[0].height;
    r->output_pages = result->made[0].pages;
    job_end(jobs, j, r, result->output, result->output_len);
}

static void finish_renditions(struct jobs *jobs, struct job *j, const struct pool_result *result, struct wire_result *r)
{
    r->output_count = result->made_count;
    for (size_t i = 0; i < result->made_count; i++) {
        const struct image_header *made = &result->made[i];
        r->outputs[i] = (struct wire_output){.format = made->format,
                                             .width = made->width,
                                             .height = made->height,
                                             .pages = made->pages,
                                             .bytes = result->made_bytes[i]};
    }
    job_end(jobs, j, r, result->output, result->output_len);
}

static void finish_info(struct jobs *jobs, struct job *j, const struct pool_result *result, struct wire_result *r)
{
    char json[ANSWER_INFO_SIZE];
    size_t len = answer_info(&j->header, &result->info, json);
    job_end(jobs, j, r, (const uint8_t *)json, len);
}

static void job_finish(struct jobs *jobs, struct job *j, const struct pool_result *result)
{
    struct wire_result r;
    result_init(j, result->outcome, result->detail, &r);
    r.cpu_us = result->cpu_us > 0 ? (uint64_t)result->cpu_us : 0;
    r.convert_us = (uint64_t)result->convert_us;
    r.failed_output = result->failed_output;
    take_limit(&r, result->detail, result->limit_value, result->actual_value);
    if (r.outcome != OUTCOME_OK)
        job_end(jobs, j, &r, NULL, 0);
    else if (j->pool.operation == OPERATION_INFO)
        finish_info(jobs, j, result, &r);
    else if (j->pool.operation == OPERATION_RENDITIONS)
        finish_renditions(jobs, j, result, &r);
    else
        finish_resize(jobs, j, result, &r);
}

void jobs_finished(void *arg, const struct pool_job *job, const struct pool_result *result)
{
    static const struct pool_result never_begun = {.outcome = OUTCOME_NOT_STARTED};
    struct jobs *jobs = arg;
    struct job *j = jobs->running.first;
    while (j && &j->pool != job)
        j = j->next;
    if (!j)
        return;
    list_remove(&jobs->running, j);
    if (!result && !j->cancelled && !j->unreadable)
        job_put_back(jobs, j);
    else
        job_finish(jobs, j, result ? result : &never_begun);
    if (result && result->output) {
        explicit_bzero(result->output, result->output_len);
        free(result->output);
    }
}
