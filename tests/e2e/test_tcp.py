# SPDX-License-Identifier: MIT
"""Several APIs and workers on one machine that speak over sealed tcp: they die and come back under load, keys change, and strangers send whatever they
like to the ports."""

import itertools
import os
import signal
import socket
import struct

import pytest
import requests

import images
import raw_bus
from harness import PATIENCE_S, wait_until
from load import Load

PHOTO = images.encoded("jpeg", 640, 480)
SEAL_BYTES = 68
REASONS = ("malformed", "not_for_us", "reflected", "unknown_key", "forged", "replayed")


def sealed(daemon, result):
    """Messages with this result; of an API also those to the port for acknowledgements."""
    return sum(daemon.metric(f"cavage_sealed_{what}_total", f'result="{result}"') or 0 for what in ("messages", "acks"))


def names_nobody(data):
    """Whether a sealed message is for whoever reads it."""
    return data[-28:-12] == bytes(16)


def refused(daemon):
    return {reason: sealed(daemon, reason) for reason in REASONS if sealed(daemon, reason)}


def load_on(running, api, clients=3):
    def url():
        try:
            return running.url("/v1/resize?width=64", api)
        except TypeError:
            return "http://127.0.0.1:9/"  # the API is down, as its clients find out

    return Load(url, running.new_key("load"), PHOTO, clients, most=20_000).start()


def go_on(load, requests=25):
    """Until so many more were answered."""
    seen = load.answered
    wait_until(lambda: load.answered >= seen + requests, "the load to run")


def unharmed(load):
    assert set(load.statuses) == {200} and not load.broken, (load.statuses, load.broken, load.details[:3])


def wait_usage(running, least, most):
    """The usage has every answer that a client saw, and at most those beside that a client may not have seen."""

    def totals():
        return sum(row["succeeded"] for row in running.usage_records())

    wait_until(lambda: totals() >= least, f"{least} answers in the usage", interval_s=0.1)
    for api in running.apis:
        wait_until(lambda api=api: api.metric("cavage_usage_spool_bytes") == 0, "the spool to empty")
    assert least <= totals() <= most


def test_a_request_crosses_sealed_tcp(make_system):
    running = make_system(transport="tcp")
    key = running.new_customer("c")
    for _ in range(5):
        assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200
    for daemon in (running.api, running.worker):
        assert sealed(daemon, "opened") > 5
        assert not refused(daemon)


@pytest.mark.tsan
def test_two_apis_and_two_workers_die_and_come_back(make_system):
    running = make_system(transport="tcp", apis=2, workers=2)
    running.new_customer("load")
    loads = [load_on(running, api) for api in running.apis]

    for worker in running.workers:
        worker.kill()
        for load in loads:
            go_on(load)
        worker.start()
        for load in loads:
            go_on(load)
    for load in loads:
        unharmed(load)

    for api, own, other in zip(running.apis, loads, reversed(loads)):
        api.kill()
        go_on(other)
        api.start()
        go_on(own)
    # Everything once more, but asked to end.
    for daemon in (running.meter, running.authcache, *running.workers, *running.apis):
        assert daemon.stop() == 0
        daemon.start()
        wait_until(lambda: all(api.metric("cavage_workers_up") == 2 for api in running.apis), "the APIs to know both workers")
    for load in loads:
        go_on(load)
        load.stop()
        # What fails, fails by a connection to an API that is gone, or by one that says that it is about to go.
        assert set(load.statuses) <= {200, 503} and load.statuses[503] == sum("drain" in text for text in load.details), (load.statuses, load.details)
    answered = sum(load.statuses[200] for load in loads)
    wait_usage(running, answered, answered + sum(load.broken for load in loads))


def test_credit_is_shared_and_taken_back(make_system):
    """Two workers with four converters each: an API that has work alone keeps all of them busy, and when both have work, each has half."""
    running = make_system(
        transport="tcp", apis=2, workers=2, converters=4, test_mode=True, env={"CAVAGE_WORKER_CONVERTER": "sleep:200ms"},
    )
    running.new_customer("load")

    def sent(api):
        return api.metric("cavage_jobs_sent")

    def wait_shares(*shares):
        def reached():
            return all(low <= sent(api) <= high for api, (low, high) in zip(running.apis, shares))

        wait_until(reached, f"{shares} jobs sent")

    first = load_on(running, running.apis[0], clients=24)
    wait_shares((7, 16), (0, 0))
    second = load_on(running, running.apis[1], clients=24)
    wait_shares((3, 6), (3, 6))
    first.stop()
    wait_shares((0, 0), (7, 16))
    second.stop()
    unharmed(first)
    unharmed(second)


# ---- Keys ----


