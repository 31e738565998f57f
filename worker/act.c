/* SPDX-License-Identifier: MIT */
/* Acts of converters in tests. System calls are made directly, as injected code would make them. */
#include "act.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1024 * 1024, STEP_BYTES = 16 * MIB, TRY_GIB = 10 };

/* A PNG of one white pixel: what a sleeping converter answers. */
static const uint8_t pixel_png[] = {
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00, 0x00, 0x3a, 0x7e, 0x9b, 0x55, 0x00,
    0x00, 0x00, 0x0a, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0xf8, 0x0f, 0x00, 0x01, 0x01, 0x01, 0x00,
    0x1c, 0xb0, 0x8c, 0x99, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
};

static void sleep_us(uint32_t us)
{
    struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
    if (us > 0)
        nanosleep(&t, NULL);
}

/* What an act has at hand. */
struct stage {
    int channel;
    uint32_t sleep_us;
    uint8_t *output;
    size_t output_bytes;
    struct control_answer *answer;
};

static void wait_in_vain(const struct stage *stage)
{
    (void)stage;
    for (;;)
        sleep_us(1000000);
}

static void sleep_on(const struct stage *stage)
{
    sleep_us(stage->sleep_us);
}

static void crash(const struct stage *stage)
{
    (void)stage;
    __builtin_trap();
}

static void leave(const struct stage *stage)
{
    (void)stage;
    _exit(0);
}

static void babble(const struct stage *stage)
{
    stage->answer->outcome = 77;
    stage->answer->len = UINT64_MAX;
}

static void try_open(const struct stage *stage)
{
    (void)stage;
    syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
}

static void try_connect(const struct stage *stage)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/tmp/x"};
    syscall(SYS_connect, stage->channel, &address, sizeof(address));
}

static void try_socket(const struct stage *stage)
{
    (void)stage;
    syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
}

static void try_exec(const struct stage *stage)
{
    char name[] = "/bin/true";
    char *const argv[] = {name, NULL};
    (void)stage;
    syscall(SYS_execve, name, argv, NULL);
}

static void try_fork(const struct stage *stage)
{
    (void)stage;
    while (syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) >= 0)
        ;
}

static void *idle(void *arg)
{
    wait_in_vain(arg);
    return NULL;
}

/* Threads until no more are given, and then some time. */
static void try_threads(const struct stage *stage)
{
    pthread_t thread;
    while (pthread_create(&thread, NULL, idle, NULL) == 0)
        ;
    wait_in_vain(stage);
}

static void try_ptrace(const struct stage *stage)
{
    (void)stage;
    syscall(SYS_ptrace, PTRACE_ATTACH, 2, NULL, NULL);
}

static void try_kill(const struct stage *stage)
{
    (void)stage;
    syscall(SYS_kill, -1, SIGKILL);
}

static void try_siblings(const struct stage *stage)
{
    char text[64];
    struct iovec here = {.iov_base = text, .iov_len = sizeof(text)};
    (void)stage;
    syscall(SYS_process_vm_readv, 2, &here, 1, &here, 1, 0);
}

/* Ten gigabytes in one piece; when that is refused, piece by piece, and then keep them. */
static void take_memory(const struct stage *stage, int flags)
{
    for (size_t bytes = (size_t)TRY_GIB * 1024 * MIB;; bytes = STEP_BYTES) {
        volatile uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED && bytes == STEP_BYTES)
            wait_in_vain(stage);
        for (size_t i = 0; p != MAP_FAILED && i < bytes; i += 4096)
            p[i] = 1;
    }
}

static void try_memory(const struct stage *stage)
{
    take_memory(stage, MAP_PRIVATE);
}

static void try_shared(const struct stage *stage)
{
    take_memory(stage, MAP_SHARED);
}

static void try_code(const struct stage *stage)
{
    syscall(SYS_mprotect, stage->output, 4096, PROT_READ | PROT_EXEC);
}

static void loop(const struct stage *stage)
{
    (void)stage;
    for (volatile unsigned n = 0;; n++)
        ;
}

