"""The estimate of room: its constants against real archives, its formulas, and what is told of it."""

import io
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
from ssc.workflow.disk import check_room, missing_results, needed_space, photo_sizes
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


def missing(folder, owners=None, **changes):
    """Stages of which something is still to be written, with its share."""
    return {
        stage: share
        for stage, share in missing_results(settings(**changes), folder, owners=owners or {}).items()
        if share
    }


def test_what_is_there_is_not_needed_again(tmp_path):
    everything = dict.fromkeys(estimate.RULES_OF.keys() - {"warm_start", "cross_validation"}, 1.0)
    assert missing(tmp_path) == everything
    own = {"kind": "folder", "name": "tiny", "root": "photos"}
    assert missing(tmp_path, dataset=own) == {**everything, "cross_validation": 1.0}

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


def test_labels_without_a_walk_need_no_irn(tmp_path):
    found = missing(tmp_path, pseudo_labels={"method": "none"})
    assert "irn" not in found and "irn_labels" not in found and found["pseudo_labels"] == 1.0


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


def folder(**changes):
    """Settings for a folder of one's own photos."""
    return settings(dataset={"kind": "folder", "name": "mine", "root": "data", **changes})


def test_the_photos_sizes_count(tmp_path):
    sides = {"small": 20, "wide": 2000}
    for name, side in sides.items():
        Image.new("L", (side, 20)).save(tmp_path / f"{name}.png")
    rows = [Row(f"{k}", "train", str(tmp_path / f"{name}.png"), "", (1,)) for k, name in enumerate([*sides, "gone"])]
    own = Index(["cat"], rows)
    assert photo_sizes(own, folder()) == (20_200, 40_000, 0)
    assert photo_sizes(own, folder(max_side=2000)) == (20_200, 40_000, 0)
    assert photo_sizes(own, folder(max_side=1000)) == (5_200, 10_000, 5_000)
    assert photo_sizes(own, settings()).largest == 40_000  # demo scenes are never shrunk
    assert photo_sizes(index(), settings()) == (500 * 375, 500 * 375, 0)


def test_some_photos_stand_for_all(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(estimate, "open_photo", lambda path: opened.append(path) or Image.new("L", (20, 30)))
    assert photo_sizes(index(train=1000), settings()) == (600, 600, 0) and 32 < len(opened) <= 64


def test_copies_of_large_photos_are_as_large_as_estimated(shared_data):
    found = []
    for path in sorted((shared_data / "voc").rglob("*.jpg"))[:5]:
        buffer = io.BytesIO()
        image = read_image(path)
        Image.fromarray(image).save(buffer, "jpeg", quality=95, subsampling="4:4:4")
        found.append(len(buffer.getvalue()) / image[..., 0].size)
    assert np.mean(found) == pytest.approx(estimate._COPY, rel=0.5)


def test_photos_that_will_be_shrunk_need_no_more_than_their_copies(tmp_path, disk):
    disk(10**12)
    for name, side in (("small", 100), ("large", 1000)):
        Image.new("L", (side, side)).save(tmp_path / f"{name}.png")

    def needed(name, **changes):
        told = check_room(
            index(train=2000, image=str(tmp_path / f"{name}.png")), folder(**changes), tmp_path / "results"
        )
        number, unit = told.split()[4:6]
        return float(number) * {"MB,": 1e6, "GB,": 1e9}[unit]

    copies = 1.25 * 2006 * 0.65e4
    assert needed("large", max_side=100) - needed("small") == pytest.approx(copies, abs=1.1e6)
    assert needed("large") > 10 * needed("small")


def test_too_little_memory_is_a_warning(tmp_path, disk, capsys, monkeypatch):
    disk(10**12)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 200_000}[name])
    check_room(index(), settings(), tmp_path, cores=1)
    told = capsys.readouterr().err
    assert told.startswith("Warning: rule ") and "this machine has 0.8 GB" in told


def test_memory_of_what_is_done_or_not_made_counts_no_more(tmp_path, disk, capsys, monkeypatch):
    disk(10**12)
    seen = []
    monkeypatch.setattr(estimate, "warn_of_memory", lambda needs: seen.append(set(needs)))
    check_room(index(), settings(), tmp_path, cores=2)
    check_room(index(), settings(classifier={"backbone": "tiny", "asm": {"enabled": False}}), tmp_path, cores=2)
    check_room(index(), settings(ready={"cams": "theirs"}), tmp_path, cores=2)
    (tmp_path / "ssc" / "cams").mkdir(parents=True)
    for shard in ("1-of-2", "2-of-2"):
        (tmp_path / "ssc" / "cams" / f"{shard}.zip").touch()
    (tmp_path / "ssc" / "classifier.safetensors").touch()
    check_room(index(), settings(ready={"irn": "irn.safetensors"}), tmp_path, cores=2)
    later = {"irn_labels", "train_irn", "random_walk", "train_segmentation", "predictions"}
    first = {"train_classifier", "cams", "evaluate_classifier", *later}
    last = {"superpixels", "random_walk", "train_segmentation", "predictions"}
    assert seen == [first | {"superpixels"}, first, later, last]


def test_the_workflow_is_read_without_torch():
    code = "import sys, ssc.workflow.disk, ssc.workflow.network_sizes; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