@pytest.mark.tsan
def test_keys_are_changed_under_load(make_system):
    running = make_system(transport="tcp", apis=2, workers=2)
    running.new_customer("load")
    path = running.data / "secret" / "cluster.key"
    old = path.read_text()
    ends = [*running.apis, *running.workers, running.meter]
    loads = [load_on(running, api) for api in running.apis]

    for change in (["--add"], ["--use", "2"], ["--drop", "1"]):
        running.cli("cluster", "key", *change)
        for daemon in ends:
            seen = len(daemon.events("cluster_keys_read"))
            daemon.signal(signal.SIGHUP)
            wait_until(lambda daemon=daemon, seen=seen: len(daemon.events("cluster_keys_read")) > seen, "the keys to be read")
            for load in loads:
                go_on(load, 10)
    for load in loads:
        unharmed(load.stop())
    answered = sum(load.answered for load in loads)
    wait_usage(running, answered, answered)
    for daemon in ends:
        assert daemon.events("cluster_keys_read")[-1]["seals_with"] == 2
        assert not refused(daemon)
    new = path.read_text()
    # The old key opens nothing any more: an API that has it alone is a stranger.
    running.write_cluster_keys(old)
    running.apis[1].kill()
    running.apis[1].start()
    wait_until(lambda: sealed(running.worker, "unknown_key") > 0, "the old key to be refused")
    assert requests_ready(running, running.apis[1]) == 503
    running.write_cluster_keys(new)
    running.apis[1].signal(signal.SIGHUP)
    wait_until(lambda: requests_ready(running, running.apis[1]) == 200, "the API to serve with the new key")


def requests_ready(running, api):
    return requests.get(running.url("/readyz", api), timeout=PATIENCE_S).status_code


@pytest.mark.parametrize("fault", ["missing", "readable", "empty", "malformed", "link"])
def test_nothing_speaks_over_tcp_without_its_keys(make_system, fault):
    running = make_system(transport="tcp")
    path = running.data / "secret" / "cluster.key"
    good = path.read_text()
    for daemon in (running.api, running.worker):
        daemon.stop()
        path.unlink(missing_ok=True)
        if fault == "link":
            (running.data / "secret" / "real").write_text(good)
            (running.data / "secret" / "real").chmod(0o600)
            path.symlink_to("real")
        elif fault != "missing":
            path.write_text({"readable": good, "empty": "# none\n", "malformed": good + "2 abc\n"}[fault])
            path.chmod(0o640 if fault == "readable" else 0o600)
        daemon.start(wait=False)
        assert daemon.process.wait(PATIENCE_S) == 1
        told = daemon.events("cluster_key_failed")[-1]
        assert told["line"] == (2 if fault == "malformed" else 1 if fault == "empty" else 0)
        assert good.split()[1] not in daemon.log_text()
        path.unlink(missing_ok=True)
        running.write_cluster_keys(good)
        daemon.start()


def test_keys_that_cannot_be_read_again_leave_the_old_ones(make_system):
    running = make_system(transport="tcp")
    key = running.new_customer("c")
    running.write_cluster_keys("1 nonsense\n")
    for daemon in (running.api, running.worker):
        daemon.signal(signal.SIGHUP)
        wait_until(lambda daemon=daemon: daemon.events("cluster_key_failed"), "the failure to be told")
    assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200


# ---- Strangers ----


def listen_in(running, to_key, to, back_key, back):
    """Start the API again so that what it sends, and what it is answered, goes through relays: those."""
    forth_relay, back_relay = raw_bus.Relay(to), raw_bus.Relay(back)
    running.api.stop()
    running.api.env.update({to_key: forth_relay.endpoint, back_key: f"{back} {back_relay.endpoint}"})
    running.api.start()
    running.wait_serving()
    return forth_relay, back_relay


def test_usage_that_comes_again_is_counted_once(make_system):
    """Someone keeps the usage on its way to the meter, and its acknowledgements, and sends all again: also to a meter that was restarted."""
    running = make_system(transport="tcp")
    key = running.new_customer("c")
    relay, acks = listen_in(running, "CAVAGE_METER_LISTEN", running.usage_address, "CAVAGE_USAGE_ACKS", running.ack_addresses[0])
    for n in range(3):
        assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200
        wait_usage(running, n + 1, n + 1)
    usage, answers = relay.messages(), acks.messages()
    assert len(usage) >= 3 and len(answers) >= 3
    # The meter is known from its first answer on; what was silent for a second may be another one.
    unnamed = [data for data in usage if names_nobody(data)]
    assert usage[0] in unnamed and len(unnamed) < len(usage)
    raw_bus.send(running.usage_address, *usage)
    raw_bus.send(running.ack_addresses[0], *answers)
    wait_until(lambda: sealed(running.meter, "replayed") == len(usage), "the usage to be refused")
    wait_until(lambda: sealed(running.api, "replayed") == len(answers), "the acknowledgements to be refused")
    running.meter.kill()
    running.meter.start()
    raw_bus.send(running.usage_address, *usage)
    wait_until(lambda: sealed(running.meter, "not_for_us") >= len(usage) - len(unnamed), "the usage to be refused")
    wait_until(lambda: running.meter.metric("cavage_meter_duplicates_total") == len(unnamed), "what names nobody to be known")
    assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200
    wait_usage(running, 4, 4)
    relay.close()
    acks.close()


