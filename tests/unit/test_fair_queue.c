/* SPDX-License-Identifier: MIT */
/* Order, fairness and bounds of the fair queue. */
#include "cavage/err.h"
#include "cavage/fair_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { ENTRIES = 2000 };

static struct fair_entry entries[ENTRIES];
static struct fair_queue *queue;

static struct fair_queue *queue_make(bool fifo, size_t max, size_t per_customer, int64_t quantum_us)
{
    struct fair_queue_config config = {.fifo = fifo,
                                       .max_entries = max,
                                       .max_per_customer = per_customer,
                                       .max_returns = max,
                                       .quantum_us = quantum_us,
                                       .large_percent = 25};
    memset(entries, 0, sizeof entries);
    assert_int_equal(fair_queue_new(&config, &queue), ERR_OK);
    return queue;
}

static int push(size_t i, uint64_t customer, int64_t cost_us)
{
    entries[i].customer = customer;
    entries[i].cost_us = cost_us;
    return fair_queue_push(queue, &entries[i]);
}

/* The index of the next entry, or -1. */
static int pop(void)
{
    const struct fair_entry *entry = fair_queue_pop(queue, FAIR_LANES_ALL);
    return entry ? (int)(entry - entries) : -1;
}

static void test_customer_is_served_in_order(void **state)
{
    (void)state;
    queue_make(false, ENTRIES, ENTRIES, 10);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(push(i, 7, 1 + (int64_t)(i * 37 % 50)), ERR_OK);
    for (int i = 0; i < 100; i++)
        assert_int_equal(pop(), i);
    assert_int_equal(pop(), -1);
    assert_int_equal(fair_queue_cost_us(queue), 0);
    fair_queue_free(queue);
}

static void test_equal_customers_take_turns(void **state)
{
    (void)state;
    queue_make(false, ENTRIES, ENTRIES, 10);
    for (size_t i = 0; i < 30; i++) /* ten of each customer, one customer after the other */
        assert_int_equal(push(i, i / 10, 10), ERR_OK);
    unsigned served[3] = {0};
    for (unsigned n = 1; n <= 30; n++) {
        served[pop() / 10]++;
        for (size_t c = 0; c < 3; c++)
            assert_in_range(served[c], n / 3, (n + 2) / 3);
    }
    fair_queue_free(queue);
}

/* One customer has a thousand dear jobs, the others a few cheap ones: cost is shared, not count. */
static void test_cost_is_shared_evenly_whatever_its_size(void **state)
{
    (void)state;
    static const int64_t quanta[] = {1, 100, 10000};
    for (size_t q = 0; q < 3; q++) {
        int64_t served[3] = {0};
        queue_make(false, ENTRIES, ENTRIES, quanta[q]);
        for (size_t i = 0; i < 500; i++)
            assert_int_equal(push(i, 0, 1000), ERR_OK);
        for (size_t i = 500; i < 1500; i++)
            assert_int_equal(push(i, 1, 100), ERR_OK);
        for (size_t i = 1500; i < 2000; i++)
            assert_int_equal(push(i, 2, 333), ERR_OK);
        while (served[1] < 50000) {
            const struct fair_entry *entry = fair_queue_pop(queue, FAIR_LANES_ALL);
            served[entry->customer] += entry->cost_us;
        }
        /* Deficit round robin's bound: one quantum and one largest entry apart, on each side. */
        int64_t slack = quanta[q] + 1000;
        assert_in_range(served[0], 50000 - slack, 50000 + slack);
        assert_in_range(served[2], 50000 - slack, 50000 + slack);
        fair_queue_free(queue);
    }
}

static void test_newcomer_waits_one_round_at_most(void **state)
{
    (void)state;
    queue_make(false, ENTRIES, ENTRIES, 10);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(push(i, 1 + i % 4, 10), ERR_OK);
    for (int i = 0; i < 10; i++)
        pop();
    assert_int_equal(push(1500, 99, 10), ERR_OK);
    int waited = 0;
    while (pop() != 1500)
        waited++;
    assert_in_range(waited, 0, 4);
    fair_queue_free(queue);
}

