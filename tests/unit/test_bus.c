/* SPDX-License-Identifier: MIT */
/* The bus over real sockets in a folder of its own. */
#include "cavage/bus.h"
#include "cavage/err.h"
#include "cavage/net.h"
#include "cavage/seal.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 5000, MAX_BYTES = 1024 * 1024 };

static char folder[32];
static char address[64];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/cvg-bus-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(address, sizeof address, "ipc://%s/jobs", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(address + sizeof "ipc://" - 1);
    return rmdir(folder);
}

/* Nothing here is timed: only a test that fails waits for long. */
static bool wait_connected(const struct bus_push *push, bool wanted)
{
    for (int i = 0; i < PATIENCE_MS && bus_push_connected(push) != wanted; i++)
        poll(NULL, 0, 1);
    return bus_push_connected(push) == wanted;
}

static bool wait_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, PATIENCE_MS) == 1;
}

static uint8_t *message(size_t len, uint8_t fill)
{
    uint8_t *data = bus_alloc(len);
    assert_non_null(data);
    memset(data, fill, len);
    return data;
}

static void test_message_crosses_whole(void **state)
{
    (void)state;
    struct bus_pull *pull;
    struct bus_push *push;
    uint8_t *data;
    size_t len;

    assert_int_equal(bus_pull_open(address, MAX_BYTES, NULL, &pull), ERR_OK);
    assert_int_equal(bus_push_open(address, NULL, &push), ERR_OK);
    assert_int_equal(bus_recv(pull, &data, &len, NULL), ERR_AGAIN);
    assert_true(wait_connected(push, true));
    assert_true(wait_readable(bus_push_fd(push)));
    assert_true(bus_push_ready(push));
    assert_int_equal(bus_send(push, message(300000, 7), 300000), ERR_OK);
    assert_true(wait_readable(bus_pull_fd(pull)));
    assert_int_equal(bus_recv(pull, &data, &len, NULL), ERR_OK);
    assert_int_equal(len, 300000);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(data[i], 7);
    bus_free(data);
    assert_int_equal(bus_recv(pull, &data, &len, NULL), ERR_AGAIN);
    bus_push_close(push);
    bus_pull_close(pull);
}

static void test_send_without_peer_is_refused_and_keeps_message(void **state)
{
    (void)state;
    struct bus_push *push;
    uint8_t *data = message(10, 1);

    assert_int_equal(bus_push_open(address, NULL, &push), ERR_OK);
    assert_false(bus_push_connected(push));
    assert_false(bus_push_ready(push));
    assert_int_equal(bus_send(push, data, 10), ERR_AGAIN);
    data[9] = 2;
    bus_free(data);
    bus_push_close(push);
}

static void test_unread_messages_refuse_in_time_and_ready_comes_back(void **state)
{
    (void)state;
    struct bus_pull *pull;
    struct bus_push *push;
    size_t sent = 0, received = 0, len;
    uint8_t *data;

    assert_int_equal(bus_pull_open(address, MAX_BYTES, NULL, &pull), ERR_OK);
    assert_int_equal(bus_push_open(address, NULL, &push), ERR_OK);
    assert_true(wait_connected(push, true));
    for (;;) {
        data = message(MAX_BYTES / 2, (uint8_t)sent);
        if (bus_send(push, data, MAX_BYTES / 2) != ERR_OK)
            break;
        sent++;
        assert_in_range(sent, 1, 100);
    }
    bus_free(data);
    while (received < sent) {
        assert_true(wait_readable(bus_pull_fd(pull)));
        while (bus_recv(pull, &data, &len, NULL) == ERR_OK) {
            assert_int_equal(data[0], received);
            received++;
            bus_free(data);
        }
    }
    assert_true(wait_readable(bus_push_fd(push)));
    assert_true(bus_push_ready(push));
    bus_push_close(push);
    bus_pull_close(pull);
}

static void test_oversize_message_breaks_its_connection_only(void **state)
{
    (void)state;
    struct bus_pull *pull;
    struct bus_push *bad, *good;
    uint8_t *data;
    size_t len;

    assert_int_equal(bus_pull_open(address, 1000, NULL, &pull), ERR_OK);
    assert_int_equal(bus_push_open(address, NULL, &bad), ERR_OK);
    assert_int_equal(bus_push_open(address, NULL, &good), ERR_OK);
    assert_true(wait_connected(bad, true));
    assert_true(wait_connected(good, true));
    assert_int_equal(bus_send(bad, message(1001, 1), 1001), ERR_OK);
    assert_int_equal(bus_send(good, message(1000, 2), 1000), ERR_OK);
    assert_true(wait_readable(bus_pull_fd(pull)));
    assert_int_equal(bus_recv(pull, &data, &len, NULL), ERR_OK);
    assert_int_equal(len, 1000);
    assert_int_equal(data[0], 2);
    bus_free(data);
    assert_true(bus_push_connected(good));
    assert_int_equal(bus_recv(pull, &data, &len, NULL), ERR_AGAIN);
    bus_push_close(bad);
    bus_push_close(good);
    bus_pull_close(pull);
}

