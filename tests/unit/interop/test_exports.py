"""Exports, read back by decoders written here and, where they are installed, by the tools' own libraries."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import ExifTags, Image
from pycocotools.coco import COCO

from ssc import archive
from ssc.cli import main
from ssc.constants import voc_palette
from ssc.data.index import Index, Row, write_index
from ssc.interop.exports.label_studio import brush
from ssc.interop.exports.masks import regions, run_lengths
from ssc.interop.exports.outlines import polygon
from ssc.interop.exports.run import export_run
from ssc.runtime.files import write_json

CLASSES = ["cat", 'a "big" <dog> & co', "absent", "Überzug"]
FORMATS = ("voc", "coco", "yolo", "label-studio", "cvat")

label_maps = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 2, 255]))


def drawn(*rows: str) -> np.ndarray:
    """A label map: digits, `.` for background, `#` for 255."""
    values = {".": 0, "#": 255}
    return np.array([[values[c] if c in values else int(c) for c in row] for row in rows], np.uint8)


MAPS = {
    "a": drawn("1111.", "1..1.", "1.21.", "11114", "#...#"),
    "x/b": drawn("..1", ".1.", "1.."),
    "x_b": drawn("2222222", "2.2.2#2", "2222222", "2.....2", "2222222"),
    "x/y/b c": drawn("....", "...."),
    "d.1": drawn("22", "22", "22"),
    "noise": np.random.default_rng(0).choice(np.array([0, 1, 2, 4, 255], np.uint8), (37, 53)),
    "large": np.pad(np.ones((150, 200), np.uint8), ((0, 1), (3, 0))),
}
SUFFIXES = {"a": ".JPG", "x/b": ".png", "d.1": ".jpeg"}


def photo_of(name: str) -> str:
    """Name of the copy of an image's photo."""
    return f"{name}{'.png' if SUFFIXES.get(name) == '.png' else '.jpg'}"


def write_maps(folder: Path, maps: dict[str, np.ndarray], *, shards: int = 2) -> None:
    for number in range(shards):
        with archive.write(folder / f"{number + 1}-of-{shards}.zip") as writer:
            for name in sorted(maps)[number::shards]:
                writer.add_labels(name, maps[name])


@pytest.fixture
def run(tmp_path) -> Path:
    """A run with pseudo-labels of its training photos and predictions of one val photo, which has an id of those."""
    root = tmp_path / "work" / "results" / "set"
    rows = []
    for name, labels in MAPS.items():
        path = Path("photos") / f"{name}{SUFFIXES.get(name, '.jpg')}"
        (root.parents[1] / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*labels.shape, 3), len(rows), np.uint8)).save(root.parents[1] / path)
        rows.append(Row(name, "train", str(path), "", ()))
    rows.append(Row("a", "val", "photos/x_b.jpg", "", ()))
    write_index(root / "index.tsv", Index(CLASSES, rows))
    write_maps(root / "ssc" / "pseudo_labels", MAPS)
    write_maps(root / "ssc" / "predictions" / "val", {"a": MAPS["x_b"]})
    return root / "ssc"


def export(run: Path, out: Path, to: str, *more: str, what: str = "pseudo-labels") -> Path:
    assert main(["export", str(run), "--what", what, "--to", to, "--out", str(out), *more]) == 0
    return out


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def shown(labels: np.ndarray) -> np.ndarray:
    """What remains of a label map where 255 is background."""
    return np.where(labels == 255, 0, labels)


# Decoders, by the formats' definitions.


