"""Superpixels against scikit-image, a slow formulation in plain Python, and their invariants."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.color import rgb2hsv
from skimage.segmentation import felzenszwalb

from ssc.superpixels import felzenszwalb as graph
from ssc.superpixels import selective_search as grouping
from ssc.archive import Archive
from ssc.data.transforms import read_image
from ssc.runtime.errors import InputError
from ssc.superpixels import regions_from_rgb, superpixels, write_superpixels

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


def is_connected(labels: np.ndarray) -> bool:
    """Whether every label is one component of pixels that share sides."""
    return all(ndimage.label(labels == label)[1] == 1 for label in np.unique(labels))


def refines(fine: np.ndarray, coarse: np.ndarray) -> bool:
    """Whether every region of `fine` lies within one region of `coarse`."""
    return len(set(zip(fine.ravel(), coarse.ravel(), strict=True))) == len(np.unique(fine))


def smoothed(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image * (1 / 255), (sigma, sigma, 0), mode="reflect")


# The graph step


@pytest.mark.parametrize("sigma", [0.1, 0.8, 2.0])
def test_smoothing_equals_scipy(sigma):
    image = blobs(0, 9, 5)
    np.testing.assert_array_equal(graph.smooth_image(image, sigma), smoothed(image, sigma))


def test_edges_are_sorted_by_cost_and_ties_keep_their_order():
    costs = np.random.default_rng(1).choice([-1.0, 0.0, 1e-9, 0.25, 0.25 + 2**-40, 1.7], size=500)
    expected = [edge for edge in np.argsort(costs, kind="stable") if costs[edge] >= 0]
    assert graph.sorted_edges(costs).tolist() == expected


@pytest.mark.parametrize(("scale", "sigma"), [(1.0, 0.8), (30.0, 0.8), (300.0, 0.8), (30.0, 1.5), (30.0, 0.1)])
def test_graph_components_equal_scikit_image(scale, sigma):
    image = blobs(2, 70, 90)
    costs = graph.edge_costs(graph.smooth_image(image, sigma))
    components = graph.grow(costs, graph.sorted_edges(costs), 90, scale / 255)
    ours = graph.compact(components)[0].reshape(70, 90)
    theirs = felzenszwalb(image, scale=scale, sigma=sigma, min_size=1)
    assert 1 < ours.max() + 1 < ours.size
    np.testing.assert_array_equal(ours, in_reading_order(theirs))


def slow_first_step(image, scale, sigma, min_size):
    """scikit-image's components, their 4-connected parts, and small parts absorbed by rewriting the label map."""
    components = felzenszwalb(image, scale=scale, sigma=sigma, min_size=1)
    labels = np.zeros(components.shape, int)
    for component in np.unique(components):
        parts, _ = ndimage.label(components == component)
        labels[parts > 0] = parts[parts > 0] + labels.max()
    smooth = smoothed(image, sigma)
    height, width = labels.shape
    sides = []
    for y, x in np.ndindex(height, width):
        for v, u in ((y, x + 1), (y + 1, x)):
            if v < height and u < width:
                sides.append((np.linalg.norm(smooth[v, u] - smooth[y, x]), (y, x), (v, u)))
    for _, here, there in sorted(sides):
        a, b = labels[here], labels[there]
        if a != b and min((labels == a).sum(), (labels == b).sum()) < min_size:
            labels[labels == b] = a
    return in_reading_order(labels)


@pytest.mark.parametrize("min_size", [1, 4, 15])
def test_first_step_equals_slow_formulation(min_size):
    image = blobs(3, 31, 40)
    ours = superpixels(image, max_regions=UNMERGED, scale=20.0, min_size=min_size)
    np.testing.assert_array_equal(ours, slow_first_step(image, 20.0, 0.8, min_size))


def test_components_that_touch_at_corners_are_cut():
    image = np.zeros((9, 9, 3), np.uint8)
    image[np.eye(9, dtype=bool)] = 255
    assert felzenszwalb(image, scale=1, sigma=0.1, min_size=1).max() + 1 == 2
    labels = superpixels(image, scale=1.0, sigma=0.1, min_size=1)
    assert labels.max() + 1 == 9 + 2
    assert is_connected(labels)


# The merging


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
    for max_regions, parents in [(5, [0, 0, 2, 3, 4, 5]), (4, [0, 0, 2, 2, 4, 5]), (3, [0, 0, 2, 2, 4, 4])]:
        equal = [np.ones((6, 2), np.int32), np.ones((6, 3), np.int32), *grouping.extents(row, 6)]
        assert grouping.merge(*equal, pairs[::-1].copy(), max_regions).tolist() == parents


