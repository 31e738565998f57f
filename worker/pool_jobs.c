/* SPDX-License-Identifier: MIT */
/* A job's way through a converter: handed over, answered, or cut short when the converter ends. */
#include "converter.h"
#include "pool_parts.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/id.h"
#include "cavage/log.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    REAP_RETRY_US = 1000,
    REAP_TRIES_MAX = 200,
    PATIENCE_US = 200 * 1000 /* with a converter that should end by itself */
};

void pool_end_converter(struct slot *s, enum slot_kill why)
{
    s->kill = why;
    s->state = SLOT_ENDING;
    slot_kill(s);
}

void pool_slot_timer(void *arg)
{
    struct slot *s = arg;
    struct pool *p = s->owner;
    if (s->state == SLOT_BUSY) {
        pool_end_converter(s, KILL_DEADLINE);
        pool_changed(p);
    } else if (s->state == SLOT_ENDING && s->pid_watch) {
        /* It closed its channel, or was asked to end, and lives on. */
        if (s->kill == KILL_NONE)
            s->kill = KILL_PROTOCOL;
        slot_kill(s);
    } else if (s->state == SLOT_ENDING) {
        pool_slot_ended(s, -1, 0);
    } else if (s->state == SLOT_STARTING) {
        /* The zygote hangs. Its end is seen, and the slots that waited for it are filled by the next one. */
        pidfd_send_signal(p->zygote_pidfd, SIGKILL, NULL, 0);
    }
}

/* A converter without a job. One that speaks unasked is ended: its words would be taken for the answer to the next job. */
static struct slot *find_idle(struct pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++) {
        struct slot *s = &pool->slots[i];
        if (s->state == SLOT_IDLE && !slot_has_said(s))
            return s;
        if (s->state == SLOT_IDLE)
            pool_end_converter(s, KILL_PROTOCOL);
    }
    return NULL;
}

static uint64_t random_number(void)
{
    struct id id;
    uint64_t n;
    id_random(&id);
    memcpy(&n, id.bytes, sizeof(n));
    return n;
}

int pool_start(struct pool *pool, const struct pool_job *job)
{
    struct control_job m;
    if (job->input.len > pool->config.input_bytes || strlen(job->request) >= sizeof(m.request))
        return ERR_RANGE;
    struct slot *s = find_idle(pool);
    if (!s)
        return ERR_AGAIN;
    s->started_us = clock_monotonic_us();
    s->cpu_started_us = slot_cpu_us(s);
    int64_t until = s->started_us + pool->config.deadline_us;
    if (job->deadline_us < until)
        until = job->deadline_us;
    memset(&m, 0, sizeof(m));
    m.operation = job->operation;
    m.act = job->act;
    m.sleep_us = job->sleep_us;
    m.outputs = job->outputs;
    m.deadline_ms = until > s->started_us ? (uint32_t)((until - s->started_us) / 1000) : 0;
    m.adopted = slot_is_child(s);
    m.nonce = s->nonce = random_number();
    m.len = job->input.len;
    m.limits = *pool->config.limits;
    memcpy(m.request, job->request, strlen(job->request) + 1);
    input_copy(&job->input, s->input);
    s->input_used = job->input.len;
    s->job = job;
    s->state = SLOT_BUSY;
    loop_timer_at(s->timer, until);
    /* When this fails the converter is gone; its end tells, and the job goes to another. */
    if (control_send(s->channel, &m, sizeof(m), NULL, 0))
        s->started_us = 0;
    metrics_set(pool->config.metrics, METRIC_CONVERTERS_BUSY, pool_busy(pool));
    metrics_set(pool->config.metrics, METRIC_CONVERTERS_IDLE, pool_idle(pool));
    pool_watch_soon(pool);
    return 0;
}

void pool_hurry(struct pool *pool, const struct pool_job *job, int64_t grace_us)
{
    for (unsigned i = 0; i < pool->count; i++) {
        struct slot *s = &pool->slots[i];
        int64_t end = s->started_us + grace_us;
        if (s->job == job && s->state == SLOT_BUSY && end < job->deadline_us)
            loop_timer_at(s->timer, end);
    }
}

/* Hand the job back. The slot is free for the next one, so that the callback may start it. */
static void finish_job(struct pool *p, struct slot *s, struct pool_result *r)
{
    const struct pool_job *job = s->job;
    s->job = NULL;
    if (r) {
        r->convert_us = clock_monotonic_us() - s->started_us;
        metrics_observe(p->config.metrics, METRIC_CONVERT_SECONDS, r->convert_us);
        metrics_observe(p->config.metrics, METRIC_CPU_SECONDS, r->cpu_us);
    }
    p->config.finished(p->config.arg, job, r);
}

/* What a converter may say of its own; the rest is the supervisor's to find out. */
static bool outcome_allowed(uint32_t outcome)
{
    return outcome == OUTCOME_OK || (outcome >= OUTCOME_NOT_AN_IMAGE && outcome <= OUTCOME_BAD_REQUEST) ||
           outcome == OUTCOME_INTERNAL;
}

