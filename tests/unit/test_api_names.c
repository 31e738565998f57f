/* SPDX-License-Identifier: MIT */
/* Names that are looked up by a thread, with a resolver of the test's own, and what the loop is told. */
#include "names.h"

#include "cavage/clock.h"
#include "cavage/err.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static const int64_t patience_us = 20 * 1000 * 1000;

enum { MANY = 300 };

/* What the resolver answers, by the name's first letter: addresses; "!4" or "!6" where that family has no answer, which is passed over when both are asked for;
 * and with a "+" before them those that another domain has, for a family that is asked for alone. Instead, for 'm': MANY addresses from `many_from` on, in
 * another order each time, and half of them twice. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char answers[128][128];
static atomic_int looked_up;
static atomic_int many_from;

static void answer(char name, const char *text)
{
    pthread_mutex_lock(&lock);
    snprintf(answers[(int)name], sizeof(answers[0]), "%s", text);
    pthread_mutex_unlock(&lock);
}

static void many_address(int number, char *out, size_t size)
{
    snprintf(out, size, "10.%04d", number);
}

static void look_many_up(struct names_found *out)
{
    int from = atomic_load(&many_from), turn = atomic_load(&looked_up) * 7;
    for (int i = 0; i < MANY * 3 / 2; i++)
        many_address(from + (turn + i) % MANY, out->of[out->count++], NAMES_ADDRESS_SIZE);
}

static bool is_wanted(int family, const char *address)
{
    return family == AF_UNSPEC || (strchr(address, ':') != NULL) == (family == AF_INET6);
}

static int lookup(void *arg, const char *host, int family, struct names_found *out)
{
    char text[128], *rest = NULL;
    bool fails[2] = {false, false};
    (void)arg;
    out->count = 0;
    if (host[0] == 'm' && family == AF_UNSPEC)
        look_many_up(out);
    pthread_mutex_lock(&lock);
    memcpy(text, answers[(int)host[0]], sizeof(text));
    pthread_mutex_unlock(&lock);
    for (char *one = strtok_r(text, " ", &rest); one; one = strtok_r(NULL, " ", &rest)) {
        if (one[0] == '!')
            fails[one[1] == '6'] = true;
        else if (one[0] == '+' ? family != AF_UNSPEC && is_wanted(family, one + 1) : is_wanted(family, one))
            snprintf(out->of[out->count++], NAMES_ADDRESS_SIZE, "%s", one + (one[0] == '+'));
    }
    if (family == AF_UNSPEC)
        atomic_fetch_add(&looked_up, 1);
    bool failed = family == AF_UNSPEC ? fails[0] && fails[1] : fails[family == AF_INET6];
    return failed ? ERR_IO : ERR_OK;
}

struct test {
    struct loop *loop;
    struct loop_timer *timer;
    struct names *names;
    char seen[16384]; /* endpoints, each with a space behind it */
    const char *wanted;
    int wanted_look_ups;
    int changes;
    int64_t until_us;
};

static void see(void *arg, const char *endpoint)
{
    struct test *t = arg;
    size_t len = strlen(t->seen);
    snprintf(t->seen + len, sizeof(t->seen) - len, "%s ", endpoint);
}

static void check(struct test *t)
{
    bool seen = !t->wanted || strcmp(t->seen, t->wanted) == 0;
    if ((seen && atomic_load(&looked_up) >= t->wanted_look_ups) || clock_monotonic_us() > t->until_us)
        loop_stop(t->loop);
}

static void on_changed(void *arg)
{
    struct test *t = arg;
    t->changes++;
    t->seen[0] = '\0';
    names_each(t->names, see, t);
    check(t);
}

static void on_timer(void *arg)
{
    struct test *t = arg;
    check(t);
    loop_timer_at(t->timer, clock_monotonic_us() + 1000);
}

static void open_names(struct test *t)
{
    struct names_config config = {.interval_us = 2000, .lookup = lookup, .changed = on_changed, .arg = t};
    *t = (struct test){.until_us = 0};
    atomic_store(&looked_up, 0);
    assert_int_equal(loop_new(&t->loop), ERR_OK);
    assert_int_equal(loop_timer_new(t->loop, on_timer, t, &t->timer), ERR_OK);
    config.loop = t->loop;
    assert_int_equal(names_new(&config, &t->names), ERR_OK);
}

static void start_names(struct test *t, const char *endpoint)
{
    assert_int_equal(names_add(t->names, endpoint), ERR_OK);
    assert_int_equal(names_start(t->names), ERR_OK);
}

static void close_names(struct test *t)
{
    names_stop(t->names);
    loop_timer_free(t->timer);
    loop_free(t->loop);
}

/* Until the loop was told of exactly these, in the order of names and addresses. */
static void expect(struct test *t, const char *endpoints)
{
    t->wanted = endpoints;
    t->until_us = clock_monotonic_us() + patience_us;
    loop_timer_at(t->timer, clock_monotonic_us());
    assert_int_equal(loop_run(t->loop), ERR_OK);
    assert_string_equal(t->seen, endpoints);
}

/* Until so many more look-ups were made, and their outcome handed over. */
static void pass_look_ups(struct test *t, int count)
{
    t->wanted = NULL;
    t->wanted_look_ups = atomic_load(&looked_up) + count;
    t->until_us = clock_monotonic_us() + patience_us;
    loop_timer_at(t->timer, clock_monotonic_us());
    assert_int_equal(loop_run(t->loop), ERR_OK);
    assert_true(atomic_load(&looked_up) >= t->wanted_look_ups);
    t->wanted_look_ups = 0;
}

