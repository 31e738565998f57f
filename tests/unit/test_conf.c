/* SPDX-License-Identifier: MIT */
/* The configuration: its table, its sources, their order, and what each refuses. */
#include "cavage/conf.h"
#include "cavage/err.h"
#include "cavage/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char why[512];

static struct conf *fresh(void)
{
    struct conf *conf = NULL;
    assert_int_equal(conf_new(&conf), ERR_OK);
    why[0] = '\0';
    return conf;
}

static int read_text(struct conf *conf, const char *text)
{
    return conf_read_text(conf, "test.conf", text, why, sizeof(why));
}

/* Upper-case "CAVAGE_SECTION_NAME". */
static void env_name(const struct conf_key *key, char *out, size_t size)
{
    snprintf(out, size, "CAVAGE_%s_%s", key->section, key->name);
    for (char *next = out; *next != '\0'; next++)
        if (*next >= 'a' && *next <= 'z')
            *next = (char)(*next - 'a' + 'A');
}

static void test_table_is_sound(void **state)
{
    (void)state;
    struct conf *conf = fresh();
    for (int i = 0; i < CONF_COUNT; i++) {
        const struct conf_key *key = conf_key((enum conf_id)i);
        char dotted[64];
        enum conf_id found = CONF_COUNT;
        assert_non_null(key->section);
        assert_non_null(key->name);
        /* The environment's names are told apart by this. */
        assert_null(strchr(key->section, '_'));
        snprintf(dotted, sizeof(dotted), "%s.%s", key->section, key->name);
        assert_int_equal(conf_find(dotted, &found), ERR_OK);
        assert_int_equal(found, i);
        assert_int_equal(key->help[strlen(key->help) - 1], '.');
        assert_string_equal(conf_str(conf, (enum conf_id)i), key->def);
        assert_string_equal(conf_origin(conf, (enum conf_id)i), "default");
        size_t len = strlen(key->name);
        bool is_ms = len > 3 && strcmp(key->name + len - 3, "_ms") == 0;
        bool is_bytes = len > 6 && strcmp(key->name + len - 6, "_bytes") == 0;
        assert_int_equal(is_ms, key->type == CONF_DURATION);
        assert_int_equal(is_bytes, key->type == CONF_SIZE);
    }
    conf_free(conf);
}

static void test_defaults_are_the_promised_ones(void **state)
{
    (void)state;
    struct conf *conf = fresh();
    assert_int_equal(conf_int(conf, CONF_API_MAX_BODY_BYTES), 32 << 20);
    assert_int_equal(conf_int(conf, CONF_LIMITS_PIXELS_IN), 100000000);
    assert_int_equal(conf_format(conf, CONF_LIMITS_PIXELS_OUT, IMAGE_AVIF), 40000000);
    assert_int_equal(conf_int(conf, CONF_STAGING_BUDGET_BYTES), 512 << 20);
    assert_int_equal(conf_int(conf, CONF_STAGING_CUSTOMER_PERCENT), 25);
    assert_int_equal(conf_int(conf, CONF_API_MAX_CONNECTIONS), 1024);
    assert_int_equal(conf_int(conf, CONF_API_REQUEST_DEADLINE_MS), 10000);
    assert_int_equal(conf_int(conf, CONF_API_DISCARD_BYTES), 1 << 20);
    assert_int_equal(conf_int(conf, CONF_API_DISCARD_MS), 1000);
    assert_int_equal(conf_int(conf, CONF_QUEUE_RETRY_PERCENT), 10);
    assert_int_equal(conf_int(conf, CONF_QUEUE_HEDGE_PERCENT), 2);
    assert_int_equal(conf_int(conf, CONF_API_ALLOW_PUBLIC_PLAINTEXT), 0);
    assert_string_equal(conf_str(conf, CONF_API_LISTEN), "127.0.0.1:8080");
    assert_int_equal(conf_int(conf, CONF_COMMON_LOG_LEVEL), 2);
    conf_free(conf);
}

