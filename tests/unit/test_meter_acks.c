/* SPDX-License-Identifier: MIT */
/* Acknowledgements to producers that start again at the same address, over sealed tcp. */
#include "acks.h"

#include "cavage/bus.h"
#include "cavage/err.h"
#include "cavage/frame.h"
#include "cavage/net.h"
#include "cavage/seal.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE = 10000, MAX_BYTES = 4096 };

static const struct seal_keys keys = {.count = 1, .of = {{.id = 1}}};
static char address[96];
static struct seal *meter_seal;
static struct acks *acks;
static int64_t now_us;

/* The process of a producer: its boot, and where it takes acknowledgements. */
struct process {
    struct acks_to to;
    struct seal *seal;
    struct bus_pull *pull;
};

static struct process process_new(uint8_t number)
{
    struct process p = {.to = {.boot = {{number}}}};
    snprintf(p.to.address, sizeof(p.to.address), "%s", address);
    assert_int_equal(seal_new(&p.to.boot, &keys, 16, &p.seal), ERR_OK);
    return p;
}

static void process_listen(struct process *p)
{
    assert_int_equal(bus_pull_open(address, MAX_BYTES, p->seal, &p->pull), ERR_OK);
}

static void process_end(struct process *p)
{
    bus_pull_close(p->pull);
    p->pull = NULL;
    seal_free(p->seal);
    p->seal = NULL;
}

/* One that nobody listens on, below the ports that the kernel gives to outgoing connections: it stays free while no producer has it. */
static bool find_address(void)
{
    enum { FIRST = 10000, COUNT = 20000, TRIES = 100 };
    char bound[64];
    int fd;
    for (int i = 0; i < TRIES; i++) {
        snprintf(address, sizeof(address), "tcp://127.0.0.1:%d", FIRST + (getpid() + i) % COUNT);
        if (net_listen(address + strlen("tcp://"), 1, &fd, bound, sizeof(bound)) == ERR_OK)
            return close(fd) == 0;
    }
    return false;
}

static int setup(void **state)
{
    (void)state;
    static const struct id boot = {{200}};
    now_us = 1000 * 1000;
    if (!find_address())
        return -1;
    return seal_new(&boot, &keys, 16, &meter_seal) || acks_new(meter_seal, &acks);
}

static int teardown(void **state)
{
    (void)state;
    acks_free(acks);
    seal_free(meter_seal);
    return 0;
}

static void add(const struct process *p, uint8_t producer, uint64_t sequence)
{
    struct wire_ack ack = {.producer = {{producer}}, .epoch = 1, .sequence = sequence};
    acks_add(acks, &p->to, &ack, now_us);
}

/* One acknowledgement that opens; 0 when none has come by the time that all is sent. */
static uint64_t take(struct process *p)
{
    uint8_t *data;
    size_t len;
    struct bus_from from;
    struct frame f;
    struct wire_ack ack;
    if (bus_recv(p->pull, &data, &len, &from) != ERR_OK)
        return 0;
    assert_true(from.addressed);
    assert_int_equal(frame_parse(data, len, 0, &f), ERR_OK);
    assert_int_equal(wire_unpack_ack(&f, &ack), ERR_OK);
    bus_free(data);
    return ack.sequence;
}

/* Send, until this one comes. */
static void expect(struct process *p, uint64_t sequence)
{
    uint64_t came = 0;
    for (int i = 0; i < PATIENCE && came != sequence; i++) {
        (void)acks_send(acks, now_us);
        came = take(p);
        if (!came)
            poll(NULL, 0, 1);
    }
    assert_int_equal(came, sequence);
}

static void test_producer_that_starts_again_is_answered(void **state)
{
    (void)state;
    struct process old = process_new(1), young = process_new(2);
    process_listen(&old);
    add(&old, 9, 1);
    expect(&old, 1);
    process_end(&old);
    process_listen(&young);
    /* What goes into the connection that is just breaking is lost, as any message: the batch comes again. */
    uint64_t came = 0;
    for (int i = 0; i < PATIENCE && !came; i++) {
        add(&young, 9, 2);
        (void)acks_send(acks, now_us);
        poll(NULL, 0, 1);
        came = take(&young);
    }
    assert_int_equal(came, 2);
    assert_int_equal(seal_count(young.seal, SEAL_NOT_FOR_US), 0);
    process_end(&young);
}

/* Usage of the process before it may come late, or again, and be answered: that is no matter of the one that is there now. */
static void test_answer_to_the_process_before_takes_none_away(void **state)
{
    (void)state;
    struct process old = process_new(1), young = process_new(2);
    process_listen(&young);
    add(&young, 9, 5);
    add(&old, 9, 3);
    expect(&young, 5);
    add(&old, 9, 3);
    add(&young, 9, 6);
    expect(&young, 6);
    assert_int_equal(seal_count(young.seal, SEAL_FORGED), 0);
    seal_free(old.seal);
    process_end(&young);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_producer_that_starts_again_is_answered),
        TEST(test_answer_to_the_process_before_takes_none_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
