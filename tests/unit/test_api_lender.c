/* SPDX-License-Identifier: MIT */
/* The lender and what connects to it: workers, strangers, and workers that do not keep to the rules. */
#include "lender.h"
#include "metrics.h"

#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/seqpacket.h"
#include "turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { EXTENT = 4096, EXTENTS = 16, LINK = 2 };

struct fixture {
    char folder[32], results[64], path[64];
    struct loop *loop;
    struct metrics *metrics;
    struct extents *extents;
    struct lender *lender;
};

static const struct id api_boot = {{'a'}}, worker_boot = {{'w'}}, other_boot = {{'x'}};

static void turn(const struct fixture *f)
{
    assert_int_equal(turns_take(f->loop), ERR_OK);
}

static int setup(void **state)
{
    static const struct extents_config extents = {EXTENTS * EXTENT, EXTENT, 100};
    struct fixture *f = calloc(1, sizeof(*f));
    snprintf(f->folder, sizeof(f->folder), "/tmp/cvg-lend-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->results, sizeof(f->results), "ipc://%s/r", f->folder);
    snprintf(f->path, sizeof(f->path), "%s/r.arena", f->folder);
    assert_int_equal(loop_new(&f->loop), ERR_OK);
    assert_int_equal(metrics_new(api_metric_defs, API_METRICS, &f->metrics), ERR_OK);
    assert_int_equal(extents_new(&extents, &f->extents), ERR_OK);
    struct lender_config config = {f->loop, f->metrics, f->extents, api_boot, f->results, 8};
    assert_int_equal(lender_start(&config, &f->lender), ERR_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    lender_stop(f->lender);
    assert_int_equal(extents_used_bytes(f->extents), 0);
    assert_int_equal(access(f->path, F_OK), -1);
    extents_free(f->extents);
    metrics_free(f->metrics);
    loop_free(f->loop);
    rmdir(f->folder);
    free(f);
    return 0;
}

static int connected(const struct fixture *f)
{
    int fd;
    assert_int_equal(seqpacket_connect(f->path, &fd), ERR_OK);
    return fd;
}

static void say(int fd, const struct wire_arena *m)
{
    uint8_t *data;
    size_t len;
    assert_int_equal(wire_pack_arena(m, malloc, &data, &len), ERR_OK);
    assert_int_equal(seqpacket_send(fd, data, len, NULL, 0), ERR_OK);
    free(data);
}

static int hear(int fd, struct wire_arena *m, int *arena)
{
    uint8_t data[256];
    size_t len, count;
    struct frame f;
    *m = (struct wire_arena){0};
    *arena = -1;
    int err = seqpacket_recv(fd, data, sizeof(data), MSG_DONTWAIT, &len, arena, 1, &count);
    if (err)
        return err;
    assert_int_equal(count, 1);
    assert_int_equal(frame_parse(data, len, 0, &f), ERR_OK);
    assert_int_equal(wire_unpack_arena(&f, m), ERR_OK);
    return ERR_OK;
}

static bool is_closed(int fd)
{
    struct wire_arena m;
    int arena;
    return hear(fd, &m, &arena) == ERR_CLOSED;
}

/* A worker that has mapped the arena; *view gets it. */
static int joined(struct fixture *f, const struct id *boot, struct wire_arena *m, const uint8_t **view)
{
    int arena, fd = connected(f);
    say(fd, &(struct wire_arena){.api_boot = api_boot, .worker_boot = *boot});
    turn(f);
    assert_int_equal(hear(fd, m, &arena), ERR_OK);
    *view = mmap(NULL, m->extents * m->extent_bytes, PROT_READ, MAP_SHARED, arena, 0);
    assert_ptr_not_equal(*view, MAP_FAILED);
    close(arena);
    say(fd, m);
    turn(f);
    return fd;
}

static void unmap(const struct wire_arena *m, const uint8_t *view)
{
    munmap((void *)(uintptr_t)view, m->extents * m->extent_bytes);
}

static void leave(const struct wire_arena *m, const uint8_t *view, int fd)
{
    unmap(m, view);
    close(fd);
}

static struct lending_stats stats(const struct fixture *f)
{
    struct lending_stats s;
    lender_stats(f->lender, &s);
    return s;
}

static struct dispatch_action action(const struct id *boot, uint64_t sequence)
{
    return (struct dispatch_action){
        .type = DISPATCH_SEND, .peer = LINK, .worker_boot = *boot, .sequence = sequence, .job = 100 + sequence};
}

static struct staged body(struct fixture *f, const char *text)
{
    struct staged s = {.customer = 1};
    assert_int_equal(staged_append(f->extents, &s, text, strlen(text)), ERR_OK);
    return s;
}

static void status(struct fixture *f, const struct id *boot, uint64_t seen)
{
    struct wire_status m = {.worker_boot = *boot, .api_boot = api_boot, .link = LINK, .sequence = 1, .seen = seen};
    lender_hear(f->lender, &m);
}

static void test_a_worker_reads_what_was_staged(void **state)
{
    struct fixture *f = *state;
    struct wire_arena m;
    struct wire_job job = {0};
    const uint8_t *view;
    struct dispatch_action a = action(&worker_boot, 1);
    struct staged s = body(f, "an image");
    assert_false(lender_lend(f->lender, &a, &s, &job));
    int fd = joined(f, &worker_boot, &m, &view);
    assert_true(m.number > 0 && m.extents == EXTENTS && m.extent_bytes == EXTENT);
    assert_int_equal(stats(f).readers, 1);
    assert_true(lender_lend(f->lender, &a, &s, &job));
    assert_true(job.arena == m.number && job.image_bytes == 8 && job.extent_count == 1);
    assert_memory_equal(view + (size_t)job.extents[0] * EXTENT, "an image", 8);
    status(f, &worker_boot, 1);
    lender_keep(f->lender, a.job, &s);
    assert_int_equal(s.bytes, 8); /* nobody reads it: it is still the request's */
    staged_release(f->extents, &s);
    leave(&m, view, fd);
    turn(f);
    assert_int_equal(stats(f).readers, 0);
    assert_false(lender_lend(f->lender, &a, &s, &job));
}

static void test_what_may_be_read_is_kept_until_it_may_not(void **state)
{
    struct fixture *f = *state;
    struct wire_arena m;
    struct wire_job job = {0};
    const uint8_t *view;
    int fd = joined(f, &worker_boot, &m, &view);
    struct staged one = body(f, "one"), two = body(f, "two"), three = body(f, "three");
    struct dispatch_action a1 = action(&worker_boot, 1), a2 = action(&worker_boot, 2), a3 = action(&worker_boot, 3);
    assert_true(lender_lend(f->lender, &a1, &one, &job) && lender_lend(f->lender, &a2, &two, &job) &&
                lender_lend(f->lender, &a3, &three, &job));
    const uint8_t *last = view + (size_t)job.extents[0] * EXTENT;
    lender_take_back(f->lender, &a2);
    lender_keep(f->lender, a1.job, &one);
    lender_keep(f->lender, a2.job, &two);
    lender_keep(f->lender, a3.job, &three);
    assert_true(one.bytes == 0 && two.bytes == 3 && three.bytes == 0);
    staged_release(f->extents, &two);
    assert_int_equal(stats(f).kept_bytes, 8);
    status(f, &worker_boot, 1);
    assert_int_equal(extents_used_bytes(f->extents), 5);
    assert_memory_equal(last, "three", 5);
    close(fd); /* dead, as far as the lender can tell */
    turn(f);
    assert_int_equal(extents_used_bytes(f->extents), 0);
    assert_int_equal(last[0], 0);
    unmap(&m, view);
}

static void test_a_body_of_too_many_extents_is_not_lent(void **state)
{
    (void)state;
    static const struct extents_config config = {(WIRE_EXTENTS_MAX + 1) * EXTENT, EXTENT, 100};
    struct fixture *f = *state;
    struct extents *own = f->extents, *large;
    struct wire_arena m;
    struct wire_job job = {0};
    const uint8_t *view;
    static char data[WIRE_EXTENTS_MAX * EXTENT];
    struct dispatch_action a = action(&worker_boot, 1);
    lender_stop(f->lender);
    assert_int_equal(extents_new(&config, &large), ERR_OK);
    struct lender_config lender = {f->loop, f->metrics, large, api_boot, f->results, 8};
    assert_int_equal(lender_start(&lender, &f->lender), ERR_OK);
    f->extents = large;
    int fd = joined(f, &worker_boot, &m, &view);
    struct staged s = {.customer = 1};
    assert_int_equal(staged_append(large, &s, data, sizeof(data)), ERR_OK);
    assert_true(lender_lend(f->lender, &a, &s, &job));
    assert_int_equal(job.extent_count, WIRE_EXTENTS_MAX);
    assert_int_equal(staged_append(large, &s, "x", 1), ERR_OK);
    assert_false(lender_lend(f->lender, &a, &s, &job));
    status(f, &worker_boot, 1);
    staged_release(large, &s);
    leave(&m, view, fd);
    lender_stop(f->lender);
    extents_free(large);
    struct lender_config again = {f->loop, f->metrics, own, api_boot, f->results, 8};
    assert_int_equal(lender_start(&again, &f->lender), ERR_OK);
    f->extents = own;
}

static void test_strangers_are_dropped_and_counted(void **state)
{
    struct fixture *f = *state;
    const struct wire_arena wrong[] = {
        {.api_boot = other_boot, .worker_boot = worker_boot},
        {.api_boot = api_boot, .worker_boot = worker_boot, .number = 1, .extent_bytes = 1, .extents = 1},
    };
    int64_t refused = 0;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int fd = connected(f);
        say(fd, &wrong[i]);
        turn(f);
        assert_true(is_closed(fd));
        assert_int_equal(metrics_get(f->metrics, API_ARENA_REFUSED), ++refused);
        close(fd);
    }
    char noise[1000];
    memset(noise, 'n', sizeof(noise));
    for (size_t len = 1; len <= sizeof(noise); len += 333) {
        int fd = connected(f);
        assert_int_equal(seqpacket_send(fd, noise, len, NULL, 0), ERR_OK);
        turn(f);
        assert_true(is_closed(fd));
        assert_int_equal(metrics_get(f->metrics, API_ARENA_REFUSED), ++refused);
        close(fd);
    }
    assert_int_equal(stats(f).readers, 0);
}

static void test_idle_strangers_keep_no_worker_out(void **state)
{
    struct fixture *f = *state;
    int idle[DISPATCH_PEERS_MAX + 40];
    struct wire_arena m;
    const uint8_t *view;
    for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++) {
        idle[i] = connected(f);
        if (i % 32 == 31)
            turn(f);
    }
    turn(f);
    assert_true(is_closed(idle[0]));
    int fd = joined(f, &worker_boot, &m, &view);
    assert_int_equal(stats(f).readers, 1);
    for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++)
        close(idle[i]);
    leave(&m, view, fd);
}

