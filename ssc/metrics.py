"""Mean intersection over union from confusion matrices that add up over images and shards, and average precision."""

from collections.abc import Sequence

import numpy as np
from numba import njit

from ssc.constants import IGNORE


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """Area under the precision-recall curve, 0..1: sum over the scores, from the highest, of the precision down to a
    score times what it adds to the recall. Photos of equal score come at once.

    Args:
        scores: (N,) of any range.
        truth: (N,) bool.

    Returns:
        None where nothing is true.
    """
    if not truth.any():
        return None
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # of each score
    precision = hits[last] / (last + 1)
    return float((precision * np.diff(hits[last], prepend=0)).sum() / hits[-1])


def guessed_precision(truth: np.ndarray, *, draws: int = 200, seed: int = 0) -> np.ndarray:
    """Mean `average_precision` over classes of orders of the photos drawn at random, one for each class.

    Args:
        truth: (N, C) bool; each class is true of some photo.
        draws: D, how often they are drawn.
        seed: of the draws.

    Returns:
        (D,) in 0..1; on average somewhat more than the share of photos that are true, the more so the fewer they are.
    """
    rng = np.random.default_rng(seed)
    drawn = [[average_precision(rng.permutation(len(own)), own) for own in truth.T] for _ in range(draws)]
    return np.mean(drawn, axis=1)


def confusion(
    target: np.ndarray, prediction: np.ndarray, *, num_classes: int, ignore_index: int = IGNORE
) -> np.ndarray:
    """Counts of (target, prediction) pairs over the pixels of one image, in one pass.

    Args:
        target, prediction: integer maps of equal shape.
        num_classes: number of classes with background.
        ignore_index: target value that takes no part.

    Returns:
        int64 (num_classes, num_classes), rows = target.

    Raises:
        ValueError: the shapes differ, or a counted pixel holds a class id out of range.
    """
    if target.shape != prediction.shape:
        raise ValueError(f"target {target.shape} and prediction {prediction.shape} differ in shape")
    # Of one type, lest the counting be compiled for each pair of types.
    maps = [labels.astype(np.int64).ravel() for labels in (target, prediction)]
    counts = np.zeros((num_classes, num_classes), np.int64)
    if not _count_pairs(*maps, ignore_index, counts):
        counted = maps[0] != ignore_index
        for name, values in zip(("target", "prediction"), maps, strict=True):
            low, high = values[counted].min(), values[counted].max()
            if not 0 <= low <= high < num_classes:
                raise ValueError(f"a {name} holds {low}..{high}, not 0..{num_classes - 1}")
    return counts


@njit(cache=True, nogil=True)
def _count_pairs(target, prediction, ignore_index, counts):
    """Add the pairs of two int64 (n,) to `counts`; False at the first that is out of range."""
    num_classes = len(counts)
    for pixel in range(target.size):
        truth, found = target[pixel], prediction[pixel]
        if truth == ignore_index:
            continue
        if not (0 <= truth < num_classes and 0 <= found < num_classes):
            return False
        counts[truth, found] += 1
    return True


class ConfusionMatrix:
    """Counts of (target, prediction) pairs over pixels.

    Args:
        num_classes: number of classes with background.
        ignore_index: target value that takes no part.

    Attributes:
        counts: int64 (num_classes, num_classes), rows = target.
    """

    def __init__(self, num_classes: int, ignore_index: int = IGNORE):
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.counts = np.zeros((num_classes, num_classes), np.int64)

    def update(self, target: np.ndarray, prediction: np.ndarray) -> None:
        """Add one image; arguments and errors are those of `confusion`."""
        self.counts += confusion(target, prediction, num_classes=self.num_classes, ignore_index=self.ignore_index)

    def iou(self) -> np.ndarray:
        """Intersection over union per class (num_classes,), NaN for a class that occurs in neither map."""
        hit = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - hit
        return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)

    def miou(self) -> float:
        """Mean of `iou` over the classes that occur; NaN if no pixel was counted."""
        iou = self.iou()
        return float(iou[~np.isnan(iou)].mean()) if (~np.isnan(iou)).any() else float("nan")

    def false_rates(self) -> tuple[float, float]:
        """Over- and under-activation: share of background pixels called foreground, of foreground called background."""
        background, foreground = self.counts[0], self.counts[1:]
        over = background[1:].sum() / max(1, background.sum())
        under = foreground[:, 0].sum() / max(1, foreground.sum())
        return float(over), float(under)


