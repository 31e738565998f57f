/* SPDX-License-Identifier: MIT */
/* The worker's ways back to its APIs, over real sockets in a folder of its own, while sockets are short. */
#include "peers.h"

#include "cavage/bus.h"
#include "cavage/err.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <nanomsg/nn.h>
#include <nanomsg/pipeline.h>

enum { PATIENCE_MS = 20000, MAX_BYTES = 1024 };

static char folder[32];
static char address[64];
static const struct id boot = {{1}};

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/cvg-peers-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(address, sizeof(address), "ipc://%s/results", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(address + strlen("ipc://"));
    return rmdir(folder);
}

/* No descriptor can be opened while this holds, and so no socket. */
static struct rlimit forbid_descriptors(void)
{
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    return old;
}

static uint8_t *message(uint8_t fill)
{
    uint8_t *data = bus_alloc(1);
    assert_non_null(data);
    *data = fill;
    return data;
}

/* Flush until a message comes; its byte. */
static uint8_t receive(struct peers *peers, struct bus_pull *pull)
{
    uint8_t *data;
    size_t len;
    int err = ERR_AGAIN;
    for (int i = 0; i < PATIENCE_MS && err == ERR_AGAIN; i++) {
        peers_flush(peers);
        poll(NULL, 0, 1);
        err = bus_recv(pull, &data, &len, NULL);
    }
    assert_int_equal(err, ERR_OK);
    assert_int_equal(len, 1);
    uint8_t byte = *data;
    bus_free(data);
    return byte;
}

static void test_peer_that_could_not_be_opened_is_tried_again(void **state)
{
    (void)state;
    struct peers *peers;
    struct bus_pull *pull;
    int64_t now_us = 1000;
    assert_int_equal(bus_pull_open(address, MAX_BYTES, NULL, &pull), ERR_OK);
    assert_int_equal(peers_new(2, 8, NULL, &peers), ERR_OK);
    assert_true(peers_next_us(peers) == INT64_MAX);

    struct rlimit old = forbid_descriptors();
    int err = peers_open(peers, 1, now_us, address, &boot);
    int64_t first_us = peers_next_us(peers) - now_us;
    for (int i = 0; i < 10; i++) {
        now_us = peers_next_us(peers);
        peers_retry(peers, now_us);
    }
    int64_t last_us = peers_next_us(peers) - now_us;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(err, ERR_FULL);
    assert_int_equal(first_us, 100 * 1000);
    assert_int_equal(last_us, 5 * 1000 * 1000);
    assert_int_equal(peers_send(peers, 1, message(1), 1), ERR_CLOSED);

    peers_retry(peers, peers_next_us(peers) - 1);
    assert_int_equal(peers_send(peers, 1, message(2), 1), ERR_CLOSED);
    peers_retry(peers, peers_next_us(peers));
    assert_true(peers_next_us(peers) == INT64_MAX);
    assert_int_equal(peers_send(peers, 1, message(3), 1), ERR_OK);
    assert_int_equal(receive(peers, pull), 3);
    peers_free(peers);
    bus_pull_close(pull);
}

static void test_what_waits_for_a_connection_may_go_any_moment(void **state)
{
    (void)state;
    struct peers *peers;
    int64_t now_us = 1000;
    assert_int_equal(peers_new(1, 8, NULL, &peers), ERR_OK);
    assert_int_equal(peers_open(peers, 0, now_us, address, &boot), ERR_OK);
    assert_false(peers_may_send(peers, now_us));
    assert_int_equal(peers_send(peers, 0, message(1), 1), ERR_OK);
    assert_int_equal(peers_backlog(peers), 0);
    assert_true(peers_may_send(peers, now_us));
    assert_false(peers_may_send(peers, now_us + 1000 * 1000)); /* nobody is there */
    peers_free(peers);
}

static void test_peer_that_is_closed_is_not_tried_again(void **state)
{
    (void)state;
    struct peers *peers;
    struct bus_push *other; /* nanomsg itself opens descriptors for the first socket */
    assert_int_equal(bus_push_open(address, NULL, &other), ERR_OK);
    assert_int_equal(peers_new(1, 8, NULL, &peers), ERR_OK);
    struct rlimit old = forbid_descriptors();
    int err = peers_open(peers, 0, 0, address, &boot);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(err, ERR_FULL);
    peers_close(peers, 0);
    assert_true(peers_next_us(peers) == INT64_MAX);
    peers_retry(peers, 1000 * 1000);
    assert_int_equal(peers_send(peers, 0, message(1), 1), ERR_CLOSED);
    peers_free(peers);
    bus_push_close(other);
}

/* The number of the next socket: nanomsg gives the one again that was closed last. */
static int next_socket(void)
{
    int socket = nn_socket(AF_SP, NN_PUSH);
    assert_true(socket >= 0);
    nn_close(socket);
    return socket;
}

static void test_what_cannot_be_sent_any_more_is_dropped_and_counted(void **state)
{
    (void)state;
    struct peers *peers;
    assert_int_equal(peers_new(2, 8, NULL, &peers), ERR_OK);
    int number = next_socket();
    assert_int_equal(peers_open(peers, 1, 0, address, &boot), ERR_OK);
    assert_int_equal(peers_open(peers, 0, 0, address, &boot), ERR_OK);
    /* Nobody listens yet. */
    assert_int_equal(peers_send(peers, 1, message(1), 1), ERR_OK);
    assert_int_equal(peers_send(peers, 1, message(2), 1), ERR_OK);
    assert_int_equal(peers_send(peers, 0, message(3), 1), ERR_OK);
    assert_int_equal(peers_flush(peers), 0);
    assert_true(peers_waits(peers, 1));
    assert_int_equal(nn_close(number), 0);
    assert_int_equal(peers_flush(peers), 2);
    assert_false(peers_waits(peers, 1));
    assert_int_equal(peers_send(peers, 1, message(4), 1), ERR_CLOSED);
    assert_int_equal(peers_flush(peers), 0);

    struct bus_pull *pull;
    assert_int_equal(bus_pull_open(address, MAX_BYTES, NULL, &pull), ERR_OK);
    assert_int_equal(receive(peers, pull), 3);
    bus_pull_close(pull);
    peers_free(peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_peer_that_could_not_be_opened_is_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_waits_for_a_connection_may_go_any_moment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_that_is_closed_is_not_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_sent_any_more_is_dropped_and_counted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
