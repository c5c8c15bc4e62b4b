"""The dense CRF against mean field with exact, dense kernels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssc import crf


def photo(seed, height=24, width=30, noise=6):
    """A bright slanted blob on a dark ground, with noise, and the blob's mask."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    mask = np.hypot((y - height / 2) / height, (x - width / 2 + 0.3 * (y - height / 2)) / width) < 0.28
    image = np.where(mask[..., None], [200, 150, 90], [60, 80, 120]) + rng.normal(0, noise, (height, width, 3))
    return image.clip(0, 255).astype(np.uint8), mask


def shifted(mask, by=2):
    return np.roll(mask, (by, by), axis=(0, 1)).astype(np.int64)


def pixel_features(image, sxy, srgb=None):
    y, x = np.indices(image.shape[:2])
    parts = [x.ravel()[:, None] / sxy, y.ravel()[:, None] / sxy]
    if srgb is not None:
        parts.append(image.reshape(-1, 3) / srgb)
    return np.hstack(parts)


def softmax(x):
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True)


def brute_force(image, log_probabilities, iterations, gaussian, bilateral):
    """Mean field with the exact kernels as dense float64 matrices; (N, K) in, (N, K) out."""
    pairwise = 0
    for *sigmas, weight in (gaussian, bilateral):
        f = pixel_features(image, *sigmas)
        kernel = np.exp(-0.5 * ((f[:, None] - f[None]) ** 2).sum(axis=2))
        scale = kernel.sum(axis=1) ** -0.5
        pairwise = pairwise + weight * scale[:, None] * kernel * scale
    q = softmax(log_probabilities)
    for _ in range(iterations):
        q = softmax(log_probabilities + pairwise @ q)
    return q


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kernels", [((3, 3), (50, 5, 10)), ((2, 1), (12, 20, 4)), ((1, 3), (67, 13, 4))])
def test_labels_agree_with_brute_force(seed, kernels):
    image, mask = photo(seed)
    labels = shifted(mask)
    gaussian, bilateral = kernels
    unary = np.where(labels.reshape(-1, 1) == np.arange(3), math.log(0.7), math.log(0.15))
    expected = brute_force(image, unary, 10, gaussian, bilateral).argmax(axis=1).reshape(mask.shape)
    actual = crf.refine_labels(image, labels, num_labels=3, gaussian=gaussian, bilateral=bilateral)
    assert (actual == expected).mean() >= 0.98


def test_probabilities_agree_with_brute_force():
    image, mask = photo(5)
    rng = np.random.default_rng(5)
    probabilities = np.stack([~mask, mask, np.zeros_like(mask)]) + rng.random((3, *mask.shape))
    probabilities /= probabilities.sum(axis=0)
    kernels = {"gaussian": (3, 1), "bilateral": (20, 30, 2)}
    unary = np.log(probabilities).reshape(3, -1).T
    expected = brute_force(image, unary, 5, **kernels).T.reshape(probabilities.shape)
    actual = crf.refine_probabilities(image, probabilities, iterations=5, **kernels)
    assert actual.shape == probabilities.shape and actual.dtype == np.float32
    assert np.abs(actual - expected).mean() < 0.01
    assert (actual.argmax(axis=0) == expected.argmax(axis=0)).mean() >= 0.98


def test_recovers_the_object_from_a_shifted_mask():
    image, mask = photo(7, 60, 80)
    before, after = shifted(mask, 3), crf.refine_labels(image, shifted(mask, 3), num_labels=2)
    assert (before != mask).mean() > 0.05
    assert (after != mask).mean() < 0.005


def test_without_pairwise_terms_the_unary_decides():
    image, mask = photo(1)
    off = {"gaussian": (3, 0), "bilateral": (50, 5, 0)}
    labels = np.random.default_rng(0).integers(0, 6, mask.shape)
    refined = crf.refine_labels(image, labels, num_labels=6, **off)
    np.testing.assert_array_equal(refined, labels)
    # At a confidence below chance every other label is likelier.
    assert (crf.refine_labels(image, labels, num_labels=6, confidence=0.1, **off) != labels).all()

    probabilities = np.zeros((2, *mask.shape))
    probabilities[1] = 1
    refined = crf.refine_probabilities(image, probabilities, **off)
    np.testing.assert_allclose(refined[0], 1e-5 / (1 + 1e-5), rtol=1e-4)  # clipped from below, then normalised


