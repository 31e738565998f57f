# SPDX-License-Identifier: MIT
"""Usage: a record of every answer, in the files and in `cavage usage`."""

import contextlib
import csv
import hashlib
import io
import json
import subprocess
import tempfile
from pathlib import Path

import pytest

import images
from harness import wait_until

PHOTO = images.encoded("jpeg", 320, 240)


def rows_of(system, requests):
    def enough():
        rows = system.usage_records()
        return rows if sum(row["requests"] for row in rows) >= requests else None

    return wait_until(enough, f"{requests} requests in the usage", interval_s=0.1)


def test_open_hour_shows_every_answer(make_system):
    running = make_system()
    first, second = running.new_customer("ann"), running.new_customer("bob")
    got = [running.post("/v1/resize?width=100", PHOTO, first) for _ in range(3)]
    assert running.post("/v1/resize?width=100", b"junk" * 100, first).status_code == 415
    assert running.post("/v1/info", PHOTO, second).status_code == 200
    # Neither wrong keys nor refused parameters make records.
    assert running.post("/v1/resize?width=0", PHOTO, second).status_code == 400
    rows = rows_of(running, 5)
    table = {(row["customer"], row["operation"]): row for row in rows}
    ann = table["ann", "resize"]
    assert (ann["requests"], ann["succeeded"]) == (4, 3)
    assert ann["output_bytes"] >= sum(len(a.content) for a in got)
    assert ann["input_bytes"] == 3 * len(PHOTO) + 400
    assert ann["cpu_us"] > 0
    assert table["bob", "info"]["requests"] == 1


def test_every_frame_of_an_animation_counts(make_system):
    running = make_system()
    key = running.new_customer("ann")
    out = io.BytesIO()
    frames = [images.scene(80, 60, seed) for seed in range(5)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    moving = running.post("/v1/resize?width=40&format=webp", out.getvalue(), key)
    assert moving.status_code == 200 and images.decoded(moving.content).n_frames == 5
    assert running.post("/v1/resize?width=40&format=png", out.getvalue(), key).status_code == 200
    assert running.post("/v1/info", out.getvalue(), key).status_code == 200
    table = {row["operation"]: row for row in rows_of(running, 3)}
    assert table["resize"]["input_pixels"] == 2 * 5 * 80 * 60
    assert table["resize"]["output_pixels"] == 6 * 40 * 30
    assert (table["resize"]["outputs"], table["info"]["outputs"]) == (2, 0)


def test_hour_is_closed_into_files_that_agree(make_system):
    running = make_system()
    key = running.new_customer("ann")
    for _ in range(4):
        assert running.post("/v1/resize?width=100", PHOTO, key, headers={"Idempotency-Key": "one"}).status_code == 200
    rows_of(running, 4)
    running.close_open_hours()
    usage = running.data / "usage"
    records = wait_until(lambda: running.raw_usage(4), "the raw files")
    assert len(records) == 4 and all(r["customer"] == "ann" and r["idempotency_key"] == "one" for r in records)

    def manifests():
        """One of each hour, with its table."""
        found = sorted(usage.glob("hourly/*/*/*/*.manifest.json"))
        return found if len(found) == len(list(usage.glob("raw/*/*/*/*.jsonl.zst"))) else None

    requests = 0
    for path in wait_until(manifests, "the manifests"):
        table = path.with_name(path.name.removesuffix(".manifest.json") + ".csv")
        requests += sum(int(line["Requests"]) for line in csv.DictReader(io.StringIO(table.read_text())))
        assert hashlib.blake2b(table.read_bytes(), digest_size=32).hexdigest() in path.read_text()
    assert requests == 4


def test_usage_command_formats(make_system):
    running = make_system()
    key = running.new_customer("ann")
    assert running.post("/v1/resize?width=100", PHOTO, key).status_code == 200
    rows_of(running, 1)
    assert 0 <= running.meter.metric("cavage_meter_lag_seconds") < 60
    assert "ann" in running.cli("usage").stdout
    assert running.cli("usage", "--format", "csv", "--customer", "ann").stdout.count("\n") == 2
    assert json.loads(running.cli("usage", "--format", "json", "--customer", "nobody").stdout) == []
    assert running.cli("usage", "--by", "century", check=False).returncode == 2


@pytest.fixture
def small_disk():
    """A folder on a file system of 2 MB."""
    path = Path(tempfile.mkdtemp(prefix="cvg-", dir="/tmp"))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(path)], capture_output=True, check=False).returncode != 0:
        path.rmdir()
        pytest.skip("needs the right to mount")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)
    path.rmdir()


def test_nothing_is_served_unmetered_when_the_spool_s_disk_is_full(make_system, small_disk):
    running = make_system(env={"CAVAGE_USAGE_SPOOL_DIR": str(small_disk / "spool")})
    key = running.new_customer("ann")
    assert running.post("/v1/resize?width=100", PHOTO, key).status_code == 200
    rows_of(running, 1)
    wait_until(lambda: running.api.metric("cavage_usage_spool_bytes") == 0, "the spool to be empty")
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    statuses = []

    def answers(status):
        statuses.append(running.post("/v1/resize?width=100", PHOTO, key).status_code)
        return statuses[-1] == status

    wait_until(lambda: answers(503), "what cannot be metered to be refused", interval_s=0)
    assert not any(answers(200) for _ in range(10))
    filler.unlink()
    wait_until(lambda: answers(200), "the service to go on", interval_s=0.1)
    served = 1 + statuses.count(200)
    rows = rows_of(running, served)
    assert sum(row["succeeded"] for row in rows) == served
