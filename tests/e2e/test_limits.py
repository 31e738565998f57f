# SPDX-License-Identifier: MIT
"""Limits by format: what is exactly at a limit passes, one more is refused with the limit and what there was."""

import io

import pytest
from PIL import Image

import images
from harness import System

LIMITS = {
    "CAVAGE_LIMITS_PIXELS_IN": "5000 png:1200",
    "CAVAGE_LIMITS_FRAMES_IN": "4 tiff:2",
    "CAVAGE_LIMITS_TOTAL_PIXELS_IN": "8000",
    "CAVAGE_LIMITS_PIXELS_OUT": "6000 avif:300",
    "CAVAGE_LIMITS_AUTO_PIXELS_OUT": "400 avif:200",
    "CAVAGE_LIMITS_BYTES_OUT": "64K png:1K",
}


@pytest.fixture(scope="module")
def small():
    system = System(env=LIMITS).start()
    yield system, system.new_customer("small")
    system.stop()


def picture(kind, size, frames=1):
    made = [Image.new("RGB", size, (40 * i, 90, 200)) for i in range(frames)]
    out = io.BytesIO()
    made[0].save(out, kind.upper(), **({"save_all": True, "append_images": made[1:]} if frames > 1 else {}))
    return out.getvalue()


def passes(small, query, data, **more):
    system, key = small
    answer = system.post(f"/v1/resize?{query}", data, key, **more)
    assert answer.status_code == 200, answer.text
    return answer


def refused(small, query, data, limit, actual, status=422, path="/v1/resize"):
    system, key = small
    answer = system.post(f"{path}?{query}" if query else path, data, key)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert (problem["limit"], problem["actual"]) == (limit, actual), problem
    assert str(limit) in problem["detail"] and str(actual) in problem["detail"]
    return problem


def test_pixels_in(small):
    passes(small, "width=10", picture("jpeg", (100, 50)))
    assert refused(small, "width=10", picture("jpeg", (5001, 1)), 5000, 5001)["type"] == "/problems/image_too_large"
    passes(small, "width=10", picture("png", (40, 30)))
    refused(small, "width=10", picture("png", (1201, 1)), 1200, 1201)
    refused(small, "", picture("png", (1201, 1)), 1200, 1201, path="/v1/info")


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_frames_in(small, kind):
    passes(small, "width=10", picture(kind, (20, 20), 4))
    refused(small, "width=10", picture(kind, (20, 20), 5), 4, 5)


def test_pages_in(small):
    passes(small, "width=10", picture("tiff", (20, 20), 2))
    refused(small, "width=10", picture("tiff", (20, 20), 3), 2, 3)


def test_frames_times_pixels(small):
    passes(small, "width=10", picture("gif", (50, 40), 4))
    assert "together" in refused(small, "width=10", picture("gif", (67, 30), 4), 8000, 8040)["detail"]


def test_a_header_beyond_the_first_piece_is_judged_by_the_worker(small):
    """So much metadata before the frame that the API does not see it."""
    data = picture("jpeg", (5001, 1))
    comment = b"\xff\xfe\xff\xff" + b"x" * 65533
    refused(small, "width=10", data[:2] + comment * 2 + data[2:], 5000, 5001)


def test_pixels_out(small):
    data = picture("jpeg", (20, 20))
    passes(small, "width=100&height=60&fit=fill", data)
    passes(small, "width=100&height=60&fit=inside&enlarge=1", data)
    refused(small, "width=78&enlarge=1", data, 6000, 78 * 78)
    passes(small, "width=20&height=15&fit=fill&format=avif", data)
    refused(small, "width=18&format=avif", data, 300, 324)
    animation = picture("gif", (20, 20), 4)
    passes(small, "width=37&enlarge=1", animation)
    refused(small, "width=39&enlarge=1", animation, 6000, 4 * 39 * 39)


def test_pixels_out_of_any_image_are_refused_before_it_is_looked_at(small):
    for query, limit, actual in [("width=101&height=60&fit=fill", 6000, 6060), ("width=20&height=16&fit=contain&format=avif", 300, 320)]:
        problem = refused(small, query, b"no image at all", limit, actual, status=400)
        assert problem["type"] == "/problems/bad_parameter" and problem["parameter"] == "width"


@pytest.mark.parametrize(("width", "wanted"), [(14, "avif"), (15, "webp"), (20, "webp"), (21, "jpeg")])
def test_auto_chooses_up_to_its_limit(small, width, wanted):
    answer = passes(small, f"width={width}&format=auto", picture("jpeg", (60, 60)), headers={"Accept": "image/avif,image/webp"})
    assert answer.headers["Content-Type"] == f"image/{wanted}"


def test_bytes_out(small):
    grain = io.BytesIO()
    images.scene(30, 30).save(grain, "TIFF")
    made = len(passes(small, "format=tiff", grain.getvalue()).content)
    assert made > 1024
    passes(small, "width=10&format=png", grain.getvalue())
    system, key = small
    problem = system.post("/v1/resize?format=png", grain.getvalue(), key)
    assert problem.status_code == 422
    assert problem.json()["limit"] == 1024 and problem.json()["actual"] > 1024