static void test_a_second_link_of_a_worker_waits_for_the_end_of_the_first(void **state)
{
    struct fixture *f = *state;
    struct wire_arena m, n;
    const uint8_t *view, *again;
    int fd = joined(f, &worker_boot, &m, &view);
    int second = joined(f, &worker_boot, &n, &again);
    assert_true(is_closed(second));
    assert_int_equal(stats(f).readers, 1);
    leave(&n, again, second);
    leave(&m, view, fd);
    turn(f);
    fd = joined(f, &worker_boot, &n, &view);
    assert_int_equal(stats(f).readers, 1);
    assert_true(n.number > m.number);
    leave(&n, view, fd);
}

static void test_a_worker_that_speaks_on_is_asked_to_leave(void **state)
{
    struct fixture *f = *state;
    struct wire_arena m;
    struct wire_job job = {0};
    const uint8_t *view;
    int fd = joined(f, &worker_boot, &m, &view);
    struct staged one = body(f, "one"), two = body(f, "two");
    struct dispatch_action a1 = action(&worker_boot, 1), a2 = action(&worker_boot, 2);
    assert_true(lender_lend(f->lender, &a1, &one, &job));
    say(fd, &m);
    say(fd, &m);
    turn(f);
    assert_true(is_closed(fd));
    assert_int_equal(metrics_get(f->metrics, API_ARENA_REFUSED), 1);
    assert_false(lender_lend(f->lender, &a2, &two, &job));
    staged_release(f->extents, &two);
    /* What it has it may read until it hangs up. */
    lender_keep(f->lender, a1.job, &one);
    turn(f);
    assert_memory_equal(view + (size_t)job.extents[0] * EXTENT, "one", 3);
    leave(&m, view, fd);
    turn(f);
    assert_int_equal(extents_used_bytes(f->extents), 0);
}

