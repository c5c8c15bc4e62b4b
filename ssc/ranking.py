"""Which images a report shows: the mIoU of each image, and the best, median and worst of a ranking."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from ssc.conventions import IGNORE
from ssc.files import read_tsv, write_tsv

Item = TypeVar("Item")


def image_miou(target: np.ndarray, prediction: np.ndarray) -> float | None:
    """Mean IoU of one image over the background and the classes of its ground truth.

    Other classes count only by the pixels that they take from these.

    Args:
        target: ground truth (H, W), 255 = ignored.
        prediction: labels (H, W).

    Returns:
        0..1; None without a counted pixel.
    """
    counted = target != IGNORE
    target, prediction = target[counted], prediction[counted]
    iou = []
    for label in np.union1d(target, [0]):
        own, found = target == label, prediction == label
        # Background may be in neither map.
        if union := np.count_nonzero(own | found):
            iou.append(np.count_nonzero(own & found) / union)
    return float(np.mean(iou)) if iou else None


def write_scores(path: str | Path, scores: Mapping[str, float | None]) -> None:
    """Write the mIoU of images (0..1) by their ids as TSV, in percent; None leaves the cell empty."""
    cells = ([name, "" if miou is None else f"{100 * miou:.2f}"] for name, miou in scores.items())
    write_tsv(path, ["id", "miou"], cells)


def read_scores(path: str | Path) -> dict[str, float]:
    """mIoU in percent by image id, of the images that have one, from a file of `write_scores`.

    Raises:
        InputError: the file is absent.
    """
    return {row["id"]: float(row["miou"]) for row in read_tsv(path) if row["miou"]}


def extremes(ranking: Sequence[Item], count: int) -> list[Item]:
    """A third each of the first, of the middle and of the last items, in their order; all if there are no more.

    What does not divide by three goes to the middle first, then to both ends.
    """
    if len(ranking) <= count:
        return list(ranking)
    ends = (count + 1) // 3
    middle = count - 2 * ends
    start = (len(ranking) - middle) // 2
    return [*ranking[:ends], *ranking[start : start + middle], *ranking[len(ranking) - ends :]]
