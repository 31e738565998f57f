/* SPDX-License-Identifier: MIT */
/* The worker's side of a link: only a sealed arena of the API that was greeted is mapped, and only what lies in it is read. */
#include "arenas.h"
#include "worker_metrics.h"

#include "cavage/backoff.h"
#include "cavage/clock.h"
#include "cavage/err.h"
#include "cavage/extents.h"
#include "cavage/frame.h"
#include "cavage/seqpacket.h"
#include "turns.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { EXTENT = 4096, EXTENTS = 8, API = 5, MAX_BYTES = 3 * EXTENT };

struct fixture {
    char folder[32], path[64];
    struct loop *loop;
    struct metrics *metrics;
    struct extents *extents; /* of the API that is acted */
    int listener;
    struct arenas *arenas;
    struct wire_hello hello;
    unsigned lost;
};

static const struct id api_boot = {{'a'}}, worker_boot = {{'w'}}, other_boot = {{'x'}};

static void turn(const struct fixture *f)
{
    assert_int_equal(turns_take(f->loop), ERR_OK);
}

static void on_lost(void *arg, size_t api)
{
    struct fixture *f = arg;
    assert_int_equal(api, API);
    f->lost++;
}

static int setup(void **state)
{
    static const struct extents_config extents = {EXTENTS * EXTENT, EXTENT, 100};
    struct fixture *f = calloc(1, sizeof(*f));
    snprintf(f->folder, sizeof(f->folder), "/tmp/cvg-aren-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/r.arena", f->folder);
    assert_int_equal(loop_new(&f->loop), ERR_OK);
    assert_int_equal(metrics_new(worker_metrics, WORKER_METRIC_COUNT, &f->metrics), ERR_OK);
    assert_int_equal(extents_new(&extents, &f->extents), ERR_OK);
    assert_int_equal(seqpacket_listen(f->path, 4, &f->listener), ERR_OK);
    struct arenas_config config = {f->loop, f->metrics, worker_boot, MAX_BYTES, on_lost, f};
    assert_int_equal(arenas_new(&config, &f->arenas), ERR_OK);
    f->hello = (struct wire_hello){.api_boot = api_boot, .lends = true};
    snprintf(f->hello.result_address, sizeof(f->hello.result_address), "ipc://%s/r", f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arenas_free(f->arenas);
    close(f->listener);
    unlink(f->path);
    extents_free(f->extents);
    metrics_free(f->metrics);
    loop_free(f->loop);
    rmdir(f->folder);
    free(f);
    return 0;
}

/* Later than anything is put off to. */
static int64_t later_us(void)
{
    return clock_monotonic_us() + BACKOFF_MAX_US;
}

/* The API's end of a link that was asked for. */
static int asked(struct fixture *f)
{
    uint8_t data[256];
    size_t len, count;
    struct frame frame;
    struct wire_arena m;
    int fd;
    arenas_meet(f->arenas, later_us(), API, &f->hello);
    assert_int_equal(seqpacket_accept(f->listener, &fd), ERR_OK);
    assert_int_equal(seqpacket_recv(fd, data, sizeof(data), MSG_DONTWAIT, &len, NULL, 0, &count), ERR_OK);
    assert_int_equal(frame_parse(data, len, 0, &frame), ERR_OK);
    assert_int_equal(wire_unpack_arena(&frame, &m), ERR_OK);
    assert_true(id_equal(&m.api_boot, &api_boot) && id_equal(&m.worker_boot, &worker_boot) && m.number == 0);
    return fd;
}

static struct wire_arena right(void)
{
    return (struct wire_arena){
        .api_boot = api_boot, .worker_boot = worker_boot, .number = 7, .extent_bytes = EXTENT, .extents = EXTENTS};
}

static void offer(struct fixture *f, int fd, const struct wire_arena *m, const int *fds, size_t count)
{
    uint8_t *data;
    size_t len;
    assert_int_equal(wire_pack_arena(m, malloc, &data, &len), ERR_OK);
    assert_int_equal(seqpacket_send(fd, data, len, fds, count), ERR_OK);
    free(data);
    turn(f);
}

/* What the worker says to that: ERR_OK when it agrees, ERR_CLOSED when it hangs up. */
static int answer(int fd)
{
    uint8_t data[256];
    size_t len, count;
    struct frame frame;
    struct wire_arena m;
    int err = seqpacket_recv(fd, data, sizeof(data), MSG_DONTWAIT, &len, NULL, 0, &count);
    if (err)
        return err;
    assert_int_equal(frame_parse(data, len, 0, &frame), ERR_OK);
    assert_int_equal(wire_unpack_arena(&frame, &m), ERR_OK);
    assert_int_equal(m.number, right().number);
    return ERR_OK;
}

static int linked(struct fixture *f)
{
    int fd = asked(f), arena = extents_fd(f->extents);
    struct wire_arena m = right();
    offer(f, fd, &m, &arena, 1);
    assert_int_equal(answer(fd), ERR_OK);
    assert_int_equal(metrics_get(f->metrics, METRIC_ARENAS), 1);
    return fd;
}

static void test_an_image_is_read_from_its_extents(void **state)
{
    struct fixture *f = *state;
    struct staged s = {.customer = 1}, other = {.customer = 1};
    static uint8_t in[2 * EXTENT + 50], out[sizeof(in)];
    struct wire_job m = {.arena = 7, .image_bytes = sizeof(in)};
    struct input image;
    uint8_t tail[100];
    size_t len;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i * 7 + i / 256);
    assert_int_equal(staged_append(f->extents, &s, in, EXTENT), ERR_OK);
    assert_int_equal(staged_append(f->extents, &other, "x", 1), ERR_OK);
    assert_int_equal(staged_append(f->extents, &s, in + EXTENT, sizeof(in) - EXTENT), ERR_OK);
    assert_int_equal(staged_numbers(f->extents, &s, m.extents, WIRE_EXTENTS_MAX, &m.extent_count), ERR_OK);
    assert_int_equal(arenas_find(f->arenas, API, &m, &image), ERR_NOTFOUND);
    int fd = linked(f);
    assert_int_equal(arenas_find(f->arenas, API, &m, &image), ERR_OK);
    input_copy(&image, out);
    assert_memory_equal(in, out, sizeof(in));
    assert_memory_equal(input_front(&image, &len), in, EXTENT);
    assert_int_equal(len, EXTENT);
    assert_int_equal(input_tail(&image, tail, sizeof(tail)), sizeof(tail));
    assert_memory_equal(tail, in + sizeof(in) - sizeof(tail), sizeof(tail));
    close(fd);
    turn(f);
    assert_int_equal(f->lost, 1);
    assert_int_equal(arenas_find(f->arenas, API, &m, &image), ERR_NOTFOUND);
    staged_release(f->extents, &s);
    staged_release(f->extents, &other);
}

