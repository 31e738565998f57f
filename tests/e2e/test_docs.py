# SPDX-License-Identifier: MIT
"""docs/images.md: every option is there, and its pictures are what the service answers."""

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
LIKE_DB = 24  # two versions of an encoder, or of a kernel, differ less


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


def test_every_option_is_shown(running, rows):
    refusal = running.post("/v1/resize?nothing=1", b"x", running.key).json()["detail"]
    options = refusal.split("known are ")[1].split(", ")
    assert len(options) > 20
    shown = {pair.split("=")[0] for row in rows for pair in row.query.split("&")}
    assert shown == set(options)


def test_every_word_of_a_choice_is_named(running):
    """What a refusal lists as allowed words stands on the page."""
    text = pictures.PAGE.read_text()
    for option in ("fit", "position", "kernel", "metadata", "format"):
        refusal = running.post(f"/v1/resize?{option}=?", b"x", running.key).json()["detail"]
        words = re.findall(r"[a-z]\w+", refusal.split(" must be ")[1])
        missing = [word for word in words if word not in text and word not in ("fractions", "of", "in", "to")]
        assert not missing, (option, missing)


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
            assert psnr(Image.open(io.BytesIO(made)), Image.open(io.BytesIO(kept))) > LIKE_DB, row.query
