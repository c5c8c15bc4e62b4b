"""Superpixels: graph-based segmentation, merged by selective-search similarity to a fixed number of regions.

Two published steps follow one another. Felzenszwalb & Huttenlocher, "Efficient graph-based image segmentation"
(IJCV 2004), cuts the image into a few hundred regions along its colour edges. The grouping of Uijlings et al.,
"Selective search for object recognition" (IJCV 2013, section 3.2), then merges the most similar pair of
neighbours until at most `max_regions` remain.

The graph of the first step is 8-connected, so a component may hang together by a pixel corner alone. Such
components are cut into their 4-connected parts before small regions are absorbed, and from there on only
regions that share a pixel side are merged: every region returned is 4-connected.

The kernels are compiled by Numba and release the interpreter lock: threads may work on one image each.
"""

import numpy as np

from ssc.superpixels.felzenszwalb import (
    absorb_small,
    compact,
    edge_costs,
    grow,
    smooth_image,
    sorted_edges,
    split_at_corners,
)
from ssc.superpixels.selective_search import extents, histograms, merge, neighbours


def superpixels(
    image: np.ndarray,
    max_regions: int = 64,
    *,
    scale: float = 50.0,
    sigma: float = 0.8,
    min_size: int | None = None,
) -> np.ndarray:
    """Segment an image into at most `max_regions` 4-connected regions that follow its colour edges.

    Args:
        image: uint8 (H, W, 3), RGB.
        max_regions: upper bound on the number of regions; where the first step finds no more, nothing is merged.
        scale: preference for large components in the first step, in grey levels times pixels (the paper's k).
        sigma: standard deviation of the Gaussian that smooths the image, in pixels.
        min_size: regions smaller than this, in pixels, are absorbed before the second step. By default a tenth
            of the mean size of `max_regions` regions: the second step then starts from at most ten times as
            many regions as it may leave, at any image size, and specks do not take the place of objects.

    Returns:
        int32 (H, W), labels 0..n-1, numbered by their first pixel in reading order.

    Raises:
        ValueError: image of another type or shape, no pixels, or a parameter out of its range.
    """
    _check_rgb(image)
    _check_parameters(max_regions, scale, sigma, min_size)
    height, width = image.shape[:2]
    if min_size is None:
        min_size = height * width // (10 * max_regions)
    smooth = smooth_image(image, sigma)
    costs = edge_costs(smooth)
    order = sorted_edges(costs)
    regions = split_at_corners(grow(costs, order, width, scale / 255.0), height, width)
    absorb_small(regions, order, width, min_size)
    labels, count = compact(regions)
    labels = labels.reshape(height, width)

    if count > max_regions:
        colour, texture = histograms(image, smooth, labels, count)
        groups = merge(colour, texture, *extents(labels, count), neighbours(labels, count), max_regions)
        labels = compact(groups)[0][labels]
    return labels


def regions_from_rgb(png: np.ndarray) -> np.ndarray:
    """Decode a published superpixel picture, in which a pixel's label is R + 256 G + 65536 B.

    Args:
        png: uint8 (H, W, 3).

    Returns:
        int32 (H, W), labels 0..n-1 in the order of the labels in the file.

    Raises:
        ValueError: picture of another type or shape.
    """
    _check_rgb(png)
    red, green, blue = np.moveaxis(png.astype(np.int32), -1, 0)
    _, labels = np.unique(red + 256 * green + 65536 * blue, return_inverse=True)
    return labels.reshape(png.shape[:2]).astype(np.int32)


def _check_parameters(max_regions, scale, sigma, min_size):
    if max_regions < 1:
        raise ValueError(f"max_regions is {max_regions}; ask for at least 1 superpixel")
    if not 0 < scale < np.inf:
        raise ValueError(f"superpixel scale is {scale}; it must be a positive number")
    if not 0 < sigma < np.inf:
        raise ValueError(f"superpixel sigma is {sigma}; it must be a positive number of pixels")
    if min_size is not None and min_size < 1:
        raise ValueError(f"superpixel min_size is {min_size}; it must be at least 1 pixel")


def _check_rgb(image):
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f"expected a non-empty uint8 RGB image (H, W, 3), got {image.dtype} {image.shape}; "
            "convert the image to 8-bit RGB"
        )
