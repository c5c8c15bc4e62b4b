"""The training of the segmentation network, and of a co-trained pair."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ssc.archive import Archive
from ssc.data.index import read_index
from ssc.models import DeepLabV2, backbone
from ssc.models.weights import load_part, read_header
from ssc.runtime.errors import InputError
from ssc.training.cotraining import mask_labels
from ssc.training.run import Run
from ssc.training.segmentation import Sampler
from tests.unit.training.trainings import make_data, options, train, training, with_changes


def test_what_is_written(trained):
    network = load_part(trained.folder / "segmentation.safetensors", "segmentation", DeepLabV2)
    assert network(torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))).shape == (1, 3, 4, 5)
    parts = read_header(trained.folder / "cotraining.safetensors")["parts"]
    assert list(parts) == ["segmentation", "segmentation_2"] and parts["segmentation"] == parts["segmentation_2"]


@pytest.mark.parametrize("kind", ["segmentation", "cotraining"])
def test_the_loss_falls(tmp_path, kind):
    easy = make_data(tmp_path, count=4, noise=0)
    result = train(kind, easy, tmp_path / "x.safetensors", epochs=20, batch_size=4, lr=0.05)
    values = [sum(losses.values()) for losses in result.losses()]
    assert len(values) == 20 and np.mean(values[-3:]) < 0.8 * values[0]


def test_cotrained_networks_start_from_one_backbone_with_heads_of_their_own(data, tmp_path):
    torch.manual_seed(5)
    save_file(backbone("tiny").state_dict(), tmp_path / "tiny.safetensors")
    rates = {"lr": 1e-30, "head_lr": 1e-30, "min_lr": 0, "freeze_norm": True, "epochs": 1}
    train("cotraining", data, tmp_path / "x.safetensors", initial=tmp_path / "tiny.safetensors", **rates)
    first, second = (
        load_part(tmp_path / "x.safetensors", name, DeepLabV2).state_dict()
        for name in ("segmentation", "segmentation_2")
    )
    assert all(
        torch.equal(value, second[key]) == key.startswith("backbone.")
        for key, value in first.items()
        if "bias" not in key
    )


def test_cotraining_needs_confidence_masks(data, tmp_path):
    data = with_changes(data, confidence=[])
    with pytest.raises(InputError, match=r"segmentation\.training: cotraining needs confidence masks"):
        train("cotraining", data, tmp_path / "x.safetensors")


@pytest.mark.parametrize("freeze", [True, False])
def test_segmentation_freezes_batch_norms_if_asked(data, tmp_path, freeze):
    train("segmentation", data, tmp_path / "x.safetensors", freeze_norm=freeze, epochs=1)
    model = load_part(tmp_path / "x.safetensors", "segmentation", DeepLabV2)
    assert torch.equal(model.backbone.bn1.running_mean, torch.zeros(16)) == freeze


@pytest.mark.parametrize(("kind", "networks"), [("segmentation", ["DeepLabV2"]), ("cotraining", ["DeepLabV2"] * 2)])
def test_networks_are_compiled_if_asked(data, tmp_path, monkeypatch, kind, networks):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(type(module).__name__))
    for asked in (False, True):
        function, arguments = training(kind, data, epochs=1)
        function(Run(**options(tmp_path / f"{asked}.safetensors", compile=asked)), **arguments)
        assert compiled == (networks if asked else [])


def draw(seed=0):
    return np.random.default_rng(seed)


def test_unconfident_pixels_are_ignored(data):
    row = read_index(data.index).split("train")[1]
    labels, confidence = Archive(*data.labels), Archive(*data.confidence)
    shared = {"labels": labels, "scales": [1.0], "crop": 48}
    image, target, everywhere = Sampler(confidence=None, **shared)(row, draw())
    same, again, confident = Sampler(confidence=confidence, **shared)(row, draw())
    assert torch.equal(image, same) and torch.equal(target, again) and everywhere.all()
    kept = mask_labels(target, confident) != 255
    expected = ((labels.labels(row.id) != 255) & (confidence.labels(row.id) == 1)).sum()
    assert kept.sum() == expected < (target != 255).sum()
    assert confident.dtype == torch.bool and confident[(image == 0).all(dim=0)].all()
