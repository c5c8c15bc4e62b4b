"""The lattice filter against a slow formulation with dictionaries, and the invariants of its normalisation."""

import math
from collections import defaultdict

import numpy as np
import pytest

from ssc.crf.permutohedral import LANES, add_filtered, gaussian_kernel


def pixel_features(sxy, srgb=None):
    """Positions, and noisy colours on request, of a 13 x 17 image."""
    y, x = np.indices((13, 17))
    positions = np.stack([x.ravel(), y.ravel()], axis=1) / sxy
    if srgb is None:
        return positions
    colours = np.where(x.reshape(-1, 1) < 8, [200, 150, 90], [60, 80, 120])
    return np.hstack([positions, (colours + np.random.default_rng(0).normal(0, 20, colours.shape)) / srgb])


def slow_filter(features, values):
    """Permutohedral filtering by definition: vertices as tuples in dictionaries, simplices by sorting.

    A point is lifted with an orthogonal basis of the hyperplane that adds up to zero. Its simplex is found by
    sorting the residuals from the nearest lattice point of remainder zero.
    """
    d = features.shape[1]
    basis = np.zeros((d + 1, d))
    for i in range(d):
        basis[: i + 1, i] = 1
        basis[i + 1, i] = -(i + 1)
    basis /= np.linalg.norm(basis, axis=0)
    lifted = features @ basis.T * (d + 1) * math.sqrt(2 / 3)
    pixels = []
    lattice = defaultdict(lambda: np.zeros(values.shape[1]))
    for point, value in zip(lifted, values, strict=True):
        origin = (np.floor(point / (d + 1) + 0.5) * (d + 1)).astype(int)
        while origin.sum() > 0:
            origin[np.argmin(point - origin)] -= d + 1
        while origin.sum() < 0:
            origin[np.argmax(point - origin)] += d + 1
        order = np.argsort(-(point - origin))
        residual = (point - origin)[order]
        corners = {}
        for k in range(d + 1):
            key = origin + k
            key[order[d + 1 - k :]] -= d + 1
            gap = residual[d - k] - (residual[d + 1 - k] if k else residual[0] - (d + 1))
            corners[tuple(int(c) for c in key)] = gap / (d + 1)
        assert math.isclose(sum(corners.values()), 1) and min(corners.values()) > -1e-9
        assert np.allclose(sum(np.array(c) * w for c, w in corners.items()), point)
        pixels.append(corners)
        for key, weight in corners.items():
            lattice[key] += weight * value
    for direction in range(d + 1):
        step = np.full(d + 1, -1)
        step[direction] = d
        blurred = {}
        for key, value in lattice.items():
            ahead, behind = (lattice.get(tuple(int(c) for c in np.array(key) + s * step), 0) for s in (1, -1))
            blurred[key] = value + 0.5 * (ahead + behind)
        lattice = blurred
    return np.array([sum(w * lattice[key] for key, w in corners.items()) for corners in pixels])


def fast_filter(kernel, values):
    rows = np.zeros((len(values), -(-values.shape[1] // LANES) * LANES), np.float32)
    rows[:, : values.shape[1]] = values
    out = np.zeros_like(rows)
    add_filtered(out, rows, kernel.scratch(), *kernel)
    return out[:, : values.shape[1]]


@pytest.mark.parametrize("sigmas", [(3,), (1,), (9, 15), (50, 5)])
def test_filter_equals_the_slow_lattice(sigmas):
    # Off the ties of the integer grid, where the corners of weight 0 are a matter of rounding.
    features = pixel_features(*sigmas) + 0.123
    values = np.random.default_rng(1).random((len(features), 5))
    scale = slow_filter(features, np.ones((len(features), 1))) ** -0.5
    expected = 4 * scale * slow_filter(features, scale * values)
    actual = fast_filter(gaussian_kernel(features, 4), values)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_filter_survives_growth_of_the_hash_table():
    """Points far apart share no vertex: every one keeps its value, whatever the size of the table."""
    features = np.random.default_rng(0).permutation(20000)[:, None] * [5.0, 3.0]
    kernel = gaussian_kernel(features, 1)
    assert kernel.neighbours.shape[1] > 2**15
    values = np.random.default_rng(1).random((len(features), 1))
    np.testing.assert_allclose(fast_filter(kernel, values), values, rtol=1e-5)


def test_normalisation_leaves_the_square_root_of_the_degree_unchanged():
    """D^-1/2 K D^-1/2 maps D^1/2 1 to D^-1/2 K 1 = D^1/2 1; barycentric weights add up to 1, so to D^-1/2."""
    kernel = gaussian_kernel(pixel_features(5, 20), 1)
    root = 1 / kernel.weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fast_filter(kernel, root), root, rtol=1e-5)
    assert np.ptp(root) > 0.1


@pytest.mark.parametrize("far", [1e4, 1e30, math.inf, math.nan])
def test_points_too_far_out_are_refused(far):
    features = pixel_features(5, 20)
    features[7, 3] = far
    with pytest.raises(ValueError, match="too small"):
        gaussian_kernel(features, 1)


@pytest.mark.parametrize("dimensions", [2, 3, 5])
def test_points_as_far_out_as_may_be_keep_their_vertices_apart(dimensions):
    rng, axis = np.random.default_rng(2), np.arange(1, dimensions + 1)
    places = 2 ** (62 // dimensions) // 2 - 4 * axis  # of a code, see `_simplices`
    farthest = places / np.sqrt(2 / 3 * axis * (axis + 1))
    corners = rng.choice([-1, 1], (20, dimensions)) * farthest
    features = np.concatenate([corners * (1 - 1e-6), rng.uniform(-1, 1, (20, dimensions)) * farthest * 0.9])
    features = np.concatenate([features, features + rng.uniform(-0.5, 0.5, features.shape) * (features < 0)])
    features = features.clip(-farthest * (1 - 1e-6), farthest * (1 - 1e-6))
    values = rng.random((len(features), 3))
    scale = slow_filter(features, np.ones((len(features), 1))) ** -0.5
    expected = scale * slow_filter(features, scale * values)
    np.testing.assert_allclose(fast_filter(gaussian_kernel(features, 1), values), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="too small"):
        gaussian_kernel(features * 1.001, 1)