static void test_file_sets_keys(void **state)
{
    (void)state;
    struct conf *conf = fresh();
    const char *text =
        "\xef\xbb\xbf# a comment\n; another\n[api]\r\nthreads = 3\r\n  listen=0.0.0.0:80\nkeepalive_ms : 2m\n\n"
        "[staging]\nbudget_bytes = 1G\n[queue]\ndiscipline = fifo\n[api]\nallow_public_plaintext = yes";
    assert_int_equal(read_text(conf, text), ERR_OK);
    assert_int_equal(conf_int(conf, CONF_API_THREADS), 3);
    assert_string_equal(conf_str(conf, CONF_API_LISTEN), "0.0.0.0:80");
    assert_string_equal(conf_origin(conf, CONF_API_LISTEN), "test.conf:5");
    assert_int_equal(conf_int(conf, CONF_API_KEEPALIVE_MS), 120000);
    assert_int_equal(conf_int(conf, CONF_STAGING_BUDGET_BYTES), 1 << 30);
    assert_int_equal(conf_int(conf, CONF_QUEUE_DISCIPLINE), 1);
    assert_int_equal(conf_int(conf, CONF_API_ALLOW_PUBLIC_PLAINTEXT), 1);
    assert_int_equal(read_text(conf, ""), ERR_OK);
    conf_free(conf);
}

struct refusal {
    const char *text;
    int err;
    const char *why; /* how the explanation begins */
};

