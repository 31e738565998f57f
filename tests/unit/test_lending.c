/* SPDX-License-Identifier: MIT */
/* A body is kept as long as a worker may read it, and no longer; at the end a region of workers that crash, pause, forget and misdeliver, against a model. */
#include "cavage/credit.h"
#include "cavage/err.h"
#include "cavage/lending.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LINK = 3 };

static const struct id api_boot = {{'a'}};

static struct id worker(uint8_t n)
{
    return (struct id){{'w', n}};
}

static struct lending *lending(size_t readers, size_t loans)
{
    struct lending *l = NULL;
    assert_int_equal(lending_new(&api_boot, readers, loans, &l), ERR_OK);
    return l;
}

/* A body of the customer `job`. */
static struct staged body_of(uint64_t job)
{
    return (struct staged){.first = (uint32_t)job, .last = (uint32_t)job, .bytes = 100 + (size_t)job, .customer = job};
}

static int lend(struct lending *l, uint8_t n, uint64_t sequence, uint64_t job)
{
    struct id boot = worker(n);
    return lending_lend(l, &boot, LINK, sequence, job);
}

static bool keep(struct lending *l, uint64_t job)
{
    struct staged body = body_of(job);
    bool kept = lending_keep(l, job, &body);
    assert_int_equal(body.first, kept ? 0 : job);
    assert_int_equal(body.customer, job);
    return kept;
}

/* The job whose body is free now; 0: none. */
static uint64_t next(struct lending *l)
{
    struct staged body = {0}, wanted;
    if (!lending_next(l, &body))
        return 0;
    wanted = body_of(body.customer);
    assert_memory_equal(&body, &wanted, sizeof(body));
    return body.customer;
}

static void hear(struct lending *l, uint8_t n, uint64_t seen, size_t held_count, const uint64_t *held)
{
    static struct wire_status m;
    m = (struct wire_status){.worker_boot = worker(n),
                             .api_boot = api_boot,
                             .link = LINK,
                             .sequence = 1,
                             .seen = seen,
                             .held_count = held_count};
    if (held_count > 0)
        memcpy(m.held, held, held_count * sizeof(held[0]));
    lending_hear(l, &m);
}

static size_t loans(const struct lending *l)
{
    struct lending_stats stats;
    lending_stats(l, &stats);
    return stats.loans;
}

static size_t kept_bytes(const struct lending *l)
{
    struct lending_stats stats;
    lending_stats(l, &stats);
    return stats.kept_bytes;
}

static struct lending *with_reader(uint8_t n)
{
    struct lending *l = lending(4, 16);
    struct id boot = worker(n);
    assert_int_equal(lending_join(l, &boot), ERR_OK);
    return l;
}

static void test_bad_sizes_are_refused(void **state)
{
    (void)state;
    static const struct id none;
    struct lending *l = NULL;
    assert_int_equal(lending_new(&none, 1, 1, &l), ERR_RANGE);
    assert_int_equal(lending_new(&api_boot, 0, 1, &l), ERR_RANGE);
    assert_int_equal(lending_new(&api_boot, 1, 0, &l), ERR_RANGE);
    assert_null(l);
}

static void test_only_who_joined_is_lent_to(void **state)
{
    (void)state;
    struct lending *l = lending(2, 4);
    struct id one = worker(1), two = worker(2), three = worker(3);
    assert_int_equal(lend(l, 1, 1, 10), ERR_NOTFOUND);
    assert_int_equal(lending_join(l, &one), ERR_OK);
    assert_int_equal(lending_join(l, &one), ERR_EXISTS);
    assert_int_equal(lending_join(l, &two), ERR_OK);
    assert_int_equal(lending_join(l, &three), ERR_FULL);
    lending_leave(l, &two);
    lending_leave(l, &two);
    assert_int_equal(lending_join(l, &three), ERR_OK);
    assert_int_equal(lend(l, 2, 1, 10), ERR_NOTFOUND);
    lending_free(l);
}

