"""Photos with 16 bits a value: files of other programs' making, against the values that were put in."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from ssc.data.photos import open_photo, read_image, upright_size
from ssc.data.sixteen_bits import highest_bits
from ssc.runtime.errors import InputError

TIFFS = {
    "interleaved": {},
    "big endian": {"byteorder": ">"},
    "deflated": {"compression": "zlib", "predictor": True},
    "planes": {"planarconfig": "separate"},
    "planes, big endian": {"planarconfig": "separate", "byteorder": ">", "rowsperstrip": 4},
    "tiles": {"tile": (16, 16)},
}


def colours(bits, channels=3, size=(20, 30)):
    """Random colours, uint16 (H, W, C), whose largest fills `bits`."""
    values = np.random.default_rng(bits).integers(0, 1 << bits, (*size, channels), np.uint16)
    values[0, 0, :3] = (1 << bits) - 1
    return values


def write_tiff(path, values, **options):
    planes = options.get("planarconfig") == "separate"
    tifffile.imwrite(path, np.moveaxis(values, -1, 0) if planes else values, photometric="rgb", **options)


def chunk(name, body):
    """A part of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def write_png(path, values, *chunks):
    """A PNG of 16 bits, which Pillow does not write in colour."""
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def refusal(path):
    with pytest.raises(InputError) as info:
        read_image(path)
    assert str(path) in str(info.value) and "\n" not in str(info.value)
    return str(info.value)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", TIFFS)
def test_colours_of_a_tiff_show_the_bits_that_they_fill(tmp_path, kind, bits):
    values = colours(bits)
    write_tiff(tmp_path / "a.tif", values, **TIFFS[kind])
    assert (read_image(tmp_path / "a.tif") == values >> (bits - 8)).all()


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_colours_of_a_png_show_the_bits_that_they_fill(tmp_path, bits):
    values = colours(bits)
    write_png(tmp_path / "a.png", values)
    assert (read_image(tmp_path / "a.png") == values >> (bits - 8)).all()


@pytest.mark.parametrize("write", [write_tiff, write_png])
@pytest.mark.parametrize("opaque", [0xFFF, 0xFFFF])
def test_transparency_is_stretched_by_itself(tmp_path, write, opaque):
    values = colours(12, channels=4)
    values[..., 3], values[5, 5, 3] = opaque, 0
    write(tmp_path / "a", values, **({"extrasamples": ["unassalpha"]} if write is write_tiff else {}))
    expected = values[..., :3] >> 4
    expected[5, 5] = 255
    assert (read_image(tmp_path / "a") == expected).all()


def test_dark_colours_lie_as_the_photo_does(tmp_path):
    values = colours(12)
    exif = Image.Exif()
    exif[274] = 6
    write_png(tmp_path / "a.png", values, chunk(b"eXIf", exif.tobytes()[6:]))
    write_tiff(tmp_path / "a.tif", values, extratags=[(274, 3, 1, 6, True)])
    for name in ("a.png", "a.tif"):
        with open_photo(tmp_path / name) as photo:
            assert upright_size(photo) == (30, 20)
        assert (read_image(tmp_path / name) == np.rot90(values >> 4, -1)).all()


def test_colours_whose_lower_bits_are_out_of_reach(tmp_path):
    planes = {"planarconfig": "separate", "compression": "zlib"}
    write_tiff(tmp_path / "bright.tif", colours(16), **planes)
    assert (read_image(tmp_path / "bright.tif") == colours(16) >> 8).all()
    write_tiff(tmp_path / "dark.tif", colours(12), **planes)
    write_png(tmp_path / "grey_with_transparency.png", colours(12, channels=2))
    opaque = np.concatenate([colours(12), np.full((20, 30, 1), 0xFFFF, np.uint16)], axis=2)
    write_tiff(tmp_path / "premultiplied.tif", opaque, extrasamples=["assocalpha"])
    for name in ("dark.tif", "grey_with_transparency.png", "premultiplied.tif"):
        assert "its colours fill few of their 16 bits; saved with 8 bits it can be" in refusal(tmp_path / name)


def test_little_ink_is_not_darkness(tmp_path):
    ink = np.zeros((16, 16, 4), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", ink, photometric="separated")
    assert (read_image(tmp_path / "a.tif") == 255).all()


def test_grey_values(tmp_path):
    values = colours(12)[..., 0]
    expected = np.repeat((values >> 4)[..., None], 3, axis=2)
    tifffile.imwrite(tmp_path / "a.tif", values)
    write_png(tmp_path / "a.png", values[..., None])
    for name in ("a.tif", "a.png"):
        assert (read_image(tmp_path / name) == expected).all()
    tifffile.imwrite(tmp_path / "inverted.tif", values, photometric="miniswhite")
    assert (read_image(tmp_path / "inverted.tif") == 255 - expected).all()
    for top in (0xFFF, 0xFFFF):  # a PGM says how bright white is
        grey = (values * (top // 0xFFF)).astype(">u2")
        (tmp_path / "a.pgm").write_bytes(b"P5 30 20 %d\n" % top + grey.tobytes())
        assert np.abs(read_image(tmp_path / "a.pgm").astype(int) - expected).max() <= 1


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32, np.float32])
def test_grey_values_of_unknown_range_are_named(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((16, 16), dtype))
    assert "a.tif has grey values with a sign, in 32 bits or in floating point" in refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint32])
def test_colours_of_other_kinds_are_named(tmp_path, dtype):
    write_tiff(tmp_path / "a.tif", np.ones((16, 16, 3), dtype))
    assert refusal(tmp_path / "a.tif").endswith("in five channels; save it as RGB with 8 or 16 bits.")


@pytest.mark.parametrize(("largest", "shift"), [(0, 0), (255, 0), (256, 2), (1023, 2), (1024, 4), (16384, 8)])
def test_highest_bits(largest, shift):
    values = np.array([0, largest // 2, largest], np.uint16)
    found = highest_bits(values)
    assert found.dtype == np.uint8 and (found == values >> shift).all()


def test_pages_of_a_tiff(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for name, pages in {"with_copy": [0, 1, 1], "several": [0, 1, 0], "copy_first": [1, 0]}.items():
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as file:
            for reduced in pages:
                file.write(photo[::4, ::4] if reduced else photo, photometric="rgb", subfiletype=reduced)
    assert (read_image(tmp_path / "with_copy.tif") == photo).all()
    for name in ("several.tif", "copy_first.tif"):
        assert "holds several pictures (TIFF); save the one that is meant" in refusal(tmp_path / name)
