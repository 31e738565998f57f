/* SPDX-License-Identifier: MIT */
/* Namespaces, identity, root and capabilities of converters. */
#include "sandbox.h"

#include "cavage/err.h"
#include "sandbox_filter.h"
#include "sanitizer.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Debian's nobody, and that of namespaces. */
enum { NOBODY = 65534 };

/* Codecs start a few threads for each core. */
enum { THREADS_BASE = 64, THREADS_PER_CORE = 4 };

static void need(struct sandbox *s, enum sandbox_part part, bool done)
{
    if (!done)
        s->missing |= 1U << part;
}

static bool write_proc(int proc, const char *path, const char *text)
{
    int fd = openat(proc, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = write(fd, text, strlen(text));
    close(fd);
    return n == (ssize_t)strlen(text);
}

/* Inside, this user is nobody; outside, it stays who it is. */
static bool enter_user(int proc)
{
    char uid[64];
    char gid[64];
    snprintf(uid, sizeof(uid), "%d %u 1", NOBODY, (unsigned)geteuid());
    snprintf(gid, sizeof(gid), "%d %u 1", NOBODY, (unsigned)getegid());
    if (unshare(CLONE_NEWUSER))
        return false;
    return write_proc(proc, "self/setgroups", "deny") && write_proc(proc, "self/uid_map", uid) &&
           write_proc(proc, "self/gid_map", gid);
}

/* A file system with nothing in it takes the place of the root, which is left behind. */
static bool enter_empty_root(void)
{
    static const char place[] = "/tmp";
    const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", place, "tmpfs", flags, "size=4k,nr_inodes=2,mode=0555") == 0 && chdir(place) == 0 &&
           syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0 &&
           mount(NULL, "/", NULL, flags | MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0;
}

static void enter_spaces(struct sandbox *s)
{
    bool mounts = unshare(CLONE_NEWNS) == 0;
    need(s, SANDBOX_MOUNTS, mounts);
    need(s, SANDBOX_NETWORK, unshare(CLONE_NEWNET) == 0);
    need(s, SANDBOX_IPC, unshare(CLONE_NEWIPC) == 0);
    need(s, SANDBOX_ROOT, mounts && enter_empty_root());
}

static bool leave_root_user(void)
{
    bool done =
        setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0;
    /* A change of user takes it away, and without it the files in /proc are root's. */
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return done;
}

void sandbox_enter(struct sandbox *s)
{
    long cores = sysconf(_SC_NPROCESSORS_CONF);
    *s = (struct sandbox){.threads_max = THREADS_BASE + THREADS_PER_CORE * (unsigned)(cores > 0 ? cores : 1),
                          .null = open("/dev/null", O_RDWR | O_CLOEXEC)};
    if (UNDER_SANITIZER) {
        s->missing = (1U << SANDBOX_PARTS) - 1;
        return;
    }
    need(s, SANDBOX_FILTER, sandbox_filter_new(&s->filter, &s->filter_len) == 0);
    int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (geteuid() == 0) {
        /* Root may make the others by itself, also where user namespaces are switched off. */
        enter_spaces(s);
        need(s, SANDBOX_IDENTITY, leave_root_user());
        need(s, SANDBOX_USER, enter_user(proc));
    } else {
        need(s, SANDBOX_USER, enter_user(proc));
        enter_spaces(s);
    }
    if (proc >= 0)
        close(proc);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    /* Tried here, so that it is known before the first converter. */
    pid_t pid = fork();
    if (pid == 0)
        _exit(unshare(CLONE_NEWUSER | CLONE_NEWPID) ? 1 : 0);
    int status = 1;
    need(s, SANDBOX_PROCESSES, pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

void sandbox_fork(struct sandbox *s)
{
    /* With a user namespace, so that its threads are counted apart from those of others. */
    if (!(s->missing & (1U << SANDBOX_PROCESSES)) && unshare(CLONE_NEWUSER | CLONE_NEWPID))
        s->missing |= 1U << SANDBOX_PROCESSES;
}

static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
    memset(none, 0, sizeof(none));
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    return syscall(SYS_capset, &header, none) == 0 ? 0 : ERR_DENIED;
}

int sandbox_seal(const struct sandbox *s)
{
    const struct rlimit threads = {.rlim_cur = s->threads_max, .rlim_max = s->threads_max};
    if (UNDER_SANITIZER)
        return 0;
    if (!(s->missing & (1U << SANDBOX_PROCESSES)))
        setrlimit(RLIMIT_NPROC, &threads);
    if (drop_capabilities())
        return ERR_DENIED;
    return s->filter ? sandbox_filter_load(s->filter, s->filter_len) : 0;
}

const char *sandbox_missing(uint32_t missing, char out[SANDBOX_MISSING_SIZE])
{
    static const char *const names[SANDBOX_PARTS] = {
        [SANDBOX_USER] = "user namespace",    [SANDBOX_IDENTITY] = "user without rights",
        [SANDBOX_MOUNTS] = "mount namespace", [SANDBOX_NETWORK] = "network namespace",
        [SANDBOX_IPC] = "ipc namespace",      [SANDBOX_PROCESSES] = "process namespace",
        [SANDBOX_ROOT] = "empty root folder", [SANDBOX_FILTER] = "system call filter",
    };
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < SANDBOX_PARTS; i++) {
        if (!(missing & (1U << i)))
            continue;
        int n = snprintf(out + len, SANDBOX_MISSING_SIZE - len, "%s%s", len > 0 ? ", " : "", names[i]);
        len += n > 0 ? (size_t)n : 0;
    }
    return out;
}
