/* SPDX-License-Identifier: MIT */
/* Tests of the parts under `cavage up`: waits between restarts, environments, run folders and run files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin.h"
#include "cavage/backoff.h"
#include "cavage/conf.h"
#include "cavage/err.h"
#include "cavage/fs.h"
#include "child.h"
#include "folder.h"
#include "run_dir.h"
#include "run_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_backoff_doubles_up_to_its_bound(void **state)
{
    static const int64_t expected[] = {100000, 200000, 400000, 800000, 1600000, 3200000, 5000000, 5000000};
    struct backoff backoff = {0};
    (void)state;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        assert_int_equal(backoff_next(&backoff, 0), expected[i]);
    assert_int_equal(backoff.failures, 8);
}

static void test_backoff_begins_anew_after_a_long_life(void **state)
{
    struct backoff backoff = {0};
    (void)state;
    backoff_next(&backoff, 0);
    assert_int_equal(backoff_next(&backoff, BACKOFF_RESET_US - 1), 200000);
    assert_int_equal(backoff_next(&backoff, BACKOFF_RESET_US), 100000);
    assert_int_equal(backoff.failures, 1);
}

static void test_environment_overrides_replace(void **state)
{
    char path[] = "PATH=/bin", shorter[] = "CAVAGE_API=d", old[] = "CAVAGE_API_LISTEN=a",
         longer[] = "CAVAGE_API_LISTENER=b", fresh[] = "CAVAGE_API_LISTEN=c";
    char *env[] = {path, old, longer, shorter, NULL}, *overrides[] = {fresh, NULL};
    (void)state;
    char **merged = child_env(env, overrides);
    assert_non_null(merged);
    assert_ptr_equal(merged[0], path);
    assert_ptr_equal(merged[1], longer);
    assert_ptr_equal(merged[2], shorter);
    assert_ptr_equal(merged[3], fresh);
    assert_null(merged[4]);
    free(merged);
}

static void test_run_dir_name_depends_on_folder_and_user(void **state)
{
    char a[128], b[128], c[128], small[16];
    (void)state;
    assert_int_equal(run_dir_name("/tmp", "/data/a", 1000, a, sizeof(a)), ERR_OK);
    assert_int_equal(run_dir_name("/tmp", "/data/b", 1000, b, sizeof(b)), ERR_OK);
    assert_int_equal(run_dir_name("/tmp", "/data/a", 1001, c, sizeof(c)), ERR_OK);
    assert_string_not_equal(a, b);
    assert_string_not_equal(a, c);
    assert_memory_equal(a, "/tmp/cavage-1000-", 17);
    assert_true(strlen(a) < 40);
    assert_int_equal(run_dir_name("/tmp", "/data/a", 1000, small, sizeof(small)), ERR_RANGE);
}

/* A configuration whose data folder is a new one of `extra` more path bytes. */
static struct conf *make_conf(char *root, size_t extra)
{
    char dir[FS_PATH_SIZE], why[256];
    struct conf *conf;
    assert_non_null(mkdtemp(root));
    snprintf(dir, sizeof(dir), "%s/", root);
    size_t len = strlen(dir);
    memset(dir + len, 'x', extra);
    dir[len + extra] = '\0';
    if (extra > 0)
        assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(conf_new(&conf), ERR_OK);
    assert_int_equal(conf_set(conf, CONF_COMMON_DATA_DIR, dir, "test", why, sizeof(why)), ERR_OK);
    return conf;
}

static void remove_tree(const char *root)
{
    assert_int_equal(folder_remove(root), 0);
}

static void test_short_data_dir_keeps_its_run_dir(void **state)
{
    char root[] = "/tmp/cavage-test-XXXXXX", why[256] = "", path[FS_PATH_SIZE];
    struct conf *conf = make_conf(root, 0);
    struct stat st;
    (void)state;
    assert_true(run_dir_fits(conf));
    assert_int_equal(run_dir_make(conf, why, sizeof(why)), ERR_OK);
    assert_string_equal(conf_origin(conf, CONF_COMMON_RUN_DIR), "default");
    snprintf(path, sizeof(path), "%s/run", root);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    run_dir_remove(conf);
    assert_int_equal(stat(path, &st), 0);
    conf_free(conf);
    remove_tree(root);
}

