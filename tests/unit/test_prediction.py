import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ssc.archive import Archive
from ssc.crf import refine_probabilities
from ssc.data.index import Index, Row, read_index, write_index
from ssc.data.transforms import normalise, read_image, resize_image
from ssc.models.deeplab import DeepLabV2
from ssc.prediction import predict_labels, probabilities, write_predictions
from ssc.weights import save_weights

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


@pytest.fixture(scope="module")
def model() -> DeepLabV2:
    torch.manual_seed(0)
    model = DeepLabV2(**OPTIONS).eval()
    with torch.no_grad():  # the initial logits are near 0; these decide
        for branch in model.aspp:
            branch.weight *= 20
    return model


@pytest.fixture
def photo(tiny_set) -> np.ndarray:
    return read_image(read_index(tiny_set).rows[1].image)


def settings(*, scales=(1.0,), flip=True, crf=False) -> dict:
    return {"scales": list(scales), "flip": flip, "crf": {**CRF, "enabled": crf}}


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0, 1.5)])
@pytest.mark.parametrize("flip", [False, True])
def test_probabilities_are_the_mean_over_all_views(model, photo, scales, flip):
    height, width = photo.shape[:2]
    views = []
    for scale in scales:
        resized = resize_image(photo, (round(height * scale), round(width * scale)))
        for mirror in (False, True) if flip else (False,):
            view = np.ascontiguousarray(resized[:, ::-1] if mirror else resized)
            with torch.no_grad():
                logits = F.interpolate(model(normalise(view)[None]), size=(height, width), mode="bilinear")[0]
            exponentials = np.exp(logits.numpy())
            softmax = exponentials / exponentials.sum(axis=0)
            views.append(softmax[..., ::-1] if mirror else softmax)
    scores = probabilities(model, photo, scales=scales, flip=flip)
    assert scores.shape == (CLASSES, height, width) and scores.dtype == torch.float32
    np.testing.assert_allclose(scores, np.mean(views, axis=0), atol=1e-5)
    assert scores.min() >= 0
    np.testing.assert_allclose(scores.sum(dim=0), 1, atol=1e-5)
    assert len(scores.argmax(dim=0).unique()) > 1


def test_the_mirrored_photo_has_the_mirrored_probabilities(model, photo):
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    scores = probabilities(model, photo, scales=(1.0, 0.5))
    flipped_back = probabilities(model, mirrored, scales=(1.0, 0.5)).flip(-1)
    np.testing.assert_allclose(flipped_back, scores, atol=1e-4)
    one_sided = probabilities(model, photo, flip=False)
    assert (probabilities(model, mirrored, flip=False).flip(-1) - one_sided).abs().max() > 0.01


def test_labels_without_crf_are_the_most_probable_classes(model, photo):
    labels = predict_labels(model, photo, settings(scales=(1.0, 0.75)))
    scores = probabilities(model, photo, scales=(1.0, 0.75)).numpy()
    assert labels.shape == photo.shape[:2]
    for y, x in np.ndindex(labels.shape):
        assert scores[labels[y, x], y, x] == scores[:, y, x].max()


def test_labels_with_crf_are_the_most_probable_refined_classes(model, photo):
    labels = predict_labels(model, photo, settings(flip=False, crf=True))
    scores = probabilities(model, photo, flip=False).numpy()
    refined = refine_probabilities(photo, scores, iterations=3, gaussian=(1, 3), bilateral=(67, 3, 4))
    np.testing.assert_array_equal(labels, refined.argmax(axis=0))
    assert (labels != scores.argmax(axis=0)).any()


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
            settings=settings(flip=False),
            device="cpu",
        )
    written = Archive(tmp_path / "1-of-2.zip", tmp_path / "2-of-2.zip")
    assert written.ids() == ["ta", "tb", "tc"]
    for row in test_rows:
        expected = predict_labels(model, read_image(row.image), settings(flip=False))
        np.testing.assert_array_equal(written.labels(row.id), expected)