def fill(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels with their centre inside a polygon, by the even-odd rule."""
    inside = np.zeros((height, width), bool)
    columns = np.arange(width) + 0.5
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        for row in range(height):
            y = row + 0.5
            if (y0 > y) != (y1 > y):
                inside[row] ^= columns > x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    return inside


def decode_coco(counts: str, height: int, width: int) -> np.ndarray:
    """COCO's compressed runs, column by column; from the fourth on they are differences to the last but one."""
    runs, value, shift = [], 0, 0
    for character in counts:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return np.repeat(np.arange(len(runs)) % 2, runs).reshape(width, height).T.astype(bool)


def decode_brush(data: list[int], height: int, width: int) -> np.ndarray:
    bits = "".join(f"{byte:08b}" for byte in data)
    position = 0

    def read(count: int) -> int:
        nonlocal position
        position += count
        return int(bits[position - count : position], 2)

    number, size = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < number:
        same = read(1)
        length = read(sizes[read(2)]) + 1
        values += [read(size)] * length if same else [read(size) for _ in range(length)]
    assert len(bits) - position < 8
    pixels = np.array(values).reshape(height, width, 4)
    assert (pixels == pixels[..., :1]).all() and set(np.unique(pixels)) <= {0, 255}
    return pixels[..., 3] > 0


def read_voc(out: Path, split: str = "train") -> dict[str, np.ndarray]:
    names = (out / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().splitlines()
    return {name: np.asarray(Image.open(out / "SegmentationClass" / f"{name}.png")) for name in names}


def read_coco(out: Path, split: str = "train") -> dict[str, np.ndarray]:
    content = json.loads((out / "annotations" / f"instances_{split}.json").read_text())
    names = {category["id"]: CLASSES.index(category["name"]) + 1 for category in content["categories"]}
    assert len(names) == len(CLASSES)
    found = {}
    for image in content["images"]:
        labels = np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in content["annotations"]:
            if annotation["image_id"] != image["id"]:
                continue
            own = annotation["segmentation"]
            if isinstance(own, dict):
                assert own["size"] == list(labels.shape)
                mask = decode_coco(own["counts"], *labels.shape)
            else:
                mask = fill(np.array(own[0]).reshape(-1, 2), *labels.shape)
            rows, columns = np.nonzero(mask)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert annotation["area"] == mask.sum() and annotation["bbox"] == box and annotation["iscrowd"] == 0
            assert not labels[mask].any()
            labels[mask] = names[annotation["category_id"]]
        found[str(Path(image["file_name"]).with_suffix(""))] = labels
    return found


def read_yolo(out: Path, split: str = "train") -> dict[str, np.ndarray]:
    data = yaml.safe_load((out / "data.yaml").read_text())
    assert data["train"] == data["val"] == f"images/{split}"
    names = {k: CLASSES.index(name) + 1 for k, name in data["names"].items()}
    found = {}
    for name in files(out / data["train"]):
        path = out / data["train"] / name
        size = Image.open(path).size
        labels = np.zeros(size[::-1], np.uint8)
        parts = str(path).rsplit("/images/", 1)  # as YOLO finds them
        for line in Path("/labels/".join(parts)).with_suffix(".txt").read_text().splitlines():
            label, *values = line.split()
            corners = np.array(values, float).reshape(-1, 2)
            assert len(corners) >= 3 and corners.min() >= 0 and corners.max() <= 1
            labels[fill(corners * size, *labels.shape)] = names[int(label)]
        found[str(Path(name).with_suffix(""))] = labels
    return found


def read_label_studio(out: Path, split: str = "train") -> dict[str, np.ndarray]:
    interface = ElementTree.parse(out / "label_config.xml")
    (brushes,) = interface.iter("BrushLabels")
    assert [label.get("value") for label in brushes] == CLASSES
    found = {}
    for task in json.loads((out / "tasks.json").read_text()):
        (prediction,) = task["predictions"]
        assert task["data"]["split"] == split
        name = task["data"]["id"]
        size = Image.open(out / "images" / photo_of(name)).size
        labels = np.zeros(size[::-1], np.uint8)
        for result in prediction["result"]:
            assert (result["original_width"], result["original_height"]) == size
            assert (result["from_name"], result["to_name"]) == (brushes.get("name"), brushes.get("toName"))
            (label,) = result["value"]["brushlabels"]
            labels[decode_brush(result["value"]["rle"], *labels.shape)] = CLASSES.index(label) + 1
        found[name] = labels
    return found


def read_cvat(out: Path, split: str = "train") -> dict[str, np.ndarray]:
    root = ElementTree.parse(out / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1" and root.findtext("meta/task/name") == split
    assert [label.findtext("name") for label in root.findall("meta/task/labels/label")] == CLASSES
    assert [label["name"] for label in json.loads((out / "labels.json").read_text())] == CLASSES
    found = {}
    for image in root.findall("image"):
        labels = np.zeros((int(image.get("height")), int(image.get("width"))), np.uint8)
        for mask in image.findall("mask"):
            left, top, width, height = (int(mask.get(key)) for key in ("left", "top", "width", "height"))
            runs = [int(run) for run in mask.get("rle").split(",")]
            inside = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width).astype(bool)
            labels[top : top + height, left : left + width][inside] = CLASSES.index(mask.get("label")) + 1
        found[str(Path(image.get("name")).with_suffix(""))] = labels
    return found


READERS = {
    "voc": read_voc,
    "coco": read_coco,
    "yolo": read_yolo,
    "label-studio": read_label_studio,
    "cvat": read_cvat,
}


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], keep: Callable = shown) -> None:
    assert sorted(found) == sorted(expected)
    for name, labels in expected.items():
        np.testing.assert_array_equal(found[name], keep(labels), err_msg=name)


