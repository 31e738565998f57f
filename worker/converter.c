/* SPDX-License-Identifier: MIT */
/* The converter's loop. */
#include "converter.h"

#include "act.h"
#include "cavage/err.h"
#include "sanitizer.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { FILES_MAX = 16, GRACE_MS = 1000 };

/* malloc keeps its pages, since faulting them in again costs a tenth of the work on a photo. They go back after a large image (48 MB of pages since the
 * last time), and every so many images, or a fragmented heap would creep up for ever. */
enum { KEEP_PAGES = 12 * 1024, TRIM_JOBS = 256 };

struct converter {
    int channel;
    const uint8_t *input;
    size_t input_bytes;
    uint8_t *output;
    size_t output_bytes;
    bool test;
    bool adopted;
    unsigned jobs;
    long faults_trimmed; /* page faults when memory was last given back */
};

/* Reports of a sanitizer go to stderr; otherwise a converter has no business with the log. */
static void leave_stdio(int null)
{
    for (int fd = 0; fd <= 2 && null >= 0 && !UNDER_SANITIZER; fd++)
        dup2(null, fd);
}

static void limit(int resource, rlim_t value)
{
    struct rlimit r = {.rlim_cur = value, .rlim_max = value};
    setrlimit(resource, &r);
}

/* Its own alarm ends it also where it is the first process of a namespace, which signals do not end by default. */
static void on_alarm(int signo)
{
    (void)signo;
    _exit(CONVERTER_EXIT_ALARM);
}

/* Everything that can be given up. */
static int harden(const struct sandbox *sandbox, uint64_t memory_bytes)
{
    prctl(PR_SET_NAME, "cavage-convert");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    signal(SIGALRM, on_alarm);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, FILES_MAX);
    limit(RLIMIT_FSIZE, 0);
    if (UNDER_SANITIZER)
        return 0;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (memory_bytes > 0)
        limit(RLIMIT_DATA, memory_bytes);
    return sandbox_seal(sandbox);
}

/* The descriptors to keep, moved to the first places behind stdio; all others are closed. */
static void keep_only(int fds[3])
{
    for (int i = 0; i < 3; i++)
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 100);
    for (int i = 0; i < 3; i++)
        fds[i] = dup3(fds[i], CONTROL_FD + i, O_CLOEXEC);
    close_range(CONTROL_FD + 3, ~0U, 0);
}

static int map_buffers(struct converter *c, int input_fd, int output_fd)
{
    void *input = mmap(NULL, c->input_bytes, PROT_READ, MAP_SHARED, input_fd, 0);
    void *output = mmap(NULL, c->output_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, output_fd, 0);
    close(input_fd);
    close(output_fd);
    if (input == MAP_FAILED || output == MAP_FAILED)
        return ERR_NOMEM;
    c->input = input;
    c->output = output;
    return 0;
}

/* SIGALRM ends a conversion that nobody is left to end. 0 takes the alarm back. */
static void set_alarm(uint32_t ms)
{
    struct itimerval t = {.it_value = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000}};
    setitimer(ITIMER_REAL, &t, NULL);
}

static void make(struct converter *c, const struct control_job *job, struct convert_answer *a)
{
    struct params params;
    struct params_problem problem;
    size_t len = strnlen(job->request, sizeof(job->request));
    if (params_parse(job->request, len, &params, &problem) == 0)
        convert_resize(&params, c->input, job->len, &job->limits, c->output, c->output_bytes, a);
    else
        *a = (struct convert_answer){.outcome = OUTCOME_BAD_REQUEST, .detail = DETAIL_REQUEST};
}

static void make_several(struct converter *c, const struct control_job *job, struct convert_answer *a)
{
    struct renditions renditions;
    struct renditions_problem problem;
    size_t len = strnlen(job->request, sizeof(job->request));
    if (renditions_parse(job->request, len, &renditions, &problem) == 0)
        convert_renditions(&renditions, c->input, job->len, &job->limits, c->output, c->output_bytes, a);
    else
        *a = (struct convert_answer){.outcome = OUTCOME_BAD_REQUEST, .detail = DETAIL_REQUEST};
}

static void convert(struct converter *c, const struct control_job *job, struct control_answer *answer)
{
    struct convert_answer a = {.outcome = OUTCOME_INTERNAL};
    if (job->operation == OPERATION_INFO)
        convert_info(c->input, job->len, &job->limits, &a);
    else if (job->operation == OPERATION_RENDITIONS)
        make_several(c, job, &a);
    else
        make(c, job, &a);
    answer->outcome = a.outcome;
    answer->detail = a.detail;
    answer->len = a.len;
    answer->limit_value = a.limit_value;
    answer->actual_value = a.actual_value;
    answer->info = a.info;
    answer->failed_output = a.failed_output;
    answer->output_count = a.output_count;
    memcpy(answer->outputs, a.outputs, sizeof(answer->outputs));
}

static void give_memory_back(struct converter *c)
{
    struct rusage usage;
    bool large = getrusage(RUSAGE_SELF, &usage) == 0 && usage.ru_minflt - c->faults_trimmed >= KEEP_PAGES;
    if (++c->jobs % TRIM_JOBS != 0 && !large)
        return;
    malloc_trim(0);
    c->faults_trimmed = usage.ru_minflt;
}

/* One job. False when the supervisor is gone. */
static bool serve(struct converter *c)
{
    struct control_job job;
    struct control_answer answer;
    size_t none;
    if (control_recv(c->channel, &job, sizeof(job), 0, NULL, 0, &none) || job.len > c->input_bytes)
        return false;
    memset(&answer, 0, sizeof(answer));
    /* Not before: it would die with the process in between. */
    if (job.adopted && !c->adopted)
        c->adopted = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
    set_alarm(job.deadline_ms + GRACE_MS);
    answer.nonce = job.nonce;
    if (c->test && job.act != ACT_CONVERT)
        act_out((enum act)job.act, c->channel, &job, c->output, c->output_bytes, &answer);
    else
        convert(c, &job, &answer);
    set_alarm(0);
    bool sent = control_send(c->channel, &answer, sizeof(answer), NULL, 0) == 0;
    give_memory_back(c);
    return sent;
}

int converter_main(const struct control_spawn *spawn, const struct sandbox *sandbox, int channel, int input_fd,
                   int output_fd)
{
    int fds[3] = {channel, input_fd, output_fd};
    struct converter c = {
        .input_bytes = spawn->input_bytes,
        .output_bytes = spawn->output_bytes,
        .test = spawn->test != 0,
    };
    leave_stdio(sandbox->null);
    keep_only(fds);
    c.channel = fds[0];
    if (map_buffers(&c, fds[1], fds[2]))
        return 1;
    if (harden(sandbox, spawn->memory_bytes))
        return 1;
    while (serve(&c))
        ;
    return 0;
}
