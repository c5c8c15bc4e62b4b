"""Seeds and confident labels against loops over pixels and two separate passes of the CRF."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.filters import threshold_li, threshold_otsu

from ssc import crf, seeds
from ssc.seeds import argmax_labels, confident_labels, strongest_class

CRF = {"iterations": 3, "gaussian": (3, 2), "bilateral": (40, 6, 9)}
OPTIONS = {"foreground_threshold": 0.5, "background_threshold": 0.25, "confidence": 0.8, "crf": CRF}


def smooth(rng: np.random.Generator, count: int, height: int, width: int) -> torch.Tensor:
    """Random maps in 0..1 that vary slowly."""
    coarse = torch.from_numpy(rng.random((1, count, 3, 4)))
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0].float()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 3), background=st.sampled_from([0, 0.25, 0.5, 1]))
def test_argmax_labels_equal_a_loop_and_ties_are_background(seed, count, background):
    cams = (np.random.default_rng(seed).integers(0, 5, (count, 3, 4)) / 4).astype(np.float32)
    labels = argmax_labels(torch.from_numpy(cams), background)
    assert labels.dtype == np.int64 and labels.shape == (3, 4)
    for y, x in np.ndindex(3, 4):
        best, score = 0, background
        for k in range(count):
            if cams[k, y, x] > score:
                best, score = k + 1, cams[k, y, x]
        assert labels[y, x] == best


def test_confident_labels_combine_the_two_passes(monkeypatch):
    # all pairs of what the passes may say about three labels
    first, second = np.repeat([0, 1, 2], 3).reshape(3, 3), np.tile([0, 1, 2], 3).reshape(3, 3)
    calls = []

    class Canned:
        def __init__(self, image, **kernels):
            calls.append(kernels)

        def refine_labels(self, labels, **keywords):
            calls.append((labels.tolist(), keywords))
            return np.stack([first, second])

    monkeypatch.setattr(seeds, "DenseCRF", Canned)
    cams = torch.tensor([[0.6, 0.4, 0.1], [0.3, 0.2, 0.25], [0.0, 1.0, 0.5]])
    cams = torch.stack([cams, cams.flip(0)])
    labels = confident_labels(np.zeros((3, 3, 3), np.uint8), np.array([4, 9]), cams, **OPTIONS)
    # foreground of the first pass stays, agreement on background is background, the rest is ignored
    assert labels.tolist() == [[0, 255, 255], [4, 4, 4], [9, 9, 9]]
    kernels, (starts, keywords) = calls
    assert kernels == {"gaussian": (3, 2), "bilateral": (40, 6, 9)}
    assert keywords == {"num_labels": 3, "confidence": 0.8, "iterations": 3}
    assert starts == [argmax_labels(cams, 0.5).tolist(), argmax_labels(cams, 0.25).tolist()]


@pytest.mark.parametrize("seed", range(3))
def test_confident_labels_equal_two_separate_passes(seed):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8))
    image = np.asarray(coarse.resize((37, 26), Image.Resampling.NEAREST))
    cams = smooth(rng, 2, 26, 37) ** 2
    classes = np.array([2, 17])
    first, second = (
        crf.refine_labels(image, argmax_labels(cams, threshold), num_labels=3, confidence=0.8, **CRF)
        for threshold in (0.5, 0.25)
    )
    labels = confident_labels(image, classes, cams, **OPTIONS)
    assert labels.dtype == np.int64
    for y, x in np.ndindex(26, 37):
        certain_foreground, certain_background = first[y, x] > 0, first[y, x] == second[y, x] == 0
        expected = classes[first[y, x] - 1] if certain_foreground else 0 if certain_background else 255
        assert labels[y, x] == expected
    assert {0, 255} < set(np.unique(labels))


def test_a_photo_without_classes_is_certain_background():
    labels = confident_labels(np.zeros((3, 4, 3), np.uint8), np.array([], int), torch.zeros(0, 3, 4), **OPTIONS)
    assert labels.tolist() == np.zeros((3, 4)).tolist()


def test_confident_labels_of_the_paper_by_default(monkeypatch):
    calls = []
    refine = crf.DenseCRF.refine_labels

    def note(own, labels, **keywords):
        calls.append((labels.tolist(), keywords))
        return refine(own, labels, **keywords)

    monkeypatch.setattr(crf.DenseCRF, "refine_labels", note)
    image, cams = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), torch.rand(1, 6, 8)
    labels = confident_labels(image, np.array([3]), cams)
    ((starts, keywords),) = calls
    assert starts == [argmax_labels(cams, 0.3).tolist(), argmax_labels(cams, 0.1).tolist()]
    assert keywords == {"num_labels": 2, "confidence": 0.7, "iterations": 10}
    paper = {"iterations": 10, "gaussian": (3, 3), "bilateral": (50, 5, 10)}
    np.testing.assert_array_equal(labels, confident_labels(image, np.array([3]), cams, crf=paper))


def test_strongest_class_of_cams():
    cams = torch.from_numpy(np.random.default_rng(0).random((2, 11, 14), np.float32))
    best, score = strongest_class(np.array([4, 9]), cams)
    assert (best.shape, score.shape, score.dtype) == ((11, 14), (11, 14), np.float32)
    for y, x in np.ndindex(11, 14):
        values = cams[:, y, x].tolist()
        assert score[y, x] == max(values)
        assert best[y, x] == [4, 9][values.index(max(values))]


def test_without_labels_the_background_is_strongest():
    best, score = strongest_class(np.array([], int), torch.zeros(0, 11, 14))
    assert best.shape == score.shape == (11, 14) and not best.any() and not score.any()


@given(st.lists(st.integers(0, 50), min_size=2, max_size=12).filter(any))
@settings(deadline=None)
def test_the_background_threshold_is_the_best_border_of_all(histogram):
    values = [(k + 0.5) / len(histogram) for k, count in enumerate(histogram) for _ in range(count)]

    def divergence(border: float) -> float:
        total = 0.0
        for side in ([v for v in values if v < border], [v for v in values if v > border]):
            mean = np.mean(side) if side else 0
            # The first terms of its Taylor series at the mean are taken off a convex function.
            total += sum(v**1.5 - mean**1.5 - 1.5 * mean**0.5 * (v - mean) for v in side)
        return total

    found = seeds.background_threshold(np.array(histogram))
    borders = [k / len(histogram) for k in range(1, len(histogram))]
    assert found in borders
    assert divergence(found) == pytest.approx(min(map(divergence, borders)), abs=1e-9)


@pytest.mark.parametrize("dark", [2, 6, 12])
def test_the_background_threshold_lies_between_two_known_ones(dark):
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.beta(1, dark, 4000), rng.beta(4, 3, 1500)])
    histogram = np.histogram(values, 256, (0, 1))[0]
    found = seeds.background_threshold(histogram)
    assert threshold_li(values) < found < threshold_otsu(values)
    assert seeds.background_threshold(histogram / 7e5) == found


def test_an_empty_histogram_has_no_threshold():
    with pytest.raises(ValueError, match="empty"):
        seeds.background_threshold(np.zeros(8))
