"""mIoU of label maps against masks, and the two baselines that need no network."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ssc.archive import Archive
from ssc.constants import IGNORE
from ssc.data.index import Row, read_index
from ssc.metrics import confusion, image_miou, summary
from ssc.regions import COUNTS, region_counts, region_figures
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_json, write_json, write_table
from ssc.runtime.progress import track


def count_labels(
    *,
    index: str | Path,
    split: str,
    shard: str,
    stage: str,
    labels: str | Path,
    masks: str | Path,
    output: str | Path,
    steps: Sequence[str] = (),
    step_labels: str | Path | None = None,
) -> None:
    """Write the confusion matrices of one shard of a stage's label maps, of the steps to them and of the baselines,
    and the mIoU of each image, as JSON.

    Baselines: every pixel background; every pixel the present class (the first of the image's labels). Pixels that a
    label map leaves undecided (255, as imported pseudo-labels may) count as background [R].

    Args:
        index, split, shard: the images; those without a mask take no part.
        stage: name of the stage in the metrics.
        labels, masks: the shard's archives of label maps and of ground truth.
        output: JSON file: `counts`, a matrix by name of the stage, step or baseline, and by image id `miou` and
            `regions`, the stage's `ssc.regions.region_counts`.
        steps: names of the test-time steps that led to the label maps, the last being the maps themselves.
        step_labels: the shard's archive of `<step>/<image id>.png` for the steps before the last.

    Raises:
        InputError: an archive lacks an image, or a label map's size differs from its mask's.
    """
    table = read_index(index)
    predicted, truth, earlier = Archive(labels), Archive(masks), Archive(*([step_labels] if step_labels else []))
    predictors: dict[str, Callable[[Row, np.ndarray], np.ndarray]] = {
        stage: lambda row, target: _undecided_as_background(predicted.labels(row.id)),
        **{step: partial(_labels_of_step, earlier, step) for step in steps[:-1]},
        "all background": lambda row, target: np.zeros_like(target),
        "image label": lambda row, target: np.full_like(target, row.labels[0] if row.labels else 0),
    }
    num_classes = table.num_classes + 1
    totals = {name: np.zeros((num_classes, num_classes), np.int64) for name in predictors}
    scores, regions = {}, {}
    for row in track([row for row in table.shard(split, shard) if row.id in truth], f"{stage} {shard}"):
        target = truth.labels(row.id)
        for name, predict in predictors.items():
            labels_of_row = predict(row, target)
            if labels_of_row.shape != target.shape:
                raise InputError(f"{row.id}: the {stage} map is {labels_of_row.shape}, its mask {target.shape}.")
            counts = confusion(target, labels_of_row, num_classes=num_classes)
            totals[name] += counts
            if name == stage:
                scores[row.id] = image_miou(counts)
                regions[row.id] = as_lists(region_counts(target, labels_of_row))
    found = {name: counts.tolist() for name, counts in totals.items()}
    write_json(output, {"counts": found, "miou": scores, "regions": regions})


def summarise_labels(
    *,
    index: str | Path,
    split: str,
    stage: str,
    shards: Sequence[str | Path],
    output: str | Path,
    images: str | Path,
    regions: str | Path,
    steps: Sequence[str] = (),
    chosen_by_masks: str | None = None,
) -> None:
    """Add the shards' counts up: the figures of a stage, of the steps to it and of the baselines as JSON, and the
    mIoU of each image.

    Args:
        index, split, stage, steps: see `count_labels`.
        shards: its JSON files, of all shards.
        output: JSON file.
        images: table of the images' mIoU, see `write_image_miou`.
        regions: table of the images' regions, see `summarise_regions`.
        chosen_by_masks: what masks have chosen of the stage, such as the epoch of its training; None for nothing.

    Raises:
        InputError: the split has no image.
    """
    table = read_index(index)
    if not table.split(split):
        raise InputError(f"Split {split!r} has no image to evaluate; set prediction.split to one that has.")
    parts = [read_json(path) for path in shards]
    scores = {name: miou for part in parts for name, miou in part["miou"].items()}
    counts = {name: sum(np.asarray(part["counts"][name], np.int64) for part in parts) for name in parts[0]["counts"]}
    figures = {name: summary(matrix, table.classes) for name, matrix in counts.items()}
    own = figures[stage]
    write_image_miou(images, {row.id: scores[row.id] for row in table.split(split) if row.id in scores})
    write_json(
        output,
        {
            "stage": stage,
            "split": split,
            "images": len(scores),
            "chosen_by_masks": chosen_by_masks,
            **own,
            **summarise_regions(parts, table.split(split), regions),
            "steps": {step: figures.get(step, own)["miou"] for step in steps},
            "baselines": {name: figures[name]["miou"] for name in ("all background", "image label")},
        },
    )


def as_lists(counts: Mapping[int, np.ndarray]) -> dict[int, list[int]]:
    """Counts of the regions of an image, as JSON has them."""
    return {label: values.tolist() for label, values in counts.items()}


def summarise_regions(parts: Sequence[Mapping], rows: Sequence[Row], output: str | Path) -> dict[str, float | None]:
    """Write the regions of all images as a table: `id`, `class` (its id, 0 is background) and `ssc.regions.COUNTS`.

    Args:
        parts: of the shards, what their JSON files hold: `regions` by image id.
        rows: the images, in the order of the table.
        output: TSV to write.

    Returns:
        The figures of `ssc.regions.region_figures`.
    """
    found = {name: regions for part in parts for name, regions in part["regions"].items()}
    lines = [
        (row.id, int(label), *counts) for row in rows if row.id in found for label, counts in found[row.id].items()
    ]
    table = pd.DataFrame(lines, columns=["id", "class", *COUNTS])
    write_table(output, table)
    return region_figures(table["class"].to_numpy(np.int64), table[[*COUNTS]].to_numpy(np.int64))


def write_image_miou(path: str | Path, scores: Mapping[str, float | None]) -> None:
    """Write the mIoU of images (0..1) by their ids as a table: `id` and, in percent, `miou`, empty where it is None."""
    percent = 100 * pd.Series(scores, dtype=float)
    write_table(path, percent.rename_axis("id").reset_index(name="miou"), decimals=2)


def _undecided_as_background(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == IGNORE, 0, labels)


def _labels_of_step(archive: Archive, step: str, row: Row, target: np.ndarray) -> np.ndarray:
    return archive.labels(f"{step}/{row.id}")
