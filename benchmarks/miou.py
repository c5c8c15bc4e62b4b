"""Counting for mIoU: `ssc.metrics.ConfusionMatrix` against torchmetrics.

    python -m benchmarks.miou

torchmetrics is a comparison only: `pip install --group bench`, or `pip install torchmetrics`.
"""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch

from benchmarks.harness import Figure, Row, interleaved, run
from benchmarks.scenes import VOC_PHOTO, cells
from ssc.constants import IGNORE
from ssc.metrics import ConfusionMatrix

CLASSES = 21


def label_maps(count: int, size: tuple[int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of a mask with ignored boundaries and a prediction, int64 (H, W): regions of a few classes each."""
    pairs = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        partition = cells(*size, 12, seed=seed)
        target = rng.integers(0, CLASSES, 12)[partition]
        prediction = np.roll(target, 5, axis=1)
        target[:, 1:][partition[:, 1:] != partition[:, :-1]] = IGNORE
        pairs.append((target, prediction))
    return pairs


def count(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Confusion matrix (C, C) of all pairs, ours."""
    matrix = ConfusionMatrix(CLASSES)
    for target, prediction in pairs:
        matrix.update(target, prediction)
    return matrix.counts


def count_by_torchmetrics(pairs: list[tuple[torch.Tensor, torch.Tensor]], *, validate: bool) -> np.ndarray:
    """The same by torchmetrics' Jaccard index, which checks its arguments unless told not to."""
    from torchmetrics.classification import MulticlassJaccardIndex

    metric = MulticlassJaccardIndex(CLASSES, ignore_index=IGNORE, validate_args=validate)
    for target, prediction in pairs:
        metric.update(prediction, target)
    return metric.confmat.numpy()


def measure(*, quick: bool) -> Row:
    """Counting for mIoU: numba's one pass against torchmetrics."""
    pairs = label_maps(2 if quick else 20, VOC_PHOTO)
    count(pairs[:1])
    functions: dict[str, Callable[[], np.ndarray]] = {}
    present = find_spec("torchmetrics") is not None
    if present:
        tensors = [(torch.from_numpy(target), torch.from_numpy(prediction)) for target, prediction in pairs]
        functions["torchmetrics"] = lambda: count_by_torchmetrics(tensors, validate=True)
        functions["torchmetrics, unchecked"] = lambda: count_by_torchmetrics(tensors, validate=False)
    functions["ours"] = lambda: count(pairs)
    seconds, counts = interleaved(functions, rounds=5)
    milliseconds = {name: 1000 * value / len(pairs) for name, value in seconds.items()}
    figures = [Figure("ours, per image", milliseconds["ours"], "ms")]
    if present:
        same = np.array_equal(counts["ours"], counts["torchmetrics"])
        figures = [
            Figure(
                "times faster", seconds["torchmetrics"] / seconds["ours"], at_least=5,
                parts=milliseconds, parts_unit="ms per image",
            ),
            Figure("times faster than without its checks", seconds["torchmetrics, unchecked"] / seconds["ours"]),
            Figure("equal counts", 100.0 * same, "%", at_least=100),
        ]  # fmt: skip
    return Row(
        "miou",
        f"{len(pairs)} label maps of {VOC_PHOTO[1]} x {VOC_PHOTO[0]}, {CLASSES} classes: torchmetrics, ours",
        figures,
        ""
        if present
        else "torchmetrics is not installed, so that nothing is compared: .venv/bin/pip install torchmetrics.",
    )


if __name__ == "__main__":
    run(measure)
