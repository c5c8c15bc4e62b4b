"""The regions of single images: boundary IoU, IoU by size, and how sure a difference of mean IoU is."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_array

from ssc.constants import IGNORE

COUNTS = ("pixels", "area", "intersection", "union", "boundary_intersection", "boundary_union")
"""What `region_counts` counts for a class in an image."""

SIZES = {"small": (0.0, 0.05), "medium": (0.05, 0.25), "large": (0.25, 1.0)}
"""Limits of a region's share of its image, the upper one included."""

_BAND = 0.02  # width of a boundary over the image's diagonal
_DRAWN = 50  # resampled sets at once


def region_counts(target: np.ndarray, prediction: np.ndarray, *, ignore_index: int = IGNORE) -> dict[int, np.ndarray]:
    """Counts of pixels of one image by class, which add up over images to mean IoU, boundary IoU and IoU by size.

    The boundary of a class (Cheng et al., CVPR 2021) is the part of its region that is nearer to the region's outside,
    or to the image's border, than 2 % of the image's diagonal. Ignored pixels count nowhere; where boundaries lie they
    belong to the region next to them, else VOC's void, which is drawn over the contours, would move these.

    Args:
        target, prediction: integer maps (H, W).
        ignore_index: target value that takes no part.

    Returns:
        For each class that either map has at a counted pixel, int64 (6,), as `COUNTS` names them: the image's counted
        pixels, the target's region, and intersection and union of the regions and of their boundaries.

    Raises:
        ValueError: the shapes differ.
    """
    if target.shape != prediction.shape:
        raise ValueError(f"target {target.shape} and prediction {prediction.shape} differ in shape")
    counted = target != ignore_index
    if counted.any() and not counted.all():
        nearest = ndimage.distance_transform_edt(~counted, return_distances=False, return_indices=True)
        target = target[tuple(nearest)]
    width = max(1, round(_BAND * float(np.hypot(*target.shape))))
    pixels, found = np.count_nonzero(counted), {}
    for label in np.union1d(target[counted], prediction[counted]):
        regions = target == label, prediction == label
        counts = [pixels, np.count_nonzero(regions[0] & counted)]
        for first, second in (regions, [region & ~_eroded(region, width) for region in regions]):
            counts += [np.count_nonzero(first & second & counted), np.count_nonzero((first | second) & counted)]
        found[int(label)] = np.array(counts, np.int64)
    return found


def _eroded(region: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a region (H, W) whose square of 2 `width` + 1 pixels lies in it; outside the image is no region."""
    return ndimage.minimum_filter(region, size=2 * width + 1, mode="constant", cval=0)


def region_figures(classes: np.ndarray, counts: np.ndarray) -> dict[str, float | None]:
    """Boundary IoU, mean over the classes, and mean IoU of the foreground regions of each size.

    An IoU is that of the sums over images. Of a size those regions of the target count whose share of the image's
    counted pixels lies within its limits.

    Args:
        classes: ids (R,) of the regions of all images.
        counts: int64 (R, 6), see `COUNTS`.

    Returns:
        `boundary`, `small`, `medium` and `large`, in 0..1; None where there is no region.
    """
    pixels, area, intersection, union, *boundary = np.reshape(counts, (-1, len(COUNTS))).T
    share = area / np.maximum(1, pixels)
    figures = {"boundary": _mean_iou(classes, *boundary)}
    for name, (low, high) in SIZES.items():
        own = (share > low) & (share <= high) & (classes > 0)
        figures[name] = _mean_iou(classes[own], intersection[own], union[own])
    return figures


def _mean_iou(classes: np.ndarray, intersection: np.ndarray, union: np.ndarray) -> float | None:
    sums = [np.bincount(classes, weights=values) for values in (intersection, union)]
    occurs = sums[1] > 0
    return float(np.mean(sums[0][occurs] / sums[1][occurs])) if occurs.any() else None


def bootstrap_interval(
    own: Sequence[tuple[csr_array, csr_array]],
    other: Sequence[tuple[csr_array, csr_array]],
    *,
    samples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % of the differences of mean IoU that arise if the images are drawn anew, with replacement, for both alike.

    Args:
        own, other: for each of several random seeds, whose differences are averaged, intersections and unions
            (images, classes); all of the same images in the same order.
        samples: how often the images are drawn.
        seed: of the draws.

    Returns:
        Lower and upper limit, in -1..1.
    """
    images = own[0][0].shape[0]
    rng, gains = np.random.default_rng(seed), []
    for start in range(0, samples, _DRAWN):
        drawn = rng.multinomial(images, np.full(images, 1 / images), size=min(_DRAWN, samples - start))
        drawn = drawn.astype(np.float64)
        gains.append(
            np.mean([_drawn_miou(drawn, *a) - _drawn_miou(drawn, *b) for a, b in zip(own, other, strict=True)], axis=0)
        )
    low, high = np.quantile(np.concatenate(gains), [0.025, 0.975])
    return float(low), float(high)


def _drawn_miou(drawn: np.ndarray, intersection: csr_array, union: csr_array) -> np.ndarray:
    """Mean IoU (S,) of sets that hold each image (S, images) times."""
    hits, unions = (drawn @ counts for counts in (intersection, union))
    iou = np.divide(hits, unions, out=np.full(hits.shape, np.nan), where=unions > 0)
    return np.nanmean(iou, axis=1)
