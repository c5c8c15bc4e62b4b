import io
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssc.data.transforms import (
    augment,
    normalise,
    random_crop,
    read_image,
    resize_image,
    resize_labels,
    scaled_size,
)
from ssc.errors import InputError

sides = st.integers(1, 9)


def picture(height: int = 5, width: int = 7, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def denormalise(image: torch.Tensor) -> np.ndarray:
    """Normalised (3, H, W) back to uint8 (H, W, 3)."""
    scaled = image.double() * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    scaled += torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    return (scaled * 255).round().byte().permute(1, 2, 0).numpy()


# Reading


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a.transpose(1, 0, 2)[::-1, ::-1]),
        (8, lambda a: np.rot90(a)),
    ],
)
def test_photos_are_turned_upright(tmp_path, orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture()).save(tmp_path / "p.png", exif=exif)
    image = read_image(tmp_path / "p.png")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, upright(picture()))


def test_palette_transparency_and_grey_become_colours(tmp_path):
    rgb = picture()
    grey = rgb[..., 0]

    def read(image: Image.Image, suffix: str = "png", **options) -> np.ndarray:
        image.save(tmp_path / f"p.{suffix}", **options)
        return read_image(tmp_path / f"p.{suffix}")

    palette = Image.fromarray((grey % 8).astype(np.uint8), mode="P")
    colours = picture(8, 1, seed=1)[:, 0]
    palette.putpalette(colours.ravel().tolist())
    np.testing.assert_array_equal(read(palette), colours[grey % 8])
    np.testing.assert_array_equal(read(palette, transparency=0), colours[grey % 8])
    with_alpha = np.dstack([rgb, grey])
    np.testing.assert_array_equal(read(Image.fromarray(with_alpha)), rgb)
    as_grey = np.dstack([grey] * 3)
    np.testing.assert_array_equal(read(Image.fromarray(grey)), as_grey)
    np.testing.assert_array_equal(read(Image.fromarray(np.dstack([grey, 255 - grey]))), as_grey)
    np.testing.assert_array_equal(read(Image.fromarray(grey > 127)), np.where(as_grey > 127, 255, 0))
    inks = np.dstack([255 - rgb, np.zeros_like(grey)])
    np.testing.assert_array_equal(read(Image.fromarray(inks, mode="CMYK"), "tif"), rgb)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_their_high_byte(tmp_path, suffix):
    values = np.array([[0, 255, 256, 0x1234, 0x8000, 0xFFFF]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"p.{suffix}")
    expected = [[0, 0, 1, 0x12, 0x80, 0xFF]]
    np.testing.assert_array_equal(read_image(tmp_path / f"p.{suffix}"), np.dstack([expected] * 3))


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_grey_values_of_unknown_range_are_refused(tmp_path, dtype):
    Image.fromarray(np.array([[0, 70000]], dtype)).save(tmp_path / "p.tif")
    with pytest.raises(InputError, match=r"p\.tif has 32-bit grey values"):
        read_image(tmp_path / "p.tif")


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_a_truncated_photo_is_named(tmp_path, kind, share):
    buffer = io.BytesIO()
    Image.fromarray(picture(40, 40)).save(buffer, kind)
    data = buffer.getvalue()
    (tmp_path / "cut.img").write_bytes(data)
    read_image(tmp_path / "cut.img")
    (tmp_path / "cut.img").write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"cut\.img cannot be read"):
        read_image(tmp_path / "cut.img")


def test_a_wrong_chunk_length_is_named(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "png")
    data = bytearray(buffer.getvalue())
    data[data.index(b"IDAT") - 1] -= 32  # the next chunk now seems to begin among the pixels: a SyntaxError of Pillow
    (tmp_path / "p.png").write_bytes(data)
    with pytest.raises(InputError, match=r"p\.png cannot be read"):
        read_image(tmp_path / "p.png")


def test_damaged_exif_is_named(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "jpeg", exif=exif)
    # The text now claims to be the image width, over which Pillow trips (struct.error) when it turns the photo.
    text, width = b"\x01\x0f\x00\x02", b"\x01\x00\x00\x02"
    assert buffer.getvalue().count(text) == 1
    (tmp_path / "p.jpg").write_bytes(buffer.getvalue().replace(text, width))
    with pytest.raises(InputError, match=r"p\.jpg cannot be read"):
        read_image(tmp_path / "p.jpg")


