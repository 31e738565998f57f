# SPDX-License-Identifier: MIT
"""More requests than converters: who is refused, how, and for how long. Converters sleep, so that only waiting counts."""

import os
import re
import signal
import threading

import pytest

import images
from harness import PATIENCE_S, wait_until
from load import Load
from test_faults import converters_of

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


def queue_ms(answer):
    """How long the API let it wait."""
    assert answer.status_code == 200, answer.text
    return float(re.search(r"queue;dur=([0-9.]+)", answer.headers["Server-Timing"])[1])


def post_later(system, key, body, waits):
    """Send in a thread of its own; the answer's time in the queue is appended to `waits`."""

    def run():
        waits.append(queue_ms(system.post("/v1/resize?width=20", body, key)))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def jobs(system):
    return (system.api.metric("cavage_jobs_queued") or 0) + (system.api.metric("cavage_jobs_sent") or 0)


def test_one_greedy_customer_is_refused_and_another_is_not(make_system):
    # Even when the machine stops for a second now and then, a customer with one request at a time is far from this wait.
    system = make(make_system, "100ms", CAVAGE_QUEUE_TARGET_MS="2s")
    greedy, modest = system.new_customer("greedy"), system.new_customer("modest")
    load = Load(system.url("/v1/resize?width=20"), greedy, SMALL, clients=60, most=100_000).start()
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
    waits, body = [], large_image()
    threads = [post_later(system, key, body, waits) for _ in range(10)]
    wait_until(lambda: jobs(system) + len(waits) == 10, "all large images to be there")
    small = [queue_ms(system.post("/v1/resize?width=20", SMALL, key)) for _ in range(2)]
    for thread in threads:
        thread.join(2 * PATIENCE_S)
    # They came last, and the last of the large ones waited longer by a conversion at least.
    assert len(waits) == 10 and max(small) + 300 <= max(waits), (small, waits)


@pytest.mark.parametrize("discipline", ["fifo", "drr"])
def test_order_of_two_customers(make_system, discipline):
    system = make(
        make_system, "200ms", converters=1, CAVAGE_QUEUE_DISCIPLINE=discipline, CAVAGE_QUEUE_TARGET_MS="1m", CAVAGE_WORKER_CONVERT_DEADLINE_MS="1m",
    )
    first, second = system.new_customer("first"), system.new_customer("second")
    converter = wait_until(lambda: converters_of(system.worker), "the converter")[0]
    os.kill(converter, signal.SIGSTOP)
    waits, threads = [[] for _ in range(9)], []
    for n, key in enumerate([first] * 8 + [second]):
        threads.append(post_later(system, key, SMALL, waits[n]))
        wait_until(lambda n=n: jobs(system) == n + 1, "the image to be there")
    os.kill(converter, signal.SIGCONT)
    for thread in threads:
        thread.join(2 * PATIENCE_S)
    seventh, eighth, other = waits[6][0], waits[7][0], waits[8][0]
    # Each conversion takes 200 ms or more. Who came later and waited a conversion less began before; two may have been with the worker by then.
    if discipline == "fifo":
        assert other >= 8 * 200
    else:
        assert other + 200 <= min(seventh, eighth), waits


def test_limit_follows_a_worker_that_leaves_and_comes_back(make_system):
    system = make(make_system, "100ms", converters=6, workers=2)
    key = system.new_customer("acme")
    load = Load(system.url("/v1/resize?width=20"), key, SMALL, clients=20, most=100_000).start()

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
