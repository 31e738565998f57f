/* SPDX-License-Identifier: MIT */
/* The worker's credit, one rule at a time, and its bound under random events. */
#include "cavage/credit.h"
#include "cavage/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MS = 1000, WORKER = 100 };

static struct credit *c;
static int64_t now_us;

static struct id boot(unsigned n)
{
    struct id id = {{(uint8_t)n, 1}};
    return id;
}

static int setup(void **state)
{
    (void)state;
    struct id worker = boot(WORKER);
    now_us = 50 * 1000 * MS;
    return credit_new(&worker, &c);
}

static int teardown(void **state)
{
    (void)state;
    credit_free(c);
    return 0;
}

static struct wire_hello hello_of(unsigned api, unsigned address, uint64_t sent, uint32_t queued)
{
    struct wire_hello m = {
        .api_boot = boot(api), .worker_boot = boot(WORKER), .link = 3, .sent = sent, .queued = queued};
    snprintf(m.result_address, sizeof m.result_address, "ipc:///run/%u", address);
    return m;
}

/* HELLO of API n from address n; its index. */
static size_t hello(unsigned api, uint64_t sent, uint32_t queued)
{
    struct wire_hello m = hello_of(api, api, sent, queued);
    size_t index;
    bool is_new;
    assert_int_equal(credit_hello(c, now_us, &m, &index, &is_new), ERR_OK);
    return index;
}

static int job(unsigned api, uint64_t sequence)
{
    struct wire_job m = {
        .api_boot = boot(api), .worker_boot = boot(WORKER), .link = 3, .sequence = sequence, .job = sequence};
    size_t index = SIZE_MAX;
    int err = credit_job(c, now_us, &m, &index);
    assert_int_equal(err == ERR_NOTFOUND, index == SIZE_MAX);
    return err;
}

static struct wire_status status;

static uint64_t limit(size_t api)
{
    credit_status(c, now_us, api, &status);
    return status.limit;
}

/* All that are owed one are told. */
static unsigned tell_all(void)
{
    size_t api;
    unsigned told = 0;
    while (credit_next_status(c, now_us, &api)) {
        credit_status(c, now_us, api, &status);
        told++;
    }
    return told;
}

static void test_first_hello_is_answered_with_all_credit(void **state)
{
    (void)state;
    struct wire_hello m = hello_of(1, 1, 0, 0);
    size_t api, owed;
    bool is_new;

    credit_set_slots(c, now_us, 4);
    assert_int_equal(credit_hello(c, now_us, &m, &api, &is_new), ERR_OK);
    assert_true(is_new);
    assert_true(credit_next_status(c, now_us, &owed));
    assert_int_equal(owed, api);
    credit_set_busy(c, now_us, 2, 500);
    credit_status(c, now_us, api, &status);
    assert_int_equal(status.slots, 4);
    assert_int_equal(status.busy, 2);
    assert_int_equal(status.load_permille, 500);
    assert_int_equal(status.seen, 0);
    assert_int_equal(status.limit, 8);
    assert_int_equal(status.link, 3);
    assert_int_equal(status.held_count, 0);
    assert_false(status.draining);
    struct id worker = boot(WORKER), one = boot(1);
    assert_true(id_equal(&status.worker_boot, &worker) && id_equal(&status.api_boot, &one));
    assert_false(credit_next_status(c, now_us, &owed));
    assert_int_equal(credit_hello(c, now_us, &m, &api, &is_new), ERR_OK);
    assert_false(is_new);
    assert_int_equal(tell_all(), 1); /* every HELLO is answered */
}

