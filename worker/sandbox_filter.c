/* SPDX-License-Identifier: MIT */
/* The list of system calls that conversions need. Any other ends the process with SIGSYS.
 *
 * It was found by tracing conversions between all formats with the libvips versions in use, and holds what glibc's allocator, threads and
 * abort() need. Nothing in it opens, names or reaches anything outside the process but the channel to the supervisor. */
#include "sandbox_filter.h"

#include "cavage/err.h"
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Allowed whatever the arguments: they act on the process itself. */
static const int plain[] = {
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sysinfo),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(clock_getres),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(setitimer),
    SCMP_SYS(getrusage),
    SCMP_SYS(close),
};

/* Memory that is shared is not counted by RLIMIT_DATA, nor is a stack that grows. */
#define UNCOUNTED (MAP_SHARED | MAP_GROWSDOWN)
#define NAMESPACES \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

static const struct rule {
    int call;
    unsigned count;
    struct scmp_arg_cmp args[2];
} bounded[] = {
    {SCMP_SYS(recvmsg), 1, {{0, SCMP_CMP_EQ, CONTROL_FD, 0}}},
    {SCMP_SYS(sendmsg), 1, {{0, SCMP_CMP_EQ, CONTROL_FD, 0}}},
    /* What libraries say on stderr goes to /dev/null. */
    {SCMP_SYS(write), 1, {{0, SCMP_CMP_LE, STDERR_FILENO, 0}}},
    {SCMP_SYS(writev), 1, {{0, SCMP_CMP_LE, STDERR_FILENO, 0}}},
    {SCMP_SYS(mmap), 2, {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}, {3, SCMP_CMP_MASKED_EQ, UNCOUNTED, 0}}},
    {SCMP_SYS(mprotect), 1, {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}}},
    {SCMP_SYS(clone), 1, {{0, SCMP_CMP_MASKED_EQ, CLONE_THREAD | NAMESPACES, CLONE_THREAD}}},
    {SCMP_SYS(prctl), 1, {{0, SCMP_CMP_EQ, PR_SET_NAME, 0}}},
    {SCMP_SYS(prctl), 1, {{0, SCMP_CMP_EQ, PR_SET_PDEATHSIG, 0}}},
    /* Asking for a limit, not setting it. */
    {SCMP_SYS(prlimit64), 2, {{0, SCMP_CMP_EQ, 0, 0}, {2, SCMP_CMP_EQ, 0, 0}}},
    /* abort(), in a process namespace where the only process is this one. */
    {SCMP_SYS(tgkill), 2, {{0, SCMP_CMP_EQ, 1, 0}, {2, SCMP_CMP_EQ, SIGABRT, 0}}},
};

static int add_rules(scmp_filter_ctx ctx)
{
    int failed = 0;
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        failed |= seccomp_rule_add(ctx, SCMP_ACT_ALLOW, plain[i], 0);
    for (size_t i = 0; i < sizeof(bounded) / sizeof(bounded[0]); i++)
        failed |= seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, bounded[i].call, bounded[i].count, bounded[i].args);
    /* Its flags lie in memory, where no filter sees them; glibc goes on with clone. */
    failed |= seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    failed |= seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    return failed ? ERR_DENIED : 0;
}

/* libseccomp writes a program to a descriptor only, and this process may write no file. The longest program fits a pipe. */
static int export_program(scmp_filter_ctx ctx, void **out, size_t *len)
{
    int ends[2];
    ssize_t n = -1;
    const size_t most = BPF_MAXINSNS * sizeof(struct sock_filter);
    *out = malloc(most);
    if (!*out)
        return ERR_NOMEM;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0) {
        if (seccomp_export_bpf(ctx, ends[1]) == 0)
            n = read(ends[0], *out, most);
        close(ends[0]);
        close(ends[1]);
    }
    *len = n > 0 ? (size_t)n : 0;
    return n > 0 ? 0 : ERR_DENIED;
}

/* Whether the kernel takes it: a child tries. */
static int try_out(const void *filter, size_t len)
{
    int status = 1;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        _exit(sandbox_filter_load(filter, len) ? 1 : 0);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : ERR_DENIED;
}

int sandbox_filter_new(void **out, size_t *len)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
    *out = NULL;
    if (!ctx)
        return ERR_NOMEM;
    int err = add_rules(ctx);
    if (!err)
        err = export_program(ctx, out, len);
    seccomp_release(ctx);
    if (!err)
        err = try_out(*out, *len);
    if (err) {
        free(*out);
        *out = NULL;
    }
    return err;
}

int sandbox_filter_load(const void *filter, size_t len)
{
    /* The kernel copies the program; its type does not say so. */
    union {
        const void *in;
        struct sock_filter *out;
    } program = {.in = filter};
    struct sock_fprog p = {.len = (unsigned short)(len / sizeof(struct sock_filter)), .filter = program.out};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) == 0 ? 0 : ERR_DENIED;
}