static void test_a_request_that_ends_with_its_result_has_its_body(void **state)
{
    (void)state;
    struct lending *l = with_reader(1);
    assert_int_equal(lend(l, 1, 1, 10), ERR_OK);
    hear(l, 1, 1, 0, NULL);
    assert_false(keep(l, 10));
    assert_int_equal(next(l), 0);
    lending_free(l);
}

static void test_a_request_that_ends_before_leaves_its_body(void **state)
{
    (void)state;
    struct lending *l = with_reader(1);
    lend(l, 1, 1, 10);
    assert_true(keep(l, 10));
    assert_int_equal(kept_bytes(l), 110);
    hear(l, 1, 0, 0, NULL); /* has not seen it */
    hear(l, 1, 1, 1, (uint64_t[]){1});
    hear(l, 1, 5, 2, (uint64_t[]){1, 5});
    assert_int_equal(next(l), 0);
    hear(l, 1, 5, 1, (uint64_t[]){5});
    assert_int_equal(next(l), 10);
    assert_int_equal(next(l), 0);
    assert_int_equal(kept_bytes(l), 0);
    lending_free(l);
}

static void test_words_of_others_end_nothing(void **state)
{
    (void)state;
    struct lending *l = with_reader(1);
    struct wire_status m = {.worker_boot = worker(1), .api_boot = {{'b'}}, .link = LINK, .sequence = 1, .seen = 9};
    lend(l, 1, 1, 10);
    hear(l, 2, 9, 0, NULL); /* the worker's next boot, which counts anew */
    lending_hear(l, &m);    /* to our last boot, or to another API */
    m.api_boot = api_boot;
    m.link = LINK + 1;
    lending_hear(l, &m);
    hear(l, 1, 9, 3, (uint64_t[]){4, 1, 2}); /* not in order */
    assert_int_equal(loans(l), 1);
    hear(l, 1, 9, 0, NULL);
    assert_int_equal(loans(l), 0);
    lending_free(l);
}

static void test_old_and_repeated_words_are_as_good(void **state)
{
    (void)state;
    struct lending *l = with_reader(1);
    lend(l, 1, 1, 10);
    lend(l, 1, 2, 20);
    hear(l, 1, 2, 1, (uint64_t[]){1});
    lend(l, 1, 3, 30);
    for (int i = 0; i < 3; i++) {
        hear(l, 1, 1, 1, (uint64_t[]){1}); /* from before sequence 2 */
        hear(l, 1, 2, 1, (uint64_t[]){1});
        assert_int_equal(loans(l), 2);
    }
    hear(l, 1, 3, 0, NULL);
    hear(l, 1, 1, 1, (uint64_t[]){1});
    assert_int_equal(loans(l), 0);
    lending_free(l);
}

static void test_a_hedged_body_waits_for_both(void **state)
{
    (void)state;
    struct lending *l = with_reader(1);
    struct id two = worker(2);
    lending_join(l, &two);
    lend(l, 1, 1, 10);
    lend(l, 2, 7, 10);
    hear(l, 2, 7, 0, NULL); /* the second copy wins */
    assert_true(keep(l, 10));
    assert_int_equal(next(l), 0);
    hear(l, 1, 1, 0, NULL);
    assert_int_equal(next(l), 10);
    lending_free(l);
}

static void test_the_dead_give_all_back(void **state)
{
    (void)state;
    struct lending *l = with_reader(1);
    struct id one = worker(1), two = worker(2);
    lending_join(l, &two);
    lend(l, 1, 1, 10);
    lend(l, 1, 2, 20);
    lend(l, 2, 1, 20);
    assert_true(keep(l, 10));
    assert_true(keep(l, 20));
    lending_leave(l, &one);
    assert_int_equal(next(l), 10);
    assert_int_equal(next(l), 0);
    lending_leave(l, &two);
    assert_int_equal(next(l), 20);
    assert_int_equal(loans(l), 0);
    lending_free(l);
}

