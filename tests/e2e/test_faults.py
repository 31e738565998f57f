# SPDX-License-Identifier: MIT
"""Real processes are killed, stopped and restarted under requests; clients notice nothing, and the usage adds up."""

import os
import signal

import pytest

import images
from harness import children_of, descendants_of, free_ports, pid_alive, wait_until
from load import Load

pytestmark = pytest.mark.tsan
PHOTO = images.encoded("jpeg", 1500, 1225)


def cmdline(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def zygote_of(worker):
    """The zygote: the process of the worker that was started with --zygote and has no such parent."""
    return next((pid for pid in children_of(worker.pid) if "--zygote" in cmdline(pid) and not is_converter(pid)), None)


def is_converter(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            return "convert" in file.read()
    except (FileNotFoundError, ProcessLookupError):
        return False


def converters_of(worker):
    return [pid for pid in descendants_of(worker.pid) if is_converter(pid)]


def kill_converter(worker):
    victim = wait_until(lambda: converters_of(worker), "a converter")[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not pid_alive(victim), "the converter to die")


def kill_zygote(worker):
    zygote = wait_until(lambda: zygote_of(worker), "a zygote")
    os.kill(zygote, signal.SIGKILL)
    wait_until(lambda: zygote_of(worker) not in (None, zygote), "a new zygote")


def usage_totals(system):
    """(requests, succeeded, unconfirmed) over all customers, once the meter has everything the API had spooled."""
    rows = system.usage_records()
    return tuple(sum(row[name] for row in rows) for name in ("requests", "succeeded", "unconfirmed"))


def wait_usage(system, requests):
    """Until the meter knows as many requests; then no more may come."""
    wait_until(lambda: usage_totals(system)[0] >= requests, f"{requests} requests in the usage", interval_s=0.1)
    assert usage_totals(system)[0] == requests


def wait_kept_usage(system):
    """A drain waits for the meter, but not for ever: what it had to keep the API's next start sends."""
    if system.api.events("usage_kept"):
        system.api.start()
        wait_until(lambda: system.api.metric("cavage_usage_spool_bytes") == 0, "the meter to have all usage", interval_s=0.1)


def run_load(system, *faults, clients=4, between=20, after=60):
    """Load, with each of `faults` in turn while it runs; returns the finished load. Between two faults every job that met the first is answered, since one that
    meets two is rightly given up."""
    key = system.new_customer("load")
    load = Load(lambda: system.url("/v1/resize?width=320"), key, PHOTO, clients).start()  # one request of each client at a time

    def go_on(requests):
        seen, each = load.answered, list(load.answered_by)
        wait_until(lambda: load.answered >= seen + requests and all(map(int.__gt__, load.answered_by, each)), "the load to run")

    go_on(between)
    for fault in faults:
        fault()
        go_on(between)
    go_on(after)
    return load.stop()


def unharmed(load):
    """Every client got a picture."""
    assert set(load.statuses) == {200} and not load.broken, (load.statuses, load.details)


def test_killed_converter_costs_no_client_an_error(make_system):
    running = make_system()

    load = run_load(running, *[lambda: kill_converter(running.worker)] * 5)
    unharmed(load)
    wait_usage(running, load.answered)


def test_killed_zygote_costs_no_client_an_error(make_system):
    running = make_system()

    load = run_load(running, *[lambda: kill_zygote(running.worker), lambda: kill_converter(running.worker)] * 3)
    unharmed(load)
    wait_usage(running, load.answered)
    assert pid_alive(running.worker.pid)


def test_killed_worker_costs_no_client_an_error(make_system):
    running = make_system(workers=2)

    def fault():
        orphans = descendants_of(running.worker.pid)
        running.worker.kill()
        wait_until(lambda: not any(map(pid_alive, orphans)), "the killed worker's processes to end")
        running.worker.start()

    load = run_load(running, fault, fault)
    unharmed(load)
    wait_usage(running, load.answered)


def test_only_worker_restarted_in_time_costs_no_client_an_error(make_system):
    running = make_system()

    def fault():
        running.worker.kill()
        running.worker.start()

    load = run_load(running, fault)
    unharmed(load)


def test_paused_worker_costs_no_client_an_error(make_system):
    running = make_system(workers=2)

    def fault():
        os.kill(running.worker.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: running.api.metric("cavage_workers_up") == 1, "the silence to be noticed")
        finally:
            os.kill(running.worker.pid, signal.SIGCONT)
        wait_until(lambda: running.api.metric("cavage_workers_up") == 2, "the worker to be up again")

    load = run_load(running, fault)
    unharmed(load)
    wait_usage(running, load.answered)


def test_worker_drains_without_an_error(make_system):
    running = make_system(workers=2)

    def fault():
        assert running.worker.stop() == 0
        running.worker.start()

    load = run_load(running, fault)
    unharmed(load)
    wait_usage(running, load.answered)


def test_killed_meter_loses_and_doubles_nothing(make_system):
    running = make_system(env={"CAVAGE_USAGE_BATCH_MS": "20"})

    def fault():
        running.meter.kill()
        running.meter.start()

    load = run_load(running, fault, fault, fault)
    unharmed(load)
    wait_usage(running, load.answered)
    assert usage_totals(running) == (load.answered, load.answered, 0)


def test_service_goes_on_while_the_meter_is_down(make_system):
    running = make_system()
    running.meter.kill()
    load = run_load(running)
    unharmed(load)
    running.meter.start()
    wait_usage(running, load.answered)


def test_service_goes_on_while_authcache_is_down(make_system):
    running = make_system()
    load = run_load(running, running.authcache.kill)
    unharmed(load)
    running.authcache.start()
    assert running.new_customer("afterwards")
    wait_usage(running, load.answered)


def test_killed_api_loses_only_its_connections_and_no_record(make_system):
    clients = 4
    running = make_system(env={"CAVAGE_USAGE_BATCH_MS": "50"})
    # A port that is the same after the restart, so that the clients find it again.
    assert running.api.stop() == 0
    running.api.env["CAVAGE_API_LISTEN"] = f"127.0.0.1:{free_ports(1)[0]}"
    running.api.start()
    running.wait_serving()

    def fault():
        running.api.kill()
        running.api.start()

    key = running.new_customer("load")
    url = running.url("/v1/resize?width=320")
    load = Load(url, key, PHOTO, clients).start()
    wait_until(lambda: load.answered >= 20, "the load to run")
    fault()
    seen = load.answered
    wait_until(lambda: load.answered >= seen + 40, "the load to go on")
    load.stop()
    assert set(load.statuses) <= {200, 503}, load.details
    succeeded = load.statuses[200]
    wait_until(lambda: usage_totals(running)[1] >= succeeded, "the usage", interval_s=0.1)
    _, recorded, unconfirmed = usage_totals(running)
    # What the kill cut between record and answer is there, marked; at most what was in flight.
    assert recorded - succeeded <= clients
    assert unconfirmed <= clients
    assert recorded - unconfirmed <= succeeded


def test_drain_fails_no_accepted_request_and_flushes_usage(make_system):
    running = make_system()
    key = running.new_customer("load")
    load = Load(running.url("/v1/resize?width=320"), key, PHOTO, 4).start()
    wait_until(lambda: load.answered >= 20, "the load to run")
    assert running.api.stop() == 0
    load.stop()
    # Connections that were refused after the drain began are broken for the client; every answer is a good one, or says 503.
    assert set(load.statuses) <= {200, 503}, load.details
    wait_kept_usage(running)
    wait_until(lambda: usage_totals(running)[1] == load.statuses[200], "the usage", interval_s=0.1)


@pytest.mark.parametrize(("act", "status"), [("crash", 422), ("hang", 422), ("exit", 422)])
def test_image_that_ends_converters_is_given_up_after_two(make_system, act, status):
    running = make_system(test_mode=True, env={"CAVAGE_WORKER_CONVERT_DEADLINE_MS": "500"})
    key = running.new_customer("poisoner")
    answer = running.post("/v1/resize?width=9", PHOTO + f"CVGTEST {act}".encode(), key)
    assert answer.status_code == status, answer.text
    assert running.worker.metric("cavage_converters_lost_total") == 2
    assert running.post("/v1/resize?width=9", PHOTO, key).status_code == 200
    wait_usage(running, 2)


@pytest.mark.parametrize(("key", "value"), [("JOBS", "5"), ("MS", "20ms"), ("BYTES", "1M")])
def test_converter_is_recycled_without_an_error(make_system, key, value):
    running = make_system(env={f"CAVAGE_WORKER_RECYCLE_{key}": value})
    load = run_load(running)
    unharmed(load)
    assert running.worker.metric("cavage_converters_recycled_total") > 10
    assert running.worker.metric("cavage_converters_lost_total") == 0


def test_nothing_survives_a_killed_worker(make_system):
    running = make_system()
    family = descendants_of(running.worker.pid)
    assert len(family) >= 3
    running.worker.kill()
    wait_until(lambda: not any(map(pid_alive, family)), "zygote and converters to end")
    running.worker.start()


def test_restart_of_everything_keeps_customers_and_usage(make_system):
    running = make_system()
    key = running.new_customer("keeper")
    for _ in range(5):
        assert running.post("/v1/resize?width=32", PHOTO, key).status_code == 200
    for daemon in [running.api, running.worker, running.meter, running.authcache]:
        assert daemon.stop() == 0
    running.start()
    assert running.post("/v1/resize?width=32", PHOTO, key).status_code == 200
    wait_usage(running, 6)