def test_an_implausibly_large_photo_is_named(tmp_path, monkeypatch):
    Image.fromarray(picture()).save(tmp_path / "p.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match="exceeds limit"):
        read_image(tmp_path / "p.png")


def test_an_absent_photo_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.jpg does not exist"):
        read_image(tmp_path / "absent.jpg")


# Geometry


def test_normalise_is_the_imagenet_normalisation():
    image = picture()
    tensor = normalise(image)
    assert tensor.shape == (3, 5, 7) and tensor.dtype == torch.float32 and tensor.is_contiguous()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(tensor.numpy(), ((image / 255 - mean) / std).transpose(2, 0, 1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(denormalise(tensor), image)


@settings(max_examples=60, deadline=None)
@given(old=st.tuples(sides, sides), new=st.tuples(sides, sides))
def test_labels_take_the_pixel_under_their_centre(old, new):
    labels = np.arange(old[0] * old[1]).reshape(old)
    resized = resize_labels(labels, new)
    assert resized.shape == new
    for i in range(new[0]):
        for j in range(new[1]):
            y = Fraction(2 * i + 1, 2) * old[0] / new[0]
            x = Fraction(2 * j + 1, 2) * old[1] / new[1]
            assert resized[i, j] == labels[int(y), int(x)]


@settings(max_examples=20, deadline=None)
@given(size=st.tuples(sides, sides), seed=st.integers(0, 99))
def test_images_are_resized_by_bicubic_interpolation(size, seed):
    image = picture(seed=seed)
    resized = resize_image(image, size)
    expected = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(resized, np.asarray(expected))
    assert resize_image(image, (5, 7)) is image


@pytest.mark.parametrize(
    ("size", "scale", "expected"), [((375, 500), 0.5, (188, 250)), ((3, 500), 0.1, (1, 50)), ((9, 8), 1.5, (14, 12))]
)
def test_scaled_sizes(size, scale, expected):
    assert scaled_size(size, scale) == expected


@settings(max_examples=80, deadline=None)
@given(height=sides, width=sides, size=sides, seed=st.integers(0, 10**6))
def test_a_crop_is_one_window_of_all_arrays(height, width, size, seed):
    numbers = 1 + np.arange(height * width).reshape(height, width)
    image = np.dstack([numbers, 2 * numbers, 3 * numbers]).astype(np.uint16)
    colours, labels = random_crop([image, numbers], [0, 255000], size, np.random.default_rng(seed))
    assert colours.shape == (size, size, 3) and colours.dtype == np.uint16
    assert labels.shape == (size, size) and labels.dtype == numbers.dtype
    inside = labels != 255000
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    # as much of the map as fits, in one piece
    assert (len(rows), len(columns)) == (min(height, size), min(width, size))
    top, left = divmod(labels[rows[0], columns[0]] - 1, width)
    piece = numbers[top : top + len(rows), left : left + len(columns)]
    np.testing.assert_array_equal(labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], piece)
    assert inside.sum() == piece.size
    for channel in range(3):
        np.testing.assert_array_equal(colours[..., channel], np.where(inside, (channel + 1) * labels, 0))


@pytest.mark.parametrize(("height", "width", "size"), [(6, 5, 3), (2, 3, 5), (3, 7, 4)])
def test_every_window_comes_up_equally_often(height, width, size):
    numbers = 1 + np.arange(height * width).reshape(height, width)
    rng = np.random.default_rng(0)
    windows = {}
    for _ in range(3000):
        (crop,) = random_crop([numbers], [0], size, rng)
        windows[crop.tobytes()] = windows.get(crop.tobytes(), 0) + 1
    expected = (abs(size - height) + 1) * (abs(size - width) + 1)
    assert len(windows) == expected
    assert min(windows.values()) > 0.6 * 3000 / expected


# Stripes without mirror symmetry; the photo shows class 1 bright.
STRIPES = np.repeat(np.tile([0, 1, 1, 0, 1, 0, 0, 0], (24, 1)), 8, axis=1)
PHOTO = np.dstack([np.where(STRIPES == 1, 200, 50)] * 3).astype(np.uint8)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("crop", [16, 40, 150])
def test_labels_stay_on_their_pixels(scale, crop):
    seen = set()
    for seed in range(8):
        image, (labels, other) = augment(
            PHOTO, [STRIPES, 7 - STRIPES], scale=scale, fills=[255, 9], crop=crop, rng=np.random.default_rng(seed)
        )
        assert image.shape == (3, crop, crop) and image.dtype == torch.float32
        assert labels.shape == other.shape == (crop, crop) and labels.dtype == other.dtype == torch.int64
        outside = labels == 255
        assert outside.sum() == crop**2 - min(crop, 24 * scale) * min(crop, 64 * scale)
        assert (image[:, outside] == 0).all()
        bright = torch.from_numpy(denormalise(image)[..., 0] > 125)
        assert torch.equal(labels[~outside] == 1, bright[~outside])
        assert torch.equal(other, torch.where(outside, 9, 7 - labels))
        seen.add(labels.numpy().tobytes())
    assert len(seen) > 1


def test_augment_depends_on_its_generator_alone():
    def run(seed: int) -> tuple[bytes, bytes]:
        rng = np.random.default_rng(seed)
        image, (labels,) = augment(PHOTO, [STRIPES], scale=1.0, fills=[255], crop=32, rng=rng)
        return image.numpy().tobytes(), labels.numpy().tobytes()

    assert [run(seed) for seed in range(6)] == [run(seed) for seed in range(6)]
    assert len({run(seed) for seed in range(6)}) > 1


def test_half_of_the_samples_are_mirrored():
    labels = np.tile(np.arange(4), (4, 1))
    rng = np.random.default_rng(0)
    mirrored = 0
    for _ in range(1000):
        _, (out,) = augment(picture(4, 4), [labels], scale=1.0, fills=[255], crop=4, rng=rng)
        assert out[0].tolist() in ([0, 1, 2, 3], [3, 2, 1, 0])
        mirrored += int(out[0, 0] == 3)
    assert 450 < mirrored < 550


def test_without_resizing_or_cropping_every_pixel_survives():
    image, (labels,) = augment(
        picture(6, 6), [np.arange(36).reshape(6, 6)], scale=1.0, fills=[255], crop=6, rng=np.random.default_rng(1)
    )
    colours = picture(6, 6).reshape(36, 3)
    np.testing.assert_array_equal(denormalise(image), colours[labels.numpy()])
    assert sorted(labels.flatten().tolist()) == list(range(36))
