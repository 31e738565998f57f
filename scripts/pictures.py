#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes the pictures of docs/images.md: draws the originals, sends each row's request to a running service, and keeps the answers.

    scripts/pictures.py [--originals DIR]

`make images` runs it. A row of the page begins with a query in backquotes, perhaps followed by `Accept: ...`; the head of its table names the
original. The second cell, with picture, size and bytes, is written here; all else on the page by hand. With --originals they are written to DIR, too.
"""

import argparse
import io
import math
import re
import sys
from functools import lru_cache
from pathlib import Path

import numpy
from PIL import Image, ImageDraw, ImageFilter

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / "docs" / "images.md"
FOLDER = REPO / "docs" / "images"
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "AVIF": "avif", "GIF": "gif", "TIFF": "tiff"}
OVER = 3  # drawn this many times as large and then reduced, for smooth edges

# ---- The originals ----


def scaled(points):
    return [(x * OVER, y * OVER) for x, y in points]


def ridge(draw, width, base, height, colour, phase):
    """A mountain range across the picture, down to `base`."""
    line = [(0, base)]
    for x in range(0, width + 4, 4):
        waves = math.sin(x / 97 + phase) + 0.5 * math.sin(x / 41 + 2 * phase) + 0.2 * math.sin(x / 13 + 3 * phase)
        line.append((x, base - height * (0.55 + 0.26 * waves)))
    draw.polygon(scaled([*line, (width, base)]), fill=colour)


def balloon(draw, x, y, r):
    """Hot-air balloon around (x, y), with upright stripes."""
    stripes = [(206, 32, 41), (250, 205, 60), (206, 32, 41), (246, 242, 232), (206, 32, 41), (250, 205, 60), (206, 32, 41)]

    def edge(part, t):
        """A point of the seam at `part` of -1 .. 1, at height t of 0 .. 1 from the top."""
        d = 2.25 * t - 1
        bulge = math.sqrt(1 - d * d) if d < 0.25 else 0.2 + 0.77 * math.cos(math.pi / 2 * (d - 0.25)) ** 0.9
        return (x + part * r * bulge, y + r * d)

    seams = [math.sin(math.pi * (i / len(stripes) - 0.5)) for i in range(len(stripes) + 1)]
    for left, right, colour in zip(seams, seams[1:], stripes):
        down = [edge(left, t / 30) for t in range(31)]
        up = [edge(right, t / 30) for t in range(30, -1, -1)]
        draw.polygon(scaled(down + up), fill=colour)
    foot = y + 1.25 * r
    for side in (-0.19, 0.19):
        draw.line(scaled([(x + side * r, foot), (x + side * r * 0.7, foot + 0.42 * r)]), fill=(70, 45, 30), width=OVER)
    draw.rectangle(scaled([(x - 0.17 * r, foot + 0.4 * r), (x + 0.17 * r, foot + 0.68 * r)]), fill=(112, 66, 32))


def village(draw, x, y):
    """Houses with lit windows on the shore."""
    walls = [(134, 142, 150), (110, 120, 136), (124, 134, 126), (140, 146, 150), (104, 114, 132)]
    for i, (left, width, height) in enumerate([(0, 34, 40), (37, 26, 56), (66, 40, 36), (109, 24, 82), (136, 36, 44), (175, 30, 52)]):
        at = x + left
        draw.rectangle(scaled([(at, y - height), (at + width, y)]), fill=walls[i % len(walls)])
        roof = height * (0.75 if width < 25 else 0.4)
        draw.polygon(scaled([(at - 3, y - height), (at + width / 2, y - height - roof), (at + width + 3, y - height)]), fill=(84, 70, 82))
        for row in range(int(height // 14)):
            for column in range(int(width // 10)):
                corner = (at + 4 + column * 10, y - height + 6 + row * 14)
                draw.rectangle(scaled([corner, (corner[0] + 4, corner[1] + 6)]), fill=(60, 60, 84) if (row + column + i) % 3 else (255, 226, 120))


@lru_cache
def scene():
    """A lake at sunset, 720 × 480, with a balloon at the upper right and a village at the lower left."""
    width, height, shore = 720, 480, 330
    v = numpy.linspace(0, 1, height * OVER)[:, None]
    u = numpy.linspace(0, 1, width * OVER)[None, :]
    glow = numpy.exp(-(((u - 0.4) * 1.5) ** 2 + (v - 0.52) ** 2) / 0.05)
    sky = [70 + 150 * v + 80 * glow + 0 * u, 120 + 60 * v + 60 * glow, 190 - 50 * v - 20 * glow + 0 * u]
    picture = Image.fromarray(numpy.stack(sky, axis=-1).clip(0, 255).astype(numpy.uint8), "RGB")
    draw = ImageDraw.Draw(picture)
    ridge(draw, width, shore, 190, (104, 98, 138), 0.4)
    ridge(draw, width, shore, 120, (62, 74, 104), 2.1)
    ridge(draw, width, shore, 48, (36, 62, 58), 4.0)
    village(draw, 60, shore)
    mirrored = picture.crop((0, (2 * shore - height) * OVER, width * OVER, shore * OVER)).transpose(Image.FLIP_TOP_BOTTOM)
    pixels = numpy.asarray(mirrored, dtype=numpy.float64)
    rows = numpy.arange(pixels.shape[0])
    shift = (5 * OVER * numpy.sin(rows / (2.3 * OVER)) * (0.2 + rows / rows[-1])).astype(int)
    waves = numpy.stack([numpy.roll(row, by, axis=0) for row, by in zip(pixels, shift)])
    water = waves * 0.62 + numpy.array([10, 34, 58]) * 0.9 + (9 * numpy.sin(rows / (1.7 * OVER)))[:, None, None]
    picture.paste(Image.fromarray(water.clip(0, 255).astype(numpy.uint8), "RGB"), (0, shore * OVER))
    balloon(ImageDraw.Draw(picture), 540, 130, 62)
    return picture.resize((width, height), Image.BOX)


@lru_cache
def badge():
    """A sign with thin, strong colours on a transparent ground, 480 × 480; its shadow is half transparent."""
    size = 480 * OVER
    picture = Image.new("RGBA", (size, size))
    shadow = Image.new("RGBA", (size, size))
    ImageDraw.Draw(shadow).ellipse([x * OVER for x in (62, 72, 462, 472)], fill=(0, 0, 0, 150))
    picture.alpha_composite(shadow.filter(ImageFilter.GaussianBlur(9 * OVER)))
    draw = ImageDraw.Draw(picture)
    for i in range(10):
        inset = (30 + i * 17) * OVER
        draw.ellipse([inset, inset, size - inset - 20 * OVER, size - inset - 20 * OVER], fill=[(222, 24, 40, 255), (20, 70, 190, 255)][i % 2])
    draw.polygon(scaled([(215, 150), (315, 330), (115, 330)]), fill=(255, 236, 90, 255))
    draw.polygon(scaled([(215, 215), (275, 322), (155, 322)]), fill=(0, 0, 0, 0))
    return picture.resize((480, 480), Image.BOX)


def moon(phase):
    """One picture of the moon's phases, 160 × 160; phase 0 .. 1."""
    y, x = numpy.mgrid[0 : 160 * OVER, 0 : 160 * OVER] / (80.0 * OVER) - 1
    z = numpy.sqrt(numpy.clip(0.49 - x * x - y * y, 0, None))
    angle = 2 * math.pi * phase
    lit = (numpy.clip((math.sin(angle) * x - math.cos(angle) * z) * 4, 0, 1) * (z > 0))[..., None]
    stars = Image.new("RGB", (160, 160), (14, 18, 44))
    for i in range(40):
        stars.putpixel(((i * 61) % 160, (i * 97 + i * i) % 160), (200, 205, 235))
    sky = numpy.asarray(stars.resize((160 * OVER, 160 * OVER), Image.NEAREST), dtype=numpy.float64)
    disc = (z > 0)[..., None]
    pixels = sky * (1 - disc) + disc * (numpy.array([26, 30, 56]) * (1 - lit) + numpy.array([250, 240, 205]) * lit)
    return Image.fromarray(pixels.astype(numpy.uint8), "RGB").resize((160, 160), Image.BOX)


