"""The classifier's training: its losses, what it starts from, its samples."""

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file

from ssc.archive import Archive
from ssc.data.index import Index, Row, read_index, write_index
from ssc.models import IRN, CAMClassifier, ReconstructionNet
from ssc.models.weights import load_part, read_header, save_weights
from ssc.runtime.errors import InputError
from ssc.stages.cams import write_cams
from ssc.training.classifier import Sampler, is_classifier, start_from
from ssc.training.run import Run
from ssc.workflow.settings import CAMs
from tests.unit.training.trainings import CLASSES, at_step, die, make_data, options, train, training, with_changes


def test_what_is_written(trained):
    path = trained.folder / "classifier.safetensors"
    header = read_header(path)
    assert header["facts"]["classes"] == CLASSES and header["facts"]["settings"]["cdr"]["width"] == 16
    model, decoder = load_part(path, "classifier", CAMClassifier), load_part(path, "reconstruction", ReconstructionNet)
    image = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    assert decoder(model(image)[1]).shape == image.shape


def test_losses_start_at_their_epochs(trained, data, tmp_path):
    both = {"classification", "reconstruction"}
    assert [set(losses) for losses in trained.classifier.losses()] == [both] * 3 + [both | {"alignment"}] * 6
    later = train("classifier", data, tmp_path / "x.safetensors", cdr={"start_epoch": 2}, asm={"start_epoch": 1})
    names = [set(losses) for losses in later.losses()]
    assert names == [{"classification"}] * 3 + [{"classification", "alignment"}] * 3 + [both | {"alignment"}] * 3


def first_losses(data, path, **changes):
    """The losses of the first step, in which the alignment loss counts."""
    changes["asm"] = {"start_epoch": 0, **changes.get("asm", {})}
    return train("classifier", data, path, epochs=1, **changes).losses()[0]


def test_weights_of_the_objective(data, tmp_path):
    one = first_losses(data, tmp_path / "one.safetensors")
    other = first_losses(data, tmp_path / "other.safetensors", cdr={"alpha": 0.25}, asm={"beta": 3.0})
    assert other["classification"] == pytest.approx(one["classification"], rel=1e-5)
    assert other["reconstruction"] == pytest.approx(0.25 * one["reconstruction"], rel=1e-5)
    assert other["alignment"] == pytest.approx(3 * one["alignment"], rel=1e-5)
    without = first_losses(data, tmp_path / "no.safetensors", cdr={"enabled": False}, asm={"enabled": False})
    assert set(without) == {"classification"}
    assert without["classification"] == pytest.approx(one["classification"], rel=1e-5)
    assert list(read_header(tmp_path / "no.safetensors")["parts"]) == ["classifier"]


def test_reconstruction_losses_and_sources(data, tmp_path):
    found = {}
    for loss, source in (("perceptual", "last"), ("perceptual", "early"), ("l1", "early"), ("l2", "last")):
        path = tmp_path / f"{loss}-{source}.safetensors"
        found[loss, source] = first_losses(data, path, cdr={"loss": loss, "source": source})["reconstruction"]
        decoder = load_part(path, "reconstruction", ReconstructionNet)
        assert decoder.head.conv.in_channels == (48 if source == "early" else 2)
    assert len(set(found.values())) == 4
    # Images and reconstructions of ImageNet-normalised colours differ by about 1 before any training.
    assert all(0.1 < value < 10 for value in found.values())


@pytest.mark.parametrize(("source", "stride"), [("last", 32), ("early", 16)])
def test_reconstructions_have_the_size_of_the_window(data, tmp_path, source, stride):
    """The third stage of a ResNet of stride 32 lies at stride 16."""
    changes = {"backbone": "resnet18", "output_stride": 32, "crop": 64, "cdr": {"loss": "l1", "source": source}}
    first_losses(data, tmp_path / "x.safetensors", batch_size=6, **changes)
    decoder = load_part(tmp_path / "x.safetensors", "reconstruction", ReconstructionNet)
    assert 2 ** len(decoder.upsample) == stride


