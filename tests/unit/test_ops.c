/* SPDX-License-Identifier: MIT */
/* Listening addresses, and the operations listener over real connections. */
#include "cavage/err.h"
#include "cavage/metrics.h"
#include "cavage/ops.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void test_addresses_are_told_apart(void **state)
{
    (void)state;
    const char *const good[] = {"127.0.0.1:0", "0.0.0.0:65535", "[::]:80", "[::1]:8080", "localhost:1"};
    const char *const bad[] = {"",
                               ":80",
                               "127.0.0.1",
                               "127.0.0.1:",
                               "127.0.0.1:65536",
                               "127.0.0.1:x",
                               "::1:80",
                               "[::1]",
                               "[::1]80",
                               "[]:80",
                               "[127.0.0.1]:80",
                               "example.com:80",
                               "127.1:80",
                               "127.0.0.1:-1",
                               "127.0.0.1:+1",
                               "127.0.0.1:080000",
                               "[::1:80",
                               "[",
                               "[:80",
                               "*:80",
                               "127.0.0.1: 80",
                               "[fe80::1%lo]:80"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(net_check(good[i]), ERR_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(net_check(bad[i]), ERR_INVALID);
}

static void test_loopback_is_known(void **state)
{
    (void)state;
    assert_true(net_is_loopback("127.0.0.1:80"));
    assert_true(net_is_loopback("127.255.0.9:80"));
    assert_true(net_is_loopback("[::1]:80"));
    assert_true(net_is_loopback("localhost:80"));
    assert_false(net_is_loopback("128.0.0.1:80"));
    assert_false(net_is_loopback("0.0.0.0:80"));
    assert_false(net_is_loopback("[::]:80"));
    assert_false(net_is_loopback("nonsense"));
}

static void test_listen_tells_the_port_and_refuses_a_taken_one(void **state)
{
    (void)state;
    char bound[64];
    char unused[64];
    int fd = -1;
    int other = -1;
    assert_int_equal(net_listen("127.0.0.1:0", 1, &fd, bound, sizeof(bound)), ERR_OK);
    assert_memory_equal(bound, "127.0.0.1:", 10);
    assert_true(strtol(bound + 10, NULL, 10) > 0);
    const char *taken = bound;
    assert_int_equal(net_listen(taken, 1, &other, unused, sizeof(unused)), ERR_EXISTS);
    assert_int_equal(other, -1);
    assert_int_equal(net_listen("127.0.0.1:0", 1, &other, unused, 4), ERR_RANGE);
    assert_int_equal(net_listen("nonsense", 1, &other, unused, sizeof(unused)), ERR_INVALID);
    close(fd);
}

/* A listener, and what it shows. */
static struct {
    struct metrics *metrics;
    struct ops *ops;
    atomic_bool ready;
    _Atomic int refreshed;
} shown;

static void refresh(void *arg)
{
    (void)arg;
    metrics_set(shown.metrics, 0, 42);
    atomic_fetch_add(&shown.refreshed, 1);
}

static int set_up(void **state)
{
    (void)state;
    static const struct metric_def defs[] = {{"answer", "The answer.", METRIC_GAUGE, NULL, NULL, 0}};
    if (metrics_new(defs, 1, &shown.metrics) != ERR_OK)
        return -1;
    const struct ops_config config = {
        .listen = "127.0.0.1:0", .metrics = shown.metrics, .ready = &shown.ready, .refresh = refresh};
    return ops_start(&config, &shown.ops);
}

static int tear_down(void **state)
{
    (void)state;
    ops_stop(shown.ops);
    metrics_free(shown.metrics);
    return 0;
}

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const char *port = strrchr(ops_url(shown.ops), ':');
    assert_non_null(port);
    to.sin_port = htons((uint16_t)strtoul(port + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* Send a whole request and return all that comes until the listener hangs up. */
static const char *exchange(const char *request)
{
    static char answer[8192];
    size_t used = 0;
    ssize_t got;
    int fd = dial();
    /* A listener that is full hangs up at any time; the answer, or its lack, tells. */
    if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0) {
        close(fd);
        return "";
    }
    while (used + 1 < sizeof(answer) && (got = recv(fd, answer + used, sizeof(answer) - 1 - used, 0)) > 0)
        used += (size_t)got;
    answer[used] = '\0';
    close(fd);
    return answer;
}

#define CLOSE " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static void test_url_names_the_port(void **state)
{
    (void)state;
    assert_memory_equal(ops_url(shown.ops), "http://127.0.0.1:", 17);
}

static void test_metrics_are_refreshed_and_shown(void **state)
{
    (void)state;
    int before = atomic_load(&shown.refreshed);
    const char *answer = exchange("GET /metrics" CLOSE);
    assert_memory_equal(answer, "HTTP/1.1 200 ", 13);
    assert_non_null(strstr(answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_non_null(strstr(answer, "\r\n\r\n# HELP answer The answer.\n# TYPE answer gauge\nanswer 42\n"));
    assert_int_equal(atomic_load(&shown.refreshed), before + 1);
}

static void test_health_and_readiness(void **state)
{
    (void)state;
    assert_memory_equal(exchange("GET /healthz" CLOSE), "HTTP/1.1 200 ", 13);
    atomic_store(&shown.ready, false);
    assert_memory_equal(exchange("GET /readyz" CLOSE), "HTTP/1.1 503 ", 13);
    atomic_store(&shown.ready, true);
    assert_memory_equal(exchange("GET /readyz" CLOSE), "HTTP/1.1 200 ", 13);
    const char *head = exchange("HEAD /readyz" CLOSE);
    assert_memory_equal(head, "HTTP/1.1 200 ", 13);
    assert_string_equal(strstr(head, "\r\n\r\n"), "\r\n\r\n");
}

static void test_all_else_is_refused(void **state)
{
    (void)state;
    assert_memory_equal(exchange("GET /" CLOSE), "HTTP/1.1 404 ", 13);
    assert_memory_equal(exchange("GET /metrics/" CLOSE), "HTTP/1.1 404 ", 13);
    const char *answer =
        exchange("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody");
    assert_memory_equal(answer, "HTTP/1.1 405 ", 13);
    assert_non_null(strstr(answer, "Allow: GET, HEAD\r\n"));
    assert_memory_equal(exchange("DELETE /readyz" CLOSE), "HTTP/1.1 405 ", 13);
    assert_null(strstr(exchange("GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"), " 200 "));
}

static void test_connection_is_kept_between_requests(void **state)
{
    (void)state;
    const char *answer = exchange("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /metrics" CLOSE);
    const char *second = strstr(answer + 1, "HTTP/1.1 200 ");
    assert_non_null(second);
    assert_non_null(strstr(second, "answer 42"));
}

/* Send a request on a connection that stays, and wait for the end of its answer. */
static void ask(int fd)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    char answer[1024] = "";
    size_t used = 0;
    assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), (ssize_t)sizeof(request) - 1);
    while (strstr(answer, "\r\n\r\nok\n") == NULL) {
        ssize_t got = recv(fd, answer + used, sizeof(answer) - 1 - used, 0);
        assert_true(got > 0);
        used += (size_t)got;
        answer[used] = '\0';
    }
}

/* With every slot held, one more connection waits, without an answer, until one of the others has gone. */
static void test_connections_are_bounded(void **state)
{
    (void)state;
    enum { SLOTS = 32 };
    int fds[SLOTS];
    char byte;
    for (size_t i = 0; i < SLOTS; i++) {
        fds[i] = dial();
        ask(fds[i]);
    }
    int more = dial();
    assert_int_equal(send(more, "GET /healthz" CLOSE, strlen("GET /healthz" CLOSE), MSG_NOSIGNAL),
                     (ssize_t)strlen("GET /healthz" CLOSE));
    for (size_t i = 0; i < SLOTS; i++)
        ask(fds[i]);
    assert_int_equal(recv(more, &byte, 1, MSG_DONTWAIT), -1);
    close(fds[0]);
    assert_int_equal(recv(more, &byte, 1, 0), 1);
    close(more);
    for (size_t i = 1; i < SLOTS; i++)
        close(fds[i]);
}

static void test_taken_port_fails_the_start(void **state)
{
    (void)state;
    struct ops *second = NULL;
    const struct ops_config config = {
        .listen = ops_url(shown.ops) + strlen("http://"), .metrics = shown.metrics, .ready = &shown.ready};
    assert_int_equal(ops_start(&config, &second), ERR_EXISTS);
    assert_null(second);
    ops_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_are_told_apart),
        cmocka_unit_test(test_loopback_is_known),
        cmocka_unit_test(test_listen_tells_the_port_and_refuses_a_taken_one),
        cmocka_unit_test_setup_teardown(test_url_names_the_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_metrics_are_refreshed_and_shown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_health_and_readiness, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all_else_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_connection_is_kept_between_requests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_connections_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_taken_port_fails_the_start, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
