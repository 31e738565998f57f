# SPDX-License-Identifier: MIT
"""What goes in: kinds of each format, and colours against references of Pillow's colour management and of numpy."""

import io
import struct
import zlib

import numpy
import pytest
from PIL import Image, ImageCms

import images
from test_images import vips


def lab_of(picture):
    """CIE Lab (D50) of an sRGB picture, by the formulas."""
    rgb = numpy.asarray(picture.convert("RGB"), dtype=numpy.float64) / 255
    linear = numpy.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = numpy.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]])
    xyz = linear @ to_xyz.T / numpy.array([0.96422, 1.0, 0.82521])
    f = numpy.where(xyz > 216 / 24389, numpy.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return numpy.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def ciede2000(one, two):
    """CIEDE2000 of arrays of Lab colours."""
    l1, a1, b1 = one[..., 0], one[..., 1], one[..., 2]
    l2, a2, b2 = two[..., 0], two[..., 1], two[..., 2]
    c7 = ((numpy.hypot(a1, b1) + numpy.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - numpy.sqrt(c7 / (c7 + 25.0**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = numpy.hypot(a1, b1), numpy.hypot(a2, b2)
    h1, h2 = numpy.degrees(numpy.arctan2(b1, a1)) % 360, numpy.degrees(numpy.arctan2(b2, a2)) % 360
    turn = (h2 - h1 + 180) % 360 - 180
    dh = 2 * numpy.sqrt(c1 * c2) * numpy.sin(numpy.radians(turn / 2))
    h = numpy.where(c1 * c2 == 0, h1 + h2, (h1 + turn / 2) % 360)
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = 1 - 0.17 * numpy.cos(numpy.radians(h - 30)) + 0.24 * numpy.cos(numpy.radians(2 * h))
    t += 0.32 * numpy.cos(numpy.radians(3 * h + 6)) - 0.20 * numpy.cos(numpy.radians(4 * h - 63))
    sl = 1 + 0.015 * (light - 50) ** 2 / numpy.sqrt(20 + (light - 50) ** 2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    rt = -numpy.sin(numpy.radians(60 * numpy.exp(-(((h - 275) / 25) ** 2)))) * 2 * numpy.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    dl, dc, dh = (l2 - l1) / sl, (c2 - c1) / sc, dh / sh
    return numpy.sqrt(numpy.maximum(dl**2 + dc**2 + dh**2 + rt * dc * dh, 0))


def delta_e(a, b):
    """The mean over two pictures."""
    return float(ciede2000(lab_of(a), lab_of(b)).mean())


def test_delta_e_of_published_pairs():
    """From the test data of Sharma, Wu and Dalal."""
    pairs = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ]
    for one, two, wanted in pairs:
        assert abs(float(ciede2000(numpy.array(one, dtype=float), numpy.array(two, dtype=float))) - wanted) < 0.0005


def png_of(pixels, bits, kind, profile=None, extra=b""):
    """A PNG of a numpy array (height, width, channels) with 8 or 16 bits, or packed below."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = pixels.shape[:2]
    rows = []
    for row in pixels.reshape(height, -1):
        if bits == 16:
            packed = row.astype(">u2").tobytes()
        elif bits == 8:
            packed = row.astype(numpy.uint8).tobytes()
        else:
            spread = ((row[:, None] >> numpy.arange(bits - 1, -1, -1)) & 1).reshape(-1)
            packed = numpy.packbits(spread.astype(numpy.uint8)).tobytes()
        rows.append(b"\0" + packed)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    if profile:
        data += chunk(b"iCCP", b"p\0\0" + zlib.compress(profile))
    return data + extra + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")


def chunk_of(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def managed(picture, profile):
    """The picture in sRGB as Pillow's colour management has it."""
    return ImageCms.profileToProfile(picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB")


def convert(system, key, query, data):
    answer = system.post(f"/v1/resize?{query}", data, key)
    assert answer.status_code == 200, answer.text
    return images.decoded(answer.content)


def needed(name):
    data = images.corpus(name)
    if data is None:
        pytest.skip(f"needs the corpus: {name}")
    return data


@pytest.mark.parametrize("query", ["format=png", "format=png&kernel=cubic&width=10000", "format=png&crop=0,0,8,8", "format=jpeg&quality=98&chroma=444"])
def test_wide_gamut_has_the_right_colours(system, key, query):
    data = needed("p3.png")
    source = images.decoded(data)
    wanted = managed(source.convert("RGB"), source.info["icc_profile"])
    got = convert(system, key, query, data)
    assert delta_e(got, wanted.crop((0, 0, *got.size))) < 2


@pytest.mark.parametrize("bits", [8, 16])
def test_wide_gamut_photo_has_the_right_colours(system, key, bits):
    profile = images.decoded(needed("p3.png")).info["icc_profile"]
    scene = images.scene(300, 200)
    pixels = numpy.asarray(scene).astype(numpy.uint32) * (257 if bits == 16 else 1)
    wanted = managed(scene, profile)
    assert delta_e(wanted, scene) > 2
    got = convert(system, key, "format=png", png_of(pixels, bits, 2, profile))
    assert delta_e(got, wanted) < 1
    small = convert(system, key, "format=png&width=100", png_of(pixels, bits, 2, profile))
    assert delta_e(small, wanted.resize(small.size, Image.Resampling.LANCZOS)) < 2


def test_cmyk_has_the_right_colours(system, key):
    data = needed("Channel_digital_image_CMYK_color.jpg")
    source = images.decoded(data)
    if "icc_profile" not in source.info:
        pytest.skip("the picture has no profile")
    wanted = managed(source, source.info["icc_profile"])
    assert delta_e(convert(system, key, "format=png", data), wanted) < 2
    assert delta_e(convert(system, key, "format=png&kernel=cubic&width=10000", data), wanted) < 2


def test_ycck_is_cmyk_in_another_coat(system, key):
    """The same inks once as they are and once turned to YCC, which only the Adobe marker tells."""
    inks = numpy.asarray(images.scene(320, 200).convert("CMYK")).astype(numpy.float64)
    inks[..., 3] = numpy.linspace(0, 120, 320)[None, :]
    plain = io.BytesIO()
    Image.fromarray(inks.astype(numpy.uint8), "CMYK").save(plain, "JPEG", quality=98, subsampling=0)
    ycc = numpy.asarray(Image.fromarray(inks[..., :3].astype(numpy.uint8), "RGB").convert("YCbCr")).astype(numpy.uint8)
    # Pillow stores inks inverted.
    stored = numpy.concatenate([255 - ycc, inks[..., 3:].astype(numpy.uint8)], axis=-1)
    turned = io.BytesIO()
    Image.fromarray(stored, "CMYK").save(turned, "JPEG", quality=98, subsampling=0)
    data = bytearray(turned.getvalue())
    at = data.index(b"Adobe")
    assert data[at + 11] == 0
    data[at + 11] = 2
    one, other = (convert(system, key, "format=png&width=160", bytes(d)) for d in (plain.getvalue(), data))
    assert one.mode == other.mode == "RGB"
    assert delta_e(one, other) < 2


@pytest.mark.parametrize(
    ("marker", "bits"),
    [(0xC1, 12), (0xC2, 12), (0xC3, 8), (0xC5, 8), (0xC6, 8), (0xC7, 8), (0xCB, 8), (0xCD, 8), (0xCE, 8), (0xCF, 8), (0xC0, 0), (0xC0, 16)],
)
def test_jpeg_that_libjpeg_cannot_read_is_refused(system, key, marker, bits):
    """Twelve bits, lossless and hierarchical processes, and what no JPEG has, by their marks in the frame's header."""
    data = bytearray(images.encoded("jpeg", 64, 48))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = marker, bits
    answer = system.post("/v1/resize?width=20", bytes(data), key)
    assert answer.status_code == 422 and answer.json()["type"] == "/problems/undecodable", answer.text
    assert "not supported" in answer.json()["detail"]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_png_of_every_depth(system, key, bits):
    levels = 2**bits
    ramp = numpy.tile(numpy.arange(64) * levels // 64, (32, 1))
    wanted = Image.fromarray((ramp * 255 // (levels - 1)).astype(numpy.uint8), "L")
    got = convert(system, key, "format=png", png_of(ramp[..., None], bits, 0))
    assert delta_e(got, wanted) < 0.5
    flat = convert(system, key, "format=jpeg&quality=98", png_of(ramp[..., None], bits, 0))
    assert flat.mode == "L" and delta_e(flat, wanted) < 1


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_png_of_every_depth(system, key, bits):
    count = 2**bits
    palette = numpy.random.default_rng(bits).integers(0, 256, (count, 3)).astype(numpy.uint8)
    index = numpy.tile(numpy.arange(64) % count, (16, 1))
    clear = bytes([0] + [255] * (count - 1))
    data = png_of(index[..., None], bits, 3, extra=chunk_of(b"PLTE", palette.tobytes()) + chunk_of(b"tRNS", clear))
    got = numpy.asarray(convert(system, key, "format=png", data).convert("RGBA"))
    assert numpy.array_equal(got[..., 3], numpy.where(index == 0, 0, 255))
    assert numpy.array_equal(got[..., :3][index > 0], palette[index][index > 0])


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_become_eight(system, key, kind, channels):
    scene = numpy.asarray(images.scene(120, 80).convert("RGBA")).astype(numpy.uint32)
    pixels = {3: scene[..., :3], 2: scene[..., :2], 4: scene}[channels] * 257
    pixels[..., -1] = pixels[..., -1] if channels == 3 else 65535
    got = numpy.asarray(convert(system, key, "format=png", png_of(pixels, 16, kind)), dtype=int)
    assert numpy.abs(got - pixels.astype(int) // 257).max() <= 1


def test_interlaced_png_and_progressive_jpeg(system, key, tmp_path):
    scene = images.scene(320, 240)
    scene.save(tmp_path / "in.png")
    vips("copy", tmp_path / "in.png", f"{tmp_path}/interlaced.png[interlace]")
    data = (tmp_path / "interlaced.png").read_bytes()
    assert data[28] == 1
    assert numpy.array_equal(numpy.asarray(convert(system, key, "format=png", data)), numpy.asarray(scene))
    out = io.BytesIO()
    scene.save(out, "JPEG", quality=95, progressive=True)
    got = convert(system, key, "format=png&width=100", out.getvalue())
    assert images.psnr(got, scene.resize((100, 75), Image.Resampling.LANCZOS)) >= 35


@pytest.mark.parametrize("content_type", ["image/png", "text/html", "application/octet-stream"])
def test_format_is_told_by_the_bytes(system, key, content_type):
    answer = system.post("/v1/resize?width=20", images.encoded("jpeg"), key, headers={"Content-Type": content_type})
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "image/jpeg"
