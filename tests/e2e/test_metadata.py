# SPDX-License-Identifier: MIT
"""What is kept of EXIF, IPTC and XMP, put into pictures byte by byte here and read back by Pillow and an XML parser."""

import io
import struct
from xml.etree import ElementTree

import pytest
from PIL import Image, IptcImagePlugin

import images

NAMES = {"dc": "http://purl.org/dc/elements/1.1/", "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#"}
LANG = "{http://www.w3.org/XML/1998/namespace}lang"

XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:d="http://purl.org/dc/elements/1.1/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/" tiff:Orientation="6" xmp:CreatorTool="a secret tool">
<d:rights><rdf:Alt><rdf:li xml:lang="x-default">\u00a9 2024 Ann &amp; Bob</rdf:li><rdf:li xml:lang="de">Alle Rechte \u2026</rdf:li></rdf:Alt></d:rights>
<d:creator><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li>Bob &lt;b@x&gt;</rdf:li></rdf:Seq></d:creator>
<xmp:Thumbnails><rdf:Alt><rdf:li><xmpGImg:image>THUMBNAILBYTES</xmpGImg:image></rdf:li></rdf:Alt></xmp:Thumbnails>
<d:subject><rdf:Bag><rdf:li>a keyword</rdf:li></rdf:Bag></d:subject>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def iim(*records):
    return b"".join(struct.pack(">BBBH", 0x1C, kind[0], kind[1], len(text)) + text for kind, text in records)


IPTC = iim(((1, 90), b"\x1b%G"), ((2, 0), b"\0\4"), ((2, 25), b"a keyword"), ((2, 80), "J\u00f6rg By-Line".encode()), ((2, 116), "\u00a9 the agency".encode()), ((2, 90), b"a city"))


def photoshop(*blocks):
    out = b"Photoshop 3.0\0"
    for number, data in blocks:
        out += b"8BIM" + struct.pack(">H", number) + b"\0\0" + struct.pack(">I", len(data)) + data + b"\0" * (len(data) & 1)
    return out


def picture(exif=None, xmp=None, iptc=None):
    """A JPEG with those segments."""
    out = io.BytesIO()
    images.scene(80, 60).save(out, "JPEG", quality=90, **({"exif": exif} if exif else {}))
    data = out.getvalue()

    def segment(marker, body):
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    extra = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp) if xmp else b""
    extra += segment(0xED, iptc) if iptc else b""
    return data[:2] + extra + data[2:]


@pytest.fixture(scope="module")
def full():
    exif = Image.Exif()
    exif[0x010F], exif[0x8298], exif[0x013B], exif[0x0112] = "a camera maker", "the copyright", "the artist", 6
    return picture(exif, XMP.encode(), photoshop((0x03F3, b"\0\x48\0"), (0x0404, IPTC), (0x040C, b"THUMBNAILBYTES")))


def convert(system, key, query, data):
    answer = system.post(f"/v1/resize?{query}", data, key)
    assert answer.status_code == 200, answer.text
    return answer.content


def xmp_of(data):
    """The packet, by its own marks, wherever a format puts it; None if there is none."""
    if data.startswith(b"\x89PNG"):
        data = images.decoded(data).info.get("XML:com.adobe.xmp", "")
        # Pillow takes the text for Latin-1 where it is not marked as UTF-8.
        data = data.encode("utf-8" if any(ord(c) > 255 for c in data) else "latin-1")
    begin, end = data.find(b"<x:xmpmeta"), data.find(b"</x:xmpmeta>")
    return ElementTree.fromstring(data[begin : end + 12]) if begin >= 0 else None


def items(packet, name):
    return [li.text for li in packet.findall(f".//dc:{name}//rdf:li", NAMES)]


def iptc_of(data):
    return IptcImagePlugin.getiptcinfo(images.decoded(data)) or {}


@pytest.mark.parametrize("output_format", ["jpeg", "webp", "png", "tiff", "avif"])
def test_nothing_is_kept_unasked(system, key, full, output_format):
    made = convert(system, key, f"width=40&format={output_format}", full)
    for word in (b"xmpmeta", b"copyright", b"Ann", b"By-Line", b"agency", b"camera", b"THUMBNAIL"):
        assert word not in made


@pytest.mark.parametrize("output_format", ["jpeg", "webp", "png", "tiff", "avif"])
def test_copyright_of_xmp_goes_to_every_format(system, key, full, output_format):
    made = convert(system, key, f"width=40&format={output_format}&metadata=copyright", full)
    packet = xmp_of(made)
    assert items(packet, "rights") == ["\u00a9 2024 Ann & Bob", "Alle Rechte \u2026"]
    assert [li.get(LANG) for li in packet.findall(".//dc:rights//rdf:li", NAMES)] == ["x-default", "de"]
    assert items(packet, "creator") == ["Ann", "Bob <b@x>"]
    for word in (b"a keyword", b"a secret tool", b"a city", b"camera", b"THUMBNAIL", b"Orientation"):
        assert word not in made