static void test_dear_entry_among_cheap_customers_is_served_after_its_rounds(void **state)
{
    (void)state;
    queue_make(false, ENTRIES, ENTRIES, 10);
    assert_int_equal(push(0, 1, 100), ERR_OK);
    for (size_t i = 1; i < 100; i++)
        assert_int_equal(push(i, 2, 10), ERR_OK);
    int waited = 0;
    while (pop() != 0)
        waited++;
    assert_in_range(waited, 8, 11);
    fair_queue_free(queue);
}

static void test_huge_costs_do_not_cost_a_loop_for_each_quantum(void **state)
{
    (void)state;
    queue_make(false, ENTRIES, ENTRIES, 1);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(push(i, i, 1000000000000), ERR_OK);
    for (int i = 0; i < 100; i++)
        assert_int_not_equal(pop(), -1);
    assert_int_equal(push(0, 1, 1000000000001), ERR_INVALID);
    assert_int_equal(push(0, 1, 0), ERR_INVALID);
    assert_int_equal(push(0, 1, -1), ERR_INVALID);
    fair_queue_free(queue);
}

static void test_bounds_are_kept(void **state)
{
    (void)state;
    queue_make(false, 5, 3, 10);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(push(i, 1, 10), ERR_OK);
    assert_int_equal(push(3, 1, 10), ERR_RANGE);
    assert_int_equal(push(4, 2, 10), ERR_OK);
    assert_int_equal(push(5, 3, 10), ERR_OK);
    assert_int_equal(push(6, 4, 10), ERR_FULL);
    assert_int_equal(fair_queue_count(queue), 5);
    assert_int_equal(fair_queue_cost_us(queue), 50);
    /* What was popped may come back over the bound. */
    struct fair_entry *popped = fair_queue_pop(queue, FAIR_LANES_ALL);
    assert_int_equal(push(6, 4, 10), ERR_OK);
    fair_queue_push_head(queue, popped);
    assert_int_equal(fair_queue_count(queue), 6);
    assert_ptr_equal(fair_queue_pop(queue, FAIR_LANES_ALL), popped);
    fair_queue_free(queue);
}

static void test_returned_entries_come_next_in_their_order(void **state)
{
    (void)state;
    for (int fifo = 0; fifo < 2; fifo++) {
        queue_make(fifo, ENTRIES, ENTRIES, 10);
        for (size_t i = 0; i < 40; i++)
            assert_int_equal(push(i, i % 4, 5 + (int64_t)(i % 7) * 20), ERR_OK);
        int first[8];
        for (int i = 0; i < 8; i++)
            first[i] = pop();
        for (int i = 7; i >= 0; i--)
            fair_queue_push_head(queue, &entries[first[i]]);
        /* The same eight come again; those of one customer in their order. */
        int last[4] = {-1, -1, -1, -1};
        for (int i = 0; i < 8; i++) {
            int again = pop();
            bool was_first = false;
            for (int k = 0; k < 8; k++)
                was_first = was_first || first[k] == again;
            assert_true(was_first);
            assert_true(again > last[again % 4]);
            last[again % 4] = again;
            if (fifo)
                assert_int_equal(again, first[i]);
        }
        fair_queue_free(queue);
    }
}

static void test_removed_entries_are_gone(void **state)
{
    (void)state;
    for (int fifo = 0; fifo < 2; fifo++) {
        queue_make(fifo, ENTRIES, ENTRIES, 10);
        for (size_t i = 0; i < 9; i++)
            assert_int_equal(push(i, i % 3, 10), ERR_OK);
        fair_queue_remove(queue, &entries[0]); /* first, middle, last */
        fair_queue_remove(queue, &entries[4]);
        fair_queue_remove(queue, &entries[8]);
        assert_null(entries[4].flow);
        assert_int_equal(fair_queue_count(queue), 6);
        unsigned seen = 0;
        for (int i; (i = pop()) >= 0;)
            seen |= 1u << i;
        assert_int_equal(seen, 0x1ff & ~(1u << 0 | 1u << 4 | 1u << 8));
        fair_queue_free(queue);
    }
}

