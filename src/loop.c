/* SPDX-License-Identifier: MIT */
/* The event loop of a thread: epoll for descriptors and signals, a heap for timers, a locked list for posts. */
#include "cavage/loop.h"

#include "cavage/clock.h"
#include "cavage/err.h"
#include "loop_heap.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_A_ROUND = 64, SIGNALS = 65 };

struct loop_watch {
    struct loop *loop;
    struct loop_watch *next; /* in loop->watches or loop->dead */
    struct loop_watch *prev;
    int fd;
    loop_fd_fn fn; /* NULL: unwatched, waits for the end of the round to be freed */
    void *arg;
};

struct post {
    struct post *next;
    loop_fn fn;
    void *arg;
};

struct post_list {
    struct post *first;
    struct post **end;
};

struct signal_handler {
    loop_signal_fn fn;
    void *arg;
};

struct loop {
    int epoll_fd;
    int wake_fd;
    int signal_fd; /* -1 until the first loop_signal */
    bool running;
    bool stop;
    bool coarse; /* this kernel has no epoll_pwait2: wait in whole ms */
    int64_t now_us;
    struct loop_watch *watches;
    struct loop_watch *dead;
    struct heap timers;
    struct post_list taken; /* posts that the loop's thread is running */
    sigset_t mask;
    struct signal_handler handlers[SIGNALS];
    pthread_mutex_t lock;    /* guards posted */
    struct post_list posted; /* posts by any thread; wake_fd was written when it became non-empty */
};

static void posts_init(struct post_list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static struct post *posts_pop(struct post_list *list)
{
    struct post *post = list->first;
    if (post == NULL)
        return NULL;
    list->first = post->next;
    if (list->first == NULL)
        list->end = &list->first;
    return post;
}

static void on_wake(void *arg, int fd, uint32_t events)
{
    uint64_t count;
    (void)arg;
    (void)events;
    /* Nothing to do when it fails: the posts are fetched each round anyway. */
    if (read(fd, &count, sizeof(count)) < 0)
        return;
}

int loop_new(struct loop **out)
{
    struct loop_watch *watch;
    struct loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return ERR_NOMEM;
    pthread_mutex_init(&loop->lock, NULL);
    posts_init(&loop->posted);
    posts_init(&loop->taken);
    sigemptyset(&loop->mask);
    loop->signal_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int err = loop->epoll_fd < 0 || loop->wake_fd < 0 ? err_from_errno(errno) : ERR_OK;
    if (err == ERR_OK)
        err = loop_watch(loop, loop->wake_fd, EPOLLIN, on_wake, loop, &watch);
    if (err != ERR_OK) {
        loop_free(loop);
        return err;
    }
    *out = loop;
    return ERR_OK;
}

static void free_posts(struct post_list *list)
{
    struct post *post;
    while ((post = posts_pop(list)) != NULL)
        free(post);
}

static void free_watches(struct loop_watch **list)
{
    while (*list != NULL) {
        struct loop_watch *watch = *list;
        *list = watch->next;
        free(watch);
    }
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    free_posts(&loop->taken);
    free_posts(&loop->posted);
    free_watches(&loop->watches);
    free_watches(&loop->dead);
    for (size_t i = 0; i < loop->timers.count; i++)
        free(loop->timers.slots[i]);
    heap_close(&loop->timers);
    close_fd(loop->signal_fd);
    close_fd(loop->wake_fd);
    close_fd(loop->epoll_fd);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

void loop_stop(struct loop *loop)
{
    loop->stop = true;
}

int64_t loop_now_us(const struct loop *loop)
{
    return loop->running ? loop->now_us : clock_monotonic_us();
}

/* Descriptors. */

int loop_watch(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *arg, struct loop_watch **out)
{
    struct loop_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return ERR_NOMEM;
    *watch = (struct loop_watch){.loop = loop, .next = loop->watches, .fd = fd, .fn = fn, .arg = arg};
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        int err = err_from_errno(errno);
        free(watch);
        return err;
    }
    if (loop->watches != NULL)
        loop->watches->prev = watch;
    loop->watches = watch;
    *out = watch;
    return ERR_OK;
}

int loop_watch_set(struct loop_watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) != 0)
        return err_from_errno(errno);
    return ERR_OK;
}

void loop_unwatch(struct loop_watch *watch)
{
    if (watch == NULL)
        return;
    struct loop *loop = watch->loop;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    if (watch->prev != NULL)
        watch->prev->next = watch->next;
    else
        loop->watches = watch->next;
    if (watch->next != NULL)
        watch->next->prev = watch->prev;
    if (!loop->running) {
        free(watch);
        return;
    }
    /* An event that is fetched already may still point to it. */
    watch->fn = NULL;
    watch->next = loop->dead;
    loop->dead = watch;
}

/* Timers. A timer's slot in the heap's array is reserved when it is made, so that arming cannot fail. */

struct loop_timer {
    struct heap_item item; /* first: the heap knows only this */
    struct loop *loop;
    loop_fn fn;
    void *arg;
};

int loop_timer_new(struct loop *loop, loop_fn fn, void *arg, struct loop_timer **out)
{
    struct loop_timer *timer = calloc(1, sizeof(*timer));
    if (timer == NULL)
        return ERR_NOMEM;
    *timer = (struct loop_timer){.loop = loop, .fn = fn, .arg = arg};
    int err = heap_add(&loop->timers, &timer->item);
    if (err != ERR_OK) {
        free(timer);
        return err;
    }
    *out = timer;
    return ERR_OK;
}

void loop_timer_at(struct loop_timer *timer, int64_t monotonic_us)
{
    heap_set(&timer->loop->timers, &timer->item, monotonic_us < HEAP_NEVER ? monotonic_us : HEAP_NEVER - 1);
}

