/* SPDX-License-Identifier: MIT */
/* Files and folders: joining, making, reading, replacing, locking. */
#include "cavage/err.h"
#include "cavage/fs.h"

#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/cvg-fs-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[FS_PATH_SIZE];
    assert_int_equal(fs_join(path, sizeof(path), dir, name), ERR_OK);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    umask(022);
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int remove_dir(void **state)
{
    (void)state;
    return folder_remove(dir);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void test_join_puts_one_slash(void **state)
{
    (void)state;
    const struct {
        const char *base;
        const char *name;
        const char *joined;
    } cases[] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}, {"a", "/b", "/b"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[16];
        assert_int_equal(fs_join(out, sizeof(out), cases[i].base, cases[i].name), ERR_OK);
        assert_string_equal(out, cases[i].joined);
    }
}

static void test_join_refuses_what_does_not_fit(void **state)
{
    (void)state;
    char out[6];
    assert_int_equal(fs_join(out, sizeof(out), "ab", "cd"), ERR_OK);
    assert_int_equal(fs_join(out, sizeof(out), "ab", "cde"), ERR_RANGE);
    assert_int_equal(fs_join(out, sizeof(out), "ab", "/cdefg"), ERR_RANGE);
}

static void test_mkdirs_makes_all_and_is_content_with_what_is_there(void **state)
{
    (void)state;
    assert_int_equal(fs_mkdirs(in_dir("a//b/c/"), 0750), ERR_OK);
    assert_int_equal(mode_of(in_dir("a")), 0750);
    assert_int_equal(mode_of(in_dir("a/b/c")), 0750);
    assert_int_equal(fs_mkdirs(in_dir("a/b/c"), 0700), ERR_OK);
    assert_int_equal(mode_of(in_dir("a/b/c")), 0750);
}

static void test_mkdirs_refuses_a_file_in_the_way(void **state)
{
    (void)state;
    assert_int_equal(fs_write_atomic(in_dir("file"), "x", 1, 0600), ERR_OK);
    assert_int_equal(fs_mkdirs(in_dir("file"), 0700), ERR_EXISTS);
    assert_true(fs_mkdirs(in_dir("file/below"), 0700) < 0);
    assert_int_equal(fs_mkdirs("", 0700), ERR_INVALID);
}

static void test_private_dir_is_made_private_and_refused_when_open(void **state)
{
    (void)state;
    assert_int_equal(fs_private_dir(in_dir("private")), ERR_OK);
    assert_int_equal(mode_of(in_dir("private")), 0700);
    assert_int_equal(fs_private_dir(in_dir("private")), ERR_OK);
    assert_int_equal(chmod(in_dir("private"), 0710), 0);
    assert_int_equal(fs_private_dir(in_dir("private")), ERR_DENIED);
    assert_int_equal(chmod(in_dir("private"), 0701), 0);
    assert_int_equal(fs_private_dir(in_dir("private")), ERR_DENIED);
}

static void test_read_gives_the_whole_file_or_nothing(void **state)
{
    (void)state;
    char buf[8];
    size_t len = 99;
    assert_int_equal(fs_write_atomic(in_dir("seven"), "1234567", 7, 0600), ERR_OK);
    assert_int_equal(fs_read(in_dir("seven"), buf, sizeof(buf), &len), ERR_OK);
    assert_int_equal(len, 7);
    assert_string_equal(buf, "1234567");
    len = 99;
    assert_int_equal(fs_read(in_dir("seven"), buf, 7, &len), ERR_RANGE);
    assert_int_equal(len, 99);
    assert_int_equal(fs_read(in_dir("none"), buf, sizeof(buf), &len), ERR_NOTFOUND);
    assert_int_equal(fs_read(dir, buf, sizeof(buf), &len), ERR_IO);
    assert_int_equal(fs_write_atomic(in_dir("empty"), "", 0, 0600), ERR_OK);
    assert_int_equal(fs_read(in_dir("empty"), buf, sizeof(buf), &len), ERR_OK);
    assert_int_equal(len, 0);
    assert_int_equal(fs_read(in_dir("empty"), buf, 0, &len), ERR_RANGE);
}

