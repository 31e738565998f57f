# SPDX-License-Identifier: MIT
"""`cavage resize`: the options of the API on the command line, and what it says when they are wrong."""

import io
import os
import re

import pytest
from PIL import Image

import images
from harness import System, cluster_key


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


# ---- cavage cluster ----


def cluster(running, *options, path=None):
    """Exit status, output and error of `cavage cluster key`."""
    done = running.cli("cluster", "key", *(["--file", str(path)] if path else []), *options, check=False)
    return done.returncode, done.stdout, done.stderr


def key_ids(path):
    lines = path.read_text().splitlines()
    assert all(re.fullmatch(r"\d+ [0-9a-f]{64}", line) for line in lines)
    assert len({line.split()[1] for line in lines}) == len(lines)
    return [int(line.split()[0]) for line in lines]


def test_cluster_keys_are_made_and_changed(running):
    path = running.data / "cluster" / "key"
    assert cluster(running, path=path) == (0, f"{path}: key 1 seals.\n", "")
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    before = path.read_text()
    steps = [
        (["--add"], [1, 2], "key 2 opens, and does not seal."), (["--add"], [1, 2, 3], "key 3 opens, and does not seal."),
        (["--use", "3"], [3, 1, 2], "key 3 seals."), (["--drop", "1"], [3, 2], "key 1 is dropped."),
    ]
    for options, ids, told in steps:
        assert cluster(running, *options, path=path) == (0, f"{path}: {told}\n", "")
        assert key_ids(path) == ids
        assert path.stat().st_mode & 0o777 == 0o600
    assert before not in path.read_text()
    assert os.listdir(path.parent) == ["key"]
    for options, why in (([], "exists already"), (["--drop", "3"], "that key seals"), (["--drop", "1"], "no such key"), (["--use", "9"], "no such key")):
        status, out, err = cluster(running, *options, path=path)
        assert status == 1 and out == "" and why in err
    assert key_ids(path) == [3, 2]


def test_cluster_keys_go_to_stdout_only_when_asked(running):
    path = running.data / "secret" / "cluster.key"
    assert not path.exists()
    status, out, _ = cluster(running, "--stdout")
    assert status == 0 and re.fullmatch(r"1 [0-9a-f]{64}\n", out) and not path.exists()
    assert cluster(running)[0] == 0  # where the configuration says
    first = path.read_text()
    status, out, _ = cluster(running, "--add", "--stdout")
    assert status == 0 and out.startswith(first) and path.read_text() == first
    path.unlink()


def test_cluster_keys_that_cannot_be_changed_stay(running):
    path = running.data / "bad.key"
    cases = [
        (None, "not found"), ("1 x\n", ":1: "), ("", "not found"), ("# only\n", ":1: "), (cluster_key(1) * 2, ":2: "),
        (cluster_key(2**32 - 1), "as many keys as there can be"), ("".join(cluster_key(n) for n in range(1, 9)), "as many keys as there can be"),
    ]
    for text, why in cases:
        path.unlink(missing_ok=True)
        if text is not None:
            path.touch(mode=0o600)
            path.write_text(text)
        status, _, err = cluster(running, "--add", path=path)
        assert status == 1 and why in err, (text, err)
        assert (path.read_text() if path.exists() else None) == text
    path.write_text(cluster_key(1))
    path.chmod(0o640)
    assert "closed to others" in cluster(running, "--add", path=path)[2]
    for options in (["--add", "--use", "1"], ["--use", "0"], ["--use", "x"], ["--drop", str(2**32)]):
        assert cluster(running, *options, path=path)[0] == 2
    for name in ("", "x" * 4096):
        assert cluster(running, "--add", "--file", name)[::2] == (2, "cavage cluster key: a path has 1 to 4095 bytes\n")
    path.unlink()