static void test_nothing_is_left_when_it_stops(void **state)
{
    struct fixture *f = *state;
    struct wire_arena m;
    struct wire_job job = {0};
    const uint8_t *view;
    int fd = joined(f, &worker_boot, &m, &view);
    struct staged s = body(f, "secret");
    struct dispatch_action a = action(&worker_boot, 1);
    assert_true(lender_lend(f->lender, &a, &s, &job));
    lender_keep(f->lender, a.job, &s);
    lender_stop(f->lender);
    f->lender = NULL;
    assert_int_equal(view[(size_t)job.extents[0] * EXTENT], 0);
    assert_true(is_closed(fd));
    leave(&m, view, fd);
}

static void test_without_a_lender_nothing_is_lent(void **state)
{
    struct fixture *f = *state;
    struct dispatch_action a = action(&worker_boot, 1);
    struct staged s = body(f, "x");
    struct wire_job job = {0};
    struct lending_stats none;
    struct wire_status m = {0};
    struct lender_config config = {f->loop, f->metrics, f->extents, api_boot, "tcp://127.0.0.1:1", 8};
    struct lender *l = NULL;
    assert_int_equal(lender_start(&config, &l), ERR_INVALID);
    assert_false(lender_lend(NULL, &a, &s, &job));
    lender_take_back(NULL, &a);
    lender_hear(NULL, &m);
    lender_keep(NULL, 1, &s);
    lender_stats(NULL, &none);
    assert_int_equal(none.readers, 0);
    assert_int_equal(s.bytes, 1);
    staged_release(f->extents, &s);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_worker_reads_what_was_staged),
        TEST(test_what_may_be_read_is_kept_until_it_may_not),
        TEST(test_a_body_of_too_many_extents_is_not_lent),
        TEST(test_strangers_are_dropped_and_counted),
        TEST(test_idle_strangers_keep_no_worker_out),
        TEST(test_a_second_link_of_a_worker_waits_for_the_end_of_the_first),
        TEST(test_a_worker_that_speaks_on_is_asked_to_leave),
        TEST(test_nothing_is_left_when_it_stops),
        TEST(test_without_a_lender_nothing_is_lent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
