# SPDX-License-Identifier: MIT
"""Images that workers read where the API staged them: by reference as by message, and no byte is given away while a worker may read it."""

import os
import signal
import socket
from pathlib import Path

import pytest

import images
from harness import wait_until
from test_faults import converters_of, zygote_of

ARENA = "cavage-staging"
LARGE = images.encoded("jpeg", 1500, 1225, quality=88)  # of several extents
BY_MESSAGE = {"CAVAGE_API_SHARE_STAGING": "no"}
SLOW = {"CAVAGE_WORKER_CONVERTER": "sleep:200ms", "CAVAGE_API_REQUEST_DEADLINE_MS": "60s"}
SLOWEST = {**SLOW, "CAVAGE_WORKER_CONVERTER": "sleep:3s"}


def lent(api):
    return api.metric("cavage_jobs_lent_total")


def wait_lent(api, jobs):
    """So many jobs were lent, apart from those that were lent again: a worker that is silent for a second loses what it has."""
    wait_until(lambda: lent(api) - api.metric("cavage_jobs_requeued_total") == jobs, f"{jobs} jobs to be lent, not {lent(api)}")


def gauges(api):
    """Bytes that are staged, and of them those of requests that are over."""
    return api.metric("cavage_staged_bytes"), api.metric("cavage_staged_lent_bytes")


def wait_readers(api, count):
    wait_until(lambda: api.metric("cavage_arena_readers") == count, f"{count} workers that read the arena of {api.instance}")


