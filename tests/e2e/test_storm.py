# SPDX-License-Identifier: MIT
"""A storm of random faults under load. Set CAVAGE_TEST_STORM_SEED to choose the same faults again, CAVAGE_TEST_STORM_S to have more of them."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

import images
from harness import children_of, descendants_of, pid_alive, wait_until
from load import Load
from test_faults import cmdline, converters_of, wait_usage, zygote_of

pytestmark = pytest.mark.tsan
WORKERS, CONVERTERS = 3, 2
STORM_S = float(os.environ.get("CAVAGE_TEST_STORM_S", "12"))
SEED = int(os.environ.get("CAVAGE_TEST_STORM_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


def send(pid, signo):
    """False when the process is gone."""
    try:
        os.kill(pid, signo)
    except ProcessLookupError:
        return False
    return True


def pause(pid, seconds):
    if send(pid, signal.SIGSTOP):
        time.sleep(seconds)
        send(pid, signal.SIGCONT)


class Storm:
    """Faults, one after the other; each leaves daemons running."""

    def __init__(self, system):
        self.system = system
        self.random = random.Random(SEED)
        self.done = Counter()
        # How often each comes.
        self.faults = {
            self.kill_converter: 6, self.pause_converter: 3, self.kill_zygote: 2, self.pause_zygote: 1, self.signal_family: 2,
            self.kill_worker: 3, self.pause_worker: 3, self.drain_worker: 1, self.kill_meter: 1, self.kill_authcache: 1,
        }

    def blow(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            fault = self.random.choices(list(self.faults), list(self.faults.values()))[0]
            fault(self.random.choice(self.system.workers))
            self.done[fault.__name__] += 1
            time.sleep(self.random.uniform(0.02, 0.3))

    def one_of(self, pids):
        return self.random.choice(sorted(pids)) if pids else 0

    def kill_converter(self, worker):
        victim = self.one_of(converters_of(worker))
        if victim:
            send(victim, signal.SIGKILL)

    def pause_converter(self, worker):
        victim = self.one_of(converters_of(worker))
        if victim:
            pause(victim, self.random.uniform(0.05, 0.5))

    def kill_zygote(self, worker):
        victim = zygote_of(worker)
        if victim:
            send(victim, signal.SIGKILL)

    def pause_zygote(self, worker):
        victim = zygote_of(worker)
        if victim:
            pause(victim, self.random.uniform(0.05, 0.5))

    def signal_family(self, worker):
        """What a terminal's Ctrl-C or a service manager does to the processes of a worker, all but the supervisor."""
        signo = self.random.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
        for pid in descendants_of(worker.pid):
            if "--zygote" in cmdline(pid):
                send(pid, signo)

    def kill_worker(self, worker):
        worker.kill()
        worker.start()

    def pause_worker(self, worker):
        pause(worker.pid, self.random.uniform(0.05, 1.5))

    def drain_worker(self, worker):
        assert worker.stop() == 0
        worker.start()

    def kill_meter(self, _worker):
        self.system.meter.kill()
        self.system.meter.start()

    def kill_authcache(self, _worker):
        self.system.authcache.kill()
        self.system.authcache.start()


def is_whole(worker):
    """The worker has its zygote and its converters, their buffers, the arena of its API and nothing else: no process in between, no zombie."""
    family = descendants_of(worker.pid)
    maps = Path(f"/proc/{worker.pid}/maps").read_text()
    arenas = maps.count("memfd:cavage-staging")
    mapped = maps.count("memfd:cavage-") - arenas
    return (
        len(family) == 1 + CONVERTERS == len(children_of(worker.pid)) and all(map(pid_alive, family))
        and len(converters_of(worker)) == CONVERTERS and mapped == 2 * CONVERTERS and arenas == 1
    )


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


def test_storm_of_faults_costs_only_the_jobs_that_met_two(make_system):
    print(f"CAVAGE_TEST_STORM_SEED={SEED}")
    running = make_system(
        workers=WORKERS, converters=CONVERTERS,
        env={"CAVAGE_WORKER_RECYCLE_JOBS": "30", "CAVAGE_USAGE_BATCH_MS": "20", "CAVAGE_API_REQUEST_DEADLINE_MS": "60000"},
    )
    key = running.new_customer("load")
    for worker in running.workers:
        wait_until(lambda w=worker: is_whole(w), "the worker to be whole")
    before = [descriptors(worker) for worker in running.workers]
    started = set(descendants_of(os.getpid()))

    loads = [
        Load(running.url("/v1/resize?width=320"), key, images.encoded("jpeg", 1500, 1225), clients=4, most=100_000).start(),
        Load(running.url("/v1/resize?width=300&format=webp"), key, images.encoded("png", 1200, 900), clients=1, most=100_000).start(),
        Load(running.url("/v1/resize?width=50"), key, images.encoded("jpeg", 200, 150), clients=2, most=100_000).start(),
    ]
    storm = Storm(running)
    storm.blow(STORM_S)
    calm = sum(load.answered for load in loads)
    wait_until(lambda: sum(load.answered for load in loads) >= calm + 50, "the load to go on after the storm")
    statuses, details = Counter(), []
    for load in loads:
        load.stop()
        statuses += load.statuses
        details += load.details
        assert not load.broken
    print(dict(storm.done), dict(statuses))

    assert set(statuses) <= {200, 503}, details
    wait_until(lambda: statuses[503] <= running.api.metric("cavage_retries_denied_total"), f"a denied retry for each 503: {details}")
    wait_usage(running, sum(statuses.values()))
    for worker in running.workers:
        wait_until(lambda w=worker: is_whole(w), "the worker to be whole again")
    wait_until(lambda: all(descriptors(w) <= n for w, n in zip(running.workers, before)), "no descriptor to be left over")
    replaced = started - set(descendants_of(os.getpid()))
    assert not any(map(pid_alive, replaced)), "a process outlived its worker"