def written(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def with_copyright(picture):
    exif = picture.getexif()
    for tag, text in {0x010E: "A lake at sunset", 0x010F: "Cavage", 0x013B: "A. Painter", 0x8298: "(c) A. Painter"}.items():
        exif[tag] = text
    return written(picture, "JPEG", quality=92, exif=exif)


def scanned():
    """The scene on slightly uneven paper."""
    paper = numpy.random.default_rng(1).normal(244, 1.5, (620, 900, 3)).clip(0, 255).astype(numpy.uint8)
    sheet = Image.fromarray(paper, "RGB")
    sheet.paste(scene(), (130, 60))
    return written(sheet, "JPEG", quality=95)


def animated():
    frames = [moon(i / 12) for i in range(12)]
    return written(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=160, loop=0)


@lru_cache
def originals():
    """Every original by its name."""
    return {
        "scene.jpg": with_copyright(scene()),
        "badge.png": written(badge(), "PNG"),
        "scan.jpg": scanned(),
        "moon.gif": animated(),
    }


# ---- The page ----

HEAD = re.compile(r"^\| `([a-z]+\.[a-z]+)` with \|")
ROW = re.compile(r"^\| `([^`]*)`(?: and `Accept: ([^`]+)`)? \|([^|]*)\|")


class Row:
    """A request of the page, and the cell that shows its answer."""

    def __init__(self, line, original, query, accept, cell):
        self.line, self.original, self.query, self.accept, self.cell = line, original, query, accept, cell.strip()
        self.stem = re.sub(r"[^a-z0-9]+", "-", f"{original} {query} {accept or ''}".lower()).strip("-")

    def picture(self):
        """The file that the cell names, or None."""
        found = re.search(r"\(images/([^)]+)\)", self.cell)
        return FOLDER / found.group(1) if found else None


def rows_of(text):
    original = None
    for number, line in enumerate(text.splitlines()):
        head, row = HEAD.match(line), ROW.match(line)
        if head:
            original = head.group(1)
        elif not line.startswith("|"):
            original = None
        elif row and original:
            yield Row(number, original, *row.groups())


def convert(system, key, row):
    headers = {"Accept": row.accept} if row.accept else None
    answer = system.post("/v1/resize?" + row.query, originals()[row.original], key, headers)
    if answer.status_code != 200:
        raise SystemExit(f"{row.query}: {answer.status_code} {answer.text}")
    return answer


def size_of(data):
    """(width, height, extension); AVIF is beyond Pillow, its size stands in its ispe box."""
    if data[4:12] == b"ftypavif":
        at = data.index(b"ispe") + 8
        return int.from_bytes(data[at : at + 4], "big"), int.from_bytes(data[at + 4 : at + 8], "big"), "avif"
    with Image.open(io.BytesIO(data)) as picture:
        return *picture.size, EXTENSIONS[picture.format]


def remake(system, key):
    """Write all pictures, and their cells on the page."""
    lines = PAGE.read_text().splitlines()
    FOLDER.mkdir(exist_ok=True)
    made = {}
    for row in rows_of(PAGE.read_text()):
        answer = convert(system, key, row)
        width, height, extension = size_of(answer.content)
        name = f"{row.stem}.{extension}"
        made[name] = answer.content
        cell = f" ![{row.query}](images/{name})<br>{width} × {height}, {len(answer.content):,} bytes "
        start = lines[row.line].index(" |") + 2
        lines[row.line] = lines[row.line][:start] + cell + lines[row.line][lines[row.line].index("|", start) :]
    for old in FOLDER.iterdir():
        if old.name not in made:
            old.unlink()
    for name, data in made.items():
        (FOLDER / name).write_bytes(data)
    PAGE.write_text("\n".join(lines) + "\n")
    return made


def main():
    sys.path.insert(0, str(REPO / "tests" / "e2e"))
    from harness import System

    parser = argparse.ArgumentParser(description="Makes the pictures of docs/images.md.")
    parser.add_argument("--originals", type=Path, metavar="DIR", help="write the originals to DIR, too")
    args = parser.parse_args()
    if args.originals:
        args.originals.mkdir(parents=True, exist_ok=True)
        for name, data in originals().items():
            (args.originals / name).write_bytes(data)
    system = System()
    try:
        system.start()
        made = remake(system, system.new_customer("pictures"))
    finally:
        system.stop()
    print(f"{len(made)} pictures, {sum(map(len, made.values())):,} bytes, in {FOLDER.relative_to(REPO)}")


if __name__ == "__main__":
    main()
