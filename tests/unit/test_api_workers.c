/* SPDX-License-Identifier: MIT */
/* Workers that cannot be connected to at first: they are tried again, and told of once. */
#include "pipeline_parts.h"

#include "cavage/daemon.h"
#include "cavage/err.h"
#include "cavage/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const int64_t patience_us = 20 * 1000 * 1000;

struct test {
    struct conf *conf;
    struct daemon daemon;
    struct api api;
    struct pipeline pipeline;
    struct loop_timer *timer;
    bool (*done)(struct test *t);
    int64_t until_us;
    FILE *log; /* what goes to stderr */
    int stderr_fd;
};

static void capture(struct test *t)
{
    t->log = tmpfile();
    assert_non_null(t->log);
    t->stderr_fd = dup(STDERR_FILENO);
    dup2(fileno(t->log), STDERR_FILENO);
}

static void release(struct test *t)
{
    dup2(t->stderr_fd, STDERR_FILENO);
    close(t->stderr_fd);
    fclose(t->log);
}

/* Lines of an event that were logged so far. */
static int logged(struct test *t, const char *event)
{
    char line[4096], wanted[64];
    int count = 0;
    snprintf(wanted, sizeof(wanted), "\"event\":\"%s\"", event);
    rewind(t->log);
    while (fgets(line, sizeof(line), t->log))
        count += strstr(line, wanted) != NULL;
    return count;
}

static void on_timer(void *arg)
{
    struct test *t = arg;
    if (t->done(t) || clock_monotonic_us() > t->until_us)
        loop_stop(t->pipeline.loop);
    loop_timer_at(t->timer, clock_monotonic_us() + 1000);
}

static void wait_until(struct test *t, bool (*done)(struct test *t))
{
    t->done = done;
    t->until_us = clock_monotonic_us() + patience_us;
    loop_timer_at(t->timer, clock_monotonic_us());
    assert_int_equal(loop_run(t->pipeline.loop), ERR_OK);
    assert_true(done(t));
}

static void open_pipeline(struct test *t)
{
    struct dispatch_config config = {.max_jobs = 1, .max_queued = 1, .max_queued_per_customer = 1};
    char why[256];
    struct pipeline *p = &t->pipeline;
    *t = (struct test){0};
    assert_int_equal(conf_new(&t->conf), ERR_OK);
    /* A name, and not an address; one that the resolver reads as 127.0.0.1 without asking a server. */
    assert_int_equal(conf_set(t->conf, CONF_API_WORKERS, "tcp://0x7f000001:7001", "test", why, sizeof(why)), ERR_OK);
    t->daemon.conf = t->conf;
    t->api.daemon = &t->daemon;
    p->api = &t->api;
    assert_int_equal(loop_new(&p->loop), ERR_OK);
    assert_int_equal(loop_timer_new(p->loop, on_timer, t, &t->timer), ERR_OK);
    id_random(&config.boot);
    assert_int_equal(dispatch_new(&config, &p->dispatch), ERR_OK);
    capture(t);
}

static void open_seal(struct pipeline *p)
{
    struct seal_keys keys = {.count = 1, .of = {{.id = 1}}};
    struct id boot;
    id_random(&boot);
    assert_int_equal(seal_new(&boot, &keys, 16, &p->seal), ERR_OK);
}

static void close_pipeline(struct test *t)
{
    release(t);
    pipeline_stop_workers(&t->pipeline);
    loop_timer_free(t->timer);
    dispatch_free(t->pipeline.dispatch);
    seal_free(t->pipeline.seal);
    loop_free(t->pipeline.loop);
    conf_free(t->conf);
}

static bool tried_thrice(struct test *t)
{
    return t->pipeline.backoff.failures >= 3;
}

static bool connects(struct test *t)
{
    return t->pipeline.place_count > 0 && t->pipeline.places[0].peer != NULL;
}

static void test_place_that_could_not_be_opened_is_tried_again(void **state)
{
    (void)state;
    struct test t;
    open_pipeline(&t);
    /* Nothing goes over tcp without a seal: the address is refused, though all look-ups agree. */
    assert_int_equal(pipeline_start_workers(&t.pipeline), ERR_OK);
    wait_until(&t, tried_thrice);
    assert_false(connects(&t));
    int failed = logged(&t, "worker_failed");
    assert_true(failed > 0);
    assert_int_equal(failed, t.pipeline.place_count);
    open_seal(&t.pipeline);
    wait_until(&t, connects);
    assert_int_equal(logged(&t, "worker_failed"), failed);
    assert_int_equal(logged(&t, "worker_listed"), t.pipeline.place_count);
    close_pipeline(&t);
}

static void test_address_without_a_place_gets_the_next_one(void **state)
{
    (void)state;
    struct test t;
    size_t index;
    open_pipeline(&t);
    open_seal(&t.pipeline);
    while (dispatch_peer_add(t.pipeline.dispatch, &index) == ERR_OK)
        ;
    assert_int_equal(pipeline_start_workers(&t.pipeline), ERR_OK);
    wait_until(&t, tried_thrice);
    assert_int_equal(logged(&t, "too_many_workers"), 1);
    assert_true(t.pipeline.left_out > 0);
    t.pipeline.place_count = DISPATCH_PEERS_MAX; /* all of them closed by now */
    wait_until(&t, connects);
    assert_int_equal(logged(&t, "too_many_workers"), 1);
    assert_int_equal(logged(&t, "workers_fit"), 1);
    close_pipeline(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_place_that_could_not_be_opened_is_tried_again),
        cmocka_unit_test(test_address_without_a_place_gets_the_next_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
