"""Small trainings on a handful of photos, which the tests of this folder share."""

from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

import ssc.training.run
from ssc import archive
from ssc.data.index import Index, Row, write_index
from ssc.training.classifier import train_classifier
from ssc.training.irn import train_irn
from ssc.training.run import Run, set_poly_lr
from ssc.training.segmentation import train_segmentation
from ssc.workflow.settings import IRN, Classifier, Segmentation

CLASSES = ["red", "green"]
KINDS = ["classifier", "irn", "segmentation", "cotraining"]
_COMMON = {"backbone": "tiny", "weights": "none", "output_stride": 8, "epochs": 3, "batch_size": 2, "crop": 32}
_SETTINGS = {
    "classifier": {
        "lr": 0.02, "head_lr": 0.02, "momentum": 0.9, "stop_gradient_after": 0, "resize_long": [32, 48],
        "cdr": {"network": "tiny", "weights": "none", "width": 16}, "asm": {"erosion": 2, "start_epoch": 1},
    },
    "irn": {"radius": 3},
    "segmentation": {"rates": [1, 2], "scales": [0.75, 1.0]},
    "cotraining": {"rates": [1, 2], "training": "cotraining", "cotraining": {"online_confidence": 0.3},
                   "windows": "resized", "colours": True, "select_on_val": True},
}  # fmt: skip
_TRAININGS = {
    "classifier": (train_classifier, Classifier),
    "irn": (train_irn, IRN),
    "segmentation": (train_segmentation, Segmentation),
    "cotraining": (train_segmentation, Segmentation),
}


class Result(NamedTuple):
    """The bytes of the weights and the text of the table of losses."""

    weights: bytes
    table: str

    def losses(self) -> list[dict[str, float]]:
        """By name, the losses of each step, those that have set in."""
        names, *lines = [line.split("\t") for line in self.table.splitlines()]
        lines = [dict(zip(names, line, strict=True)) for line in lines]
        return [{k: float(v) for k, v in line.items() if v and k not in ("step", "lr")} for line in lines]


def make_data(folder: Path, *, count: int, noise: float) -> SimpleNamespace:
    """Images with a red or green rectangle on grey; superpixels, confident labels and confidence in two shards; masks
    of the first two, which are photos of the split `val` as well."""
    rng = np.random.default_rng(0)
    rows, regions, labels, confidence = [], [], [], []
    for number in range(count):
        height, width = (int(side) for side in rng.integers(32, 49, 2))
        label = np.zeros((height, width), int)
        label[4:24, 6:28] = 1 + number % 2
        colours = np.array([[128, 128, 128], [220, 30, 30], [30, 220, 30]])
        image = np.clip(colours[label] + noise * rng.normal(size=(height, width, 3)), 0, 255).astype(np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(image).save(path)
        rows.append(Row(str(number), "train", str(path), "", (1 + number % 2,)))
        regions.append(np.arange(height)[:, None] // 8 * 8 + np.arange(width) // 8)
        confidence.append((rng.random((height, width)) < 0.8).astype(int))
        label[:2] = 255
        labels.append(label)
    val = [Row(f"{row.id}_val", "val", row.image, "", row.labels) for row in rows[:2]]
    write_index(folder / "index.tsv", Index(CLASSES, [*rows, *val]))
    with archive.write(folder / "masks.zip") as writer:
        for row, values in zip(val, labels, strict=False):
            writer.add_labels(row.id, values)
    shards = {"masks": [folder / "masks.zip"]}
    for name, maps in (("superpixels", regions), ("labels", labels), ("confidence", confidence)):
        shards[name] = [folder / f"{name}-{part}.zip" for part in (0, 1)]
        for part, path in enumerate(shards[name]):
            with archive.write(path) as writer:
                for row, values in list(zip(rows, maps, strict=True))[part::2]:
                    writer.add_labels(row.id, values)
    return SimpleNamespace(index=folder / "index.tsv", **shards)


def with_changes(data: SimpleNamespace, **changes) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(data), **changes})


def _merged(base: dict, changes: dict) -> dict:
    result = dict(base)
    for key, value in changes.items():
        result[key] = _merged(base.get(key, {}), value) if isinstance(value, dict) else value
    return result


def settings_of(kind: str, **changes):
    """The typed settings of a small training."""
    return _TRAININGS[kind][1](**_merged({**_COMMON, **_SETTINGS[kind]}, changes))


def training(kind: str, data: SimpleNamespace, *, initial: Path | None = None, **changes):
    """Function and arguments of one training, but for its `Run`."""
    inputs = {
        "classifier": {"superpixels": data.superpixels, "loss_weights": None},
        "irn": {"labels": data.labels},
        "segmentation": {"pseudo_labels": data.labels, "confidence": data.confidence,
                         "val_index": data.index, "val_masks": data.masks},
    }["segmentation" if kind == "cotraining" else kind]  # fmt: skip
    arguments = {"index": data.index, "initial": initial, "settings": settings_of(kind, **changes), **inputs}
    return _TRAININGS[kind][0], arguments


def options(output: Path, **more) -> dict:
    """Arguments of the `Run` that writes `output`."""
    return {"output": output, "losses": output.with_suffix(".tsv"), "seed": 0, "device": "cpu", "threads": 1, **more}


def train(kind: str, data: SimpleNamespace, output: Path, *, seed: int = 0, workers: int = 0, **changes) -> Result:
    """Run one training."""
    function, arguments = training(kind, data, **changes)
    function(Run(**options(output, seed=seed, workers=workers)), **arguments)
    return Result(output.read_bytes(), output.with_suffix(".tsv").read_text())


class Killed(Exception):
    """Stands for the end of a job's time."""


def die(*_, **__):
    raise Killed


def at_step(monkeypatch: pytest.MonkeyPatch, last: int | None = None, action=die) -> list[int]:
    """Let trainings call `action` before step `last` (None: never); returns the list in which steps are noted."""
    steps = []

    def set_rate(optimizer, step, total, **more):
        if step not in steps[-1:]:  # of several optimizers each has its rate set
            if step == last:
                action()
            steps.append(step)
        set_poly_lr(optimizer, step, total, **more)

    monkeypatch.setattr(ssc.training.run, "set_poly_lr", set_rate)
    return steps