static const struct refusal refusals[] = {
    {"[queue]\nmax = 3\n", ERR_INVALID,
     "test.conf:2: queue.max: no such key; [queue] has discipline, max_jobs, customer_max_jobs, target_ms, "
     "large_target_ms, large_percent, retry_percent, hedge_percent"},
    {"[apis]\nthreads = 3\n", ERR_INVALID,
     "test.conf:2: apis.threads: no such key; the sections are common, api, staging, queue, limits, worker, "},
    {"threads = 3\n", ERR_INVALID, "test.conf:1: threads: a [section] has to come first"},
    {"[api]\n\nthreads = 65\n", ERR_RANGE, "test.conf:3: api.threads: '65' is out of range; allowed: 0 to 64"},
    {"[api]\nthreads = -1\n", ERR_INVALID, "test.conf:2: api.threads: '-1' is no number"},
    {"[api]\nthreads =\n", ERR_INVALID, "test.conf:2: api.threads: '' is no number"},
    {"[api]\nthreads = 3 ; three\n", ERR_INVALID, "test.conf:2: api.threads: a comment needs a line of its own"},
    {"[api]\nthreads = 3 # three\n", ERR_INVALID, "test.conf:2: api.threads: a comment needs a line of its own"},
    {"[api]\nthreads = 3K\n", ERR_INVALID, "test.conf:2: api.threads: '3K' is no number"},
    {"[api]\nthreads = 3\nthreads = 3\n", ERR_INVALID, "test.conf:3: api.threads: given already in line 2"},
    {"[api]\nthreads = 3\n 4\n", ERR_INVALID, "test.conf:3: neither a comment"},
    {"[api]\nmax_body_bytes = 99999999999999999999\n", ERR_RANGE, "test.conf:2: api.max_body_bytes: '9999"},
    {"[api]\nmax_body_bytes = 9223372036854775807G\n", ERR_RANGE, "test.conf:2: api.max_body_bytes: '9223"},
    {"[api]\nmax_body_bytes = 32MB\n", ERR_INVALID,
     "test.conf:2: api.max_body_bytes: '32MB' is no number of the form "
     "wanted; allowed: 1K to 1G"},
    {"[api]\nkeepalive_ms = 0us\n", ERR_RANGE,
     "test.conf:2: api.keepalive_ms: '0us' is out of range; allowed: 1ms to 1h"},
    {"[api]\nkeepalive_ms = 500us\n", ERR_RANGE,
     "test.conf:2: api.keepalive_ms: '500us' is out of range; allowed: 1ms to 1h"},
    {"[api]\nkeepalive_ms = 3600000001us\n", ERR_RANGE,
     "test.conf:2: api.keepalive_ms: '3600000001us' is out of range"},
    {"[api]\nallow_public_plaintext = true\n", ERR_INVALID,
     "test.conf:2: api.allow_public_plaintext: 'true' is not known; "
     "allowed: yes or no"},
    {"[queue]\ndiscipline = lifo\n", ERR_INVALID,
     "test.conf:2: queue.discipline: 'lifo' is not known; allowed: drr or fifo"},
    {"[queue]\ndiscipline = drr|fifo\n", ERR_INVALID, "test.conf:2: queue.discipline: 'drr|fifo' is not known"},
    {"[queue]\ndiscipline = dr\n", ERR_INVALID, "test.conf:2: queue.discipline: 'dr' is not known"},
    {"[api]\nlisten = example.com:80\n", ERR_INVALID,
     "test.conf:2: api.listen: 'example.com:80' is no listening address; allowed: HOST:PORT with a numeric host or "
     "localhost"},
    {"[api]\nworkers = tcp://10.0.0.1\n", ERR_INVALID, "test.conf:2: api.workers: 'tcp://10.0.0.1' is no endpoint"},
    {"[api]\nworkers = tcp://10.0.0.1:0\n", ERR_INVALID, "test.conf:2: api.workers: 'tcp://10.0.0.1:0' is no endpoint"},
    {"[api]\nworkers = tcp://::1:7001\n", ERR_INVALID, "test.conf:2: api.workers: 'tcp://::1:7001' is no endpoint"},
    {"[api]\nworkers = tcp://a_b:7001\n", ERR_INVALID, "test.conf:2: api.workers: 'tcp://a_b:7001' is no endpoint"},
    {"[worker]\nlisten = tcp://worker.example:7001\n", ERR_INVALID,
     "test.conf:2: worker.listen: 'tcp://worker.example:7001' is no endpoint for this key; allowed: ipc://NAME or "
     "tcp://HOST:PORT with a numeric host"},
    {"[worker]\nlisten = udp://10.0.0.1:7001\n", ERR_INVALID,
     "test.conf:2: worker.listen: 'udp://10.0.0.1:7001' is no"},
    {"[api]\nworkers = ipc://a /b\n", ERR_INVALID, "test.conf:2: api.workers: '/b' is no endpoint"},
    {"[api]\nworkers = ipc://\n", ERR_INVALID, "test.conf:2: api.workers: 'ipc://' is no endpoint"},
    {"[api]\nworkers =\n", ERR_RANGE, "test.conf:2: api.workers: 0 endpoints are given; allowed: 1 to 256"},
    {"[api]\nresults = ipc://a ipc://b ipc://c\n", ERR_RANGE,
     "test.conf:2: api.results: 3 endpoints are given; allowed: 1 to 2"},
    {"[common]\ndata_dir =\n", ERR_RANGE, "test.conf:2: common.data_dir: the value has 0 bytes; allowed: 1 to 1024"},
    {"[common]\ndata_dir = a\x01z\n", ERR_INVALID, "test.conf:2: common.data_dir: the value holds control characters"},
    {"[common]\ndata_dir = a\xff\n", ERR_INVALID,
     "test.conf:2: common.data_dir: the value holds control characters or is not UTF-8"},
    {"[api\nthreads = 3\n", ERR_INVALID, "test.conf:1: neither a comment, a [section] nor key = value"},
    {"[api]\nthreads\n", ERR_INVALID, "test.conf:2: neither a comment, a [section] nor key = value"},
};

static void test_file_is_refused_with_line_key_and_what_is_allowed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct conf *conf = fresh();
        int err = read_text(conf, refusals[i].text);
        if (err != refusals[i].err || strncmp(why, refusals[i].why, strlen(refusals[i].why)) != 0)
            fail_msg("%s: %d: %s", refusals[i].text, err, why);
        conf_free(conf);
    }
}

