/* SPDX-License-Identifier: MIT */
/* What the tests of the dispatcher have in common. */
#include "dispatch_fixture.h"

#include "cavage/err.h"

struct dispatch *d;
int64_t now_us;
static uint64_t status_sequence;

struct id boot(uint8_t n)
{
    struct id id = {{n, 1}};
    return id;
}

struct dispatch_config config_make(void)
{
    return (struct dispatch_config){.boot = boot(200),
                                    .max_jobs = 100,
                                    .max_queued = 50,
                                    .max_queued_per_customer = 40,
                                    .fifo = true,
                                    .retry_percent = 10,
                                    .hedge_percent = 2};
}

static void start(const struct dispatch_config *config)
{
    size_t peer;
    now_us = 10 * 1000 * MS;
    status_sequence = 0;
    assert_int_equal(dispatch_new(config, &d), ERR_OK);
    for (size_t i = 0; i < PEERS; i++) {
        assert_int_equal(dispatch_peer_add(d, &peer), ERR_OK);
        assert_int_equal(peer, i);
    }
}

void restart(const struct dispatch_config *config)
{
    dispatch_free(d);
    start(config);
}

int dispatch_setup(void **state)
{
    (void)state;
    struct dispatch_config config = config_make();
    start(&config);
    return 0;
}

int dispatch_teardown(void **state)
{
    (void)state;
    dispatch_free(d);
    return 0;
}

struct dispatch_stats stats(void)
{
    struct dispatch_stats s;
    dispatch_stats(d, &s);
    return s;
}

void tick_at(int64_t at_us)
{
    now_us = at_us;
    dispatch_tick(d, now_us);
}

void tick_until(int64_t at_us)
{
    struct dispatch_action action;
    int64_t next_us;
    while ((next_us = dispatch_next_us(d)) < at_us) {
        tick_at(next_us);
        while (dispatch_next(d, &action))
            assert_int_equal(action.type, DISPATCH_HELLO);
    }
    tick_at(at_us);
}

int submit(uint64_t id)
{
    struct dispatch_job job = {.id = id, .customer = 1, .cost_us = 10, .deadline_us = now_us + 10 * 1000 * MS};
    return dispatch_submit(d, now_us, &job);
}

struct dispatch_action send_one(uint64_t id)
{
    assert_int_equal(submit(id), ERR_OK);
    return expect(DISPATCH_SEND, id);
}

struct wire_status status_of(size_t peer, uint8_t worker, uint64_t seen, uint64_t limit)
{
    return (struct wire_status){.worker_boot = boot(worker),
                                .api_boot = boot(200),
                                .link = (uint32_t)peer,
                                .sequence = ++status_sequence,
                                .slots = 4,
                                .seen = seen,
                                .limit = limit};
}

void status(size_t peer, uint8_t worker, uint64_t seen, uint64_t limit)
{
    status_holding(peer, worker, seen, limit, 0, 0);
}

void status_holding(size_t peer, uint8_t worker, uint64_t seen, uint64_t limit, uint64_t first, uint64_t second)
{
    struct wire_status m = status_of(peer, worker, seen, limit);
    if (first > 0)
        m.held[m.held_count++] = first;
    if (second > 0)
        m.held[m.held_count++] = second;
    dispatch_status(d, now_us, &m);
}

void up(size_t peer, uint8_t worker, uint64_t limit)
{
    dispatch_peer_up(d, now_us, peer);
    status(peer, worker, 0, limit);
}

void begin(uint64_t jobs, uint64_t limit)
{
    up(0, 1, limit);
    for (uint64_t id = 1; id <= jobs; id++)
        assert_int_equal(submit(id), ERR_OK);
    for (uint64_t id = 1; id <= jobs && id <= limit; id++)
        expect_send(0, id, id);
}

enum dispatch_verdict result(size_t peer, uint8_t worker, uint64_t job, uint64_t sequence, enum outcome outcome,
                             uint64_t limit)
{
    static struct wire_result m;
    m = (struct wire_result){.sequence = sequence, .job = job, .outcome = outcome};
    m.status = status_of(peer, worker, sequence, limit);
    return dispatch_result(d, now_us, &m);
}

enum dispatch_verdict result_of(const struct dispatch_action *sent, enum outcome outcome)
{
    return result(sent->peer, (uint8_t)(1 + sent->peer), sent->job, sent->sequence, outcome, sent->sequence + 1000);
}

size_t run_job(uint64_t id, int64_t (*taken_us)(size_t peer))
{
    struct dispatch_action sent = send_one(id);

    now_us += taken_us(sent.peer);
    assert_int_equal(result(sent.peer, (uint8_t)(1 + sent.peer), id, sent.sequence, OUTCOME_OK, sent.sequence + 8),
                     DISPATCH_ANSWER);
    return sent.peer;
}

int64_t all_are_quick(size_t peer)
{
    (void)peer;
    return 5 * MS;
}

uint64_t warm_up(uint64_t jobs, int64_t (*taken_us)(size_t peer))
{
    up(0, 1, 8);
    up(1, 2, 8);
    for (uint64_t id = 1; id <= jobs; id++)
        run_job(id, taken_us);
    return jobs;
}

bool next(struct dispatch_action *action)
{
    while (dispatch_next(d, action)) {
        if (action->type != DISPATCH_HELLO)
            return true;
    }
    return false;
}

void expect_nothing(void)
{
    struct dispatch_action action;
    assert_false(next(&action));
}

struct dispatch_action expect_hello(void)
{
    struct dispatch_action action;
    assert_true(dispatch_next(d, &action));
    assert_int_equal(action.type, DISPATCH_HELLO);
    return action;
}

struct dispatch_action expect(enum dispatch_action_type type, uint64_t job)
{
    struct dispatch_action action;
    assert_true(next(&action));
    assert_int_equal(action.type, type);
    assert_int_equal(action.job, job);
    return action;
}

static void expect_at(enum dispatch_action_type type, size_t peer, uint64_t job, uint64_t sequence)
{
    struct dispatch_action action = expect(type, job);
    assert_int_equal(action.peer, peer);
    assert_int_equal(action.sequence, sequence);
}

void expect_send(size_t peer, uint64_t job, uint64_t sequence)
{
    expect_at(DISPATCH_SEND, peer, job, sequence);
}

void expect_cancel(size_t peer, uint64_t job, uint64_t sequence)
{
    expect_at(DISPATCH_CANCEL, peer, job, sequence);
}

void expect_fail(uint64_t job, enum dispatch_failure failure)
{
    assert_int_equal(expect(DISPATCH_FAIL, job).failure, failure);
}

unsigned sends(void)
{
    struct dispatch_action action;
    unsigned n = 0;
    while (next(&action)) {
        assert_int_equal(action.type, DISPATCH_SEND);
        n++;
    }
    return n;
}

void expect_jobs(size_t queued, size_t sent)
{
    assert_int_equal(stats().queued, queued);
    assert_int_equal(stats().sent, sent);
}
