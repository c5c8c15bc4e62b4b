"""The three trainings on a handful of small images; what they share has tests of its own."""

import json
import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from ssc.training.common import set_poly_lr

import ssc.training.classifier
import ssc.training.irn
import ssc.training.segmentation
from ssc import archive
from ssc.archive import Archive
from ssc.data.index import Index, Row, read_index, write_index
from ssc.data.transforms import augment, normalise, read_image, resize_labels
from ssc.models import IRN, CAMClassifier, DeepLabV2, ReconstructionNet, backbone
from ssc.models.weights import load_part, read_header, save_weights
from ssc.runtime.errors import InputError, Interrupted
from ssc.training import common
from ssc.training.classifier import ramp, start_from, to_normalised, train_classifier
from ssc.training.cotraining import mask_labels
from ssc.training.irn import train_irn
from ssc.training.loader import TrainingLoader
from ssc.training.segmentation import masked_cross_entropy, train_segmentation
from ssc.training.signals import heed_signals
from ssc.workflow import kept, provenance
from ssc.workflow.config import complete, load_schema

SCHEMA = load_schema(Path(__file__).parents[2] / "config" / "schema.yaml")
CLASSES = ["red", "green"]
TRAININGS = ["classifier", "irn", "segmentation", "cotraining"]
SMALL = {
    "dataset": {"name": "tiny", "kind": "folder"},
    "classifier": {
        "backbone": "tiny", "weights": "none", "output_stride": 8, "epochs": 3, "batch_size": 2, "lr": 0.02,
        "head_lr": 0.02, "momentum": 0.9, "stop_gradient_after": 0, "resize_long": [32, 48], "crop": 32,
        "cdr": {"network": "tiny", "weights": "none", "width": 16},
        "asm": {"erosion": 2, "start_epoch": 1},
    },
    "irn": {
        "backbone": "tiny", "weights": "none", "output_stride": 8, "epochs": 3, "batch_size": 2, "crop": 32,
        "radius": 3,
    },
    "segmentation": {
        "backbone": "tiny", "weights": "none", "output_stride": 8, "epochs": 3, "batch_size": 2, "crop": 32,
        "rates": [1, 2], "scales": [0.75, 1.0], "cotraining": {"online_confidence": 0.3},
    },
}  # fmt: skip


