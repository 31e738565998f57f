# SPDX-License-Identifier: MIT
"""Every format and fit against what vips makes on the command line."""

import csv
import io
import subprocess
from pathlib import Path

import numpy
import pytest
from PIL import Image

import images

FORMATS = ["jpeg", "png", "webp", "avif", "gif", "tiff"]
FITS = ["inside", "cover", "contain", "fill", "outside"]
MEDIA = {f: f"image/{f}" for f in FORMATS}
SOURCE = (900, 600)
BOX = (320, 200)


def vips(*args):
    subprocess.run(["vips", *map(str, args)], check=True, capture_output=True, timeout=60)


def open_any(data, tmp_path):
    """Decode by Pillow, or by vips for what Pillow does not read (AVIF)."""
    if data[4:8] == b"ftyp":
        (tmp_path / "answer.avif").write_bytes(data)
        vips("copy", tmp_path / "answer.avif", tmp_path / "answer.png")
        return Image.open(tmp_path / "answer.png").convert("RGB")
    return images.decoded(data)


def reference(source, fit, tmp_path):
    """The picture that vips makes of the file `source` for BOX, as RGB."""
    width, height = BOX
    out = tmp_path / "reference.png"
    if fit == "inside":
        vips("thumbnail", source, out, width, "--height", height, "--size", "down")
    elif fit == "cover":
        vips("thumbnail", source, out, width, "--height", height, "--crop", "centre")
    elif fit == "fill":
        vips("thumbnail", source, out, width, "--height", height, "--size", "force")
    elif fit == "outside":
        scale = max(width / SOURCE[0], height / SOURCE[1])
        vips("thumbnail", source, out, round(SOURCE[0] * scale), "--height", round(SOURCE[1] * scale), "--size", "force")
    else:
        inner = tmp_path / "inner.png"
        vips("thumbnail", source, inner, width, "--height", height)
        vips("gravity", inner, out, "centre", width, height, "--extend", "background", "--background", "255 0 0")
    return Image.open(out).convert("RGB")


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("source_format", ["jpeg", "png", "webp", "tiff"])
def test_fit_matches_vips(system, key, tmp_path, source_format, fit):
    data = images.encoded(source_format, *SOURCE)
    source = tmp_path / f"source.{source_format}"
    source.write_bytes(data)
    query = {"width": BOX[0], "height": BOX[1], "fit": fit, "format": "png"}
    if fit == "contain":
        query["background"] = "f00"
    answer = system.post("/v1/resize", data, key, params=query)
    assert answer.status_code == 200, answer.text
    got, wanted = images.decoded(answer.content), reference(source, fit, tmp_path)
    assert got.size == wanted.size
    assert images.psnr(got, wanted) >= 35


@pytest.mark.parametrize("output_format", FORMATS)
def test_output_format_keeps_the_picture(system, key, tmp_path, output_format):
    data = images.encoded("jpeg", *SOURCE)
    (tmp_path / "source.jpeg").write_bytes(data)
    query = {"width": 320, "format": output_format}
    if output_format in ("jpeg", "webp", "avif"):
        query["quality"] = 95
    answer = system.post("/v1/resize", data, key, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == MEDIA[output_format]
    vips("thumbnail", tmp_path / "source.jpeg", tmp_path / "wanted.png", 320)
    got = open_any(answer.content, tmp_path)
    wanted = Image.open(tmp_path / "wanted.png")
    assert got.size == wanted.size
    # A palette of 256 colours cannot carry the grain of a photo.
    assert images.psnr(got, wanted) >= (28 if output_format == "gif" else 35)


@pytest.mark.parametrize("source_format", ["jpeg", "png", "webp", "gif", "tiff"])
def test_default_format_is_the_input_s(system, key, source_format):
    answer = system.post("/v1/resize?width=100", images.encoded(source_format), key)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == MEDIA[source_format]
    assert images.decoded(answer.content).size == (100, 75)


def test_avif_goes_in_and_out(system, key, tmp_path):
    made = system.post("/v1/resize?width=200&format=avif", images.encoded("jpeg"), key)
    again = system.post("/v1/resize?width=100&format=png", made.content, key)
    assert again.status_code == 200, again.text
    assert images.decoded(again.content).size == (100, 75)


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ("width=100", (100, 75)),
        ("height=100", (133, 100)),
        ("w=100&h=100", (100, 75)),
        ("width=100&height=10", (13, 10)),
        ("width=2000", (640, 480)),
        ("width=1280&enlarge=1", (1280, 960)),
        ("width=1&height=1&fit=fill", (1, 1)),
        ("quality=50", (640, 480)),
    ],
)
def test_dimensions(system, key, query, size):
    answer = system.post(f"/v1/resize?{query}", images.encoded("jpeg"), key)
    assert answer.status_code == 200, answer.text
    assert images.decoded(answer.content).size == size


def sharp_sample():
    """Every 97th of the recorded cases, of pictures small enough to send by the dozen."""
    with open(Path(__file__).parents[1] / "data" / "sharp_dimensions.csv") as f:
        return [r for i, r in enumerate(csv.DictReader(f)) if i % 97 == 0]