# Whole exports.


@pytest.mark.parametrize(
    ("to", "more"), [*((to, []) for to in FORMATS), ("coco", ["--segmentation", "polygons"])], ids=str
)
def test_every_pixel_comes_back(run, tmp_path, capsys, to, more):
    out = export(run, tmp_path / "new" / "out", to, *more)
    assert_same(READERS[to](out), MAPS, (lambda labels: labels) if to == "voc" else shown)
    folder = out / {"voc": "JPEGImages", "yolo": "images/train"}.get(to, "images")
    assert files(folder) == sorted(map(photo_of, MAPS))
    for name in MAPS:
        original = run.parents[2] / "photos" / f"{name}{SUFFIXES.get(name, '.jpg')}"
        assert (folder / photo_of(name)).read_bytes() == original.read_bytes()
    told = capsys.readouterr().out
    assert told.startswith(f"Wrote {len(MAPS)} masks to {out}.\n")
    ignored = 100 * np.mean([(labels == 255).mean() for labels in MAPS.values()])
    assert (f"\n{ignored:.2f} % of their pixels are ignored (255), which {to} has as background." in told) == (
        to != "voc"
    )
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("to", FORMATS)
def test_predictions_of_a_split_and_the_same_bytes_again(run, tmp_path, to):
    outs = [
        export(run, tmp_path / name, to, what=what) for name, what in (("1", "predictions"), ("2", "predictions/val"))
    ]
    assert_same(READERS[to](outs[0], "val"), {"a": MAPS["x_b"]}, (lambda labels: labels) if to == "voc" else shown)
    assert files(outs[0]) == files(outs[1])
    for name in files(outs[0]):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()


def test_layout_of_voc(run, tmp_path):
    out = export(run, tmp_path / "out", "voc", what="predictions")
    assert files(out) == [
        "ImageSets/Segmentation/val.txt",
        "JPEGImages/a.jpg",
        "SegmentationClass/a.png",
        "labelmap.txt",
    ]
    with Image.open(out / "SegmentationClass" / "a.png") as mask:
        assert mask.mode == "P" and mask.getpalette() == voc_palette()
    lines = (out / "labelmap.txt").read_text().splitlines()
    assert lines[:3] == ["# label:color_rgb:parts:actions", "background:0,0,0::", "cat:128,0,0::"]
    assert len(lines) == 3 + len(CLASSES) and lines[-1] == "ignored:224,224,192::"


