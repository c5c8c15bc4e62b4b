"""Test-time inference against one forward pass per view."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ssc.crf import refine_probabilities
from ssc.data.index import read_index
from ssc.data.transforms import normalise, read_image, resize_image
from ssc.models.deeplab import DeepLabV2
from ssc.prediction import TEST_CRF, predict_steps, probabilities

CLASSES = 4
OPTIONS = {"num_classes": CLASSES, "backbone": "tiny", "output_stride": 4, "rates": [1, 2]}
CRF = {**TEST_CRF, "iterations": 3}


def decided(seed: int) -> DeepLabV2:
    torch.manual_seed(seed)
    model = DeepLabV2(**OPTIONS).eval()
    with torch.no_grad():  # the initial logits are near 0; these decide
        for branch in model.aspp:
            branch.weight *= 20
    return model


@pytest.fixture(scope="module")
def model() -> DeepLabV2:
    return decided(0)


@pytest.fixture(scope="module")
def second() -> DeepLabV2:
    return decided(1)


def slow_view(models, photo, scale, mirror):
    """Softmax of the mean logits of one view, brought back to the photo, (K, H, W)."""
    height, width = photo.shape[:2]
    resized = resize_image(photo, (round(height * scale), round(width * scale)))
    view = normalise(np.ascontiguousarray(resized[:, ::-1] if mirror else resized))[None]
    with torch.no_grad():
        logits = [F.interpolate(model(view), size=(height, width), mode="bilinear")[0].numpy() for model in models]
    exponentials = np.exp(np.mean(logits, axis=0))
    softmax = exponentials / exponentials.sum(axis=0)
    return softmax[..., ::-1] if mirror else softmax


@pytest.fixture
def photo(tiny_set) -> np.ndarray:
    return read_image(read_index(tiny_set).rows[1].image)


@pytest.mark.parametrize("scales", [(1.0,), (0.75,), (0.5, 1.0, 1.5), (0.5, 1.5)])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pair", [False, True])
def test_probabilities_are_the_means_over_the_views_of_each_step(model, second, photo, scales, flip, pair):
    models = [model, second] if pair else [model]
    plain = [slow_view(models, photo, scale, False) for scale in scales]
    mirrored = [slow_view(models, photo, scale, True) for scale in scales]
    expected = [slow_view(models, photo, 1.0 if len(scales) > 1 else scales[0], False)]
    expected += [np.mean(plain, axis=0)] if len(scales) > 1 else []
    expected += [np.mean(plain + mirrored, axis=0)] if flip else []
    steps = probabilities(models, photo, scales=scales, flip=flip)
    assert len(steps) == len(expected)
    for scores, slow in zip(steps, expected, strict=True):
        assert scores.shape == (CLASSES, *photo.shape[:2]) and scores.dtype == torch.float32
        np.testing.assert_allclose(scores, slow, atol=1e-5)
        assert scores.min() >= 0
        np.testing.assert_allclose(scores.sum(dim=0), 1, atol=1e-5)
        assert len(scores.argmax(dim=0).unique()) > 1
    for earlier, later in pairwise(expected):
        assert abs(earlier - later).max() > 0.01


@pytest.mark.parametrize(
    ("scales", "passes"), [((0.5, 1.0, 1.5), [0.5, 1.0, 1.5]), ((0.5, 1.5), [0.5, 1.5, 1.0]), ((0.75,), [0.75])]
)
def test_each_scale_passes_the_network_once(model, photo, scales, passes):
    seen = []
    hook = model.register_forward_pre_hook(lambda module, views: seen.append(views[0].shape))
    probabilities([model], photo, scales=scales)
    hook.remove()
    assert [shape[-2:] for shape in seen] == [
        tuple(round(side * scale) for side in photo.shape[:2]) for scale in passes
    ]
    assert [shape[0] for shape in seen] == [2 if scale in scales else 1 for scale in passes]


def test_the_mirrored_photo_has_the_mirrored_probabilities(model, photo):
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    straight = probabilities([model], photo, scales=(1.0, 0.5))
    other = [scores.flip(-1) for scores in probabilities([model], mirrored, scales=(1.0, 0.5))]
    np.testing.assert_allclose(other[-1], straight[-1], atol=1e-4)
    for step in (0, 1):
        assert (other[step] - straight[step]).abs().max() > 0.01


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"flip": False}, 1),
        ({}, 2),
        ({"flip": False, "crf": CRF}, 2),
        ({"scales": (1.0, 0.75)}, 3),
        ({"scales": (0.5, 0.75), "crf": CRF}, 4),
    ],
)
@pytest.mark.parametrize("pair", [False, True])
def test_labels_of_each_step_are_its_most_probable_classes(model, second, photo, options, steps, pair):
    models = [model, second] if pair else [model]
    maps = predict_steps(models, photo, **options)
    assert len(maps) == steps
    views = {key: value for key, value in options.items() if key != "crf"}
    scores = [each.numpy() for each in probabilities(models, photo, **views)]
    if "crf" in options:
        scores.append(refine_probabilities(photo, scores[-1], iterations=3, gaussian=(1, 3), bilateral=(67, 3, 4)))
    for labels, own in zip(maps, scores, strict=True):
        assert labels.shape == photo.shape[:2]
        np.testing.assert_array_equal(labels, own.argmax(axis=0))
    assert all((one != other).any() for one, other in pairwise(maps))