static void try_resize(const struct stage *stage)
{
    (void)stage;
    syscall(SYS_ftruncate, CONTROL_FD + 2, 0);
}

static void send_garbage(const struct stage *stage)
{
    char garbage[] = "garbage";
    struct iovec iov = {.iov_base = garbage, .iov_len = sizeof(garbage)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    sendmsg(stage->channel, &m, 0);
    wait_in_vain(stage);
}

/* An answer with a descriptor. */
static void smuggle(const struct stage *stage)
{
    control_send(stage->channel, stage->answer, sizeof(*stage->answer), &stage->channel, 1);
    wait_in_vain(stage);
}

static void lie(const struct stage *stage)
{
    memset(stage->output, 'x', stage->output_bytes);
    stage->answer->len = stage->output_bytes;
    if (stage->answer->output_count > 0)
        stage->answer->outputs[0].len = UINT64_MAX;
}

/* Answers without end, each as good as an answer can be. */
static void send_endless(const struct stage *stage)
{
    for (;;)
        if (control_send(stage->channel, stage->answer, sizeof(*stage->answer), NULL, 0))
            sched_yield();
}

static const struct {
    const char *word; /* NULL: not to be asked for by an image */
    void (*play)(const struct stage *stage);
} acts[ACT_COUNT] = {
    [ACT_SLEEP] = {NULL, sleep_on},
    [ACT_CRASH] = {"crash", crash},
    [ACT_HANG] = {"hang", wait_in_vain},
    [ACT_EXIT] = {"exit", leave},
    [ACT_BABBLE] = {"babble", babble},
    [ACT_OPEN] = {"open", try_open},
    [ACT_CONNECT] = {"connect", try_connect},
    [ACT_SOCKET] = {"socket", try_socket},
    [ACT_EXEC] = {"exec", try_exec},
    [ACT_FORK] = {"fork", try_fork},
    [ACT_THREADS] = {"threads", try_threads},
    [ACT_PTRACE] = {"ptrace", try_ptrace},
    [ACT_KILL] = {"kill", try_kill},
    [ACT_SIBLINGS] = {"siblings", try_siblings},
    [ACT_MEMORY] = {"memory", try_memory},
    [ACT_SHARED] = {"shared", try_shared},
    [ACT_CODE] = {"code", try_code},
    [ACT_LOOP] = {"loop", loop},
    [ACT_RESIZE] = {"resize", try_resize},
    [ACT_GARBAGE] = {"garbage", send_garbage},
    [ACT_SMUGGLE] = {"smuggle", smuggle},
    [ACT_LIES] = {"lies", lie},
    [ACT_ENDLESS] = {"endless", send_endless},
};

enum act act_find(const uint8_t *data, size_t len)
{
    static const char mark[] = "CVGTEST ";
    const size_t mark_len = sizeof(mark) - 1;
    for (size_t i = 0; i < ACT_COUNT; i++) {
        const char *word = acts[i].word;
        size_t word_len = word ? strlen(word) : 0;
        size_t n = mark_len + word_len;
        if (!word || len < n)
            continue;
        const uint8_t *end = data + len - n;
        if ((memcmp(data, mark, mark_len) == 0 && memcmp(data + mark_len, word, word_len) == 0) ||
            (memcmp(end, mark, mark_len) == 0 && memcmp(end + mark_len, word, word_len) == 0))
            return (enum act)i;
    }
    return ACT_CONVERT;
}

void act_out(enum act act, int channel, const struct control_job *job, uint8_t *output, size_t output_bytes,
             struct control_answer *answer)
{
    const struct stage stage = {channel, job->sleep_us, output, output_bytes, answer};
    memcpy(output, pixel_png, sizeof(pixel_png));
    answer->len = sizeof(pixel_png);
    if (job->operation == OPERATION_RENDITIONS) {
        /* One picture stands for all of them. */
        answer->output_count = job->outputs;
        for (size_t i = 0; i < job->outputs && i < WIRE_OUTPUTS_MAX; i++)
            answer->outputs[i].len = answer->len;
    }
    if ((unsigned)act < ACT_COUNT && acts[act].play)
        acts[act].play(&stage);
}
