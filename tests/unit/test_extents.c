/* SPDX-License-Identifier: MIT */
/* The staging arena: bytes come back as they went in, bounds hold, nothing leaks, nothing is left unwiped. */
#include "cavage/err.h"
#include "cavage/extents.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { EXTENT = 4096 };

static struct extents *arena(size_t extents, unsigned percent)
{
    struct extents_config config = {
        .budget_bytes = extents * EXTENT, .extent_bytes = EXTENT, .customer_percent = percent};
    struct extents *e = NULL;
    assert_int_equal(extents_new(&config, &e), 0);
    return e;
}

static void fill(unsigned char *data, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1103515245U + 12345U;
        data[i] = (unsigned char)(seed >> 16);
    }
}

static void test_new_refuses_bad_configurations(void **state)
{
    static const struct extents_config bad[] = {
        {.budget_bytes = 1 << 20, .extent_bytes = 2048, .customer_percent = 25},
        {.budget_bytes = 1 << 20, .extent_bytes = 5000, .customer_percent = 25},
        {.budget_bytes = 4095, .extent_bytes = 4096, .customer_percent = 25},
        {.budget_bytes = 1 << 20, .extent_bytes = 4096, .customer_percent = 0},
        {.budget_bytes = 1 << 20, .extent_bytes = 4096, .customer_percent = 101},
        {.budget_bytes = 1 << 20, .extent_bytes = 0, .customer_percent = 25},
    };
    (void)state;
    struct extents *e = NULL;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(extents_new(&bad[i], &e), ERR_RANGE);
    assert_null(e);
}

static void test_bodies_come_back_whatever_the_pieces(void **state)
{
    static const size_t pieces[] = {1, 7, 100, 4095, 4096, 4097, 10000, 30000};
    (void)state;
    struct extents *e = arena(32, 100);
    unsigned char in[30000], out[30000];
    fill(in, sizeof(in), 1);
    for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
        struct staged s = {.customer = 7};
        for (size_t at = 0; at < sizeof(in); at += pieces[p]) {
            size_t len = sizeof(in) - at < pieces[p] ? sizeof(in) - at : pieces[p];
            assert_int_equal(staged_append(e, &s, in + at, len), 0);
        }
        assert_int_equal(s.bytes, sizeof(in));
        assert_int_equal(extents_used_bytes(e), sizeof(in));
        memset(out, 0, sizeof(out));
        staged_copy(e, &s, out);
        assert_memory_equal(in, out, sizeof(in));
        staged_release(e, &s);
        assert_int_equal(extents_used_bytes(e), 0);
        assert_int_equal(s.bytes, 0);
    }
    extents_free(e);
}

static void test_append_takes_all_or_nothing(void **state)
{
    (void)state;
    struct extents *e = arena(4, 100);
    static unsigned char data[5 * EXTENT];
    struct staged a = {.customer = 1}, b = {.customer = 2};
    assert_int_equal(staged_append(e, &a, data, 3 * EXTENT), 0);
    assert_int_equal(staged_append(e, &b, data, EXTENT + 1), ERR_FULL);
    assert_int_equal(b.bytes, 0);
    assert_int_equal(b.first, 0);
    assert_int_equal(staged_append(e, &b, data, EXTENT), 0);
    assert_int_equal(staged_append(e, &b, data, 1), ERR_FULL);
    assert_int_equal(b.bytes, EXTENT);
    staged_release(e, &a);
    assert_int_equal(staged_append(e, &b, data, 1), 0);
    staged_release(e, &b);
    extents_free(e);
}

