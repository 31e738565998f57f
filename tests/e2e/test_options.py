# SPDX-License-Identifier: MIT
"""Every option of a resize against references made by other means: Pillow, vips on the command line, arithmetic."""

import io

import numpy
import pytest
from PIL import Image, ImageFilter

import images
from test_images import open_any, vips

SIZE = (640, 480)


def convert(system, key, query, data):
    answer = system.post(f"/v1/resize?{query}", data, key)
    assert answer.status_code == 200, answer.text
    return answer.content


def picture(system, key, query, data):
    return images.decoded(convert(system, key, query, data))


@pytest.fixture(scope="module")
def scene():
    return images.scene(*SIZE)


@pytest.fixture(scope="module")
def png(scene):
    return images.encoded("png", *SIZE)


def refused(system, key, query, data, status=400):
    answer = system.post(f"/v1/resize?{query}", data, key)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("query", "operations"),
    [
        ("rotate=90", [Image.Transpose.ROTATE_270]),
        ("rotate=180", [Image.Transpose.ROTATE_180]),
        ("rotate=270", [Image.Transpose.ROTATE_90]),
        ("flip=1", [Image.Transpose.FLIP_TOP_BOTTOM]),
        ("flop=1", [Image.Transpose.FLIP_LEFT_RIGHT]),
        ("rotate=-90", [Image.Transpose.ROTATE_90]),
        ("rotate=90&flip=1&flop=1", [Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_270]),
        ("rotate=270&flop=1", [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90]),
        ("flip=1&rotate=90", [Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_270]),
    ],
)
def test_turns_are_exact(system, key, scene, png, query, operations):
    wanted = scene
    for operation in operations:
        wanted = wanted.transpose(operation)
    got = picture(system, key, query, png)
    assert numpy.array_equal(numpy.asarray(got), numpy.asarray(wanted))


@pytest.mark.parametrize("angle", [30, -7.5, 135, 200.25])
def test_any_angle_is_turned_as_vips_turns(system, key, scene, png, tmp_path, angle):
    (tmp_path / "in.png").write_bytes(png)
    vips("rotate", tmp_path / "in.png", tmp_path / "out.png", angle % 360, "--background", "255 99 71")
    wanted = Image.open(tmp_path / "out.png")
    got = picture(system, key, f"rotate={angle}&background=tomato", png)
    assert got.size == wanted.size and images.psnr(got, wanted) >= 45
    pillow = scene.rotate(-angle, Image.Resampling.BILINEAR, expand=True, fillcolor=(255, 99, 71))
    assert images.psnr(got.resize(pillow.size), pillow) >= 25
    small = picture(system, key, f"rotate={angle}&background=tomato&width=200", png)
    assert small.width == 200 and images.psnr(small, wanted.resize(small.size, Image.Resampling.LANCZOS)) >= 33