static void test_who_is_suspended_gets_no_more_and_keeps_what_it_has(void **state)
{
    (void)state;
    struct lending *l = with_reader(1);
    struct id one = worker(1);
    lend(l, 1, 1, 10);
    lending_suspend(l, &one);
    assert_int_equal(lend(l, 1, 2, 20), ERR_NOTFOUND);
    assert_true(keep(l, 10));
    assert_int_equal(lending_join(l, &one), ERR_EXISTS);
    lending_leave(l, &one);
    assert_int_equal(next(l), 10);
    lending_free(l);
}

static void test_what_was_not_sent_is_taken_back(void **state)
{
    (void)state;
    struct lending *l = with_reader(1);
    struct id one = worker(1);
    lend(l, 1, 1, 10);
    lending_take_back(l, &one, LINK, 1);
    lending_take_back(l, &one, LINK, 1);
    assert_int_equal(loans(l), 0);
    assert_false(keep(l, 10));
    /* The number is used again. */
    lend(l, 1, 1, 20);
    assert_true(keep(l, 20));
    hear(l, 1, 1, 0, NULL);
    assert_int_equal(next(l), 20);
    lending_free(l);
}

static void test_a_full_table_lends_no_more(void **state)
{
    (void)state;
    struct lending *l = lending(1, 2);
    struct id one = worker(1);
    lending_join(l, &one);
    assert_int_equal(lend(l, 1, 1, 10), ERR_OK);
    assert_int_equal(lend(l, 1, 2, 20), ERR_OK);
    assert_int_equal(lend(l, 1, 3, 30), ERR_FULL);
    assert_true(keep(l, 10));
    hear(l, 1, 1, 0, NULL);
    assert_int_equal(lend(l, 1, 3, 20), ERR_OK); /* a second loan of a body that is lent */
    assert_int_equal(next(l), 10);
    hear(l, 1, 3, 0, NULL);
    assert_int_equal(lend(l, 1, 4, 40), ERR_OK);
    lending_free(l);
}

static void test_one_worker_cannot_keep_all(void **state)
{
    (void)state;
    struct lending *l = lending(2, 2 * WIRE_HELD_MAX);
    struct id one = worker(1), two = worker(2);
    lending_join(l, &one);
    lending_join(l, &two);
    for (uint64_t n = 1; n <= WIRE_HELD_MAX; n++) {
        assert_int_equal(lend(l, 1, n, n), ERR_OK);
        assert_true(keep(l, n));
    }
    assert_int_equal(lend(l, 1, WIRE_HELD_MAX + 1, WIRE_HELD_MAX + 1), ERR_FULL);
    assert_int_equal(lend(l, 2, 1, WIRE_HELD_MAX + 1), ERR_OK);
    hear(l, 1, 1, 0, NULL);
    assert_int_equal(next(l), 1);
    assert_int_equal(lend(l, 1, WIRE_HELD_MAX + 1, WIRE_HELD_MAX + 1), ERR_OK);
    lending_take_back(l, &one, LINK, WIRE_HELD_MAX + 1);
    assert_int_equal(lend(l, 1, WIRE_HELD_MAX + 1, WIRE_HELD_MAX + 2), ERR_OK);
    lending_leave(l, &one);
    assert_int_equal(lending_join(l, &one), ERR_OK);
    assert_int_equal(lend(l, 1, 1, WIRE_HELD_MAX + 3), ERR_OK);
    lending_free(l);
}

/* ---- A region ---- */

enum { WORKERS = 3, JOBS = 4096, CHANNEL = 256, SLOTS = 2, STEP_US = 50 * 1000 };

struct to_worker {
    bool is_job;
    struct wire_hello hello;
    struct wire_job job;
};