static void test_jobs_use_credit_and_results_give_it_back(void **state)
{
    (void)state;
    credit_set_slots(c, now_us, 2);
    size_t api = hello(1, 0, 9);
    assert_int_equal(limit(api), 4);
    for (uint64_t i = 1; i <= 4; i++)
        assert_int_equal(job(1, i), ERR_OK);
    assert_int_equal(credit_held(c), 4);
    assert_int_equal(credit_granted(c), 0);
    assert_int_equal(limit(api), 4);
    assert_int_equal(status.held_count, 4);
    credit_set_busy(c, now_us, 1, 0);
    limit(api);
    assert_int_equal(status.busy, 2); /* a job is held for the one that has nothing at this moment */
    credit_done(c, now_us, api, 2);
    assert_int_equal(limit(api), 5);
    assert_int_equal(status.seen, 4);
    assert_int_equal(status.held_count, 3);
    assert_true(status.held[0] == 1 && status.held[1] == 3 && status.held[2] == 4);
    credit_done(c, now_us, api, 2);
    credit_done(c, now_us, api, 77);
    credit_done(c, now_us, 5, 1);
    assert_int_equal(credit_held(c), 3);
}

static void test_status_sequences_rise_over_all_apis(void **state)
{
    (void)state;
    size_t a = hello(1, 0, 0), b = hello(2, 0, 0);
    uint64_t last = 0;
    for (int i = 0; i < 6; i++) {
        limit(i & 1 ? a : b);
        assert_true(status.sequence > last);
        last = status.sequence;
    }
}

static void test_jobs_that_must_not_be_taken(void **state)
{
    (void)state;
    credit_set_slots(c, now_us, 1);
    assert_int_equal(job(1, 1), ERR_NOTFOUND);
    size_t api = hello(1, 0, 0), index;
    struct wire_job m = {.api_boot = boot(1), .worker_boot = boot(WORKER + 1), .link = 3, .sequence = 1, .job = 1};
    assert_int_equal(credit_job(c, now_us, &m, &index), ERR_DENIED);
    assert_int_equal(index, api);
    m.worker_boot = boot(WORKER), m.link = 4;
    assert_int_equal(credit_job(c, now_us, &m, &index), ERR_NOTFOUND);
    assert_int_equal(job(1, 1), ERR_OK);
    assert_int_equal(job(1, 1), ERR_EXISTS);
    credit_done(c, now_us, api, 1);
    assert_int_equal(job(1, 1), ERR_EXISTS);
    assert_int_equal(job(1, 4), ERR_FULL);
    limit(api);
    assert_int_equal(status.seen, 4); /* a refused job was seen */
    assert_int_equal(status.held_count, 0);
}

static void test_lost_jobs_give_their_credit_back(void **state)
{
    (void)state;
    credit_set_slots(c, now_us, 2);
    size_t api = hello(1, 0, 0);
    assert_int_equal(job(1, 3), ERR_OK); /* 1 and 2 did not come */
    assert_int_equal(limit(api), 6);
    hello(1, 5, 0); /* nor 4 and 5 */
    assert_int_equal(limit(api), 8);
    assert_int_equal(status.seen, 5);
    assert_int_equal(job(1, 4), ERR_EXISTS); /* too late: it was reported lost */
}

static void test_hello_that_names_another_worker_passes_nothing_over(void **state)
{
    (void)state;
    credit_set_slots(c, now_us, 2);
    struct wire_hello m = hello_of(1, 1, 500, 0);
    size_t api;
    bool is_new;
    m.worker_boot = boot(WORKER + 1);
    assert_int_equal(credit_hello(c, now_us, &m, &api, &is_new), ERR_OK);
    assert_int_equal(limit(api), 4);
    memset(&m.worker_boot, 0, sizeof m.worker_boot);
    assert_int_equal(credit_hello(c, now_us, &m, &api, &is_new), ERR_OK);
    assert_int_equal(limit(api), 4);
}

static void test_apis_with_work_share_evenly_and_an_idle_one_keeps_one(void **state)
{
    (void)state;
    credit_set_slots(c, now_us, 8);
    size_t a = hello(1, 0, 0), b = hello(2, 0, 0), idle = hello(3, 0, 0);
    assert_int_equal(credit_granted(c), 16); /* all idle: all of it is out */
    hello(1, 0, 100);
    assert_int_equal(limit(b), 1);
    assert_int_equal(limit(idle), 1);
    assert_int_equal(limit(a), 14);
    hello(2, 0, 100);
    assert_int_equal(limit(idle), 1);
    assert_int_equal(limit(a) + limit(b), 15);
    assert_in_range(limit(a), 7, 8);
    assert_int_equal(credit_granted(c), 16);
    /* Who holds more than its share waits until the other has as much. */
    for (uint64_t i = 1; i <= 12; i++)
        job(1, i);
    assert_int_equal(credit_held(c), 12);
    assert_int_equal(limit(a), 12);
    assert_int_equal(limit(b), 3);
}

