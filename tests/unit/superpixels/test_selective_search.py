"""Grouping of regions against definitions computed anew from masks."""

from fractions import Fraction

import numpy as np
from scipy import ndimage
from skimage.color import rgb2hsv

from ssc.superpixels import selective_search as grouping
from ssc.superpixels import superpixels

UNMERGED = 10**6  # more regions than any image here has pixels: the second step has nothing to do


def blobs(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth colour patches with noise: a picture with regions of all sizes and no two equal edges."""
    generator = np.random.default_rng(seed)
    patches = ndimage.gaussian_filter(generator.normal(size=(height, width, 3)), (3, 3, 0)) * 400
    return np.clip(patches + generator.normal(128, 6, size=patches.shape), 0, 255).astype(np.uint8)


def in_reading_order(labels: np.ndarray) -> np.ndarray:
    """The same partition, numbered by first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].reshape(labels.shape)


def smoothed(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image * (1 / 255), (sigma, sigma, 0), mode="reflect")


def test_colour_bins_equal_exact_hsv():
    colours = np.random.default_rng(4).integers(0, 256, (300, 3))
    colours[:4] = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [7, 7, 7]]
    for red, green, blue in colours.tolist():
        high, low = max(red, green, blue), min(red, green, blue)
        hue = saturation = Fraction(0)
        if high > low:
            saturation = Fraction(high - low, high)
            hue = {
                red: Fraction(green - blue, high - low) % 6,
                green: 2 + Fraction(blue - red, high - low),
                blue: 4 + Fraction(red - green, high - low),
            }[high] / 6
        np.testing.assert_allclose(
            [float(hue % 1), float(saturation)],
            rgb2hsv(np.uint8([[[red, green, blue]]]))[0, 0, :2],
            atol=1e-12,
        )
        expected = (int(hue % 1 * 25), min(int(saturation * 25), 24), high * 25 // 256)
        assert grouping.hsv_bins(red, green, blue) == expected


def slow_histograms(image, mask):
    """Colour and texture histograms of the pixels of a mask, each summing to 1, from their definitions."""
    bins = np.array([[grouping.hsv_bins(*map(int, pixel)) for pixel in row] for row in image])
    colour = [np.bincount(bins[mask][:, channel], minlength=25) for channel in range(3)]
    padded = np.pad(smoothed(image, 0.8), ((1, 1), (1, 1), (0, 0)), mode="edge")
    dx = padded[1:-1, 2:] - padded[1:-1, :-2]
    dy = padded[2:, 1:-1] - padded[:-2, 1:-1]
    texture = []
    for channel in range(3):
        for angle in np.arange(8) * np.pi / 4:
            response = (np.cos(angle) * dx + np.sin(angle) * dy)[mask][:, channel].clip(0, 0.999)
            texture.append(np.histogram(response, 10, (0, 1))[0])
    return [np.concatenate(part) / np.sum(part) for part in (colour, texture)]


def test_region_statistics_equal_slow_formulation():
    image = blobs(7, 20, 26)
    labels = superpixels(image, max_regions=UNMERGED, scale=10.0, min_size=8)
    count = labels.max() + 1
    histograms = grouping.histograms(image, smoothed(image, 0.8), labels, count)
    sizes, boxes = grouping.extents(labels, count)
    np.testing.assert_array_equal(sizes, np.bincount(labels.ravel()))
    for region, (rows, columns) in enumerate(ndimage.find_objects(labels + 1)):
        assert boxes[region].tolist() == [rows.start, columns.start, rows.stop - 1, columns.stop - 1]
        for ours, slow in zip(histograms, slow_histograms(image, labels == region), strict=True):
            np.testing.assert_allclose(ours[region] / ours[region].sum(), slow, atol=1e-12)


def test_equal_similarities_go_to_the_lowest_pair():
    row = np.arange(6, dtype=np.int32)[None]  # six equal pixels
    pairs = grouping.neighbours(row, 6)
    assert pairs.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]
    for max_regions, forest in [(5, [-1, 0, -1, -1, -1, -1]), (4, [-1, 0, -1, 2, -1, -1]), (3, [-1, 0, -1, 2, -1, 4])]:
        equal = [np.ones((6, 2), np.int32), np.ones((6, 3), np.int32), *grouping.extents(row, 6)]
        assert grouping.merge(*equal, pairs[::-1].copy(), max_regions).tolist() == forest


def test_a_joined_pair_keeps_the_smaller_number():
    row = np.array([[0, 2, 1]], np.int32)
    equal = [np.ones((3, 2), np.int32), np.ones((3, 3), np.int32), *grouping.extents(row, 3)]
    assert grouping.merge(*equal, grouping.neighbours(row, 3), 1).tolist() == [-1, 0, 0]


def slow_similarity(image, first, second):
    """Selective-search similarity of two masks."""
    histograms = [slow_histograms(image, mask) for mask in (first, second)]
    overlaps = sum(np.minimum(a, b).sum() for a, b in zip(*histograms, strict=True))
    rows, columns = np.nonzero(first | second)
    box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    both = (first | second).sum()
    return overlaps + 1 - both / first.size + 1 - (box - both) / first.size


def slow_merge(image, labels, max_regions):
    """Join the most similar pair of 4-neighbours, everything computed anew from masks."""
    labels = labels.copy()
    known = {}
    while len(np.unique(labels)) > max_regions:
        sides = np.concatenate(
            [
                np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()], 1),
                np.stack([labels[:-1].ravel(), labels[1:].ravel()], 1),
            ]
        )
        pairs = {(min(a, b), max(a, b)) for a, b in sides.tolist() if a != b}
        for a, b in pairs - known.keys():
            known[a, b] = slow_similarity(image, labels == a, labels == b)
        a, b = max(pairs, key=known.get)
        labels[labels == b] = a
        known = {pair: value for pair, value in known.items() if a not in pair and b not in pair}
    return in_reading_order(labels)


def test_merging_equals_slow_formulation():
    image = blobs(5, 24, 32)
    slow = superpixels(image, max_regions=UNMERGED, scale=10.0, min_size=8)
    assert slow.max() + 1 > 30
    for max_regions in (20, 6, 1):
        slow = slow_merge(image, slow, max_regions)
        ours = superpixels(image, max_regions=max_regions, scale=10.0, min_size=8)
        np.testing.assert_array_equal(ours, slow)
