"""Figures of a run without masks, against slow loops."""

from itertools import product

import numpy as np
import pytest

from ssc import archive
from ssc.archive import Archive
from ssc.data.index import Index, Row, write_index
from ssc.metrics import ConfusionMatrix
from ssc.report.evidence import measure, suspicions, write_verdict
from ssc.runtime.files import read_json, write_json

CLASSES = ["dog", "cat", "cow"]
LABELS = {"a": (1, 2), "b": (2,), "c": (), "d/e": (1,), "f": (1, 2), "g": (2,)}
SIZE = (20, 60)


def rows(split="train", labels=LABELS):
    return [Row(id=name, split=split, image=f"{name}.jpg", mask="", labels=own) for name, own in labels.items()]


def label_map(*parts):
    """A label map whose first rows hold the given labels, (label, rows) each, and the others background."""
    labels, first = np.zeros(SIZE, np.uint8), 0
    for label, count in parts:
        labels[first : first + count] = label
        first += count
    return labels


def speckled(labels, pixels, label):
    labels = labels.copy()
    labels.ravel()[:pixels] = label
    return labels


PSEUDO = {
    "a": label_map((1, 5), (2, 5)),
    "b": label_map((2, 20)),  # one colour
    "c": label_map(),  # background alone, as its labels say
    "d/e": label_map(),  # background alone
    "f": label_map((1, 4), (255, 4)),  # lacks cat
    "g": speckled(label_map((255, 10)), 1, 2),  # a pixel of 600 is no speck
}
PREDICTED = {
    "a": label_map((1, 5), (2, 5)),
    "b": label_map((2, 4), (3, 6)),  # cow is not among the labels
    "c": label_map((3, 10)),
    "d/e": label_map((1, 10)),
    "f": speckled(label_map((1, 10)), 1, 2),  # a pixel of 1200 is one
    "g": label_map((2, 3)),
}


def write_maps(path, maps):
    paths = [path.with_name(f"{path.name}-{number}.zip") for number in (1, 2)]
    for number, own in enumerate(paths):
        with archive.write(own) as out:
            for image, labels in list(maps.items())[number::2]:
                out.add_labels(image, labels)
    return paths


@pytest.fixture
def cams(tmp_path):
    """CAMs of all photos: of `a` the cat's is empty, of `b` the only one nearly even, of `d/e` falling to 0.9."""
    rng = np.random.default_rng(0)
    with archive.write(tmp_path / "cams.zip") as out:
        for image, labels in LABELS.items():
            maps = rng.random((len(labels), 5, 15)).astype(np.float16)
            maps[:, 0, 0], maps[:, 0, 1] = 0, 1
            if image == "a":
                maps[1] = 0
            if image == "b":
                maps[0] = rng.uniform(0.96, 1, maps[0].shape)
            if image == "d/e":
                maps[0] = rng.uniform(0.9, 1, maps[0].shape)
                maps[0, 0, :2] = 0.9, 1
            out.add_arrays(image, classes=np.array(labels, np.int16), cams=maps)
    return [tmp_path / "cams.zip"]


def write(tmp_path, *, index_rows=None, **given):
    write_index(tmp_path / "index.tsv", Index(CLASSES, index_rows or rows()))
    files = {
        "cross_validation": None,
        "scores": None,
        "cams": [],
        "pseudo_labels": [],
        "split": "train",
        "pretrained": False,
        **given,
    }
    write_verdict(index=tmp_path / "index.tsv", output=tmp_path / "verdict.json", **files)
    return read_json(tmp_path / "verdict.json")


def shares(labels):
    decided = [int(value) for value in labels.ravel() if value != 255]
    return [decided.count(k) / len(decided) for k in range(len(CLASSES) + 1)]