def test_a_joined_pair_keeps_the_smaller_number():
    row = np.array([[0, 2, 1]], np.int32)
    equal = [np.ones((3, 2), np.int32), np.ones((3, 3), np.int32), *grouping.extents(row, 3)]
    assert grouping.merge(*equal, grouping.neighbours(row, 3), 1).tolist() == [0, 0, 0]


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


@pytest.mark.parametrize("max_regions", [1, 6, 20])
def test_merging_equals_slow_formulation(max_regions):
    image = blobs(5, 24, 32)
    start = superpixels(image, max_regions=UNMERGED, scale=10.0, min_size=8)
    assert start.max() + 1 > 30
    ours = superpixels(image, max_regions=max_regions, scale=10.0, min_size=8)
    np.testing.assert_array_equal(ours, slow_merge(image, start, max_regions))


# The whole


pictures = arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)),
    elements=st.sampled_from([0, 40, 200, 255]),
)


@settings(max_examples=150, deadline=None)
@given(image=pictures, max_regions=st.integers(1, 9), min_size=st.none() | st.integers(1, 6))
def test_invariants(image, max_regions, min_size):
    before = image.copy()
    labels = superpixels(image, max_regions=max_regions, scale=20.0, min_size=min_size)
    assert labels.dtype == np.int32
    assert labels.shape == image.shape[:2]
    assert labels.max() + 1 <= max_regions
    assert is_connected(labels)
    np.testing.assert_array_equal(labels, in_reading_order(labels))
    np.testing.assert_array_equal(labels, superpixels(image, max_regions=max_regions, scale=20.0, min_size=min_size))
    np.testing.assert_array_equal(image, before)


@settings(max_examples=60, deadline=None)
@given(image=pictures, max_regions=st.integers(1, 9), min_size=st.integers(1, 6))
def test_merging_joins_whole_regions_and_no_more_than_needed(image, max_regions, min_size):
    start = superpixels(image, max_regions=UNMERGED, scale=20.0, min_size=min_size)
    assert start.max() == 0 or np.bincount(start.ravel()).min() >= min_size
    labels = superpixels(image, max_regions=max_regions, scale=20.0, min_size=min_size)
    assert labels.max() + 1 == min(max_regions, start.max() + 1)
    assert refines(start, labels)


def test_regions_follow_objects_and_a_plain_image_is_one_region():
    image = np.full((40, 60, 3), 90, np.uint8)
    assert superpixels(image).max() == 0
    image[10:30, 20:45] = (200, 30, 30)
    labels = superpixels(image, sigma=0.1)
    np.testing.assert_array_equal(labels, (image[..., 0] == 200).astype(int))


def test_default_min_size_is_a_tenth_of_a_mean_region():
    image = blobs(8, 60, 60)
    explicit = superpixels(image, max_regions=20, min_size=60 * 60 // 200)
    np.testing.assert_array_equal(superpixels(image, max_regions=20), explicit)
    assert refines(superpixels(image, max_regions=UNMERGED, min_size=18), explicit)


def test_memory_layout_does_not_matter():
    image = blobs(6, 40, 50)
    np.testing.assert_array_equal(superpixels(np.asfortranarray(image)), superpixels(image))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"max_regions": 0}, "max_regions"),
        ({"scale": 0.0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"sigma": -1.0}, "sigma"),
        ({"sigma": float("inf")}, "sigma"),
        ({"min_size": 0}, "min_size"),
    ],
)
def test_parameters_out_of_range_are_refused(keywords, message):
    with pytest.raises(InputError, match=message):
        superpixels(np.zeros((4, 4, 3), np.uint8), **keywords)


@pytest.mark.parametrize("function", [superpixels, regions_from_rgb])
@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_than_rgb_are_refused(function, image):
    with pytest.raises(InputError, match="RGB"):
        function(image)


# Published superpixels


def test_published_picture_is_decoded():
    codes = np.array([[0, 255, 256], [65536, 65537, 255]])
    picture = np.stack([codes % 256, codes // 256 % 256, codes // 65536], axis=-1).astype(np.uint8)
    labels = regions_from_rgb(picture)
    assert labels.dtype == np.int32
    assert labels.tolist() == [[0, 1, 2], [3, 4, 1]]


# Shards


def test_a_shard_is_written_with_the_settings_of_the_config(tiny_set, tmp_path):
    section = {"folder": None, "max_regions": 3, "scale": 20, "sigma": 0.8, "min_size": 5}
    write_superpixels(index=tiny_set, shard="1-of-1", output=tmp_path / "out.zip", settings=section, threads=2)
    written = Archive(tmp_path / "out.zip")
    assert written.ids() == ["a", "b", "c"]
    for name in written.ids():
        expected = superpixels(read_image(tiny_set.with_name(f"{name}.png")), 3, scale=20, sigma=0.8, min_size=5)
        np.testing.assert_array_equal(written.labels(name), expected)
