# SPDX-License-Identifier: MIT
"""`cavage bench`: an open loop whose latencies count from the schedule, whoever stalls, and which tells refusals from failures."""

import json
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest

import images
from harness import BIN, PATIENCE_S, wait_until

PHOTO = images.encoded("jpeg", 64, 48)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(PHOTO)
    return path


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# of nobody\ncvg_0123456789abcdef_secret\n")
    return path


def bench(*args, check=True):
    """The report; None when there is none."""
    done = subprocess.run([str(BIN / "cavage"), "bench", "--json", *map(str, args)], capture_output=True, text=True, timeout=2 * PATIENCE_S)
    assert not check or done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


class Request:
    """One request that a server of ours has read."""

    def __init__(self, connection, head, body):
        self.connection, self.head, self.body = connection, head, body


@contextmanager
def server(serve):
    """A server that calls serve(request) for each request; a connection ends when that gives False."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def read_all(connection):
        connection.settimeout(PATIENCE_S)
        text = b""
        try:
            while True:
                while b"\r\n\r\n" not in text:
                    more = connection.recv(65536)
                    if not more:
                        return
                    text += more
                head, text = text.split(b"\r\n\r\n", 1)
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                while len(text) < length:
                    more = connection.recv(65536)
                    if not more:
                        return
                    text += more
                body, text = text[:length], text[length:]
                if serve(Request(connection, head, body)) is False:
                    return
        except OSError:
            pass
        finally:
            connection.close()

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=read_all, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE_S)


def test_latency_counts_from_the_schedule_when_the_server_stalls(photo, key_file):
    """A server that answers nobody before 50 requests have come. A closed loop would send one a connection and wait for ever; here they come on
    schedule, 10 ms apart, and the first of them has waited for the 49 after it."""
    held, lock = [], threading.Lock()

    def serve(request):
        with lock:
            held.append(request)
            ready = held[:] if len(held) >= 50 else []
            del held[: len(ready)]
        for one in ready:
            one.connection.sendall(OK)

    with server(serve) as url:
        report = bench(photo, "--url", url, "--key-file", key_file, "--arrivals", "constant", "--rate", 100, "--count", 100)
    assert (report["sent"], report["ok"], report["failed"]) == (100, 100, 0)
    assert report["latency_ms"]["max"] >= 490
    assert report["latency_ms"]["p50"] >= 240
    assert report["generator"]["held_ms"]["count"] == 0


def test_latency_counts_from_the_schedule_when_connections_are_short(photo, key_file):
    """One connection, on which the first answer takes 400 ms: the 40 requests that were due meanwhile have waited, and the report says so."""
    calls = []

    def serve(request):
        calls.append(request)
        if len(calls) == 1:
            time.sleep(0.4)
        request.connection.sendall(OK)

    with server(serve) as url:
        report = bench(photo, "--url", url, "--key-file", key_file, "--arrivals", "constant", "--rate", 100, "--count", 40, "-c", 1, "--slo", "200ms")
    assert report["ok"] == 40
    assert report["generator"]["connections"] == 1
    assert report["generator"]["held_ms"]["count"] >= 38
    assert report["latency_ms"]["p50"] >= 200
    assert report["in_time"] <= 20


def test_what_is_sent_is_a_proper_request(photo, key_file, tmp_path):
    other = tmp_path / "other.png"
    other.write_bytes(images.encoded("png", 9, 7))
    seen = []

    def serve(request):
        seen.append(request)
        request.connection.sendall(OK)

    with server(serve) as url:
        bench(photo, other, "--url", url + "/below/", "--key-file", key_file, "--query", "width=5&format=png", "--rate", 500, "--count", 50)
    assert len(seen) == 50
    assert {request.body for request in seen} == {PHOTO, other.read_bytes()}
    for request in seen:
        lines = request.head.decode().split("\r\n")
        assert lines[0] == "POST /below/v1/resize?width=5&format=png HTTP/1.1"
        assert "Host: " + url.removeprefix("http://") in lines
        assert "Authorization: Bearer cvg_0123456789abcdef_secret" in lines


@pytest.mark.parametrize(
    "answer, failure",
    [(b"", "closed"), (OK[:30], "closed"), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "closed"), (b"220 ready\r\n", "malformed")],
)
def test_broken_answers_are_failures_and_the_connection_is_replaced(photo, key_file, answer, failure):
    """Every second request is answered badly, by a server that closes then."""
    count, lock = [0], threading.Lock()

    def serve(request):
        with lock:
            count[0] += 1
            bad = count[0] % 2 == 0
        request.connection.sendall(answer if bad else OK)
        return not bad

    with server(serve) as url:
        report = bench(photo, "--url", url, "--key-file", key_file, "--rate", 200, "--count", 40)
    assert (report["sent"], report["ok"], report["failed"]) == (40, 20, 20)
    assert report["failures"][failure] == 20
    assert report["generator"]["connections"] >= 20


def test_nobody_there_and_nobody_answering(photo, key_file):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        report = bench(photo, "--url", url, "--key-file", key_file, "--rate", 100, "--count", 5, "--timeout", "200ms", check=False)
        assert report["failures"]["timeout"] == 5
    with socket.socket() as bound:  # nobody else listens there
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        report = bench(photo, "--url", url, "--key-file", key_file, "--rate", 100, "--count", 5, check=False)
    assert report["failures"]["connect"] == 5
    assert report["ok"] == 0


def test_an_interrupt_ends_the_schedule_and_the_report_tells(photo, key_file):
    seen = []

    def serve(request):
        seen.append(request)
        request.connection.sendall(OK)

    with server(serve) as url:
        args = ["bench", "--json", str(photo), "--url", url, "--key-file", str(key_file), "--rate", "100", "--duration", "1h"]
        process = subprocess.Popen([str(BIN / "cavage"), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: len(seen) >= 5, "requests")
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    report = json.loads(out)
    assert process.returncode == 0
    assert report["cut"] and report["sent"] == report["ok"] == len(seen)


def test_customers_of_the_system_are_played(system, photo):
    """Their keys are made for the run and revoked after it; the first sends what the mix says."""
    args = ["--data", system.data, "--customers", 5, "--mix", "first:6", "--rate", 100, "--count", 100, "--query", "width=10"]
    for _ in range(2):
        report = bench(photo, *args)
        assert (report["sent"], report["ok"], report["failed"], report["customers"]) == (100, 100, 0, 5)
        assert report["statuses"] == {"200": 100}
        assert report["first"]["ok"] + report["others"]["ok"] == 100
        assert 40 <= report["first"]["sent"] <= 80
        assert report["server_ms"]["convert"]["count"] == report["server_ms"]["queue"]["count"] == 100
        assert report["bytes_sent"] == 100 * len(PHOTO)
        for n in range(1, 6):
            status, answer = system.admin("GET", f"/v1/customers/bench-{n}/keys")
            assert status == 200 and answer["keys"] == []


def test_refusals_are_told_by_reason(system, photo, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(system.new_customer("slow", rate_per_s=1, burst=1) + "\n")
    report = bench(photo, "--data", system.data, "--key-file", keys, "--rate", 200, "--count", 60, "--query", "width=10")
    assert report["ok"] >= 1
    assert report["ok"] + report["refused"] == 60
    assert report["refusals"] == {"rate_limited": report["refused"]}
    assert report["statuses"]["429"] == report["refused"]
    assert report["refused_latency_ms"]["count"] == report["refused"]


def test_the_warm_up_does_not_count(system, photo, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(system.new_customer("warm") + "\n")
    args = ["--data", system.data, "--key-file", keys, "--arrivals", "constant", "--rate", 100, "--query", "width=10"]
    report = bench(photo, *args, "--duration", "600ms", "--warm-up", "400ms")
    assert (report["warm_up"], report["sent"]) == (40, 20)
    assert report["latency_ms"]["count"] == 20
    assert abs(report["measured_s"] - 0.2) < 1e-9


def test_people_get_a_table_and_wrong_options_a_reason(system, photo, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(system.new_customer("people") + "\n")
    done = system.cli("bench", str(photo), "--key-file", str(keys), "--rate", "50:100", "--count", "20", "--query", "width=10")
    assert "requests     20 sent, 20 ok" in done.stdout
    assert "latency " in done.stdout
    for wrong in (
        ["--rate", "0"], ["--rate", "5:x"], ["--duration", "5"], ["--mix", "first:"], ["--arrivals", "uniform"], ["--count", "-1"],
        ["--warm-up", "20s"], ["--url", "https://x"], ["--customers", "3"], ["--path", "v1"],
    ):
        done = system.cli("bench", str(photo), "--key-file", str(keys), *wrong, check=False)
        assert (done.returncode, done.stdout) == (2, ""), wrong
        assert done.stderr.startswith("cavage bench: "), wrong
    keys.write_text("two words\n")
    assert "line 1 is not a key" in system.cli("bench", str(photo), "--key-file", str(keys), check=False).stderr