def test_a_photo_that_is_turned_by_its_exif(run, tmp_path):
    """The mask is that of the upright photo."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", MAPS["x_b"].shape).save(run.parents[2] / "photos" / "x_b.jpg", exif=exif)
    assert_same(read_coco(export(run, tmp_path / "out", "coco")), MAPS)


def test_masks_that_another_experiment_has_made(run, tmp_path):
    other = run.parent / "mine"
    files_of_run = {"pseudo_labels": {f"ssc/pseudo_labels/{k}-of-2.zip": "" for k in (1, 2)}}
    write_json(other / "manifest.json", {"files": files_of_run})
    assert_same(read_voc(export(other, tmp_path / "out", "voc")), MAPS, lambda labels: labels)


def test_a_run_is_named_from_anywhere(run, tmp_path, monkeypatch):
    monkeypatch.chdir(run)
    export(Path(), tmp_path / "out", "coco")
    (run / "logs").mkdir()
    monkeypatch.chdir(run / "logs")
    assert_same(read_coco(export(Path(".."), tmp_path / "more", "coco")), MAPS)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert_same(read_coco(export(run, Path("deep/out"), "coco")), MAPS)


# The same by the tools' own libraries.


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("segmentation", ["rle", "polygons"])
def test_pycocotools(run, tmp_path, segmentation):
    """Both forms come back exactly, holes included."""
    out = export(run, tmp_path / "out", "coco", "--segmentation", segmentation)
    coco = COCO(out / "annotations" / "instances_train.json")
    found = {}
    for image in coco.loadImgs(coco.getImgIds()):
        labels = np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            labels[coco.annToMask(annotation).astype(bool)] = annotation["category_id"]
        found[str(Path(image["file_name"]).with_suffix(""))] = labels
    assert_same(found, MAPS)


@pytest.mark.parametrize(("to", "name"), [("voc", "voc_segmentation"), ("coco", "coco_instances"), ("cvat", "cvat")])
def test_datumaro(run, tmp_path, to, name):
    datumaro = pytest.importorskip("datumaro")
    dataset = datumaro.Dataset.import_from(str(export(run, tmp_path / "out", to)), name)
    names = [item.name for item in dataset.categories()[datumaro.AnnotationType.label].items]
    labels = {"background": 0, "ignored": 255} | {name: k for k, name in enumerate(CLASSES, start=1)}
    found = {}
    for item in dataset:
        assert tuple(item.media.size) == MAPS[item.id].shape
        found[item.id] = np.zeros(item.media.size, np.uint8)
        for mask in (annotation for annotation in item.annotations if annotation.type == datumaro.AnnotationType.mask):
            found[item.id][np.asarray(mask.image, bool)] = labels[names[mask.label]]
    assert_same(found, MAPS, (lambda labels: labels) if to == "voc" else shown)


def test_supervision(run, tmp_path):
    supervision = pytest.importorskip("supervision")
    out = export(run, tmp_path / "out", "coco")
    table = out / "annotations" / "instances_train.json"
    dataset = supervision.DetectionDataset.from_coco(str(out / "images"), str(table), force_masks=True)
    assert dataset.classes == CLASSES
    found = {}
    for path, picture, detections in dataset:
        name = str(Path(path).relative_to(out / "images").with_suffix(""))
        found[name] = np.zeros(picture.shape[:2], np.uint8)
        for mask, label in zip(() if detections.mask is None else detections.mask, detections.class_id, strict=True):
            found[name][mask] = label + 1
    assert_same(found, MAPS)


def test_label_studio_sdk(run, tmp_path):
    pytest.importorskip("label_studio_sdk")
    from label_studio_sdk.converter.brush import decode_rle
    from label_studio_sdk.label_interface import LabelInterface

    out = export(run, tmp_path / "out", "label-studio")
    interface = LabelInterface((out / "label_config.xml").read_text(encoding="utf-8"))
    found = {}
    for task in json.loads((out / "tasks.json").read_text()):
        assert all(interface.validate_prediction(prediction) for prediction in task["predictions"])
        name = task["data"]["id"]
        labels = found[name] = np.zeros(MAPS[name].shape, np.uint8)
        for result in task["predictions"][0]["result"]:
            opacity = decode_rle(result["value"]["rle"]).reshape(*labels.shape, 4)[..., 3]
            labels[opacity > 0] = CLASSES.index(result["value"]["brushlabels"][0]) + 1
    assert_same(found, MAPS)


def test_cvat_sdk(run, tmp_path):
    masks = pytest.importorskip("cvat_sdk.masks")
    out = export(run, tmp_path / "out", "cvat")
    for image in ElementTree.parse(out / "annotations.xml").iter("image"):
        labels = np.zeros((int(image.get("height")), int(image.get("width"))), np.uint8)
        for mask in image:
            left, top, width, height = (int(mask.get(key)) for key in ("left", "top", "width", "height"))
            runs = [int(run) for run in mask.get("rle").split(",")]
            points = [*runs, left, top, left + width - 1, top + height - 1]
            found = masks.decode_mask(points, image_width=labels.shape[1], image_height=labels.shape[0])
            assert masks.encode_mask(found) == points
            labels[found] = CLASSES.index(mask.get("label")) + 1
        np.testing.assert_array_equal(labels, shown(MAPS[str(Path(image.get("name")).with_suffix(""))]))


# Masks and shapes.


@settings(deadline=None)
@given(label_maps)
def test_regions_are_connected_by_sides_and_make_up_the_map(labels):
    whole = np.zeros_like(labels)
    for region in regions(labels):
        height, width = region.shape.shape
        part = whole[region.top : region.top + height, region.left : region.left + width]
        assert not part[region.shape].any() and region.shape.any(axis=0).all() and region.shape.any(axis=1).all()
        part[region.shape] = region.label
        reached = np.zeros(region.shape.shape, bool)
        reached.flat[region.shape.argmax()] = True
        for _ in range(region.shape.size):
            grown = np.pad(reached, 1)
            near = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
            reached |= near & region.shape
        assert (reached == region.shape).all()
    np.testing.assert_array_equal(whole, shown(labels))


@settings(deadline=None)
@given(label_maps)
def test_polygons_have_the_pixels_of_their_region(labels):
    for region in regions(labels):
        corners = polygon(region)
        mask = np.zeros(labels.shape, bool)
        mask[region.top :, region.left :][: region.shape.shape[0], : region.shape.shape[1]] = region.shape
        np.testing.assert_array_equal(fill(corners, *labels.shape), mask)
        steps = np.roll(corners, -1, axis=0) - corners
        assert len(corners) >= 4 and (np.count_nonzero(steps, axis=1) == 1).all()
        assert (np.sign(steps) != np.sign(np.roll(steps, 1, axis=0))).any(axis=1).all(), "a point is no corner"


def test_the_first_pixel_is_the_square_from_0_to_1():
    (region,) = regions(drawn("1"))
    assert sorted(map(tuple, polygon(region))) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    (region,) = regions(drawn("....", "..22"))
    assert sorted(map(tuple, polygon(region))) == [(2, 1), (2, 2), (4, 1), (4, 2)]


@settings(deadline=None)
@given(label_maps)
def test_brushes_and_runs_have_the_pixels_of_a_mask(labels):
    mask = labels == 1
    np.testing.assert_array_equal(decode_brush(brush(mask), *mask.shape), mask)
    runs = run_lengths(mask)
    np.testing.assert_array_equal(np.repeat(np.arange(len(runs)) % 2, runs).reshape(mask.shape), mask)
    assert (runs[1:] > 0).all()


def test_runs_longer_than_a_brush_can_count():
    for value in (False, True):
        mask = np.full((130, 130), value)
        np.testing.assert_array_equal(decode_brush(brush(mask), *mask.shape), mask)


# What is refused; nothing is written then.


@pytest.fixture
def refused(run, tmp_path, capsys):
    """Call an export that is refused; the message. Nothing has changed after it."""

    def call(*more: str, source: Path = run, what: str = "pseudo-labels", to: str = "coco", out: str = "out") -> str:
        before = files(tmp_path)
        assert main(["export", str(source), "--what", what, "--to", to, "--out", str(tmp_path / out), *more]) == 1
        told = capsys.readouterr().err
        assert files(tmp_path) == before and not list(tmp_path.rglob("*.part"))
        assert told.startswith("Error: ") and told.count("\n") == 1
        return told

    return call


def test_nothing_is_overwritten(run, tmp_path, refused):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    assert f"{tmp_path / 'full'} exists already and is no empty folder; name another" in refused(out="full")
    assert "exists already" in refused(out="full/mine")
    (tmp_path / "empty").mkdir()
    export(run, tmp_path / "empty", "coco")


def test_runs_without_the_masks(run, tmp_path, refused):
    assert "results/none is not the folder of a run" in refused(source=run.parents[1] / "none")
    assert "mine has no pseudo-labels" in refused(source=run.parent / "mine")
    assert "ssc has no predictions/test" in refused(what="predictions/test")
    write_maps(run / "predictions" / "test", MAPS)
    assert "index.tsv lists no image of split test" in refused(what="predictions/test")
    told = refused(what="predictions")
    assert "has predictions/val and predictions/test; choose by --what predictions/val" in told
    write_maps(run / "pseudo_labels", MAPS, shards=3)
    assert "pseudo_labels is cut into 2 and into 3 shards; delete the older archives" in refused()
    for path in (run / "pseudo_labels").glob("*-of-3.zip"):
        path.unlink()
    (run / "pseudo_labels" / "2-of-2.zip").unlink()
    assert "pseudo_labels lacks the mask of d.1 and 2 more; run snakemake to its end" in refused()


@pytest.mark.parametrize("to", FORMATS)
def test_masks_that_do_not_fit(run, refused, to):
    write_maps(run / "pseudo_labels", MAPS | {"d.1": np.zeros((2, 3), np.uint8)})
    assert "The mask and the photo of d.1 are 3x2 and 2x3" in refused(to=to)
    write_maps(run / "pseudo_labels", MAPS | {"x_b": np.full((5, 7), 5, np.uint8)})
    assert "The mask of x_b holds the label 5 of 4 classes" in refused(to=to)


def test_photos_that_are_missing_or_for_which_there_is_no_room(run, tmp_path, refused, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    assert f"{tmp_path} has 0.0 GB free; make room, or name a folder on another disk" in refused(out="deep/out")
    (run.parents[2] / "photos" / "x_b.jpg").unlink()
    assert "x_b.jpg does not exist; restore it" in refused()


def test_names_that_a_format_cannot_have(run, tmp_path, refused):
    table = run.parent / "index.tsv"
    write_index(table, Index(["cat", "a:b"], [Row("images/a", "train", "a.jpg", "", ()), Row("b", "val", "", "", ())]))
    Image.new("RGB", (3, 3)).save(run.parents[2] / "a.jpg")
    write_maps(run / "pseudo_labels", {"images/a": MAPS["x/b"]})
    assert "images/a: YOLO would look for its labels beside its folder images" in refused(to="yolo")
    assert "cannot hold the class 'a:b'" in refused(to="voc")
    export(run, tmp_path / "out", "coco")


def test_options(run, tmp_path, refused, capsys):
    for to in ("voc", "yolo", "label-studio", "cvat"):
        assert f"leave it out for {to}" in refused("--segmentation", "rle", to=to)
    assert main(["export", str(run), "--what", "pseudo-labels", "--to", "xml", "--out", str(tmp_path / "out")]) == 1
    assert "invalid choice: 'xml'" in capsys.readouterr().err


def test_an_interrupted_export_leaves_nothing(run, tmp_path, monkeypatch):
    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ssc.interop.exports.coco.polygon", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_run(run, what="pseudo-labels", to="coco", out=tmp_path / "out", segmentation="polygons")
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_what_the_disk_refuses_is_told_in_one_sentence(run, tmp_path, refused, monkeypatch):
    def full(*_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "out/images/a.jpg")

    monkeypatch.setattr("shutil.copyfile", full)
    assert "out/images/a.jpg cannot be written or read (No space left on device); make room" in refused()
