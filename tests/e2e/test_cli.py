# SPDX-License-Identifier: MIT
"""`cavage resize`: the options of the API on the command line, and what it says when they are wrong."""

import io

import pytest
from PIL import Image

import images
from harness import System


@pytest.fixture(scope="module")
def running():
    system = System(converters=2)
    try:
        system.start()
        (system.data / "demo.key").write_text(system.new_customer("demo") + "\n")
        (system.data / "demo.key").chmod(0o600)
        yield system
        system.stop()
    finally:
        system.destroy()


@pytest.fixture
def photo(running):
    path = running.data / "photo.png"
    path.write_bytes(images.encoded("png", 200, 100))
    yield path
    for left in running.data.glob("photo*"):
        left.unlink()


def only_result(running):
    (found,) = running.data.glob("photo-*")
    return found, Image.open(io.BytesIO(found.read_bytes()))


def test_options_reach_the_service(running, photo):
    running.cli("resize", str(photo), "--crop", "20,10,100,80", "--rotate=90", "-w", "40", "--dpr", "1.5", "--grayscale", "-f", "jpeg", "--progressive")
    path, picture = only_result(running)
    assert path.name == "photo-60x75.jpg" and picture.size == (60, 75)
    assert picture.mode == "L" and picture.info.get("progressive")


def test_switches_can_be_off(running, photo):
    running.cli("resize", str(photo), "--width", "400", "--height", "400", "--fit", "cover", "--enlarge=0")
    assert only_result(running)[1].size == (200, 100)


def test_auto_format_takes_modern_ones(running, photo):
    running.cli("resize", str(photo), "--width=50", "--format=auto")
    (found,) = running.data.glob("photo-*")  # AVIF is beyond Pillow
    assert found.name == "photo-50x25.avif" and found.read_bytes()[4:12] == b"ftypavif"


@pytest.mark.parametrize(
    "options, words",
    [
        (["--width", "0"], "width must be 1 to 16383"),
        (["--kernel=best"], "kernel must be lanczos3, "),
        (["--position", "north"], "position needs width and height, and fit=cover or fit=contain"),
        (["--flip=yes"], "flip must be 0 or 1"),
        (["--max-bytes", "9"], "max_bytes must be 100 to "),
        (["--colour=red"], "unrecognized option '--colour=red'"),
    ],
)
def test_wrong_options_are_told_before_anything_is_sent(running, photo, options, words):
    done = running.cli("resize", str(photo), "--url", "http://127.0.0.1:9", *options, check=False)
    assert done.returncode == 2 and words in done.stderr
    assert not list(running.data.glob("photo-*"))


def test_what_the_image_does_not_allow_is_explained(running, photo):
    done = running.cli("resize", str(photo), "--crop=150,0,100,100", check=False)
    assert done.returncode == 1 and "crop" in done.stderr


def test_help_lists_every_option(running):
    refusal = running.post("/v1/resize?nothing=1", b"x", running.new_customer("reader")).json()["detail"]
    names = refusal.split("known are ")[1].split(", ")
    listed = running.cli("resize", "--help").stdout
    assert all(f"--{name.replace('_', '-')}" in listed for name in names)
    assert max(map(len, listed.splitlines())) <= 112
