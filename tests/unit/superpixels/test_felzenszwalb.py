"""The graph step against scikit-image, SciPy and a slow formulation."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import felzenszwalb

from ssc.superpixels import felzenszwalb as graph
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


def is_connected(labels: np.ndarray) -> bool:
    """Whether every label is one component of pixels that share sides."""
    return all(ndimage.label(labels == label)[1] == 1 for label in np.unique(labels))


def smoothed(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image * (1 / 255), (sigma, sigma, 0), mode="reflect")


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