/* Outputs lie within what was written, none is empty, and together they are no larger than the buffer. */
static bool outputs_allowed(const struct slot *s, const struct control_answer *a)
{
    const struct pool_job *job = s->job;
    bool some = job->operation == OPERATION_RENDITIONS && a->outcome == OUTCOME_OK;
    size_t left = s->output_bytes;
    if (a->output_count != (some ? job->outputs : 0) || a->failed_output > job->outputs ||
        (some && a->failed_output > 0))
        return false;
    for (size_t i = 0; i < a->output_count; i++) {
        const struct convert_output *o = &a->outputs[i];
        if (o->offset > a->len || o->len > a->len - o->offset || o->len == 0 || o->len > left)
            return false;
        left -= o->len;
    }
    return true;
}

static bool answer_allowed(const struct slot *s, const struct control_answer *a)
{
    return a->nonce == s->nonce && outcome_allowed(a->outcome) && a->detail < DETAIL_COUNT &&
           a->len <= s->output_bytes && (a->outcome == OUTCOME_OK || a->len == 0) && a->info.space < SPACE_COUNT &&
           a->info.orientation <= 8 && outputs_allowed(s, a);
}

/* Judge one output in the copy. It is billed and bounded by what it is, not by what its maker says of it. */
static int take_output(const struct limits *limits, const uint8_t *copy, size_t len, struct pool_result *r)
{
    struct limits_breach over;
    struct image_header *made = &r->made[r->made_count];
    if (image_header_read(copy, len, made) || !limits_give(limits, made, len, &over))
        return ERR_CORRUPT;
    r->made_bytes[r->made_count++] = len;
    return 0;
}

/* Copy the outputs once, since their author can still write to them, and judge the copies. */
static int take_outputs(const struct limits *limits, const struct slot *s, const struct control_answer *a,
                        struct pool_result *r)
{
    const struct convert_output whole = {.offset = 0, .len = a->len};
    const struct convert_output *outputs = a->output_count > 0 ? a->outputs : &whole;
    size_t count = a->output_count > 0 ? a->output_count : 1;
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += outputs[i].len;
    if (total == 0)
        return ERR_CORRUPT;
    uint8_t *copy = malloc(total);
    if (!copy)
        return ERR_NOMEM;
    int err = 0;
    size_t at = 0;
    for (size_t i = 0; !err && i < count; at += outputs[i++].len) {
        memcpy(copy + at, s->output + outputs[i].offset, outputs[i].len);
        err = take_output(limits, copy + at, outputs[i].len, r);
    }
    if (err) {
        explicit_bzero(copy, at);
        free(copy);
        return err;
    }
    r->output = copy;
    r->output_len = total;
    return 0;
}

/* Take over an answer that was checked. */
static int result_of(const struct limits *limits, struct slot *s, const struct control_answer *a, struct pool_result *r)
{
    const struct pool_job *job = s->job;
    memset(r, 0, sizeof(*r));
    r->outcome = a->outcome;
    r->detail = a->detail;
    r->limit_value = a->limit_value;
    r->actual_value = a->actual_value;
    r->failed_output = a->failed_output;
    r->info = a->info;
    s->output_used = a->len;
    if (a->outcome != OUTCOME_OK || job->operation == OPERATION_INFO)
        return 0;
    int err = take_outputs(limits, s, a, r);
    if (err == ERR_NOMEM) /* ours: neither the image nor the converter is to blame */
        *r = (struct pool_result){.outcome = OUTCOME_LOST};
    return err == ERR_NOMEM ? 0 : err;
}

/* Codecs leak and heaps fragment: nobody converts for ever. */
static bool is_due(const struct pool *p, const struct slot *s)
{
    return s->jobs >= p->config.recycle_jobs || clock_monotonic_us() - s->born_us >= p->config.recycle_us ||
           slot_private_bytes(s) > p->config.recycle_bytes;
}

/* A converter that has had its share ends when its channel closes. */
static void retire(struct pool *p, struct slot *s)
{
    pool_count(p, METRIC_CONVERTERS_RECYCLED);
    s->kill = KILL_RETIRED;
    s->state = SLOT_ENDING;
    loop_unwatch(s->channel_watch);
    s->channel_watch = NULL;
    close(s->channel);
    s->channel = -1;
    loop_timer_at(s->timer, clock_monotonic_us() + PATIENCE_US);
}

void pool_slot_answered(void *arg, int fd, uint32_t events)
{
    struct slot *s = arg;
    struct pool *p = s->owner;
    struct control_answer a;
    struct pool_result r;
    size_t none;
    (void)events;
    int err = control_recv(fd, &a, sizeof(a), MSG_DONTWAIT, NULL, 0, &none);
    if (err == ERR_AGAIN)
        return;
    if (err == ERR_CLOSED) {
        loop_unwatch(s->channel_watch);
        s->channel_watch = NULL;
        s->state = SLOT_ENDING;
        loop_timer_at(s->timer, clock_monotonic_us() + PATIENCE_US);
        pool_changed(p);
        return;
    }
    if (s->state == SLOT_ENDING)
        return;
    if (err || s->state != SLOT_BUSY || !answer_allowed(s, &a) || result_of(p->config.limits, s, &a, &r)) {
        pool_end_converter(s, KILL_PROTOCOL);
        pool_changed(p);
        return;
    }
    loop_timer_cancel(s->timer);
    int64_t cpu_us = slot_cpu_us(s);
    r.cpu_us = cpu_us - s->cpu_started_us;
    s->cpu_started_us = cpu_us;
    slot_wipe(s);
    s->state = SLOT_IDLE;
    s->jobs++;
    if (is_due(p, s))
        retire(p, s);
    finish_job(p, s, &r);
    pool_changed(p);
}

