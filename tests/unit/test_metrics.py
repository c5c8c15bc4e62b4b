import json
import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssc.metrics import (
    ConfusionMatrix,
    average_precision,
    confusion,
    guessed_precision,
    image_miou,
    summary,
    threshold_counts,
)

CLASSES = 4


@st.composite
def map_pairs(draw) -> tuple[np.ndarray, np.ndarray]:
    """A target with ignored pixels and a prediction; at ignored pixels the prediction holds anything."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    shape = draw(st.tuples(st.integers(0, 6), st.integers(1, 6)))
    occurring = draw(st.sampled_from([[0], [0, 255], [0, 2, 255], [0, 1, 2, 3, 255], [255]]))
    target = rng.choice(occurring, shape).astype(draw(st.sampled_from([np.uint8, np.int32, np.int64])))
    prediction = rng.integers(0, CLASSES, shape).astype(draw(st.sampled_from([np.uint8, np.int64])))
    prediction[target == 255] = 200
    return target, prediction


def count_by_loops(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    counts = np.zeros((CLASSES, CLASSES), int)
    for t, p in zip(target.flat, prediction.flat, strict=True):
        if t != 255:
            counts[t, p] += 1
    return counts


def iou_by_sets(target: np.ndarray, prediction: np.ndarray) -> dict[int, float]:
    """IoU of the classes that occur, from sets of pixels."""
    counted = [i for i, t in enumerate(target.flat) if t != 255]
    result = {}
    for label in range(CLASSES):
        truth = {i for i in counted if target.flat[i] == label}
        found = {i for i in counted if prediction.flat[i] == label}
        if truth | found:
            result[label] = len(truth & found) / len(truth | found)
    return result


@settings(max_examples=60, deadline=None)
@given(map_pairs())
def test_counts_and_iou_equal_a_loop_over_pixels(pair):
    matrix = ConfusionMatrix(CLASSES)
    matrix.update(*pair)
    np.testing.assert_array_equal(matrix.counts, count_by_loops(*pair))
    expected = iou_by_sets(*pair)
    iou = matrix.iou()
    assert {k for k in range(CLASSES) if not math.isnan(iou[k])} == set(expected)
    for label, value in expected.items():
        assert iou[label] == pytest.approx(value)
    if expected:
        assert matrix.miou() == pytest.approx(sum(expected.values()) / len(expected))
    else:
        assert math.isnan(matrix.miou())


@settings(max_examples=20, deadline=None)
@given(st.lists(map_pairs(), min_size=1, max_size=4))
def test_images_add_up(pairs):
    matrix = ConfusionMatrix(CLASSES)
    for pair in pairs:
        matrix.update(*pair)
    np.testing.assert_array_equal(matrix.counts, sum(count_by_loops(*pair) for pair in pairs))


def test_a_worked_example():
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([[0, 0, 1, 1], [1, 255, 0, 0]]), np.array([[0, 1, 1, 1], [0, 1, 0, 0]]))
    # background 3 of 5, class 1 two of 4, class 2 does not occur
    np.testing.assert_allclose(matrix.iou(), [3 / 5, 2 / 4, np.nan])
    assert matrix.miou() == pytest.approx(0.55)
    assert matrix.false_rates() == (pytest.approx(1 / 4), pytest.approx(1 / 3))


def test_another_ignore_index():
    matrix = ConfusionMatrix(256, ignore_index=0)
    matrix.update(np.array([[0, 255]]), np.array([[3, 255]]))
    assert matrix.counts.sum() == matrix.counts[255, 255] == 1


@pytest.mark.parametrize(
    ("target", "prediction", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), "differ in shape"),
        (np.array([[0, 3]]), np.array([[0, 0]]), r"target holds 0\.\.3, not 0\.\.2"),
        (np.array([[0, 0]]), np.array([[255, 0]], np.uint8), r"prediction holds 0\.\.255"),
        (np.array([[0, -1]]), np.array([[0, 0]]), r"target holds -1\.\.0"),
    ],
)
def test_wrong_maps_are_refused_and_not_counted(target, prediction, message):
    matrix = ConfusionMatrix(3)
    with pytest.raises(ValueError, match=message):
        matrix.update(target, prediction)
    assert not matrix.counts.any()


@settings(max_examples=30, deadline=None)
@given(map_pairs())
def test_maps_in_any_memory_layout_count_alike(pair):
    target, prediction = (np.repeat(labels, 2, axis=0)[::2].T for labels in pair)
    expected = count_by_loops(*pair)
    np.testing.assert_array_equal(confusion(target, prediction, num_classes=CLASSES), expected)
    np.testing.assert_array_equal(confusion(target, np.asfortranarray(prediction), num_classes=CLASSES), expected)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), truth=st.sampled_from([[0, 1, 3, 255], [1, 2], [255], [0], [2, 255]]))
def test_miou_of_an_image_equals_a_count_of_pairs(seed, truth):
    rng = np.random.default_rng(seed)
    target, prediction = rng.choice(truth, (3, 4)), rng.choice([0, 1, 2], (3, 4))
    iou = iou_by_sets(target, prediction)
    shown = [iou[label] for label in {0, *target.flat} if label in iou]
    expected = pytest.approx(sum(shown) / len(shown)) if shown else None
    assert image_miou(confusion(target, prediction, num_classes=CLASSES)) == expected


def test_other_classes_take_pixels_and_no_row_of_their_own():
    def score(target, prediction):
        return image_miou(confusion(np.array(target), np.array(prediction), num_classes=CLASSES))

    assert score([0, 0, 1, 1], [0, 0, 1, 1]) == 1
    assert score([0, 0, 1, 1], [0, 2, 1, 1]) == pytest.approx((1 / 2 + 1) / 2)
    assert score([1, 1], [1, 0]) == pytest.approx((0 + 1 / 2) / 2)


@settings(max_examples=30, deadline=None)
@given(map_pairs())
def test_summary_is_json_with_the_same_figures(pair):
    names = ["orbi", "quado", "trixi"]
    counts = count_by_loops(*pair)
    figures = json.loads(json.dumps(summary(counts, names), allow_nan=False))
    expected = iou_by_sets(*pair)
    assert list(figures["iou"]) == ["background", *names]
    for label, value in enumerate(figures["iou"].values()):
        assert value == (pytest.approx(expected[label]) if label in expected else None)
    assert figures["pixels"] == counts.sum()
    counted = [(t, p) for t, p in zip(pair[0].flat, pair[1].flat, strict=True) if t != 255]
    if not counted:
        assert figures["miou"] is figures["over_activation"] is figures["under_activation"] is None
        return
    assert figures["miou"] == pytest.approx(sum(expected.values()) / len(expected))
    background = [p for t, p in counted if t == 0]
    foreground = [p for t, p in counted if t != 0]
    over = sum(p != 0 for p in background) / len(background) if background else 0
    under = sum(p == 0 for p in foreground) / len(foreground) if foreground else 0
    assert figures["over_activation"] == pytest.approx(over)
    assert figures["under_activation"] == pytest.approx(under)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 6))
def test_threshold_counts_equal_one_argmax_per_threshold(seed, count):
    rng = np.random.default_rng(seed)
    thresholds = np.sort(rng.choice(np.arange(9), count, replace=False)) / 8
    target = rng.choice([0, 1, 2, 3, 255], (5, 7))
    # Multiples of 1/8, so that scores tie with thresholds and with each other.
    cams = (rng.integers(0, 9, (3, 5, 7)) / 8).astype(np.float32)
    counts = threshold_counts(
        target, cams.argmax(axis=0) + 1, cams.max(axis=0), num_classes=CLASSES, thresholds=thresholds
    )
    assert counts.dtype == np.int64
    for threshold, matrix in zip(thresholds, counts, strict=True):
        with_background = np.concatenate([np.full((1, 5, 7), threshold), cams])
        # argmax takes the first of equals, so a score that equals the threshold is background
        np.testing.assert_array_equal(matrix, count_by_loops(target, with_background.argmax(axis=0)))


def test_a_threshold_of_single_precision_is_not_its_double():
    threshold = 0.1  # np.float32(0.1) is larger
    pixel = np.array([1])
    arguments = {"num_classes": 2, "thresholds": np.array([threshold])}
    counts = threshold_counts(pixel, pixel, np.array([threshold], np.float32), **arguments)
    assert counts.tolist() == [[[0, 0], [0, 1]]]


@pytest.mark.parametrize(
    ("target", "best", "score", "message"),
    [
        ([0, 1], [1, 1], [0.5], "differ in shape"),
        ([0, 1], [1], [0.5, 0.5], "differ in shape"),
        ([0, 3], [1, 1], [0.5, 0.5], r"not in 0\.\.2"),
        ([0, 1], [1, -1], [0.5, 0.5], r"not in 0\.\.2"),
    ],
)
def test_wrong_maps_have_no_threshold_counts(target, best, score, message):
    maps = np.array(target), np.array(best), np.array(score, np.float32)
    with pytest.raises(ValueError, match=message):
        threshold_counts(*maps, num_classes=3, thresholds=np.array([0.1]))


def test_threshold_counts_without_counted_pixels():
    ignored = np.full((2, 2), 255)
    counts = threshold_counts(ignored, ignored, np.ones((2, 2)), num_classes=2, thresholds=np.array([0.1, 0.2, 0.3]))
    assert counts.shape == (3, 2, 2) and not counts.any()


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=20))
def test_average_precision_equals_a_sum_over_thresholds(photos):
    scores, truth = np.array([score for score, _ in photos], float), np.array([true for _, true in photos])
    found = average_precision(scores, truth)
    if not truth.any():
        assert found is None
        return
    area, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = truth[scores >= threshold]
        reached = chosen.sum() / truth.sum()
        area, recall = area + chosen.mean() * (reached - recall), reached
    assert found == pytest.approx(area)


@pytest.mark.parametrize("hits", [1, 2, 3, 5])
def test_guesses_are_on_average_the_mean_over_all_orders(hits):
    truth = np.arange(5) < hits
    orders = [average_precision(-np.arange(5), np.array(own)) for own in permutations(truth)]
    guessed = guessed_precision(np.stack([truth, truth[::-1]], axis=1), draws=1000)
    assert guessed.shape == (1000,)
    assert guessed.mean() == pytest.approx(np.mean(orders), abs=4 * np.std(orders) / np.sqrt(2000) + 1e-9)
    assert guessed.std() == pytest.approx(np.std(orders) / np.sqrt(2), rel=0.1, abs=1e-9)