/* A pipe without a writer would hold its reader up. */
static void test_secret_is_read_from_a_plain_private_file_only(void **state)
{
    (void)state;
    enum { STUCK_S = 10 };
    char buf[8];
    size_t len;
    assert_int_equal(fs_write_atomic(in_dir("secret"), "1234567", 7, 0600), ERR_OK);
    assert_int_equal(fs_read_private(in_dir("secret"), buf, sizeof(buf), &len), ERR_OK);
    assert_string_equal(buf, "1234567");
    assert_int_equal(chmod(in_dir("secret"), 0604), 0);
    assert_int_equal(fs_read_private(in_dir("secret"), buf, sizeof(buf), &len), ERR_DENIED);
    assert_int_equal(symlink("seven", in_dir("link")), 0);
    assert_int_equal(fs_read_private(in_dir("link"), buf, sizeof(buf), &len), ERR_DENIED);
    assert_int_equal(mkfifo(in_dir("pipe"), 0600), 0);
    alarm(STUCK_S);
    assert_int_equal(fs_read_private(in_dir("pipe"), buf, sizeof(buf), &len), ERR_DENIED);
    alarm(0);
}

static size_t count_files(const char *path)
{
    size_t count = 0;
    DIR *open_dir = opendir(path);
    assert_non_null(open_dir);
    /* cppcheck-suppress readdirCalled ; the stream is this function's own */
    while (readdir(open_dir) != NULL)
        count++;
    closedir(open_dir);
    return count;
}

static void test_write_atomic_replaces_and_leaves_nothing_aside(void **state)
{
    (void)state;
    char buf[16];
    size_t len;
    assert_int_equal(fs_mkdirs(in_dir("atomic"), 0700), ERR_OK);
    assert_int_equal(fs_write_atomic(in_dir("atomic/f"), "old and long", 12, 0600), ERR_OK);
    assert_int_equal(fs_write_atomic(in_dir("atomic/f"), "new", 3, 0640), ERR_OK);
    assert_int_equal(fs_read(in_dir("atomic/f"), buf, sizeof(buf), &len), ERR_OK);
    assert_string_equal(buf, "new");
    assert_int_equal(mode_of(in_dir("atomic/f")), 0640);
    assert_int_equal(count_files(in_dir("atomic")), 3);
    /* A folder in the way: the rename fails, and the file aside goes. */
    assert_int_equal(fs_mkdirs(in_dir("atomic/d/e"), 0700), ERR_OK);
    assert_true(fs_write_atomic(in_dir("atomic/d"), "x", 1, 0600) < 0);
    assert_int_equal(count_files(in_dir("atomic")), 4);
    assert_int_equal(fs_write_atomic(in_dir("nowhere/f"), "x", 1, 0600), ERR_NOTFOUND);
}

static void test_sync_parent_finds_the_folder(void **state)
{
    (void)state;
    assert_int_equal(fs_sync_parent(in_dir("anything")), ERR_OK);
    assert_int_equal(fs_sync_parent("/anything"), ERR_OK);
    assert_int_equal(fs_sync_parent("anything"), ERR_OK);
    assert_int_equal(fs_sync_parent(in_dir("nowhere/f")), ERR_NOTFOUND);
}

static void test_lock_is_held_once(void **state)
{
    (void)state;
    int first = -1;
    int second = -1;
    assert_int_equal(fs_lock(in_dir("lock"), &first), ERR_OK);
    assert_int_equal(mode_of(in_dir("lock")), 0600);
    assert_int_equal(fs_lock(in_dir("lock"), &second), ERR_EXISTS);
    assert_int_equal(second, -1);
    close(first);
    assert_int_equal(fs_lock(in_dir("lock"), &second), ERR_OK);
    close(second);
    assert_int_equal(fs_lock(in_dir("nowhere/lock"), &first), ERR_NOTFOUND);
}

static void test_write_all_tells_of_a_failure(void **state)
{
    (void)state;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    assert_int_equal(fs_write_all(full, "x", 1), ERR_IO);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(fs_write_all(full, "", 0), ERR_OK);
    close(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join_puts_one_slash),
        cmocka_unit_test(test_join_refuses_what_does_not_fit),
        cmocka_unit_test(test_mkdirs_makes_all_and_is_content_with_what_is_there),
        cmocka_unit_test(test_mkdirs_refuses_a_file_in_the_way),
        cmocka_unit_test(test_private_dir_is_made_private_and_refused_when_open),
        cmocka_unit_test(test_read_gives_the_whole_file_or_nothing),
        cmocka_unit_test(test_secret_is_read_from_a_plain_private_file_only),
        cmocka_unit_test(test_write_atomic_replaces_and_leaves_nothing_aside),
        cmocka_unit_test(test_sync_parent_finds_the_folder),
        cmocka_unit_test(test_lock_is_held_once),
        cmocka_unit_test(test_write_all_tells_of_a_failure),
    };
    return cmocka_run_group_tests_name("fs", tests, make_dir, remove_dir);
}