def figures_by_loops(maps, labels):
    one_colour = background = lacking = foreign = 0
    classes = {name: {"photos": 0, "shown": 0, "area": []} for name in CLASSES}
    for image, labelled in labels.items():
        own = shares(maps[image])
        shown = [k for k in (1, 2, 3) if own[k] > 0.001]
        for k in shown:
            classes[CLASSES[k - 1]]["shown"] += 1
        for k in labelled:
            classes[CLASSES[k - 1]]["photos"] += 1
            classes[CLASSES[k - 1]]["area"].append(own[k])
        if labelled:
            one_colour += max(own) >= 0.999
            background += own[0] >= 0.999
            lacking += max(own) < 0.999 and bool(set(labelled) - set(shown))
            foreign += bool(set(shown) - set(labelled))
    for own in classes.values():
        own["area"] = pytest.approx(np.mean(own["area"]), abs=1e-6) if own["area"] else None
    return {
        "split": "train", "photos": sum(map(bool, labels.values())), "one_colour": one_colour,
        "background": background, "lacking": lacking, "foreign": foreign, "classes": classes,
    }  # fmt: skip


def test_figures_are_those_of_slow_loops(tmp_path, cams):
    scores = {"split": "val", "images": 9, "map": 0.7, "ap": {}}
    guessing = {"classes": ["dog", "cat"], "map": 0.8, "chance": 0.5, "luck": 0.6}
    write_json(tmp_path / "scores.json", {**scores, "guessing": guessing})
    found = write(
        tmp_path,
        scores=tmp_path / "scores.json",
        cams=cams,
        pseudo_labels=write_maps(tmp_path / "pseudo", PSEUDO),
        predictions=write_maps(tmp_path / "predicted", PREDICTED),
    )
    figures = found["figures"]
    assert set(figures) == {"classifier", "cams", "pseudo_labels", "predictions", "agreement"}
    assert figures["classifier"] == {"split": "val", "photos": 9, "cross_validated": False, **guessing}
    assert figures["cams"] == {
        "split": "train", "photos": 5, "cams": 7, "flat": 2,
        "classes": {
            "dog": {"cams": 3, "flat": 0}, "cat": {"cams": 4, "flat": 2}, "cow": {"cams": 0, "flat": 0},
        },
    }  # fmt: skip
    assert figures["pseudo_labels"] == figures_by_loops(PSEUDO, LABELS)
    assert figures["predictions"] == figures_by_loops(PREDICTED, LABELS)
    assert [figures["pseudo_labels"][key] for key in ("one_colour", "background", "lacking", "foreign")] == [2, 1, 1, 0]
    assert [figures["predictions"][key] for key in ("one_colour", "lacking", "foreign")] == [0, 1, 1]
    matrix = ConfusionMatrix(4)
    for image in LABELS:
        for pixel in product(*map(range, SIZE)):
            if PSEUDO[image][pixel] != 255:
                matrix.counts[PSEUDO[image][pixel], PREDICTED[image][pixel]] += 1
    pixels = np.trace(matrix.counts) / matrix.counts.sum()
    assert figures["agreement"] == {
        "split": "train", "photos": 6, "miou": pytest.approx(matrix.miou()), "pixels": pytest.approx(pixels),
    }  # fmt: skip
    assert found["light"] == "red" == found["reasons"][0]["light"]
    assert set(found["reasons"][0]) == {"light", "what", "text", "next"}


def test_photos_are_named_with_what_is_wrong(tmp_path, cams):
    found = write(
        tmp_path,
        cams=cams,
        pseudo_labels=write_maps(tmp_path / "pseudo", PSEUDO),
        predictions=write_maps(tmp_path / "predicted", PREDICTED),
    )
    assert found["photos_of"] == "train"
    photos = found["photos"]
    assert photos == {
        "a": {"suspicion": 0.5, "why": ["empty or flat CAM: cat"]},
        "b": {
            "suspicion": 1.0,
            "why": [
                "empty or flat CAM: cat",
                "the pseudo-label is cat alone",
                "the prediction shows cow, not among the labels",
                "pseudo-label and prediction differ in 80% of the pixels",
            ],
        },
        "c": {"suspicion": 0.5, "why": ["pseudo-label and prediction differ in 50% of the pixels"]},
        "d/e": {
            "suspicion": 1.0,
            "why": [
                "the pseudo-label is background alone",
                "pseudo-label and prediction differ in 50% of the pixels",
            ],
        },
        "f": {"suspicion": 0.5, "why": ["the pseudo-label lacks cat", "the prediction lacks cat"]},
    }