static void test_durations_scale_and_round_up(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int64_t ms;
    } cases[] = {{"250", 250}, {"1000us", 1}, {"1001us", 2}, {"7ms", 7}, {"3s", 3000}, {"2m", 120000}, {"1h", 3600000}};
    struct conf *conf = fresh();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(conf_set(conf, CONF_API_KEEPALIVE_MS, cases[i].text, "test", why, sizeof(why)), ERR_OK);
        assert_int_equal(conf_int(conf, CONF_API_KEEPALIVE_MS), cases[i].ms);
        assert_string_equal(conf_str(conf, CONF_API_KEEPALIVE_MS), cases[i].text);
    }
    assert_int_equal(conf_set(conf, CONF_API_DRAIN_MS, "1us", "test", why, sizeof(why)), ERR_OK);
    assert_int_equal(conf_int(conf, CONF_API_DRAIN_MS), 1);
    conf_free(conf);
}

/* Build "[api]\nworkers = ipc://aaa…\n" with a value of value_len bytes. */
static char *long_line(size_t value_len)
{
    static const char head[] = "[api]\nworkers = ";
    char *text = malloc(sizeof(head) + value_len + 1);
    assert_non_null(text);
    memcpy(text, head, sizeof(head) - 1);
    memset(text + sizeof(head) - 1, 'a', value_len);
    memcpy(text + sizeof(head) - 1, "ipc://", 6);
    memcpy(text + sizeof(head) - 1 + value_len, "\n", 2);
    return text;
}

static void test_long_lines_are_taken_whole_or_refused(void **state)
{
    (void)state;
    struct conf *conf = fresh();
    char *text = long_line(CONF_VALUE_MAX);
    assert_int_equal(read_text(conf, text), ERR_OK);
    assert_int_equal(strlen(conf_str(conf, CONF_API_WORKERS)), CONF_VALUE_MAX);
    free(text);
    const size_t too_long[] = {CONF_VALUE_MAX + 1, CONF_VALUE_MAX + 1000, CONF_VALUE_MAX + 1024, 40 * CONF_VALUE_MAX};
    for (size_t i = 0; i < sizeof(too_long) / sizeof(too_long[0]); i++) {
        text = long_line(too_long[i]);
        assert_int_equal(read_text(conf, text), ERR_RANGE);
        assert_memory_equal(why, "test.conf:2: ", 13);
        assert_non_null(strstr(why, "too long"));
        assert_int_equal(strlen(conf_str(conf, CONF_API_WORKERS)), CONF_VALUE_MAX);
        free(text);
    }
    conf_free(conf);
}

