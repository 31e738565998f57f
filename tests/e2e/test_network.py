# SPDX-License-Identifier: MIT
"""A region across hosts that are network namespaces, under an open-loop load: hosts and processes fail, and no customer notices."""

import signal
import time

import pytest

import netns
from harness import wait_until
from region import HAPROXY, Region

WHY_NOT = netns.forbidden() or (None if HAPROXY else "haproxy is not installed")
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
netns_only = pytest.mark.netns  # for `make netns`, not for `make test`


@pytest.fixture(scope="module")
def region():
    """Converters that sleep: what fails here is not conversion. The way to a worker and back counts as its service: where that takes 200 ms, 300 ms in all are
    too few."""
    running = Region(converter="sleep:exp:40ms", target="2s")
    yield running
    running.stop()


@pytest.fixture
def make_region():
    made = []

    def make(**options):
        made.append(Region(**options))
        return made[-1]

    yield make
    for running in made:
        running.stop()


def unharmed(region, load):
    """Every customer got the picture, and will pay for it once."""
    report = load.stop()
    assert report["ok"] == report["sent"], (report["statuses"], report["refusals"], report["failures"], region.balancer.failed())
    region.check_usage(report["ok"])
    return report


# ---- Workers ----


def end(worker):
    assert worker.stop() == 0


# What befalls a worker, and what makes it as before.
FAULTS = {
    "kill": (lambda worker: worker.kill(), lambda worker: worker.start()),
    "pause": (lambda worker: worker.signal(signal.SIGSTOP), lambda worker: worker.signal(signal.SIGCONT)),
    "partition": (lambda worker: worker.host.cut(), lambda worker: worker.host.heal()),
    "restart": (end, lambda worker: worker.start()),
}


@pytest.mark.parametrize("fault", [pytest.param(fault, marks=() if fault == "kill" else netns_only) for fault in FAULTS])
def test_a_worker_fails_and_comes_back(region, fault):
    begin, mend = FAULTS[fault]
    load = region.load()
    for worker in region.workers[:2]:
        begin(worker)
        region.wait_workers(3)
        region.go_on()
        mend(worker)
        region.wait_workers(4)
        region.go_on()
    unharmed(region, load)


# ---- The network ----


@netns_only
@pytest.mark.parametrize("hosts, wire", [(1, {"delay_ms": 100}), (4, {"delay_ms": 100}), (1, {"loss_percent": 5}), (4, {"loss_percent": 5})])
def test_slow_and_lossy_network(region, hosts, wire):
    """The way to one worker's host, or to all of them, is bad."""
    load = region.load()
    impaired = [worker.host for worker in region.workers[:hosts]]
    for host in impaired:
        host.impair(**wire)
    region.go_on(200)
    for host in impaired:
        host.repair()
    region.go_on()
    region.wait_workers(4)
    unharmed(region, load)


# ---- API servers, and everything ----


@netns_only
def test_an_api_is_restarted(region):
    load = region.load()
    for api in region.apis:
        assert api.stop() == 0
        region.go_on()
        api.start()
        region.wait_serving(api)
        region.go_on()
    unharmed(region, load)


@netns_only
def test_an_api_dies(region):
    """Only what was under way on its connections fails."""
    for api in region.apis[:2]:
        before = region.balancer.failed()
        load = region.load(rate=80)
        api.kill()
        region.go_on()
        api.start()
        region.wait_serving(api)
        region.go_on()
        report = load.stop()
        failed = region.balancer.failed() - before
        assert set(failed) <= {api.host.port}, failed
        assert report["sent"] == report["ok"] + failed.total(), (report["statuses"], report["failures"], failed)
        region.check_usage(report["ok"], unseen=failed.total())


@netns_only
def test_everything_is_restarted(make_region):
    """All daemons, one after the other, with converters that convert."""
    region = make_region()
    load = region.load(rate=25)
    for daemon in region.daemons:
        assert daemon.stop() == 0
        daemon.start()
        if daemon in region.apis:
            region.wait_serving(daemon)
        region.wait_workers(4)
        region.go_on(10)
    unharmed(region, load)


# ---- Figures ----


@netns_only
@pytest.mark.parametrize("fault", ["kill", "pause", "partition"])
def test_how_soon_jobs_run_elsewhere(make_region, figures, fault):
    """Eight jobs of one second, and the worker that has most of them fails. What it had is answered a second after it was begun elsewhere, and what it had not
    is answered before that."""
    region = make_region(converter="sleep:1s", converters=4)
    for worker in region.workers[:3]:
        shots = [region.shoot() for _ in range(8)]
        half_way = time.monotonic() + 0.5
        wait_until(lambda: sum(each.metric("cavage_converters_busy") for each in region.workers) == 8, "all jobs to be at work")
        wait_until(lambda: time.monotonic() >= half_way, "the jobs to be half done")
        worker = max(region.workers, key=lambda each: each.metric("cavage_converters_busy"))
        begin, mend = FAULTS[fault]
        failed_at = time.monotonic()
        begin(worker)
        answers = [shot.result() for shot in shots]
        assert {status for status, _ in answers} == {200}
        later = [at - failed_at - 1 for _, at in answers if at >= failed_at + 1]
        assert later, "the worker had no job"
        figures.append(f"{fault}: {len(later)} jobs of the worker ran elsewhere within {1000 * max(later):.0f} ms")
        mend(worker)
        region.wait_workers(4)
    region.check_usage(24)
