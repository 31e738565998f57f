# SPDX-License-Identifier: MIT
"""Workers behind a DNS name join and leave while requests run."""

import os
import socket
import subprocess

import pytest

import images
from fake_dns import FakeDns
from harness import System, free_ports, wait_until
from load import Load

PHOTO = images.encoded("jpeg", 640, 480)
NAME = "workers.cavage.test"
HOSTS = ["127.0.0.2", "127.0.0.3", "::1"]


def why_not():
    if os.geteuid() != 0:
        return "needs root: a DNS server on port 53, and a resolv.conf of its own in a mount namespace"
    probe = subprocess.run(["unshare", "-m", "mount", "--bind", "/etc/hostname", "/etc/resolv.conf"], capture_output=True, text=True)
    return f"the kernel forbids mount namespaces: {probe.stderr.strip()}" if probe.returncode else None


@pytest.fixture
def named():
    """Three workers, of which the zone lists the first; and the DNS server."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    dns = FakeDns({NAME: HOSTS[:1]})
    port = free_ports(1)[0]
    running = System(transport="tcp", workers=3, env={"CAVAGE_API_RESOLVE_MS": "100"})
    running.job_port = port
    for worker, host in zip(running.workers, HOSTS):
        worker.env["CAVAGE_WORKER_LISTEN"] = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
    running.api.env["CAVAGE_API_WORKERS"] = f"tcp://{NAME}:{port}"
    dns.wrap(running.api, running.data)
    try:
        running.start()
        yield running, dns
        running.stop()
    finally:
        dns.close()


def done(worker):
    return worker.metric("cavage_worker_jobs_total", 'outcome="ok"')


@pytest.mark.tsan
def test_workers_join_and_leave_under_load(named):
    running, dns = named
    key = running.new_customer("load")
    load = Load(lambda: running.url("/v1/resize?width=64"), key, PHOTO, 6, most=50_000).start()

    def wait_working(*numbers):
        """Those, and no others, do jobs."""
        wait_until(lambda: running.api.metric("cavage_workers_up") == len(numbers), f"{len(numbers)} workers to be up")
        # A hedge may have left its copy behind.
        unlisted = [worker for n, worker in enumerate(running.workers) if n not in numbers]
        wait_until(lambda: all(worker.metric("cavage_converters_busy") + worker.metric("cavage_worker_jobs_waiting") == 0 for worker in unlisted), "others to idle")
        before = [done(worker) for worker in running.workers]
        wait_until(lambda: all(done(running.workers[n]) > before[n] + 3 for n in numbers), f"workers {numbers} to do jobs")
        assert all(done(worker) == before[n] for n, worker in enumerate(running.workers) if n not in numbers)

    wait_working(0)
    dns.zone[NAME] = HOSTS[:2]
    wait_working(0, 1)
    dns.zone[NAME] = HOSTS
    wait_working(0, 1, 2)
    dns.zone[NAME] = HOSTS[1:]
    wait_until(lambda: running.api.events("worker_left"), "the first worker to leave")
    wait_working(1, 2)
    assert [e["address"] for e in running.api.events("worker_left")] == [running.workers[0].env["CAVAGE_WORKER_LISTEN"]]
    running.workers[0].stop()
    running.workers[0].start()
    # A zone that is broken takes nobody away.
    del dns.zone[NAME]
    asked = dns.asked
    wait_until(lambda: dns.asked > asked + 8, "more look-ups")
    wait_working(1, 2)
    assert running.api.events("name_failed")
    dns.zone[NAME] = HOSTS
    wait_working(0, 1, 2)
    load.stop()
    assert set(load.statuses) == {200} and not load.broken, (load.statuses, load.details[:3])


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_half_an_answer_takes_nobody_away(named, family):
    """A server that fails for A or for AAAA alone says nothing of the addresses of that family, and what it says of the others counts."""
    running, dns = named
    dns.zone[NAME] = HOSTS
    wait_until(lambda: running.api.metric("cavage_workers_up") == 3, "all workers to be up")
    dns.broken = {family}
    dns.zone[NAME] = HOSTS[1:]
    gone = 0 if family == socket.AF_INET else 1
    wait_until(lambda: running.api.events("name_failed"), "a look-up to fail")
    wait_until(lambda: len(running.api.events("worker_left")) == gone, "what is known to have left to leave")
    asked = dns.asked
    wait_until(lambda: dns.asked > asked + 8, "more look-ups")
    wait_until(lambda: running.api.metric("cavage_workers_up") == 3 - gone, "the others to be up")
    dns.broken = set()
    wait_until(lambda: len(running.api.events("worker_left")) == 1, "the first worker to leave")
    wait_until(lambda: running.api.metric("cavage_workers_up") == 2, "the others to be up alone")


def test_a_worker_with_two_addresses_is_one_worker(named):
    running, dns = named
    key = running.new_customer("c")
    for worker in running.workers:  # all have the port, on one address each
        worker.stop()
    running.worker.env["CAVAGE_WORKER_LISTEN"] = f"tcp://[::]:{running.job_port}"
    running.worker.start()
    dns.zone[NAME] = ["127.0.0.1", "::1"]
    wait_until(lambda: len(running.api.events("worker_listed")) == 3, "both addresses to be listed")
    wait_until(lambda: running.api.metric("cavage_workers_up") == 1, "the worker to be up")
    for _ in range(20):
        assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200
    wait_until(lambda: running.api.metric("cavage_converters") == 2, "the worker to be counted once")
    assert running.worker.metric("cavage_worker_jobs_total", 'outcome="ok"') >= 20


def test_a_worker_takes_the_place_of_those_that_leave(named):
    """As many addresses as an API server can know, all of them dead, make room at once for one that is alive."""
    running, dns = named
    key = running.new_customer("c")
    dead = [f"127.1.0.{n}" for n in range(256)]
    dns.zone[NAME] = dead
    wait_until(lambda: len(running.api.events("worker_left")) == 1, "the first worker to leave")
    wait_until(lambda: len(running.api.events("worker_listed")) == 257, "the others to be listed")
    dns.zone[NAME] = HOSTS[:2]
    wait_until(lambda: running.api.metric("cavage_workers_up") == 2, "the workers to be up")
    assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200


def test_a_hanging_server_holds_nothing_up(named):
    running, dns = named
    key = running.new_customer("c")
    dns._answer = lambda query: None
    asked = dns.asked
    wait_until(lambda: dns.asked > asked, "a look-up")
    for _ in range(5):
        assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200
    assert running.api.stop() == 0
    running.api.start(wait=False)
    running.api.wait_ready()
    dns._answer = FakeDns._answer.__get__(dns)
    running.wait_serving()
