# SPDX-License-Identifier: MIT
"""SVG: off unless it is switched on; drawn at the size asked for; and nothing in one reaches files, the network, or the next request."""

import base64
import io
import socket
import threading

import numpy
import pytest
from PIL import Image

import images
from harness import System, wait_until
from test_bad_input import problem

XMLNS = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
CIRCLE = '<rect width="100" height="50" fill="#fff"/><circle cx="50" cy="25" r="20" fill="#f00"/>'


def svg(inside, attributes='width="100" height="50"', prolog=""):
    return f"{prolog}<svg {XMLNS} {attributes}>{inside}</svg>".encode()


@pytest.fixture(scope="module")
def drawing():
    system = System(env={"CAVAGE_LIMITS_SVG": "yes", "CAVAGE_WORKER_CONVERT_DEADLINE_MS": "1s"}).start()
    yield system, system.new_customer("drawer")
    system.stop()


def post(drawing, data, query="", path="/v1/resize"):
    system, key = drawing
    return system.post(f"{path}?{query}" if query else path, data, key)


def drawn(drawing, data, query=""):
    answer = post(drawing, data, query)
    assert answer.status_code == 200, answer.text
    return images.decoded(answer.content)


def violations(system):
    return system.worker.events("converter_violation")


# ---- Off ----


@pytest.mark.parametrize("prolog", ["", '<?xml version="1.0"?>', "\ufeff<!-- x --><!DOCTYPE svg>"])
def test_svg_is_off_unless_switched_on(system, key, prolog):
    for path in ("/v1/resize?width=50", "/v1/info"):
        body = problem(system.post(path, svg(CIRCLE, prolog=prolog), key), 415)
        assert "operator" in body["detail"] and "SVG" in body["detail"]


def test_svg_is_no_format_of_results(drawing):
    assert post(drawing, svg(CIRCLE), "format=svg").json()["parameter"] == "format"


# ---- What is drawn ----


def circle(width, height):
    """The picture by arithmetic, four samples a pixel across and down."""
    scale = width / 100
    y, x = numpy.mgrid[0 : height * 4, 0 : width * 4] / 4 + 0.125
    red = (numpy.hypot(x - 50 * scale, y - 25 * scale) < 20 * scale).astype(float)
    red = red.reshape(height, 4, width, 4).mean(axis=(1, 3))
    pixels = numpy.stack([numpy.full_like(red, 255), 255 * (1 - red), 255 * (1 - red)], axis=-1)
    return Image.fromarray(pixels.round().astype(numpy.uint8), "RGB")


@pytest.mark.parametrize(
    ("query", "size"),
    [("", (100, 50)), ("width=50", (50, 25)), ("width=800&enlarge=1", (800, 400)), ("width=100&dpr=3&enlarge=1", (300, 150)), ("width=999", (100, 50))],
)
def test_svg_is_drawn_at_the_size_asked_for(drawing, query, size):
    got = drawn(drawing, svg(CIRCLE), query)
    assert got.format == "PNG" and got.size == size
    # As sharp as if it had been drawn at that size: no pixels of a smaller drawing are spread.
    assert images.psnr(got, circle(*size)) >= 30


def test_svg_takes_part_in_everything(drawing):
    assert drawn(drawing, svg(CIRCLE), "width=40&height=40&fit=cover&rotate=45&format=jpeg").format == "JPEG"
    assert drawn(drawing, svg(CIRCLE), "crop=30,5,40,40&width=20").size == (20, 20)
    assert drawn(drawing, svg(CIRCLE), "width=300&height=300&fit=contain&background=navy&format=webp").size == (300, 300)
    answer = drawing[0].post("/v1/resize?format=auto", svg(CIRCLE), drawing[1], headers={"Accept": "*/*"})
    assert answer.headers["Content-Type"] == "image/png"
    clear = drawn(drawing, svg('<rect width="50" height="50" fill="#00f" opacity="0.5"/>'))
    assert clear.getpixel((75, 25))[3] == 0 and abs(clear.getpixel((25, 25))[3] - 128) <= 1


@pytest.mark.parametrize(
    ("attributes", "size"),
    [('width="1in" height="36pt"', (72, 36)), ('viewBox="0 0 100 50"', (100, 50)), ('width="50%" height="50%" viewBox="0 0 100 50"', (100, 50)),
     ('width="200" viewBox="0 0 100 50"', (200, 100)), ('height="25.4mm" viewBox="0 0 100 50"', (144, 72)), ('width="10.5" height="10.4"', (11, 10))],
)
def test_size_is_that_of_the_document(drawing, attributes, size):
    info = post(drawing, svg(CIRCLE, attributes), path="/v1/info").json()
    assert (info["format"], info["width"], info["height"]) == ("svg", *size)
    assert drawn(drawing, svg(CIRCLE, attributes)).size == size


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_embedded_pictures_are_drawn(drawing, kind):
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (0, 255, 0)).save(out, kind)
    url = f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"
    got = drawn(drawing, svg(f'<image width="50" height="50" xlink:href="{url}"/>'))
    assert numpy.abs(numpy.subtract(got.getpixel((25, 25)), (0, 255, 0, 255))).max() <= 3


