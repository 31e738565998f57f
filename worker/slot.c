/* SPDX-License-Identifier: MIT */
/* Buffers and process of one converter. */
#include "slot.h"

#include "cavage/err.h"
#include "cavage/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What a buffer keeps of its memory from one image to the next: enough for most, so that few pages are faulted in again. */
enum { KEEP_BYTES = 4 * 1024 * 1024 };

/* Memory that both sides map, sealed against a change of its size: a shrunk file would fault the other side. */
static int buffer_new(const char *name, size_t bytes, int *fd, uint8_t **map)
{
    *fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return ERR_IO;
    void *p = MAP_FAILED;
    if (ftruncate(*fd, (off_t)bytes) == 0 && fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (p == MAP_FAILED) {
        close(*fd);
        *fd = -1;
        return ERR_NOMEM;
    }
    *map = p;
    return 0;
}

int slot_prepare(struct slot *s, size_t input_bytes, size_t output_bytes, int fds[CONTROL_FDS_MAX])
{
    int pair[2];
    s->input_bytes = input_bytes;
    s->output_bytes = output_bytes;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return ERR_IO;
    s->channel = pair[0];
    fds[0] = pair[1];
    fds[1] = fds[2] = -1;
    int err = buffer_new("cavage-input", input_bytes, &fds[1], &s->input);
    if (!err)
        err = buffer_new("cavage-output", output_bytes, &fds[2], &s->output);
    if (!err && fcntl(s->channel, F_SETFL, O_NONBLOCK))
        err = ERR_IO;
    if (err) {
        for (size_t i = 0; i < CONTROL_FDS_MAX; i++)
            if (fds[i] >= 0)
                close(fds[i]);
        slot_clear(s);
    }
    return err;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void unwatch(struct loop_watch **watch)
{
    if (*watch)
        loop_unwatch(*watch);
    *watch = NULL;
}

/* The last unmapping frees the memory; its pages are zeroed before anyone else gets them. */
static void unmap(uint8_t **map, size_t bytes)
{
    if (*map)
        munmap(*map, bytes);
    *map = NULL;
}

void slot_clear(struct slot *s)
{
    unwatch(&s->pid_watch);
    unwatch(&s->channel_watch);
    if (s->timer)
        loop_timer_cancel(s->timer);
    close_fd(&s->pidfd);
    close_fd(&s->channel);
    unmap(&s->input, s->input_bytes);
    unmap(&s->output, s->output_bytes);
    s->state = SLOT_EMPTY;
    s->pid = 0;
    s->jobs = s->reap_tries = 0;
    s->kill = KILL_NONE;
    s->adopted = false;
    s->job = NULL;
    s->input_used = s->output_used = 0;
}

static void wipe(uint8_t *map, size_t bytes, size_t *used)
{
    size_t keep = *used < KEEP_BYTES ? *used : KEEP_BYTES;
    explicit_bzero(map, keep);
    if (*used > keep && madvise(map + KEEP_BYTES, bytes - KEEP_BYTES, MADV_REMOVE))
        explicit_bzero(map + keep, *used - keep);
    *used = 0;
}

void slot_wipe(struct slot *s)
{
    wipe(s->input, s->input_bytes, &s->input_used);
    wipe(s->output, s->output_bytes, &s->output_used);
}

int64_t slot_cpu_us(const struct slot *s)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(s->pid, &clock) || clock_gettime(clock, &t))
        return 0;
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

uint64_t slot_private_bytes(const struct slot *s)
{
    char path[32];
    char text[128];
    size_t len;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)s->pid);
    if (fs_read(path, text, sizeof(text), &len))
        return 0;
    /* Pages: all that is mapped, of it in memory, of that shared. */
    char *at = text;
    uint64_t pages[3];
    for (size_t i = 0; i < 3; i++)
        pages[i] = strtoull(at, &at, 10);
    return pages[1] > pages[2] ? (pages[1] - pages[2]) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static int64_t us_of(struct timeval t)
{
    return (int64_t)t.tv_sec * 1000000 + t.tv_usec;
}

int slot_reap(struct slot *s, int *status, int64_t *cpu_us)
{
    struct rusage usage;
    pid_t got;
    do
        got = wait4(s->pid, status, WNOHANG, &usage);
    while (got < 0 && errno == EINTR);
    if (got != s->pid)
        return got == 0 ? ERR_AGAIN : ERR_NOTFOUND;
    *cpu_us = us_of(usage.ru_utime) + us_of(usage.ru_stime);
    return 0;
}

bool slot_is_child(struct slot *s)
{
    siginfo_t info;
    if (!s->adopted)
        s->adopted = waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
    return s->adopted;
}

bool slot_has_said(const struct slot *s)
{
    char byte;
    return recv(s->channel, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void slot_kill(const struct slot *s)
{
    if (s->pidfd >= 0)
        pidfd_send_signal(s->pidfd, SIGKILL, NULL, 0);
}
