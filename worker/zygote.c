/* SPDX-License-Identifier: MIT */
/* Starting the zygote, and its own loop.
 *
 * A converter is forked by a process in between that ends at once, so that it becomes the child of the supervisor, which is its subreaper:
 * the supervisor learns how each converter ended, also when the zygote is gone. */
#include "zygote.h"

#include "cavage/err.h"
#include "cavage/fs.h"
#include "control.h"
#include "convert.h"
#include "converter.h"
#include "sandbox.h"
#include "sanitizer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Converters keep the memory they got: returning big buffers for each image and getting them back costs a tenth of the CPU in page faults.
 * One arena, since there is next to one thread. */
#define MALLOC_TUNABLES                                                                                              \
    "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=67108864:glibc.malloc.top_pad=" \
    "4194304:glibc.malloc.arena_max=1"

/* Settings of sanitizers and libraries' search paths are for those who test; the rest of the environment is no business of image code. */
static const char *const passed_on[] = {
    "ASAN_OPTIONS=", "LSAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LD_LIBRARY_PATH="};
enum { PASSED_COUNT = sizeof(passed_on) / sizeof(passed_on[0]), FIXED_COUNT = 2 };

/* What renders SVG shall not count the cores, for which it reads files. */
static void make_environment(char *out[PASSED_COUNT + FIXED_COUNT + 1])
{
    static char tunables[] = MALLOC_TUNABLES;
    static char one_thread[] = "RAYON_NUM_THREADS=1";
    size_t n = 0;
    out[n++] = tunables;
    out[n++] = one_thread;
    for (char **e = environ; *e; e++)
        for (size_t i = 0; i < PASSED_COUNT; i++)
            if (n < PASSED_COUNT + FIXED_COUNT && strncmp(*e, passed_on[i], strlen(passed_on[i])) == 0)
                out[n++] = *e;
    out[n] = NULL;
}

/* posix_spawn, since the caller has threads: nothing of ours runs between fork and exec. */
static int execute_self(bool svg, int control, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    sigset_t all;
    char *env[PASSED_COUNT + FIXED_COUNT + 1];
    char program[] = "cavage-worker";
    char option[] = ZYGOTE_OPTION;
    char with_svg[] = ZYGOTE_SVG;
    char *const argv[] = {program, option, svg ? with_svg : NULL, NULL};
    sigemptyset(&none);
    sigfillset(&all);
    make_environment(env);
    if (posix_spawn_file_actions_init(&actions))
        return ERR_NOMEM;
    if (posix_spawnattr_init(&attr)) {
        posix_spawn_file_actions_destroy(&actions);
        return ERR_NOMEM;
    }
    int failed = posix_spawn_file_actions_adddup2(&actions, control, CONTROL_FD) ||
                 posix_spawn_file_actions_addclosefrom_np(&actions, CONTROL_FD + 1) ||
                 posix_spawnattr_setsigmask(&attr, &none) || posix_spawnattr_setsigdefault(&attr, &all) ||
                 posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) ||
                 posix_spawn(pid, "/proc/self/exe", &actions, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return failed ? ERR_IO : 0;
}

int zygote_start(bool svg, pid_t *pid, int *pidfd, int *control)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return ERR_IO;
    /* dup2 onto itself would keep close-on-exec. */
    int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, CONTROL_FD + 1);
    close(pair[1]);
    int err = theirs < 0 ? ERR_IO : execute_self(svg, theirs, pid);
    if (theirs >= 0)
        close(theirs);
    if (err) {
        close(pair[0]);
        return err;
    }
    *pidfd = pidfd_open(*pid, 0);
    if (*pidfd < 0 || fcntl(pair[0], F_SETFL, O_NONBLOCK)) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
        close(pair[0]);
        return ERR_IO;
    }
    *control = pair[0];
    return 0;
}

/* Threads of this process; -1 when that cannot be told. A fork takes only one along. */
static long count_threads(void)
{
    static const char name[] = "\nThreads:";
    char text[4096];
    size_t len;
    if (fs_read("/proc/self/status", text, sizeof(text), &len))
        return -1;
    const char *line = strstr(text, name);
    return line ? strtol(line + strlen(name), NULL, 10) : -1;
}

static void report(const struct sandbox *sandbox, const struct control_spawn *spawn, pid_t pid)
{
    struct control_spawned answer;
    memset(&answer, 0, sizeof(answer));
    answer.slot = spawn->slot;
    answer.generation = spawn->generation;
    answer.missing = sandbox->missing;
    int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
    if (pid > 0 && pidfd < 0)
        kill(pid, SIGKILL);
    answer.pid = pidfd >= 0 ? pid : 0;
    control_send(CONTROL_FD, &answer, sizeof(answer), &pidfd, pidfd >= 0 ? 1 : 0);
}

/* In the process in between. */
static void fork_converter(struct sandbox *sandbox, const struct control_spawn *spawn, const int fds[CONTROL_FDS_MAX])
{
    sandbox_fork(sandbox);
    pid_t pid = fork();
    if (pid == 0)
        _exit(converter_main(spawn, sandbox, fds[0], fds[1], fds[2]));
    report(sandbox, spawn, pid);
    _exit(0);
}

static void spawn_converter(struct sandbox *sandbox, const struct control_spawn *spawn, const int fds[CONTROL_FDS_MAX])
{
    pid_t between = fork();
    if (between == 0)
        fork_converter(sandbox, spawn, fds);
    if (between < 0)
        report(sandbox, spawn, -1);
    else
        while (waitpid(between, NULL, 0) < 0 && errno == EINTR)
            ;
}

/* Who stops a worker often signals all of its processes: a terminal's Ctrl-C, a service manager. Only the supervisor shall follow, since a drain needs
 * the rest to go on; they end when it is gone. Converters inherit this, but for the death signal. */
static void follow_the_supervisor(void)
{
    static const int passed_over[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE};
    for (size_t i = 0; i < sizeof(passed_over) / sizeof(passed_over[0]); i++)
        signal(passed_over[i], SIG_IGN);
}

/* When memory runs out the kernel shall choose one of us, not a daemon. Converters inherit it. To be done while the process is dumpable: the
 * files in /proc of one that is not belong to root. */
static void offer_to_oom_killer(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t written = write(fd, "500", 3);
    (void)written;
    close(fd);
}

int zygote_main(bool svg)
{
    struct control_spawn spawn;
    struct sandbox sandbox;
    const struct rlimit no_files = {0, 0};
    int fds[CONTROL_FDS_MAX];
    size_t count;
    int err;
    prctl(PR_SET_NAME, "cavage-zygote");
    offer_to_oom_killer();
    follow_the_supervisor();
    /* Before libraries start: a file that one makes, and maps, would be shared by all converters. */
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &no_files);
    if (convert_open(svg) || (count_threads() != 1 && !UNDER_SANITIZER))
        return 1;
    sandbox_enter(&sandbox);
    /* Not before: a change of user takes it away. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        err = control_recv(CONTROL_FD, &spawn, sizeof(spawn), 0, fds, CONTROL_FDS_MAX, &count);
        if (err)
            break;
        if (count == CONTROL_FDS_MAX)
            spawn_converter(&sandbox, &spawn, fds);
        for (size_t i = 0; i < count; i++)
            close(fds[i]);
    }
    return err == ERR_CLOSED ? 0 : 1;
}
