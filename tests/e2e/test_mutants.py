# SPDX-License-Identifier: MIT
"""Thousands of mutated pictures of every format through the running service: each is answered by a picture or a problem, and nothing restarts."""

import http.client
import io
import json
import os
import random
import struct
import threading
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import images
from harness import children_of, wait_until

# Under a sanitizer a tenth will do, and memory is its own; any number can be asked for.
SANITIZED = bool(os.environ.get("CAVAGE_SAN"))
MUTANTS = int(os.environ.get("CAVAGE_TEST_MUTANTS", "1000" if SANITIZED else "10000"))
CLIENTS = 6
SEED = 20110420
GROWTH_KB = 32 * 1024
RECYCLE_KB = 128 * 1024
# Where each format has its mark, and the mark.
MARKS = {
    "image/jpeg": (0, b"\xff\xd8\xff"), "image/png": (0, b"\x89PNG"), "image/webp": (8, b"WEBP"), "image/avif": (4, b"ftypavif"),
    "image/gif": (0, b"GIF8"), "image/tiff": (0, b"II*\0"),
}
QUERIES = [
    "/v1/resize?width=16", "/v1/resize?width=24&height=24&fit=cover&format=jpeg", "/v1/resize?width=20&height=30&fit=contain&format=png&background=8f08",
    "/v1/resize?width=33&height=7&fit=fill&format=webp", "/v1/resize?width=9&fit=outside&format=gif", "/v1/resize?format=tiff",
    "/v1/resize?height=40&enlarge=1&format=png", "/v1/resize?width=1&height=1&format=webp", "/v1/info",
    "/v1/renditions?output=a:width=20,format=jpeg&output=b:width=9,height=9,fit=cover,format=webp&output=c:format=png",
]
AVIF_QUERY = "/v1/resize?width=8&format=avif"
# Values at the edges of lengths, counts and offsets.
EDGES = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def saved(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


class Preparations:
    """Requests beside the mutants, which the usage has to show too."""

    def __init__(self, system, key):
        self.system, self.key = system, key
        self.requests = self.sent_bytes = self.received_bytes = 0

    def post(self, path, body):
        answer = self.system.post(path, body, self.key)
        assert answer.status_code == 200, answer.text
        self.requests += 1
        self.sent_bytes += len(body)
        self.received_bytes += len(answer.content)
        return answer.content


def seeds(preparations):
    """Small pictures of every format and many of their variants; AVIF is written by the service."""
    scene = images.scene(48, 36)
    clear = scene.copy()
    clear.putalpha(scene.convert("L"))
    frames = [images.scene(24, 20, seed) for seed in range(3)]
    exif = scene.getexif()
    exif[0x0112] = 6
    animated = {"save_all": True, "append_images": frames[1:]}
    made = [
        saved(scene, "JPEG"), saved(scene, "JPEG", progressive=True), saved(scene, "JPEG", subsampling=0, exif=exif), saved(scene.convert("L"), "JPEG"),
        saved(scene.convert("CMYK"), "JPEG"), saved(scene, "PNG"), saved(clear, "PNG"), saved(scene.convert("P"), "PNG"), saved(scene.convert("1"), "PNG"),
        saved(scene.convert("LA"), "PNG"), saved(scene.convert("I"), "PNG"), saved(scene, "WEBP"), saved(clear, "WEBP", lossless=True),
        saved(frames[0], "WEBP", **animated), saved(scene, "GIF"), saved(scene, "GIF", interlace=0), saved(frames[0], "GIF", **animated),
        saved(scene, "TIFF"), saved(clear, "TIFF", compression="tiff_lzw"), saved(scene, "TIFF", compression="tiff_adobe_deflate"),
        saved(scene.convert("1"), "TIFF", compression="group4"), saved(scene.convert("CMYK"), "TIFF", compression="packbits"),
        saved(scene, "TIFF", compression="jpeg"), saved(frames[0], "TIFF", **animated),
    ]
    for picture in (scene, clear, scene.convert("L")):
        made.append(preparations.post("/v1/resize?format=avif", saved(picture, "PNG")))
    return made


def flip_bits(rng, data, others):
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def set_bytes(rng, data, others):
    for _ in range(rng.choice((1, 2, 8))):
        data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def set_edge(rng, data, others):
    value = rng.choice(EDGES)
    code = rng.choice(("B", ">H", "<H", ">I", "<I"))
    size = struct.calcsize(code)
    at = rng.randrange(min(len(data), 200) if rng.random() < 0.6 else len(data))
    data[at : at + size] = struct.pack(code, value & ((1 << 8 * size) - 1))


def cut_end(rng, data, others):
    del data[rng.randrange(1, len(data)) :]


def cut_out(rng, data, others):
    at = rng.randrange(len(data))
    del data[at : at + rng.randrange(1, 64)]


def repeat(rng, data, others):
    at = rng.randrange(len(data))
    piece = data[at : at + rng.randrange(1, 64)]
    data[at:at] = piece * rng.randrange(1, 5)


def insert_noise(rng, data, others):
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.randrange(1, 32))


def splice(rng, data, others):
    other = rng.choice(others)
    del data[rng.randrange(1, len(data)) :]
    data += other[rng.randrange(len(other)) :]


