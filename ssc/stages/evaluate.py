"""mIoU of label maps against masks, and the two baselines that need no network."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ssc.archive import Archive
from ssc.constants import IGNORE
from ssc.data.index import Row, read_index
from ssc.interop.folders import label_maps
from ssc.metrics import ConfusionMatrix, confusion, image_miou, summary
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
        images: table of the images' mIoU, see `write_scores`.
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
    write_scores(images, {row.id: scores[row.id] for row in table.split(split) if row.id in scores})
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


def write_scores(path: str | Path, scores: Mapping[str, float | None]) -> None:
    """Write the mIoU of images (0..1) by their ids as a table: `id` and, in percent, `miou`, empty where it is None."""
    percent = 100 * pd.Series(scores, dtype=float)
    write_table(path, percent.rename_axis("id").reset_index(name="miou"), decimals=2)


def _undecided_as_background(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == IGNORE, 0, labels)


def evaluate_folders(predictions: str | Path, masks: str | Path, *, num_classes: int | None = None) -> dict:
    """mIoU of two folders (or shard archives) of label PNGs, matched by file name; one image in memory at a time.

    Args:
        predictions, masks: folders of `<id>.png`, or zip archives of them. 255 in a mask is ignored; predictions
            without a mask take no part.
        num_classes: classes with background; None takes the largest id at a counted pixel plus one.

    Returns:
        `miou` and `iou` (by class id, 0 named `background`) as fractions of 1, and the number of `images`.

    Raises:
        InputError: no mask, none that shows a class, a mask without a prediction, a file that is no label map,
            different sizes, or a counted class id out of range (255 is one in any prediction).
    """
    own, truth = label_maps(predictions), label_maps(masks)
    if not truth:
        raise InputError(f"{masks} holds no PNG masks; name the folder or archive of <id>.png files.")
    missing = sorted(set(truth) - set(own))
    if missing:
        raise InputError(f"{predictions} lacks {len(missing)} of {len(truth)} predictions; the first is {missing[0]}.")
    matrix = ConfusionMatrix(IGNORE if num_classes is None else num_classes)
    for name in sorted(truth):
        target, prediction = truth[name](), own[name]()
        if target.ndim != 2:
            raise InputError(f"{name} in {masks} is a colour picture; a mask holds one class id per pixel.")
        if target.shape != prediction.shape:
            raise InputError(f"{name}: the prediction is {prediction.shape}, its mask {target.shape}.")
        try:
            matrix.update(target, prediction)
        except ValueError as error:
            raise InputError(f"{name}: {error}.") from None
    if not matrix.counts[1:].any():
        raise InputError(
            f"No mask in {masks} shows a class, only background (0) or what is ignored ({IGNORE}); there is nothing to "
            "measure on: write the ids of the classes into them."
        )
    if num_classes is None:
        seen = np.flatnonzero(matrix.counts.sum(axis=0) + matrix.counts.sum(axis=1))
        num_classes = 1 + int(seen.max(initial=0))
    figures = summary(matrix.counts[:num_classes, :num_classes], [str(k) for k in range(1, num_classes)])
    return {"miou": figures["miou"], "iou": figures["iou"], "images": len(truth)}


def _labels_of_step(archive: Archive, step: str, row: Row, target: np.ndarray) -> np.ndarray:
    return archive.labels(f"{step}/{row.id}")