def test_the_classification_loss_falls(tmp_path):
    easy = make_data(tmp_path, count=4, noise=0)
    rates = {"epochs": 20, "batch_size": 4, "lr": 0.05, "head_lr": 0.05}
    result = train("classifier", easy, tmp_path / "classifier.safetensors", **rates)
    values = [losses["classification"] for losses in result.losses()]
    assert len(values) == 20 and np.mean(values[-3:]) < 0.6 * values[0]


def test_a_diverging_training_says_so(data, tmp_path):
    with pytest.raises(InputError, match=r"diverged at step [0-9].*lower the learning rate"):
        train("classifier", data, tmp_path / "x.safetensors", lr=1e30, head_lr=1e30)
    assert not (tmp_path / "x.safetensors").exists()


def test_networks_are_compiled_if_asked(data, tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function.__name__) or function)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(type(module).__name__))
    for asked in (False, True):
        function, arguments = training("classifier", data, epochs=1)
        function(Run(**options(tmp_path / f"{asked}.safetensors", compile=asked)), **arguments)
        assert compiled == (["forward_features", "ReconstructionNet", "ResNetBackbone"] if asked else [])


# Where it starts from


def saved_classifier(path, name="tiny"):
    torch.manual_seed(7)
    arguments = {"num_classes": 2, "backbone": name, "output_stride": 16}
    model = CAMClassifier(**arguments)
    save_weights(path, {"classifier": (model, arguments)}, classes=CLASSES)
    return model


def loaded(model, other):
    """Which of backbone and head of `model` are those of `other`."""
    own, theirs = model.state_dict(), other.state_dict()
    return tuple(
        all(torch.equal(own[key], theirs[key]) for key in own if key.startswith(part))
        for part in ("backbone.", "classifier.")
    )


def test_a_classifier_of_the_same_classes_is_known(tmp_path):
    saved_classifier(tmp_path / "x.safetensors")
    assert is_classifier(tmp_path / "x.safetensors", CLASSES)
    assert not is_classifier(tmp_path / "x.safetensors", ["red", "blue"])
    assert not is_classifier(tmp_path / "x.safetensors", CLASSES[::-1])
    save_file(CAMClassifier(2, "tiny").backbone.state_dict(), tmp_path / "tiny.safetensors")
    assert not is_classifier(tmp_path / "tiny.safetensors", CLASSES)
    save_weights(tmp_path / "irn.safetensors", {"irn": (IRN("tiny"), {})}, classes=CLASSES)
    assert not is_classifier(tmp_path / "irn.safetensors", CLASSES)


def test_it_starts_from_a_whole_classifier_a_backbone_or_nothing(tmp_path):
    source = saved_classifier(tmp_path / "x.safetensors")
    save_file(source.backbone.state_dict(), tmp_path / "tiny.safetensors")
    for initial, whole, parts in (
        ("x.safetensors", True, (True, True)),
        ("x.safetensors", False, (True, False)),
        ("tiny.safetensors", False, (True, False)),
        (None, False, (False, False)),
    ):
        model = CAMClassifier(2, "tiny", output_stride=8)
        start_from(model, initial and tmp_path / initial, whole=whole)
        assert loaded(model, source) == parts


def test_weights_that_do_not_fit_are_refused(tmp_path):
    saved_classifier(tmp_path / "x.safetensors", "resnet18")
    for whole in (True, False):
        with pytest.raises(InputError, match=r"x\.safetensors: tensor"):
            start_from(CAMClassifier(2, "tiny"), tmp_path / "x.safetensors", whole=whole)
    with pytest.raises(InputError, match=r"absent\.safetensors does not exist"):
        start_from(CAMClassifier(2, "tiny"), tmp_path / "absent.safetensors", whole=False)


# A class that is renamed


def renamed(data, folder, classes):
    """The same photos, their classes with other names."""
    write_index(folder / "renamed.tsv", Index(classes, read_index(data.index).rows))
    return with_changes(data, index=folder / "renamed.tsv")