def test_hello_that_is_sent_to_another_worker_too_harms_nobody(make_system):
    """It names nobody, so each worker that has not had it tells its boot; the API believes the one that answers it."""
    running = make_system(transport="tcp", workers=2)
    key = running.new_customer("c")
    relay = raw_bus.Relay(running.job_addresses[0])
    running.api.stop()
    running.api.env["CAVAGE_API_WORKERS"] = f"{relay.endpoint} {running.job_addresses[1]}"
    running.api.start()

    def unnamed():
        return [data for data in relay.messages() if names_nobody(data)]

    wait_until(lambda: running.api.metric("cavage_workers_up") == 2, "both workers to be up")
    opened = sealed(running.workers[0], "opened")
    hellos = wait_until(unnamed, "a HELLO")
    raw_bus.send(running.job_addresses[1], *hellos)
    wait_until(lambda: sealed(running.workers[0], "opened") > opened + 8, "HELLOs to the worker that they were for")
    assert sealed(running.workers[0], "not_for_us") == 0 and len(unnamed()) == len(hellos)
    assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200
    relay.close()


def fake_seal(sender, receiver, counter=1, key=1, cipher=2):
    """68 bytes that look like a seal."""
    return os.urandom(16) + struct.pack("<Q", counter) + sender + receiver + struct.pack("<IB3x", key, cipher) + b"CVS1"


def junk_messages():
    """Messages that no end of ours made, with the reason that each is dropped for."""
    boot, nobody = b"s" * 16, bytes(16)
    seal = fake_seal(boot, nobody)
    return [
        (b"", "malformed"), (b"x", "malformed"), (b"CVG1" + bytes(12), "malformed"), (bytes(SEAL_BYTES - 1), "malformed"), (bytes(SEAL_BYTES), "malformed"),
        (os.urandom(5000), "malformed"), (seal, "forged"), (os.urandom(100) + seal, "forged"), (os.urandom(100) + fake_seal(boot, nobody, cipher=1), "forged"),
        (b"y" * 100 + fake_seal(boot, nobody, cipher=3), "malformed"), (b"y" * 100 + fake_seal(boot, nobody, cipher=0), "malformed"),
        (b"y" * 100 + fake_seal(boot, nobody, key=9), "unknown_key"), (b"y" * 100 + fake_seal(nobody, nobody), "malformed"),
        (b"y" * 100 + fake_seal(boot, b"r" * 16), "not_for_us"), (b"y" * 100 + fake_seal(boot, nobody, counter=0), "replayed"),
        (seal[:-4] + b"CVS2", "malformed"),
    ]


def bad_connections(endpoint, limit):
    """Connections that break nanomsg's own rules, some of which stay open."""
    hello = raw_bus.HELLO_PUSH
    firsts = [
        b"", b"\x00", b"\xff" * 8, b"GET / HTTP/1.1\r\n\r\n", hello[:7], hello[:4] + b"\x00\x10\x00\x00", hello[:4] + b"\xff\xff\x00\x00", b"\x01" + hello[1:],
        hello + b"\x00", hello + struct.pack(">Q", 2**64 - 1), hello + struct.pack(">Q", 2**63), hello + struct.pack(">Q", 2**32),
        hello + struct.pack(">Q", limit + 1), hello + struct.pack(">Q", 1000) + b"z" * 999, hello + struct.pack(">Q", 2**31 - 1) + b"z" * 100,
        hello + struct.pack(">Q", 0) * 10,
    ]
    held = []
    for n, first in enumerate(firsts * 3):
        sock = socket.create_connection(raw_bus.host_port(endpoint), timeout=5)
        try:
            sock.sendall(first)
            if n % 3 == 1:
                sock.shutdown(socket.SHUT_WR)
            if n % 3 == 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
        except OSError:
            pass
        held.append(sock)
    return held


def ports_of(running):
    """Every port of the cluster: (its daemon, endpoint, longest frame's body)."""
    return (
        (running.worker, running.job_addresses[0], 32 << 20), (running.api, running.result_addresses[0], 64 << 20),
        (running.meter, running.usage_address, 4 << 20), (running.api, running.ack_addresses[0], 1 << 16),
    )


