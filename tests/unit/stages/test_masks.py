import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from ssc.archive import Archive
from ssc.data.coco import class_of_category, index_coco, read_instances
from ssc.data.index import Row
from ssc.data.voc import index_voc
from ssc.runtime.errors import InputError
from ssc.stages.masks import write_masks
from ssc.workflow.settings import Masks

# pycocotools' compiled code calls NumPy in a way that NumPy 2 warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CLASS_OF = {3: 1, 8: 2, 90: 3}


def box(top: int, left: int, bottom: int, right: int) -> list[list[int]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(segmentation: list | dict, category: int, crowd: int = 0, image: int = 1) -> dict:
    return {"image_id": image, "category_id": category, "iscrowd": crowd, "segmentation": segmentation}


def photo(folder: Path, name: str, height: int = 10, width: int = 14) -> str:
    path = folder / f"{name}.jpg"
    Image.new("RGB", (width, height)).save(path)
    return str(path)


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


def instances_json(folder: Path, annotations: list[dict], height: int = 10, width: int = 14) -> str:
    """Images 1 (`a.jpg`) and 2 (`b.jpg`)."""
    images = [{"id": k, "file_name": f"{n}.jpg", "height": height, "width": width} for k, n in [(1, "a"), (2, "b")]]
    categories = [{"id": category, "name": str(category)} for category in CLASS_OF]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return str(path)


VALUES = np.arange(140).reshape(10, 14) % 3
VALUES[4, 5] = 255


@pytest.mark.parametrize("mode", ["L", "P"])
def test_png_masks_keep_their_values_and_rows_without_mask_are_left_out(tmp_path, mode):
    path = mask_png(tmp_path, VALUES, mode)
    rows = [Row("x/a", "train", photo(tmp_path, "a"), path, (1,)), Row("b", "train", "gone.jpg", "", (1,))]
    write_masks(rows, 2, tmp_path / "out.zip", settings=Masks())
    out = Archive(tmp_path / "out.zip")
    assert out.ids() == ["x/a"]
    np.testing.assert_array_equal(out.labels("x/a"), VALUES)


def test_json_is_read_once_and_images_without_annotations_are_background(tmp_path, monkeypatch):
    reads = []
    monkeypatch.setattr("ssc.stages.masks.read_instances", lambda path: reads.append(path) or read_instances(path))
    path = instances_json(tmp_path, [annotation(box(1, 2, 5, 7), 90), annotation(box(0, 0, 9, 9), 3, crowd=1)])
    write_masks([Row(n, "val", photo(tmp_path, n), path, ()) for n in "ab"], 3, tmp_path / "out.zip", settings=Masks())
    expected = np.zeros((10, 14))
    expected[:9, :9] = 255
    expected[1:5, 2:7] = 3
    out = Archive(tmp_path / "out.zip")
    np.testing.assert_array_equal(out.labels("a"), expected)
    np.testing.assert_array_equal(out.labels("b"), np.zeros((10, 14)))
    assert reads == [path]


def test_same_input_same_bytes(tmp_path):
    path = mask_png(tmp_path, VALUES)
    rows = [Row("a", "train", photo(tmp_path, "a"), path, (1,))]
    for name in ("one.zip", "two.zip"):
        write_masks(rows, 2, tmp_path / name, settings=Masks())
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def no_file(folder: Path) -> str:
    return str(folder / "gone.png")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (no_file, r"gone\.png does not exist"),
        (lambda folder: mask_png(folder, VALUES, "RGB"), r"mask\.png has the colour #010101, which is no class's"),
        (lambda folder: mask_png(folder, VALUES[:, :9]), r"mask\.png is 9x10, its photo .*a\.jpg 14x10"),
        (lambda folder: mask_png(folder, VALUES.T), r"mask\.png is 10x14, its photo .*a\.jpg 14x10"),
        (lambda folder: mask_png(folder, VALUES + (VALUES == 2)), r"mask\.png of a holds 3; use 0\.\.2 and 255"),
        (lambda folder: instances_json(folder, [], 10, 15), r"instances\.json is 15x10, its photo .*a\.jpg 14x10"),
        (lambda folder: instances_json(folder, [annotation(box(0, 0, 5, 5), 90)]), r"instances\.json of a holds 3"),
        (
            lambda folder: instances_json(folder, [annotation([[0, 0]], 90)]),
            r"instances\.json, annotation number 0: a pol",
        ),
    ],
)
def test_bad_masks_are_refused_and_leave_no_archive(tmp_path, mask, message):
    row = Row("a", "train", photo(tmp_path, "a"), mask(tmp_path), (1,))
    with pytest.raises(InputError, match=message):
        write_masks([row], 2, tmp_path / "out.zip", settings=Masks())
    assert not (tmp_path / "out.zip").exists()


