from pathlib import Path

import numpy as np
import pytest

from ssc import archive
from ssc.archive import encode_labels
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_json, read_table
from ssc.stages.evaluate import count_labels, summarise_labels

FILES = {"output": "out.json", "images": "images.tsv", "regions": "regions.tsv"}

Maps = dict[str, np.ndarray]


def miou_by_sets(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, dict[int, float]]:
    """mIoU and IoU of the classes that occur, over (target, prediction) maps."""
    pixels = [(int(t), int(p)) for target, own in pairs for t, p in zip(target.flat, own.flat, strict=True) if t != 255]
    iou = {}
    for label in sorted({value for pixel in pixels for value in pixel}):
        union = sum(label in pixel for pixel in pixels)
        iou[label] = sum(pixel == (label, label) for pixel in pixels) / union
    return sum(iou.values()) / len(iou), iou


def random_maps(seed: int, values: list[int]) -> Maps:
    rng = np.random.default_rng(seed)
    return {"a": rng.choice(values, (32, 48)), "b": rng.choice(values, (29, 35)), "c": rng.choice(values, (20, 24))}


def write_zip(path: Path, maps: Maps) -> Path:
    with archive.write(path) as out:
        for name, labels in maps.items():
            out.add_labels(name, labels)
    return path


def write_folder(path: Path, maps: Maps) -> Path:
    for name, labels in maps.items():
        file = path / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode_labels(labels))
    return path


# Archives of a workflow


def evaluate(folder: Path, *, index: Path, labels: Path, masks: Path, shards: int = 1, split: str = "train", **others):
    """Count and sum up; the figures, and the mIoU of the images in percent."""
    counts = [folder / f"counts{k}.json" for k in range(1, shards + 1)]
    shared = {"index": index, "split": split, "stage": others.pop("stage", "pseudo-labels")}
    for k, output in enumerate(counts, start=1):
        count_labels(**shared, shard=f"{k}-of-{shards}", labels=labels, masks=masks, output=output, **others)
    files = {name: folder / file for name, file in FILES.items()}
    summarise_labels(**shared, shards=counts, **files, steps=others.get("steps", ()))
    scores = read_table(files["images"]).fillna("")
    return read_json(files["output"]), dict(zip(scores["id"], scores["miou"], strict=True))


def test_figures_of_a_stage_and_its_baselines(tiny_set, tmp_path):
    predicted = random_maps(1, [0, 1, 2, 3])
    target = random_maps(2, [0, 1, 3, 255])
    own = write_zip(tmp_path / "own.zip", predicted)
    masks = write_zip(tmp_path / "masks.zip", {name: target[name] for name in "ca"})  # none for b
    result, scores = evaluate(tmp_path, index=tiny_set, labels=own, masks=masks, shards=2)
    miou, iou = miou_by_sets([(target[name], predicted[name]) for name in "ac"])
    assert result["miou"] == pytest.approx(miou)
    names = ["background", "orbi", "quado", "trixi"]
    assert result["iou"] == {name: pytest.approx(iou[k]) for k, name in enumerate(names)}
    assert (result["stage"], result["split"], result["images"]) == ("pseudo-labels", "train", 2)
    assert result["pixels"] == sum(int((target[name] != 255).sum()) for name in "ac")
    own = {name: miou_by_sets([(target[name], predicted[name])])[1] for name in "ac"}
    expected = {name: 100 * np.mean([iou[k] for k in (0, 1, 3)]) for name, iou in own.items()}  # no mask shows a 2
    assert {name: float(score) for name, score in scores.items()} == pytest.approx(expected, abs=0.006)
    empty = {name: np.zeros_like(labels) for name, labels in target.items()}
    assert result["baselines"] == {
        "all background": pytest.approx(miou_by_sets([(target[name], empty[name]) for name in "ac"])[0]),
        # a shows classes 1 and 3, c none
        "image label": pytest.approx(miou_by_sets([(target["a"], empty["a"] + 1), (target["c"], empty["c"])])[0]),
    }


def test_number_of_shards_has_no_effect(tiny_set, tmp_path):
    own = write_zip(tmp_path / "own.zip", random_maps(1, [0, 1, 2, 3]))
    masks = write_zip(tmp_path / "masks.zip", random_maps(2, [0, 1, 3, 255]))
    written = set()
    for shards in (1, 2, 5):  # of three images
        evaluate(tmp_path, index=tiny_set, labels=own, masks=masks, shards=shards)
        written.add(b"".join((tmp_path / file).read_bytes() for file in FILES.values()))
    assert len(written) == 1
    assert read_table(tmp_path / "images.tsv")["id"].tolist() == ["a", "b", "c"]


