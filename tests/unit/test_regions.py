"""Counts of regions against loops over pixels, and intervals against drawing images by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from ssc.metrics import ConfusionMatrix
from ssc.regions import COUNTS, bootstrap_interval, region_counts, region_figures

VOID = 255


def blobs(rng: np.random.Generator, size: tuple[int, int], classes: int = 4) -> np.ndarray:
    """A label map of rectangles on background."""
    labels = np.zeros(size, int)
    for _ in range(5):
        top, left = rng.integers(0, size[0]), rng.integers(0, size[1])
        labels[top : top + rng.integers(3, 20), left : left + rng.integers(3, 25)] = rng.integers(0, classes)
    return labels


def in_boundary(labels: np.ndarray, label: int, y: int, x: int, width: int) -> bool:
    """Whether a pixel of a region has one outside it, or outside the image, in the square around it."""
    if labels[y, x] != label:
        return False
    height, breadth = labels.shape
    for i in range(y - width, y + width + 1):
        for j in range(x - width, x + width + 1):
            if not (0 <= i < height and 0 <= j < breadth) or labels[i, j] != label:
                return True
    return False


def slow_counts(target: np.ndarray, prediction: np.ndarray) -> dict[int, list[int]]:
    filled = target.copy()
    seen = np.argwhere(target != VOID)
    for y, x in np.argwhere(target == VOID):
        distances = ((seen - (y, x)) ** 2).sum(axis=1)
        nearest = {int(target[tuple(each)]) for each in seen[distances == distances.min()]}
        filled[y, x] = nearest.pop() if len(nearest) == 1 else -1  # the test's void has no such pixel
    assert (filled >= 0).all()
    width = max(1, round(0.02 * np.hypot(*target.shape)))
    found = {}
    for y, x in seen:
        for label in {int(target[y, x]), int(prediction[y, x])}:
            counts = found.setdefault(label, [len(seen), 0, 0, 0, 0, 0])
            inside = target[y, x] == label, prediction[y, x] == label
            edges = in_boundary(filled, label, y, x, width), in_boundary(prediction, label, y, x, width)
            for k, pair in ((2, inside), (4, edges)):
                counts[k] += all(pair)
                counts[k + 1] += any(pair)
            counts[1] += inside[0]
    return found


@pytest.mark.parametrize("size", [(30, 44), (60, 91)])
def test_counts_equal_a_loop_over_pixels(size):
    rng = np.random.default_rng(size[0])
    target, prediction = blobs(rng, size), blobs(rng, size)
    found = region_counts(target, prediction)
    assert {label: values.tolist() for label, values in found.items()} == slow_counts(target, prediction)


def test_void_counts_nowhere_and_moves_no_boundary():
    target = np.zeros((50, 50), int)
    target[:, 25:] = 1
    prediction = target.copy()
    target[:, 23:27] = VOID  # on the contour
    found = region_counts(target, prediction)
    assert {label: values.tolist() for label, values in found.items()} == slow_counts(target, prediction)
    # A perfect prediction has a perfect boundary, though the void hides a part of it.
    for values in found.values():
        pixels, area, intersection, union, *boundary = values
        assert (pixels, intersection) == (50 * 46, area)
        assert intersection == union and boundary[0] == boundary[1] > 0


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_regions_add_up_to_the_confusion_matrix(seed):
    rng = np.random.default_rng(seed)
    target, prediction = blobs(rng, (25, 31)), blobs(rng, (25, 31))
    target[rng.random(target.shape) < 0.1] = VOID
    matrix, found = ConfusionMatrix(4), region_counts(target, prediction)
    matrix.update(target, prediction)
    iou = [found[k][2] / found[k][3] if k in found else np.nan for k in range(4)]
    np.testing.assert_allclose(iou, matrix.iou())
    for values in found.values():
        assert 0 <= values[4] <= values[5] and values[4] <= values[2] <= values[1] <= values[0]


def test_nothing_but_void_has_no_region_and_shapes_must_agree():
    assert region_counts(np.full((4, 4), VOID), np.zeros((4, 4), int)) == {}
    with pytest.raises(ValueError, match="differ in shape"):
        region_counts(np.zeros((4, 4), int), np.zeros((4, 5), int))


def test_figures_by_hand():
    classes = np.array([0, 1, 1, 2, 1, 2])
    counts = np.array(
        [
            [1000, 700, 600, 800, 30, 50],
            [1000, 50, 10, 60, 5, 20],  # a share of 5 %: small
            [1000, 250, 200, 300, 40, 80],  # medium
            [1000, 300, 300, 400, 10, 10],  # large
            [1000, 0, 0, 70, 0, 10],  # not in the target
            [2000, 60, 30, 90, 0, 5],  # 3 %: small
        ]
    )
    figures = region_figures(classes, counts)
    boundary = [30 / 50, (5 + 40) / (20 + 80 + 10), 10 / 15]
    assert figures["boundary"] == pytest.approx(np.mean(boundary))
    assert figures["small"] == pytest.approx((10 / 60 + 30 / 90) / 2)
    assert figures["medium"] == pytest.approx(200 / 300)
    assert figures["large"] == pytest.approx(300 / 400)
    empty = region_figures(np.zeros(0, int), np.zeros((0, len(COUNTS)), int))
    assert empty == dict.fromkeys(("boundary", "small", "medium", "large"))


def random_counts(rng: np.random.Generator, images: int, share: float) -> tuple[csr_array, csr_array]:
    union = rng.integers(20, 200, (images, 3)) * (rng.random((images, 3)) < 0.7)
    return csr_array((union * share).astype(float)), csr_array(union.astype(float))


def test_an_interval_is_that_of_images_drawn_by_hand():
    rng = np.random.default_rng(1)
    own = [random_counts(rng, 12, 0.6), random_counts(rng, 12, 0.5)]
    other = [random_counts(rng, 12, 0.55), random_counts(rng, 12, 0.52)]
    own = [(each[0].multiply(rng.random((12, 3))).tocsr(), each[1]) for each in own]
    low, high = bootstrap_interval(own, other, samples=4000)

    def miou(counts, drawn):
        hits, unions = (part.toarray()[drawn].sum(axis=0) for part in counts)
        return np.mean(hits[unions > 0] / unions[unions > 0])

    gains = []
    for _ in range(4000):
        drawn = rng.integers(0, 12, 12)
        gains.append(np.mean([miou(a, drawn) - miou(b, drawn) for a, b in zip(own, other, strict=True)]))
    expected = np.quantile(gains, [0.025, 0.975])
    assert (low, high) == (pytest.approx(expected[0], abs=0.02), pytest.approx(expected[1], abs=0.02))
    assert bootstrap_interval(own, other) == bootstrap_interval(own, other)


def test_what_is_equal_image_by_image_gains_nothing():
    counts = random_counts(np.random.default_rng(2), 20, 0.5)
    assert bootstrap_interval([counts], [counts]) == (0, 0)