static void test_customer_never_holds_more_than_its_share(void **state)
{
    (void)state;
    struct extents *e = arena(16, 25);
    static unsigned char data[16 * EXTENT];
    struct staged a = {.customer = 1}, more = {.customer = 1}, other = {.customer = 2};
    assert_int_equal(extents_check(e, 1, 4 * EXTENT), 0);
    assert_int_equal(extents_check(e, 1, 4 * EXTENT + 1), ERR_RANGE);
    assert_int_equal(staged_append(e, &a, data, 3 * EXTENT), 0);
    assert_int_equal(staged_append(e, &more, data, EXTENT), 0);
    assert_int_equal(staged_append(e, &more, data, 1), ERR_RANGE);
    assert_int_equal(extents_check(e, 1, 1), ERR_RANGE);
    assert_int_equal(staged_append(e, &other, data, 4 * EXTENT), 0);
    staged_release(e, &a);
    assert_int_equal(staged_append(e, &more, data, 3 * EXTENT), 0);
    staged_release(e, &more);
    staged_release(e, &other);
    assert_int_equal(extents_check(e, 1, 4 * EXTENT), 0);
    extents_free(e);
}

static void test_longest_body_of_a_customer_is_its_share_in_whole_extents(void **state)
{
    (void)state;
    struct extents *e = arena(10, 25);
    assert_int_equal(extents_customer_bytes(e), 2 * EXTENT);
    assert_int_equal(extents_check(e, 1, extents_customer_bytes(e)), 0);
    assert_int_equal(extents_check(e, 1, extents_customer_bytes(e) + 1), ERR_RANGE);
    extents_free(e);
}

static void test_share_is_one_extent_at_least(void **state)
{
    (void)state;
    struct extents *e = arena(2, 1);
    assert_int_equal(extents_customer_bytes(e), EXTENT);
    struct staged s = {.customer = 1};
    assert_int_equal(staged_append(e, &s, "x", 1), 0);
    staged_release(e, &s);
    extents_free(e);
}

static void test_released_extents_are_reused_last_first_and_wiped(void **state)
{
    (void)state;
    struct extents *e = arena(8, 100);
    struct staged a = {.customer = 1}, b = {.customer = 1};
    unsigned char secret[EXTENT];
    size_t len;
    memset(secret, 0xA5, sizeof(secret));
    assert_int_equal(staged_append(e, &a, secret, sizeof(secret)), 0);
    const unsigned char *where = staged_head(e, &a, &len);
    assert_int_equal(len, sizeof(secret));
    staged_release(e, &a);
    assert_int_equal(staged_append(e, &b, "x", 1), 0);
    const unsigned char *again = staged_head(e, &b, &len);
    assert_ptr_equal(again, where);
    assert_int_equal(len, 1);
    for (size_t i = 1; i < EXTENT; i++)
        assert_int_equal(again[i], 0);
    staged_release(e, &b);
    extents_free(e);
}

static void test_empty_body_is_harmless(void **state)
{
    (void)state;
    struct extents *e = arena(2, 100);
    struct staged s = {.customer = 9};
    size_t len = 1;
    assert_null(staged_head(e, &s, &len));
    assert_int_equal(len, 0);
    assert_int_equal(staged_append(e, &s, "", 0), 0);
    staged_copy(e, &s, NULL);
    staged_release(e, &s);
    staged_release(e, &s);
    assert_int_equal(extents_check(e, 9, 2 * EXTENT), 0);
    extents_free(e);
}

/* A customer's number; two of three fall on one of a few slots of the table, so that probe sequences overlap. */
static uint64_t number_of(unsigned customer)
{
    return customer % 3 == 0 ? customer : (uint64_t)customer << 36;
}

/* Many customers come and go; a model of plain counters must agree. */
static void test_shares_agree_with_a_model(void **state)
{
    enum { CUSTOMERS = 40, BODIES = 64, SHARE = 2 };
    (void)state;
    struct extents *e = arena(BODIES, 4);
    struct staged bodies[BODIES] = {{0}};
    unsigned owner[BODIES] = {0}, held[CUSTOMERS] = {0}, total = 0, seed = 42;
    for (int step = 0; step < 50000; step++) {
        seed = seed * 1103515245U + 12345U;
        unsigned body = (seed >> 8) % BODIES, customer = (seed >> 16) % CUSTOMERS;
        struct staged *s = &bodies[body];
        if (s->first) {
            held[owner[body]]--;
            total--;
            staged_release(e, s);
            continue;
        }
        owner[body] = customer;
        s->customer = number_of(customer);
        int expected = held[customer] >= SHARE ? ERR_RANGE : (total >= BODIES ? ERR_FULL : 0);
        assert_int_equal(extents_check(e, s->customer, 1), expected);
        assert_int_equal(staged_append(e, s, "x", 1), expected);
        if (expected == 0) {
            held[customer]++;
            total++;
        }
    }
    for (int i = 0; i < BODIES; i++)
        staged_release(e, &bodies[i]);
    assert_int_equal(extents_used_bytes(e), 0);
    extents_free(e);
}

