"""The names that other programs call, with positional arguments in the order they are promised."""

import inspect

import numpy as np
import pytest
import torch

import ssc.archive
from ssc.affinity import irn_losses, random_walk
from ssc.cams import multi_scale_cams
from ssc.crf import refine_labels, refine_probabilities
from ssc.losses import PerceptualLoss, alignment_loss, decoder_image
from ssc.metrics import ConfusionMatrix
from ssc.models import IRN, CAMClassifier, DeepLabV2, DiscriminativeRegionSuppression, ReconstructionNet, backbone
from ssc.prediction import fuse
from ssc.pseudo_labels import confidence_mask, edge_map
from ssc.superpixels import superpixels

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (24, 32, 3), np.uint8)
IMAGE = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def is_scalar(value):
    return value.shape == () and bool(torch.isfinite(value))


@pytest.mark.parametrize(
    ("function", "promised"),
    [
        (superpixels, {"image": ..., "max_regions": 64}),
        (alignment_loss, {"features": ..., "superpixels": ..., "labels": ..., "threshold": 0.3, "erosion": 8,
                          "reliable": True}),
        (PerceptualLoss, {"network": ..., "weights": (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1)}),
        (DiscriminativeRegionSuppression, {"delta": 0.55}),
        (ReconstructionNet, {"num_classes": ..., "gamma": "one"}),
        (decoder_image, {"reconstruction": ..., "range": "normalised"}),
        (fuse, {"scores": ..., "how": "mean_probability"}),
        (edge_map, {"model": ..., "image": ...}),
        (multi_scale_cams, {"model": ..., "views": ..., "size": ...}),
        (CAMClassifier, {"num_classes": ..., "backbone": "resnet50", "weights": None}),
        (IRN, {"backbone": "resnet50"}),
        (DeepLabV2, {"num_classes": ..., "backbone": "resnet101"}),
        (irn_losses, {"edge_logits": ..., "displacement": ..., "labels": ..., "radius": 10}),
        (random_walk, {"cams": ..., "edges": ..., "radius": 5, "beta": 10, "exp_times": 8}),
        (refine_labels, {"image": ..., "labels": ..., "num_labels": ..., "confidence": 0.7, "iterations": 10,
                         "gaussian": (3, 3), "bilateral": (50, 5, 10)}),
        (refine_probabilities, {"image": ..., "probabilities": ..., "iterations": 10, "gaussian": (3, 3),
                                "bilateral": (50, 5, 10)}),
        (confidence_mask, {"scores": ..., "keep": 0.5}),
        (ConfusionMatrix, {"num_classes": ..., "ignore_index": 255}),
    ],
)  # fmt: skip
def test_names_order_and_defaults(function, promised):
    parameters = list(inspect.signature(function).parameters.values())
    own = {p.name: ... if p.default is p.empty else p.default for p in parameters[: len(promised)]}
    assert own == promised and list(own) == list(promised)
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters[: len(promised)])
    assert all(p.default is not p.empty for p in parameters[len(promised) :])


def test_superpixels():
    labels = superpixels(PHOTO, 5)
    assert labels.shape == (24, 32) and labels.dtype.kind == "i"
    assert set(np.unique(labels)) == set(range(labels.max() + 1)) and labels.max() < 5


def test_losses_of_the_classifier():
    features = IMAGE.new_ones(2, 4, 4, 6).cumsum(dim=3).requires_grad_()
    regions = torch.arange(32)[:, None] // 8 * 6 + torch.arange(48) // 8
    labels = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0]])
    loss = alignment_loss(features, regions.expand(2, 32, 48), labels, 0.3, 8, True)
    assert is_scalar(loss)
    loss.backward()
    assert features.grad.shape == features.shape
    assert is_scalar(PerceptualLoss(backbone("tiny"), [1.0] * 5)(IMAGE, IMAGE.flip(3)))


def test_drs_and_reconstruction():
    assert DiscriminativeRegionSuppression(0.55)(IMAGE).shape == IMAGE.shape
    assert ReconstructionNet(20)(torch.zeros(1, 20, 2, 3)).shape == (1, 3, 32, 48)


def test_networks():
    logits, features = CAMClassifier(20, "tiny", None, output_stride=8)(IMAGE)
    assert logits.shape == (2, 20) and features.shape == (2, 20, 4, 6)
    edges, displacement = IRN("tiny")(IMAGE)
    assert edges.shape == (2, 1, 8, 12) and displacement.shape == (2, 2, 8, 12)
    assert DeepLabV2(21, "tiny")(IMAGE).shape == (2, 21, 4, 6)


def test_affinities():
    labels = torch.arange(8)[:, None].expand(2, 8, 12) // 4
    losses = irn_losses(torch.zeros(2, 1, 8, 12), torch.zeros(2, 2, 8, 12), labels, 3)
    assert set(losses) == {"pos", "neg", "dp_fg", "dp_bg", "total"} and all(map(is_scalar, losses.values()))
    assert random_walk(torch.rand(3, 8, 12), torch.rand(8, 12), 3, 10, 2).shape == (3, 8, 12)


def test_dense_crf():
    labels = RNG.integers(0, 3, (24, 32))
    refined = refine_labels(PHOTO, labels, 3, 0.7, 2, (3, 3), (50, 5, 10))
    assert refined.shape == (24, 32) and refined.dtype.kind == "i"
    probabilities = np.full((3, 24, 32), 1 / 3, np.float32)
    assert refine_probabilities(PHOTO, probabilities, 2, (3, 3), (50, 5, 10)).shape == (3, 24, 32)


def test_confidence_mask_and_confusion_matrix():
    scores = RNG.random((3, 24, 32))
    mask = confidence_mask(scores, 0.5)
    assert mask.shape == (24, 32) and mask.dtype == bool
    matrix = ConfusionMatrix(3, 255)
    matrix.update(np.array([[0, 1, 255]]), np.array([[0, 1, 2]]))
    assert matrix.iou().shape == (3,) and matrix.miou() == 1.0


def test_archive(tmp_path):
    labels = RNG.integers(0, 256, (5, 7))
    with ssc.archive.write(tmp_path / "shard.zip") as writer:
        writer.add_labels("a", labels)
        writer.add_arrays("b", cams=labels.astype(np.float16))
    archive = ssc.archive.Archive(tmp_path / "shard.zip")
    assert archive.ids() == ["a", "b"]
    np.testing.assert_array_equal(archive.labels("a"), labels)
    np.testing.assert_array_equal(archive.arrays("b")["cams"], labels)


def test_conventions_of_the_release_are_keywords():
    defaults = [
        (edge_map, {"pad": None, "mirror": "probability"}),
        (multi_scale_cams, {"stride": 4}),
    ]
    for function, promised in defaults:
        parameters = inspect.signature(function).parameters
        assert {name: parameters[name].default for name in promised} == promised
        assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in promised)