def test_junk_at_the_ports_is_counted_and_dropped(make_system):
    running = make_system(transport="tcp")
    key = running.new_customer("c")
    pids = [daemon.pid for daemon in running.daemons]
    for daemon, endpoint, limit in ports_of(running):
        junk = junk_messages()
        known = refused(daemon)
        raw_bus.send(endpoint, *[data for data, _ in junk])
        wanted = {reason: known.get(reason, 0) + sum(1 for _, why in junk if why == reason) for reason in {why for _, why in junk}}
        wait_until(lambda: refused(daemon) == wanted, f"{wanted}, not {refused(daemon)}")
        held = bad_connections(endpoint, limit + 16 + 16384 + SEAL_BYTES)
        assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200
        for sock in held:
            sock.close()
    assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200
    wait_usage(running, 5, 5)
    assert pids == [daemon.pid for daemon in running.daemons] and all(daemon.process.poll() is None for daemon in running.daemons)


def test_replays_reflections_and_changes_are_refused(make_system):
    """Someone on the way between an API and its worker keeps all that passes, and sends it again, back, changed and to a worker that was restarted."""
    running = make_system(transport="tcp")
    key = running.new_customer("c")
    relay, results = listen_in(running, "CAVAGE_API_WORKERS", running.job_addresses[0], "CAVAGE_API_RESULTS", running.result_addresses[0])
    for _ in range(5):
        assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200
    to_worker, to_api = relay.messages(), results.messages()
    assert len(to_worker) > 6 and len(to_api) > 6
    assert max(map(len, to_worker)) > len(PHOTO) and not any(PHOTO[100:200] in data for data in to_worker)
    jobs = running.worker.metric("cavage_worker_jobs_total", 'outcome="ok"')

    def counts(daemon, reason, more, act):
        before = sealed(daemon, reason)
        act()
        wait_until(lambda: sealed(daemon, reason) == before + more, f"{more} more {reason}, not {sealed(daemon, reason) - before}")

    worker_port, api_port = running.job_addresses[0], running.result_addresses[0]
    counts(running.worker, "replayed", len(to_worker), lambda: raw_bus.send(worker_port, *to_worker))
    counts(running.api, "replayed", len(to_api), lambda: raw_bus.send(api_port, *to_api))
    counts(running.api, "reflected", len(to_worker), lambda: raw_bus.send(api_port, *to_worker))
    counts(running.worker, "reflected", len(to_api), lambda: raw_bus.send(worker_port, *to_api))
    # The counter is not yet known, so that only the tag speaks against it.
    changed = [data[:-52] + struct.pack("<Q", 2**40 + n) + data[-44:] for n, data in enumerate(to_worker)]
    counts(running.worker, "forged", len(changed), lambda: raw_bus.send(worker_port, *changed))
    assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200
    assert running.worker.metric("cavage_worker_jobs_total", 'outcome="ok"') >= jobs + 1

    # After a restart only what names nobody opens again, and it changes nothing.
    met = len(running.worker.events("api_connected"))
    running.api.stop()
    running.worker.stop()
    running.worker.start()
    unnamed = [data for data in to_worker if names_nobody(data)]
    assert unnamed
    raw_bus.send(worker_port, *to_worker)
    wait_until(lambda: sealed(running.worker, "not_for_us") == len(to_worker) - len(unnamed), "what was named to be refused")
    wait_until(lambda: sealed(running.worker, "opened") == len(unnamed), "what names nobody to be opened")
    assert len(running.worker.events("api_connected")) == met
    assert running.worker.metric("cavage_worker_jobs_total", 'outcome="ok"') == 0
    running.api.start()
    running.wait_serving()
    assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200
    relay.close()
    results.close()


def test_sealed_hello_names_no_socket_of_the_worker(make_system):
    """Whoever has the key may say where it is to be answered, but not have a worker speak to sockets of its own host."""
    running = make_system(transport="tcp")
    key = running.new_customer("c")
    line = (running.data / "secret" / "cluster.key").read_text()

    def refused_messages():
        return running.worker.metric("cavage_worker_messages_refused_total")

    path = running.data / "run" / "stranger.sock"
    boot = os.urandom(16)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(0.2)
        raw_bus.send(running.job_addresses[0], raw_bus.seal(line, raw_bus.hello(boot, f"ipc://{path}"), boot))
        wait_until(lambda: refused_messages() == 1, "the message to be refused")
        with pytest.raises(TimeoutError):
            listener.accept()
    path.unlink()
    # The same to a tcp address is answered: what was wrong is the address.
    answers = raw_bus.Relay(running.result_addresses[0])
    counters = itertools.count(2)

    def answered():
        raw_bus.send(running.job_addresses[0], raw_bus.seal(line, raw_bus.hello(boot, answers.endpoint), boot, counter=next(counters)))
        return answers.messages()

    wait_until(answered, "an answer", interval_s=0.5)
    answers.close()
    assert refused_messages() == 1
    assert running.post("/v1/resize?width=40", PHOTO, key).status_code == 200