static void test_lowered_limit_is_told_at_once_and_a_job_on_its_way_is_taken(void **state)
{
    (void)state;
    size_t owed;
    credit_set_slots(c, now_us, 2);
    size_t a = hello(1, 0, 0);
    assert_int_equal(limit(a), 4);
    size_t b = hello(2, 0, 9);
    credit_status(c, now_us, b, &status);
    assert_true(credit_next_status(c, now_us, &owed)); /* a has one credit now */
    assert_int_equal(owed, a);
    for (uint64_t i = 1; i <= 4; i++) /* but sent all four before it knew */
        assert_int_equal(job(1, i), ERR_OK);
    assert_int_equal(job(1, 5), ERR_FULL);
    assert_int_equal(credit_granted(c), 0);
}

static void test_raised_limit_is_told_at_once_to_those_that_wait(void **state)
{
    (void)state;
    size_t owed;
    credit_set_slots(c, now_us, 1);
    size_t a = hello(1, 0, 9);
    job(1, 1);
    job(1, 2);
    size_t b = hello(2, 0, 9);
    tell_all();
    assert_int_equal(limit(b), 0);
    credit_done(c, now_us, a, 1);
    credit_status(c, now_us, a, &status); /* rides on the result */
    assert_true(credit_next_status(c, now_us, &owed));
    assert_int_equal(owed, b);
    assert_int_equal(limit(b), 1);
    assert_false(credit_next_status(c, now_us, &owed));
}

static void test_held_jobs_are_bounded_whatever_was_granted(void **state)
{
    (void)state;
    credit_set_slots(c, now_us, 2);
    unsigned taken = 0, refused = 0;
    for (unsigned api = 1; api <= 10; api++) { /* each was alone once, and granted all */
        hello(api, 0, 0);
        limit(0);
        now_us += 1000 * MS;
        size_t gone;
        for (unsigned k = 1; k < api; k++)
            hello(k, 0, 0);
        credit_next_gone(c, now_us, &gone);
    }
    for (unsigned api = 1; api <= 10; api++) {
        for (uint64_t i = 1; i <= 4; i++) {
            int err = job(api, i);
            taken += err == ERR_OK;
            refused += err == ERR_FULL;
        }
    }
    assert_int_equal(taken + refused, 40);
    assert_in_range(taken, 4, 8);
    assert_int_equal(credit_held(c), taken);
}

static void test_more_apis_than_credits_take_turns(void **state)
{
    (void)state;
    enum { APIS = 10 };
    size_t apis[APIS];
    bool had[APIS] = {false};

    credit_set_slots(c, now_us, 1);
    for (unsigned i = 0; i < APIS; i++)
        apis[i] = hello(1 + i, 0, 5);
    for (int round = 0; round < APIS; round++) {
        for (int i = 0; i < APIS; i++)
            had[i] = had[i] || limit(apis[i]) > 0;
        assert_int_equal(credit_granted(c), 2);
        now_us += 250 * MS;
        for (unsigned i = 0; i < APIS; i++)
            hello(1 + i, 0, 5);
        tell_all();
    }
    for (int i = 0; i < APIS; i++)
        assert_true(had[i]);
}

static void test_more_idle_apis_than_credits_leave_half_for_work(void **state)
{
    (void)state;
    credit_set_slots(c, now_us, 2);
    for (unsigned i = 1; i <= 10; i++)
        hello(i, 0, 0);
    size_t busy = hello(11, 0, 5);
    assert_int_equal(limit(busy), 2);
    assert_int_equal(credit_granted(c), 4);
}

