/* SPDX-License-Identifier: MIT */
/* The system call filter on children of the test, and the words for what is missing. */
#include "sandbox.h"
#include "sandbox_filter.h"
#include "sanitizer.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct program {
    void *filter;
    size_t len;
};

/* How a child ends that does `what` under the filter: its status as of waitpid. */
static int end_of(const struct program *p, void (*what)(void))
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (sandbox_filter_load(p->filter, p->len))
            _exit(99);
        what();
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void *touch_memory(void *arg)
{
    volatile char *memory = malloc(1 << 20);
    for (size_t i = 0; memory && i < 1 << 20; i += 4096)
        memory[i] = 1;
    free((void *)(uintptr_t)memory);
    return arg;
}

static void work(void)
{
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, touch_memory, NULL))
            _exit(1);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    touch_memory(NULL);
}

static void do_open(void)
{
    syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY);
}

static void do_stat(void)
{
    syscall(SYS_faccessat, AT_FDCWD, "/dev/null", R_OK);
}

static void do_socket(void)
{
    syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
}

static void do_fork(void)
{
    fork();
}

static void do_vfork(void)
{
    syscall(SYS_clone, SIGCHLD | 0x4000, NULL, NULL, NULL, NULL);
}

static void do_kill(void)
{
    kill(getpid(), 0);
}

static void do_write_elsewhere(void)
{
    syscall(SYS_write, 3, "x", 1);
}

static void do_send_elsewhere(void)
{
    send(4, "x", 1, 0);
}

static void do_shared_memory(void)
{
    syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void do_code(void)
{
    syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void do_dumpable(void)
{
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void do_raise_limit(void)
{
    uint64_t limit[2] = {UINT64_MAX, UINT64_MAX};
    syscall(SYS_prlimit64, 0, 2, limit, NULL);
}

static void test_filter_lets_a_conversion_work_and_nothing_else(void **state)
{
    (void)state;
    static void (*const forbidden[])(void) = {
        do_open,           do_stat,          do_socket, do_fork,     do_vfork,       do_kill, do_write_elsewhere,
        do_send_elsewhere, do_shared_memory, do_code,   do_dumpable, do_raise_limit,
    };
    struct program p;
    if (UNDER_SANITIZER)
        skip();
    assert_int_equal(sandbox_filter_new(&p.filter, &p.len), 0);
    assert_int_equal(end_of(&p, work), 0);
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
        int status = end_of(&p, forbidden[i]);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
    free(p.filter);
}

static void test_missing_parts_are_named(void **state)
{
    (void)state;
    char text[SANDBOX_MISSING_SIZE];
    assert_string_equal(sandbox_missing(0, text), "");
    assert_string_equal(sandbox_missing(1U << SANDBOX_FILTER, text), "system call filter");
    assert_string_equal(sandbox_missing(1U << SANDBOX_USER | 1U << SANDBOX_ROOT, text),
                        "user namespace, empty root folder");
    /* All of them fit. */
    sandbox_missing((1U << SANDBOX_PARTS) - 1, text);
    assert_non_null(strstr(text, "system call filter"));
    assert_true(strlen(text) < SANDBOX_MISSING_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filter_lets_a_conversion_work_and_nothing_else),
        cmocka_unit_test(test_missing_parts_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
