"""Test-time inference against one forward pass per view."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from ssc.crf import refine_probabilities
from ssc.data.index import read_index
from ssc.data.photos import read_image
from ssc.data.transforms import normalise, resize_image
from ssc.models.deeplab import DeepLabV2
from ssc.prediction import fuse, predict_steps, probabilities, wrapped_colours

CLASSES = 4
OPTIONS = {"num_classes": CLASSES, "backbone": "tiny", "output_stride": 4, "rates": [1, 2]}
CRF = {"iterations": 3, "gaussian": (1, 3), "bilateral": (67, 3, 4)}


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


def bilinear(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(K, h, w) to (K, *size) in float64, one axis after the other; pixel centres match, the border repeats."""
    for axis, side in ((1, size[0]), (2, size[1])):
        place = np.maximum((np.arange(side) + 0.5) * maps.shape[axis] / side - 0.5, 0)
        low = np.floor(place).astype(int)
        part = (place - low).reshape([-1 if axis == each else 1 for each in range(3)])
        high = np.minimum(low + 1, maps.shape[axis] - 1)
        maps = maps.take(low, axis) * (1 - part) + maps.take(high, axis) * part
    return maps


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pair", [False, True])
def test_the_released_protocol_is_the_largest_logit_of_a_square_over_its_scales(model, second, photo, flip, pair):
    """The photo becomes a square, which is resized without smoothing; logits meet on scale 1's grid of the stride."""
    models, scales, side = [model, second] if pair else [model], (0.5, 1.0, 1.5), 32
    base = normalise(np.asarray(Image.fromarray(photo).resize((side, side), Image.Resampling.BILINEAR))).numpy()
    grid, found = (side // 4, side // 4), []
    for scale in scales:
        view = bilinear(base.astype(np.float64), (int(side * scale), int(side * scale)))
        for mirrored in (False, True) if flip else (False,):
            own = torch.tensor(view[..., ::-1].copy() if mirrored else view, dtype=torch.float32)[None]
            with torch.no_grad():
                logits = np.mean([each(own)[0].double().numpy() for each in models], axis=0)
            found.append(bilinear(logits[..., ::-1] if mirrored else logits, grid))
    expected = bilinear(np.max(found, axis=0), photo.shape[:2])
    scores = probabilities(models, photo, scales=scales, flip=flip, square=side, how="max_logit")[-1]
    np.testing.assert_allclose(scores, torch.from_numpy(expected).softmax(dim=0), atol=1e-5)
    labels = predict_steps(models, photo, scales=scales, flip=flip, square=side, how="max_logit")[-1]
    np.testing.assert_array_equal(labels, expected.argmax(axis=0))
    assert (labels != predict_steps(models, photo, scales=scales, flip=flip)[-1]).any()


def test_views_are_fused_as_asked():
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 3, 5, 6)))
    slow = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fuse(logits), slow.mean(axis=0), atol=1e-12)
    np.testing.assert_array_equal(fuse(logits, "max_logit"), logits.numpy().max(axis=0))
    for how in ("mean_probability", "max_logit"):
        np.testing.assert_array_equal(fuse(iter(logits), how), fuse(logits, how))


def test_the_released_crf_sees_colours_less_their_mean_modulo_256():
    photo = np.array([[[0, 0, 0], [255, 255, 255], [122, 116, 104]], [[123, 117, 105], [121, 116, 103], [10, 200, 90]]])
    seen = wrapped_colours(photo.astype(np.uint8))
    assert seen.dtype == np.uint8
    # 0 - 122.675 is cut to -122, which is 134 of 256; 122 - 122.675 to 0.
    assert seen[0].tolist() == [[134, 140, 152], [132, 138, 150], [0, 0, 0]]
    assert seen[1].tolist() == [[0, 0, 0], [255, 0, 255], [144, 83, 242]]


def test_the_crf_can_see_wrapped_colours(model, photo):
    plain = probabilities([model], photo)[-1].numpy()
    *_, labels = predict_steps([model], photo, crf=CRF, colours="wrapped")
    np.testing.assert_array_equal(labels, refine_probabilities(wrapped_colours(photo), plain, **CRF).argmax(axis=0))
    assert (labels != predict_steps([model], photo, crf=CRF)[-1]).any()


def test_an_unknown_way_to_fuse_is_refused():
    with pytest.raises(ValueError, match="how is 'mean', not mean_probability or max_logit"):
        fuse(torch.zeros(1, 2, 3, 4), "mean")
