from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ssc.archive import Archive
from ssc.crf import refine_probabilities
from ssc.data.index import Index, Row, read_index, write_index
from ssc.data.transforms import normalise, read_image, resize_image
from ssc.runtime.errors import InputError
from ssc.models.deeplab import DeepLabV2
from ssc.prediction import load_networks, predict_labels, predict_steps, probabilities, write_predictions
from ssc.workflow.experiments import step_names
from ssc.models.weights import save_weights

CLASSES = 4
OPTIONS = {"num_classes": CLASSES, "backbone": "tiny", "output_stride": 4, "rates": [1, 2]}
CRF = {
    "enabled": True,
    "iterations": 3,
    "gaussian_sxy": 1,
    "gaussian_weight": 3,
    "bilateral_sxy": 67,
    "bilateral_srgb": 3,
    "bilateral_weight": 4,
}


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


def settings(*, scales=(1.0,), flip=True, crf=False) -> dict:
    return {"scales": list(scales), "flip": flip, "crf": {**CRF, "enabled": crf}}


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
    ("options", "names"),
    [
        ({}, ["single scale", "single scale + flip"]),
        ({"flip": False}, ["single scale"]),
        ({"flip": False, "crf": True}, ["single scale", "single scale + CRF"]),
        ({"scales": (1.0, 0.75), "flip": False}, ["single scale", "multi-scale"]),
        (
            {"scales": (0.5, 0.75), "crf": True},
            ["single scale", "multi-scale", "multi-scale + flip", "multi-scale + flip + CRF"],
        ),
    ],
)
def test_steps_are_named_by_what_they_add(model, photo, options, names):
    assert step_names(settings(**options)) == names
    assert list(predict_steps([model], photo, settings(**options))) == names


def test_labels_without_crf_are_the_most_probable_classes(model, photo):
    labels = predict_labels([model], photo, settings(scales=(1.0, 0.75)))
    scores = probabilities([model], photo, scales=(1.0, 0.75))[-1].numpy()
    assert labels.shape == photo.shape[:2]
    for y, x in np.ndindex(labels.shape):
        assert scores[labels[y, x], y, x] == scores[:, y, x].max()


def test_labels_with_crf_are_the_most_probable_refined_classes(model, photo):
    labels = predict_labels([model], photo, settings(flip=False, crf=True))
    scores = probabilities([model], photo, flip=False)[-1].numpy()
    refined = refine_probabilities(photo, scores, iterations=3, gaussian=(1, 3), bilateral=(67, 3, 4))
    np.testing.assert_array_equal(labels, refined.argmax(axis=0))
    assert (labels != scores.argmax(axis=0)).any()


def test_the_steps_of_a_pair_are_their_most_probable_classes(model, second, photo):
    steps = predict_steps([model, second], photo, settings(scales=(1.0, 0.75), crf=True))
    scores = probabilities([model, second], photo, scales=(1.0, 0.75))
    maps = list(steps.values())
    for labels, expected in zip(maps[:-1], scores, strict=True):
        np.testing.assert_array_equal(labels, expected.numpy().argmax(axis=0))
    assert all((one != other).any() for one, other in pairwise(maps))
    np.testing.assert_array_equal(
        maps[-1], predict_labels([model, second], photo, settings(scales=(1.0, 0.75), crf=True))
    )


def test_one_network_or_a_pair_is_loaded(model, second, tmp_path):
    save_weights(tmp_path / "one.safetensors", {"segmentation": (model, OPTIONS)})
    save_weights(tmp_path / "two.safetensors", {"segmentation_2": (second, OPTIONS), "segmentation": (model, OPTIONS)})
    for name, expected in (("one", [model]), ("two", [model, second])):
        networks = load_networks(tmp_path / f"{name}.safetensors")
        for network, own in zip(networks, expected, strict=True):
            assert not network.training
            assert all(torch.equal(value, own.state_dict()[key]) for key, value in network.state_dict().items())
    save_weights(tmp_path / "other.safetensors", {"segmentation_2": (second, OPTIONS)})
    with pytest.raises(InputError, match=r"other\.safetensors holds no segmentation \(DeepLabV2\)"):
        load_networks(tmp_path / "other.safetensors")


def test_a_shard_of_a_split_is_predicted(model, tiny_set, tmp_path):
    save_weights(tmp_path / "w.safetensors", {"segmentation": (model, OPTIONS)})
    table = read_index(tiny_set)
    test_rows = [Row(id=f"t{row.id}", split="test", image=row.image, mask="", labels=()) for row in table.rows]
    write_index(tmp_path / "index.tsv", Index(table.classes, [*table.rows, *test_rows]))
    for shard in ("1-of-2", "2-of-2"):
        write_predictions(
            index=tmp_path / "index.tsv",
            split="test",
            shard=shard,
            weights=tmp_path / "w.safetensors",
            output=tmp_path / f"{shard}.zip",
            steps=tmp_path / f"steps-{shard}.zip",
            settings=settings(scales=(1.0, 0.75)),
            device="cpu",
        )
    written = Archive(tmp_path / "1-of-2.zip", tmp_path / "2-of-2.zip")
    steps = Archive(tmp_path / "steps-1-of-2.zip", tmp_path / "steps-2-of-2.zip")
    assert written.ids() == ["ta", "tb", "tc"]
    assert steps.ids() == [f"{name}/{row}" for name in ("multi-scale", "single scale") for row in written.ids()]
    for row in test_rows:
        expected = predict_steps([model], read_image(row.image), settings(scales=(1.0, 0.75)))
        np.testing.assert_array_equal(written.labels(row.id), expected.pop("multi-scale + flip"))
        for name, labels in expected.items():
            np.testing.assert_array_equal(steps.labels(f"{name}/{row.id}"), labels)