static void test_an_input_in_one_piece(void **state)
{
    (void)state;
    const struct input image = {.len = 5, .whole = (const uint8_t *)"image"}, none = {.whole = (const uint8_t *)""};
    uint8_t out[5], tail[3], all[9];
    size_t len;
    assert_ptr_equal(input_front(&image, &len), image.whole);
    assert_int_equal(len, 5);
    input_copy(&image, out);
    assert_memory_equal(out, "image", 5);
    assert_int_equal(input_tail(&image, tail, sizeof(tail)), 3);
    assert_memory_equal(tail, "age", 3);
    assert_int_equal(input_tail(&image, all, sizeof(all)), 5);
    assert_non_null(input_front(&none, &len));
    assert_int_equal(len, 0);
    input_copy(&none, out);
}

static void test_places_outside_are_refused(void **state)
{
    struct fixture *f = *state;
    struct input image;
    int fd = linked(f);
    const struct wire_job wrong[] = {
        {.arena = 7, .image_bytes = 10, .extent_count = 1, .extents = {EXTENTS}},
        {.arena = 7, .image_bytes = 10, .extent_count = 1, .extents = {UINT32_MAX}},
        {.arena = 7, .image_bytes = EXTENT + 1, .extent_count = 2, .extents = {0, EXTENTS}},
        {.arena = 7, .image_bytes = EXTENT, .extent_count = 2, .extents = {0, 1}},
        {.arena = 7, .image_bytes = EXTENT + 1, .extent_count = 1, .extents = {0}},
        {.arena = 7, .image_bytes = MAX_BYTES + 1, .extent_count = 4, .extents = {0, 1, 2, 3}},
        {.arena = 7, .image_bytes = SIZE_MAX, .extent_count = 1, .extents = {0}},
        {.arena = 7, .image_bytes = 0, .extent_count = 1, .extents = {0}},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(arenas_find(f->arenas, API, &wrong[i], &image), ERR_RANGE);
    struct wire_job m = {.arena = 7, .image_bytes = MAX_BYTES, .extent_count = 3, .extents = {EXTENTS - 1, 0, 4}};
    assert_int_equal(arenas_find(f->arenas, API, &m, &image), ERR_OK);
    assert_int_equal(arenas_find(f->arenas, API + 1, &m, &image), ERR_NOTFOUND);
    m.arena = 6; /* of an earlier link */
    assert_int_equal(arenas_find(f->arenas, API, &m, &image), ERR_NOTFOUND);
    close(fd);
}

static int memory(size_t bytes, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

/* It is refused, nothing is mapped, and the next HELLO asks again. */
static void refused(struct fixture *f, const struct wire_arena *m, int arena, size_t count)
{
    int fd = asked(f);
    offer(f, fd, m, (int[]){arena, arena}, count);
    assert_int_equal(answer(fd), ERR_CLOSED);
    assert_int_equal(metrics_get(f->metrics, METRIC_ARENAS), 0);
    assert_int_equal(f->lost, 0);
    close(fd);
    arenas_meet(f->arenas, clock_monotonic_us() + 1000, API, &f->hello); /* not at once */
    assert_int_equal(seqpacket_accept(f->listener, &fd), ERR_AGAIN);
}

static void test_bad_offers_are_refused(void **state)
{
    struct fixture *f = *state;
    struct wire_arena m = right();
    int good = extents_fd(f->extents), soft = memory(EXTENTS * EXTENT, F_SEAL_GROW),
        shorter = memory(EXTENTS * EXTENT - 1, F_SEAL_SHRINK), plain = open(f->folder, O_RDONLY | O_CLOEXEC);
    refused(f, &m, soft, 1); /* who made it could cut it off under us */
    refused(f, &m, shorter, 1);
    refused(f, &m, plain, 1);
    refused(f, &m, good, 0);
    refused(f, &m, good, 2);
    m.api_boot = other_boot;
    refused(f, &m, good, 1);
    m = right();
    m.worker_boot = other_boot;
    refused(f, &m, good, 1);
    m = (struct wire_arena){.api_boot = api_boot, .worker_boot = worker_boot};
    refused(f, &m, good, 1);
    m = right();
    m.extents = UINT32_MAX;
    refused(f, &m, good, 1);
    close(soft);
    close(shorter);
    close(plain);
    close(linked(f));
}

static void test_only_apis_that_lend_are_asked(void **state)
{
    struct fixture *f = *state;
    int fd;
    struct wire_hello m = f->hello;
    m.lends = false;
    arenas_meet(f->arenas, later_us(), API, &m);
    m = f->hello;
    snprintf(m.result_address, sizeof(m.result_address), "tcp://127.0.0.1:1");
    arenas_meet(f->arenas, later_us(), API, &m);
    snprintf(m.result_address, sizeof(m.result_address), "ipc://%s/none", f->folder);
    arenas_meet(f->arenas, later_us(), API, &m);
    memset(m.result_address + 6, 'x', sizeof(m.result_address) - 7);
    arenas_meet(f->arenas, later_us(), API, &m);
    assert_int_equal(seqpacket_accept(f->listener, &fd), ERR_AGAIN);
    int link = linked(f);
    arenas_meet(f->arenas, later_us(), API, &f->hello); /* it is there already */
    assert_int_equal(seqpacket_accept(f->listener, &fd), ERR_AGAIN);
    close(link);
}

static void test_what_is_left_is_hung_up(void **state)
{
    struct fixture *f = *state;
    int fd = linked(f);
    assert_int_equal(answer(fd), ERR_AGAIN);
    arenas_leave(f->arenas, API);
    assert_int_equal(answer(fd), ERR_CLOSED);
    assert_int_equal(f->lost, 0); /* who leaves knows */
    close(fd);
    fd = linked(f);
    shutdown(fd, SHUT_WR); /* the API asks to leave */
    turn(f);
    assert_int_equal(f->lost, 1);
    assert_int_equal(answer(fd), ERR_CLOSED);
    close(fd);
    fd = linked(f);
    struct wire_arena m = right();
    offer(f, fd, &m, (int[]){extents_fd(f->extents)}, 1); /* another one over the same link */
    assert_int_equal(f->lost, 2);
    close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_an_image_is_read_from_its_extents), TEST(test_an_input_in_one_piece),
        TEST(test_places_outside_are_refused),        TEST(test_bad_offers_are_refused),
        TEST(test_only_apis_that_lend_are_asked),     TEST(test_what_is_left_is_hung_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
