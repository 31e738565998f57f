/* SPDX-License-Identifier: MIT */
/* Messages and descriptors cross a unix socket whole, and what does not fit leaves no descriptor open. */
#include "cavage/err.h"
#include "cavage/seqpacket.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct ends {
    char folder[32], path[64];
    int listener, near, far;
};

static int setup(void **state)
{
    struct ends *e = calloc(1, sizeof(*e));
    snprintf(e->folder, sizeof(e->folder), "/tmp/cvg-seq-XXXXXX");
    assert_non_null(mkdtemp(e->folder));
    snprintf(e->path, sizeof(e->path), "%s/s", e->folder);
    assert_int_equal(seqpacket_listen(e->path, 4, &e->listener), ERR_OK);
    assert_int_equal(seqpacket_accept(e->listener, &e->far), ERR_AGAIN);
    assert_int_equal(seqpacket_connect(e->path, &e->near), ERR_OK);
    assert_int_equal(seqpacket_accept(e->listener, &e->far), ERR_OK);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    struct ends *e = *state;
    close(e->near);
    close(e->far);
    close(e->listener);
    unlink(e->path);
    rmdir(e->folder);
    free(e);
    return 0;
}

static int open_count(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void test_a_message_comes_with_its_descriptors(void **state)
{
    struct ends *e = *state;
    char text[8];
    size_t len, count;
    int fds[2];
    assert_int_equal(seqpacket_recv(e->far, text, sizeof(text), MSG_DONTWAIT, &len, fds, 2, &count), ERR_AGAIN);
    assert_int_equal(seqpacket_send(e->near, "hello", 5, (int[]){e->listener, e->listener}, 2), ERR_OK);
    assert_int_equal(seqpacket_recv(e->far, text, sizeof(text), MSG_DONTWAIT, &len, fds, 2, &count), ERR_OK);
    assert_int_equal(len, 5);
    assert_memory_equal(text, "hello", 5);
    assert_int_equal(count, 2);
    assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    close(fds[0]);
    close(fds[1]);
    assert_true(seqpacket_is_own(e->near) && seqpacket_is_own(e->far));
}

static void test_what_does_not_fit_is_refused_and_closed(void **state)
{
    struct ends *e = *state;
    char text[4];
    size_t len, count;
    int fds[1], before = open_count();
    assert_int_equal(seqpacket_send(e->near, "x", 1, (int[]){e->near, e->near}, 2), ERR_OK);
    assert_int_equal(seqpacket_recv(e->far, text, sizeof(text), MSG_DONTWAIT, &len, fds, 1, &count), ERR_INVALID);
    assert_int_equal(seqpacket_send(e->near, "longer", 6, (int[]){e->near}, 1), ERR_OK);
    assert_int_equal(seqpacket_recv(e->far, text, sizeof(text), MSG_DONTWAIT, &len, fds, 1, &count), ERR_INVALID);
    assert_int_equal(count, 0);
    assert_int_equal(open_count(), before);
    assert_int_equal(seqpacket_send(e->near, "x", 1, (int[4]){0}, 4), ERR_RANGE);
}

static void test_the_end_of_the_other_is_told(void **state)
{
    struct ends *e = *state;
    char text[4];
    size_t len, count;
    int fds[1];
    shutdown(e->near, SHUT_WR);
    assert_int_equal(seqpacket_recv(e->far, text, sizeof(text), MSG_DONTWAIT, &len, fds, 1, &count), ERR_CLOSED);
    close(e->far);
    assert_int_equal(seqpacket_send(e->near, "x", 1, NULL, 0), ERR_CLOSED);
    e->far = -1;
}

static void test_paths(void **state)
{
    struct ends *e = *state;
    char path[160];
    int fd;
    struct stat st;
    assert_int_equal(stat(e->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    memset(path, 'x', 108);
    path[108] = '\0';
    assert_int_equal(seqpacket_listen(path, 1, &fd), ERR_RANGE);
    assert_int_equal(seqpacket_connect(path, &fd), ERR_RANGE);
    assert_int_equal(seqpacket_connect("", &fd), ERR_RANGE);
    snprintf(path, sizeof(path), "%s/none", e->folder);
    assert_int_equal(seqpacket_connect(path, &fd), ERR_NOTFOUND);
    /* A file that a dead listener left is replaced. */
    close(e->listener);
    assert_int_equal(seqpacket_connect(e->path, &fd), ERR_NOTFOUND);
    assert_int_equal(seqpacket_listen(e->path, 1, &e->listener), ERR_OK);
    assert_int_equal(seqpacket_connect(e->path, &fd), ERR_OK);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_message_comes_with_its_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_does_not_fit_is_refused_and_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_of_the_other_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
