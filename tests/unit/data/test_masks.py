from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as rle_api

from ssc.archive import encode_labels
from ssc.data.index import Row
from ssc.data.masks import check_size, outline_fault, read_mask, render_instances
from ssc.runtime.errors import InputError

# pycocotools' compiled code calls NumPy in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CLASS_OF = {3: 1, 8: 2, 90: 3}


def box(top: int, left: int, bottom: int, right: int) -> list[list[int]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(segmentation: list | dict, category: int, crowd: int = 0, image: int = 1) -> dict:
    return {"image_id": image, "category_id": category, "iscrowd": crowd, "segmentation": segmentation}


def run_lengths(mask: np.ndarray, *, compressed: bool) -> dict:
    """A boolean (H, W) mask in the JSON's run-length form: column by column, first the zeros."""
    if compressed:
        rle = rle_api.encode(np.asfortranarray(mask, np.uint8))
        return {"size": rle["size"], "counts": rle["counts"].decode()}
    counts, last = [0], False
    for value in mask.T.ravel():
        if value != last:
            counts.append(0)
            last = value
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def paint_slowly(masks: list[np.ndarray], annotations: list[dict]) -> np.ndarray:
    """The label of each pixel is that of the smallest instance on it, the latest among equals; else crowd, else 0."""
    labels = np.zeros(masks[0].shape, int)
    for y, x in np.ndindex(labels.shape):
        here = [k for k, mask in enumerate(masks) if mask[y, x]]
        single = [k for k in here if not annotations[k]["iscrowd"]]
        if single:
            top = min(single, key=lambda k: (masks[k].sum(), -k))
            labels[y, x] = CLASS_OF[annotations[top]["category_id"]]
        elif here:
            labels[y, x] = 255
    return labels


bits = st.lists(st.booleans(), min_size=42, max_size=42).map(lambda cells: np.array(cells).reshape(6, 7))
layers = st.lists(st.tuples(bits, st.sampled_from([*CLASS_OF]), st.sampled_from([0, 0, 1]), st.booleans()), max_size=5)


@settings(max_examples=60, deadline=None)
@given(layers)
def test_smallest_instance_on_top_and_crowds_below(drawn):
    annotations = [annotation(run_lengths(mask, compressed=c), category, crowd) for mask, category, crowd, c in drawn]
    expected = paint_slowly([mask for mask, *_ in drawn], annotations) if drawn else np.zeros((6, 7))
    labels = render_instances(annotations, CLASS_OF, 6, 7)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, expected)


def test_polygons_of_one_annotation_are_united():
    table, cup = annotation(box(0, 0, 8, 8) + box(0, 9, 8, 12), 3), annotation(box(2, 2, 4, 4), 8)
    labels = render_instances([cup, table], CLASS_OF, 10, 14)
    expected = np.zeros((10, 14))
    expected[:8, :8] = expected[:8, 9:12] = 1
    expected[2:4, 2:4] = 2
    np.testing.assert_array_equal(labels, expected)


POLYGON = [0, 0, 9, 0, 9, 9]


@pytest.mark.parametrize(
    ("segmentation", "fault"),
    [
        (None, None),
        ([], None),
        ([POLYGON], None),
        ([POLYGON, [0.5, 1, 2, 3, 4, 5, 6, 7]], None),
        ([POLYGON, [0, 0, 9, 0]], "three or more pairs"),
        ([[0, 0, 9, 0, 9]], "three or more pairs"),
        ([[0, 0, 9, 0, 9, 9, 3]], "three or more pairs"),
        (POLYGON, "three or more pairs"),
        ([[0, 0, 9, 0, 9, "9"]], "no number"),
        ([[0, 0, 9, 0, 9, float("nan")]], "no number"),
        ("polygon", "neither polygons nor"),
        ({"counts": [140]}, "neither polygons nor"),
        ({"size": [10, 14], "counts": [100, 40]}, None),
        ({"size": [10, 14], "counts": [100, 41]}, "do not add up to the image's 140 pixels"),
        ({"size": [10, 14], "counts": [200, -60]}, "do not add up"),
        ({"size": [10, 14], "counts": [100.0, 40]}, "do not add up"),
        ({"size": [14, 10], "counts": [140]}, r"of the size [14, 10] in an image of [10, 14]"),
        ({"size": [10, 14], "counts": "no run lengths"}, "do not add up"),
        ({"size": [10, 14], "counts": ""}, "do not add up"),
        ({"size": [10, 14], "counts": 7}, "do not add up"),
    ],
)
def test_outlines_that_are_none(segmentation, fault):
    told = outline_fault(segmentation, 10, 14)
    assert told is None if fault is None else fault in told


