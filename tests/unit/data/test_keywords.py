"""Keywords read from photos in all formats that carry them."""

import struct

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ssc.data.keywords import photo_keywords
from ssc.runtime.errors import InputError
from tests.unit.data.packets import iptc, xmp


def save(path, **options):
    Image.new("RGB", (32, 32)).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.tif"])
@pytest.mark.parametrize("container", ["Bag", "Seq"])
def test_subjects_of_xmp(tmp_path, name, container):
    packet = xmp("cat", " guinea\n pig ", "cat", "", "&#252;ber", container=container)
    options = {"tiffinfo": {700: packet}} if name.endswith("tif") else {"xmp": packet}
    assert photo_keywords(save(tmp_path / name, **options)) == ["cat", "guinea pig", "über"]


def test_subjects_behind_the_pixels_of_a_png(tmp_path):
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp("cat").decode())
    content = save(tmp_path / "a.png", pnginfo=info).read_bytes()
    start = content.index(b"iTXt") - 4
    end = start + 12 + struct.unpack(">I", content[start : start + 4])[0]
    last = content.index(b"IEND") - 4
    (tmp_path / "b.png").write_bytes(content[:start] + content[end:last] + content[start:end] + content[last:])
    assert photo_keywords(tmp_path / "a.png") == photo_keywords(tmp_path / "b.png") == ["cat"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([b"cat"], ["cat"]),
        ([b"cat", b"dog"], ["cat", "dog"]),
        (["gro\u00df".encode(), "\u00fc".encode("latin-1")], ["gro\u00df", "\u00fc"]),
    ],
)
def test_keywords_of_iptc(tmp_path, words, expected):
    assert photo_keywords(save(tmp_path / "a.jpg", extra=iptc(*words))) == expected


def test_both_are_joined(tmp_path):
    path = save(tmp_path / "a.jpg", xmp=xmp("cat", "sofa"), extra=iptc(b"dog", b"cat"))
    assert photo_keywords(path) == ["cat", "sofa", "dog"]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.bmp"])
def test_a_photo_without_keywords(tmp_path, name):
    assert photo_keywords(save(tmp_path / name)) == []


ENTITIES = b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'


@pytest.mark.parametrize("packet", [xmp("cat")[:-80], b"no XML", ENTITIES], ids=["cut", "text", "entities"])
def test_broken_metadata_is_told(tmp_path, packet):
    with pytest.raises(InputError, match=r"a\.jpg cannot be read"):
        photo_keywords(save(tmp_path / "a.jpg", xmp=packet))


def test_real_photos(shared_data):
    """Keywords that people gave to photos on Flickr, read off the bytes of the files."""
    images = shared_data / "coco" / "images"
    assert photo_keywords(images / "000000000034.jpg") == ["Busch Gardens", "Florida", "zebra"]
    assert photo_keywords(images / "000000000575.jpg") == ["cat", "kitten", "playing"]
    assert photo_keywords(images / "000000000009.jpg") == []