static void test_status_each_quarter_second(void **state)
{
    (void)state;
    size_t api;
    hello(1, 0, 0);
    assert_int_equal(credit_next_us(c), 0); /* owed */
    tell_all();
    assert_int_equal(credit_next_us(c), now_us + 250 * MS);
    now_us += 250 * MS - 1;
    assert_false(credit_next_status(c, now_us, &api));
    now_us++;
    assert_int_equal(tell_all(), 1);
}

static void test_slots_and_drain_are_told_to_all(void **state)
{
    (void)state;
    credit_set_slots(c, now_us, 4);
    size_t a = hello(1, 0, 9);
    hello(2, 0, 9);
    tell_all();
    credit_set_slots(c, now_us, 4);
    assert_int_equal(tell_all(), 0);
    credit_set_slots(c, now_us, 1);
    assert_int_equal(tell_all(), 2);
    assert_int_equal(credit_granted(c), 2);
    credit_set_slots(c, now_us, 100000);
    limit(a);
    assert_int_equal(status.slots, CREDIT_SLOTS_MAX);
    job(1, 1);
    credit_drain(c, now_us);
    assert_int_equal(tell_all(), 2);
    assert_int_equal(credit_granted(c), 0);
    assert_int_equal(limit(a), 1);
    assert_true(status.draining);
    assert_int_equal(status.held_count, 1);
    assert_int_equal(job(1, 2), ERR_DENIED);
    limit(a);
    assert_int_equal(status.seen, 2);
    credit_done(c, now_us, a, 1);
    assert_int_equal(credit_granted(c), 0);
}

static void test_silent_api_gets_no_credit_and_is_forgotten_later(void **state)
{
    (void)state;
    size_t gone, a;
    int64_t start_us = now_us;

    credit_set_slots(c, now_us, 2);
    a = hello(1, 0, 0);
    job(1, 1);
    hello(2, 0, 0);
    for (; now_us < start_us + 1000 * MS; now_us += 250 * MS) {
        assert_false(credit_next_gone(c, now_us, &gone));
        assert_true(limit(a) > 1);
        hello(2, 0, 0);
    }
    assert_false(credit_next_gone(c, now_us, &gone));
    assert_int_equal(limit(a), 1);
    assert_int_equal(credit_held(c), 1);
    for (; now_us < start_us + 10000 * MS; now_us += 250 * MS) {
        assert_false(credit_next_gone(c, now_us, &gone));
        hello(2, 0, 0);
    }
    assert_true(credit_next_gone(c, now_us, &gone));
    assert_int_equal(gone, a);
    assert_false(credit_next_gone(c, now_us, &gone));
    assert_int_equal(credit_held(c), 0);
    assert_int_equal(credit_granted(c), 4);
    assert_int_equal(job(1, 2), ERR_NOTFOUND);
    /* It comes back with what it has sent so far. */
    assert_int_equal(limit(hello(1, 1, 0)), 3);
}

static void test_after_a_pause_of_our_own_silence_counts_anew(void **state)
{
    (void)state;
    size_t gone, a;
    credit_set_slots(c, now_us, 2);
    a = hello(1, 0, 0);
    assert_false(credit_next_gone(c, now_us, &gone));
    now_us += 30 * 1000 * MS;
    assert_false(credit_next_gone(c, now_us, &gone));
    assert_int_equal(limit(a), 4);
}

