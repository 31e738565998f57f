/* SPDX-License-Identifier: MIT */
/* fork and exec, with all that a supervised daemon needs set between the two. */
#include "child.h"

#include "cavage/err.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LISTEN_FD = 3 };

static bool is_overridden(const char *variable, char *const *overrides)
{
    size_t name = strcspn(variable, "=");
    for (; *overrides; overrides++)
        if (strcspn(*overrides, "=") == name && memcmp(variable, *overrides, name) == 0)
            return true;
    return false;
}

char **child_env(char *const *env, char *const *overrides)
{
    size_t room = 1, count = 0;
    for (size_t i = 0; env[i]; i++)
        room++;
    for (size_t i = 0; overrides[i]; i++)
        room++;
    char **merged = calloc(room, sizeof(*merged));
    if (!merged)
        return NULL;
    for (; *env; env++)
        if (!is_overridden(*env, overrides))
            merged[count++] = *env;
    for (; *overrides; overrides++)
        merged[count++] = *overrides;
    return merged;
}

/* In the child, between fork and exec; only calls that are safe there. */
static _Noreturn void become(const struct child_spec *spec, char **env, pid_t parent, char *listen_pid,
                             size_t listen_pid_size)
{
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(0); /* it died before it could be told of */
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    if (null > STDERR_FILENO)
        close(null);
    if (spec->listen_fd >= 0) {
        /* The child is single-threaded and formats into memory of its own, so this is as safe as it needs to be. */
        snprintf(listen_pid, listen_pid_size, "LISTEN_PID=%d", (int)getpid());
        if (spec->listen_fd == LISTEN_FD)
            fcntl(LISTEN_FD, F_SETFD, 0);
        else
            dup2(spec->listen_fd, LISTEN_FD);
    }
    execve(spec->path, spec->argv, env);
    _exit(127);
}

int child_start(const struct child_spec *spec, pid_t *pid, int *pidfd)
{
    char listen_fds[] = "LISTEN_FDS=1", listen_pid[32] = "LISTEN_PID=0";
    char *overrides[] = {listen_fds, listen_pid, NULL};
    char *nothing[] = {NULL};
    char **env = child_env(spec->env, spec->listen_fd >= 0 ? overrides : nothing);
    if (!env)
        return ERR_NOMEM;
    pid_t parent = getpid();
    *pid = fork();
    if (*pid == 0)
        become(spec, env, parent, listen_pid, sizeof(listen_pid));
    free(env);
    if (*pid < 0)
        return ERR_IO;
    *pidfd = pidfd_open(*pid, 0);
    if (*pidfd < 0) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
        return ERR_IO;
    }
    return ERR_OK;
}