static void test_failed_set_keeps_the_value_and_echoes_little(void **state)
{
    (void)state;
    struct conf *conf = fresh();
    char small[16];
    char huge[4000];
    memset(huge, '9', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    assert_int_equal(conf_set(conf, CONF_API_THREADS, huge, "--threads", why, sizeof(why)), ERR_RANGE);
    assert_true(strlen(why) < 200);
    assert_int_equal(conf_set(conf, CONF_API_THREADS, "x", "--threads", small, sizeof(small)), ERR_INVALID);
    assert_string_equal(small, "--threads: api.");
    assert_string_equal(conf_str(conf, CONF_API_THREADS), "0");
    assert_string_equal(conf_origin(conf, CONF_API_THREADS), "default");
    conf_free(conf);
}

static void test_environment_overrides_the_file(void **state)
{
    (void)state;
    struct conf *conf = fresh();
    char *const env[] = {(char[]){"PATH=/bin"},
                         (char[]){"CAVAGE_API_THREADS=5"},
                         (char[]){"CAVAGE_CONFIG=/x"},
                         (char[]){"CAVAGE_TEST_ANY_THING=1"},
                         (char[]){"CAVAGE_BIN=/bin"},
                         (char[]){"CAVAGE_API_MAX_BODY_BYTES=2M"},
                         (char[]){"CAVAGE_NO_EQUALS_SIGN"},
                         NULL};
    assert_int_equal(read_text(conf, "[api]\nthreads = 3\nmax_connections = 9\n"), ERR_OK);
    assert_int_equal(conf_read_env(conf, env, why, sizeof(why)), ERR_OK);
    assert_int_equal(conf_int(conf, CONF_API_THREADS), 5);
    assert_string_equal(conf_origin(conf, CONF_API_THREADS), "environment");
    assert_int_equal(conf_int(conf, CONF_API_MAX_BODY_BYTES), 2 << 20);
    assert_int_equal(conf_int(conf, CONF_API_MAX_CONNECTIONS), 9);
    conf_free(conf);
}

static void test_environment_names_each_key(void **state)
{
    (void)state;
    for (int i = 0; i < CONF_COUNT; i++) {
        struct conf *conf = fresh();
        const struct conf_key *key = conf_key((enum conf_id)i);
        char variable[256];
        env_name(key, variable, sizeof(variable));
        size_t len = strlen(variable);
        snprintf(variable + len, sizeof(variable) - len, "=%s", key->def);
        char *const env[] = {variable, NULL};
        assert_int_equal(conf_read_env(conf, env, why, sizeof(why)), ERR_OK);
        assert_string_equal(conf_origin(conf, (enum conf_id)i), "environment");
        conf_free(conf);
    }
}

static void test_environment_that_names_no_key_is_refused(void **state)
{
    (void)state;
    const char *const variables[] = {
        "CAVAGE_API_THREAD=1",
        "CAVAGE_APII_THREADS=1",
        "CAVAGE_api_threads=1",
        "CAVAGE_TESTS_X=1",
        "CAVAGE__=1",
        "CAVAGE_API_=1",
        "CAVAGE_API_THREADS_AND_A_NAME_THAT_IS_LONGER_THAN_ANY_KEY_COULD_EVER_REASONABLY_BE=1"};
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        struct conf *conf = fresh();
        char variable[128];
        snprintf(variable, sizeof(variable), "%s", variables[i]);
        char *const env[] = {variable, NULL};
        assert_int_equal(conf_read_env(conf, env, why, sizeof(why)), ERR_INVALID);
        assert_memory_equal(why, "environment: CAVAGE_", 20);
        conf_free(conf);
    }
    struct conf *conf = fresh();
    char *const env[] = {(char[]){"CAVAGE_API_THREADS=1000"}, NULL};
    assert_int_equal(conf_read_env(conf, env, why, sizeof(why)), ERR_RANGE);
    assert_string_equal(why, "environment: api.threads: '1000' is out of range; allowed: 0 to 64");
    conf_free(conf);
}

static void test_paths_and_addresses_are_placed(void **state)
{
    (void)state;
    struct conf *conf = fresh();
    char out[FS_PATH_SIZE];
    assert_int_equal(conf_set(conf, CONF_COMMON_DATA_DIR, "/srv/c", "test", why, sizeof(why)), ERR_OK);
    assert_int_equal(conf_path(conf, CONF_COMMON_DATA_DIR, out, sizeof(out)), ERR_OK);
    assert_string_equal(out, "/srv/c");
    assert_int_equal(conf_path(conf, CONF_COMMON_HASH_KEY_FILE, out, sizeof(out)), ERR_OK);
    assert_string_equal(out, "/srv/c/secret/hash.key");
    assert_int_equal(conf_path(conf, CONF_COMMON_HASH_KEY_FILE, out, 22), ERR_RANGE);
    assert_int_equal(conf_address(conf, "ipc://jobs.sock", out, sizeof(out)), ERR_OK);
    assert_string_equal(out, "ipc:///srv/c/run/jobs.sock");
    assert_int_equal(conf_address(conf, "ipc:///run/x.sock", out, sizeof(out)), ERR_OK);
    assert_string_equal(out, "ipc:///run/x.sock");
    assert_int_equal(conf_address(conf, "tcp://127.0.0.1:9", out, sizeof(out)), ERR_OK);
    assert_string_equal(out, "tcp://127.0.0.1:9");
    assert_int_equal(conf_address(conf, "tcp://localhost:9", out, sizeof(out)), ERR_OK);
    assert_string_equal(out, "tcp://127.0.0.1:9");
    assert_int_equal(conf_address(conf, "tcp://127.0.0.1:9", out, 17), ERR_RANGE);
    assert_int_equal(conf_address(conf, "tcp://", out, sizeof(out)), ERR_INVALID);
    assert_int_equal(conf_address(conf, "udp://127.0.0.1:9", out, sizeof(out)), ERR_INVALID);
    assert_int_equal(conf_address(conf, "ipc://", out, sizeof(out)), ERR_INVALID);
    assert_int_equal(conf_address(conf, "", out, sizeof(out)), ERR_INVALID);
    assert_int_equal(conf_address(conf, "ipc://jobs.sock", out, 6), ERR_RANGE);
    assert_int_equal(conf_address(conf, "ipc://jobs.sock", out, 20), ERR_RANGE);
    conf_free(conf);
}