static void test_end_of_peer_is_noticed_and_next_one_found(void **state)
{
    (void)state;
    struct bus_pull *pull;
    struct bus_push *push;

    assert_int_equal(bus_pull_open(address, MAX_BYTES, NULL, &pull), ERR_OK);
    assert_int_equal(bus_push_open(address, NULL, &push), ERR_OK);
    assert_true(wait_connected(push, true));
    bus_pull_close(pull);
    assert_true(wait_connected(push, false));
    assert_int_equal(bus_pull_open(address, MAX_BYTES, NULL, &pull), ERR_OK);
    assert_true(wait_connected(push, true));
    bus_push_close(push);
    bus_pull_close(pull);
}

/* Forked before this process opens a socket of nanomsg: a child of one that has none of its threads. */
static void test_killed_process_leaves_an_address_that_can_be_bound(void **state)
{
    (void)state;
    int ready[2];
    struct bus_pull *pull;
    struct bus_push *push;
    char byte;

    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        /* Bound twice here, because nanomsg leaks when it may not bind, which a leak check of the parent would tell. */
        bool bound = bus_pull_open(address, MAX_BYTES, NULL, &pull) == ERR_OK;
        bool bound_again = bus_pull_open(address, MAX_BYTES, NULL, &pull) != ERR_EXISTS;
        if (bound && write(ready[1], bound_again ? "x" : "r", 1) == 1)
            pause();
        _exit(1);
    }
    assert_true(child > 0);
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'r');
    assert_int_equal(bus_push_open(address, NULL, &push), ERR_OK);
    assert_true(wait_connected(push, true));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(wait_connected(push, false));
    assert_int_equal(bus_pull_open(address, MAX_BYTES, NULL, &pull), ERR_OK);
    assert_true(wait_connected(push, true));
    bus_push_close(push);
    bus_pull_close(pull);
    close(ready[0]);
}

static void test_bad_addresses_are_refused(void **state)
{
    (void)state;
    struct bus_pull *pull;
    struct bus_push *push;
    char path[200];

    assert_int_equal(bus_pull_open("inproc://x", 1, NULL, &pull), ERR_INVALID);
    assert_int_equal(bus_pull_open("", 1, NULL, &pull), ERR_INVALID);
    assert_int_equal(bus_pull_open("ipc://", 1, NULL, &pull), ERR_INVALID);
    assert_int_equal(bus_push_open("http://x", NULL, &push), ERR_INVALID);
    assert_int_equal(bus_pull_open(address, 0, NULL, &pull), ERR_RANGE);
    assert_int_equal(bus_pull_open(address, (size_t)1 << 31, NULL, &pull), ERR_RANGE);
    assert_int_equal(bus_pull_open("ipc:///nowhere/at/all", 1, NULL, &pull), ERR_NOTFOUND);
    assert_int_equal(bus_push_open("tcp://", NULL, &push), ERR_DENIED);

    snprintf(path, sizeof path, "ipc://%s/%0*d", folder, 99 - (int)strlen(folder) - 1, 0);
    assert_int_equal(bus_push_open(path, NULL, &push), ERR_OK);
    bus_push_close(push);
    snprintf(path, sizeof path, "ipc://%s/%0*d", folder, 100 - (int)strlen(folder) - 1, 0);
    assert_int_equal(bus_push_open(path, NULL, &push), ERR_RANGE);
    assert_int_equal(bus_pull_open(path, 1, NULL, &pull), ERR_RANGE);
}

static void test_folder_that_others_may_enter_is_refused(void **state)
{
    (void)state;
    struct bus_pull *pull;

    assert_int_equal(chmod(folder, 0710), 0);
    assert_int_equal(bus_pull_open(address, 1, NULL, &pull), ERR_DENIED);
    assert_int_equal(chmod(folder, 0700), 0);
}

/* ---- Over tcp ---- */

static const struct id id_a = {{'a'}}, id_b = {{'b'}}, nobody;

static struct seal *seal_of(const struct id *boot, uint8_t key)
{
    struct seal_keys keys = {.count = 1, .of = {{.id = 1, .bytes = {key}}}};
    struct seal *seal;
    assert_int_equal(seal_new(boot, &keys, 8, &seal), ERR_OK);
    return seal;
}

