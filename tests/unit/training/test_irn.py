"""The training of IRN: its backbone, its mean displacement, its samples."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ssc.archive import Archive
from ssc.data.index import read_index
from ssc.data.photos import read_image
from ssc.data.transforms import augment, resize_labels
from ssc.models import IRN, backbone
from ssc.models.weights import load_part
from ssc.training.irn import Sampler
from ssc.training.loader import TrainingLoader
from ssc.training.run import Run
from tests.unit.training.trainings import options, settings_of, train, training


def test_what_is_written(trained):
    irn = load_part(trained.folder / "irn.safetensors", "irn", IRN)
    assert irn(torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0)))[1].shape == (1, 2, 8, 10)


def test_the_losses_are_those_of_irn(trained):
    for losses in trained.irn.losses():
        assert list(losses) == ["pos", "neg", "dp_fg", "dp_bg", "total"]
        parts = losses["pos"] + losses["neg"] + losses["dp_fg"] + losses["dp_bg"]
        assert losses["total"] == pytest.approx(parts / 2, rel=1e-4)


def test_the_network_is_compiled_if_asked(data, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(type(module).__name__))
    for asked in (False, True):
        function, arguments = training("irn", data, epochs=1)
        function(Run(**options(tmp_path / f"{asked}.safetensors", compile=asked)), **arguments)
        assert compiled == (["IRN"] if asked else [])


def test_mean_displacement_is_that_of_the_training_set(data, trained):
    model = load_part(trained.folder / "irn.safetensors", "irn", IRN)
    settings = settings_of("irn")
    sample = Sampler(Archive(*data.labels), scale=settings.scale, crop=settings.crop)
    loader = TrainingLoader(read_index(data.index).split("train"), sample, batch_size=2, seed=0)
    fields = [model.train()(image)[1].detach() for image, _ in loader.epoch(0)]
    expected = torch.cat(fields).double().mean(dim=(0, 2, 3))
    assert expected.abs().min() > 1e-6
    torch.testing.assert_close(model.displacement_mean.double(), expected, rtol=1e-4, atol=1e-7)


def test_irn_leaves_its_backbone_alone(data, tmp_path):
    torch.manual_seed(5)
    body = backbone("tiny")
    save_file(body.state_dict(), tmp_path / "tiny.safetensors")
    train("irn", data, tmp_path / "irn.safetensors", initial=tmp_path / "tiny.safetensors", epochs=1)
    own = load_part(tmp_path / "irn.safetensors", "irn", IRN).backbone.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in body.state_dict().items())


def draw(seed=0):
    return np.random.default_rng(seed)


def test_irn_samples_have_labels_at_stride_four(data):
    row = read_index(data.index).split("train")[0]
    labels = Archive(*data.labels)
    image, target = Sampler(labels, scale=(1.0, 1.0), crop=64)(row, draw())
    assert image.shape == (3, 64, 64) and target.shape == (16, 16) and target.dtype == torch.int64
    # The same generator draws the same window once the scale is drawn.
    rng = draw()
    rng.uniform()
    maps = [labels.labels(row.id)]
    same, (full,) = augment(read_image(row.image), maps, size=maps[0].shape, fills=[255], crop=64, rng=rng)
    assert torch.equal(image, same)
    np.testing.assert_array_equal(target, resize_labels(full.numpy(), (16, 16)))
    assert not torch.equal(target, full[::4, ::4])
    assert (target[(image == 0).all(dim=0)[2::4, 2::4]] == 255).all()
    assert set(target.unique().tolist()) == {0, 1, 255}


def test_the_edges_learn_the_same_without_displacements(data, tmp_path, trained):
    train("irn", data, tmp_path / "irn.safetensors", displacement_lr=None)
    alone = load_part(tmp_path / "irn.safetensors", "irn", IRN)
    both = load_part(trained.folder / "irn.safetensors", "irn", IRN).state_dict()
    assert alone.state_dict().keys() < both.keys()
    assert all(torch.equal(value, both[key]) for key, value in alone.state_dict().items())
