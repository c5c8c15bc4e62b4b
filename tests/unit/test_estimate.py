"""The estimate of room and memory: its constants against real archives, networks and steps, and what is told of it."""

import logging
import os
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch.nn import functional as F

from ssc.workflow import estimate
from ssc.affinity import irn_losses
from ssc.archive import encode_arrays, encode_labels
from ssc.models.networks import OUTPUT_STRIDES
from ssc.data.demo import scene
from ssc.data.index import Index, Row
from ssc.data.transforms import read_image
from ssc.runtime.errors import InputError
from ssc.workflow.disk import check_room, missing_space, needed_memory, needed_space
from benchmarks.memory import saved_bytes
from ssc.models.classifier import CAMClassifier
from ssc.models.deeplab import DeepLabV2
from ssc.models.irn import IRN
from ssc.models.reconstruction import ReconstructionNet
from ssc.superpixels import superpixels
from tests.faults.bad_inputs import TINY
from tests.unit.test_config import config

Usage = namedtuple("Usage", "total used free")


def settings(**changes):
    return {**config(**yaml.safe_load(TINY.read_text())), **changes}


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
    expected = estimate._MEMBER + estimate._CELL * maps.size
    assert 0.7 * expected < found < 1.2 * expected


@pytest.mark.parametrize("name", OUTPUT_STRIDES)
def test_numbers_of_the_networks(name):
    with torch.device("meta"):
        stride = min(OUTPUT_STRIDES[name])
        networks = [
            CAMClassifier(20, name, output_stride=stride),
            DeepLabV2(21, name, output_stride=stride),
            IRN(name, output_stride=stride),
        ]
    largest = max(sum(tensor.numel() for tensor in network.state_dict().values()) for network in networks)
    assert largest <= estimate._PARAMETERS[name] < 1.05 * largest


@pytest.mark.parametrize("width", [64, 256])
def test_numbers_of_the_reconstruction_net(width):
    with torch.device("meta"):
        count = sum(tensor.numel() for tensor in ReconstructionNet(20, width=width).state_dict().values())
    assert 0.7 * count < estimate._RECONSTRUCTION * width**2 < 1.1 * count


def saved_by_pixel(network, step, size):
    with torch.device("meta"):
        image = torch.empty(2, 3, size, size)
        saved, _ = saved_bytes(lambda: step(image), leave_out=[image, *network.parameters(), *network.buffers()])
    return saved / (2 * size * size)


@pytest.mark.parametrize(
    ("name", "stride"), [(name, stride) for name in OUTPUT_STRIDES for stride in OUTPUT_STRIDES[name]]
)
def test_memory_of_a_segmentation_step(name, stride):
    size = 128
    with torch.device("meta"):
        network = DeepLabV2(21, name, output_stride=stride).train()

    def step(image):
        logits = F.interpolate(network(image), size=(size, size), mode="bilinear")
        return [F.cross_entropy(logits, torch.zeros(2, size, size, dtype=torch.long))]

    assert saved_by_pixel(network, step, size) == pytest.approx(estimate._SEGMENTATION[name][stride], rel=0.05)