@pytest.mark.parametrize(
    ("query", "corner"),
    [("format=png", (0, 0, 0, 0)), ("format=webp", (0, 0, 0, 0)), ("format=jpeg", (0, 0, 0, 255)), ("format=png&background=tomato", (255, 99, 71, 255)),
     ("format=png&background=80ff0080", (128, 255, 0, 128)), ("format=jpeg&background=80ff0080", (128, 255, 0, 255))],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_corners_of_any_angle_have_the_background(system, key, mode, query, corner):
    out = io.BytesIO()
    Image.new("RGBA", (90, 60), (220, 220, 220, 255)).convert(mode).save(out, "PNG")
    got = picture(system, key, f"rotate=30&{query}", out.getvalue()).convert("RGBA")
    for x, y in ((0, 0), (got.width - 1, 0), (0, got.height - 1), (got.width - 1, got.height - 1)):
        seen = got.getpixel((x, y))
        assert seen[3] == corner[3]
        assert corner[3] == 0 or numpy.abs(numpy.subtract(seen, corner)).max() <= 6
    assert numpy.abs(numpy.subtract(got.getpixel((got.width // 2, got.height // 2)), (220, 220, 220, 255))).max() <= 2


def test_edges_of_any_angle_keep_their_colour(system, key):
    out = io.BytesIO()
    Image.new("RGB", (90, 60), (255, 0, 0)).save(out, "PNG")
    pixels = numpy.asarray(picture(system, key, "rotate=33", out.getvalue()))
    seen = pixels[pixels[:, :, 3] > 16]
    assert seen[:, 0].min() > 240 and seen[:, 1].max() < 8


@pytest.mark.parametrize("name", ["Channel_digital_image_CMYK_color.jpg", "p3.png"])
def test_any_angle_is_turned_in_the_right_colours(system, key, name):
    data = images.corpus(name)
    if data is None:
        pytest.skip(f"needs the corpus: {name}")
    plain = picture(system, key, "format=png", data).convert("RGB")
    turned = picture(system, key, "format=png&rotate=0.01", data).convert("RGB")
    assert turned.size == plain.size and images.psnr(turned, plain) >= 35


def test_size_is_that_of_the_turned_picture(system, key, png):
    assert picture(system, key, "rotate=90&width=120", png).size == (120, 160)
    assert picture(system, key, "rotate=90&width=100&height=50&fit=cover", png).size == (100, 50)


def test_crop_is_exact_and_comes_first(system, key, scene, png):
    got = picture(system, key, "crop=100,50,200,120", png)
    assert numpy.array_equal(numpy.asarray(got), numpy.asarray(scene.crop((100, 50, 300, 170))))
    small = picture(system, key, "crop=100,50,200,120&width=100", png)
    wanted = scene.crop((100, 50, 300, 170)).resize((100, 60), Image.Resampling.LANCZOS)
    assert small.size == (100, 60)
    assert images.psnr(small, wanted) >= 35
    turned = picture(system, key, "crop=100,50,200,120&rotate=90", png)
    assert numpy.array_equal(numpy.asarray(turned), numpy.asarray(scene.crop((100, 50, 300, 170)).transpose(Image.Transpose.ROTATE_270)))


def test_crop_counts_in_the_upright_picture(system, key, scene):
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    scene.transpose(Image.Transpose.ROTATE_90).save(out, "JPEG", quality=98, subsampling=0, exif=exif)
    got = picture(system, key, "crop=300,10,320,200&format=png", out.getvalue())
    assert got.size == (320, 200)
    assert images.psnr(got, scene.crop((300, 10, 620, 210))) >= 35


@pytest.mark.parametrize("crop", ["0,0,641,480", "640,0,1,1", "0,480,1,1", "600,400,41,80"])
def test_crop_outside_is_refused(system, key, png, crop):
    problem = refused(system, key, f"crop={crop}", png)
    x, y, width, height = map(int, crop.split(","))
    assert "crop must lie within" in problem["detail"] and problem["parameter"] == "crop"
    assert (problem["limit"], problem["actual"]) == ((640, x + width) if x + width > 640 else (480, y + height))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_trim_finds_the_content(system, key, mode):
    border = {"RGB": (250, 250, 250), "RGBA": (0, 0, 0, 0), "L": 20}[mode]
    canvas = Image.new(mode, (300, 200), border)
    inner = images.scene(120, 90).convert(mode)
    canvas.paste(inner, (50, 70))
    out = io.BytesIO()
    canvas.save(out, "PNG")
    got = picture(system, key, "trim=10", out.getvalue())
    assert abs(got.width - 120) <= 2 and abs(got.height - 90) <= 2
    blank = io.BytesIO()
    Image.new(mode, (30, 20), border).save(blank, "PNG")
    assert picture(system, key, "trim=10", blank.getvalue()).size == (30, 20)


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (40, 2), (3, 3)])
def test_trim_leaves_what_is_too_small_to_have_edges(system, key, size):
    out = io.BytesIO()
    images.scene(40, 40).crop((0, 0, *size)).save(out, "PNG")
    assert picture(system, key, "trim=255", out.getvalue()).size == size


# Six vertical stripes: where a cut is made shows in its colours.
STRIPES = ["red", "lime", "blue", "yellow", "cyan", "magenta"]


def stripes(across):
    width, height = (600, 100) if across else (100, 600)
    picture_ = Image.new("RGB", (width, height))
    for i, colour in enumerate(STRIPES):
        picture_.paste(Image.new("RGB", (100, 100), colour), (100 * i, 0) if across else (0, 100 * i))
    out = io.BytesIO()
    picture_.save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("position", "across", "stripe"),
    [("west", True, 0), ("east", True, 5), ("northwest", True, 0), ("southeast", False, 5), ("north", False, 0), ("south", False, 5),
     ("0.25,0.5", True, 1), ("0.75,0.1", True, 4), ("0,0", True, 0), ("1,1", True, 5), ("0.5,0.4167", False, 2)],
)
def test_cover_keeps_the_position(system, key, position, across, stripe):
    got = picture(system, key, f"width=40&height=40&fit=cover&position={position}", stripes(across))
    wanted = Image.new("RGB", (1, 1), STRIPES[stripe]).getpixel((0, 0))
    assert got.size == (40, 40)
    assert numpy.abs(numpy.subtract(got.getpixel((20, 20)), wanted)).max() < 8


@pytest.mark.parametrize(("position", "where"), [("north", 5), ("centre", 50), ("south", 95)])
def test_contain_puts_the_picture_at_the_position(system, key, position, where):
    got = picture(system, key, f"width=100&height=100&fit=contain&background=tomato&position={position}", stripes(True))
    column = numpy.asarray(got)[:, 8]
    red = [y for y in range(100) if tuple(column[y]) == (255, 0, 0)]
    assert red and abs(numpy.mean(red) - where) < 5
    assert tuple(column[(where + 50) % 100]) == (255, 99, 71)


@pytest.mark.parametrize(
    ("query", "clear"),
    [("format=png", True), ("format=webp", True), ("format=gif", True), ("format=png&background=black", False), ("format=jpeg", False),
     ("format=jpeg&background=0000", False), ("format=auto", False)],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_the_canvas_is_clear_where_the_format_can(system, key, mode, query, clear):
    out = io.BytesIO()
    Image.new(mode, (60, 20), "white").save(out, "PNG")
    clear = clear or (mode == "RGBA" and query == "format=auto")  # which is PNG then
    got = picture(system, key, f"width=30&height=30&fit=contain&{query}", out.getvalue()).convert("RGBA")
    red, green, blue, alpha = got.getpixel((0, 0))
    assert alpha == 0 if clear else alpha == 255 and max(red, green, blue) <= 3
    assert min(got.getpixel((15, 15))) >= 252


@pytest.mark.parametrize("position", ["entropy", "attention"])
def test_interest_is_found_where_vips_finds_it(system, key, tmp_path, position):
    blank = Image.new("RGB", (800, 200), (90, 90, 90))
    blank.paste(images.scene(160, 160).filter(ImageFilter.SHARPEN), (600, 20))
    blank.save(tmp_path / "in.png")
    got = picture(system, key, f"width=200&height=200&fit=cover&position={position}", (tmp_path / "in.png").read_bytes())
    vips("smartcrop", tmp_path / "in.png", tmp_path / "out.png", 200, 200, "--interesting", position)
    assert images.psnr(got, Image.open(tmp_path / "out.png")) >= 35


@pytest.mark.parametrize(("kernel", "filter_"), [("linear", "BILINEAR"), ("cubic", "BICUBIC"), ("lanczos3", "LANCZOS")])
def test_kernels(system, key, scene, png, kernel, filter_):
    got = picture(system, key, f"width=213&kernel={kernel}", png)
    assert got.size == (213, 160)
    assert images.psnr(got, scene.resize((213, 160), Image.Resampling[filter_])) >= 33


@pytest.mark.parametrize("kernel", ["nearest", "linear", "cubic", "mitchell", "lanczos2", "lanczos3"])
@pytest.mark.parametrize("box", [(77, 33), (101, 99), (640, 480), (641, 480), (1000, 777), (1, 1)])
def test_kernels_keep_to_the_size(system, key, png, kernel, box):
    got = picture(system, key, f"width={box[0]}&height={box[1]}&fit=fill&kernel={kernel}", png)
    assert got.size == box


def test_nearest_makes_no_new_colours(system, key):
    got = picture(system, key, "width=60&kernel=nearest", stripes(True))
    assert len(got.getcolors()) == 6


def test_blur_is_gaussian(system, key, scene, png):
    got = picture(system, key, "blur=4", png)
    assert images.psnr(got, scene.filter(ImageFilter.GaussianBlur(4))) >= 33


def test_blur_does_not_bleed_from_what_is_transparent(system, key):
    canvas = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    canvas.paste((255, 0, 0, 255), (30, 30, 70, 70))
    out = io.BytesIO()
    canvas.save(out, "PNG")
    pixels = numpy.asarray(picture(system, key, "blur=5", out.getvalue()))
    seen = pixels[pixels[:, :, 3] > 32]
    assert seen[:, 0].min() > 240 and 0 < pixels[28, 50, 3] < 255


def test_sharpen_raises_contrast_at_edges(system, key, tmp_path, png):
    got = picture(system, key, "sharpen=1.5", png)
    (tmp_path / "in.png").write_bytes(png)
    vips("sharpen", tmp_path / "in.png", tmp_path / "out.png", "--sigma", 1.5, "--m1", 1, "--m2", 2, "--x1", 2, "--y2", 10, "--y3", 20)
    assert images.psnr(got, Image.open(tmp_path / "out.png")) >= 40


def test_grayscale_has_no_colour(system, key, png, tmp_path):
    got = picture(system, key, "grayscale=1", png)
    (tmp_path / "in.png").write_bytes(png)
    vips("colourspace", tmp_path / "in.png", tmp_path / "out.png", "b-w")
    assert got.mode == "L"
    assert images.psnr(got, Image.open(tmp_path / "out.png")) >= 45


def test_dpr_multiplies_the_size(system, key, png):
    assert picture(system, key, "width=100&dpr=1.5", png).size == (150, 113)


# ---- Encoding ----


@pytest.mark.parametrize("output_format", ["webp", "avif"])
def test_lossless_is_exact(system, key, tmp_path, output_format):
    made = convert(system, key, f"format={output_format}&lossless=1&width=100", images.encoded("png"))
    wanted = picture(system, key, "format=png&width=100", images.encoded("png"))
    got = numpy.asarray(open_any(made, tmp_path).convert("RGB"), dtype=int)
    assert numpy.abs(got - numpy.asarray(wanted, dtype=int)).max() <= (0 if output_format == "webp" else 1)


@pytest.mark.parametrize("output_format", ["png", "webp", "gif"])
def test_more_effort_is_no_larger(system, key, output_format):
    lowest = 1 if output_format == "gif" else 0
    highest = {"png": 9, "webp": 6, "gif": 10}[output_format]
    low, high = (len(convert(system, key, f"format={output_format}&width=300&effort={e}", images.encoded("png"))) for e in (lowest, highest))
    assert high < low * 1.02


def jpeg_frame(data):
    """The marker of a JPEG's frame, and the sampling factors of its first component."""
    at = 2
    while data[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[at + 1], data[at + 11]


def test_progressive_and_chroma_of_jpeg(system, key, png):
    assert jpeg_frame(convert(system, key, "format=jpeg", png)) == (0xC0, 0x22)
    assert jpeg_frame(convert(system, key, "format=jpeg&progressive=1", png)) == (0xC2, 0x22)
    assert jpeg_frame(convert(system, key, "format=jpeg&chroma=444", png)) == (0xC0, 0x11)
    assert jpeg_frame(convert(system, key, "format=jpeg&quality=95&chroma=420", png)) == (0xC0, 0x22)
    assert convert(system, key, "format=png&progressive=1", png)[28] == 1


@pytest.mark.parametrize("output_format", ["jpeg", "webp", "avif"])
def test_max_bytes_finds_the_best_quality_that_fits(system, key, png, output_format):
    query = f"width=300&format={output_format}"
    most = len(convert(system, key, f"{query}&quality=60", png))
    made = convert(system, key, f"{query}&max_bytes={most}", png)
    assert len(made) <= most
    assert made == convert(system, key, f"{query}&quality=60", png) or len(made) > 0.95 * most
    assert len(convert(system, key, f"{query}&quality=30&max_bytes={most}", png)) == len(convert(system, key, f"{query}&quality=30", png))


@pytest.mark.parametrize("output_format", ["jpeg", "png", "gif"])
def test_max_bytes_tells_the_smallest_size(system, key, png, output_format):
    problem = refused(system, key, f"width=300&format={output_format}&max_bytes=500", png, status=422)
    lowest = convert(system, key, f"width=300&format={output_format}" + ("&quality=1" if output_format == "jpeg" else ""), png)
    assert problem["parameter"] == "max_bytes" and problem["limit"] == 500 and problem["actual"] == len(lowest)


def test_metadata_are_kept_as_told(system, key, scene):
    exif = Image.Exif()
    exif[0x010F], exif[0x8298], exif[0x013B], exif[0x0112] = "a camera maker", "the copyright", "the artist", 6
    out = io.BytesIO()
    scene.save(out, "JPEG", exif=exif)
    for output_format in ("jpeg", "webp"):
        query = f"width=100&format={output_format}"
        none = convert(system, key, query, out.getvalue())
        assert b"copyright" not in none and b"camera" not in none
        some = images.decoded(convert(system, key, f"{query}&metadata=copyright", out.getvalue())).getexif()
        assert some[0x8298].startswith("the copyright") and some[0x013B].startswith("the artist") and 0x010F not in some
        every = images.decoded(convert(system, key, f"{query}&metadata=all", out.getvalue())).getexif()
        assert every[0x010F].startswith("a camera") and every[0x8298].startswith("the copyright")
        assert every.get(0x0112, 1) == 1


# ---- Pages ----


def animation(kind, frames=4, size=(60, 40)):
    """Frames of one colour each, of different lengths."""
    made = [Image.new("RGB", size, STRIPES[i]) for i in range(frames)]
    out = io.BytesIO()
    made[0].save(out, kind.upper(), save_all=True, append_images=made[1:], duration=[100 + 50 * i for i in range(frames)], loop=3, **({"lossless": True} if kind == "webp" else {}))
    return out.getvalue()


def frames_of(data):
    image = images.decoded(data)
    told = []
    for i in range(getattr(image, "n_frames", 1)):
        image.seek(i)
        image.load()
        told.append((image.convert("RGB").getpixel((image.width // 2, image.height // 2)), image.info.get("duration")))
    return told


def near(a, b):
    return numpy.abs(numpy.subtract(a, b)).max() < 12


@pytest.mark.parametrize("output_format", ["gif", "webp"])
@pytest.mark.parametrize("input_format", ["gif", "webp"])
@pytest.mark.parametrize(
    ("query", "size"),
    [("width=30", (30, 20)), ("width=20&height=20&fit=cover", (20, 20)), ("width=20&height=20&fit=contain", (20, 20)), ("rotate=90", (40, 60)), ("rotate=45", (71, 71)),
     ("crop=10,10,30,20", (30, 20)), ("flip=1&blur=1&sharpen=1", (60, 40)), ("width=30&kernel=cubic", (30, 20)), ("trim=10&width=30", (30, 20)),
     ("width=20&height=20&fit=cover&position=attention", (20, 20))],
)
def test_animation_is_kept(system, key, input_format, output_format, query, size):
    made = convert(system, key, f"{query}&format={output_format}", animation(input_format))
    assert images.decoded(made).size == size
    told = frames_of(made)
    assert len(told) == 4
    for i, (colour, duration) in enumerate(told):
        assert near(colour, Image.new("RGB", (1, 1), STRIPES[i]).getpixel((0, 0))), (i, colour)
        # Pillow gives the length of a WebP's frame only in later versions.
        assert duration in (None, 100 + 50 * i) or output_format == "webp"
    if output_format == "gif":
        # GIF counts repeats, WebP plays.
        assert images.decoded(made).info.get("loop") == (3 if input_format == "gif" else 2)


@pytest.mark.parametrize("input_format", ["gif", "webp"])
def test_first_frame_where_the_result_holds_but_one(system, key, input_format):
    for output_format in ("png", "jpeg"):
        assert near(frames_of(convert(system, key, f"format={output_format}", animation(input_format)))[0][0], (255, 0, 0))


@pytest.mark.parametrize("input_format", ["gif", "webp", "tiff"])
def test_page_is_one_frame(system, key, input_format):
    if input_format == "tiff":
        made = [Image.new("RGB", (60, 40), c) for c in STRIPES[:4]]
        out = io.BytesIO()
        made[0].save(out, "TIFF", save_all=True, append_images=made[1:])
        data = out.getvalue()
    else:
        data = animation(input_format)
    for page in range(4):
        told = frames_of(convert(system, key, f"page={page}&format=png&width=30", data))
        assert len(told) == 1 and near(told[0][0], Image.new("RGB", (1, 1), STRIPES[page]).getpixel((0, 0)))
    assert len(frames_of(convert(system, key, "page=2", data))) == 1
    problem = refused(system, key, "page=4", data)
    assert "no such page" in problem["detail"] and problem["parameter"] == "page"
    assert (problem["limit"], problem["actual"]) == (3, 4)


def test_too_many_frames_are_refused(make_system):
    system = make_system(env={"CAVAGE_LIMITS_FRAMES_IN": "1000 gif:3"})
    key = system.new_customer("frames")
    problem = refused(system, key, "width=10", animation("gif"), status=422)
    assert problem["limit"] == 3 and problem["actual"] == 4
    assert len(frames_of(convert(system, key, "width=10", animation("gif", frames=3)))) == 3


# ---- format=auto ----

BROWSER = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [(BROWSER, "avif"), ("image/webp,*/*", "webp"), ("*/*", "jpeg"), (None, "jpeg"), ("image/avif;q=0,image/webp;q=0.1", "webp"), ("image/jpeg", "jpeg"),
     ("image/avif;q=0.3,image/webp;q=0.8", "webp")],
)
def test_auto_follows_accept(system, key, png, accept, wanted):
    answer = system.post("/v1/resize?format=auto&width=100", png, key, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == f"image/{wanted}"
    assert answer.headers["Vary"] == "Accept"


def test_auto_keeps_transparency_and_frames(system, key):
    clear = io.BytesIO()
    Image.new("RGBA", (20, 20), (255, 0, 0, 90)).save(clear, "PNG")
    plain, browser = {"Accept": "*/*"}, {"Accept": BROWSER}
    assert system.post("/v1/resize?format=auto", clear.getvalue(), key, headers=plain).headers["Content-Type"] == "image/png"
    assert system.post("/v1/resize?format=auto", animation("webp"), key, headers=plain).headers["Content-Type"] == "image/gif"
    made = system.post("/v1/resize?format=auto", animation("gif"), key, headers=browser)
    assert made.headers["Content-Type"] == "image/webp"
    assert len(frames_of(made.content)) == 4


def test_only_auto_varies(system, key, png):
    assert "Vary" not in system.post("/v1/resize?format=png&width=10", png, key, headers={"Accept": BROWSER}).headers
