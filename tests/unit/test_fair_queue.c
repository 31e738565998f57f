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
                                       .quantum_us = quantum_us};
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
    const struct fair_entry *entry = fair_queue_pop(queue);
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
            const struct fair_entry *entry = fair_queue_pop(queue);
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
    struct fair_entry *popped = fair_queue_pop(queue);
    assert_int_equal(push(6, 4, 10), ERR_OK);
    fair_queue_push_head(queue, popped);
    assert_int_equal(fair_queue_count(queue), 6);
    assert_ptr_equal(fair_queue_pop(queue), popped);
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
        cmocka_unit_test(test_senseless_configurations_are_refused),
    };
    return cmocka_run_group_tests_name("fair_queue", tests, NULL, NULL);
}