def mappings(pid):
    """Access rights of the arenas that a process has mapped."""
    return [line.split()[1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if ARENA in line]


def descriptors(pid):
    return [fd for fd in Path(f"/proc/{pid}/fd").iterdir() if ARENA in os.readlink(fd)]


def socket_of(running):
    return running.data / "run" / "results.sock.arena"


def answers(running):
    """What becomes of pictures of every format, of one extent and of several."""
    key = running.new_customer("formats")
    bodies = [images.encoded(kind, width, width * 3 // 4) for kind in ("jpeg", "png", "webp", "gif", "tiff") for width in (64, 900)]
    found = [running.post("/v1/resize?width=50&format=png", body, key) for body in [*bodies, LARGE]]
    found.append(running.post("/v1/info", LARGE, key))
    found.append(running.post("/v1/renditions?output=a:width=60&output=b:width=90,format=webp", LARGE, key))
    found.append(running.post("/v1/resize?width=50", LARGE[:70_000], key, {"X-Request-Id": "cut"}))
    found.append(running.post("/v1/resize?width=50", b"GIF89a" + bytes(200_000), key, {"X-Request-Id": "empty"}))
    assert [answer.status_code for answer in found[:-2]] == [200] * (len(bodies) + 3), [answer.text[:200] for answer in found if not answer.ok]
    boundary = found[-3].content.split(b"\r\n")[0]
    return [(answer.status_code, answer.content.replace(boundary, b"--")) for answer in found]


@pytest.mark.tsan
def test_images_by_reference_are_answered_as_those_in_messages(make_system):
    sharing, sending = make_system(), make_system(env=BY_MESSAGE)
    wait_readers(sharing.api, 1)
    shared, sent = answers(sharing), answers(sending)
    assert shared == sent
    wait_lent(sharing.api, len(shared))
    assert sharing.worker.metric("cavage_worker_jobs_lent_total") >= len(shared)
    assert lent(sending.api) == 0 and not socket_of(sending).exists()
    wait_until(lambda: gauges(sharing.api) == (0, 0), "all extents to be free")


def test_only_the_supervisor_can_read_the_arena(make_system):
    running = make_system(apis=2)
    key = running.new_customer("reader")
    for api in running.apis:
        wait_readers(api, 1)
        assert running.post("/v1/resize?width=50", LARGE, key, api=api).status_code == 200
        assert mappings(api.pid) == ["rw-s"]
    assert mappings(running.worker.pid) == ["r--s"] * 2 and not descriptors(running.worker.pid)
    assert socket_of(running).stat().st_mode & 0o777 == 0o600
    try:
        for pid in [zygote_of(running.worker), *converters_of(running.worker)]:
            assert not mappings(pid) and not descriptors(pid)
    except PermissionError:
        pytest.skip("what is sandboxed can be looked into by root alone")


def leave_open(running, key):
    """A client that has sent its image."""
    client = socket.create_connection(running.address)
    head = f"POST /v1/resize?width=50 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(LARGE)}\r\n\r\n"
    client.sendall(head.encode() + LARGE)
    return client


def leave_with_a_job_lent(running, key):
    """A client whose image went to the worker, and that left; the worker is paused meanwhile."""
    before = lent(running.api)
    with leave_open(running, key):
        wait_until(lambda: lent(running.api) > before, "the job to be lent")
        running.worker.signal(signal.SIGSTOP)
    wait_until(lambda: gauges(running.api) == (len(LARGE), len(LARGE)), "the request to be over")


@pytest.mark.tsan
def test_a_paused_worker_keeps_what_it_may_read(make_system):
    """And its customer has the less of its share of the memory for it."""
    share = {"CAVAGE_STAGING_BUDGET_BYTES": "2M", "CAVAGE_STAGING_CUSTOMER_PERCENT": str(100 * (len(LARGE) * 3 // 2) // (2 << 20))}
    running = make_system(test_mode=True, env={**SLOWEST, **share})
    key = running.new_customer("paused")
    wait_readers(running.api, 1)
    leave_with_a_job_lent(running, key)
    wait_until(lambda: running.api.metric("cavage_workers_lost_total") >= 1, "the worker to count as silent")
    assert gauges(running.api) == (len(LARGE), len(LARGE))
    refused = running.post("/v1/resize?width=50", LARGE, key)
    assert refused.status_code == 429 and refused.json()["type"].endswith("share_used"), refused.text
    running.worker.signal(signal.SIGCONT)
    wait_until(lambda: gauges(running.api) == (0, 0), "the worker to tell that it is done")
    assert running.post("/v1/resize?width=50", LARGE, key).status_code == 200


def test_a_killed_worker_keeps_nothing(make_system):
    running = make_system(test_mode=True, env=SLOWEST)
    key = running.new_customer("killed")
    wait_readers(running.api, 1)
    leave_with_a_job_lent(running, key)
    running.worker.kill()
    wait_until(lambda: gauges(running.api) == (0, 0), "the dead worker's extents to be free")
    wait_readers(running.api, 0)
    running.worker.start()
    wait_readers(running.api, 1)
    before = lent(running.api)
    assert running.post("/v1/resize?width=50", LARGE, key).status_code == 200
    assert lent(running.api) > before


def test_a_worker_without_a_link_gets_its_images_in_messages(make_system):
    running = make_system()
    key = running.new_customer("unlinked")
    wait_readers(running.api, 1)
    running.worker.stop()
    socket_of(running).unlink()
    running.worker.start()
    running.wait_serving()
    before = lent(running.api)
    assert running.post("/v1/resize?width=50", LARGE, key).status_code == 200
    assert lent(running.api) == before and running.api.metric("cavage_arena_readers") == 0


@pytest.mark.parametrize("env", [{}, BY_MESSAGE], ids=["reference", "message"])
def test_an_image_too_long_for_its_worker_is_refused(make_system, env):
    """Whose configuration allows less than the API's: it would cut the connection, and with it go the jobs of others."""
    running = make_system(env=env)
    key = running.new_customer("long")
    assert running.post("/v1/resize?width=50", LARGE, key).status_code == 200
    running.worker.stop()
    before = lent(running.api)
    running.worker.env["CAVAGE_API_MAX_BODY_BYTES"] = "65536"
    running.worker.start()
    running.wait_serving()
    refused = running.post("/v1/resize?width=50", LARGE, key)
    assert refused.status_code == 413 and refused.json()["limit"] == 65536, refused.text
    chunks = iter([LARGE[:60_000], LARGE[60_000:]])
    assert running.post("/v1/resize?width=50", chunks, key).status_code == 413
    assert lent(running.api) == before
    assert [told["bytes"] for told in running.api.events("bodies_bounded")] == [65536]
    running.worker.stop()
    del running.worker.env["CAVAGE_API_MAX_BODY_BYTES"]
    running.worker.start()
    wait_until(lambda: running.post("/v1/resize?width=50", LARGE, key).status_code == 200, "long images to be taken again")
    wait_until(lambda: gauges(running.api) == (0, 0), "all extents to be free")


@pytest.mark.tsan
def test_a_restarted_api_lends_anew(make_system):
    """It dies while its worker has images to read: one that runs, and others that wait."""
    running = make_system(test_mode=True, env=SLOW, converters=1)
    key = running.new_customer("restarted")
    wait_readers(running.api, 1)
    clients = [leave_open(running, key) for _ in range(4)]
    wait_until(lambda: running.worker.metric("cavage_worker_jobs_lent_total") >= 2, "jobs to be lent")
    running.api.kill()
    wait_until(lambda: running.worker.metric("cavage_worker_arenas") == 0, "the dead API's arena to be unmapped")
    assert not mappings(running.worker.pid)
    wait_until(lambda: running.worker.metric("cavage_converters_busy") == 0, "the job that ran to end")
    for client in clients:
        client.close()
    running.api.start()
    running.wait_serving()
    wait_readers(running.api, 1)
    assert running.post("/v1/resize?width=50", LARGE, key).status_code == 200
    wait_lent(running.api, 1)
    assert len(mappings(running.worker.pid)) == 1
    assert running.worker.metric("cavage_converters_lost_total") == 0


def test_strangers_get_nothing_and_disturb_nobody(make_system):
    running = make_system()
    key = running.new_customer("stranger")
    wait_readers(running.api, 1)
    path = str(socket_of(running))
    held = []
    for n in range(60):
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stranger.connect(path)
        if n % 2:
            stranger.send(os.urandom(1 + n * 10))
        held.append(stranger)
    wait_until(lambda: running.api.metric("cavage_arena_refused_total") == 30, "those that speak to be refused")
    for stranger in held[1::2]:
        stranger.settimeout(10)
        assert stranger.recv(1) == b""
    before = lent(running.api)
    assert running.post("/v1/resize?width=50", LARGE, key).status_code == 200
    assert lent(running.api) > before
    wait_readers(running.api, 1)
    for stranger in held:
        stranger.close()


def test_nothing_is_lent_between_hosts(make_system):
    running = make_system(transport="tcp")
    key = running.new_customer("remote")
    assert running.post("/v1/resize?width=50", LARGE, key).status_code == 200
    assert lent(running.api) == 0 and not list((running.data / "run").glob("*.arena"))