struct job {
    struct extents *e;
    uint64_t customer;
    bool good;
};

static void *work(void *arg)
{
    struct job *job = arg;
    unsigned char in[9000], out[9000];
    fill(in, sizeof(in), (unsigned)job->customer);
    job->good = true;
    for (int i = 0; i < 500 && job->good; i++) {
        struct staged s = {.customer = job->customer};
        for (size_t at = 0; at < sizeof(in); at += 1000)
            job->good = job->good && staged_append(job->e, &s, in + at, 1000) == 0;
        staged_copy(job->e, &s, out);
        job->good = job->good && memcmp(in, out, sizeof(in)) == 0;
        staged_release(job->e, &s);
    }
    return NULL;
}

static void test_threads_do_not_disturb_each_other(void **state)
{
    enum { THREADS = 4 };
    (void)state;
    struct extents *e = arena(THREADS * 3, 25);
    struct job jobs[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){.e = e, .customer = (uint64_t)i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(jobs[i].good);
    }
    assert_int_equal(extents_used_bytes(e), 0);
    extents_free(e);
}

/* What another process makes of the descriptor and the numbers. */
static void test_others_can_read_and_nothing_else(void **state)
{
    (void)state;
    struct extents *e = arena(8, 100);
    struct staged s = {.customer = 7}, hole = {.customer = 8};
    unsigned char in[2 * EXTENT + 100];
    uint32_t numbers[4];
    size_t count;
    fill(in, sizeof(in), 9);
    assert_int_equal(staged_append(e, &s, in, EXTENT), 0);
    assert_int_equal(staged_append(e, &hole, "x", 1), 0);
    assert_int_equal(staged_append(e, &s, in + EXTENT, sizeof(in) - EXTENT), 0);
    assert_int_equal(staged_numbers(e, &s, numbers, 2, &count), ERR_RANGE);
    assert_int_equal(staged_numbers(e, &s, numbers, 4, &count), 0);
    assert_int_equal(count, 3);

    int fd = extents_fd(e);
    size_t size = extents_count(e) * extents_each_bytes(e);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, size);
    assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_ptr_equal(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(fd, 0), -1);

    unsigned char *view = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(view, MAP_FAILED);
    assert_int_equal(mprotect(view, size, PROT_READ | PROT_WRITE), -1);
    for (size_t i = 0; i < count; i++)
        assert_memory_equal(view + (size_t)numbers[i] * EXTENT, in + i * EXTENT, i == 2 ? 100 : EXTENT);
    staged_release(e, &s);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(view[(size_t)numbers[2] * EXTENT + i], 0);
    munmap(view, size);
    staged_release(e, &hole);
    assert_int_equal(staged_numbers(e, &s, numbers, 0, &count), 0);
    assert_int_equal(count, 0);
    extents_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_refuses_bad_configurations),
        cmocka_unit_test(test_bodies_come_back_whatever_the_pieces),
        cmocka_unit_test(test_append_takes_all_or_nothing),
        cmocka_unit_test(test_customer_never_holds_more_than_its_share),
        cmocka_unit_test(test_longest_body_of_a_customer_is_its_share_in_whole_extents),
        cmocka_unit_test(test_share_is_one_extent_at_least),
        cmocka_unit_test(test_released_extents_are_reused_last_first_and_wiped),
        cmocka_unit_test(test_others_can_read_and_nothing_else),
        cmocka_unit_test(test_empty_body_is_harmless),
        cmocka_unit_test(test_shares_agree_with_a_model),
        cmocka_unit_test(test_threads_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