static void test_new_boot_at_the_same_address_replaces_the_old(void **state)
{
    (void)state;
    struct wire_hello old = hello_of(1, 7, 0, 0), new = hello_of(2, 7, 0, 0);
    size_t a, b, gone;
    bool is_new;

    credit_set_slots(c, now_us, 2);
    assert_int_equal(credit_hello(c, now_us, &old, &a, &is_new), ERR_OK);
    assert_int_equal(job(1, 1), ERR_OK);
    assert_int_equal(credit_hello(c, now_us, &new, &b, &is_new), ERR_OK);
    assert_true(is_new);
    assert_int_not_equal(a, b);
    assert_int_equal(job(1, 2), ERR_NOTFOUND);
    assert_int_equal(credit_hello(c, now_us, &old, &a, &is_new), ERR_DENIED);
    assert_int_equal(credit_next_us(c), 0);
    assert_true(credit_next_gone(c, now_us, &gone));
    assert_int_equal(gone, a);
    assert_int_equal(credit_held(c), 0);
    assert_int_equal(credit_hello(c, now_us, &old, &a, &is_new), ERR_DENIED);
    assert_int_equal(job(1, 2), ERR_NOTFOUND);
    assert_int_equal(limit(b), 4);
}

/* The HELLO of a dead boot that was held up may come after that of its successor. */
static void test_last_word_of_a_dead_boot_does_not_shut_out_the_living(void **state)
{
    (void)state;
    struct wire_hello living = hello_of(2, 7, 0, 0), dead = hello_of(1, 7, 0, 0);
    size_t a, gone;
    bool is_new;

    credit_set_slots(c, now_us, 2);
    assert_int_equal(credit_hello(c, now_us, &living, &a, &is_new), ERR_OK);
    assert_int_equal(credit_hello(c, now_us, &dead, &a, &is_new), ERR_OK);
    now_us += 999 * MS;
    assert_int_equal(credit_hello(c, now_us, &living, &a, &is_new), ERR_DENIED);
    now_us += 1 * MS;
    assert_int_equal(credit_hello(c, now_us, &living, &a, &is_new), ERR_OK);
    assert_true(is_new);
    while (credit_next_gone(c, now_us, &gone))
        assert_int_not_equal(gone, a);
    assert_int_equal(limit(a), 4);
    assert_int_equal(credit_hello(c, now_us, &dead, &gone, &is_new), ERR_DENIED);
}

static void test_known_boot_keeps_its_link_and_address(void **state)
{
    (void)state;
    struct wire_hello m = hello_of(1, 1, 0, 0);
    size_t api;
    bool is_new;
    hello(1, 0, 0);
    m.link = 4;
    assert_int_equal(credit_hello(c, now_us, &m, &api, &is_new), ERR_EXISTS);
    m = hello_of(1, 2, 0, 0);
    assert_int_equal(credit_hello(c, now_us, &m, &api, &is_new), ERR_EXISTS);
}

static void test_known_boot_may_come_by_another_way_when_its_own_is_silent(void **state)
{
    (void)state;
    struct wire_hello m = hello_of(1, 1, 0, 1);
    size_t first = hello(1, 0, 1), second, gone;
    bool is_new;
    credit_set_slots(c, now_us, 2);
    assert_int_equal(job(1, 1), ERR_OK);
    m.link = 4;
    for (int64_t end_us = now_us + CREDIT_SILENCE_US; now_us < end_us; now_us += 100 * MS) {
        assert_int_equal(credit_hello(c, now_us, &m, &second, &is_new), ERR_EXISTS);
        assert_false(credit_next_gone(c, now_us, &gone));
    }
    assert_false(credit_next_gone(c, now_us, &gone));
    assert_int_equal(credit_hello(c, now_us, &m, &second, &is_new), ERR_OK);
    assert_true(is_new);
    assert_true(credit_next_gone(c, now_us, &gone));
    assert_int_equal(gone, first);
    assert_int_equal(credit_held(c), 0);
    assert_int_equal(limit(second), 4);
    assert_int_equal(status.link, 4);
    assert_int_equal(job(1, 2), ERR_NOTFOUND); /* by the way that it left */
    assert_int_equal(credit_hello(c, now_us, &m, &second, &is_new), ERR_OK);
    assert_false(is_new);
}

static void test_apis_are_bounded(void **state)
{
    (void)state;
    struct wire_hello m;
    size_t api;
    bool is_new;
    credit_set_slots(c, now_us, 4);
    for (unsigned i = 0; i < CREDIT_APIS_MAX; i++)
        hello(1 + i, 0, 0);
    m = hello_of(99, 99, 0, 0);
    assert_int_equal(credit_hello(c, now_us, &m, &api, &is_new), ERR_FULL);
    assert_int_equal(credit_granted(c), 8);
    struct id none = {{0}};
    struct credit *other;
    assert_int_equal(credit_new(&none, &other), ERR_INVALID);
}