/* Bind the first free port of many. */
static int open_tcp(const char *host, char tcp[64], struct seal *seal, struct bus_pull **pull)
{
    int err = ERR_EXISTS;
    for (int port = 20000 + getpid() % 10000; err == ERR_EXISTS && port < 40000; port++) {
        snprintf(tcp, 64, "tcp://%s:%d", host, port);
        err = bus_pull_open(tcp, MAX_BYTES, seal, pull);
    }
    return err;
}

static void cross_tcp(const char *host)
{
    struct seal *a = seal_of(&id_a, 1), *b = seal_of(&id_b, 1);
    struct bus_pull *pull;
    struct bus_push *push;
    struct bus_from from;
    char tcp[64];
    uint8_t *data;
    size_t len;
    static const size_t sizes[] = {0, 300000, MAX_BYTES};

    assert_int_equal(open_tcp(host, tcp, b, &pull), ERR_OK);
    assert_int_equal(bus_push_open(tcp, a, &push), ERR_OK);
    assert_true(wait_connected(push, true));
    for (size_t i = 0; i < 3; i++) {
        bus_push_to(push, i == 0 ? &nobody : &id_b);
        assert_true(wait_readable(bus_push_fd(push)));
        assert_int_equal(bus_send(push, message(sizes[i], (uint8_t)i), sizes[i]), ERR_OK);
        assert_true(wait_readable(bus_pull_fd(pull)));
        assert_int_equal(bus_recv(pull, &data, &len, &from), ERR_OK);
        assert_int_equal(len, sizes[i]);
        assert_true(len == 0 || (data[0] == i && data[len - 1] == i));
        assert_true(from.sealed && id_equal(&from.boot, &id_a));
        assert_int_equal(from.addressed, i > 0);
        bus_free(data);
    }
    bus_push_close(push);
    bus_pull_close(pull);
    seal_free(a);
    seal_free(b);
}

static void test_tcp_is_sealed(void **state)
{
    (void)state;
    cross_tcp("127.0.0.1");
    int fd;
    char bound[64];
    if (net_listen("[::1]:0", 1, &fd, bound, sizeof(bound)) != ERR_OK)
        return; /* no IPv6 here */
    close(fd);
    cross_tcp("[::1]");
}

static void test_tcp_without_keys_is_refused(void **state)
{
    (void)state;
    struct bus_pull *pull;
    struct bus_push *push;
    assert_int_equal(bus_pull_open("tcp://127.0.0.1:20000", MAX_BYTES, NULL, &pull), ERR_DENIED);
    assert_int_equal(bus_push_open("tcp://127.0.0.1:20000", NULL, &push), ERR_DENIED);
}

static void test_what_does_not_open_is_dropped_and_counted(void **state)
{
    (void)state;
    struct seal *stranger = seal_of(&id_a, 2), *a = seal_of(&id_a, 1), *b = seal_of(&id_b, 1);
    struct bus_pull *pull;
    struct bus_push *bad, *good;
    char tcp[64];
    uint8_t *data;
    size_t len;

    assert_int_equal(open_tcp("127.0.0.1", tcp, b, &pull), ERR_OK);
    assert_int_equal(bus_push_open(tcp, stranger, &bad), ERR_OK);
    assert_int_equal(bus_push_open(tcp, a, &good), ERR_OK);
    assert_true(wait_connected(bad, true));
    assert_true(wait_connected(good, true));
    for (int i = 0; i < 3; i++) {
        assert_true(wait_readable(bus_push_fd(bad)));
        assert_int_equal(bus_send(bad, message(100, 1), 100), ERR_OK);
    }
    for (int i = 0; i < PATIENCE_MS && seal_count(b, SEAL_FORGED) < 3; i++) {
        assert_int_equal(bus_recv(pull, &data, &len, NULL), ERR_AGAIN);
        poll(NULL, 0, 1);
    }
    assert_int_equal(seal_count(b, SEAL_FORGED), 3);
    assert_int_equal(bus_send(good, message(100, 2), 100), ERR_OK);
    assert_true(wait_readable(bus_pull_fd(pull)));
    assert_int_equal(bus_recv(pull, &data, &len, NULL), ERR_OK);
    assert_int_equal(data[0], 2);
    bus_free(data);
    bus_push_close(bad);
    bus_push_close(good);
    bus_pull_close(pull);
    seal_free(stranger);
    seal_free(a);
    seal_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_killed_process_leaves_an_address_that_can_be_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_message_crosses_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_send_without_peer_is_refused_and_keeps_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unread_messages_refuse_in_time_and_ready_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oversize_message_breaks_its_connection_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_of_peer_is_noticed_and_next_one_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_addresses_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder_that_others_may_enter_is_refused, setup, teardown),
        cmocka_unit_test(test_tcp_is_sealed),
        cmocka_unit_test(test_tcp_without_keys_is_refused),
        cmocka_unit_test(test_what_does_not_open_is_dropped_and_counted),
    };
    return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