/* What is under way; the front is the oldest. */
struct ways {
    struct to_worker down[CHANNEL];
    size_t down_count;
    struct wire_status up[CHANNEL];
    size_t up_count;
};

struct site {
    struct ways ways;
    /* The worker. */
    struct id boot;
    struct credit *credit;
    uint64_t arena; /* number of its link; 0: none */
    struct {
        uint64_t sequence, job;
        bool reads;
    } held[64];
    size_t held_count;
    /* What the API knows. */
    struct id known;  /* boot of the last STATUS */
    struct id joined; /* boot that the link is with; zero: none */
    bool hung_up;     /* and the API has not read it yet */
    uint64_t number;  /* of that link */
    uint64_t sent, told, limit;
};

enum fate { UNBORN, ASKED, OVER, RELEASED };

struct region {
    struct lending *lending;
    struct site sites[WORKERS];
    enum fate fates[JOBS];
    uint64_t jobs, boots, numbers;
    int64_t now_us;
    uint64_t random;
    unsigned lent, kept;
};

static uint32_t draw(struct region *r, uint32_t n)
{
    r->random = r->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(r->random >> 33) % n;
}

static void boot_worker(struct region *r, struct site *s)
{
    s->boot = (struct id){{'w', (uint8_t)++r->boots, (uint8_t)(r->boots >> 8)}};
    assert_int_equal(credit_new(&s->boot, &s->credit), ERR_OK);
    credit_set_slots(s->credit, r->now_us, SLOTS);
    s->arena = 0;
    s->held_count = 0;
}

/* The rule that all is for: nobody reads a body that was released. */
static void check_unread(const struct region *r, uint64_t job)
{
    for (size_t w = 0; w < WORKERS; w++)
        for (size_t i = 0; i < r->sites[w].held_count; i++)
            assert_false(r->sites[w].held[i].reads && r->sites[w].held[i].job == job);
}

static void release(struct region *r, uint64_t job)
{
    assert_true(r->fates[job] == OVER);
    check_unread(r, job);
    r->fates[job] = RELEASED;
}

static void take_over(struct region *r)
{
    uint64_t job;
    while ((job = next(r->lending)) != 0)
        release(r, job);
}

static void say(struct region *r, struct site *s)
{
    if (s->ways.up_count == CHANNEL || credit_held(s->credit) > 64)
        return;
    struct wire_status *m = &s->ways.up[s->ways.up_count];
    credit_status(s->credit, r->now_us, 0, m);
    s->ways.up_count++;
}

/* The worker closes its link: it reads nothing more. */
static void hang_up(struct site *s)
{
    for (size_t i = 0; i < s->held_count; i++)
        s->held[i].reads = false;
    s->hung_up = s->hung_up || s->arena != 0;
    s->arena = 0;
}

static void crash(struct region *r, struct site *s)
{
    hang_up(s);
    credit_free(s->credit);
    boot_worker(r, s);
}

/* Ten seconds without a word, for the worker; what was sent may still come. */
static void forget(struct region *r, struct site *s)
{
    size_t api;
    for (int i = 0; i < 40; i++) {
        r->now_us += 400 * 1000;
        while (credit_next_gone(s->credit, r->now_us, &api)) {
            s->held_count = 0;
            hang_up(s);
        }
    }
}

static void join(struct region *r, struct site *s)
{
    if (s->arena || !id_is_zero(&s->joined) || lending_join(r->lending, &s->boot) != ERR_OK)
        return;
    s->joined = s->boot;
    s->hung_up = false;
    s->arena = s->number = ++r->numbers;
}

