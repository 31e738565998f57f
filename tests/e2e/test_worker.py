# SPDX-License-Identifier: MIT
"""What befalls a worker: signals to all of its processes, a zygote that hangs, large images, strangers' messages."""

import ctypes
import io
import os
import random
import re
import signal
from pathlib import Path

import pytest
from PIL import Image

import images
from harness import PATIENCE_S, descendants_of, pid_alive, wait_until
from load import Load
from raw_bus import field, frame, hello
from test_faults import cmdline, converters_of, unharmed, zygote_of

PHOTO = images.encoded("jpeg", 640, 480)
AF_SP, NN_PUSH = 1, 80
JUNK = 3000


@pytest.fixture
def nanomsg():
    """The library itself, so that messages can be sent which no daemon would send."""
    library = ctypes.CDLL("libnanomsg.so.5")
    library.nn_send.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    opened = []

    def push(address):
        opened.append(library.nn_socket(AF_SP, NN_PUSH))
        assert opened[-1] >= 0 and library.nn_connect(opened[-1], address.encode()) >= 0
        return opened[-1]

    library.push = push
    yield library
    for one in opened:
        library.nn_close(one)


def test_signals_to_all_processes_of_a_worker_end_no_converter(make_system):
    running = make_system()
    key = running.new_customer("load")
    family = descendants_of(running.worker.pid)
    load = Load(running.url("/v1/resize?width=320"), key, PHOTO, 4).start()
    for signo in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) * 3:
        seen = load.answered
        wait_until(lambda n=seen: load.answered >= n + 5, "the load to run")
        for pid in descendants_of(running.worker.pid):
            if "--zygote" in cmdline(pid):
                os.kill(pid, signo)
    unharmed(load.stop())
    assert all(map(pid_alive, family))
    assert running.worker.metric("cavage_converters_lost_total") == 0


def test_stub_converters_need_test_mode(make_system):
    running = make_system(test_mode=True, env={"CAVAGE_WORKER_CONVERTER": "sleep:exp:20ms"})
    key = running.new_customer("stub")
    took = {re.search(r"convert;dur=([0-9.]+)", running.post("/v1/resize?width=9", PHOTO, key).headers["Server-Timing"]).group(1) for _ in range(5)}
    assert len(took) > 1
    assert running.worker.stop() == 0
    running.worker.argv.remove("--test")
    running.worker.start(wait=False)
    assert running.worker.process.wait(PATIENCE_S) == 2
    assert "needs --test" in running.worker.events("config_invalid")[-1]["message"]


def test_worker_becomes_ready_while_it_has_more_work_than_converters(make_system):
    running = make_system(converters=16, env={"CAVAGE_WORKER_CONVERTER": "sleep:500"}, test_mode=True)
    key = running.new_customer("load")
    load = Load(running.url("/v1/resize?width=32"), key, PHOTO, 32).start()
    wait_until(lambda: load.answered >= 4, "the load to run")
    running.worker.kill()
    running.worker.start()
    unharmed(load.stop())


@pytest.mark.skipif("CAVAGE_SAN" in os.environ, reason="a zygote may take a minute there")
def test_zygote_that_hangs_is_replaced(make_system):
    running = make_system()
    key = running.new_customer("load")
    zygote = zygote_of(running.worker)
    os.kill(zygote, signal.SIGSTOP)
    for pid in converters_of(running.worker):
        os.kill(pid, signal.SIGKILL)
    assert running.post("/v1/resize?width=32", PHOTO, key).status_code == 200
    assert not pid_alive(zygote)


def test_zygote_that_hangs_does_not_outlive_its_worker(make_system):
    running = make_system()
    zygote = zygote_of(running.worker)
    os.kill(zygote, signal.SIGSTOP)
    running.worker.kill()
    try:
        wait_until(lambda: not pid_alive(zygote), "the zygote to end", timeout_s=10)
    finally:
        if pid_alive(zygote):
            os.kill(zygote, signal.SIGKILL)
        running.worker.start()


@pytest.mark.skipif("CAVAGE_SAN" in os.environ, reason="sanitizers keep memory of their own")
def test_memory_of_large_images_is_given_back(make_system):
    running = make_system(converters=1)
    key = running.new_customer("load")
    converter = wait_until(lambda: converters_of(running.worker), "the converter")[0]
    for side in (2500, 6000):
        for options in ({"progressive": True, "subsampling": 0}, {}):
            out = io.BytesIO()
            Image.linear_gradient("L").resize((side, side)).convert("RGB").save(out, "JPEG", **options)
            assert running.post("/v1/resize?width=300", out.getvalue(), key).status_code == 200

    def rss_anon_kb():
        return int(re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{converter}/status").read_text()).group(1))

    wait_until(lambda: rss_anon_kb() < 64 * 1024, "the converter to give memory back", timeout_s=10)


def test_junk_of_strangers_is_counted_and_dropped(make_system, nanomsg):
    running = make_system()
    key = running.new_customer("load")
    rng = random.Random(7)
    for name, daemon, metric in [
        ("jobs0.sock", running.worker, "cavage_worker_messages_refused_total"), ("results.sock", running.api, "cavage_bad_messages_total"),
    ]:
        push = nanomsg.push(f"ipc://{running.data}/run/{name}")
        for n in range(JUNK):
            data = rng.randbytes(rng.randrange(200))
            kind = rng.choice([1, 2, 3, 4, 5, 6, 7])
            junk = [data, frame(kind, data), frame(kind, data[:40], data[40:]), frame(kind, field(1, data[:16]) + field(2, data[16:32]) + data[32:])]
            message = junk[n % len(junk)]
            assert nanomsg.nn_send(push, message, len(message), 0) == len(message)
        wait_until(lambda d=daemon, m=metric: d.metric(m) >= JUNK, "the junk to be counted", interval_s=0.1)
    assert running.post("/v1/resize?width=32", PHOTO, key).status_code == 200


def test_hello_over_ipc_that_names_tcp_is_refused(make_system, nanomsg):
    """This worker has no keys: it could not answer there."""
    running = make_system()
    key = running.new_customer("c")
    met = len(running.worker.events("api_connected"))
    push = nanomsg.push(f"ipc://{running.data}/run/jobs0.sock")
    for n in range(3):
        message = hello(bytes([n + 1]) * 16, "tcp://127.0.0.1:9")
        assert nanomsg.nn_send(push, message, len(message), 0) == len(message)
    wait_until(lambda: running.worker.metric("cavage_worker_messages_refused_total") == 3, "the messages to be refused")
    assert running.post("/v1/resize?width=32", PHOTO, key).status_code == 200
    assert len(running.worker.events("api_connected")) == met and not running.worker.events("results_unreachable")