@given(mask=arrays(bool, (13, 29)), cut=st.integers(0, 10**6))
def test_compressed_run_lengths_are_added_up(mask, cut):
    """They are a text whose meaning pycocotools does not check: cut off, it would be read beyond its end."""
    whole = run_lengths(mask, compressed=True)
    assert outline_fault(whole, 13, 29) is None
    short = whole["counts"][: cut % len(whole["counts"])]
    assert "do not add up" in outline_fault({**whole, "counts": short}, 13, 29)


def mask_png(folder: Path, values: np.ndarray, mode: str = "L") -> str:
    path = folder / "mask.png"
    image = Image.fromarray(values.astype(np.uint8))
    if mode == "P":
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette([(7 * k) % 256 for k in range(768)])
    elif mode != "L":
        image = image.convert(mode)
    image.save(path)
    return str(path)


VALUES = np.arange(140).reshape(10, 14) % 3
VALUES[4, 5] = 255


@pytest.mark.parametrize("mode", ["L", "P"])
def test_png_masks_keep_their_values(tmp_path, mode):
    labels = read_mask(mask_png(tmp_path, VALUES, mode))
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, VALUES)


def test_one_bit_masks_are_classes_0_and_1(tmp_path):
    path = mask_png(tmp_path, 255 * (VALUES == 1), "1")
    np.testing.assert_array_equal(read_mask(path), VALUES == 1)


def no_file(folder: Path) -> str:
    return str(folder / "gone.png")


def text_file(folder: Path) -> str:
    (folder / "mask.png").write_text("no image")
    return str(folder / "mask.png")


def cut_file(folder: Path) -> str:
    rng = np.random.default_rng(0)
    path = Path(mask_png(folder, rng.integers(0, 3, (300, 300))))
    path.write_bytes(path.read_bytes()[:-2000])
    return str(path)


def flipped_bytes(folder: Path) -> str:
    path = Path(mask_png(folder, VALUES))
    data = bytearray(path.read_bytes())
    start = data.index(b"IDAT") + 4
    data[start : start + 8] = bytes(8)
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (no_file, r"gone\.png does not exist"),
        (text_file, r"mask\.png is not a readable image"),
        (cut_file, r"mask\.png is damaged"),
        (flipped_bytes, r"mask\.png is damaged"),
        (lambda folder: mask_png(folder, VALUES, "RGB"), r"mask\.png has the colour #010101, which is no class's"),
        (lambda folder: mask_png(folder, VALUES, "LA"), r"mask\.png has mode LA; a mask is"),
        (lambda folder: mask_png(folder, VALUES, "I;16"), r"mask\.png has mode I;16"),
    ],
)
def test_bad_masks_are_refused(tmp_path, mask, message):
    with pytest.raises(InputError, match=message):
        read_mask(mask(tmp_path))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_vocs_colours_are_read_as_its_palette(tmp_path, mode):
    """Painting programs save palettes as colours."""
    labels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    with Image.open(BytesIO(encode_labels(labels))) as image:
        image.convert(mode).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), labels)


def test_what_was_rubbed_out_is_asked_about(tmp_path):
    Image.new("RGBA", (4, 4), (128, 0, 0, 0)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"mask\.png has transparent pixels; paint them"):
        read_mask(tmp_path / "mask.png")


def test_a_mask_of_another_size_is_refused_with_both_sizes():
    row = Row("a", "train", "a.jpg", "mask.png", (1,))
    check_size(row, (10, 14), (10, 14))
    with pytest.raises(InputError, match=r"mask\.png is 9x10, its photo a\.jpg 14x10"):
        check_size(row, (10, 9), (10, 14))


@settings(max_examples=60, deadline=None)
@given(layers, st.sampled_from(["smallest_on_top", "last_on_top"]), st.sampled_from(["ignore", "background"]))
def test_overlaps_and_crowds_as_asked(drawn, overlaps, crowds):
    masks = [mask for mask, *_ in drawn]
    annotations = [annotation(run_lengths(mask, compressed=c), category, crowd) for mask, category, crowd, c in drawn]
    found = render_instances(annotations, CLASS_OF, 6, 7, overlaps=overlaps, crowds=crowds)
    expected = np.zeros((6, 7), int)
    for y, x in np.ndindex(6, 7):
        here = [k for k, mask in enumerate(masks) if mask[y, x]]
        single = [k for k in here if not annotations[k]["iscrowd"]]
        if single:
            top = max(single) if overlaps == "last_on_top" else min(single, key=lambda k: (masks[k].sum(), -k))
            expected[y, x] = CLASS_OF[annotations[top]["category_id"]]
        elif here and crowds == "ignore":
            expected[y, x] = 255
    np.testing.assert_array_equal(found, expected)
