"""The rules `count_seeds` and `evaluate_seeds`: mIoU of what a background threshold makes of the CAMs."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ssc.archive import Archive
from ssc.cams import full_cams
from ssc.data.index import Row, read_index
from ssc.metrics import confusion, image_miou, summary, threshold_counts
from ssc.runtime.files import read_json, write_json
from ssc.runtime.progress import track
from ssc.seeds import strongest_class
from ssc.stages.evaluate import write_scores


def count_seeds(
    *,
    index: str | Path,
    shard: str,
    cams: str | Path,
    masks: str | Path,
    output: str | Path,
    thresholds: Sequence[float],
) -> None:
    """Confusion matrices of the seeds of one shard over a sweep of background thresholds, as JSON.

    A pixel takes the present class with the largest CAM where that exceeds the threshold, else background. Images
    without a mask take no part.
    """
    table = read_index(index)
    thresholds = np.asarray(thresholds, np.float64)
    num_classes = table.num_classes + 1
    counts = np.zeros((len(thresholds), num_classes, num_classes), np.int64)
    images = 0
    rows = track(table.shard("train", shard), f"seeds {shard}")
    for _, target, best, score in _strongest(rows, Archive(cams), Archive(masks)):
        counts += threshold_counts(target, best, score, num_classes=num_classes, thresholds=thresholds)
        images += 1
    write_json(output, {"thresholds": thresholds.tolist(), "images": images, "counts": counts.tolist()})


def score_images(
    *,
    index: str | Path,
    cams: Sequence[str | Path],
    masks: Sequence[str | Path],
    output: str | Path,
    threshold: float,
) -> None:
    """Write the mIoU of each training image's seeds at one background threshold as a table.

    Args:
        index: the index.
        cams, masks: shard archives of the training split; images without a mask take no part.
        output: TSV to write.
        threshold: see `count_seeds`.
    """
    table = read_index(index)
    rows, scores = track(table.split("train"), "seeds by image"), {}
    for row, target, best, score in _strongest(rows, Archive(*cams), Archive(*masks)):
        seeds = np.where(score > threshold, best, 0)
        scores[row.id] = image_miou(confusion(target, seeds, num_classes=table.num_classes + 1))
    write_scores(output, scores)


def _strongest(
    rows: Iterable[Row], cams: Archive, masks: Archive
) -> Iterator[tuple[Row, np.ndarray, np.ndarray, np.ndarray]]:
    """Of the images with a mask: the mask, the class with the largest CAM, and that CAM, each (H, W)."""
    for row in rows:
        if row.id in masks:
            target = masks.labels(row.id)
            arrays = cams.arrays(row.id)
            classes = arrays["classes"].astype(np.int64)
            yield row, target, *strongest_class(classes, full_cams(arrays, target.shape))


def summarise_seeds(*, index: str | Path, shards: Sequence[str | Path], output: str | Path, threshold: float) -> None:
    """Add the shards' counts up: the mIoU curve over thresholds, its best point, and the reported threshold."""
    classes = read_index(index).classes
    parts = [read_json(path) for path in shards]
    thresholds = parts[0]["thresholds"]
    counts = sum(np.asarray(part["counts"], np.int64) for part in parts)
    curve = [summary(matrix, classes) for matrix in counts]
    scores = [point["miou"] if point["miou"] is not None else -1 for point in curve]
    best, fixed = int(np.argmax(scores)), thresholds.index(threshold)
    result = {
        "stage": "seeds",
        "split": "train",
        "images": sum(part["images"] for part in parts),
        "chosen_by_masks": "threshold",
        "threshold": thresholds[best],
        **curve[best],
        "at_fixed_threshold": {"threshold": thresholds[fixed], **curve[fixed]},
        "curve": [{"threshold": t, "miou": point["miou"]} for t, point in zip(thresholds, curve, strict=True)],
    }
    write_json(output, result)