def test_a_class_that_is_renamed_trains_nothing(data, tmp_path, monkeypatch):
    """Neither the warm start, nor what starts from it, nor the CAMs; and a fresh run would write the same bytes."""
    cams = CAMs(scales=[1.0])

    def road(data, folder):
        warm, output = folder / "warm.safetensors", folder / "classifier.safetensors"
        for path in (warm, output, folder / "cams.zip"):  # as Snakemake does before it runs a rule
            path.unlink(missing_ok=True)
        train("classifier", data, warm, epochs=1, cdr={"enabled": False}, asm={"enabled": False})
        train("classifier", data, output, epochs=1, initial=warm)
        write_cams(
            index=data.index, shard="1-of-1", weights=output, superpixels=None, output=folder / "cams.zip",
            settings=cams, device="cpu",
        )  # fmt: skip
        return [path.read_bytes() for path in (warm, output, folder / "cams.zip")]

    (tmp_path / "fresh").mkdir()
    before = road(data, tmp_path)
    new = renamed(data, tmp_path, ["crimson", "green"])
    fresh = road(new, tmp_path / "fresh")
    steps = at_step(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("ssc.stages.batching.read_image", die)
        again = road(new, tmp_path)
    assert steps == [] and again == fresh
    assert again[:2] != before[:2] and again[2] == before[2]
    for name in ("warm", "classifier"):
        assert read_header(tmp_path / f"{name}.safetensors")["facts"]["classes"] == ["crimson", "green"]
        own, other = (load(content) for content in (before[name == "classifier"], again[name == "classifier"]))
        assert own.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in own.items())
    assert road(data, tmp_path) == before and steps == []  # and back


def test_weights_of_classes_that_become_the_same_by_renaming_count(data, tmp_path, monkeypatch):
    """A file of the user's own is taken whole only where its classes are the data set's."""
    arguments = {"num_classes": 2, "backbone": "tiny", "output_stride": 8}
    parts = {"classifier": (CAMClassifier(**arguments), arguments)}
    save_weights(tmp_path / "own.safetensors", parts, classes=["a", "b"])
    first = train("classifier", data, tmp_path / "x.safetensors", epochs=1, initial=tmp_path / "own.safetensors")
    steps = at_step(monkeypatch)
    new = renamed(data, tmp_path, ["a", "b"])
    other = train("classifier", new, tmp_path / "x.safetensors", epochs=1, initial=tmp_path / "own.safetensors")
    assert steps == [0, 1, 2] and other.losses()[0] != first.losses()[0]


# Samples


def draw(seed=0):
    return np.random.default_rng(seed)


def test_classifier_samples(data):
    rows = read_index(data.index).split("train")
    archive_of_regions = Archive(*data.superpixels)
    sample = Sampler(archive_of_regions, num_classes=2, resize_long=(24, 40), crop=48)
    long_sides = set()
    for seed in range(30):
        row = rows[seed % 6]
        image, labels, regions = sample(row, draw(seed))
        assert (image.shape, image.dtype, regions.shape) == ((3, 48, 48), torch.float32, (48, 48))
        assert labels.tolist() == [float(k in row.labels) for k in (1, 2)]
        outside = regions == archive_of_regions.labels(row.id).max() + 1
        assert outside.any() and not image[:, outside].any()
        assert (image[:, ~outside] != 0).float().mean() > 0.99
        inside = (~outside).nonzero()
        long_sides.add(int((inside.amax(0) - inside.amin(0) + 1).max()))
    assert min(long_sides) < 28 and max(long_sides) > 36 and long_sides <= set(range(24, 41))
    plain = Sampler(None, num_classes=2, resize_long=(24, 40), crop=48)
    assert torch.equal(plain(rows[0], draw())[0], sample(rows[0], draw())[0])


def test_a_photo_without_labels_has_none(data):
    row = read_index(data.index).split("train")[0]
    sample = Sampler(None, num_classes=2, resize_long=(32, 32), crop=32)
    assert sample(Row("x", "train", row.image, "", ()), draw())[1].tolist() == [0, 0]