def test_a_run_on_ready_weights_has_figures_of_its_predictions_alone(tmp_path):
    labels = {"x": (), "y": ()}
    index_rows = [*rows(), *rows("test", labels)]
    predictions = write_maps(tmp_path / "predicted", {"x": label_map((1, 20)), "y": label_map((1, 7))})
    found = write(tmp_path, index_rows=index_rows, split="test", predictions=predictions)
    own = found["figures"].pop("predictions")
    assert found["figures"] == {}
    assert (own["split"], own["photos"], own["one_colour"], own["background"]) == ("test", 2, 1, 0)
    assert own["lacking"] is own["foreign"] is None
    assert own["classes"]["dog"] == {"photos": None, "shown": 2, "area": None}
    assert found["photos_of"] == "test"
    assert found["photos"] == {"x": {"suspicion": 1.0, "why": ["the prediction is dog alone"]}}
    assert [reason["what"] for reason in found["reasons"]] == ["predictions.one_colour"]


def test_predictions_of_other_photos_agree_with_nothing(tmp_path, cams):
    index_rows = [*rows(), *rows("val", {"a": (3,), "z": (2,)})]
    predictions = write_maps(tmp_path / "predicted", {"a": label_map((3, 4)), "z": label_map((2, 4))})
    pseudo_labels = write_maps(tmp_path / "pseudo", PSEUDO)
    found = write(
        tmp_path, index_rows=index_rows, split="val", cams=cams, pseudo_labels=pseudo_labels, predictions=predictions
    )
    assert set(found["figures"]) == {"cams", "pseudo_labels", "predictions"}
    own = found["figures"]["predictions"]
    assert (own["split"], own["photos"], own["one_colour"], own["lacking"], own["foreign"]) == ("val", 2, 0, 0, 0)
    # `a` is the training photo of that name.
    assert found["photos_of"] == "train" and found["photos"]["a"]["why"] == ["empty or flat CAM: cat"]


@pytest.mark.parametrize("crossed", [True, False])
def test_photos_that_the_classifier_has_not_seen_count_before_its_own(tmp_path, crossed):
    guessing = {"classes": ["dog"], "map": 0.6, "chance": 0.5, "luck": 0.6}
    own = {"split": "train", "images": 3, "map": 0.9, "ap": {}, "guessing": {**guessing, "map": 0.9}}
    write_json(tmp_path / "scores.json", own)
    write_json(tmp_path / "crossed.json", {**own, "guessing": guessing if crossed else None})
    found = write(
        tmp_path,
        cross_validation=tmp_path / "crossed.json",
        scores=tmp_path / "scores.json",
        predictions=write_maps(tmp_path / "predicted", PREDICTED),
    )["figures"]["classifier"]
    assert (found["cross_validated"], found["map"]) == (crossed, 0.6 if crossed else 0.9)


def test_without_labels_or_classes_to_tell_there_is_no_word_on_the_classifier(tmp_path, cams):
    write_json(tmp_path / "scores.json", {"split": None, "images": 0, "map": None, "ap": {}, "guessing": None})
    unlabelled = dict.fromkeys(LABELS, ())
    predictions = write_maps(tmp_path / "predicted", PREDICTED)
    found = write(
        tmp_path,
        index_rows=rows(labels=unlabelled),
        scores=tmp_path / "scores.json",
        cams=cams,
        predictions=predictions,
    )
    assert set(found["figures"]) == {"predictions"}


def test_a_map_that_decides_nothing_is_of_no_colour(tmp_path):
    paths = write_maps(tmp_path / "maps", {"b": label_map((255, 20))})
    measures = measure(rows(labels={"b": (2,)}), len(CLASSES), None, {"pseudo_labels": Archive(*paths)})
    assert suspicions(measures, CLASSES) == {"b": {"suspicion": 1.0, "why": ["the pseudo-label lacks cat"]}}
