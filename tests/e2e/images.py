# SPDX-License-Identifier: MIT
"""Images for the tests: generated ones, and where they are there, the photos of a corpus."""

import io
import os
import struct
import zlib
from functools import lru_cache
from pathlib import Path

import numpy
from PIL import Image

CORPUS = Path(os.environ.get("CAVAGE_CORPUS", Path(__file__).resolve().parents[3] / "shared" / "corpus"))


def corpus(name):
    """Bytes of a corpus picture, or None."""
    path = CORPUS / name
    return path.read_bytes() if path.exists() else None


def scene(width, height, seed=1):
    """A picture with the mixture of a photo: smooth shades, edges, and a little grain. RGB."""
    rng = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.float64)
    u, v = x / width, y / height
    red = 140 + 90 * numpy.sin(3 * u + 2 * v) + 40 * (numpy.hypot(u - 0.3, v - 0.4) < 0.2)
    green = 120 + 80 * numpy.cos(4 * v - u) + 30 * (numpy.abs(u - v) < 0.05)
    blue = 110 + 70 * numpy.sin(5 * u * v + 1) + 50 * (numpy.hypot(u - 0.7, v - 0.6) < 0.15)
    grain = rng.normal(0, 3, (height, width))
    pixels = numpy.stack([red + grain, green + grain, blue + grain], axis=-1)
    return Image.fromarray(pixels.clip(0, 255).astype(numpy.uint8), "RGB")


@lru_cache(maxsize=32)
def encoded(kind, width=640, height=480, seed=1, **options):
    """A scene in a format: jpeg, png, webp, gif, tiff."""
    out = io.BytesIO()
    settings = {"jpeg": {"quality": 90}, "png": {}, "webp": {"quality": 90}, "gif": {}, "tiff": {"compression": "tiff_lzw"}}[kind]
    scene(width, height, seed).save(out, kind.upper(), **{**settings, **options})
    return out.getvalue()


def decoded(data):
    """Any picture as an RGB or RGBA image, orientation applied as it is stored."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def psnr(a, b):
    """Peak signal to noise ratio in dB of two images of the same size."""
    x = numpy.asarray(a.convert("RGB"), dtype=numpy.float64)
    y = numpy.asarray(b.convert("RGB"), dtype=numpy.float64)
    assert x.shape == y.shape
    error = numpy.mean((x - y) ** 2)
    return 99.0 if error == 0 else 10 * numpy.log10(255.0**2 / error)


def png_bomb(width, height):
    """A small PNG that decodes to a black picture of width × height, grey with 8 bits."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(width + 1)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def gif_claiming(width, height):
    """A GIF whose screen and frame claim width × height, with next to no data."""
    return (
        b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
        + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"
    )