/* The end of a converter in mid-job, as an outcome. */
static enum outcome outcome_of_end(const struct slot *s, int status)
{
    int signo = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (s->kill == KILL_DEADLINE || s->kill == KILL_CPU || signo == SIGALRM ||
        (WIFEXITED(status) && WEXITSTATUS(status) == CONVERTER_EXIT_ALARM))
        return OUTCOME_DEADLINE;
    /* From outside: an operator, or a host that is out of memory. Not the image's fault, as far as can be told. */
    if (s->kill == KILL_NONE && signo == SIGKILL)
        return OUTCOME_LOST;
    return OUTCOME_CRASHED;
}

/* A converter that tried what it may not: told, and counted by kind. */
static void account_violation(struct pool *p, const struct slot *s, int status)
{
    static const char *const words[VIOLATION_COUNT] = {VIOLATION_WORDS};
    enum violation what = VIOLATION_COUNT;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        what = VIOLATION_SYSTEM_CALL;
    else if (s->kill == KILL_PROTOCOL)
        what = VIOLATION_PROTOCOL;
    else if (s->kill == KILL_MEMORY)
        what = VIOLATION_MEMORY;
    else if (s->kill == KILL_CPU)
        what = VIOLATION_CPU;
    if (what == VIOLATION_COUNT)
        return;
    const struct pool_job *job = s->job;
    pool_count(p, METRIC_VIOLATIONS + (size_t)what);
    log_warn("converter_violation", "a converter tried what it may not, and was ended", LOG_S("what", words[what]),
             LOG_I("converter", s->pid), LOG_U("slot", s->index), LOG_U("jobs", s->jobs),
             LOG_U("input_bytes", job ? job->input.len : 0));
}

/* The bound of all converters together is the sum of theirs: when it is reached one is over its own, and the kernel ends the largest. */
static bool is_out_of_memory(const struct pool *p, const struct slot *s, int status)
{
    return p->config.cgroup && s->kill == KILL_NONE && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
           cgroup_take_kill(p->config.cgroup);
}

static void account_end(struct pool *p, const struct slot *s, int status, enum outcome outcome)
{
    account_violation(p, s, status);
    if (s->kill == KILL_RETIRED)
        return;
    pool_count(p, METRIC_CONVERTERS_LOST);
    if (s->kill == KILL_DEADLINE || s->kill == KILL_CPU)
        pool_count(p, METRIC_CONVERTERS_KILLED);
    if (outcome == OUTCOME_CRASHED)
        pool_count(p, METRIC_CONVERTERS_CRASHED);
    log_warn("converter_lost", "a converter ended and is replaced", LOG_I("converter", s->pid),
             LOG_S("outcome", outcome_text(outcome)), LOG_I("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
             LOG_I("status", WIFEXITED(status) ? WEXITSTATUS(status) : 0));
}

/* Until the process in between has ended, its child is not ours yet. */
static void wait_for_parent(struct slot *s)
{
    if (s->pid_watch)
        loop_unwatch(s->pid_watch);
    s->pid_watch = NULL;
    s->state = SLOT_ENDING;
    loop_timer_at(s->timer, clock_monotonic_us() + REAP_RETRY_US);
}

void pool_slot_ended(void *arg, int fd, uint32_t events)
{
    struct slot *s = arg;
    struct pool *p = s->owner;
    struct pool_result r;
    int status = 0;
    int64_t cpu_us = s->cpu_started_us;
    (void)fd;
    (void)events;
    int err = slot_reap(s, &status, &cpu_us);
    if (err == ERR_AGAIN)
        return;
    if (err && ++s->reap_tries < REAP_TRIES_MAX) {
        wait_for_parent(s);
        return;
    }
    /* Reaped as a stray before it was known: how it ended is not. */
    if (err)
        status = SIGKILL;
    if (is_out_of_memory(p, s, status))
        s->kill = KILL_MEMORY;
    memset(&r, 0, sizeof(r));
    r.outcome = outcome_of_end(s, status);
    r.cpu_us = cpu_us - s->cpu_started_us;
    account_end(p, s, status, r.outcome);
    const struct pool_job *job = s->job;
    bool begun = s->started_us > 0;
    int64_t started_us = s->started_us;
    slot_clear(s);
    if (job) {
        s->job = job;
        s->started_us = started_us;
        finish_job(p, s, begun ? &r : NULL);
    }
    pool_reap_strays(p);
    pool_fill(p);
    pool_changed(p);
}
