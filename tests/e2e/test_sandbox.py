# SPDX-License-Identifier: MIT
"""Converters that were taken over: each tries to break out, is ended and counted for it, and the service answers the next request in time."""

import os
import threading
import time
from pathlib import Path

import pytest

import images
from harness import System, wait_until
from test_faults import converters_of

PHOTO = images.encoded("jpeg", 320, 240)
# A sanitizer's runtime needs what the sandbox forbids, so it is off in those builds.
sandboxed = pytest.mark.skipif("CAVAGE_SAN" in os.environ, reason="no sandbox under a sanitizer")

SYSTEM_CALLS = ["open", "connect", "socket", "exec", "fork", "ptrace", "kill", "siblings", "shared", "code", "resize"]
PROTOCOL = ["babble", "garbage", "smuggle", "lies"]
IN_TIME_S = 5


def hostile_system(**env):
    """A system whose converters act out what images ask for."""
    return System(test_mode=True, env={"CAVAGE_WORKER_MEMORY_BYTES": "256M", "CAVAGE_QUEUE_RETRY_PERCENT": "100", **env}).start()


@pytest.fixture(scope="module")
def hostile():
    running = hostile_system()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def hostile_key(hostile):
    return hostile.new_customer("hostile")


@pytest.fixture(scope="module")
def endless():
    """One with a short deadline, for acts that nothing else ends."""
    running = hostile_system(CAVAGE_WORKER_CONVERT_DEADLINE_MS="1500")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def endless_key(endless):
    return endless.new_customer("endless")


def violations(running, what):
    return running.worker.metric("cavage_converter_violations_total", f'what="{what}"')


def act(running, key, word):
    """The answer to an image that has its converter act; the bytes before the word make it one that was never seen."""
    return running.post("/v1/resize?width=9", PHOTO + time.monotonic_ns().to_bytes(8, "big") + f"CVGTEST {word}".encode(), key)


def next_is_answered(running, key):
    begin = time.monotonic()
    answer = running.post("/v1/resize?width=32", PHOTO, key)
    assert answer.status_code == 200, answer.text
    assert time.monotonic() - begin < IN_TIME_S
    assert images.decoded(answer.content).size == (32, 24)


def ended_for(running, key, word, what):
    """Two converters try, both are ended for `what`, logged and counted; the image is given up; the next is answered."""
    before, told = violations(running, what), len(running.worker.events("converter_violation"))
    answer = act(running, key, word)
    assert answer.status_code == 422, (answer.status_code, answer.text[:300])
    next_is_answered(running, key)
    assert violations(running, what) == before + 2
    lines = wait_until(lambda: running.worker.events("converter_violation")[told + 1 :], "the log")
    assert lines[-1]["what"] == what


def test_missing_parts_of_the_sandbox_are_told(hostile):
    """Once: either all is there, or the log names what is not and the metric counts it."""
    incomplete = hostile.worker.events("sandbox_incomplete")
    assert len(incomplete) + len(hostile.worker.events("sandbox_complete")) == 1
    named = incomplete[0]["missing"].split(", ") if incomplete else []
    assert hostile.worker.metric("cavage_sandbox_parts_missing") == len(named)
    # The filter asks nothing of the user or the container.
    assert "CAVAGE_SAN" in os.environ or "system call filter" not in named


@sandboxed
@pytest.mark.parametrize("word", SYSTEM_CALLS)
def test_forbidden_system_call_ends_the_converter(hostile, hostile_key, word):
    ended_for(hostile, hostile_key, word, "system_call")


@pytest.mark.parametrize("word", PROTOCOL)
def test_broken_protocol_ends_the_converter(hostile, hostile_key, word):
    ended_for(hostile, hostile_key, word, "protocol")


@sandboxed
def test_memory_is_bounded(hostile, hostile_key):
    ended_for(hostile, hostile_key, "memory", "memory")


def test_endless_loop_ends_at_the_deadline(endless, endless_key):
    before = endless.worker.metric("cavage_converters_killed_total")
    assert act(endless, endless_key, "loop").status_code == 422
    assert endless.worker.metric("cavage_converters_killed_total") == before + 2
    next_is_answered(endless, endless_key)


@sandboxed
def test_threads_are_bounded_and_end_at_the_deadline(endless, endless_key):
    """No more threads are given than codecs need; they do no harm until the deadline."""
    most = 0

    def look():
        nonlocal most
        for pid in converters_of(endless.worker):
            try:
                most = max(most, len(os.listdir(f"/proc/{pid}/task")))
            except FileNotFoundError:
                pass

    answers = []
    asking = threading.Thread(target=lambda: answers.append(act(endless, endless_key, "threads")))
    asking.start()
    while asking.is_alive():
        look()
        asking.join(0.05)
    assert answers[0].status_code == 422
    assert 8 < most <= 64 + 4 * (os.cpu_count() or 1)
    next_is_answered(endless, endless_key)


def test_endless_answers_end_the_converter(hostile, hostile_key):
    """The first answer is as good as any; with the second one the converter ends, and no other job gets it."""
    before = violations(hostile, "protocol")
    assert act(hostile, hostile_key, "endless").status_code == 200
    for _ in range(10):
        next_is_answered(hostile, hostile_key)
    wait_until(lambda: violations(hostile, "protocol") == before + 1, "the converter to be ended")


@sandboxed
@pytest.mark.skipif(os.geteuid() != 0, reason="a converter cannot be looked into, not even by its own user")
def test_converter_holds_nothing_but_its_channel(hostile, hostile_key):
    next_is_answered(hostile, hostile_key)
    for pid in converters_of(hostile.worker):
        assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2", "3"]
        assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
        assert os.readlink(f"/proc/{pid}/fd/3").startswith("socket:")
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
        assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        if not hostile.worker.events("sandbox_incomplete"):
            assert os.listdir(f"/proc/{pid}/root") == []
            for name in ("user", "mnt", "net", "ipc", "pid"):
                assert os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/{hostile.worker.pid}/ns/{name}")


def test_isolation_by_image_gives_every_image_a_process(make_system):
    running = make_system(env={"CAVAGE_WORKER_ISOLATION": "image"})
    key = running.new_customer("apart")
    started = running.worker.metric("cavage_converters_started_total")
    for _ in range(6):
        next_is_answered(running, key)
    wait_until(lambda: running.worker.metric("cavage_converters_started_total") == started + 6, "six new converters")
    assert running.worker.metric("cavage_converters_recycled_total") == 6
    assert running.worker.metric("cavage_converters_lost_total") == 0