def test_text_filters_and_gradients_end_no_converter(drawing):
    inside = (
        '<defs><filter id="f"><feGaussianBlur stdDeviation="3"/><feTurbulence baseFrequency="0.1"/><feDropShadow/></filter>'
        '<linearGradient id="g"><stop offset="0" stop-color="red"/><stop offset="1" stop-color="blue"/></linearGradient>'
        '<pattern id="p" width="5" height="5" patternUnits="userSpaceOnUse"><circle r="3"/></pattern><clipPath id="c"><text>clip</text></clipPath></defs>'
        '<style>@font-face{font-family:x;src:url(file:///x.ttf)} text{font-family:x}</style>'
        '<rect width="80" height="40" fill="url(#g)" filter="url(#f)"/><rect width="9" height="9" fill="url(#p)" clip-path="url(#c)"/>'
        '<text x="5" y="40" font-size="20">Hello <tspan>\u4e16</tspan></text><foreignObject><p>x</p></foreignObject>'
    )
    before = len(violations(drawing[0]))
    for _ in range(3):
        assert drawn(drawing, svg(inside)).size == (100, 50)
    assert len(violations(drawing[0])) == before


# ---- What is hostile ----


class Listener:
    """Counts who connects."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.seen = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                self.socket.accept()[0].close()
            except OSError:
                return
            self.seen += 1


def test_nothing_outside_is_reached(drawing, tmp_path):
    listener = Listener()
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8), (1, 200, 1)).save(secret)
    http = f"http://127.0.0.1:{listener.port}"
    inside = "".join(
        f'<image width="100" height="50" {attribute}="{url}"/><use {attribute}="{url}#x"/><feImage {attribute}="{url}"/>'
        for attribute in ("href", "xlink:href")
        for url in (f"{http}/x.png", f"file://{secret}", str(secret), "../secret.png", f"//127.0.0.1:{listener.port}/x", "ftp://127.0.0.1/x")
    )
    inside += f'<style>@import url("{http}/x.css"); @import url("file://{secret}"); rect {{ fill: url({http}/x.svg#a) }}</style><rect width="9" height="9" x="90"/>'
    inside += f'<g xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file://{secret}" parse="text"/><xi:include href="{http}/x"/></g>'
    prolog = f'<?xml version="1.0"?><?xml-stylesheet href="{http}/y.css"?><!DOCTYPE svg PUBLIC "x" "{http}/svg.dtd">'
    before = len(violations(drawing[0]))
    got = drawn(drawing, svg(inside, prolog=prolog))
    assert got.getpixel((25, 25))[3] == 0
    assert listener.seen == 0 and len(violations(drawing[0])) == before
    socket.create_connection(("127.0.0.1", listener.port)).close()
    wait_until(lambda: listener.seen == 1, "the listener to see what does connect")
    listener.socket.close()


LAUGHS = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))


@pytest.mark.parametrize(
    "data",
    [
        svg("<text>&l9;</text>", prolog=f'<!DOCTYPE svg [<!ENTITY l0 "ha">{LAUGHS}]>'),
        svg("<text>&x;</text>", prolog='<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        svg("", prolog='<?xml version="1.0" encoding="UTF-16"?>'),
        svg("<g>" * 100000 + "</g>" * 100000),
        svg("<g>"),
        svg("", attributes=""),
        svg('<image href="data:image/svg+xml;base64,PHN2Zy8+"/>'),
        svg('<image href="&#100;ata:image/png;base64,AAAA"/>'),
        svg(f'<image href="data:image/png;base64,{base64.b64encode(images.png_bomb(20000, 20000)[:64]).decode()}"/>'),
    ],
    ids=["laughs", "entity", "utf-16", "deep", "cut", "no size", "svg in svg", "escaped", "bomb inside"],
)
def test_hostile_document_is_422(drawing, data):
    body = problem(post(drawing, data, "width=50"), 422)
    assert body["type"] == "/problems/undecodable" and "SVG" in body["detail"]
    assert drawn(drawing, svg(CIRCLE)).size == (100, 50)


@pytest.mark.parametrize("attributes", ['width="20000" height="20000"', 'width="1e9" height="1e9"', 'viewBox="0 0 1e300 1e300"', 'width="10000.5" height="10000"'])
def test_huge_document_is_422_with_its_size(drawing, attributes):
    body = problem(post(drawing, svg(CIRCLE, attributes), "width=50"), 422)
    assert body["type"] == "/problems/image_too_large" and body["limit"] == 100_000_000 < body["actual"]


def test_size_that_only_the_renderer_sees_is_bounded(drawing):
    """Style decides over attributes in some versions of librsvg, and not in others."""
    answer = post(drawing, svg('<style>svg { width: 30000px; height: 30000px }</style>' + CIRCLE), "width=50")
    assert answer.status_code in (200, 422)
    assert drawn(drawing, svg(CIRCLE)).size == (100, 50)


@pytest.mark.parametrize(
    "inside",
    [
        '<rect width="3" height="3" opacity="0.5"/>' * 400_000,
        "<defs>" + "".join(f'<g id="a{i}">{f"""<use href="#a{i - 1}"/>""" * 10}</g>' for i in range(1, 9)) + '<g id="a0"><rect width="9" height="9"/></g></defs><use href="#a8"/>',
        '<defs><filter id="f" x="-9" y="-9" width="19" height="19"><feTurbulence numOctaves="99999" baseFrequency="9"/><feGaussianBlur stdDeviation="999"/></filter></defs>'
        + '<rect width="100" height="50" filter="url(#f)"/>' * 3000,
    ],
    ids=["many elements", "many uses", "dear filters"],
)
def test_expensive_document_is_bounded_by_the_deadline(drawing, inside):
    answer = post(drawing, svg(inside), "width=2000&enlarge=1")
    assert answer.status_code in (200, 422, 504), answer.text
    assert drawn(drawing, svg(CIRCLE)).size == (100, 50)