def test_undecided_pixels_count_as_background(tiny_set, tmp_path):
    own, decided = random_maps(1, [0, 1, 255]), random_maps(1, [0, 1, 0])
    masks = write_zip(tmp_path / "masks.zip", random_maps(2, [0, 1, 3, 255]))
    results = [
        evaluate(tmp_path, index=tiny_set, labels=write_zip(tmp_path / "own.zip", maps), masks=masks)
        for maps in (own, decided)
    ]
    assert results[0] == results[1]


def test_figures_of_the_steps_before_the_last(tiny_set, tmp_path):
    predicted, target = random_maps(1, [0, 1, 2, 3]), random_maps(2, [0, 1, 3, 255])
    steps = {"single scale": random_maps(3, [0, 1, 2]), "multi-scale": random_maps(4, [0, 1, 3])}
    members = {f"{step}/{name}": maps[name] for step, maps in steps.items() for name in "ab"}
    arguments = {
        "index": tiny_set,
        "stage": "segmentation",
        "labels": write_zip(tmp_path / "own.zip", predicted),
        "masks": write_zip(tmp_path / "masks.zip", {name: target[name] for name in "ab"}),
        "step_labels": write_zip(tmp_path / "steps.zip", members),
        "shards": 2,
    }
    result, _ = evaluate(tmp_path, **arguments, steps=[*steps, "multi-scale + CRF"])
    expected = {
        name: pytest.approx(miou_by_sets([(target[key], maps[key]) for key in "ab"])[0])
        for name, maps in {**steps, "multi-scale + CRF": predicted}.items()
    }
    assert result["steps"] == expected and list(result["steps"]) == list(expected)
    assert result["miou"] == result["steps"]["multi-scale + CRF"]
    assert list(result["baselines"]) == ["all background", "image label"]
    with pytest.raises(InputError, match=r"flip/.\.png is not in"):
        evaluate(tmp_path, **arguments, steps=["flip", "last"])


def test_the_masks_themselves_are_perfect(tiny_set, tmp_path):
    maps = write_zip(tmp_path / "maps.zip", random_maps(2, [0, 1, 2, 3]))
    result, scores = evaluate(tmp_path, index=tiny_set, labels=maps, masks=maps)
    assert result["miou"] == 1 and result["over_activation"] == result["under_activation"] == 0
    assert set(result["iou"].values()) == {1}
    assert set(scores.values()) == {"100.00"}


def test_a_split_without_masks_has_no_figures(tiny_set, tmp_path):
    none = write_zip(tmp_path / "none.zip", {})
    result, scores = evaluate(tmp_path, index=tiny_set, labels=none, masks=none, shards=2)
    assert result["images"] == result["pixels"] == len(scores) == 0
    assert result["miou"] is None and set(result["iou"].values()) == set(result["baselines"].values()) == {None}


def test_an_ignored_mask_counts_as_an_image_without_a_score(tiny_set, tmp_path):
    own = write_zip(tmp_path / "own.zip", {"b": np.zeros((29, 35), int)})
    masks = write_zip(tmp_path / "masks.zip", {"b": np.full((29, 35), 255)})
    result, scores = evaluate(tmp_path, index=tiny_set, labels=own, masks=masks)
    assert result["images"] == 1 and result["miou"] is None and scores == {"b": ""}


def test_archives_of_other_images_are_refused(tiny_set, tmp_path):
    masks = write_zip(tmp_path / "masks.zip", {"a": np.zeros((32, 48), int)})
    arguments = {"index": tiny_set, "stage": "seg", "masks": masks}
    small = write_zip(tmp_path / "small.zip", {"a": np.zeros((32, 47), int)})
    with pytest.raises(InputError, match=r"a: the seg map is \(32, 47\), its mask \(32, 48\)"):
        evaluate(tmp_path, **arguments, labels=small)
    with pytest.raises(InputError, match=r"a\.png is not in"):
        evaluate(tmp_path, **arguments, labels=write_zip(tmp_path / "b.zip", {"b": np.zeros((29, 35), int)}))
    assert not (tmp_path / "counts1.json").exists() and not (tmp_path / "out.json").exists()


def test_split_without_images_is_an_error(tiny_set, tmp_path):
    empty = write_zip(tmp_path / "empty.zip", {})
    with pytest.raises(InputError, match="Split 'val' has no image"):
        evaluate(tmp_path, index=tiny_set, labels=empty, masks=empty, split="val")
    assert not (tmp_path / "out.json").exists() and not (tmp_path / "images.tsv").exists()
