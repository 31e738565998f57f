/* SPDX-License-Identifier: MIT */
/* The converter's loop. */
#include "converter.h"

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

/* Every so many images the heap's free pages go back to the kernel. In between they are kept, since faulting them in costs more than the image's
 * own work; never giving them back would let a fragmented heap creep up for ever. */
enum { FILES_MAX = 16, GRACE_MS = 1000, TRIM_JOBS = 256 };

/* Pages of memory a converter may have been given since it last gave all back that is free: 48 MB. Photos never come to that, so they find their memory as
 * they left it. */
enum { KEEP_PAGES = 12 * 1024 };

struct converter {
    int channel;
    const uint8_t *input;
    size_t input_bytes;
    uint8_t *output;
    size_t output_bytes;
    pid_t supervisor;
    bool test;
    long faults_trimmed; /* page faults when memory was last given back */
};

/* A PNG of one white pixel: what a sleeping converter answers. */
static const uint8_t pixel_png[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x3a, 0x7e, 0x9b, 0x55, 0x00,
    0x00, 0x00, 0x0a, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0xf8, 0x0f, 0x00, 0x01, 0x01, 0x01, 0x00,
    0x1c, 0xb0, 0x8c, 0x99, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
};

/* Reports of a sanitizer go to stderr; otherwise a converter has no business with the log. */
static void leave_stdio(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return;
    for (int fd = 0; fd <= 2; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
}

static void limit(int resource, rlim_t value)
{
    struct rlimit r = {.rlim_cur = value, .rlim_max = value};
    setrlimit(resource, &r);
}

/* Everything that can be given up. A system call filter belongs at its end. */
static void harden(uint64_t memory_bytes)
{
    prctl(PR_SET_NAME, "cavage-convert");
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    signal(SIGXFSZ, SIG_IGN);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, FILES_MAX);
    limit(RLIMIT_FSIZE, 0);
    if (UNDER_SANITIZER)
        return;
    leave_stdio();
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (memory_bytes > 0)
        limit(RLIMIT_DATA, memory_bytes);
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

/* Set after the fact, since the supervisor becomes the parent only when the process in between has ended. */
static void die_with(pid_t supervisor)
{
    if (getppid() == supervisor)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* SIGALRM ends a conversion that nobody is left to end. 0 takes the alarm back. */
static void set_alarm(uint32_t ms)
{
    struct itimerval t = {.it_value = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000}};
    setitimer(ITIMER_REAL, &t, NULL);
}

static void sleep_ms(uint32_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static void act_out(struct converter *c, const struct control_job *job, struct control_answer *answer)
{
    switch ((enum control_act)job->act) {
    case ACT_CRASH:
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
        break;
    case ACT_EXIT:
        _exit(0);
    case ACT_HANG:
        for (;;)
            pause();
    case ACT_BABBLE:
        answer->outcome = 77;
        answer->len = UINT64_MAX;
        break;
    default:
        sleep_ms(job->sleep_ms);
        memcpy(c->output, pixel_png, sizeof(pixel_png));
        answer->len = sizeof(pixel_png);
    }
}

static void convert(struct converter *c, const struct control_job *job, struct control_answer *answer)
{
    struct convert_limits limits = {.max_pixels = job->max_pixels};
    struct convert_answer a = {.outcome = OUTCOME_INTERNAL};
    struct params params;
    struct params_problem problem;
    if (job->operation == OPERATION_INFO) {
        convert_info(c->input, job->len, &limits, &a);
    } else if (params_parse(job->request, strnlen(job->request, sizeof(job->request)), &params, &problem)) {
        a.outcome = OUTCOME_BAD_REQUEST;
        a.detail = DETAIL_REQUEST;
    } else {
        convert_resize(&params, c->input, job->len, &limits, c->output, c->output_bytes, &a);
    }
    answer->outcome = a.outcome;
    answer->detail = a.detail;
    answer->len = a.len;
    answer->limit_value = a.limit_value;
    answer->actual_value = a.actual_value;
    answer->info = a.info;
}

/* malloc is told to keep what it has, for speed; a large image would stay in memory for good. */
static void give_memory_back(struct converter *c)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) || usage.ru_minflt - c->faults_trimmed < KEEP_PAGES)
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
    die_with(c->supervisor);
    set_alarm(job.deadline_ms + GRACE_MS);
    if (c->test && job.act != ACT_CONVERT)
        act_out(c, &job, &answer);
    else
        convert(c, &job, &answer);
    set_alarm(0);
    bool sent = control_send(c->channel, &answer, sizeof(answer), NULL, 0) == 0;
    give_memory_back(c);
    return sent;
}

int converter_main(const struct control_spawn *spawn, int channel, int input_fd, int output_fd)
{
    int fds[3] = {channel, input_fd, output_fd};
    struct converter c = {
        .input_bytes = spawn->input_bytes,
        .output_bytes = spawn->output_bytes,
        .supervisor = spawn->supervisor,
        .test = spawn->test != 0,
    };
    keep_only(fds);
    c.channel = fds[0];
    if (map_buffers(&c, fds[1], fds[2]))
        return 1;
    harden(spawn->memory_bytes);
    for (unsigned jobs = 1; serve(&c); jobs++)
        if (jobs % TRIM_JOBS == 0)
            malloc_trim(0);
    return 0;
}
