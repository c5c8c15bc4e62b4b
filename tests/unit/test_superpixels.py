"""Invariants of superpixels; the two steps have tests of their own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from ssc.superpixels import regions_from_rgb, superpixels

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
    with pytest.raises(ValueError, match=message):
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
    with pytest.raises(ValueError, match="RGB"):
        function(image)


# Published superpixels


def test_published_picture_is_decoded():
    codes = np.array([[0, 255, 256], [65536, 65537, 255]])
    picture = np.stack([codes % 256, codes // 256 % 256, codes // 65536], axis=-1).astype(np.uint8)
    labels = regions_from_rgb(picture)
    assert labels.dtype == np.int32
    assert labels.tolist() == [[0, 1, 2], [3, 4, 1]]