static uint64_t random_state;

static uint64_t rnd(uint64_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % n;
}

static void test_grants_and_held_jobs_never_exceed_the_room(void **state)
{
    (void)state;
    enum { APIS = 12 };
    struct id worker = boot(WORKER);

    for (unsigned seed = 1; seed <= 300; seed++) {
        uint64_t sent[APIS] = {0}, granted[APIS] = {0};
        size_t index[APIS];
        unsigned slots = 1 + (unsigned)(seed % 9);
        random_state = seed;
        credit_free(c);
        assert_int_equal(credit_new(&worker, &c), ERR_OK);
        credit_set_slots(c, now_us, slots);
        for (unsigned a = 0; a < APIS; a++)
            index[a] = hello(1 + a, 0, 0);
        for (int step = 0; step < 400; step++) {
            unsigned a = (unsigned)rnd(APIS);
            size_t gone;
            now_us += (int64_t)rnd(50 * MS);
            switch (rnd(6)) {
            case 0:
                hello(1 + a, sent[a], (uint32_t)rnd(4));
                break;
            case 1: /* as an honest API, which may know an older limit */
                if (sent[a] < granted[a])
                    assert_true(job(1 + a, ++sent[a]) != ERR_NOTFOUND);
                break;
            case 2:
                limit(index[a]);
                granted[a] = status.limit;
                break;
            case 3:
                limit(index[a]);
                if (status.held_count > 0)
                    credit_done(c, now_us, index[a], status.held[rnd(status.held_count)]);
                break;
            case 4:
                for (unsigned k = 0; k < APIS; k++)
                    hello(1 + k, sent[k], 0);
                assert_false(credit_next_gone(c, now_us, &gone));
                tell_all();
                break;
            default:
                slots = (unsigned)rnd(10);
                credit_set_slots(c, now_us, slots);
                break;
            }
            size_t room = 2 * (size_t)slots, held = credit_held(c);
            /* Exactly: no credit is given twice, and none is kept back. */
            assert_int_equal(credit_granted(c), room > held ? room - held : 0);
            assert_true(held <= 4 * 9);
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_first_hello_is_answered_with_all_credit),
        TEST(test_jobs_use_credit_and_results_give_it_back),
        TEST(test_status_sequences_rise_over_all_apis),
        TEST(test_jobs_that_must_not_be_taken),
        TEST(test_lost_jobs_give_their_credit_back),
        TEST(test_hello_that_names_another_worker_passes_nothing_over),
        TEST(test_apis_with_work_share_evenly_and_an_idle_one_keeps_one),
        TEST(test_lowered_limit_is_told_at_once_and_a_job_on_its_way_is_taken),
        TEST(test_raised_limit_is_told_at_once_to_those_that_wait),
        TEST(test_held_jobs_are_bounded_whatever_was_granted),
        TEST(test_more_apis_than_credits_take_turns),
        TEST(test_more_idle_apis_than_credits_leave_half_for_work),
        TEST(test_status_each_quarter_second),
        TEST(test_slots_and_drain_are_told_to_all),
        TEST(test_silent_api_gets_no_credit_and_is_forgotten_later),
        TEST(test_after_a_pause_of_our_own_silence_counts_anew),
        TEST(test_new_boot_at_the_same_address_replaces_the_old),
        TEST(test_last_word_of_a_dead_boot_does_not_shut_out_the_living),
        TEST(test_known_boot_keeps_its_link_and_address),
        TEST(test_known_boot_may_come_by_another_way_when_its_own_is_silent),
        TEST(test_apis_are_bounded),
        TEST(test_grants_and_held_jobs_never_exceed_the_room),
    };
    return cmocka_run_group_tests_name("credit", tests, NULL, NULL);
}