static void test_ipc_paths_stay_under_100_bytes(void **state)
{
    (void)state;
    struct conf *conf = fresh();
    char address[128] = "ipc:///";
    char out[FS_PATH_SIZE];
    memset(address + 7, 'p', 98);
    assert_int_equal(conf_address(conf, address, out, sizeof(out)), ERR_OK);
    assert_int_equal(strlen(out), 6 + 99);
    address[7 + 98] = 'p';
    assert_int_equal(conf_address(conf, address, out, sizeof(out)), ERR_RANGE);
    conf_free(conf);
}

static void test_keys_that_bound_each_other_are_checked(void **state)
{
    (void)state;
    const struct refusal cases[] = {
        {"", ERR_OK, ""},
        {"[staging]\nextent_bytes = 1M\nbudget_bytes = 1M\n", ERR_OK, ""},
        {"[staging]\nextent_bytes = 65000\n", ERR_RANGE,
         "test.conf:2: staging.extent_bytes: '65000' is no power of two"},
        {"[staging]\nextent_bytes = 2M\nbudget_bytes = 1M\n", ERR_RANGE,
         "test.conf:2: staging.extent_bytes: '2M' is larger than staging.budget_bytes, which is '1M'"},
        {"[api]\nlisten = localhost:80\n", ERR_OK, ""},
        {"[api]\nlisten = 0.0.0.0:80\n", ERR_INVALID,
         "test.conf:2: api.listen: '0.0.0.0:80' is not a loopback address"},
        {"[api]\nlisten = [::]:80\nallow_public_plaintext = yes\n", ERR_OK, ""},
        {"[worker]\nconverter = sleep:exp:100ms\n", ERR_OK, ""},
        {"[worker]\nconverter = sleep\n", ERR_INVALID,
         "test.conf:2: worker.converter: 'sleep' is not known; allowed: vips, sleep:TIME"},
        {"[worker]\nconverter = sleep:601s\n", ERR_RANGE, "test.conf:2: worker.converter: 'sleep:601s' is not known"},
        {"[api]\nworkers = tcp://10.0.0.1:7001 tcp://[fd00::1]:7001\nresults = tcp://0.0.0.0:7101 "
         "tcp://10.0.0.9:7101\n",
         ERR_OK, ""},
        {"[api]\nworkers = tcp://10.0.0.1:7001\nresults = tcp://0.0.0.0:7101\n", ERR_INVALID,
         "test.conf:3: api.results: workers cannot send to 'tcp://0.0.0.0:7101'"},
        {"[api]\nworkers = tcp://10.0.0.1:7001\n", ERR_INVALID, "default: api.results: 'ipc://"},
        {"[api]\nresults = tcp://10.0.0.1:7001\n", ERR_INVALID,
         "test.conf:2: api.results: 'tcp://10.0.0.1:7001' cannot be reached by the worker at 'ipc://"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf *conf = fresh();
        assert_int_equal(read_text(conf, cases[i].text), ERR_OK);
        int err = conf_check(conf, why, sizeof(why));
        if (err != cases[i].err || strncmp(why, cases[i].why, strlen(cases[i].why)) != 0)
            fail_msg("%s: %d: %s", cases[i].text, err, why);
        conf_free(conf);
    }
}

static void test_stub_converters_are_for_tests(void **state)
{
    (void)state;
    struct conf *conf = fresh();
    assert_int_equal(conf_check_untested(conf, why, sizeof(why)), ERR_OK);
    assert_int_equal(read_text(conf, "[worker]\nconverter = sleep:0\n"), ERR_OK);
    assert_int_equal(conf_check(conf, why, sizeof(why)), ERR_OK);
    assert_int_equal(conf_check_untested(conf, why, sizeof(why)), ERR_INVALID);
    assert_string_equal(
        why, "test.conf:2: worker.converter: 'sleep:0' converts nothing: it is for load tests, and needs --test");
    conf_free(conf);
}

static void test_body_limit_is_the_least_of_its_bounds(void **state)
{
    (void)state;
    struct conf *conf = fresh();
    assert_int_equal(conf_body_limit(conf), 32 << 20);
    assert_int_equal(read_text(conf, "[staging]\nbudget_bytes = 10M\nextent_bytes = 1M\ncustomer_percent = 25\n"),
                     ERR_OK);
    assert_int_equal(conf_body_limit(conf), 2 << 20);
    assert_int_equal(read_text(conf, "[staging]\ncustomer_percent = 1\n"), ERR_OK);
    assert_int_equal(conf_body_limit(conf), 1 << 20);
    conf_free(conf);
}

static void count_told(void *arg, const struct conf_key *key)
{
    int *told = arg;
    assert_string_equal(key->name, "threads");
    (*told)++;
}

static void test_reload_takes_only_reloadable_keys(void **state)
{
    (void)state;
    struct conf *conf = fresh();
    struct conf *next = fresh();
    int told = 0;
    assert_int_equal(read_text(next, "[api]\nthreads = 3\n[common]\nlog_level = debug\n"), ERR_OK);
    assert_int_equal(conf_reload(conf, next, count_told, &told), ERR_OK);
    conf_free(next);
    assert_int_equal(told, 1);
    assert_int_equal(conf_int(conf, CONF_API_THREADS), 0);
    assert_int_equal(conf_int(conf, CONF_COMMON_LOG_LEVEL), 3);
    assert_string_equal(conf_str(conf, CONF_COMMON_LOG_LEVEL), "debug");
    assert_string_equal(conf_origin(conf, CONF_COMMON_LOG_LEVEL), "test.conf:4");
    conf_free(conf);
}

static void write_file(const char *path, const void *data, size_t len)
{
    assert_int_equal(fs_write_atomic(path, data, len, 0600), ERR_OK);
}

static void test_files_are_bounded_and_text(void **state)
{
    (void)state;
    char path[] = "/tmp/cvg-conf-XXXXXX";
    struct conf *conf = fresh();
    close(mkstemp(path));
    write_file(path, "[api]\nthreads = 3\n", 18);
    assert_int_equal(conf_read_file(conf, path, why, sizeof(why)), ERR_OK);
    assert_int_equal(conf_int(conf, CONF_API_THREADS), 3);
    write_file(path, "[api]\n\0threads = 4\n", 19);
    assert_int_equal(conf_read_file(conf, path, why, sizeof(why)), ERR_INVALID);
    char *big = malloc(CONF_FILE_MAX + 1);
    assert_non_null(big);
    memset(big, '\n', CONF_FILE_MAX + 1);
    write_file(path, big, CONF_FILE_MAX);
    assert_int_equal(conf_read_file(conf, path, why, sizeof(why)), ERR_OK);
    write_file(path, big, CONF_FILE_MAX + 1);
    assert_int_equal(conf_read_file(conf, path, why, sizeof(why)), ERR_RANGE);
    free(big);
    unlink(path);
    assert_int_equal(conf_read_file(conf, path, why, sizeof(why)), ERR_NOTFOUND);
    assert_non_null(strstr(why, path));
    conf_free(conf);
}

/* What a printer writes, NUL-terminated; the caller frees. */
static char *printed(void (*print)(FILE *out))
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    print(out);
    fclose(out);
    return text;
}