@pytest.mark.parametrize("output_format", ["jpeg", "tiff"])
def test_copyright_of_iptc_is_kept_where_the_format_has_it(system, key, full, output_format):
    told = iptc_of(convert(system, key, f"width=40&format={output_format}&metadata=copyright", full))
    assert told == {(1, 90): b"\x1b%G", (2, 80): "J\u00f6rg By-Line".encode(), (2, 116): "\u00a9 the agency".encode()}


@pytest.mark.parametrize("output_format", ["jpeg", "webp", "png"])
def test_copyright_of_iptc_comes_along_as_xmp(system, key, output_format):
    data = picture(iptc=photoshop((0x0404, iim(((2, 80), b"J\xf6rg"), ((2, 80), b"Ann"), ((2, 116), b"(c) the agency")))))
    packet = xmp_of(convert(system, key, f"width=40&format={output_format}&metadata=copyright", data))
    assert items(packet, "rights") == ["(c) the agency"] and items(packet, "creator") == ["J\u00f6rg", "Ann"]


def test_attributes_of_xmp_are_read(system, key):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><r:Description xmlns:c="http://purl.org/dc/elements/1.1/" c:rights="mine &amp; yours"><c:creator>me</c:creator></r:Description></r:RDF></x:xmpmeta>'
    packet = xmp_of(convert(system, key, "format=webp&metadata=copyright", picture(xmp=xmp)))
    assert items(packet, "rights") == ["mine & yours"] and items(packet, "creator") == ["me"]


@pytest.mark.parametrize("output_format", ["jpeg", "webp", "png", "tiff", "avif"])
def test_all_is_kept_but_what_no_longer_holds(system, key, full, output_format):
    made = convert(system, key, f"width=40&format={output_format}&metadata=all", full)
    packet = xmp_of(made)
    assert items(packet, "subject") == ["a keyword"] and items(packet, "creator")[0] == "Ann"
    description = packet.find(".//rdf:Description", NAMES)
    assert description.get("{http://ns.adobe.com/tiff/1.0/}Orientation") == "1"
    assert b"THUMBNAIL" not in made
    if output_format in ("jpeg", "tiff"):
        assert iptc_of(made)[(2, 90)] == b"a city" and iptc_of(made)[(2, 25)] == b"a keyword"
    if output_format in ("jpeg", "webp"):
        exif = images.decoded(made).getexif()
        assert exif[0x010F].startswith("a camera") and exif.get(0x0112, 1) == 1


def test_metadata_cross_from_jpeg_to_tiff_and_back(system, key, full):
    tiff = convert(system, key, "format=tiff&metadata=all", full)
    back = convert(system, key, "format=jpeg&metadata=all", tiff)
    assert iptc_of(back) == iptc_of(full)
    assert items(xmp_of(back), "rights") == items(xmp_of(full), "rights")


LAUGHS = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "' + b"&a;" * 1000 + b'">]>'


@pytest.mark.parametrize(
    ("xmp", "iptc"),
    [
        (LAUGHS + XMP.encode()[XMP.encode().index(b"<x:") :].replace(b"Ann", b"&b;"), None),
        (b"<" * 60000, photoshop((0x0404, b"\x1c\x02\x74\xff\xff" + b"x" * 1000))),
        (b"<a>" * 20000, b"Photoshop 3.0\0" + b"8BIM\x04\x04\xff" + b"y" * 50),
        (XMP.encode()[:-200], photoshop((0x0404, b"\x1c\x02\x74\x7f\xff" + b"x" * 10))),
        (XMP.encode().replace(b"Ann", b"A" * 50000, 1), photoshop((0x0404, iim(*[((2, 116), b"<&\"'>" * 1000)] * 10)))),
        (b"\xff\xfe" + XMP.encode("utf-16-le"), photoshop((0x0404, iim(((2, 116), bytes(range(256))))))),
    ],
    ids=["laughs", "garbage", "deep", "cut", "long", "other encodings"],
)
@pytest.mark.parametrize("wanted", ["copyright", "all"])
def test_hostile_metadata_harm_nobody(system, key, xmp, iptc, wanted):
    for output_format in ("jpeg", "webp"):
        made = convert(system, key, f"width=40&format={output_format}&metadata={wanted}", picture(xmp=xmp, iptc=iptc))
        assert images.decoded(made).size == (40, 30)
        if wanted == "copyright":
            assert len(made) < 70000
            packet = xmp_of(made)
            assert packet is None or all(items(packet, "rights"))
    assert not system.worker.events("converter_violation")