static void test_fifo_is_strict_order_of_arrival(void **state)
{
    (void)state;
    queue_make(true, ENTRIES, 20, 10);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(push(i, i / 20, (int64_t)(1 + i)), ERR_OK);
    assert_int_equal(push(40, 1, 1), ERR_RANGE);
    for (int i = 0; i < 40; i++)
        assert_int_equal(pop(), i);
    fair_queue_free(queue);
}

static void test_customers_of_any_number_find_room(void **state)
{
    (void)state;
    queue_make(false, 500, 500, 10);
    for (size_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < 500; i++)
            assert_int_equal(push(i, (i + round * 500) << 32, 10), ERR_OK);
        assert_int_equal(push(500, 1, 10), ERR_FULL);
        for (int i = 0; i < 500; i++)
            assert_int_not_equal(pop(), -1);
    }
    fair_queue_free(queue);
}

static int push_large(size_t i, uint64_t customer, int64_t cost_us)
{
    entries[i].lane = LANE_LARGE;
    return push(i, customer, cost_us);
}

static bool is_large(int i)
{
    return i >= 0 && entries[i].lane == LANE_LARGE;
}

/* The share of the cost that goes to large entries among the next ones, in percent. */
static int64_t large_percent_of(int64_t cost_us)
{
    int64_t all_us = 0, large_us = 0;
    do {
        const struct fair_entry *entry = fair_queue_pop(queue, FAIR_LANES_ALL);
        assert_non_null(entry);
        all_us += entry->cost_us;
        large_us += entry->lane == LANE_LARGE ? entry->cost_us : 0;
    } while (all_us < cost_us);
    assert_true(all_us > 0);
    assert_true(all_us > 0);
    return large_us * 100 / all_us;
}

static void test_lanes_share_by_weight_while_both_wait(void **state)
{
    (void)state;
    queue_make(false, ENTRIES, ENTRIES, 1000);
    for (size_t i = 0; i < 1500; i++)
        assert_int_equal(push(i, i % 5, 10), ERR_OK);
    for (size_t i = 1500; i < 1600; i++)
        assert_int_equal(push_large(i, i % 3, 100), ERR_OK);
    assert_int_equal(fair_queue_lane_count(queue, LANE_LARGE), 100);
    assert_in_range(large_percent_of(12000), 24, 26);
    fair_queue_free(queue);
}