/* With the # of its key lines taken away the sample is a file that sets every key to its default. */
static void test_sample_sets_every_key_to_its_default(void **state)
{
    (void)state;
    struct conf *conf = fresh();
    char *sample = printed(conf_print_sample);
    char *out = sample;
    for (const char *in = sample; *in != '\0'; in++)
        if (!(*in == '#' && in[1] >= 'a' && in[1] <= 'z'))
            *out++ = *in;
    *out = '\0';
    assert_int_equal(read_text(conf, sample), ERR_OK);
    for (int i = 0; i < CONF_COUNT; i++) {
        assert_string_equal(conf_str(conf, (enum conf_id)i), conf_key((enum conf_id)i)->def);
        assert_string_not_equal(conf_origin(conf, (enum conf_id)i), "default");
    }
    free(sample);
    conf_free(conf);
}

static void test_committed_sample_is_the_printed_one(void **state)
{
    (void)state;
    static char committed[64 * 1024];
    size_t len;
    char *sample = printed(conf_print_sample);
    /* Tests run in the repository's folder. `make sample` writes the file anew. */
    int err = fs_read("conf/cavage.conf", committed, sizeof(committed), &len);
    bool same = err == ERR_OK && strcmp(committed, sample) == 0;
    free(sample);
    assert_int_equal(err, ERR_OK);
    assert_true(same);
}