static void test_long_data_dir_gets_a_private_run_dir(void **state)
{
    char root[] = "/tmp/cavage-test-XXXXXX", why[256] = "", run[FS_PATH_SIZE], socket[FS_PATH_SIZE];
    struct conf *conf = make_conf(root, 100), *other;
    struct stat st;
    (void)state;
    assert_false(run_dir_fits(conf));
    assert_int_equal(run_dir_make(conf, why, sizeof(why)), ERR_OK);
    assert_true(run_dir_fits(conf));
    assert_int_equal(conf_path(conf, CONF_COMMON_RUN_DIR, run, sizeof(run)), ERR_OK);
    assert_int_equal(stat(run, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);

    assert_int_equal(conf_new(&other), ERR_OK);
    assert_int_equal(
        conf_set(other, CONF_COMMON_DATA_DIR, conf_str(conf, CONF_COMMON_DATA_DIR), "test", why, sizeof(why)), ERR_OK);
    assert_int_equal(run_dir_adopt(other, why, sizeof(why)), ERR_OK);
    assert_string_equal(conf_str(other, CONF_COMMON_RUN_DIR), run);
    assert_int_equal(conf_path(other, CONF_AUTHCACHE_ADMIN_SOCKET, socket, sizeof(socket)), ERR_OK);
    assert_memory_equal(socket, run, strlen(run));

    char path[FS_PATH_SIZE];
    assert_int_equal(fs_join(path, sizeof(path), run, "api.lock"), ERR_OK);
    assert_int_equal(fs_write_atomic(path, "", 0, 0600), ERR_OK);
    assert_int_equal(fs_join(path, sizeof(path), run, "other"), ERR_OK);
    assert_int_equal(fs_write_atomic(path, "", 0, 0600), ERR_OK);
    run_dir_remove(other);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(unlink(path), 0);
    run_dir_remove(other);
    assert_int_equal(access(run, F_OK), -1);
    assert_int_equal(fs_join(path, sizeof(path), conf_str(conf, CONF_COMMON_DATA_DIR), "run.path"), ERR_OK);
    assert_int_equal(access(path, F_OK), -1);
    conf_free(other);
    conf_free(conf);
    remove_tree(root);
}

static void test_long_run_dir_of_the_operator_is_refused(void **state)
{
    char root[] = "/tmp/cavage-test-XXXXXX", why[512] = "", run[128];
    struct conf *conf = make_conf(root, 0);
    (void)state;
    memset(run, 'r', sizeof(run) - 1);
    run[0] = '/';
    run[sizeof(run) - 1] = '\0';
    assert_int_equal(conf_set(conf, CONF_COMMON_RUN_DIR, run, "test", why, sizeof(why)), ERR_OK);
    assert_int_equal(run_dir_make(conf, why, sizeof(why)), ERR_RANGE);
    assert_non_null(strstr(why, "common.run_dir"));
    conf_free(conf);
    remove_tree(root);
}

static void write_run_file(const char *root, const char *text)
{
    char path[FS_PATH_SIZE];
    snprintf(path, sizeof(path), "%s/run", root);
    assert_int_equal(fs_mkdirs(path, 0700), ERR_OK);
    snprintf(path, sizeof(path), "%s/run/api.json", root);
    assert_int_equal(fs_write_atomic(path, text, strlen(text), 0600), ERR_OK);
}

static void test_run_files_are_read_with_care(void **state)
{
    char root[] = "/tmp/cavage-test-XXXXXX";
    struct conf *conf = make_conf(root, 0);
    struct run_file file;
    (void)state;
    assert_int_equal(run_file_read(conf, "api", &file), ERR_NOTFOUND);
    write_run_file(root, "{\"pid\":1,\"ops\":\"http://127.0.0.1:1\",\"listen\":\"127.0.0.1:8080\",\"more\":[]}");
    assert_int_equal(run_file_read(conf, "api", &file), ERR_OK);
    assert_int_equal(file.pid, 1);
    assert_string_equal(file.ops, "http://127.0.0.1:1");
    assert_string_equal(file.listen, "127.0.0.1:8080");
    assert_false(run_file_alive(&file));
    static const char *const bad[] = {
        "", "{", "[]", "{\"pid\":0}", "{\"pid\":-1}", "{\"pid\":\"1\"}", "{\"pid\":99999999999}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_run_file(root, bad[i]);
        assert_int_equal(run_file_read(conf, "api", &file), ERR_CORRUPT);
    }
    conf_free(conf);
    remove_tree(root);
}

static void put_file(const char *root, const char *name)
{
    char path[FS_PATH_SIZE];
    snprintf(path, sizeof(path), "%s/run/%s", root, name);
    assert_int_equal(fs_write_atomic(path, "{}", 2, 0600), ERR_OK);
}

static void test_instances_are_listed_from_their_run_files(void **state)
{
    char root[] = "/tmp/cavage-test-XXXXXX", why[256] = "", long_name[128];
    char names[4][RUN_FILE_NAME_SIZE];
    struct conf *conf = make_conf(root, 0);
    (void)state;
    assert_int_equal(run_file_instances(conf, names, 4), 0);
    assert_int_equal(run_dir_make(conf, why, sizeof(why)), ERR_OK);
    memset(long_name, 'n', 64);
    memcpy(long_name + 64, ".json", 6);
    const char *const files[] = {"worker2.json", "api.json", "up.json", "api.lock", ".json", "jsonx", long_name};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        put_file(root, files[i]);
    assert_int_equal(run_file_instances(conf, names, 4), 2);
    assert_string_equal(names[0], "api");
    assert_string_equal(names[1], "worker2");
    assert_int_equal(run_file_instances(conf, names, 1), 1);
    conf_free(conf);
    remove_tree(root);
}

static void test_ids_cannot_leave_their_path(void **state)
{
    char path[64];
    (void)state;
    assert_int_equal(admin_path("/v1/customers", "a-1.b", "/keys", path, sizeof(path)), ERR_OK);
    assert_string_equal(path, "/v1/customers/a-1.b/keys");
    static const char *const bad[] = {"", ".", "..", "a/b", "a?b", "a b", "a%2f", "\xc3\xa9", "a\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(admin_path("/v1/customers", bad[i], "", path, sizeof(path)), ERR_INVALID);
    assert_int_equal(admin_path("/v1/customers", "a", "/keys", path, 10), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff_doubles_up_to_its_bound),
        cmocka_unit_test(test_backoff_begins_anew_after_a_long_life),
        cmocka_unit_test(test_environment_overrides_replace),
        cmocka_unit_test(test_run_dir_name_depends_on_folder_and_user),
        cmocka_unit_test(test_short_data_dir_keeps_its_run_dir),
        cmocka_unit_test(test_long_data_dir_gets_a_private_run_dir),
        cmocka_unit_test(test_long_run_dir_of_the_operator_is_refused),
        cmocka_unit_test(test_run_files_are_read_with_care),
        cmocka_unit_test(test_instances_are_listed_from_their_run_files),
        cmocka_unit_test(test_ids_cannot_leave_their_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