def test_dimensions_are_those_of_sharp(system, key):
    for case in sharp_sample():
        exif = Image.Exif()
        exif[0x0112] = int(case["orientation"])
        out = io.BytesIO()
        Image.new("RGB", (int(case["width"]), int(case["height"])), "#468").save(out, case["format"].upper(), exif=exif)
        query = {"fit": case["fit"], "enlarge": case["enlarge"], "format": "png"}
        query.update({name: case[f"to_{name}"] for name in ("width", "height") if case[f"to_{name}"] != "0"})
        answer = system.post("/v1/resize", out.getvalue(), key, params=query)
        assert answer.status_code == 200, answer.text
        assert images.decoded(answer.content).size == (int(case["result_width"]), int(case["result_height"])), case


def test_quality_changes_the_size_in_bytes(system, key):
    low, high = (len(system.post(f"/v1/resize?width=400&q={q}", images.encoded("jpeg"), key).content) for q in (30, 95))
    assert low * 2 < high


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_dropped(system, key, orientation):
    upright = images.scene(400, 300)
    # How a camera stores the picture for each tag: the inverse of what a viewer applies.
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(inverse[orientation]) if orientation in inverse else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    stored.save(out, "JPEG", quality=95, exif=exif)
    answer = system.post("/v1/resize?width=200&format=png", out.getvalue(), key)
    assert answer.status_code == 200, answer.text
    got = images.decoded(answer.content)
    assert got.size == (200, 150)
    assert images.psnr(got, upright.resize((200, 150), Image.Resampling.LANCZOS)) >= 30
    jpeg = images.decoded(system.post("/v1/resize?width=200", out.getvalue(), key).content)
    assert not jpeg.getexif()


def test_metadata_is_stripped(system, key):
    exif = Image.Exif()
    exif[0x010F] = "a camera maker"
    out = io.BytesIO()
    images.scene(200, 100).save(out, "JPEG", exif=exif, comment=b"a secret comment")
    answer = system.post("/v1/resize?width=100", out.getvalue(), key)
    assert b"camera" not in answer.content and b"secret" not in answer.content


def test_wide_gamut_is_brought_to_srgb(system, key, tmp_path):
    data = images.corpus("p3.png")
    if data is None:
        pytest.skip("needs the corpus: p3.png")
    (tmp_path / "p3.png").write_bytes(data)
    answer = system.post("/v1/resize?format=png", data, key)
    assert answer.status_code == 200, answer.text
    vips("icc_transform", tmp_path / "p3.png", tmp_path / "srgb.png", "srgb", "--embedded")
    wanted = Image.open(tmp_path / "srgb.png")
    assert images.psnr(images.decoded(answer.content), wanted) >= 35
    assert "icc_profile" not in images.decoded(answer.content).info


def test_cmyk_jpeg_is_brought_to_rgb(system, key):
    data = images.corpus("Channel_digital_image_CMYK_color.jpg")
    if data is None:
        out = io.BytesIO()
        images.scene(500, 333).convert("CMYK").save(out, "JPEG", quality=95)
        data = out.getvalue()
    answer = system.post("/v1/resize?width=250", data, key)
    assert answer.status_code == 200, answer.text
    got = images.decoded(answer.content)
    assert got.mode == "RGB" and got.width == 250


def test_alpha_is_kept_where_it_can_be_and_flattened_elsewhere(system, key):
    picture = images.scene(200, 100).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize((200, 100)))
    out = io.BytesIO()
    picture.save(out, "PNG")
    kept = images.decoded(system.post("/v1/resize?width=100", out.getvalue(), key).content)
    assert kept.mode == "RGBA"
    assert numpy.asarray(kept)[:, :, 3].min() < 10
    flat = images.decoded(system.post("/v1/resize?width=100&format=jpeg&background=00ff00&q=95", out.getvalue(), key).content)
    red, green, blue = flat.getpixel((50, 0))
    assert green > 200 and red < 60 and blue < 60


def test_info_tells_of_the_image(system, key):
    answer = system.post("/v1/info", images.encoded("png", 320, 200), key)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    told = answer.json()
    assert (told["format"], told["width"], told["height"], told["pages"]) == ("png", 320, 200, 1)
    assert told["alpha"] is False and told["profile"] is False and told["orientation"] == 1


@pytest.mark.parametrize(
    "name", ["photo-1500x1225-256k.jpg", "photo-2725x2225-829k.jpg", "4.webp", "photo-yuv444.avif", "photo-lzw.tif", "embedgravitybird.png",
             "16-bit-grey-alpha.png", "animated-loop-3.gif", "animated-loop-3.webp", "rotating-squares.gif", "Landscape_6.jpg", "Portrait_5.jpg"],
)
def test_corpus_pictures_resize(system, key, name):
    data = images.corpus(name)
    if data is None:
        pytest.skip(f"needs the corpus: {name}")
    answer = system.post("/v1/resize?width=64&format=png", data, key)
    assert answer.status_code == 200, answer.text
    assert images.decoded(answer.content).width == 64
