# SPDX-License-Identifier: MIT
"""Clients that do everything a client should not, while workers die and the server drains; afterwards nothing may be left over, and every
admitted request has exactly one usage record. What is done follows from a seed (CAVAGE_TEST_SEED), which is printed; when is up to the machine."""

import os
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from pathlib import Path

import images
from harness import PATIENCE_S, wait_until
from test_faults import wait_kept_usage

SEED = int(os.environ.get("CAVAGE_TEST_SEED", "1913"))
SECONDS = float(os.environ.get("CAVAGE_TEST_CHAOS_S", "6"))
CLIENTS = 12

PHOTO = images.encoded("jpeg", 640, 480)
BIG = images.encoded("png", 900, 700)
TORN = PHOTO[: len(PHOTO) // 2]

# Whether a request whose client saw this answer has a usage record: always, never, or (not listed) either.
RECORDED = {200, 415, 422, 504}
UNRECORDED = {401, 403, 404, 405, 411, 431}
# What any request may meet: connections at their bound, a full arena, workers that were killed, a machine that is slow.
BUSY = {408, 429, 503, 504}


def multipart(rng):
    """(content type, body) of a form that is right or wrong in some way."""
    mark = rng.choice(["x", "b" * 70, "a'()+_,-./:=?z"])
    part = 'Content-Disposition: form-data; name="f"; filename="p"\r\n\r\n'.encode()
    start, end = f"--{mark}\r\n".encode(), f"\r\n--{mark}--\r\n".encode()
    body = rng.choice(
        [
            start + part + PHOTO + end,
            b"preamble\r\n" + start + part + PHOTO + end + b"epilogue" * 100,
            start + part + end,
            start + part + PHOTO,
            start + part + PHOTO + b"\r\n" + start + part + PHOTO + end,
            start + b"X: " + b"y" * 5000 + b"\r\n" + part + PHOTO + end,
            b"z" * 300_000 + b"\r\n" + start + part + PHOTO + end,
            start + b'Content-Disposition: form-data; name="f"\r\n\r\nno file' + end,
            start + b"Content-Type: multipart/mixed; boundary=in\r\n" + part + b"--in\r\n\r\n--in--" + end,
            f"--{mark}".encode() + b" " * 100 + b"\r\n" + part + PHOTO + end,
            b"--" + mark.encode() + b"-" + part,
        ]
    )
    return f'multipart/form-data; boundary="{mark}"', body


def chunked(rng, body):
    """The body in chunks, with extensions and trailers, now and then broken."""
    out, at = b"", 0
    while at < len(body):
        size = rng.choice([1, 7, 1000, 16384, 100_000])
        piece = body[at : at + size]
        extension = rng.choice([b"", b"", b";a=b", b';q="v"'])
        out += b"%x" % len(piece) + extension + b"\r\n" + piece + b"\r\n"
        at += size
        if rng.random() < 0.01:
            return out + rng.choice([b"zz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"\r\n", b"5\r\nabc"])
    return out + b"0\r\n" + rng.choice([b"", b"X-Trailer: 1\r\n", b"Content-Length: 5\r\n"]) + b"\r\n"


class Client(threading.Thread):
    """One misbehaving client with a generator of random numbers of its own."""

    def __init__(self, address, key, number, until):
        super().__init__(daemon=True)
        self.address, self.key, self.number, self.until = address, key, number, until
        self.rng = random.Random(SEED * 1000 + number)
        self.sent = 0
        self.act = ""
        self.statuses = {}  # request id -> status that the client saw, None when it did not wait for one
        self.free = set()  # request ids of requests that are never billed
        self.wrong = []
        self.acts = [
            self.honest, self.honest, self.torn, self.pipelined, self.refused, self.framing, self.junk, self.chunks, self.form,
            self.leaves, self.half_closes, self.never_reads, self.crowd, self.stalls, self.expects, self.not_image,
        ]

    # ---- Building blocks ----

    def new_id(self):
        self.sent += 1
        name = f"chaos-{self.number:02d}-{self.sent:06d}-end"
        self.statuses[name] = None
        return name

    def request(self, body=PHOTO, target="/v1/resize?width=40", method="POST", headers=(), length=True, key=None, version="1.1"):
        """(request id, bytes)"""
        name = self.new_id()
        lines = [f"{method} {target} HTTP/{version}", "Host: x", f"X-Request-Id: {name}", f"Authorization: Bearer {key or self.key}", *headers]
        if length:
            lines.append(f"Content-Length: {len(body)}")
        return name, "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def health(self):
        name, data = self.request(b"", "/healthz", "GET")
        self.free.add(name)
        return name, data

    def connect(self, receive_buffer=0):
        sock = socket.socket()
        sock.settimeout(PATIENCE_S)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.connect(self.address)
        return sock

    def leave(self, sock):
        """Close, or reset."""
        if self.rng.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    def send_in_pieces(self, sock, data):
        while data:
            size = self.rng.choice([1, 10, 500, 5000, len(data)])
            sock.sendall(data[:size])
            data = data[size:]
            if self.rng.random() < 0.2:
                time.sleep(self.rng.random() * 0.003)

    def read_answers(self, sock, count):
        """[(status, request id)] of up to `count` answers; fewer when the server closes."""
        answers, buffer = [], b""
        while len(answers) < count:
            head, mark, rest = buffer.partition(b"\r\n\r\n")
            if mark:
                status = int(head.split(b" ", 2)[1])
                length = int((re.search(rb"(?i)content-length: (\d+)", head) or [0, 0])[1])
                if len(rest) >= length:
                    buffer = rest[length:]
                    name = re.search(rb"(?i)x-request-id: (\S+)", head)
                    if status != 100:
                        answers.append((status, name[1].decode() if name else ""))
                    continue
            data = sock.recv(65536)
            if not data:
                break
            buffer += data
        return answers

    def expect(self, sock, names, allowed):
        """Read an answer for each name, in order; each must be one of `allowed`."""
        for (status, seen), name in zip(self.read_answers(sock, len(names)), names):
            if seen and seen != name and seen in self.statuses:
                self.wrong.append((self.act, name, f"answered as {seen}"))
            self.statuses[name] = status
            if status not in allowed | BUSY:
                self.wrong.append((self.act, name, status))

    # ---- Acts ----

    def honest(self):
        with self.connect() as sock:
            for _ in range(self.rng.randint(1, 4)):
                name, data = self.request()
                self.send_in_pieces(sock, data)
                self.expect(sock, [name], {200})

    def not_image(self):
        with self.connect() as sock:
            name, data = self.request(self.rng.choice([b"x", b"not an image" * 1000, TORN, PHOTO[:2]]))
            sock.sendall(data)
            self.expect(sock, [name], {415, 422, 200})

    def torn(self):
        _, data = self.request()
        sock = self.connect()
        sock.sendall(data[: self.rng.randint(0, len(data) - 1)])
        if self.rng.random() < 0.3:
            sock.shutdown(socket.SHUT_WR)
            self.read_answers(sock, 1)
        self.leave(sock)

    def pipelined(self):
        kinds = [
            lambda: self.request(),
            lambda: self.request(b"", "/nothing", "GET"),
            self.health,
            lambda: self.request(PHOTO, "/v1/resize?width=none"),
            lambda: self.request(PHOTO, key="cvg_wrong"),
            lambda: self.request(b"junk"),
        ]
        names, datas = zip(*[self.rng.choice(kinds)() for _ in range(self.rng.randint(2, 8))])
        sock = self.connect()
        sender = threading.Thread(target=self.quietly, args=(sock.sendall, b"".join(datas)), daemon=True)
        sender.start()
        if self.rng.random() < 0.7:
            self.expect(sock, names, {200, 400, 401, 404, 415})
        else:
            time.sleep(self.rng.random() * 0.02)
        sock.shutdown(socket.SHUT_RDWR)
        sender.join()
        self.leave(sock)

    def refused(self):
        sock = self.connect()
        size = self.rng.choice([10, 1000, 60_000, 400_000])
        name, data = self.request(b"x" * size, key="cvg_wrong")
        if self.rng.random() < 0.6:
            sock.sendall(data)
            self.expect(sock, [name], {401})
        else:
            sock.sendall(data[: self.rng.randint(1, len(data))])
        self.leave(sock)

    def framing(self):
        with self.connect() as sock:
            name, data = self.request(
                length=False,
                headers=self.rng.choice(
                    [
                        ["Content-Length: 5", "Content-Length: 5"],
                        ["Content-Length: 5", "Transfer-Encoding: chunked"],
                        ["Transfer-Encoding: gzip"],
                        ["Content-Length: +5"],
                        ["Content-Length: 99999999999999999999999"],
                        ["Content-Length: 18446744073709551615"],
                        ["Host: y", "Content-Length: 5"],
                        ["Content-Length : 5"],
                    ]
                ),
            )
            sock.sendall(data[: data.index(b"\r\n\r\n") + 4] + b"12345")
            self.expect(sock, [name], {400, 413})

    def junk(self):
        sock = self.connect()
        data = self.rng.choice(
            [
                bytes(self.rng.randrange(256) for _ in range(self.rng.randint(1, 3000))),
                b"GET /healthz\r\n\r\n",
                b"\r\n" * 2000,
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
                b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\0: y\r\n\r\n",
                b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
                b"GET /healthz HTTP/1.1\nHost: x\n\n",
                b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
                b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 4000 + b"\r\n",
                b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                b"POST /v1/resize\0?width=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
                b": \r\n: \r\n\r\n",
                b"GET  HTTP/1.1\r\n\r\n",
            ]
        )
        self.quietly(sock.sendall, data)
        if self.rng.random() < 0.5:
            self.quietly(sock.shutdown, socket.SHUT_WR)
            self.read_answers(sock, 1)
        self.leave(sock)

    def chunks(self):
        with self.connect() as sock:
            body = chunked(self.rng, self.rng.choice([PHOTO, b"", BIG]))
            whole = body.endswith(b"\r\n\r\n")
            name, head = self.request(b"", length=False, headers=["Transfer-Encoding: chunked"])
            self.quietly(self.send_in_pieces, sock, head + body)
            if not whole:
                self.quietly(sock.shutdown, socket.SHUT_WR)
            self.expect(sock, [name], {200, 400, 413, 415})

    def form(self):
        with self.connect() as sock:
            content_type, body = multipart(self.rng)
            name, data = self.request(body, headers=[f"Content-Type: {content_type}"])
            sock.sendall(data)
            self.expect(sock, [name], {200, 400, 415})

    def leaves(self):
        """Gone while the job is under way."""
        sock = self.connect()
        _, data = self.request(BIG, "/v1/resize?width=800&format=webp")
        sock.sendall(data)
        time.sleep(self.rng.random() * 0.05)
        self.leave(sock)

    def half_closes(self):
        with self.connect() as sock:
            name, data = self.request()
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            self.expect(sock, [name], {200})

    def never_reads(self):
        """An answer larger than all buffers, of which little or nothing is read."""
        sock = self.connect(receive_buffer=4096)
        _, data = self.request(BIG, "/v1/resize?width=2000&enlarge=1&format=tiff")
        self.quietly(sock.sendall, data)
        time.sleep(self.rng.random())
        self.quietly(sock.recv, self.rng.randint(1, 5000))
        self.leave(sock)

    def crowd(self):
        socks = []
        for _ in range(self.rng.randint(5, 60)):
            socks.append(self.connect())
            if self.rng.random() < 0.3:
                self.quietly(socks[-1].sendall, b"POST /v1/resize HTTP/1.1\r\n")
        for sock in socks:
            self.leave(sock)

    def stalls(self):
        """Stops in mid-request, until the server has enough of it or a little less."""
        sock = self.connect()
        name, data = self.request()
        sock.sendall(data[: self.rng.randint(1, len(data) - 1)])
        if self.rng.random() < 0.3:
            self.expect(sock, [name], set())
        else:
            time.sleep(self.rng.random() * 0.3)
        self.leave(sock)

    def expects(self):
        with self.connect() as sock:
            key = self.rng.choice([None, "cvg_wrong"])
            name, data = self.request(key=key, headers=["Expect: 100-continue"])
            cut = data.index(b"\r\n\r\n") + 4
            sock.sendall(data[:cut])
            if self.rng.random() < 0.5:
                time.sleep(self.rng.random() * 0.01)
            self.quietly(sock.sendall, data[cut:])
            self.expect(sock, [name], {200, 401})

    # ---- Running ----

    def quietly(self, call, *args):
        try:
            call(*args)
        except OSError:
            pass

    def run(self):
        while not self.until():
            act = self.rng.choice(self.acts)
            self.act = act.__name__
            try:
                act()
            except TimeoutError:
                self.wrong.append((self.act, "no answer"))
            except OSError:
                pass  # cut off, by the server or by our own leaving: at the bound that is in order


def run_clients(address, key, first, until):
    clients = [Client(address, key, first + n, until) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    return clients


def join(clients):
    for client in clients:
        client.join(3 * PATIENCE_S)
        assert not client.is_alive(), "a client hangs"
    assert not [wrong for client in clients for wrong in client.wrong]


def records(running):
    """How often each request id stands in the ledger."""
    found = Counter()
    for path in (running.data / "ledger").rglob("*"):
        if path.is_file():
            found.update(name.decode() for name in re.findall(rb"chaos-\d\d-\d{6}-end", path.read_bytes()))
    return found


def check_records(running, clients):
    found = records(running)
    wrong = {}
    for client in clients:
        for name, status in client.statuses.items():
            count = found[name]
            never = status in UNRECORDED or name in client.free
            if count > 1 or (never and count) or (status in RECORDED and not never and count != 1):
                wrong[name] = (status, count)
    assert not wrong, wrong
    assert sum(found.values()) > len(clients)


def anonymous_kib(pid):
    return int(re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def check_nothing_left(running):
    for name in ("cavage_staged_bytes", "cavage_connections", "cavage_requests_in_flight", "cavage_jobs_queued", "cavage_jobs_sent"):
        wait_until(lambda series=name: running.api.metric(series) == 0, f"{name} to be 0", interval_s=0.05)
    wait_until(lambda: running.api.metric("cavage_usage_spool_bytes") == 0, "the meter to have all usage", interval_s=0.1)


def test_chaos_leaves_nothing_behind(make_system):
    print(f"CAVAGE_TEST_SEED={SEED}")
    running = make_system(
        workers=2,
        env={
            "CAVAGE_API_MAX_CONNECTIONS": "48",
            "CAVAGE_API_REQUEST_DEADLINE_MS": "5s",
            "CAVAGE_API_SEND_DEADLINE_MS": "1s",
            "CAVAGE_API_DISCARD_BYTES": "100K",
            "CAVAGE_API_DISCARD_MS": "300ms",
            "CAVAGE_API_MAX_BODY_BYTES": "4M",
            "CAVAGE_STAGING_BUDGET_BYTES": "12M",
            "CAVAGE_STAGING_CUSTOMER_PERCENT": "50",
        },
    )
    keys = [running.new_customer(name) for name in ("one", "two")]
    wait_until(lambda: running.api.metric("cavage_arena_readers") == 2, "both workers to be linked")
    assert running.post("/v1/resize?width=40", PHOTO, keys[0]).status_code == 200
    check_nothing_left(running)
    files = open_files(running.api.pid)
    clients, sizes = [], []

    for lap in range(2):
        end = time.monotonic() + SECONDS
        crowd = run_clients(running.address, keys[lap], lap * CLIENTS, lambda: time.monotonic() > end)
        for worker in running.workers:
            wait_until(lambda: time.monotonic() > end - SECONDS / 2, "half of the time")
            worker.kill()
            worker.start()
        join(crowd)
        clients += crowd
        check_nothing_left(running)
        sizes.append(anonymous_kib(running.api.pid))
        assert running.post("/v1/resize?width=40", PHOTO, keys[lap]).status_code == 200
    check_records(running, clients)
    wait_until(lambda: open_files(running.api.pid) <= files + 2, "descriptors to be closed")
    if not os.environ.get("CAVAGE_SAN"):
        assert sizes[1] < sizes[0] + 16 * 1024, sizes

    crowd = run_clients(running.address, keys[0], 2 * CLIENTS, lambda: running.api.process.poll() is not None)
    time.sleep(1)
    assert running.api.stop() == 0
    join(crowd)
    wait_kept_usage(running)
    check_records(running, clients + crowd)
