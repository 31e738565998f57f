/* SPDX-License-Identifier: MIT */
/* The table of connections: a slot belongs to one connection at a time, whatever libmicrohttpd tells late or never. */
#include "conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { LATER_US = 10 * 1000 * 1000 };

struct fixture {
    struct conns *conns;
    int fds[4];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(conns_new(4, &f->conns), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, f->fds), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, f->fds + 2), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    conns_free(f->conns);
    for (int i = 0; i < 4; i++)
        close(f->fds[i]);
    free(f);
    return 0;
}

static struct conn *add(struct fixture *f, int64_t now_us, int fd)
{
    const struct sockaddr address = {.sa_family = AF_UNIX};
    struct conn *conn = conns_add(f->conns, now_us, fd, &address);
    assert_non_null(conn);
    return conn;
}

static void test_connection_that_was_never_taken_up_is_forgotten(void **state)
{
    struct fixture *f = *state;
    struct conn *conn = add(f, 10, f->fds[0]);
    conns_forget_new(f->conns, 10);
    assert_ptr_equal(conns_find(f->conns, f->fds[0]), conn);
    conns_forget_new(f->conns, 11);
    assert_null(conns_find(f->conns, f->fds[0]));
    assert_int_equal(conns_live(f->conns), 0);
    assert_int_equal(conns_used(f->conns), 0);
}

static void test_open_connection_is_not_forgotten(void **state)
{
    struct fixture *f = *state;
    struct conn *conn = add(f, 10, f->fds[0]);
    assert_true(conn_opened(conn, f->fds[0]));
    conns_forget_new(f->conns, 1000);
    assert_ptr_equal(conns_find(f->conns, f->fds[0]), conn);
    assert_int_equal(conns_live(f->conns), 1);
}

/* Found before it was forgotten, opened after: the slot may serve another connection by then. */
static void test_forgotten_slot_is_not_opened_by_its_old_connection(void **state)
{
    struct fixture *f = *state;
    struct conn *conn = add(f, 10, f->fds[0]);
    conns_forget_new(f->conns, 11);
    assert_false(conn_opened(conn, f->fds[0]));
    assert_ptr_equal(add(f, 20, f->fds[2]), conn);
    assert_false(conn_opened(conn, f->fds[0]));
    assert_true(conn_opened(conn, f->fds[2]));
    assert_int_equal(conns_live(f->conns), 1);
}

static void test_idlest_connection_with_nothing_unread_is_closed(void **state)
{
    struct fixture *f = *state;
    struct conn *old = add(f, 10, f->fds[0]), *young = add(f, 20, f->fds[2]);
    assert_false(conns_close_idlest(f->conns, LATER_US));
    assert_true(conn_opened(old, f->fds[0]) && conn_opened(young, f->fds[2]));
    assert_int_equal(write(f->fds[1], "x", 1), 1);
    assert_true(conns_close_idlest(f->conns, LATER_US));
    assert_int_equal(young->state, CONN_CLOSING);
    assert_int_equal(conns_live(f->conns), 1);
    assert_false(conns_close_idlest(f->conns, LATER_US));
    conns_remove(f->conns, young);
    conns_remove(f->conns, young);
    assert_int_equal(conns_used(f->conns), 1);
}

static void test_new_connection_is_not_idle_for_a_second(void **state)
{
    struct fixture *f = *state;
    struct conn *conn = add(f, 10, f->fds[0]);
    assert_true(conn_opened(conn, f->fds[0]));
    assert_false(conns_close_idlest(f->conns, 999999));
    conn->served = true;
    assert_true(conns_close_idlest(f->conns, 999999));
    conns_remove(f->conns, conn);
    conn = add(f, 10, f->fds[0]);
    assert_true(conn_opened(conn, f->fds[0]));
    assert_true(conns_close_idlest(f->conns, 1000010));
    conns_remove(f->conns, conn);
}

static void test_connection_that_is_closing_goes_before_one_that_is_idle(void **state)
{
    struct fixture *f = *state;
    struct conn *idle = add(f, 10, f->fds[0]), *closing = add(f, 20, f->fds[2]);
    assert_true(conn_opened(idle, f->fds[0]) && conn_opened(closing, f->fds[2]));
    idle->owned = closing->owned = true;
    idle->owner = closing->owner = 7;
    conn_close(f->conns, closing, LATER_US);
    assert_false(conns_close_idlest_of(f->conns, 8));
    assert_true(conns_close_idlest_of(f->conns, 7));
    assert_false(closing->owned);
    assert_true(idle->owned);
    assert_int_equal(idle->state, CONN_OPEN);
    assert_true(conns_close_idlest_of(f->conns, 7));
    assert_false(idle->owned);
    assert_int_equal(idle->state, CONN_CLOSING);
    assert_false(conns_close_idlest_of(f->conns, 7));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_connection_that_was_never_taken_up_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_connection_is_not_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forgotten_slot_is_not_opened_by_its_old_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idlest_connection_with_nothing_unread_is_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_new_connection_is_not_idle_for_a_second, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connection_that_is_closing_goes_before_one_that_is_idle, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
