# SPDX-License-Identifier: MIT
"""The pages about options: every option is there, and the pictures of docs/images.md are what the service answers."""

import io
import re
import sys

import pytest
from PIL import Image

from harness import REPO, System
from images import psnr

sys.path.insert(0, str(REPO / "scripts"))
import pictures  # noqa: E402

BYTES_MAX = 400_000  # of all pictures; the repository is to stay small
LIKE_DB = 30  # two versions of an encoder, or of a kernel, differ less


@pytest.fixture(scope="module")
def running():
    system = System(converters=2)
    try:
        system.start()
        system.key = system.new_customer("docs")
        yield system
        system.stop()
    finally:
        system.destroy()


@pytest.fixture(scope="module")
def rows():
    found = list(pictures.rows_of(pictures.PAGE.read_text()))
    assert len(found) > 50
    return found


@pytest.fixture(scope="module")
def options(running):
    """The names of all, as a refusal lists them."""
    refusal = running.post("/v1/resize?nothing=1", b"x", running.key).json()["detail"]
    found = set(refusal.split("known are ")[1].split(", "))
    assert len(found) > 20
    return found


def test_every_option_is_described(options):
    text = (REPO / "docs" / "http-api.md").read_text()
    table = text.split("## Parameters of `/v1/resize`")[1].split("## ")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert options == {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_option_is_shown(options, rows):
    assert options == {pair.split("=")[0] for row in rows for pair in row.query.split("&")}


def test_every_word_of_a_choice_is_named(running):
    """What a refusal lists as allowed words stands on the page."""
    text = pictures.PAGE.read_text()
    for option in ("fit", "position", "kernel", "metadata", "format"):
        refusal = running.post(f"/v1/resize?{option}=?", b"x", running.key).json()["detail"]
        words = re.findall(r"[a-z]\w+", refusal.split(" must be ")[1])
        missing = [word for word in words if word not in text and word not in ("fractions", "of", "in", "to")]
        assert not missing, (option, missing)


def seen(data):
    """The first frame as it is seen on grey; what is transparent has any colour."""
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    ground = Image.new("RGBA", picture.size, (128, 128, 128, 255))
    ground.alpha_composite(picture)
    return ground.convert("RGB")


def test_pictures_are_what_the_service_answers(running, rows):
    assert {row.picture() for row in rows} == set(pictures.FOLDER.iterdir())
    assert sum(path.stat().st_size for path in pictures.FOLDER.iterdir()) <= BYTES_MAX
    for row in rows:
        kept = row.picture().read_bytes()
        made = pictures.convert(running, running.key, row).content
        assert pictures.size_of(made) == pictures.size_of(kept), row.query
        width, height, kind = pictures.size_of(kept)
        assert f"{width} × {height}, {len(kept):,} bytes" in row.cell, row.query
        if kind != "avif":  # beyond Pillow
            assert psnr(seen(made), seen(kept)) > LIKE_DB, row.query