static void test_manual_and_show_name_every_key(void **state)
{
    (void)state;
    struct conf *conf = fresh();
    char *manual = printed(conf_print_manual);
    char *shown = NULL;
    size_t len;
    FILE *out = open_memstream(&shown, &len);
    assert_non_null(out);
    conf_print(conf, out);
    fclose(out);
    for (int i = 0; i < CONF_COUNT; i++) {
        const struct conf_key *key = conf_key((enum conf_id)i);
        char line[256];
        snprintf(line, sizeof(line), ".It Cm %s\n", key->name);
        assert_non_null(strstr(manual, line));
        snprintf(line, sizeof(line), "%s.%s = %s (default)\n", key->section, key->name, key->def);
        assert_non_null(strstr(shown, line));
    }
    free(manual);
    free(shown);
    conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_sound),
        cmocka_unit_test(test_defaults_are_the_promised_ones),
        cmocka_unit_test(test_file_sets_keys),
        cmocka_unit_test(test_file_is_refused_with_line_key_and_what_is_allowed),
        cmocka_unit_test(test_durations_scale_and_round_up),
        cmocka_unit_test(test_long_lines_are_taken_whole_or_refused),
        cmocka_unit_test(test_failed_set_keeps_the_value_and_echoes_little),
        cmocka_unit_test(test_environment_overrides_the_file),
        cmocka_unit_test(test_environment_names_each_key),
        cmocka_unit_test(test_environment_that_names_no_key_is_refused),
        cmocka_unit_test(test_paths_and_addresses_are_placed),
        cmocka_unit_test(test_ipc_paths_stay_under_100_bytes),
        cmocka_unit_test(test_keys_that_bound_each_other_are_checked),
        cmocka_unit_test(test_stub_converters_are_for_tests),
        cmocka_unit_test(test_body_limit_is_the_least_of_its_bounds),
        cmocka_unit_test(test_reload_takes_only_reloadable_keys),
        cmocka_unit_test(test_files_are_bounded_and_text),
        cmocka_unit_test(test_sample_sets_every_key_to_its_default),
        cmocka_unit_test(test_committed_sample_is_the_printed_one),
        cmocka_unit_test(test_manual_and_show_name_every_key),
    };
    return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
