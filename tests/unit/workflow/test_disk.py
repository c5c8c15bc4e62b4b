"""The estimate of room and memory: its constants against real archives, its formulas, and what is told of it."""

import logging
import os
import shutil
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from ssc.archive import encode_arrays, encode_labels
from ssc.data.demo import scene
from ssc.data.index import Index, Row
from ssc.data.photos import read_image
from ssc.runtime.errors import InputError
from ssc.superpixels import superpixels
from ssc.workflow import disk as estimate
from ssc.workflow import training_size
from ssc.workflow.disk import check_room, missing_results, needed_memory, needed_space, training_sizes
from ssc.workflow.settings import Settings

Usage = namedtuple("Usage", "total used free")
WEIGHTS = {"classifier": 1e6, "irn": 2e6, "segmentation": 3e6}


def settings(**changes):
    """Small networks, random ones, and one test-time scale."""
    small = {"backbone": "tiny", "weights": "none", "crop": 48, "batch_size": 4}
    own = {
        "dataset": {"kind": "demo", "name": "tiny"},
        "shards": 2,
        "device": "cpu",
        "classifier": {**small, "output_stride": 8, "cdr": {"width": 16, "network": "tiny", "weights": "none"}},
        "irn": {**small, "radius": 4},
        "segmentation": {**small, "output_stride": 4},
        "prediction": {"scales": [1.0]},
    }
    return Settings(**{**own, **changes})


def index(train=12, val=6, image="gone.png"):
    rows = [Row(f"{k}", "train", image, "m.png", (1, 2)) for k in range(train)]
    return Index(["cat", "dog"], rows + [Row(f"{k}", "val", image, "m.png", (1,)) for k in range(val)])


# Constants


def archive_bytes(image, labels):
    """Bytes of a photo's superpixels and mask, as they are stored."""
    overhead = 150  # of a member in its archive
    return len(encode_labels(superpixels(image))) + overhead, len(encode_labels(labels)) + overhead


def test_label_maps_of_the_demo_are_as_large_as_estimated():
    found = [archive_bytes(*scene(number)) for number in range(4)]
    expected = estimate._MEMBER + estimate._LABEL * 96 * 96
    for mean in np.mean(found, axis=0):
        assert 0.5 * expected < mean < 1.2 * expected


def test_label_maps_of_real_photos_are_no_larger_than_estimated(shared_data):
    for path in sorted((shared_data / "voc").rglob("*.jpg"))[:3]:
        image = read_image(path)
        found = len(encode_labels(superpixels(image)))
        expected = estimate._MEMBER + estimate._LABEL * image.shape[0] * image.shape[1]
        assert 0.3 * expected < found < 1.2 * expected


def test_cams_are_as_large_as_estimated():
    coarse = torch.rand(2, 1, 12, 16, generator=torch.Generator().manual_seed(0))
    maps = F.interpolate(coarse, size=(94, 125), mode="bilinear")[:, 0].numpy().astype(np.float16)
    found = len(encode_arrays(classes=np.array([1, 2], np.int16), cams=maps))
    expected = estimate._MEMBER + estimate._CELL["float16"] * maps.size
    assert 0.7 * expected < found < 1.2 * expected


# Formulas


def test_space_grows_with_what_it_is_made_of():
    once, more = (needed_space(index(train=train), settings(), 2304, WEIGHTS) for train in (12, 24))
    for stage in ("superpixels", "cams", "irn_labels", "pseudo_labels"):
        assert more[stage] == 2 * once[stage]
    assert more["predictions"] == once["predictions"]
    assert once["masks"] == 18 * (1100 + 0.06 * 2304)
    assert once["cams"] == pytest.approx(12 * 1100 + 24 * 144 * 1.7)
    own = settings(cams={"stride": 1, "dtype": "float32", "scales": [1.0, 0.5]})
    terms = 1.25 * 2304 / own.classifier.output_stride**2  # at the network's stride, by scale
    expected = 12 * 1100 + 24 * (144 + terms) * 3.4
    assert needed_space(index(train=12), own, 2304, WEIGHTS)["cams"] == pytest.approx(expected)
    assert once | WEIGHTS == once and once["warm_start"] == WEIGHTS["classifier"]
    plain = settings(prediction={"scales": [1.0], "flip": False, "crf": {"enabled": False}})
    assert needed_space(index(), plain, 2304, WEIGHTS)["predictions"] == pytest.approx(once["predictions"] / 3)


def test_memory_of_trainings_counts_on_the_cpu_alone(monkeypatch):
    saved = {"classifier": 3e9, "irn": 1e9}
    memory = lambda **changes: needed_memory(settings(**changes), 2, 2304, saved)  # noqa: E731
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert memory(device="cpu").keys() == {"superpixels", "predictions", "train_classifier", "train_irn"}
    for device in ("auto", "cuda"):
        assert memory(device=device).keys() == {"superpixels", "predictions"}
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert memory(device="auto")["train_classifier"] == 3.8e9
    assert memory(precision="bf16")["train_classifier"] == pytest.approx(0.8e9 + 0.6 * 3e9)


def missing(folder, owners=None, **changes):
    """Stages of which something is still to be written, with its share."""
    return {
        stage: share
        for stage, share in missing_results(settings(**changes), folder, owners=owners or {}).items()
        if share
    }