static void test_addresses_come_and_go(void **state)
{
    (void)state;
    struct test t;
    open_names(&t);
    answer('a', "10.0.0.2 10.0.0.1");
    start_names(&t, "tcp://a.example:7001");
    expect(&t, "tcp://10.0.0.1:7001 tcp://10.0.0.2:7001 ");
    answer('a', "10.0.0.2 fd00::1");
    expect(&t, "tcp://10.0.0.2:7001 tcp://[fd00::1]:7001 ");
    close_names(&t);
}

static void test_failure_and_another_order_change_nothing(void **state)
{
    (void)state;
    struct test t;
    open_names(&t);
    answer('a', "10.0.0.1 10.0.0.2");
    answer('b', "");
    assert_int_equal(names_add(t.names, "tcp://b:2"), ERR_OK);
    start_names(&t, "tcp://a:1");
    expect(&t, "tcp://10.0.0.1:1 tcp://10.0.0.2:1 ");
    answer('a', "10.0.0.2 10.0.0.1");
    pass_look_ups(&t, 6);
    answer('a', "");
    pass_look_ups(&t, 6);
    assert_int_equal(t.changes, 1);
    answer('b', "10.0.0.9");
    expect(&t, "tcp://10.0.0.1:1 tcp://10.0.0.2:1 tcp://10.0.0.9:2 ");
    close_names(&t);
}

static void test_a_family_that_fails_keeps_its_own(void **state)
{
    (void)state;
    struct test t;
    open_names(&t);
    answer('a', "10.0.0.1 !6");
    start_names(&t, "tcp://a:1");
    expect(&t, "tcp://10.0.0.1:1 ");
    answer('a', "10.0.0.1 fd00::1");
    expect(&t, "tcp://10.0.0.1:1 tcp://[fd00::1]:1 ");
    answer('a', "10.0.0.2 !6");
    expect(&t, "tcp://10.0.0.2:1 tcp://[fd00::1]:1 ");
    answer('a', "!4 fd00::2");
    expect(&t, "tcp://10.0.0.2:1 tcp://[fd00::2]:1 ");
    answer('a', "!4 !6");
    pass_look_ups(&t, 6);
    assert_int_equal(t.changes, 4);
    answer('a', "10.0.0.2");
    expect(&t, "tcp://10.0.0.2:1 ");
    close_names(&t);
}

/* The search list, or another source, has more to say when a family is asked for alone. */
static void test_no_other_domain_adds_to_a_name(void **state)
{
    (void)state;
    struct test t;
    open_names(&t);
    answer('a', "10.0.0.1 +fd00::9");
    start_names(&t, "tcp://a:1");
    expect(&t, "tcp://10.0.0.1:1 ");
    answer('a', "10.0.0.1 fd00::1");
    expect(&t, "tcp://10.0.0.1:1 tcp://[fd00::1]:1 ");
    answer('a', "10.0.0.1 +fd00::9");
    expect(&t, "tcp://10.0.0.1:1 ");
    pass_look_ups(&t, 6);
    assert_int_equal(t.changes, 3);
    close_names(&t);
}

/* The endpoints of the many from one number up to another. */
static char *many(int from, int until)
{
    static char text[16384];
    size_t len = 0;
    for (int i = from; i < until; i++) {
        char address[NAMES_ADDRESS_SIZE];
        many_address(i, address, sizeof(address));
        len += (size_t)snprintf(text + len, sizeof(text) - len, "tcp://%s:1 ", address);
    }
    return text;
}

static void test_too_many_addresses_are_cut_where_they_were(void **state)
{
    (void)state;
    struct test t;
    open_names(&t);
    atomic_store(&many_from, 100);
    start_names(&t, "tcp://many:1");
    expect(&t, many(100, 100 + NAMES_ADDRESSES_MAX));
    pass_look_ups(&t, 20);
    assert_int_equal(t.changes, 1);
    /* Ones that come earlier in order take no place of those that are there. */
    atomic_store(&many_from, 90);
    pass_look_ups(&t, 20);
    assert_int_equal(t.changes, 1);
    /* Ten leave, ten others join. */
    atomic_store(&many_from, 110);
    expect(&t, many(110, 110 + NAMES_ADDRESSES_MAX));
    assert_int_equal(t.changes, 2);
    close_names(&t);
}

static void test_stop_with_a_change_on_its_way(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct test t;
        char text[32];
        open_names(&t);
        snprintf(text, sizeof(text), "10.0.1.%d", i);
        answer('c', text);
        start_names(&t, "tcp://c:1");
        close_names(&t); /* the thread may be anywhere; nothing it does may touch the test any more */
    }
}

static void test_system_resolver_knows_localhost(void **state)
{
    (void)state;
    static struct names_found found;
    assert_int_equal(names_lookup(NULL, "localhost", AF_INET, &found), ERR_OK);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.of[0], "127.0.0.1");
    assert_int_equal(names_lookup(NULL, "localhost", AF_UNSPEC, &found), ERR_OK);
    assert_true(found.count >= 1);
    /* Numbers need no server. */
    assert_int_equal(names_lookup(NULL, "::1", AF_UNSPEC, &found), ERR_OK);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.of[0], "::1");
    assert_int_equal(names_lookup(NULL, "127.0.0.1", AF_INET6, &found), ERR_OK);
    assert_int_equal(found.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_come_and_go),
        cmocka_unit_test(test_failure_and_another_order_change_nothing),
        cmocka_unit_test(test_a_family_that_fails_keeps_its_own),
        cmocka_unit_test(test_no_other_domain_adds_to_a_name),
        cmocka_unit_test(test_too_many_addresses_are_cut_where_they_were),
        cmocka_unit_test(test_stop_with_a_change_on_its_way),
        cmocka_unit_test(test_system_resolver_knows_localhost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