/* Work-conserving: each lane has everything while the other is empty, and owes nothing for it afterwards. */
static void test_empty_lane_is_owed_nothing(void **state)
{
    (void)state;
    queue_make(false, ENTRIES, ENTRIES, 1000);
    for (size_t i = 0; i < 500; i++)
        assert_int_equal(push_large(i, 1, 100), ERR_OK);
    for (int i = 0; i < 300; i++)
        assert_true(is_large(pop()));
    /* A small one that comes now is next, but has no right to all that the large ones had alone. */
    for (size_t i = 1000; i < 2000; i++)
        assert_int_equal(push(i, 2, 10), ERR_OK);
    assert_int_equal(pop(), 1000);
    assert_in_range(large_percent_of(8000), 23, 27);
    fair_queue_free(queue);

    queue_make(false, ENTRIES, ENTRIES, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(push(i, 1, 10), ERR_OK);
    for (int i = 0; i < 500; i++)
        assert_false(is_large(pop()));
    for (size_t i = 1000; i < 1100; i++)
        assert_int_equal(push_large(i, 2, 100), ERR_OK);
    assert_in_range(large_percent_of(4000), 23, 27);
    fair_queue_free(queue);
}

static void test_closed_lane_waits_and_is_owed_nothing(void **state)
{
    (void)state;
    queue_make(false, ENTRIES, ENTRIES, 1000);
    for (size_t i = 0; i < 1500; i++)
        assert_int_equal(push(i, 1, 10), ERR_OK);
    for (size_t i = 1500; i < 1600; i++)
        assert_int_equal(push_large(i, 2, 100), ERR_OK);
    for (int i = 0; i < 500; i++)
        assert_int_equal(fair_queue_pop(queue, FAIR_LANE_SMALL)->lane, LANE_SMALL);
    assert_null(fair_queue_pop(queue, 0));
    assert_in_range(large_percent_of(8000), 23, 27);
    assert_int_equal(fair_queue_pop(queue, FAIR_LANE_LARGE)->lane, LANE_LARGE);
    fair_queue_free(queue);
}

/* Rounds are counted in each lane: another customer's large images do not put off a customer's small ones, nor its own. */
static void test_customers_take_turns_in_each_lane(void **state)
{
    (void)state;
    queue_make(false, ENTRIES, 120, 1000);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(push_large(i, 1, 100), ERR_OK);
    assert_int_equal(push_large(500, 2, 100), ERR_OK);
    for (size_t i = 1000; i < 1020; i++)
        assert_int_equal(push(i, 1, 10), ERR_OK);
    assert_int_equal(push(1020, 1, 10), ERR_RANGE); /* the bound is of both lanes */
    assert_int_equal(push(1021, 3, 10), ERR_OK);
    int at[2] = {-1, -1}, count[LANES] = {0};
    for (int i; (i = pop()) >= 0; count[is_large(i)]++) {
        if (i == 500)
            at[0] = count[LANE_LARGE];
        if (i == 1021)
            at[1] = count[LANE_SMALL];
    }
    assert_in_range(at[0], 0, 2);
    assert_in_range(at[1], 0, 2);
    fair_queue_free(queue);
}

static void test_returned_entries_keep_their_lane(void **state)
{
    (void)state;
    queue_make(false, ENTRIES, ENTRIES, 1000);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(push_large(i, 1, 100), ERR_OK);
    for (size_t i = 1000; i < 1010; i++)
        assert_int_equal(push(i, 1, 10), ERR_OK);
    struct fair_entry *first[2] = {fair_queue_pop(queue, FAIR_LANE_LARGE), fair_queue_pop(queue, FAIR_LANE_LARGE)};
    fair_queue_push_head(queue, first[1]);
    fair_queue_push_head(queue, first[0]);
    assert_int_equal(fair_queue_lane_count(queue, LANE_LARGE), 10);
    for (int i = 0; i < 10; i++)
        assert_ptr_equal(fair_queue_pop(queue, FAIR_LANE_LARGE), &entries[i]);
    assert_int_equal(pop(), 1000);
    fair_queue_free(queue);
}

/* The quantum follows what waits: of jobs that are much cheaper than it each customer gets one at a turn, not a row. */
static void test_cheap_jobs_come_in_turns_too(void **state)
{
    (void)state;
    queue_make(false, ENTRIES, ENTRIES, 10000);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(push(i, i / 50, 10), ERR_OK);
    for (int i = 0; i < 50; i++) {
        int one = pop(), two = pop();
        assert_int_not_equal(one / 50, two / 50);
    }
    fair_queue_free(queue);
}

/* Who has nothing waiting when its job comes goes before those who always have. */
static void test_sparse_customer_goes_first(void **state)
{
    (void)state;
    queue_make(false, ENTRIES, ENTRIES, 10000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(push(i, i % 5, 10), ERR_OK);
    for (int i = 0; i < 50; i++) /* what each has saved at first */
        assert_int_not_equal(pop(), -1);
    for (size_t i = 1000; i < 1050; i++) {
        for (int k = 0; k < 7; k++)
            assert_in_range(pop(), 0, 999);
        assert_int_equal(push(i, 9, 10), ERR_OK);
        assert_int_equal(pop(), i);
    }
    fair_queue_free(queue);
}

/* But not more than its part: one that sends the next job whenever one was popped gets as much as one that has all of them waiting. */
static void test_nobody_gets_more_by_sending_one_by_one(void **state)
{
    (void)state;
    unsigned served[3] = {0};
    queue_make(false, ENTRIES, ENTRIES, 10000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(push(i, 0, 10), ERR_OK);
    assert_int_equal(push(1001, 1, 10), ERR_OK);
    assert_int_equal(push(1002, 2, 10), ERR_OK);
    for (unsigned n = 0; n < 950; n++) {
        const struct fair_entry *entry = fair_queue_pop(queue, FAIR_LANES_ALL);
        served[entry->customer] += n >= 50; /* by then they have spent what they came with */
        if (entry->customer > 0)
            assert_int_equal(push((size_t)(entry - entries), entry->customer, 10), ERR_OK);
    }
    for (size_t c = 0; c < 3; c++)
        assert_in_range(served[c], 297, 303);
    fair_queue_free(queue);
}

/* Lets all go but one. */
static bool lets_go(void *arg, uint64_t customer, enum lane lane)
{
    const uint64_t *held_back = arg;
    (void)lane;
    return customer != *held_back;
}

static int pop_but(uint64_t customer)
{
    const struct fair_rule rule = {lets_go, &customer};
    const struct fair_entry *entry = fair_queue_pop_by(queue, FAIR_LANES_ALL, &rule);
    return entry ? (int)(entry - entries) : -1;
}

/* Who always has jobs waiting has soon spent what it saved, and can be held back; others go past it, however dear their jobs are beside the quantum. */
static void test_greedy_customer_can_be_held_back(void **state)
{
    (void)state;
    static const int64_t costs_us[] = {1, 10, 77, 80, 100, 100001};
    for (size_t c = 0; c < sizeof(costs_us) / sizeof(costs_us[0]); c++) {
        queue_make(false, ENTRIES, ENTRIES, 10);
        for (size_t i = 0; i < 1000; i++)
            assert_int_equal(push(i, 0, costs_us[c]), ERR_OK);
        int first = 0;
        while (pop_but(0) == first)
            first++;
        assert_in_range(first, 0, 8);
        for (size_t i = 1000; i < 1020; i++) {
            assert_int_equal(pop_but(0), -1);
            assert_int_equal(push(i, 9, costs_us[c]), ERR_OK);
            assert_int_equal(pop_but(0), i);
            for (int k = 0; k < 10; k++)
                assert_int_equal(pop_but(9), first++);
        }
        fair_queue_free(queue);
    }
}

/* Another goes in its place, and is behind it later: what was held back is made up for. */
static void test_held_back_customer_keeps_its_part(void **state)
{
    (void)state;
    unsigned served[2] = {0};
    queue_make(false, ENTRIES, ENTRIES, 10);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(push(i, i % 2, 100), ERR_OK);
    for (int k = 0; k < 50; k++) { /* what each has saved at first is among it */
        int i = pop_but(1);
        assert_true(i >= 0);
        served[i % 2]++;
    }
    assert_in_range(served[0], 40, 50);
    for (int k = 0; k < 50; k++)
        served[pop() % 2]++;
    assert_in_range(served[1], 45, 55);
    fair_queue_free(queue);
}

static void test_lane_goes_on_while_the_other_is_held_back(void **state)
{
    (void)state;
    queue_make(false, ENTRIES, ENTRIES, 10);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(push(i, 0, 10), ERR_OK);
    while (pop_but(0) >= 0) {
    }
    for (size_t i = 500; i < 550; i++)
        assert_int_equal(push_large(i, 1, 10), ERR_OK);
    for (int i = 500; i < 550; i++)
        assert_int_equal(pop_but(0), i);
    assert_int_equal(pop_but(0), -1);
    fair_queue_free(queue);
}

/* Customers that come and go in any number leave no flow behind that another needs. */
static void test_flows_never_run_out(void **state)
{
    (void)state;
    enum { MAX = 20 };
    queue_make(false, MAX, MAX, 10);
    bool queued[ENTRIES] = {false};
    uint64_t seed = 88172645463325252u;
    for (unsigned n = 0; n < 200000; n++) {
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        size_t i = seed % ENTRIES;
        if (queued[i]) {
            fair_queue_remove(queue, &entries[i]);
            queued[i] = false;
        } else if (seed >> 40 & 1) {
            entries[i].lane = seed >> 41 & 1 ? LANE_LARGE : LANE_SMALL;
            queued[i] = push(i, seed >> 42 & 1023, 1 + (int64_t)(seed >> 52 & 63)) == ERR_OK;
        } else if (fair_queue_count(queue) > 0) {
            int popped = seed >> 43 & 1 ? pop_but(seed >> 42 & 1023) : -1;
            queued[popped >= 0 ? popped : pop()] = false;
        }
    }
    for (int i; (i = pop()) >= 0;)
        queued[i] = false;
    for (size_t i = 0; i < ENTRIES; i++)
        assert_false(queued[i]);
    assert_int_equal(fair_queue_cost_us(queue), 0);
    fair_queue_free(queue);
}

static void test_fifo_has_no_lanes(void **state)
{
    (void)state;
    queue_make(true, ENTRIES, ENTRIES, 10);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(i % 3 ? push_large(i, 1, 100) : push(i, 2, 10), ERR_OK);
    for (int i = 0; i < 40; i++)
        assert_int_equal(pop(), i);
    fair_queue_free(queue);
}

static void test_senseless_configurations_are_refused(void **state)
{
    (void)state;
    struct fair_queue_config good = {.max_entries = 1, .max_per_customer = 1, .quantum_us = 1}, bad;
    assert_int_equal(fair_queue_new(&good, &queue), ERR_OK);
    fair_queue_free(queue);
    bad = good, bad.max_entries = 0;
    assert_int_equal(fair_queue_new(&bad, &queue), ERR_RANGE);
    bad = good, bad.max_entries = SIZE_MAX / 2;
    assert_int_equal(fair_queue_new(&bad, &queue), ERR_RANGE);
    bad = good, bad.max_returns = SIZE_MAX;
    assert_int_equal(fair_queue_new(&bad, &queue), ERR_RANGE);
    bad = good, bad.quantum_us = 0;
    assert_int_equal(fair_queue_new(&bad, &queue), ERR_RANGE);
    bad = good, bad.large_percent = 100;
    assert_int_equal(fair_queue_new(&bad, &queue), ERR_RANGE);
    fair_queue_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_customer_is_served_in_order),
        cmocka_unit_test(test_equal_customers_take_turns),
        cmocka_unit_test(test_cost_is_shared_evenly_whatever_its_size),
        cmocka_unit_test(test_newcomer_waits_one_round_at_most),
        cmocka_unit_test(test_dear_entry_among_cheap_customers_is_served_after_its_rounds),
        cmocka_unit_test(test_huge_costs_do_not_cost_a_loop_for_each_quantum),
        cmocka_unit_test(test_bounds_are_kept),
        cmocka_unit_test(test_returned_entries_come_next_in_their_order),
        cmocka_unit_test(test_removed_entries_are_gone),
        cmocka_unit_test(test_fifo_is_strict_order_of_arrival),
        cmocka_unit_test(test_customers_of_any_number_find_room),
        cmocka_unit_test(test_lanes_share_by_weight_while_both_wait),
        cmocka_unit_test(test_empty_lane_is_owed_nothing),
        cmocka_unit_test(test_closed_lane_waits_and_is_owed_nothing),
        cmocka_unit_test(test_customers_take_turns_in_each_lane),
        cmocka_unit_test(test_returned_entries_keep_their_lane),
        cmocka_unit_test(test_cheap_jobs_come_in_turns_too),
        cmocka_unit_test(test_sparse_customer_goes_first),
        cmocka_unit_test(test_nobody_gets_more_by_sending_one_by_one),
        cmocka_unit_test(test_greedy_customer_can_be_held_back),
        cmocka_unit_test(test_held_back_customer_keeps_its_part),
        cmocka_unit_test(test_lane_goes_on_while_the_other_is_held_back),
        cmocka_unit_test(test_flows_never_run_out),
        cmocka_unit_test(test_fifo_has_no_lanes),
        cmocka_unit_test(test_senseless_configurations_are_refused),
    };
    return cmocka_run_group_tests_name("fair_queue", tests, NULL, NULL);
}