def test_what_is_there_is_not_needed_again(tmp_path):
    everything = dict.fromkeys(estimate.RULES_OF.keys() - {"warm_start"}, 1.0)
    assert missing(tmp_path) == everything

    def make(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()

    make("ssc/cams/1-of-2.zip", "other/irn_labels/2-of-2.zip", "other/irn.safetensors")
    make("masks/val/1-of-99.zip")  # of another number of shards
    owners = {"irn_labels": "other", "irn": "other"}
    left = missing(tmp_path, owners)
    assert left.pop("cams") == left.pop("irn_labels") == 0.5
    assert left == {stage: 1.0 for stage in everything if stage not in ("cams", "irn_labels", "irn")}

    for shard in ("1-of-2.zip", "2-of-2.zip"):
        make(f"masks/val/{shard}", f"superpixels/{shard}", f"ssc/predictions/val/{shard}")
        make(*(f"ssc/{stage}/{shard}" for stage in ("cams", "irn_labels", "pseudo_labels")))
    make("ssc/classifier.safetensors", "ssc/irn.safetensors")
    assert missing(tmp_path) == {"segmentation": 1.0}
    assert not missing(tmp_path, ready={"segmentation": "s.safetensors"})


def test_ready_weights_are_not_made_and_ready_files_are_copied(tmp_path):
    found = missing(tmp_path, ready={"irn": "w.safetensors", "cams": "folder"})
    assert "irn" not in found and found["cams"] == found["irn_labels"] == 1.0


def test_the_warm_start_counts_where_it_is_used(tmp_path):
    classifier = {"backbone": "tiny", "weights": "warm_start", "output_stride": 8}
    assert missing(tmp_path, classifier=classifier)["warm_start"] == 1.0
    (tmp_path / "warm_start").mkdir()
    (tmp_path / "warm_start" / "tiny-stride8-seed3.safetensors").touch()
    assert "warm_start" not in missing(tmp_path, classifier=classifier, seed=3)


# What is told


@pytest.fixture
def disk(monkeypatch):
    """A disk with this many bytes free."""

    def set_free(free):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12 - free, free))

    return set_free


def test_too_little_room_is_told_before_the_work(tmp_path, disk, caplog):
    disk(5 * 10**6)
    with pytest.raises(InputError) as info:
        check_room(index(), settings(), tmp_path / "results" / "tiny")
    message = str(info.value)
    assert message.startswith("Results still need about ") and f"; {tmp_path} has 5 MB free; free some, link" in message
    assert not list(tmp_path.iterdir())
    with caplog.at_level(logging.WARNING, "ssc"):
        check_room(index(), settings(dataset={"kind": "demo", "name": "tiny", "check_space": False}), tmp_path)
    assert "too little; free some, link results/ to another disk" in caplog.text


def test_enough_room_is_a_line_in_the_log(tmp_path, disk, caplog):
    disk(10**10)
    with caplog.at_level(logging.INFO, "ssc"):
        told = check_room(index(), settings(), tmp_path)
    assert caplog.messages == [told]
    assert told.endswith(f"{tmp_path} has 10.0 GB free.")


def test_a_finished_run_needs_its_report_alone(tmp_path, disk):
    disk(10**10)
    ready = dict.fromkeys(("classifier", "irn", "segmentation"), "w.safetensors")
    untrained = check_room(index(train=0, val=0), settings(ready=ready), tmp_path)
    assert "need about 12 MB" in untrained  # 10 MB and a quarter
    assert untrained != check_room(index(train=0, val=0), settings(), tmp_path)


def test_the_photos_sizes_count(tmp_path, disk):
    disk(10**12)
    for name, side in (("small", 20), ("large", 2000)):
        Image.new("L", (side, side)).save(tmp_path / f"{name}.png")
    sizes = [estimate._pixel_counts(index(image=str(tmp_path / f"{name}.png"))) for name in ("small", "large")]
    assert [set(counts) for counts in sizes] == [{400}, {4_000_000}]
    assert len(estimate._pixel_counts(index(train=1000, image=str(tmp_path / "small.png")))) <= 64


def test_too_little_memory_is_a_warning(tmp_path, disk, caplog, monkeypatch):
    disk(10**12)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 200_000}[name])
    with caplog.at_level(logging.WARNING, "ssc"):
        check_room(index(), settings(), tmp_path)
    (message,) = caplog.messages
    assert message.startswith("Warning: rule ") and "this machine has 0.8 GB" in message


def test_the_workflow_is_read_without_torch():
    done = subprocess.run([sys.executable, "-c", "import sys, ssc.workflow.disk; assert 'torch' not in sys.modules"])
    assert done.returncode == 0


def test_sizes_of_trainings_are_measured_once_for_the_same_networks(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    measured = []

    def measure(settings, num_classes):
        measured.append(num_classes)
        return {"irn": 4 * num_classes}, {"irn": 8}

    monkeypatch.setattr(training_size, "measure_trainings", measure)
    expected = {"irn": 12}, {"irn": 8}
    assert training_sizes(settings(), 3) == training_sizes(settings(seed=7), 3) == expected
    assert measured == [3]
    training_sizes(settings(), 4)
    training_sizes(settings(memory="lean"), 3)
    training_sizes(settings(irn={"crop": 32}), 3)
    assert measured == [3, 4, 3, 3]
    for damaged in ("{", "[]", "{}"):
        for file in tmp_path.glob("ssc/*.json"):
            file.write_text(damaged)
        assert training_sizes(settings(), 3) == expected
    assert measured[4:] == [3, 3, 3]


def test_without_a_place_for_them_sizes_are_measured_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(training_size, "measure_trainings", lambda *_: ({"irn": 1}, {"irn": 2}))
    assert training_sizes(settings(), 3) == ({"irn": 1}, {"irn": 2})
