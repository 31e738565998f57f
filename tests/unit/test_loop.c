/* SPDX-License-Identifier: MIT */
/* The event loop: descriptors, timers, signals and posts, and what may be undone from within a callback. */
#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

static struct loop *loop;
static char order[64]; /* what ran, a letter each */

static int set_up(void **state)
{
    (void)state;
    memset(order, 0, sizeof(order));
    return loop_new(&loop);
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void note(void *arg)
{
    size_t len = strlen(order);
    assert_true(len + 1 < sizeof(order));
    order[len] = *(const char *)arg;
}

static void stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

/* Timers. */

static struct loop_timer *timer_at(loop_fn fn, void *arg, int64_t at_us)
{
    struct loop_timer *timer = NULL;
    assert_int_equal(loop_timer_new(loop, fn, arg, &timer), ERR_OK);
    loop_timer_at(timer, at_us);
    return timer;
}

static void test_timers_fire_in_order_of_time(void **state)
{
    (void)state;
    int64_t now_us = loop_now_us(loop);
    timer_at(note, "c", now_us + 300);
    timer_at(note, "a", now_us - 1000000);
    struct loop_timer *moved = timer_at(note, "d", now_us + 1);
    struct loop_timer *cancelled = timer_at(note, "x", now_us + 2);
    struct loop_timer *freed = timer_at(note, "y", now_us + 3);
    timer_at(note, "b", now_us + 200);
    timer_at(stop, NULL, now_us + 500);
    loop_timer_at(moved, now_us + 400);
    loop_timer_cancel(cancelled);
    loop_timer_free(freed);
    loop_timer_cancel(NULL);
    loop_timer_free(NULL);
    assert_int_equal(loop_run(loop), ERR_OK);
    assert_string_equal(order, "abcd");
}

static int64_t last_us;

static void check_order(void *arg)
{
    int64_t at_us = *(int64_t *)arg;
    assert_true(at_us >= last_us);
    assert_true(loop_now_us(loop) >= at_us);
    last_us = at_us;
}

/* Many timers, moved and freed in a fixed disorder, against the one rule: never before an earlier one. */
static void test_many_timers_keep_their_order(void **state)
{
    (void)state;
    enum { MANY = 2000 };
    static int64_t times[MANY];
    static struct loop_timer *timers[MANY];
    int64_t base_us = loop_now_us(loop) - 1000000;
    uint32_t random = 1;
    last_us = 0;
    for (size_t i = 0; i < MANY; i++) {
        random = random * 1664525 + 1013904223;
        times[i] = base_us + random % 10007;
        timers[i] = timer_at(check_order, &times[i], times[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        random = random * 1664525 + 1013904223;
        times[i] = base_us + random % 10007;
        if (random % 3 == 0)
            loop_timer_free(timers[i]);
        else
            loop_timer_at(timers[i], times[i]);
    }
    timer_at(stop, NULL, base_us + 20000);
    assert_int_equal(loop_run(loop), ERR_OK);
    assert_true(last_us > base_us);
}

static void test_timer_is_not_early(void **state)
{
    (void)state;
    int64_t at_us = clock_monotonic_us() + 1500;
    timer_at(stop, NULL, at_us);
    assert_int_equal(loop_run(loop), ERR_OK);
    assert_true(clock_monotonic_us() >= at_us);
}

static struct loop_timer *again;
static int rounds;

static void arm_again(void *arg)
{
    (void)arg;
    if (++rounds < 5)
        loop_timer_at(again, 1);
    else {
        loop_timer_free(again);
        loop_stop(loop);
    }
}

static void test_timer_may_arm_and_free_itself(void **state)
{
    (void)state;
    rounds = 0;
    again = timer_at(arm_again, NULL, 1);
    assert_int_equal(loop_run(loop), ERR_OK);
    assert_int_equal(rounds, 5);
}

static struct loop_timer *always;

static void arm_always(void *arg)
{
    (void)arg;
    loop_timer_at(always, 1);
}

static void write_one(void *arg)
{
    assert_int_equal(write(*(int *)arg, "x", 1), 1);
}

static void stop_fd(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    loop_stop(arg);
}

static void test_timer_that_is_always_due_starves_nothing(void **state)
{
    (void)state;
    int ends[2];
    struct loop_watch *watch;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(loop_watch(loop, ends[0], EPOLLIN, stop_fd, loop, &watch), ERR_OK);
    always = timer_at(arm_always, NULL, 1);
    /* Written by a timer of the first round, so that a second round has to come. */
    timer_at(write_one, &ends[1], 1);
    assert_int_equal(loop_run(loop), ERR_OK);
    close(ends[0]);
    close(ends[1]);
}

/* Descriptors. */

static void read_one(void *arg, int fd, uint32_t events)
{
    char byte;
    assert_true((events & EPOLLIN) != 0);
    assert_int_equal(read(fd, &byte, 1), 1);
    note(&byte);
    if (byte == '.')
        loop_stop(arg);
}

static void test_watch_is_level_triggered(void **state)
{
    (void)state;
    int ends[2];
    struct loop_watch *watch;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(loop_watch(loop, ends[0], EPOLLIN, read_one, loop, &watch), ERR_OK);
    assert_int_equal(write(ends[1], "abc.", 4), 4);
    assert_int_equal(loop_run(loop), ERR_OK);
    assert_string_equal(order, "abc.");
    /* No interest, no call. */
    assert_int_equal(loop_watch_set(watch, 0), ERR_OK);
    assert_int_equal(write(ends[1], "x", 1), 1);
    timer_at(stop, NULL, loop_now_us(loop) + 500);
    assert_int_equal(loop_run(loop), ERR_OK);
    assert_string_equal(order, "abc.");
    loop_unwatch(watch);
    close(ends[0]);
    close(ends[1]);
}

static struct loop_watch *pair[2];

/* Whichever is called first takes both away. */
static void unwatch_both(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    note("u");
    loop_unwatch(pair[0]);
    loop_unwatch(pair[1]);
    timer_at(stop, NULL, 1);
    (void)arg;
}

static void test_unwatched_is_not_called_for_fetched_events(void **state)
{
    (void)state;
    int ends[2][2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pipe(ends[i]), 0);
        assert_int_equal(loop_watch(loop, ends[i][0], EPOLLIN, unwatch_both, NULL, &pair[i]), ERR_OK);
        assert_int_equal(write(ends[i][1], "x", 1), 1);
    }
    assert_int_equal(loop_run(loop), ERR_OK);
    assert_string_equal(order, "u");
    for (size_t i = 0; i < 2; i++) {
        close(ends[i][0]);
        close(ends[i][1]);
    }
}

static void test_watching_nonsense_fails(void **state)
{
    (void)state;
    struct loop_watch *watch = NULL;
    assert_int_equal(loop_watch(loop, -1, EPOLLIN, read_one, loop, &watch), ERR_CLOSED);
    assert_null(watch);
    loop_unwatch(NULL);
}

/* Posts. */

static void post_more(void *arg)
{
    note(arg);
    assert_int_equal(loop_post(loop, note, "c"), ERR_OK);
    assert_int_equal(loop_post(loop, stop, NULL), ERR_OK);
}

static void test_posts_run_in_order(void **state)
{
    (void)state;
    assert_int_equal(loop_post(loop, note, "a"), ERR_OK);
    assert_int_equal(loop_post(loop, post_more, "b"), ERR_OK);
    assert_int_equal(loop_run(loop), ERR_OK);
    assert_string_equal(order, "abc");
}

static void test_posts_after_a_stop_wait_for_the_next_run(void **state)
{
    (void)state;
    assert_int_equal(loop_post(loop, stop, NULL), ERR_OK);
    assert_int_equal(loop_post(loop, note, "a"), ERR_OK);
    assert_int_equal(loop_run(loop), ERR_OK);
    assert_string_equal(order, "");
    assert_int_equal(loop_post(loop, note, "b"), ERR_OK);
    assert_int_equal(loop_post(loop, stop, NULL), ERR_OK);
    assert_int_equal(loop_run(loop), ERR_OK);
    assert_string_equal(order, "ab");
    assert_int_equal(loop_post(loop, note, "dropped"), ERR_OK);
}

enum { POSTERS = 4, POSTS = 2000 };

static int counted;

static void count_post(void *arg)
{
    (void)arg;
    if (++counted == POSTERS * POSTS)
        loop_stop(loop);
}

static void *post_many(void *arg)
{
    for (int i = 0; i < POSTS; i++)
        if (loop_post(arg, count_post, NULL) != ERR_OK)
            abort();
    return NULL;
}

static void test_posts_of_many_threads_all_run(void **state)
{
    (void)state;
    pthread_t threads[POSTERS];
    counted = 0;
    for (size_t i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, loop), 0);
    assert_int_equal(loop_run(loop), ERR_OK);
    for (size_t i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(counted, POSTERS * POSTS);
}

/* Signals. */

static void on_signal(void *arg, int signo)
{
    note(signo == SIGUSR1 ? "1" : "2");
    if (strlen(order) == 2)
        stop(arg);
}

static void test_signals_are_delivered_by_number(void **state)
{
    (void)state;
    assert_int_equal(loop_signal(loop, SIGUSR1, on_signal, NULL), ERR_OK);
    assert_int_equal(loop_signal(loop, SIGUSR2, on_signal, NULL), ERR_OK);
    assert_int_equal(loop_signal(loop, 0, on_signal, NULL), ERR_INVALID);
    assert_int_equal(loop_signal(loop, 1000, on_signal, NULL), ERR_INVALID);
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    assert_int_equal(loop_run(loop), ERR_OK);
    assert_int_equal(strlen(order), 2);
    assert_non_null(strchr(order, '1'));
    assert_non_null(strchr(order, '2'));
}

static void test_stop_before_run_ends_it_at_once(void **state)
{
    (void)state;
    loop_stop(loop);
    assert_int_equal(loop_run(loop), ERR_OK);
    timer_at(stop, NULL, 1);
    timer_at(note, "n", 1);
    assert_int_equal(loop_run(loop), ERR_OK);
    loop_free(NULL);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_timers_fire_in_order_of_time),
        TEST(test_many_timers_keep_their_order),
        TEST(test_timer_is_not_early),
        TEST(test_timer_may_arm_and_free_itself),
        TEST(test_timer_that_is_always_due_starves_nothing),
        TEST(test_watch_is_level_triggered),
        TEST(test_unwatched_is_not_called_for_fetched_events),
        TEST(test_watching_nonsense_fails),
        TEST(test_posts_run_in_order),
        TEST(test_posts_after_a_stop_wait_for_the_next_run),
        TEST(test_posts_of_many_threads_all_run),
        TEST(test_signals_are_delivered_by_number),
        TEST(test_stop_before_run_ends_it_at_once),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
