/* SPDX-License-Identifier: MIT */
/* The choice of a place for the converters' cgroup, and what is written there, on a tree of files that stands for the kernel's. */
#include "cgroup.h"
#include "folder.h"

#include "cavage/err.h"
#include "cavage/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#define MOUNT "sys/fs/cgroup"
#define LINES_BEFORE "22 1 8:1 / / rw - ext4 /dev/root rw\n31 23 0:28 / /sys rw,relatime shared:7 - sysfs sysfs rw\n"

enum { PATH_SIZE = 512, TEXT_SIZE = 256 };

struct tree {
    char root[32];
    bool marked; /* cgroups can be marked as handed over */
};

static const char *place_of(const struct tree *t, const char *name, char path[PATH_SIZE])
{
    assert_int_equal(fs_join(path, PATH_SIZE, t->root, name), 0);
    return path;
}

static void put(const struct tree *t, const char *name, const char *text)
{
    char path[PATH_SIZE], dir[PATH_SIZE];
    place_of(t, name, path);
    snprintf(dir, sizeof(dir), "%s", path);
    *strrchr(dir, '/') = '\0';
    assert_int_equal(fs_mkdirs(dir, 0755), 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static const char *get(const struct tree *t, const char *name, char text[TEXT_SIZE])
{
    char path[PATH_SIZE];
    size_t len;
    snprintf(text, TEXT_SIZE, "-");
    (void)fs_read(place_of(t, name, path), text, TEXT_SIZE, &len);
    return text;
}

static bool exists(const struct tree *t, const char *name)
{
    char path[PATH_SIZE];
    return access(place_of(t, name, path), F_OK) == 0;
}

static void drop(const struct tree *t, const char *name)
{
    char path[PATH_SIZE];
    assert_int_equal(unlink(place_of(t, name, path)), 0);
}

/* A cgroup with its files; `processes` as in cgroup.procs, "" for none. */
static void put_cgroup(const struct tree *t, const char *path, const char *controllers, const char *processes)
{
    char name[PATH_SIZE];
    snprintf(name, sizeof(name), MOUNT "%s/cgroup.controllers", path);
    put(t, name, controllers);
    snprintf(name, sizeof(name), MOUNT "%s/cgroup.subtree_control", path);
    put(t, name, "");
    snprintf(name, sizeof(name), MOUNT "%s/cgroup.procs", path);
    put(t, name, processes);
}

static bool hand_over(const struct tree *t, const char *path)
{
    char name[PATH_SIZE], place[PATH_SIZE];
    snprintf(name, sizeof(name), MOUNT "%s", path);
    return setxattr(place_of(t, name, place), "user.delegate", "1", 1, 0) == 0;
}

static const char *me(char text[TEXT_SIZE])
{
    snprintf(text, TEXT_SIZE, "%d\n", (int)getpid());
    return text;
}

/* This process in the cgroup `path`, in a hierarchy whose part below `top` is mounted. */
static void put_process(const struct tree *t, const char *top, const char *path)
{
    char text[PATH_SIZE];
    snprintf(text, sizeof(text), LINES_BEFORE "41 31 0:38 %s /" MOUNT " rw,nosuid - cgroup2 cgroup2 rw\n", top);
    put(t, "proc/self/mountinfo", text);
    snprintf(text, sizeof(text), "4:memory:/old\n1:name=systemd:/\n0::%s\n", path);
    put(t, "proc/self/cgroup", text);
}

static int setup(void **state)
{
    struct tree *t = calloc(1, sizeof(*t));
    char text[TEXT_SIZE];
    assert_non_null(t);
    snprintf(t->root, sizeof(t->root), "/tmp/cvg-cgroup-XXXXXX");
    assert_non_null(mkdtemp(t->root));
    put_process(t, "/", "/unit");
    put_cgroup(t, "/unit", "cpu io memory pids\n", me(text));
    t->marked = hand_over(t, "/unit");
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct tree *t = *state;
    int failed = folder_remove(t->root);
    free(t);
    return failed;
}

static int try_open(const struct tree *t)
{
    char why[CGROUP_WHY_SIZE] = "";
    struct cgroup *g;
    int err = cgroup_open(t->root, 1000, &g, why);
    if (err) {
        assert_null(g);
        assert_true(why[0] != '\0');
    }
    cgroup_close(g);
    return err;
}

static void test_a_process_alone_steps_down_and_bounds_its_neighbour(void **state)
{
    const struct tree *t = *state;
    char why[CGROUP_WHY_SIZE], name[PATH_SIZE], file[PATH_SIZE + 32], text[TEXT_SIZE], pid[TEXT_SIZE];
    struct cgroup *g;
    if (!t->marked)
        skip();
    assert_int_equal(cgroup_open(t->root, 3000000000, &g, why), 0);
    snprintf(name, sizeof(name), MOUNT "/unit/cavage-converters-%d", (int)getpid());
    assert_non_null(strstr(cgroup_path(g), name));
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    assert_string_equal(get(t, MOUNT "/unit/cavage-worker/cgroup.procs", text), pid);
    assert_string_equal(get(t, MOUNT "/unit/cgroup.subtree_control", text), "+memory");
    snprintf(file, sizeof(file), "%s/memory.max", name);
    assert_string_equal(get(t, file, text), "3000000000");
    drop(t, file);
    snprintf(file, sizeof(file), "%s/memory.swap.max", name);
    assert_string_equal(get(t, file, text), "0");
    drop(t, file);
    assert_int_equal(cgroup_add(g, 12345), 0);
    snprintf(file, sizeof(file), "%s/cgroup.procs", name);
    assert_string_equal(get(t, file, text), "12345");
    drop(t, file);
    /* The files are gone, as the kernel's go with their folder. */
    drop(t, MOUNT "/unit/cavage-worker/cgroup.procs");
    cgroup_close(g);
    assert_false(exists(t, name));
    assert_string_equal(get(t, MOUNT "/unit/cgroup.subtree_control", text), "-memory");
    assert_string_equal(get(t, MOUNT "/unit/cgroup.procs", text), pid);
    assert_false(exists(t, MOUNT "/unit/cavage-worker"));
}

static void test_kills_are_taken_one_by_one(void **state)
{
    const struct tree *t = *state;
    char why[CGROUP_WHY_SIZE], file[PATH_SIZE];
    struct cgroup *g;
    if (!t->marked)
        skip();
    assert_int_equal(cgroup_open(t->root, 1000, &g, why), 0);
    snprintf(file, sizeof(file), MOUNT "/unit/cavage-converters-%d/memory.events", (int)getpid());
    assert_false(cgroup_take_kill(g));
    put(t, file, "low 0\nhigh 0\nmax 7\noom 3\noom_kill 0\noom_group_kill 0\n");
    assert_false(cgroup_take_kill(g));
    put(t, file, "low 0\nhigh 0\nmax 9\noom 4\noom_kill 2\noom_group_kill 0\n");
    assert_true(cgroup_take_kill(g));
    assert_true(cgroup_take_kill(g));
    assert_false(cgroup_take_kill(g));
    cgroup_close(g);
}

static void test_the_place_above_is_used_when_it_is_empty(void **state)
{
    const struct tree *t = *state;
    char why[CGROUP_WHY_SIZE], name[PATH_SIZE], text[TEXT_SIZE];
    struct cgroup *g;
    if (!t->marked)
        skip();
    put_process(t, "/", "/unit/daemons");
    put(t, MOUNT "/unit/cgroup.procs", "");
    put_cgroup(t, "/unit/daemons", "cpu memory\n", "17\n18\n");
    assert_int_equal(cgroup_open(t->root, 1000, &g, why), 0);
    snprintf(name, sizeof(name), MOUNT "/unit/cavage-converters-%d/memory.max", (int)getpid());
    assert_string_equal(get(t, name, text), "1000");
    assert_false(exists(t, MOUNT "/unit/cavage-worker"));
    assert_string_equal(get(t, MOUNT "/unit/daemons/cgroup.procs", text), "17\n18\n");
    cgroup_close(g);
    assert_string_equal(get(t, MOUNT "/unit/cgroup.procs", text), "");
    /* Alone below what was handed over: it need not move, either. */
    put(t, MOUNT "/unit/daemons/cgroup.procs", me(text));
    assert_int_equal(try_open(t), 0);
    assert_false(exists(t, MOUNT "/unit/daemons/cavage-worker"));
}

static void test_a_container_owns_its_highest_cgroup(void **state)
{
    const struct tree *t = *state;
    char pid[TEXT_SIZE], text[2 * TEXT_SIZE];
    put_process(t, "/docker/7", "/docker/7");
    put_cgroup(t, "", "memory\n", me(pid));
    assert_int_equal(try_open(t), 0);
    /* Others in it: there is nothing above that could be used. */
    snprintf(text, sizeof(text), "1\n%s", pid);
    put(t, MOUNT "/cgroup.procs", text);
    assert_int_equal(try_open(t), ERR_DENIED);
}

static void test_others_are_not_moved_about(void **state)
{
    const struct tree *t = *state;
    char pid[TEXT_SIZE], text[2 * TEXT_SIZE];
    snprintf(text, sizeof(text), "%s1\n", me(pid));
    put(t, MOUNT "/unit/cgroup.procs", text);
    put_cgroup(t, "", "memory\n", "2\n3\n");
    assert_int_equal(try_open(t), ERR_DENIED);
    assert_string_equal(get(t, MOUNT "/unit/cgroup.subtree_control", text), "");
    assert_string_equal(get(t, MOUNT "/cgroup.subtree_control", text), "");
}

static void test_what_was_not_handed_over_is_left_alone(void **state)
{
    const struct tree *t = *state;
    char path[PATH_SIZE], text[TEXT_SIZE];
    removexattr(place_of(t, MOUNT "/unit", path), "user.delegate");
    assert_int_equal(try_open(t), ERR_DENIED);
    assert_string_equal(get(t, MOUNT "/unit/cgroup.subtree_control", text), "");
    assert_false(exists(t, MOUNT "/unit/cavage-worker"));
}

static void test_systems_without_it_are_told_apart(void **state)
{
    const struct tree *t = *state;
    if (t->marked) {
        put(t, MOUNT "/unit/cgroup.controllers", "cpu io memorable\n");
        assert_int_equal(try_open(t), ERR_NOTFOUND);
    }
    put_process(t, "/elsewhere", "/unit");
    assert_int_equal(try_open(t), ERR_NOTFOUND);
    put_process(t, "/", "/../unit");
    assert_int_equal(try_open(t), ERR_NOTFOUND);
    put(t, "proc/self/cgroup", "4:memory:/old\n");
    assert_int_equal(try_open(t), ERR_NOTFOUND);
    put_process(t, "/", "/unit");
    put(t, "proc/self/mountinfo", LINES_BEFORE "41 31\n - cgroup2 \n5 - cgroup2 x\n");
    assert_int_equal(try_open(t), ERR_NOTFOUND);
}

static void test_what_was_begun_is_undone(void **state)
{
    const struct tree *t = *state;
    char path[PATH_SIZE], text[TEXT_SIZE], pid[TEXT_SIZE];
    if (!t->marked)
        skip();
    drop(t, MOUNT "/unit/cgroup.subtree_control");
    assert_int_equal(mkdir(place_of(t, MOUNT "/unit/cgroup.subtree_control", path), 0755), 0);
    assert_int_equal(try_open(t), ERR_IO);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    assert_string_equal(get(t, MOUNT "/unit/cgroup.procs", text), pid);
}

static void test_cgroups_of_killed_workers_are_removed(void **state)
{
    const struct tree *t = *state;
    char path[PATH_SIZE], living[PATH_SIZE];
    if (!t->marked)
        skip();
    snprintf(living, sizeof(living), MOUNT "/unit/cavage-converters-%d", (int)getppid());
    assert_int_equal(mkdir(place_of(t, MOUNT "/unit/cavage-converters-4194305", path), 0755), 0);
    assert_int_equal(mkdir(place_of(t, living, path), 0755), 0);
    assert_int_equal(mkdir(place_of(t, MOUNT "/unit/cavage-converters-x", path), 0755), 0);
    assert_int_equal(try_open(t), 0);
    assert_false(exists(t, MOUNT "/unit/cavage-converters-4194305"));
    assert_true(exists(t, living));
    assert_true(exists(t, MOUNT "/unit/cavage-converters-x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_process_alone_steps_down_and_bounds_its_neighbour, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kills_are_taken_one_by_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_place_above_is_used_when_it_is_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_container_owns_its_highest_cgroup, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others_are_not_moved_about, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_not_handed_over_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_systems_without_it_are_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_begun_is_undone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cgroups_of_killed_workers_are_removed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