def make_data(folder, *, count, noise):
    """Images with a red or green rectangle on grey; superpixels, confident labels and confidence in two shards."""
    rng = np.random.default_rng(0)
    rows, regions, labels, confidence = [], [], [], []
    for number in range(count):
        height, width = (int(side) for side in rng.integers(32, 49, 2))
        label = np.zeros((height, width), int)
        label[4:24, 6:28] = 1 + number % 2
        colours = np.array([[128, 128, 128], [220, 30, 30], [30, 220, 30]])
        image = np.clip(colours[label] + noise * rng.normal(size=(height, width, 3)), 0, 255).astype(np.uint8)
        path = folder / f"{number}.png"
        Image.fromarray(image).save(path)
        rows.append(Row(str(number), "train", str(path), "", (1 + number % 2,)))
        regions.append(np.arange(height)[:, None] // 8 * 8 + np.arange(width) // 8)
        confidence.append((rng.random((height, width)) < 0.8).astype(int))
        label[:2] = 255
        labels.append(label)
    write_index(folder / "index.tsv", Index(CLASSES, rows))
    shards = {}
    for name, maps in (("superpixels", regions), ("labels", labels), ("confidence", confidence)):
        shards[name] = [folder / f"{name}-{part}.zip" for part in (0, 1)]
        for part, path in enumerate(shards[name]):
            with archive.write(path) as writer:
                for row, values in list(zip(rows, maps, strict=True))[part::2]:
                    writer.add_labels(row.id, values)
    return SimpleNamespace(index=folder / "index.tsv", **shards)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"), count=6, noise=60)


def merged(base, changes):
    result = dict(base)
    for key, value in changes.items():
        result[key] = merged(base[key], value) if isinstance(value, dict) else value
    return result


def section_of(kind):
    return "segmentation" if kind == "cotraining" else kind


def settings_of(kind, **changes):
    if kind == "cotraining":
        kind, changes = "segmentation", {"training": "cotraining", **changes}
    return complete(merged(SMALL, {kind: changes}), SCHEMA)[kind]


def training(kind, data, output, *, seed=0, workers=0, initial=None, **changes):
    """Function and arguments of one training."""
    inputs = {
        "classifier": {"superpixels": data.superpixels, "loss_weights": None},
        "irn": {"labels": data.labels},
        "segmentation": {"pseudo_labels": data.labels, "confidence": data.confidence},
    }[section_of(kind)]
    function = {"classifier": train_classifier, "irn": train_irn, "segmentation": train_segmentation}[section_of(kind)]
    return function, {
        "index": data.index, "output": output, "history": output.with_suffix(".json"),
        "settings": settings_of(kind, **changes), "seed": seed, "device": "cpu", "workers": workers, "initial": initial,
        **inputs,
    }  # fmt: skip


def train(kind, data, output, **changes):
    """Run one training; the bytes of its weights and the points of its history."""
    function, arguments = training(kind, data, output, **changes)
    function(**arguments)
    return output.read_bytes(), json.loads(output.with_suffix(".json").read_text())["points"]


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """What each uninterrupted training gives."""
    folder = tmp_path_factory.mktemp("trained")
    results = {kind: train(kind, data, folder / f"{kind}.safetensors") for kind in TRAININGS}
    return SimpleNamespace(folder=folder, **results)


class Killed(Exception):
    """Stands for the end of a job's time."""


def die():
    raise Killed


def stop_at(monkeypatch, kind, last, action=die):
    """Let `kind` die before step `last` (None: never); returns the list in which its steps are noted."""
    module, steps = getattr(ssc.training, section_of(kind)), []

    def set_rate(optimizer, step, total, **options):
        if step == last:
            action()
        steps.append(step)
        set_poly_lr(optimizer, step, total, **options)

    monkeypatch.setattr(module, "set_poly_lr", set_rate)
    return steps


# Whole trainings


@pytest.mark.parametrize("kind", TRAININGS)
def test_equal_seeds_give_equal_bytes_and_workers_change_nothing(data, trained, tmp_path, kind):
    weights, points = train(kind, data, tmp_path / "again.safetensors", workers=2)
    assert (weights, points) == getattr(trained, kind)
    assert train(kind, data, tmp_path / "other.safetensors", seed=1)[1] != points


@pytest.mark.parametrize("kind", TRAININGS)
@pytest.mark.parametrize("points", [200, 4])
def test_a_resumed_training_ends_as_an_uninterrupted_one(data, trained, tmp_path, monkeypatch, kind, points):
    """Nine steps in three epochs; with 4 points of two steps (and the rest) a checkpoint falls within a stretch."""
    monkeypatch.setattr(common, "_HISTORY_POINTS", points)
    expected = getattr(trained, kind)
    output = tmp_path / f"{kind}.safetensors"
    if points == 4:
        (tmp_path / "whole").mkdir()
        expected = train(kind, data, tmp_path / "whole" / "x.safetensors")
    stop_at(monkeypatch, kind, 5)
    with pytest.raises(Killed):
        train(kind, data, output)
    assert not output.exists() and Path(f"{output}.checkpoint").exists()
    steps = stop_at(monkeypatch, kind, None)
    torch.manual_seed(99)
    assert train(kind, data, output) == expected
    assert sorted(set(steps)) == [3, 4, 5, 6, 7, 8]
    assert [step["step"] for step in expected[1]] == (list(range(1, 10)) if points == 200 else [2, 4, 6, 8, 9])
    seen = [path.name for path in tmp_path.iterdir() if path.is_file() and not path.name.startswith(".")]
    assert sorted(seen) == [f"{kind}.json", f"{kind}.safetensors"]


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_training_that_a_signal_ends_loses_no_step(data, trained, tmp_path, monkeypatch, kind):
    output = tmp_path / f"{kind}.safetensors"
    stop_at(monkeypatch, kind, 4, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    with heed_signals(), pytest.raises(Interrupted, match="Ended by SIGUSR1 after step 5"):
        train(kind, data, output)
    assert not output.exists() and Path(f"{output}.checkpoint").exists()
    steps = stop_at(monkeypatch, kind, None)
    assert train(kind, data, output) == getattr(trained, kind)
    assert sorted(set(steps)) == [5, 6, 7, 8]


def test_a_signal_to_all_processes_of_a_training_loses_no_step(data, trained, tmp_path):
    """Schedulers send it to the loader's processes too."""
    output = tmp_path / "irn.safetensors"
    _, arguments = training("irn", data, output, workers=2)
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        torch.set_num_threads(1)
        steps = []

        def set_rate(optimizer, step, total, **options):
            steps.append(step)
            if step == 4:
                os.killpg(0, signal.SIGTERM)
                time.sleep(0.5)
            set_poly_lr(optimizer, step, total, **options)

        ssc.training.irn.set_poly_lr = set_rate
        try:
            with heed_signals():
                train_irn(**arguments)
        except Interrupted as error:
            os._exit(7 if "after step 5" in str(error) else 1)
        except BaseException:
            os._exit(2)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert train("irn", data, output, workers=2) == trained.irn


@pytest.mark.parametrize("kept_first", [True, False])
def test_a_training_killed_when_it_was_done_is_not_made_again(data, trained, tmp_path, monkeypatch, kept_first):
    output, keep = tmp_path / "irn.safetensors", kept.keep

    def keep_and_die(path, identity):
        if kept_first:
            keep(path, identity)
        if not kept_first or Path(path).suffix == ".json":
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(kept, "keep", keep_and_die)
        train("irn", data, output)
    output.unlink()  # as Snakemake does with what an unfinished job has written
    output.with_suffix(".json").unlink()
    steps = stop_at(monkeypatch, "irn", None)
    assert train("irn", data, output) == trained.irn
    assert steps == [] and not Path(f"{output}.checkpoint").exists()


def test_a_rerun_with_nothing_changed_keeps_the_result(data, tmp_path, monkeypatch, caplog):
    output = tmp_path / "irn.safetensors"
    result = train("irn", data, output)
    output.unlink()  # as Snakemake does before it runs a rule
    steps = stop_at(monkeypatch, "irn", None)
    assert train("irn", data, output) == result
    assert steps == []
    # Ground truth is no part of a training image; its labels are, and so is the number of threads.
    rows = read_index(data.index).rows
    for change, trained_again in (({"mask": "x.png"}, False), ({"labels": (1, 2)}, True)):
        changed = [replace(row, **change) if row.id == rows[0].id else row for row in rows]
        write_index(tmp_path / "index.tsv", Index(read_index(data.index).classes, changed))
        train("irn", SimpleNamespace(**{**vars(data), "index": tmp_path / "index.tsv"}), output)
        assert bool(steps) == trained_again


def test_a_kept_result_that_is_damaged_is_made_again(data, tmp_path, monkeypatch):
    output = tmp_path / "irn.safetensors"
    result = train("irn", data, output)
    with output.open("r+b") as handle:  # the kept link is the same file
        handle.seek(-5, os.SEEK_END)
        handle.write(b"x")
    steps = stop_at(monkeypatch, "irn", None)
    assert train("irn", data, output) == result
    assert steps == list(range(9))


def test_a_training_killed_after_its_last_epoch_only_writes(data, trained, tmp_path, monkeypatch):
    output = tmp_path / "irn.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(ssc.training.irn, "save_weights", lambda *args, **options: die())
        with pytest.raises(Killed):
            train("irn", data, output)
    steps = stop_at(monkeypatch, "irn", None)
    assert train("irn", data, output) == trained.irn
    assert steps == []


def changed_labels(data, folder):
    paths = [folder / path.name for path in data.labels]
    for old, new in zip(data.labels, paths, strict=True):
        with archive.write(new) as writer:
            for image_id in Archive(old).ids():
                writer.add_labels(image_id, np.roll(Archive(old).labels(image_id), 5, axis=1))
    return SimpleNamespace(**{**vars(data), "labels": paths})


@pytest.mark.parametrize("change", ["settings", "seed", "labels", "initial", "code", "truncated", "garbage", "flipped"])
def test_a_checkpoint_of_another_run_or_a_torn_one_is_set_aside(data, tmp_path, monkeypatch, change, caplog):
    output, seed, options, initial = tmp_path / "irn.safetensors", 0, {}, None
    with monkeypatch.context() as patch:
        stop_at(patch, "irn", 5)
        with pytest.raises(Killed):
            train("irn", data, output)
    checkpoint = Path(f"{output}.checkpoint")
    content = checkpoint.read_bytes()
    match change:
        case "settings":
            options = {"lr": 0.05}
        case "seed":
            seed = 1
        case "labels":
            data = changed_labels(data, tmp_path)
        case "initial":
            initial = tmp_path / "tiny.safetensors"
            save_file(backbone("tiny").state_dict(), initial)
        case "code":
            monkeypatch.setattr(provenance, "source_digest", lambda module: f"another {module}")
        case "truncated":
            checkpoint.write_bytes(content[: len(content) // 2])
        case "flipped":  # a bit in the middle of a tensor
            middle = content.index(b"data/0") + 200
            checkpoint.write_bytes(content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :])
        case "garbage":
            checkpoint.write_bytes(b"not a checkpoint")
    steps = stop_at(monkeypatch, "irn", None)
    result = train("irn", data, output, seed=seed, initial=initial, **options)
    assert steps == list(range(9))
    assert "set aside" in caplog.text
    assert not checkpoint.exists() and (tmp_path / "irn.safetensors.unused").exists()
    assert result == train("irn", data, tmp_path / "fresh.safetensors", seed=seed, initial=initial, **options)
    assert re.search(r"checkpoint (belongs to other settings, data or code|cannot be read \(\w+\)): set", caplog.text)


def test_what_each_training_writes(trained):
    header = read_header(trained.folder / "classifier.safetensors")
    assert header["facts"]["classes"] == CLASSES and header["facts"]["settings"]["cdr"]["width"] == 16
    model = load_part(trained.folder / "classifier.safetensors", "classifier", CAMClassifier)
    decoder = load_part(trained.folder / "classifier.safetensors", "reconstruction", ReconstructionNet)
    image = torch.rand(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    assert decoder(model(image)[1]).shape == image.shape
    irn = load_part(trained.folder / "irn.safetensors", "irn", IRN)
    segmentation = load_part(trained.folder / "segmentation.safetensors", "segmentation", DeepLabV2)
    assert irn(image)[1].shape == (1, 2, 8, 10) and segmentation(image).shape == (1, 3, 4, 5)
    parts = read_header(trained.folder / "cotraining.safetensors")["parts"]
    assert list(parts) == ["segmentation", "segmentation_2"] and parts["segmentation"] == parts["segmentation_2"]


def test_losses_start_at_their_epochs(trained, data, tmp_path):
    names = [set(point) - {"step"} for point in trained.classifier[1]]
    both = {"classification", "reconstruction"}
    assert names == [both] * 3 + [both | {"alignment"}] * 6
    _, points = train("classifier", data, tmp_path / "x.safetensors", cdr={"start_epoch": 2}, asm={"start_epoch": 1})
    names = [set(point) - {"step"} for point in points]
    assert names == [{"classification"}] * 3 + [{"classification", "alignment"}] * 3 + [both | {"alignment"}] * 3


def first_losses(data, path, **changes):
    changes = merged({"epochs": 1, "cdr": {}, "asm": {"start_epoch": 0}}, changes)
    return train("classifier", data, path, **changes)[1][0]


def test_weights_of_the_objective(data, tmp_path):
    one = first_losses(data, tmp_path / "one.safetensors")
    other = first_losses(data, tmp_path / "other.safetensors", cdr={"alpha": 0.25}, asm={"beta": 3.0})
    assert other["classification"] == pytest.approx(one["classification"], rel=1e-6)
    assert other["reconstruction"] == pytest.approx(0.25 * one["reconstruction"], rel=1e-6)
    assert other["alignment"] == pytest.approx(3 * one["alignment"], rel=1e-6)
    without = first_losses(data, tmp_path / "no.safetensors", cdr={"enabled": False}, asm={"enabled": False})
    assert set(without) == {"step", "classification"}
    assert without["classification"] == pytest.approx(one["classification"], rel=1e-6)
    assert list(read_header(tmp_path / "no.safetensors")["parts"]) == ["classifier"]


def test_reconstruction_losses_and_sources(data, tmp_path):
    found = {}
    for loss in ("perceptual", "l1", "l2"):
        for source in ("last", "early"):
            path = tmp_path / f"{loss}-{source}.safetensors"
            found[loss, source] = first_losses(data, path, cdr={"loss": loss, "source": source})["reconstruction"]
            decoder = load_part(path, "reconstruction", ReconstructionNet)
            assert decoder.head.conv.in_channels == (48 if source == "early" else 2)
    assert len(set(found.values())) == 6
    # Images and reconstructions of ImageNet-normalised colours differ by about 1 before any training.
    assert all(0.1 < value < 10 for value in found.values())


@pytest.mark.parametrize(("source", "stride"), [("last", 32), ("early", 16)])
def test_reconstructions_have_the_size_of_the_window(data, tmp_path, source, stride):
    """The third stage of a ResNet of stride 32 lies at stride 16."""
    options = {"backbone": "resnet18", "output_stride": 32, "crop": 64, "cdr": {"loss": "l1", "source": source}}
    first_losses(data, tmp_path / "x.safetensors", batch_size=6, **options)
    decoder = load_part(tmp_path / "x.safetensors", "reconstruction", ReconstructionNet)
    assert 2 ** len(decoder.upsample) == stride


def test_classification_loss_falls(tmp_path):
    easy = make_data(tmp_path, count=4, noise=0)
    options = {"epochs": 20, "batch_size": 4, "lr": 0.05, "head_lr": 0.05}
    points = train("classifier", easy, tmp_path / "classifier.safetensors", **options)[1]
    values = [point["classification"] for point in points]
    assert len(values) == 20 and np.mean(values[-3:]) < 0.6 * values[0]
    points = train("segmentation", easy, tmp_path / "segmentation.safetensors", epochs=20, batch_size=4, lr=0.05)[1]
    values = [point["cross_entropy"] for point in points]
    assert len(values) == 20 and np.mean(values[-3:]) < 0.8 * values[0]
    points = train("cotraining", easy, tmp_path / "cotraining.safetensors", epochs=20, batch_size=4, lr=0.05)[1]
    values = [point["cross_entropy"] + point["mutual"] for point in points]
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
    data = SimpleNamespace(**{**vars(data), "confidence": []})
    with pytest.raises(InputError, match=r"segmentation\.training: cotraining needs confidence masks"):
        train("cotraining", data, tmp_path / "x.safetensors")


def test_a_diverging_training_says_so(data, tmp_path):
    with pytest.raises(InputError, match=r"diverged at step [0-9].*lower the learning rate"):
        train("classifier", data, tmp_path / "x.safetensors", lr=1e30, head_lr=1e30)
    assert not (tmp_path / "x.safetensors").exists()


def test_mean_displacement_is_that_of_the_training_set(data, trained):
    model = load_part(trained.folder / "irn.safetensors", "irn", IRN)
    settings = settings_of("irn")
    sample = ssc.training.irn.Sampler(archive=Archive(*data.labels), scale=settings["scale"], crop=settings["crop"])
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


@pytest.mark.parametrize("freeze", [True, False])
def test_segmentation_freezes_batch_norms_if_asked(data, tmp_path, freeze):
    train("segmentation", data, tmp_path / "x.safetensors", freeze_norm=freeze, epochs=1)
    model = load_part(tmp_path / "x.safetensors", "segmentation", DeepLabV2)
    assert torch.equal(model.backbone.bn1.running_mean, torch.zeros(16)) == freeze


@pytest.mark.parametrize(
    ("kind", "networks"), [("irn", ["IRN"]), ("segmentation", ["DeepLabV2"]), ("cotraining", ["DeepLabV2"] * 2)]
)
def test_networks_are_compiled_if_asked(data, tmp_path, monkeypatch, kind, networks):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(type(module).__name__))
    for asked in (False, True):
        function, arguments = training(kind, data, tmp_path / f"{asked}.safetensors", epochs=1)
        function(**arguments, compile=asked)
        assert compiled == (networks if asked else [])


# Where the classifier starts from


def saved_classifier(path, name="tiny"):
    torch.manual_seed(7)
    options = {"num_classes": 2, "backbone": name, "output_stride": 16}
    model = CAMClassifier(**options)
    save_weights(path, {"classifier": (model, options)}, classes=CLASSES)
    return model


def loaded(model, other):
    """Which of backbone and head of `model` are those of `other`."""
    own, theirs = model.state_dict(), other.state_dict()
    return tuple(
        all(torch.equal(own[key], theirs[key]) for key in own if key.startswith(part))
        for part in ("backbone.", "classifier.")
    )


@pytest.mark.parametrize(("classes", "parts"), [(CLASSES, (True, True)), (["red", "blue"], (True, False))])
def test_a_classifier_of_the_same_classes_is_taken_whole(tmp_path, classes, parts):
    source = saved_classifier(tmp_path / "x.safetensors")
    model = CAMClassifier(2, "tiny", output_stride=8)
    start_from(model, tmp_path / "x.safetensors", classes)
    assert loaded(model, source) == parts


def test_backbone_weights_of_others_and_none(tmp_path):
    source = CAMClassifier(2, "tiny")
    save_file(source.backbone.state_dict(), tmp_path / "tiny.safetensors")
    model = CAMClassifier(2, "tiny")
    start_from(model, None, CLASSES)
    assert loaded(model, source) == (False, False)
    start_from(model, tmp_path / "tiny.safetensors", CLASSES)
    assert loaded(model, source) == (True, False)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    saved_classifier(tmp_path / "x.safetensors", "resnet18")
    with pytest.raises(InputError, match=r"x\.safetensors: tensor"):
        start_from(CAMClassifier(2, "tiny"), tmp_path / "x.safetensors", CLASSES)
    with pytest.raises(InputError, match=r"absent\.safetensors does not exist"):
        start_from(CAMClassifier(2, "tiny"), tmp_path / "absent.safetensors", CLASSES)


# Samples


def draw(seed=0):
    return np.random.default_rng(seed)


def test_classifier_samples(data):
    rows = read_index(data.index).split("train")
    archive_of_regions = Archive(*data.superpixels)
    sample = ssc.training.classifier.Sampler(archive=archive_of_regions, num_classes=2, resize_long=(24, 40), crop=48)
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
    plain = ssc.training.classifier.Sampler(archive=None, num_classes=2, resize_long=(24, 40), crop=48)
    assert torch.equal(plain(rows[0], draw())[0], sample(rows[0], draw())[0])


def test_a_photo_without_labels_has_none(data):
    row = read_index(data.index).split("train")[0]
    sample = ssc.training.classifier.Sampler(archive=None, num_classes=2, resize_long=(32, 32), crop=32)
    assert sample(Row("x", "train", row.image, "", ()), draw())[1].tolist() == [0, 0]


def test_irn_samples_have_labels_at_stride_four(data):
    row = read_index(data.index).split("train")[0]
    labels = Archive(*data.labels)
    image, target = ssc.training.irn.Sampler(archive=labels, scale=(1.0, 1.0), crop=64)(row, draw())
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


def test_unconfident_pixels_are_ignored(data):
    row = read_index(data.index).split("train")[1]
    labels, confidence = Archive(*data.labels), Archive(*data.confidence)
    options = {"labels": labels, "scales": [1.0], "crop": 48}
    image, target, everywhere = ssc.training.segmentation.Sampler(confidence=None, **options)(row, draw())
    same, again, confident = ssc.training.segmentation.Sampler(confidence=confidence, **options)(row, draw())
    assert torch.equal(image, same) and torch.equal(target, again) and everywhere.all()
    kept = mask_labels(target, confident) != 255
    expected = ((labels.labels(row.id) != 255) & (confidence.labels(row.id) == 1)).sum()
    assert kept.sum() == expected < (target != 255).sum()
    assert confident.dtype == torch.bool and confident[(image == 0).all(dim=0)].all()


# Parts of the losses


def test_reconstructions_are_compared_in_the_range_of_the_image():
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    reconstruction = torch.from_numpy(image / 127.5 - 1).permute(2, 0, 1)[None].float()
    torch.testing.assert_close(to_normalised(reconstruction)[0], normalise(image))


def test_masked_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 3, (2, 4, 5), generator=generator)
    target[:, :2] = 255
    losses = [
        np.log(np.exp(logits[b, :, y, x].numpy()).sum()) - logits[b, target[b, y, x], y, x].item()
        for b, y, x in (target != 255).nonzero().tolist()
    ]
    assert masked_cross_entropy(logits, target).item() == pytest.approx(np.mean(losses), rel=1e-12)
    logits.requires_grad_()
    nothing = masked_cross_entropy(logits, torch.full_like(target, 255))
    nothing.backward()
    assert nothing.item() == 0 and not logits.grad.any()


@pytest.mark.parametrize(
    ("start", "length", "factors"),
    [
        (0, 0, [1, 1, 1, 1]),
        (0, 2, [1 / 3, 2 / 3, 1, 1]),
        (1, 1, [None, 1 / 2, 1, 1]),
        (2, 3, [None, None, 1 / 4, 1 / 2]),
    ],
)
def test_a_loss_grows_evenly_to_its_weight(start, length, factors):
    settings = {"start_epoch": start, "ramp_epochs": length}
    for epoch, factor in enumerate(factors):
        if factor is not None:
            assert ramp(epoch, settings) == pytest.approx(factor)