def test_no_iterations_give_the_unary_back():
    image, mask = photo(1)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), mask.shape).transpose(2, 0, 1)
    refined = crf.refine_probabilities(image, probabilities, iterations=0)
    np.testing.assert_allclose(refined, probabilities, atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    classes=st.integers(1, 9),
    seed=st.integers(0, 2**16),
)
def test_probabilities_stay_normalised_and_follow_a_permutation(height, width, classes, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    probabilities = rng.dirichlet(np.ones(classes), (height, width)).transpose(2, 0, 1)
    refined = crf.refine_probabilities(image, probabilities)
    assert refined.shape == probabilities.shape
    np.testing.assert_allclose(refined.sum(axis=0), 1, atol=1e-5)
    order = rng.permutation(classes)
    permuted = crf.refine_probabilities(image, probabilities[order], iterations=3)
    straight = crf.refine_probabilities(image, probabilities, iterations=3)
    np.testing.assert_allclose(permuted, straight[order], atol=1e-3)


def test_labels_follow_a_permutation():
    image, mask = photo(3)
    labels = shifted(mask) + 2 * shifted(mask, 5)
    order = np.array([2, 0, 3, 1])
    refined = crf.refine_labels(image, labels, num_labels=4)
    assert len(np.unique(refined)) > 1
    np.testing.assert_array_equal(crf.refine_labels(image, order[labels], num_labels=4), order[refined])


def test_uniform_probabilities_on_a_constant_image_stay():
    image = np.full((11, 14, 3), 77, np.uint8)
    refined = crf.refine_probabilities(image, np.full((5, 11, 14), 0.2))
    np.testing.assert_allclose(refined, 0.2, rtol=1e-6)


@pytest.mark.parametrize("num_labels", [2, 3, 5])
def test_a_stack_of_maps_equals_maps_one_by_one(num_labels):
    image, mask = photo(4)
    stack = np.random.default_rng(0).integers(0, num_labels, (3, *mask.shape))
    stack[0] = shifted(mask)
    shared = crf.DenseCRF(image)
    together = shared.refine_labels(stack, num_labels=num_labels)
    assert together.shape == stack.shape
    for labels, refined in zip(stack, together, strict=True):
        np.testing.assert_array_equal(shared.refine_labels(labels, num_labels=num_labels), refined)
        np.testing.assert_array_equal(crf.refine_labels(image, labels, num_labels=num_labels), refined)


def test_one_label():
    image, mask = photo(0)
    labels = np.zeros(mask.shape, np.uint8)
    np.testing.assert_array_equal(crf.refine_labels(image, labels, num_labels=1), labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_deterministic_and_indifferent_to_memory_layout(dtype):
    image, mask = photo(6)
    labels = shifted(mask).astype(dtype)
    probabilities = np.stack([labels * 0.4 + 0.3, 0.7 - labels * 0.4])
    fortran = np.asfortranarray
    assert not np.array_equal(crf.refine_labels(image, labels, num_labels=2), labels)
    np.testing.assert_array_equal(
        crf.refine_labels(image, labels, num_labels=2),
        crf.refine_labels(fortran(image), fortran(labels), num_labels=2),
    )
    assert (
        crf.refine_probabilities(image, probabilities).tobytes()
        == crf.refine_probabilities(fortran(image), fortran(probabilities)).tobytes()
    )


def test_inputs_are_left_alone():
    image, mask = photo(6)
    labels, probabilities = shifted(mask), np.full((2, *mask.shape), 0.5, np.float32)
    inputs = image, labels, probabilities
    before = [a.copy() for a in inputs]
    crf.refine_labels(image, labels, num_labels=2)
    crf.refine_probabilities(image, probabilities)
    for a, b in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bad", [-1, 2, 255])
def test_label_outside_the_range_is_refused(bad):
    image, mask = photo(0)
    labels = shifted(mask)
    labels[3, 4] = bad
    with pytest.raises(ValueError, match=str(bad)):
        crf.refine_labels(image, labels, num_labels=2)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_impossible_probability_is_refused(bad):
    image, mask = photo(0)
    probabilities = np.full((2, *mask.shape), 0.5)
    probabilities[1, 2, 3] = bad
    with pytest.raises(ValueError, match="probability"):
        crf.refine_probabilities(image, probabilities)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 5, 3)), np.zeros((4, 5), np.uint8), np.zeros((4, 5, 4), np.uint8), np.zeros((0, 5, 3), np.uint8)],
    ids=["float", "grey", "rgba", "empty"],
)
def test_image_of_another_kind_is_refused(image):
    with pytest.raises(ValueError, match="image must be uint8"):
        crf.DenseCRF(image)


@pytest.mark.parametrize("labels", [np.zeros((5, 4), int), np.zeros(20, int), np.zeros((4, 5))])
def test_labels_of_another_shape_or_type_are_refused(labels):
    shared = crf.DenseCRF(np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match="labels must be integers"):
        shared.refine_labels(labels, num_labels=2)


@pytest.mark.parametrize("shape", [(4, 5), (2, 5, 4), (4, 5, 2), (0, 4, 5)])
def test_probabilities_of_another_shape_are_refused(shape):
    shared = crf.DenseCRF(np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match="must be shaped"):
        shared.refine_probabilities(np.full(shape, 0.5))


@pytest.mark.parametrize("confidence", [0, 1, -0.5, math.nan])
def test_confidence_out_of_range_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence"):
        crf.refine_labels(np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), int), num_labels=2, confidence=confidence)


def test_standard_deviations_are_checked():
    image = np.full((4, 5, 3), 255, np.uint8)
    with pytest.raises(ValueError, match="must be positive"):
        crf.DenseCRF(image, gaussian=(0, 3))
    for tiny in (0.1, 1e-30, 1e-200):
        with pytest.raises(ValueError, match="too small"):
            crf.DenseCRF(image, bilateral=(50, tiny, 10))
    crf.DenseCRF(image, bilateral=(50, 1, 10))
