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
from tests.unit.training.trainings import make_data, options, settings_of, train, training, with_changes


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
    own = settings_of("segmentation", scales=[1.0], crop=48)
    image, target, everywhere = Sampler(labels, None, own)(row, draw())
    same, again, confident = Sampler(labels, confidence, own)(row, draw())
    assert torch.equal(image, same) and torch.equal(target, again) and everywhere.all()
    kept = mask_labels(target, confident) != 255
    expected = ((labels.labels(row.id) != 255) & (confidence.labels(row.id) == 1)).sum()
    assert kept.sum() == expected < (target != 255).sum()
    assert confident.dtype == torch.bool and confident[(image == 0).all(dim=0)].all()


def test_resized_windows_are_parts_of_the_photo_without_padding(data):
    row = read_index(data.index).split("train")[1]
    labels, confidence = Archive(*data.labels), Archive(*data.confidence)
    own = settings_of("segmentation", windows="resized", area=[0.5, 0.75], crop=40)
    shares = []
    for seed in range(30):
        image, target, confident = Sampler(labels, confidence, own)(row, draw(seed))
        assert image.shape == (3, 40, 40) and target.shape == confident.shape == (40, 40)
        assert not (image == 0).all(dim=0).any()  # what padding would be
        shares.append((target == 2).float().mean().item())
    # The rectangle of 440 pixels fills more of a part than of the photo.
    whole = 440 / labels.labels(row.id).size
    assert max(shares) > 1.2 * whole and len(set(shares)) > 5


def test_plain_training_sees_changed_colours_if_asked(data, tmp_path):
    plain = train("segmentation", data, tmp_path / "a.safetensors", epochs=1)
    changed = train("segmentation", data, tmp_path / "b.safetensors", epochs=1, colours=True)
    assert plain.losses()[0]["cross_entropy"] != changed.losses()[0]["cross_entropy"]


def test_validation_masks_must_be_there_to_select_an_epoch(data, tmp_path):
    data = with_changes(data, masks=[])
    with pytest.raises(InputError, match=r"segmentation\.select_on_val: no photo of the split val has a mask"):
        train("segmentation", data, tmp_path / "x.safetensors", select_on_val=True)
