# SPDX-License-Identifier: MIT
"""More requests than converters: who is refused, how, and for how long. Converters sleep, so that only waiting counts."""

import threading

import pytest

import images
from harness import PATIENCE_S, wait_until
from load import Load

pytestmark = pytest.mark.tsan
SMALL = images.encoded("jpeg", 40, 30)
WAITS = 'cavage_admission_refusals_total', 'check="wait"'


def make(make_system, sleep, converters=2, workers=1, **env):
    return make_system(
        workers=workers, converters=converters, test_mode=True,
        env={"CAVAGE_WORKER_CONVERTER": f"sleep:{sleep}", "CAVAGE_QUEUE_TARGET_MS": "300ms", "CAVAGE_QUEUE_LARGE_TARGET_MS": "1m",
             "CAVAGE_API_REQUEST_DEADLINE_MS": "60000", **env},
    )


def large_image():
    """A JPEG of more than 1 MB: what follows its end is not looked at."""
    return SMALL + bytes(1_000_000)


def post_later(system, key, body, done):
    """Send in a thread of its own; the answer's status is appended to `done`."""

    def run():
        answer = system.post("/v1/resize?width=20", body, key)
        done.append((key, answer.status_code))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def jobs(system):
    return (system.api.metric("cavage_jobs_queued") or 0) + (system.api.metric("cavage_jobs_sent") or 0)


def test_one_greedy_customer_is_refused_and_another_is_not(make_system):
    system = make(make_system, "50ms")
    greedy, modest = system.new_customer("greedy"), system.new_customer("modest")
    load = Load(system.url("/v1/resize?width=20"), greedy, SMALL, clients=40, most=100_000).start()
    wait_until(lambda: load.statuses[503] >= 20, "the greedy customer to be refused")
    served = load.statuses[200]
    for _ in range(20):
        assert system.post("/v1/resize?width=20", SMALL, modest).status_code == 200
    wait_until(lambda: load.statuses[200] > served + 5, "the greedy customer to be served too")
    load.stop()
    assert set(load.statuses) == {200, 503} and not load.broken
    assert system.api.metric(*WAITS) == load.statuses[503]


def test_refusal_says_when_to_come_back(make_system):
    system = make(make_system, "100ms")
    key = system.new_customer("acme")
    load = Load(system.url("/v1/resize?width=20"), key, SMALL, clients=30, most=100_000).start()

    def refusal():
        answer = system.post("/v1/resize?width=20", SMALL, key)
        return [answer] if answer.status_code == 503 else []

    answer = wait_until(refusal, "a refusal")[0]
    load.stop()
    problem = answer.json()
    assert problem["type"] == "/problems/overloaded" and "wait" in problem["detail"]
    assert 1 <= int(answer.headers["Retry-After"]) <= 10
    # The storm is over: everything is as before, at once.
    wait_until(lambda: jobs(system) == 0, "the queue to empty")
    assert all(system.post("/v1/resize?width=20", SMALL, key).status_code == 200 for _ in range(5))


def test_large_images_wait_in_a_lane_of_their_own(make_system):
    system = make(make_system, "300ms", CAVAGE_QUEUE_TARGET_MS="1m")
    key = system.new_customer("acme")
    assert system.post("/v1/resize?width=20", SMALL, key).status_code == 200
    done, body = [], large_image()
    threads = [post_later(system, key, body, done) for _ in range(10)]
    wait_until(lambda: jobs(system) + len(done) == 10, "all large images to be there")
    finished = len(done)
    for _ in range(2):
        assert system.post("/v1/resize?width=20", SMALL, key).status_code == 200
    # A converter was kept for the two, or one large image waited for; in one queue the first would have been the eleventh.
    assert len(done) - finished <= 6
    for thread in threads:
        thread.join(2 * PATIENCE_S)
    assert [status for _, status in done] == [200] * 10


@pytest.mark.parametrize("discipline", ["fifo", "drr"])
def test_order_of_two_customers(make_system, discipline):
    system = make(make_system, "200ms", converters=1, CAVAGE_QUEUE_DISCIPLINE=discipline, CAVAGE_QUEUE_TARGET_MS="1m")
    first, second = system.new_customer("first"), system.new_customer("second")
    done, threads = [], []
    for n, key in enumerate([first] * 8 + [second]):
        threads.append(post_later(system, key, SMALL, done))
        wait_until(lambda n=n: jobs(system) + len(done) == n + 1, "the image to be there")
    for thread in threads:
        thread.join(2 * PATIENCE_S)
    order = [key for key, _ in done]
    assert {status for _, status in done} == {200}
    # Two may have been with the worker before the other came, and one done.
    assert order.index(second) == 8 if discipline == "fifo" else order.index(second) <= 6


def test_limit_follows_a_worker_that_leaves_and_comes_back(make_system):
    system = make(make_system, "100ms", converters=6, workers=2)
    key = system.new_customer("acme")
    load = Load(system.url("/v1/resize?width=20"), key, SMALL, clients=16, most=100_000).start()

    def quiet():
        refused, served = load.statuses[503], load.statuses[200]
        wait_until(lambda: load.statuses[200] >= served + 50, "images to be served")
        return load.statuses[503] == refused

    wait_until(quiet, "all to be served")
    system.workers[1].kill()
    wait_until(lambda: system.api.metric("cavage_capacity_converters") == 6, "the converters to be gone")
    before = load.statuses[503]
    wait_until(lambda: load.statuses[503] > before + 10, "refusals with half the converters")
    system.workers[1].start()
    wait_until(lambda: system.api.metric("cavage_capacity_converters") == 12, "the converters to be back")
    wait_until(quiet, "no refusals any more")
    load.stop()
    assert set(load.statuses) == {200, 503}, load.details[:5]
