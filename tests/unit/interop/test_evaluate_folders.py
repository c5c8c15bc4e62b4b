"""`ssc evaluate`: folders and archives of label maps against masks."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssc import archive
from ssc.archive import Archive
from ssc.interop.evaluate_folders import evaluate_folders
from ssc.runtime.errors import InputError
from tests.unit.stages.test_evaluate import miou_by_sets, random_maps, write_folder, write_zip


@pytest.mark.parametrize("write_own", [write_folder, write_zip])
@pytest.mark.parametrize("write_masks", [write_folder, write_zip])
@pytest.mark.parametrize("num_classes", [None, 6])
@pytest.mark.parametrize(("own_ids", "mask_ids"), [([0, 1, 3], [0, 2, 4, 255]), ([0, 1, 4], [0, 2, 3, 255])])
def test_folders_and_archives_are_evaluated_alike(tmp_path, write_own, write_masks, num_classes, own_ids, mask_ids):
    predicted, target = random_maps(3, own_ids), random_maps(4, mask_ids)
    predicted["sub/d"], target["sub/d"] = predicted["b"], target["b"]
    predicted["without mask"] = np.full((2, 2), 77)
    result = evaluate_folders(
        write_own(tmp_path / "own", predicted), write_masks(tmp_path / "masks", target), num_classes=num_classes
    )
    miou, iou = miou_by_sets([(target[name], predicted[name]) for name in target])
    assert result["miou"] == pytest.approx(miou)
    names = ["background", "1", "2", "3", "4", "5"][: num_classes or 5]
    assert result["iou"] == {name: pytest.approx(iou[k]) if k in iou else None for k, name in enumerate(names)}
    assert result["images"] == 4


def test_predictions_at_ignored_pixels_have_no_effect(tmp_path):
    masks = write_folder(tmp_path / "masks", {"a": np.array([[0, 1, 255, 255]])})
    own = write_folder(tmp_path / "own", {"a": np.array([[0, 1, 255, 9]])})
    assert evaluate_folders(own, masks) == {"miou": 1, "iou": {"background": 1, "1": 1}, "images": 1}


@pytest.mark.parametrize("mask", [[255, 255], [0, 255], [0, 0]])
def test_masks_without_a_class_are_refused(tmp_path, mask):
    """By black and white masks, whose white is ignored, a prediction of nothing would be perfect."""
    masks = write_folder(tmp_path / "masks", {"a": np.array([mask])})
    with pytest.raises(InputError, match=r"No mask in .*masks shows a class"):
        evaluate_folders(write_folder(tmp_path / "own", {"a": np.array([[0, 0]])}), masks)


def test_greyscale_and_bilevel_masks_are_read(tmp_path):
    labels = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    (tmp_path / "masks").mkdir()
    Image.fromarray(labels).save(tmp_path / "masks" / "grey.png")
    Image.fromarray(labels == 1).save(tmp_path / "masks" / "bilevel.png")
    own = write_folder(tmp_path / "own", {"grey": labels, "bilevel": labels})
    assert evaluate_folders(own, tmp_path / "masks")["miou"] == 1


def test_one_image_is_in_memory_at_a_time(tmp_path, monkeypatch):
    maps = random_maps(5, [0, 1])
    path = write_zip(tmp_path / "maps.zip", maps)
    read = []
    labels = Archive.labels
    monkeypatch.setattr(Archive, "labels", lambda self, name: read.append(name) or labels(self, name))
    evaluate_folders(path, path)
    assert read == ["a", "a", "b", "b", "c", "c"]


def colours(path: Path) -> Path:
    path.mkdir()
    Image.fromarray(np.ones((2, 2, 3), np.uint8)).save(path / "a.png")
    return path


def test_colour_pictures_are_refused(tmp_path):
    flat = write_folder(tmp_path / "flat", {"a": np.zeros((2, 2), int)})
    with pytest.raises(InputError, match="has the colour #010101"):
        evaluate_folders(flat, colours(tmp_path / "rgb"))
    with pytest.raises(InputError, match="has the colour #010101"):
        evaluate_folders(tmp_path / "rgb", flat)
    with archive.write(tmp_path / "rgb.zip") as out:
        out.add_bytes("a.png", (tmp_path / "rgb" / "a.png").read_bytes())
    with pytest.raises(InputError, match="colour picture"):
        evaluate_folders(tmp_path / "rgb.zip", tmp_path / "rgb.zip")
    with pytest.raises(InputError, match=r"the prediction is \(2, 2, 3\)"):
        evaluate_folders(tmp_path / "rgb.zip", flat)


def test_what_does_not_fit_is_refused(tmp_path):
    masks = write_folder(tmp_path / "masks", {"a": np.array([[0, 1, 2]]), "b": np.array([[0, 255, 0]])})
    fits = {"a": np.array([[0, 1, 0]]), "b": np.array([[0, 0, 0]])}

    def check(changes: dict, message: str, num_classes: int | None = None) -> None:
        maps = {name: labels for name, labels in {**fits, **changes}.items() if labels is not None}
        own = write_zip(tmp_path / "own.zip", maps)
        with pytest.raises(InputError, match=message):
            evaluate_folders(own, masks, num_classes=num_classes)

    assert not math.isnan(evaluate_folders(write_zip(tmp_path / "own.zip", fits), masks, num_classes=3)["miou"])
    check({"a": None}, r"own\.zip lacks 1 of 2 predictions; the first is a")
    check({"b": np.array([[0, 0]])}, r"b: the prediction is \(1, 2\), its mask \(1, 3\)")
    check({"b": np.array([[0, 0, 3]])}, r"b: a prediction holds 0\.\.3, not 0\.\.2", num_classes=3)
    check({}, r"a: a target holds 0\.\.2, not 0\.\.1", num_classes=2)
    # without a number of classes any id but 255 is one
    check({"b": np.array([[255, 0, 0]])}, r"b: a prediction holds 0\.\.255, not 0\.\.254")


def test_empty_and_absent_sources_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    maps = write_folder(tmp_path / "maps", {"a": np.zeros((2, 2), int)})
    with pytest.raises(InputError, match="empty holds no PNG masks"):
        evaluate_folders(maps, tmp_path / "empty")
    with pytest.raises(InputError, match="absent is neither a folder nor an archive"):
        evaluate_folders(maps, tmp_path / "absent")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(InputError, match="not a readable zip archive"):
        evaluate_folders(tmp_path / "text.zip", maps)
