"""Seeds and confident labels: what background thresholds make of the CAMs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ssc.constants import IGNORE
from ssc.crf import DenseCRF

if TYPE_CHECKING:  # the threshold of a histogram needs no PyTorch, whose import takes longer than to find it
    import torch

_POWER = 1.5  # of the divergence by which values differ from the mean of their group


def argmax_labels(cams: torch.Tensor, threshold: float) -> np.ndarray:
    """Position of the largest of [threshold, cams] at each pixel: (K, H, W) to int64 (H, W) in 0..K, 0 is background.

    Ties go to the background.
    """
    if len(cams) == 0:
        return np.zeros(cams.shape[1:], np.int64)
    values, positions = cams.max(dim=0)
    return ((positions + 1) * (values > threshold)).numpy()


def background_threshold(histogram: np.ndarray) -> float:
    """The threshold that splits values into two groups which differ least from their means, found without masks.

    They differ by a Bregman divergence, the beta divergence at 1.5: sum of x^1.5 - m^1.5 over the values x of a group
    with mean m, up to a factor. At 2 this is Otsu's criterion, in the limit 1 that of Li and Lee (1993); docs/method.md
    compares them.

    Args:
        histogram: (B,), B >= 2, how often a value falls into each of B bins of equal width from 0 to 1; any scale.

    Returns:
        A border k / B, 0 < k < B; the lowest of several.

    Raises:
        ValueError: the histogram is empty.
    """
    counts = np.asarray(histogram, np.float64)
    if not counts.sum() > 0:
        raise ValueError("the histogram is empty")
    sums = counts * (np.arange(len(counts)) + 0.5) / len(counts)
    gain = np.zeros(len(counts) - 1)
    for way in (1, -1):  # below a border, from the lowest up; above it, from the highest down
        count, total = (np.cumsum(part[::way])[::way] for part in (counts, sums))
        count, total = (part[:-1] if way == 1 else part[1:] for part in (count, total))
        mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
        gain += count * mean**_POWER
    return float((np.argmax(gain) + 1) / len(counts))


def strongest_class(classes: np.ndarray, cams: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """At each pixel the class with the largest CAM and that CAM; class 0 and 0.0 for an image without labels.

    Args:
        classes: ids (K,).
        cams: (K, H, W) in 0..1.

    Returns:
        Class ids (H, W) and values (H, W) float32 in 0..1.
    """
    if not len(classes):
        return np.zeros(cams.shape[1:], np.int64), np.zeros(cams.shape[1:], np.float32)
    values, positions = cams.max(dim=0)
    return classes[positions.numpy()], values.numpy()


def confident_labels(
    image: np.ndarray,
    classes: np.ndarray,
    cams: torch.Tensor,
    *,
    foreground_threshold: float = 0.3,
    background_threshold: float = 0.1,
    confidence: float = 0.7,
    crf: Mapping = {},
) -> np.ndarray:
    """Labels that two passes of the dense CRF agree on (IRN labels).

    One pass starts from the argmax with a high background threshold and says where foreground is certain, the other
    from one with a low threshold and says where background is.

    Args:
        image: uint8 (H, W, 3).
        classes: ids (K,) of the classes present.
        cams: (K, H, W) in 0..1.
        foreground_threshold, background_threshold: those of the two passes.
        confidence: probability of the labels that a pass starts from.
        crf: `iterations`, and `gaussian` and `bilateral` as `ssc.crf.DenseCRF` has them; those of the paper if absent.

    Returns:
        int64 (H, W): class id where the first pass says foreground, 0 where both say background, else 255.
    """
    if len(classes) == 0:
        return np.zeros(image.shape[:2], np.int64)
    kernels = {key: value for key, value in crf.items() if key != "iterations"}
    thresholds = (foreground_threshold, background_threshold)
    foreground, background = DenseCRF(image, **kernels).refine_labels(
        np.stack([argmax_labels(cams, threshold) for threshold in thresholds]),
        num_labels=len(classes) + 1,
        confidence=confidence,
        iterations=crf.get("iterations", 10),
    )
    labels = np.concatenate([[0], classes])[foreground]
    labels[foreground == 0] = IGNORE
    labels[(foreground == 0) & (background == 0)] = 0
    return labels