def mend_png(data):
    """With right checksums, so that the change gets further than the first of them."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        data[at + 8 + length : at + 12 + length] = struct.pack(">I", zlib.crc32(data[at + 4 : at + 8 + length]))
        at += 12 + length


CHANGES = [flip_bits, flip_bits, set_bytes, set_edge, set_edge, cut_end, cut_out, repeat, insert_noise, splice]


def mutant(number, originals):
    """The request of that number: the same in every run."""
    rng = random.Random(SEED + number)
    data = bytearray(originals[number % len(originals)])
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(CHANGES)(rng, data, originals)
        if not data:
            data = bytearray(b"\0")
    if data[:4] == b"\x89PNG" and rng.random() < 0.8:
        mend_png(data)
    # AVIF is slow to write.
    return (AVIF_QUERY if number % 50 == 0 else rng.choice(QUERIES)), bytes(data)


def judge_picture(number, kind, body):
    at, mark = MARKS.get(kind, (0, None))
    if mark is None or body[at : at + len(mark)] != mark:
        return f"{kind} of {len(body)} bytes that begin with {body[:20]!r}"
    # Pillow's word for one in ten; Debian's knows no AVIF.
    if number % 10 == 0 and kind != "image/avif":
        images.decoded(body)
    return None


def pictures_of(answer, body):
    """The pictures of an answer that is good: (media type, bytes) each."""
    if answer.status != 200 or answer.headers["Content-Type"] != "application/zip":
        return [(answer.headers["Content-Type"], body)] if answer.status == 200 else []
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return [("image/" + name.rsplit(".", 1)[1].replace("jpg", "jpeg"), archive.read(name)) for name in archive.namelist()]


def judge(number, path, answer, body):
    """What is wrong with an answer, or None."""
    kind = answer.headers["Content-Type"]
    if answer.status == 200 and path == "/v1/info":
        return None if kind == "application/json" and json.loads(body)["width"] > 0 else f"info {kind} {body[:200]!r}"
    if answer.status == 200:
        return next(filter(None, (judge_picture(number, *picture) for picture in pictures_of(answer, body))), None)
    if kind != "application/problem+json":
        return f"{answer.status} {kind}"
    problem = json.loads(body)
    return None if answer.status in (415, 422) and problem["status"] == answer.status and problem["detail"] else f"problem {problem}"


class Sender:
    """Clients that send the mutants between them."""

    def __init__(self, system, key, originals, count):
        self.system, self.originals = system, originals
        self.headers = {"Authorization": f"Bearer {key}", "Accept": "application/zip"}
        self.numbers = iter(range(count))
        self.statuses, self.wrong, self.sent_bytes, self.received_bytes = Counter(), [], 0, 0
        self.lock = threading.Lock()

    def run(self):
        threads = [threading.Thread(target=self.client, daemon=True) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self

    def client(self):
        connection = http.client.HTTPConnection(*self.system.address, timeout=60)
        while len(self.wrong) < 20:
            with self.lock:
                number = next(self.numbers, None)
            if number is None:
                break
            path, data = mutant(number, self.originals)
            body, made = b"", 0
            try:
                connection.request("POST", path, data, self.headers)
                answer = connection.getresponse()
                body = answer.read()
                made = sum(len(picture) for _, picture in pictures_of(answer, body))
                status, fault = answer.status, judge(number, path, answer, body)
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                status, fault = 0, repr(error)
                connection.close()
            with self.lock:
                self.statuses[status] += 1
                self.sent_bytes += len(data)
                self.received_bytes += made
                if fault:
                    self.wrong.append(f"mutant {number}, {path}: {fault}")
        connection.close()


def anonymous_kb(pid):
    """RssAnon of a process in KB; 0 when it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def check_memory(running, before):
    for daemon in running.daemons:
        grown = anonymous_kb(daemon.pid) - before[daemon.instance]
        assert grown < GROWTH_KB, f"{daemon.instance} grew by {grown} KB"
    # Converters that mutants bloated are replaced.
    wait_until(lambda: all(anonymous_kb(pid) <= RECYCLE_KB for pid in children_of(running.worker.pid)), "bloated converters to be replaced")


def test_mutants_are_answered_and_nothing_restarts(make_system):
    running = make_system(env={} if SANITIZED else {"CAVAGE_WORKER_RECYCLE_BYTES": f"{RECYCLE_KB}K"})
    key = running.new_customer("mutants")
    aside = Preparations(running, key)
    originals = seeds(aside)
    warm = Sender(running, key, originals, min(MUTANTS // 10, 500)).run()
    assert not warm.wrong, "\n".join(warm.wrong)
    pids = [daemon.pid for daemon in running.daemons]
    zygotes = children_of(running.worker.pid)
    before = {daemon.instance: anonymous_kb(daemon.pid) for daemon in running.daemons}

    load = Sender(running, key, originals, MUTANTS).run()

    assert not load.wrong, "\n".join(load.wrong)
    assert sum(load.statuses.values()) == MUTANTS
    # The mutations are neither harmless nor hopeless.
    assert load.statuses[200] > MUTANTS // 20 and load.statuses[422] > MUTANTS // 20 and load.statuses[415] > 0, load.statuses
    assert [daemon.pid for daemon in running.daemons if daemon.process.poll() is None] == pids
    assert running.worker.metric("cavage_zygotes_started_total") == 1 and zygotes
    if not SANITIZED:
        check_memory(running, before)
    aside.post("/v1/resize?width=50", images.encoded("jpeg"))

    total = MUTANTS + sum(warm.statuses.values()) + aside.requests
    rows = wait_until(lambda: complete(running, total), "all requests in the usage", interval_s=0.2)
    told = Counter()
    for row in rows:
        told.update({name: row[name] for name in ("requests", "succeeded", "input_bytes", "output_bytes")})
    assert told["requests"] == total
    assert told["succeeded"] == load.statuses[200] + warm.statuses[200] + aside.requests
    assert told["input_bytes"] == load.sent_bytes + warm.sent_bytes + aside.sent_bytes
    assert told["output_bytes"] == load.received_bytes + warm.received_bytes + aside.received_bytes


def complete(running, total):
    rows = running.usage_records()
    return rows if sum(row["requests"] for row in rows) >= total else None