void loop_timer_cancel(struct loop_timer *timer)
{
    if (timer != NULL)
        heap_set(&timer->loop->timers, &timer->item, HEAP_NEVER);
}

void loop_timer_free(struct loop_timer *timer)
{
    if (timer == NULL)
        return;
    heap_remove(&timer->loop->timers, &timer->item);
    free(timer);
}

/* Signals. */

static void on_signal(void *arg, int fd, uint32_t events)
{
    struct loop *loop = arg;
    struct signalfd_siginfo info;
    (void)events;
    while (!loop->stop && read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        const struct signal_handler *handler = &loop->handlers[info.ssi_signo % SIGNALS];
        if (handler->fn != NULL)
            handler->fn(handler->arg, (int)info.ssi_signo);
    }
}

int loop_signal(struct loop *loop, int signo, loop_signal_fn fn, void *arg)
{
    struct loop_watch *watch;
    if (signo <= 0 || signo >= SIGNALS || sigaddset(&loop->mask, signo) != 0)
        return ERR_INVALID;
    loop->handlers[signo] = (struct signal_handler){.fn = fn, .arg = arg};
    if (pthread_sigmask(SIG_BLOCK, &loop->mask, NULL) != 0)
        return ERR_INTERNAL;
    int fd = signalfd(loop->signal_fd, &loop->mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return err_from_errno(errno);
    if (loop->signal_fd >= 0)
        return ERR_OK;
    loop->signal_fd = fd;
    return loop_watch(loop, fd, EPOLLIN, on_signal, loop, &watch);
}

/* Posts. */

static void wake(const struct loop *loop)
{
    const uint64_t one = 1;
    /* It fails only when the counter is full, and then the loop is awake. */
    if (write(loop->wake_fd, &one, sizeof(one)) < 0)
        return;
}

int loop_post(struct loop *loop, loop_fn fn, void *arg)
{
    struct post *post = malloc(sizeof(*post));
    if (post == NULL)
        return ERR_NOMEM;
    *post = (struct post){.fn = fn, .arg = arg};
    pthread_mutex_lock(&loop->lock);
    bool first = loop->posted.first == NULL;
    *loop->posted.end = post;
    loop->posted.end = &post->next;
    /* Under the lock, so that the loop cannot run the post, end and be freed before the wake. */
    if (first)
        wake(loop);
    pthread_mutex_unlock(&loop->lock);
    return ERR_OK;
}

static void take_posts(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    if (loop->posted.first != NULL) {
        *loop->taken.end = loop->posted.first;
        loop->taken.end = loop->posted.end;
        posts_init(&loop->posted);
    }
    pthread_mutex_unlock(&loop->lock);
}

static void run_posts(struct loop *loop)
{
    struct post *post;
    take_posts(loop);
    while (!loop->stop && (post = posts_pop(&loop->taken)) != NULL) {
        struct post run = *post;
        free(post);
        run.fn(run.arg);
    }
}

/* Rounds. */

static void run_timers(struct loop *loop)
{
    /* A timer that arms itself for a time that has passed gets its turn in the next round, so that descriptors are not starved. */
    for (size_t left = loop->timers.count; left > 0 && !loop->stop; left--) {
        struct heap_item *item = heap_first(&loop->timers);
        if (item == NULL || item->key > loop->now_us)
            return;
        struct loop_timer *timer = (struct loop_timer *)item;
        heap_set(&loop->timers, item, HEAP_NEVER);
        timer->fn(timer->arg);
    }
}

/* Time until the first timer in µs, -1 for none. */
static int64_t wait_us(const struct loop *loop)
{
    const struct heap_item *first = heap_first(&loop->timers);
    if (loop->taken.first != NULL)
        return 0;
    if (first == NULL || first->key == HEAP_NEVER)
        return -1;
    int64_t now_us = clock_monotonic_us();
    return first->key > now_us ? first->key - now_us : 0;
}

static int wait_coarse(const struct loop *loop, struct epoll_event *events, int64_t us)
{
    int64_t ms = us < 0 ? -1 : us / 1000 + (us % 1000 != 0);
    return epoll_wait(loop->epoll_fd, events, EVENTS_A_ROUND, ms > INT_MAX ? INT_MAX : (int)ms);
}

static int wait_events(struct loop *loop, struct epoll_event *events)
{
    int64_t us = wait_us(loop);
    if (!loop->coarse) {
        struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
        int count = epoll_pwait2(loop->epoll_fd, events, EVENTS_A_ROUND, us < 0 ? NULL : &time, NULL);
        if (count >= 0 || (errno != ENOSYS && errno != EPERM))
            return count;
        loop->coarse = true;
    }
    return wait_coarse(loop, events, us);
}

static int run_round(struct loop *loop)
{
    struct epoll_event events[EVENTS_A_ROUND];
    int count = wait_events(loop, events);
    if (count < 0 && errno != EINTR)
        return ERR_IO;
    loop->now_us = clock_monotonic_us();
    for (int i = 0; i < count && !loop->stop; i++) {
        const struct loop_watch *watch = events[i].data.ptr;
        if (watch->fn != NULL)
            watch->fn(watch->arg, watch->fd, events[i].events);
    }
    run_posts(loop);
    run_timers(loop);
    free_watches(&loop->dead);
    return ERR_OK;
}

int loop_run(struct loop *loop)
{
    int err = ERR_OK;
    loop->running = true;
    loop->now_us = clock_monotonic_us();
    while (!loop->stop && err == ERR_OK)
        err = run_round(loop);
    loop->running = false;
    loop->stop = false;
    return err;
}
