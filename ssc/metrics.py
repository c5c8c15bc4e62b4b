"""Mean intersection over union from confusion matrices that add up over images and shards."""

from collections.abc import Sequence

import numpy as np

from ssc.conventions import IGNORE


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
        """Add one image: integer maps of equal shape.

        Raises:
            ValueError: the shapes differ, or a counted pixel holds a class id out of range.
        """
        if target.shape != prediction.shape:
            raise ValueError(f"target {target.shape} and prediction {prediction.shape} differ in shape")
        counted = target != self.ignore_index
        target, prediction = target[counted].astype(np.int64), prediction[counted].astype(np.int64)
        for name, values in (("target", target), ("prediction", prediction)):
            if values.size and not 0 <= values.min() <= values.max() < self.num_classes:
                raise ValueError(f"a {name} holds {values.min()}..{values.max()}, not 0..{self.num_classes - 1}")
        cells = np.bincount(target * self.num_classes + prediction, minlength=self.num_classes**2)
        self.counts += cells.reshape(self.counts.shape)

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


def threshold_counts(
    target: np.ndarray, best: np.ndarray, score: np.ndarray, *, num_classes: int, thresholds: np.ndarray
) -> np.ndarray:
    """Confusion matrices of "class `best` where score > threshold, else background" for all thresholds in one pass.

    Args:
        target: (H, W), 255 = ignored.
        best: (H, W), the foreground class of the largest score.
        score: (H, W), that score.
        num_classes: number of classes with background.
        thresholds: (T,) ascending.

    Returns:
        int64 (T, num_classes, num_classes).
    """
    counted = target != IGNORE
    target, best = target[counted].astype(np.int64), best[counted].astype(np.int64)
    # A pixel is foreground for the first `level` thresholds: those below its score.
    level = np.searchsorted(thresholds, score[counted], side="left")
    shape = (len(thresholds) + 1, num_classes, num_classes)
    cells = np.bincount((level * num_classes + target) * num_classes + best, minlength=np.prod(shape)).reshape(shape)
    foreground = cells[:0:-1].cumsum(axis=0)[::-1]  # threshold t: pixels with level > t
    background = cells[:-1].cumsum(axis=0).sum(axis=2)  # ... and the others, whatever their best class
    result = foreground.copy()
    result[:, :, 0] += background
    return result


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
