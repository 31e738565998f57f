# SPDX-License-Identifier: MIT
"""Hostile and broken input: each gets its clear answer, memory stays bounded, and the next good request is served."""

from pathlib import Path

import pytest

import images
from harness import descendants_of


def good(system, key):
    answer = system.post("/v1/resize?width=50", images.encoded("jpeg"), key)
    assert answer.status_code == 200, answer.text


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status and body["type"] and body["title"]
    assert body["request_id"] == answer.headers["X-Request-Id"]
    return body


def anonymous_kb(pid):
    """RssAnon of a process in KB; 0 when it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    except FileNotFoundError:
        pass
    return 0


@pytest.mark.parametrize(
    "body", [b"hello, world", b"\0" * 4096, b"<html></html>" * 100, b"\xff\xd8", b"%PDF-1.4\n", b"BM" + bytes(100)],
    ids=["text", "zeros", "html", "two bytes", "pdf", "bmp"],
)
def test_not_an_image_is_415(system, key, body):
    answer = system.post("/v1/resize?width=50", body, key)
    if body == b"\xff\xd8":
        assert answer.status_code in (415, 422)
    else:
        problem(answer, 415)
    good(system, key)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif", "tiff"])
def test_truncated_image_is_422(system, key, kind):
    data = images.encoded(kind)
    problem(system.post("/v1/resize?width=50", data[: len(data) // 3], key), 422)
    good(system, key)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif", "tiff"])
def test_damaged_image_is_answered(system, key, kind):
    data = bytearray(images.encoded(kind))
    for at in range(100, len(data), 997):
        data[at] ^= 0x5A
    answer = system.post("/v1/resize?width=50", bytes(data), key)
    assert answer.status_code in (200, 415, 422), answer.text
    good(system, key)


@pytest.mark.parametrize("name", ["truncated.jpg", "truncated.png", "corrupt-header.jpg"])
def test_broken_corpus_pictures_are_422(system, key, name):
    data = images.corpus(name)
    if data is None:
        pytest.skip(f"needs the corpus: {name}")
    problem(system.post("/v1/resize?width=50", data, key), 422)
    good(system, key)


def test_jpeg_2000_is_415(system, key):
    data = images.corpus("relax.jp2") or b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(200)
    problem(system.post("/v1/resize?width=50", data, key), 415)


def test_svg_is_415(system, key):
    body = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    problem(system.post("/v1/resize?width=50", body, key), 415)


@pytest.mark.parametrize("bomb", [images.png_bomb(14000, 14000), images.gif_claiming(65535, 65535)], ids=["png", "gif"])
def test_bomb_is_422_with_limit_and_actual(system, key, bomb):
    before = sum(map(anonymous_kb, descendants_of(system.worker.pid)))
    body = problem(system.post("/v1/resize?width=50", bomb, key), 422)
    assert body["limit"] == 100_000_000
    assert body["actual"] >= 14000 * 14000
    after = sum(map(anonymous_kb, descendants_of(system.worker.pid)))
    assert after - before < 32 * 1024
    good(system, key)


def test_pixel_limit_counts_pages(make_system):
    running = make_system(env={"CAVAGE_LIMITS_TOTAL_PIXELS_IN": "1000000"})
    key = running.new_customer("small")
    frames = [images.scene(400, 300, seed) for seed in range(10)]
    import io

    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    body = problem(running.post("/v1/resize?width=50", out.getvalue(), key), 422)
    assert (body["limit"], body["actual"]) == (1_000_000, 1_200_000)
    good(running, key)


def test_empty_body_is_400(system, key):
    problem(system.post("/v1/resize?width=50", b"", key), 400)
    good(system, key)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("width=0", "width"), ("width=-1", "width"), ("width=99999999999999999999", "width"), ("width=1e3", "width"), ("width=+5", "width"),
        ("width=%00", "width"), ("width=", "width"), ("height=16384", "height"), ("fit=bogus", "fit"), ("format=bmp", "format"),
        ("quality=0", "quality"), ("quality=101", "quality"), ("background=zzz", "background"), ("width=5&width=6", "width"),
        ("width=5&w=5", "width"), ("no_such=1", "no_such"), ("enlarge=maybe", "enlarge"),
    ],
)
def test_absurd_parameter_is_400_and_named(system, key, query, parameter):
    body = problem(system.post(f"/v1/resize?{query}", images.encoded("jpeg"), key), 400)
    assert body["parameter"] == parameter
    assert len(body["detail"]) > 10
    good(system, key)


def test_very_long_query_is_refused(system, key):
    answer = system.post("/v1/resize?width=5&" + "a" * 8000, images.encoded("jpeg"), key)
    assert answer.status_code in (400, 414, 431)
    good(system, key)