static void worker_reads(struct region *r, struct site *s)
{
    if (s->ways.down_count == 0)
        return;
    struct to_worker m = s->ways.down[0];
    memmove(&s->ways.down[0], &s->ways.down[1], --s->ways.down_count * sizeof(m));
    size_t api;
    bool is_new;
    if (!m.is_job) {
        if (credit_hello(s->credit, r->now_us, &m.hello, &api, &is_new) == ERR_OK) {
            join(r, s);
            say(r, s);
        }
        return;
    }
    if (credit_job(s->credit, r->now_us, &m.job, &api) != ERR_OK)
        return;
    bool readable = s->arena != 0 && m.job.arena == s->arena;
    if (m.job.arena != 0 && !readable) {
        credit_done(s->credit, r->now_us, api, m.job.sequence);
        say(r, s);
        return;
    }
    /* What comes late was refused above, or its body is still there. */
    assert_true(m.job.arena == 0 || r->fates[m.job.job] != RELEASED);
    s->held[s->held_count].sequence = m.job.sequence;
    s->held[s->held_count].job = m.job.job;
    s->held[s->held_count++].reads = m.job.arena != 0;
}

static void worker_ends_one(struct region *r, struct site *s)
{
    if (s->held_count == 0)
        return;
    size_t i = draw(r, (uint32_t)s->held_count);
    credit_done(s->credit, r->now_us, 0, s->held[i].sequence);
    s->held[i] = s->held[--s->held_count];
    if (draw(r, 2))
        say(r, s);
}

/* Any message that is under way, and perhaps again later. */
static void api_hears(struct region *r, struct site *s)
{
    if (s->ways.up_count == 0)
        return;
    size_t i = draw(r, 3) ? 0 : draw(r, (uint32_t)s->ways.up_count);
    struct wire_status m = s->ways.up[i];
    if (draw(r, 10))
        memmove(&s->ways.up[i], &s->ways.up[i + 1], (--s->ways.up_count - i) * sizeof(m));
    lending_hear(r->lending, &m);
    take_over(r);
    if (!id_equal(&m.worker_boot, &s->known) && id_equal(&m.worker_boot, &s->boot)) {
        s->known = m.worker_boot;
        s->sent = s->told = 0;
    }
    if (id_equal(&m.worker_boot, &s->known))
        s->limit = m.limit;
}

static void api_greets(struct region *r, struct site *s)
{
    struct to_worker m = {
        .hello = {.api_boot = api_boot, .worker_boot = s->known, .link = LINK, .sent = s->sent, .queued = 1}};
    snprintf(m.hello.result_address, sizeof(m.hello.result_address), "ipc://r");
    s->told = s->sent;
    if (s->ways.down_count < CHANNEL && draw(r, 20))
        s->ways.down[s->ways.down_count++] = m;
}

static void api_sends(struct region *r, struct site *s, uint64_t job)
{
    if (id_is_zero(&s->known) || s->sent >= s->limit || s->ways.down_count == CHANNEL)
        return;
    struct to_worker m = {
        .is_job = true,
        .job = {.api_boot = api_boot, .worker_boot = s->known, .link = LINK, .sequence = ++s->sent, .job = job}};
    bool by_reference = lending_lend(r->lending, &s->known, LINK, s->sent, job) == ERR_OK;
    m.job.arena = by_reference ? s->number : 0;
    r->lent += by_reference;
    if (draw(r, 8) == 0) { /* the socket does not take it */
        if (by_reference)
            lending_take_back(r->lending, &s->known, LINK, s->sent);
        if (s->told < s->sent)
            s->sent--;
        return;
    }
    if (draw(r, 12))
        s->ways.down[s->ways.down_count++] = m;
}

static void api_works(struct region *r)
{
    uint64_t job = r->jobs > 8 && draw(r, 3) == 0 ? r->jobs - draw(r, 8) : 0; /* again, or for the first time */
    if (job == 0 && r->jobs + 1 < JOBS) {
        job = ++r->jobs;
        r->fates[job] = ASKED;
    }
    if (job != 0 && r->fates[job] == ASKED)
        api_sends(r, &r->sites[draw(r, WORKERS)], job);
}