def test_memory_of_an_irn_step():
    torch.manual_seed(0)
    network, size = IRN("tiny", output_stride=16).train(), 128
    image, target = torch.rand(1, 3, size, size), torch.randint(0, 3, (1, size // 4, size // 4))
    step = lambda: list(irn_losses(*network(image), target, radius=10).values())  # noqa: E731
    saved, _ = saved_bytes(step, leave_out=[image, target, *network.parameters(), *network.buffers()])
    assert saved / size**2 == pytest.approx(estimate._IRN, rel=0.25)


# Formulas


def test_space_grows_with_what_it_is_made_of():
    own = settings()
    once, more = needed_space(index(), own, 2304), needed_space(index(train=24), own, 2304)
    for part in ("superpixels", "CAMs", "IRN labels", "pseudo-labels"):
        assert more[part] == 2 * once[part]
    for part in ("predictions", "weights", "checkpoint", "report"):
        assert more[part] == once[part]
    assert once["masks"] == 18 * (1100 + 0.06 * 2304)
    assert once["CAMs"] == pytest.approx(12 * 1100 + 24 * 144 * 1.7)
    two = settings(segmentation={**own["segmentation"], "training": "cotraining"})
    assert needed_space(index(), two, 2304)["weights"] - once["weights"] == 4 * 0.5e6
    steps = settings(
        prediction={**own["prediction"], "flip": False, "crf": {**own["prediction"]["crf"], "enabled": False}}
    )
    assert needed_space(index(), steps, 2304)["predictions"] == pytest.approx(once["predictions"] / 3)


def test_memory_of_trainings_counts_on_the_cpu_alone(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    own = {"num_classes": 2, "pixels": 2304}
    trainings = {"train_classifier", "train_irn", "train_segmentation"}
    assert trainings < needed_memory(settings(device="cpu"), **own).keys()
    for device in ("auto", "cuda"):
        assert not trainings & needed_memory(settings(device=device), **own).keys()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    full = needed_memory(settings(device="auto"), **own)
    halved = needed_memory(settings(precision="bf16"), **own)
    for rule in trainings:
        assert halved[rule] - 0.8e9 == pytest.approx(0.6 * (full[rule] - 0.8e9))
    assert full["train_segmentation"] == 0.8e9 + 330 * 48 * 48 * 4


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
    sentence = str(info.value)
    assert (
        sentence.startswith("Results still need about ") and f"; {tmp_path} has 5 MB free; free some, link" in sentence
    )
    assert not list(tmp_path.iterdir())
    own = settings()
    own["dataset"]["check_space"] = False
    with caplog.at_level(logging.WARNING, "ssc"):
        check_room(index(), own, tmp_path)
    assert "too little; free some, link results/ to another disk" in caplog.text


def test_enough_room_is_a_line_in_the_log(tmp_path, disk, caplog):
    disk(10**10)
    with caplog.at_level(logging.INFO, "ssc"):
        told = check_room(index(), settings(), tmp_path)
    assert caplog.messages == [told]
    assert told.endswith(f"{tmp_path} has 10.0 GB free.")


def test_what_is_there_is_not_needed_again(tmp_path):
    own = settings()
    needed = needed_space(index(), own, 375 * 500)
    assert missing_space(needed, own, tmp_path, makers={}) == needed

    def make(path):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()

    shards = [f"{number}-of-{own['shards']}.zip" for number in range(1, own["shards"] + 1)]
    make(f"ssc/cams/{shards[0]}")
    make(f"other/irn_labels/{shards[0]}")
    make("masks/val/1-of-99.zip")  # of another number of shards
    left = missing_space(needed, own, tmp_path, makers={"irn_labels": "other"})
    for stage in ("CAMs", "IRN labels"):
        assert left.pop(stage) == pytest.approx(needed[stage] * (1 - 1 / len(shards)))
    assert left == {stage: needed[stage] for stage in left}

    for shard in shards:
        for place in ("masks/val", "superpixels", "ssc/cams", "ssc/irn_labels", "ssc/pseudo_labels"):
            make(f"{place}/{shard}")
        make(f"ssc/predictions/val/{shard}")
    for training in ("classifier", "irn"):
        make(f"ssc/{training}.safetensors")
    left = missing_space(needed, own, tmp_path, makers={})
    assert left["weights"] == pytest.approx(needed["weights"] / 3) and left["checkpoint"] == needed["checkpoint"]
    make("ssc/segmentation.safetensors")
    left = missing_space(needed, own, tmp_path, makers={})
    assert {stage for stage, size in left.items() if size} == {"report"}


def test_the_photos_sizes_count(tmp_path, disk):
    disk(10**12)
    for name, side in (("small", 20), ("large", 2000)):
        Image.new("L", (side, side)).save(tmp_path / f"{name}.png")
    own = settings()
    small, large = (
        needed_space(index(), own, np.mean(estimate._pixel_counts(index(image=str(tmp_path / f"{name}.png")))))
        for name in ("small", "large")
    )
    assert large["superpixels"] - small["superpixels"] == pytest.approx(12 * 0.06 * (2000**2 - 20**2))
    assert len(estimate._pixel_counts(index(train=1000, image=str(tmp_path / "small.png")))) <= 64


def test_too_little_memory_is_a_warning(tmp_path, disk, caplog, monkeypatch):
    disk(10**12)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 200_000}[name])
    with caplog.at_level(logging.WARNING, "ssc"):
        check_room(index(), settings(), tmp_path)
    (message,) = caplog.messages
    assert message.startswith("Warning: rule ") and "this machine has 0.8 GB" in message
