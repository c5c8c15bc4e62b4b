import io
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ssc.data.photos import open_photo, read_for_resize, read_image, upright_size
from ssc.data.transforms import (
    augment,
    augment_part,
    normalise,
    random_part,
    random_window,
    resize_image,
    resize_labels,
    scaled_size,
    scaled_view,
)
from ssc.runtime.errors import InputError

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
    shown = np.where((grey % 8 == 0)[..., None], 255, colours[grey % 8])
    np.testing.assert_array_equal(read(palette, transparency=0), shown)
    as_grey = np.dstack([grey] * 3)
    for opaque, pixels in ((rgb, np.dstack([rgb, grey])), (as_grey, np.dstack([grey, grey]))):
        on_white = (opaque * (grey[..., None] / 255) + 255 - grey[..., None]).round()
        assert np.abs(read(Image.fromarray(pixels)) - on_white).max() <= 1
    np.testing.assert_array_equal(read(Image.fromarray(grey)), as_grey)
    np.testing.assert_array_equal(read(Image.fromarray(grey > 127)), np.where(as_grey > 127, 255, 0))
    inks = np.dstack([255 - rgb, np.zeros_like(grey)])
    np.testing.assert_array_equal(read(Image.fromarray(inks, mode="CMYK"), "tif"), rgb)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_keep_their_high_byte(tmp_path, suffix):
    values = np.array([[0, 255, 256, 0x1234, 0x8000, 0xFFFF]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"p.{suffix}")
    expected = [[0, 0, 1, 0x12, 0x80, 0xFF]]
    np.testing.assert_array_equal(read_image(tmp_path / f"p.{suffix}"), np.dstack([expected] * 3))


@pytest.mark.parametrize(("bits", "brightest"), [(10, 1023), (12, 4095), (12, 1024), (14, 9000), (16, 16384)])
def test_cameras_fill_fewer_than_sixteen_bits(tmp_path, bits, brightest):
    values = np.array([[0, brightest // 3, brightest]], np.uint16)
    Image.fromarray(values).save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png")[0, :, 0], values[0] >> (bits - 8))


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


def test_damaged_exif_turns_what_it_still_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "jpeg", exif=exif)
    # The text now claims to be the image width, over which Pillow trips (struct.error) when it writes the data anew.
    text, width = b"\x01\x0f\x00\x02", b"\x01\x00\x00\x02"
    assert buffer.getvalue().count(text) == 1
    (tmp_path / "p.jpg").write_bytes(buffer.getvalue().replace(text, width))
    assert read_image(tmp_path / "p.jpg").shape[:2] == picture().shape[1::-1]


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
@pytest.mark.parametrize(
    "broken", [b"Exif\0\0XX*\0\x08\0\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff"]
)
def test_broken_exif_is_ignored(tmp_path, kind, broken):
    Image.fromarray(picture()).save(tmp_path / "p.img", kind, exif=broken)
    assert read_image(tmp_path / "p.img").shape == picture().shape
    with open_photo(tmp_path / "p.img") as photo:
        assert upright_size(photo) == picture().shape[:2]


def test_an_implausibly_large_photo_is_named(tmp_path, monkeypatch):
    Image.fromarray(picture()).save(tmp_path / "p.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match="exceeds limit"):
        read_image(tmp_path / "p.png")


def test_an_absent_photo_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.jpg does not exist"):
        read_image(tmp_path / "absent.jpg")


# Reading at a reduced size


def smooth_picture(height: int, width: int) -> np.ndarray:
    coarse = Image.fromarray(picture(4, 5))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("target", "decoded"),
    [
        ((80, 120), (80, 120)),
        ((160, 240), (80, 120)),
        ((41, 60), (80, 120)),  # half of the height would be too little
        ((40, 61), (80, 120)),
        ((40, 60), (40, 60)),
        ((21, 30), (40, 60)),
        ((20, 30), (20, 30)),
        ((10, 15), (10, 15)),
        ((1, 1), (10, 15)),
    ],
)
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_a_jpeg_is_decoded_no_smaller_than_wanted(tmp_path, target, decoded, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = smooth_picture(80, 120) if orientation < 5 else smooth_picture(120, 80)
    Image.fromarray(stored).save(tmp_path / "p.jpg", exif=exif, quality=95)
    seen = []
    image, size = read_for_resize(tmp_path / "p.jpg", lambda size: seen.append(size) or target)
    assert seen == [(80, 120)] and size == target
    assert image.shape == (*decoded, 3) and image.dtype == np.uint8
    # What it shows stays in its place: as the whole photo, averaged.
    whole = read_image(tmp_path / "p.jpg").astype(float)
    step = 80 // decoded[0]
    blocks = whole.reshape(decoded[0], step, decoded[1], step, 3).mean(axis=(1, 3))
    assert abs(image - blocks).mean() < 2 < abs(image[:, ::-1] - blocks).mean()
    if decoded == (80, 120):
        np.testing.assert_array_equal(image, whole)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_jpegs_are_reduced_too(tmp_path, mode):
    Image.fromarray(smooth_picture(80, 120)).convert(mode).save(tmp_path / "p.jpg", quality=95)
    image, _ = read_for_resize(tmp_path / "p.jpg", lambda size: (40, 60))
    blocks = read_image(tmp_path / "p.jpg").reshape(40, 2, 60, 2, 3).mean(axis=(1, 3))
    assert image.shape == (40, 60, 3) and abs(image - blocks).mean() < 2


@pytest.mark.parametrize(("kind", "mode"), [("png", "RGB"), ("png", "P"), ("tiff", "RGB"), ("webp", "RGB")])
@pytest.mark.parametrize("orientation", [1, 6])
def test_other_photos_are_decoded_whole(tmp_path, kind, mode, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(smooth_picture(80, 120)).convert(mode).save(tmp_path / "p.img", kind, exif=exif)
    seen = []
    image, size = read_for_resize(tmp_path / "p.img", lambda size: seen.append(size) or (8, 9))
    assert seen == [image.shape[:2]] and size == (8, 9)
    assert seen[0] == ((80, 120) if orientation == 1 else (120, 80))
    np.testing.assert_array_equal(image, read_image(tmp_path / "p.img"))


def test_one_pixel_is_enough(tmp_path):
    Image.fromarray(picture(1, 1)).save(tmp_path / "p.jpg")
    image, size = read_for_resize(tmp_path / "p.jpg", lambda size: scaled_size(size, 0.1))
    assert image.shape == (1, 1, 3) and size == (1, 1)


# Geometry


def test_normalise_is_the_imagenet_normalisation():
    image = picture()
    tensor = normalise(image)
    assert tensor.shape == (3, 5, 7) and tensor.dtype == torch.float32 and tensor.is_contiguous()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(tensor.numpy(), ((image / 255 - mean) / std).transpose(2, 0, 1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(denormalise(tensor), image)


def test_a_view_is_the_normalised_photo_at_its_scale():
    assert torch.equal(scaled_view(picture(), 1.6), normalise(resize_image(picture(), (8, 11))))


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
@given(height=sides, width=sides, crop=sides, seed=st.integers(0, 10**6))
def test_a_window_holds_as_much_as_fits_in_one_piece(height, width, crop, seed):
    window, place = random_window((height, width), crop, np.random.default_rng(seed))
    for part, where, side in zip(window, place, (height, width), strict=True):
        assert part.step == 1 and len(part) == where.stop - where.start == min(side, crop)
        assert part.start >= 0 and part.stop <= side and where.start >= 0 and where.stop <= crop
        assert side <= crop or (where.start, where.stop) == (0, crop)
        assert side > crop or (part.start, part.stop) == (0, side)


@pytest.mark.parametrize(("height", "width", "size"), [(6, 5, 3), (2, 3, 5), (3, 7, 4)])
def test_every_window_comes_up_equally_often(height, width, size):
    rng = np.random.default_rng(0)
    windows = {}
    for _ in range(3000):
        key = str(random_window((height, width), size, rng))
        windows[key] = windows.get(key, 0) + 1
    expected = (abs(size - height) + 1) * (abs(size - width) + 1)
    assert len(windows) == expected
    assert min(windows.values()) > 0.6 * 3000 / expected


def by_rows_first(image, size):
    """Bicubic resize in Pillow's usual order, rounded after either pass."""
    return resize_image(resize_image(image, (image.shape[0], size[1])), size)


def resize_then_crop(image, labels, *, resize, size, fills, crop, rng):
    """`augment` step by step on whole pictures."""
    arrays = [resize(image, size), np.ones(size, bool), *(resize_labels(array, size) for array in labels)]
    if rng.random() < 0.5:
        arrays = [array[:, ::-1] for array in arrays]
    offsets = [int(rng.integers(0, abs(crop - side) + 1)) for side in size]
    before = [offset if side < crop else 0 for offset, side in zip(offsets, size, strict=True)]
    margins = [(first, max(0, crop - side - first)) for first, side in zip(before, size, strict=True)]
    top, left = (offset if side >= crop else 0 for offset, side in zip(offsets, size, strict=True))
    crops = []
    for array, fill in zip(arrays, [0, 0, *fills], strict=True):
        padded = np.pad(array, [*margins, *[(0, 0)] * (array.ndim - 2)], constant_values=fill)
        crops.append(padded[top : top + crop, left : left + crop])
    return normalise(crops[0]) * torch.from_numpy(crops[1]), [torch.from_numpy(each.astype(int)) for each in crops[2:]]


long_sides = st.integers(1, 40)


@settings(max_examples=150, deadline=None)
@given(
    old=st.tuples(long_sides, long_sides),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    crop=st.integers(1, 60),
    seed=st.integers(0, 10**6),
)
def test_only_the_window_is_computed_with_the_same_result(old, size, crop, seed):
    labels = np.random.default_rng(seed).integers(0, 300, old)
    options = {"size": size, "fills": [999], "crop": crop}
    arguments = picture(*old, seed=seed), [labels.astype(np.int32)]
    image, (cut,) = augment(*arguments, **options, rng=np.random.default_rng(seed))
    slow = {"resize": by_rows_first, "rng": np.random.default_rng(seed)}
    expected, (expected_cut,) = resize_then_crop(*arguments, **options, **slow)
    assert torch.equal(image, expected)
    assert cut.dtype == torch.int64 and torch.equal(cut, expected_cut)


@settings(max_examples=40, deadline=None)
@given(
    old=st.sampled_from([(60, 80), (80, 60), (61, 97), (50, 50)]),
    scale=st.one_of(st.sampled_from([0.5, 0.75, 1.0, 1.5, 1.75, 2.0]), st.floats(0.3, 2.2)),
    crop=st.integers(20, 100),
    seed=st.integers(0, 10**6),
)
def test_a_photo_that_keeps_its_proportions_is_resized_as_by_pillow(old, scale, crop, seed):
    options = {"size": scaled_size(old, scale), "fills": [], "crop": crop}
    image, _ = augment(picture(*old, seed=seed), [], **options, rng=np.random.default_rng(seed))
    slow = {"resize": resize_image, "rng": np.random.default_rng(seed)}
    assert torch.equal(image, resize_then_crop(picture(*old, seed=seed), [], **options, **slow)[0])


def test_labels_and_a_reduced_photo_get_the_same_geometry():
    reduced = PHOTO[1::2, 1::2]
    options = {"size": (18, 48), "fills": [255], "crop": 16}
    seen = False
    for seed in range(6):
        image, (labels,) = augment(reduced, [STRIPES], **options, rng=np.random.default_rng(seed))
        _, (same,) = augment(PHOTO, [STRIPES], **options, rng=np.random.default_rng(seed))
        assert torch.equal(labels, same)
        bright = torch.from_numpy(denormalise(image)[..., 0] > 125)
        assert ((labels == 1) == bright)[labels < 255].float().mean() > 0.9
        seen |= bright.any()
    assert seen


# Stripes without mirror symmetry; the photo shows class 1 bright.
STRIPES = np.repeat(np.tile([0, 1, 1, 0, 1, 0, 0, 0], (24, 1)), 8, axis=1)
PHOTO = np.dstack([np.where(STRIPES == 1, 200, 50)] * 3).astype(np.uint8)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("crop", [16, 40, 150])
def test_labels_stay_on_their_pixels(scale, crop):
    seen = set()
    for seed in range(8):
        image, (labels, other) = augment(
            PHOTO,
            [STRIPES, 7 - STRIPES],
            size=(int(24 * scale), int(64 * scale)),
            fills=[255, 9],
            crop=crop,
            rng=np.random.default_rng(seed),
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
        image, (labels,) = augment(PHOTO, [STRIPES], size=STRIPES.shape, fills=[255], crop=32, rng=rng)
        return image.numpy().tobytes(), labels.numpy().tobytes()

    assert [run(seed) for seed in range(6)] == [run(seed) for seed in range(6)]
    assert len({run(seed) for seed in range(6)}) > 1


def test_half_of_the_samples_are_mirrored():
    labels = np.tile(np.arange(4), (4, 1))
    rng = np.random.default_rng(0)
    mirrored = 0
    for _ in range(1000):
        _, (out,) = augment(picture(4, 4), [labels], size=(4, 4), fills=[255], crop=4, rng=rng)
        assert out[0].tolist() in ([0, 1, 2, 3], [3, 2, 1, 0])
        mirrored += int(out[0, 0] == 3)
    assert 450 < mirrored < 550


def test_without_resizing_or_cropping_every_pixel_survives():
    image, (labels,) = augment(
        picture(6, 6), [np.arange(36).reshape(6, 6)], size=(6, 6), fills=[255], crop=6, rng=np.random.default_rng(1)
    )
    colours = picture(6, 6).reshape(36, 3)
    np.testing.assert_array_equal(denormalise(image), colours[labels.numpy()])
    assert sorted(labels.flatten().tolist()) == list(range(36))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), height=st.integers(20, 90), width=st.integers(20, 90))
def test_a_random_part_has_the_area_and_the_aspect_asked_for(seed, height, width):
    area, aspect = [0.5, 0.75], [0.75, 4 / 3]
    rows, columns = random_part((height, width), area=area, aspect=aspect, rng=np.random.default_rng(seed))
    assert 0 <= rows.start < rows.stop <= height and 0 <= columns.start < columns.stop <= width
    share, shape = len(rows) * len(columns) / (height * width), len(columns) / len(rows)
    whole = len(rows) == height or len(columns) == width  # after ten parts that did not fit, perhaps
    assert whole or 0.5 - 0.06 <= share <= 0.75 + 0.06
    assert (len(rows), len(columns)) == (height, width) or 0.75 - 0.06 <= shape <= 4 / 3 + 0.06


def test_random_parts_are_spread_evenly():
    rng = np.random.default_rng(0)
    parts = [random_part((400, 500), area=[0.5, 0.75], aspect=[0.75, 4 / 3], rng=rng) for _ in range(3000)]
    shares = np.array([len(rows) * len(columns) / 200_000 for rows, columns in parts])
    assert abs(shares.mean() - 0.625) < 0.01 and shares.min() + 0.002 >= 0.5 and shares.max() <= 0.752
    ratios = np.array([len(columns) / len(rows) for rows, columns in parts])
    assert abs(np.log(ratios).mean()) < 0.03  # evenly in the logarithm, but for those that do not fit
    assert len({rows.start for rows, _ in parts}) > 50 and len({columns.start for _, columns in parts}) > 50


def test_a_photo_too_long_for_any_part_gives_its_middle():
    rows, columns = random_part((20, 200), area=[0.5, 0.75], aspect=[0.75, 4 / 3], rng=np.random.default_rng(0))
    assert (rows, columns) == (range(20), range(86, 113))
    rows, columns = random_part((200, 20), area=[0.5, 0.75], aspect=[0.75, 4 / 3], rng=np.random.default_rng(0))
    assert (rows, columns) == (range(86, 113), range(20))


@pytest.mark.parametrize("factor", [1, 2])
def test_a_part_becomes_a_square_and_labels_move_along(factor):
    """A photo of half the resolution of its maps, as a JPEG may be decoded, shows the same part."""
    labels = np.arange(40 * 60).reshape(40, 60) % 7
    image = np.repeat(labels[::factor, ::factor, None] * 30, 3, axis=2).astype(np.uint8)
    part, seen = [range(8, 32), range(10, 50)], set()
    for seed in range(8):
        tensor, (found,) = augment_part(image, [labels], part=part, crop=16, rng=np.random.default_rng(seed))
        assert tensor.shape == (3, 16, 16) and found.dtype == torch.int64
        own = labels[8:32, 10:50]
        expected = np.array(
            [[own[int((y + 0.5) * 24 / 16), int((x + 0.5) * 40 / 16)] for x in range(16)] for y in range(16)]
        )
        window = image[8 // factor : 32 // factor, 10 // factor : 50 // factor]
        picture = normalise(np.asarray(Image.fromarray(window).resize((16, 16), Image.Resampling.BILINEAR)))
        mirrored = not np.array_equal(found, expected)
        seen.add(mirrored)
        np.testing.assert_array_equal(found, expected[:, ::-1] if mirrored else expected)
        torch.testing.assert_close(tensor, picture.flip(-1) if mirrored else picture)
    assert seen == {False, True}
