"""Which photos are opened, and which way up they lie."""

import struct
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image

from ssc.data.photos import FORMATS, open_photo, photo_suffixes, read_image, upright_size
from ssc.runtime.errors import InputError


def refusal(path):
    with pytest.raises(InputError) as info:
        open_photo(path)
    assert str(path) in str(info.value) and "\n" not in str(info.value)
    return str(info.value)


@pytest.mark.parametrize("name", FORMATS)
def test_formats_of_photos_are_opened_whatever_their_name(tmp_path, name):
    if name == "HEIF":
        pytest.importorskip("pillow_heif")
    Image.new("RGB", (7, 5)).save(tmp_path / "photo", name)
    with open_photo(tmp_path / "photo") as photo:
        assert photo.format == name
        assert upright_size(photo) == (5, 7)


@pytest.mark.parametrize("name", ["EPS", "PDF", "ICO", "TGA", "PCX", "SGI"])
def test_other_formats_are_not(tmp_path, monkeypatch, name):
    def started(*arguments, **options):
        pytest.fail("a program was started")

    monkeypatch.setattr(subprocess, "check_call", started)
    monkeypatch.setattr(subprocess, "Popen", started)
    Image.new("RGB", (16, 16)).save(tmp_path / "photo.jpg", name)
    assert "cannot be read (cannot identify image file" in refusal(tmp_path / "photo.jpg")


def test_absent_and_empty_files(tmp_path):
    assert refusal(tmp_path / "a.jpg").endswith("a.jpg does not exist; restore it or take it out of the data.")
    (tmp_path / "a.jpg").touch()
    assert refusal(tmp_path / "a.jpg").endswith("cannot be read (it is empty); replace it or take it out of the data.")


def test_a_plugin_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    (tmp_path / "a.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert "a.HEIC is HEIF; install pillow-heif" in refusal(tmp_path / "a.HEIC")


def test_endings_of_photos():
    assert {".heic", ".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".avif", ".jp2"} <= photo_suffixes()
    assert not {".svg", ".pdf", ".eps", ".txt", ""} & photo_suffixes()


@pytest.mark.parametrize(
    ("mode", "words"), [("F", "floating point"), ("I", "32 bits"), ("LAB", "colours of the kind LAB")]
)
def test_values_of_unknown_range_and_unknown_colours(tmp_path, mode, words):
    Image.new(mode, (16, 16)).save(tmp_path / "a.tif")
    assert words in refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(9))
def test_turned_photos(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix in ("jpg", "png", "webp", "tif", "avif"):
        Image.fromarray(np.zeros((5, 7, 3), np.uint8)).save(tmp_path / f"a.{suffix}", exif=exif)
        with open_photo(tmp_path / f"a.{suffix}") as photo:
            assert upright_size(photo) == ((7, 5) if orientation >= 5 else (5, 7))
        assert read_image(tmp_path / f"a.{suffix}").shape[:2] == ((7, 5) if orientation >= 5 else (5, 7))


def test_a_text_that_inflates_to_gigabytes_is_refused(tmp_path):
    """A compressed comment in a PNG, of megabytes of spaces."""
    Image.new("L", (16, 16)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    body = b"zTXt" + b"Comment\0\0" + zlib.compress(b" " * 2**27)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "a.png").write_bytes(content[:33] + chunk + content[33:])
    assert "cannot be read (" in refusal(tmp_path / "a.png")