def test_missing_photo_and_unlisted_image_are_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.jpg does not exist"):
        write_masks(
            [Row("a", "train", "gone.jpg", mask_png(tmp_path, VALUES), ())], 2, tmp_path / "out.zip", settings=Masks()
        )
    row = Row("c", "val", photo(tmp_path, "c"), instances_json(tmp_path, []), ())
    with pytest.raises(InputError, match=r"instances\.json does not list the image 'c'"):
        write_masks([row], 3, tmp_path / "out.zip", settings=Masks())


def test_real_coco_masks_against_pycocotools(shared_data, tmp_path):
    """Class k lies inside the union of its instances, and fills it where no other class or crowd does."""
    (path,) = (shared_data / "coco" / "annotations").glob("*.json")
    index = index_coco(train_images=shared_data / "coco" / "images", train_instances=path)
    write_masks(index.rows, index.num_classes, tmp_path / "out.zip", settings=Masks())
    out, coco = Archive(tmp_path / "out.zip"), COCO(str(path))
    class_of = class_of_category(coco.dataset)
    assert len(out.ids()) == 100
    crowds = 0
    for image in coco.dataset["images"]:
        labels = out.labels(Path(image["file_name"]).stem)
        crowd, unions = np.zeros(labels.shape, bool), {}
        for ann in coco.imgToAnns[image["id"]]:
            mask = coco.annToMask(ann).astype(bool)
            if ann["iscrowd"]:
                crowd |= mask
            else:
                k = class_of[ann["category_id"]]
                unions[k] = unions.get(k, False) | mask
        covers = sum(unions.values(), start=np.zeros(labels.shape, int))
        np.testing.assert_array_equal(labels == 255, crowd & (covers == 0))
        np.testing.assert_array_equal(labels == 0, ~crowd & (covers == 0))
        assert set(np.unique(labels)) <= {0, 255, *unions}
        for k, union in unions.items():
            assert union[labels == k].all()
            assert (labels[union & (covers == 1)] == k).all()
        crowds += crowd.any()
    assert crowds > 0


def test_real_voc_masks_hold_their_image_labels(shared_data, tmp_path):
    rows = index_voc(shared_data / "voc", sbd=shared_data / "voc" / "sbd").rows
    write_masks(rows, 20, tmp_path / "out.zip", settings=Masks())
    out = Archive(tmp_path / "out.zip")
    assert len(out.ids()) == 40
    for row in rows:
        if row.mask:
            with Image.open(row.mask) as stored:
                np.testing.assert_array_equal(out.labels(row.id), np.asarray(stored))
            assert set(np.unique(out.labels(row.id))) - {0, 255} <= set(row.labels)


def test_mask_is_compared_with_the_upright_photo(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    Image.fromarray(np.ones((30, 20), np.uint8)).save(tmp_path / "a.png")
    row = Row("a", "train", str(tmp_path / "a.jpg"), str(tmp_path / "a.png"), (1,))
    write_masks([row], 1, tmp_path / "out.zip", settings=Masks())
    assert Archive(tmp_path / "out.zip").labels("a").shape == (30, 20)


def test_instances_are_painted_as_the_settings_say(tmp_path):
    """The small instance comes first in the file; a crowd lies beside both."""
    annotations = [annotation(box(2, 2, 4, 4), 8), annotation(box(0, 0, 8, 8), 3), annotation(box(8, 0, 10, 14), 90, 1)]
    path = instances_json(tmp_path, annotations)
    row = Row("a", "val", photo(tmp_path, "a"), path, ())
    found = []
    for settings in (Masks(), Masks(overlaps="last_on_top", crowds="background")):
        write_masks([row], 3, tmp_path / "out.zip", settings=settings)
        found.append(Archive(tmp_path / "out.zip").labels("a"))
    assert (found[0][2:4, 2:4] == 2).all() and (found[0][8:] == 255).all()
    assert (found[1][:8, :8] == 1).all() and not found[1][8:].any()