def summary(counts: np.ndarray, classes: Sequence[str]) -> dict:
    """JSON-ready figures of a confusion matrix: mIoU, IoU per class, over- and under-activation, pixels.

    Args:
        counts: (C + 1, C + 1) as in `ConfusionMatrix.counts`.
        classes: names of the C foreground classes.

    Returns:
        Fractions of 1; None stands for "no pixel to measure on".
    """
    matrix = ConfusionMatrix(len(classes) + 1)
    matrix.counts = np.asarray(counts, np.int64)
    over, under = matrix.false_rates()
    measured = matrix.counts.sum() > 0
    values = {name: _number(value) for name, value in zip(["background", *classes], matrix.iou(), strict=True)}
    return {
        "miou": _number(matrix.miou()),
        "iou": values,
        "over_activation": over if measured else None,
        "under_activation": under if measured else None,
        "pixels": int(matrix.counts.sum()),
    }


def image_miou(counts: np.ndarray) -> float | None:
    """Mean IoU of one image over the background and the classes of its ground truth.

    Other classes count only by the pixels that they take from these.

    Args:
        counts: the image's `confusion`.

    Returns:
        0..1; None without a counted pixel.
    """
    hit, shown = np.diag(counts), counts.sum(axis=1)
    union = shown + counts.sum(axis=0) - hit
    measured = shown > 0
    measured[0] = union[0] > 0  # Background may be in neither map.
    return float(np.mean(hit[measured] / union[measured])) if measured.any() else None


def threshold_counts(
    target: np.ndarray, best: np.ndarray, score: np.ndarray, *, num_classes: int, thresholds: np.ndarray
) -> np.ndarray:
    """Confusion matrices of "class `best` where score > threshold, else background" for all thresholds in one pass.

    Args:
        target: (H, W), 255 = ignored.
        best: (H, W), the foreground class of the largest score.
        score: (H, W), that score, float32.
        num_classes: number of classes with background.
        thresholds: (T,) ascending, float64.

    Returns:
        int64 (T, num_classes, num_classes).

    Raises:
        ValueError: the shapes differ, or a counted pixel holds a class id out of range.
    """
    if not target.shape == best.shape == score.shape:
        raise ValueError(f"target {target.shape}, best {best.shape} and score {score.shape} differ in shape")
    cells = np.zeros((len(thresholds) + 1, num_classes, num_classes), np.int64)
    maps = [labels.astype(np.int64).ravel() for labels in (target, best)]
    if not _count_levels(*maps, score.ravel(), thresholds, IGNORE, cells):
        raise ValueError(f"a counted pixel holds a class id that is not in 0..{num_classes - 1}")
    foreground = cells[:0:-1].cumsum(axis=0)[::-1]  # threshold t: pixels with level > t
    background = cells[:-1].cumsum(axis=0).sum(axis=2)  # ... and the others, whatever their best class
    result = foreground.copy()
    result[:, :, 0] += background
    return result


@njit(cache=True, nogil=True)
def _count_levels(target, best, score, thresholds, ignore_index, cells):
    """Add pixels (n,) to `cells` by (level, target, best); False at the first class id out of range.

    A pixel is foreground for the first `level` thresholds: those below its score.
    """
    num_classes = cells.shape[1]
    for pixel in range(target.size):
        truth, found = target[pixel], best[pixel]
        if truth == ignore_index:
            continue
        if not (0 <= truth < num_classes and 0 <= found < num_classes):
            return False
        value, level = score[pixel], 0
        for k in range(thresholds.size):  # Vectorised, unlike a bisection.
            level += thresholds[k] < value
        cells[level, truth, found] += 1
    return True


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