static void api_ends_one(struct region *r)
{
    uint64_t job = r->jobs > 0 ? r->jobs - draw(r, r->jobs < 12 ? (uint32_t)r->jobs : 12) : 0;
    if (job == 0 || r->fates[job] != ASKED)
        return;
    r->fates[job] = OVER;
    if (keep(r->lending, job))
        r->kept++;
    else
        release(r, job);
}

static void api_sees_the_end(struct region *r, struct site *s)
{
    if (!s->hung_up)
        return;
    lending_leave(r->lending, &s->joined);
    s->joined = (struct id){0};
    s->hung_up = false;
    take_over(r);
}

static void step(struct region *r)
{
    struct site *s = &r->sites[draw(r, WORKERS)];
    uint32_t what = draw(r, 1000);
    size_t api;
    r->now_us += draw(r, STEP_US);
    while (credit_next_gone(s->credit, r->now_us, &api)) {
        s->held_count = 0;
        hang_up(s);
    }
    if (what < 250)
        api_works(r);
    else if (what < 500)
        worker_reads(r, s);
    else if (what < 650)
        worker_ends_one(r, s);
    else if (what < 850)
        api_hears(r, s);
    else if (what < 920)
        api_greets(r, s);
    else if (what < 980)
        api_ends_one(r);
    else if (what < 994)
        api_sees_the_end(r, s);
    else if (what < 998)
        crash(r, s);
    else
        forget(r, s);
}

static void play(uint64_t seed)
{
    static struct region r;
    memset(&r, 0, sizeof(r));
    r.random = seed;
    r.now_us = 1;
    r.lending = lending(WORKERS, 64);
    for (size_t i = 0; i < WORKERS; i++)
        boot_worker(&r, &r.sites[i]);
    for (int i = 0; i < 6000; i++)
        step(&r);
    /* Everybody speaks up and gets to the end; then nothing is left. */
    for (uint64_t job = 1; job <= r.jobs; job++) {
        if (r.fates[job] != ASKED)
            continue;
        r.fates[job] = OVER;
        if (!keep(r.lending, job))
            release(&r, job);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        struct site *s = &r.sites[i];
        api_sees_the_end(&r, s);
        while (s->ways.down_count > 0)
            worker_reads(&r, s);
        s->ways.up_count = 0;
        while (s->held_count > 0)
            worker_ends_one(&r, s);
        for (int n = 0; n < 200 && loans(r.lending) > 0; n++) {
            api_greets(&r, s);
            worker_reads(&r, s);
            api_hears(&r, s);
            api_sees_the_end(&r, s);
        }
    }
    assert_int_equal(loans(r.lending), 0);
    assert_int_equal(kept_bytes(r.lending), 0);
    for (uint64_t job = 1; job <= r.jobs; job++)
        assert_true(r.fates[job] == RELEASED);
    assert_true(r.lent > 100 && r.kept > 10);
    for (size_t i = 0; i < WORKERS; i++)
        credit_free(r.sites[i].credit);
    lending_free(r.lending);
}

static void test_no_body_is_released_while_it_may_be_read(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        play(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_sizes_are_refused),
        cmocka_unit_test(test_only_who_joined_is_lent_to),
        cmocka_unit_test(test_a_request_that_ends_with_its_result_has_its_body),
        cmocka_unit_test(test_a_request_that_ends_before_leaves_its_body),
        cmocka_unit_test(test_words_of_others_end_nothing),
        cmocka_unit_test(test_old_and_repeated_words_are_as_good),
        cmocka_unit_test(test_a_hedged_body_waits_for_both),
        cmocka_unit_test(test_the_dead_give_all_back),
        cmocka_unit_test(test_who_is_suspended_gets_no_more_and_keeps_what_it_has),
        cmocka_unit_test(test_what_was_not_sent_is_taken_back),
        cmocka_unit_test(test_a_full_table_lends_no_more),
        cmocka_unit_test(test_one_worker_cannot_keep_all),
        cmocka_unit_test(test_no_body_is_released_while_it_may_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
