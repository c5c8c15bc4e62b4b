"""The estimate of memory: against what stages hold in truth, its formulas, and what is told of it."""

import os
import shutil
import tracemalloc

import numpy as np
import pytest
import torch

from ssc.affinity import random_walk
from ssc.crf import DenseCRF
from ssc.data.demo import scene
from ssc.data.index import Index, Row
from ssc.models.size import peak_bytes
from ssc.workflow import memory
from ssc.workflow.memory import Need, needed_memory, warn_of_memory
from ssc.workflow.network_sizes import NetworkSize
from ssc.workflow.settings import Settings

MEGAPIXEL = 1_000_000
NETWORK = NetworkSize(weights=1, saved=3_000_000_000, training_flops=1, bytes_per_pixel=200.0, flops_per_pixel=1.0)
NETWORKS = {"classifier": NETWORK, "irn": NETWORK, "segmentation": NETWORK}


def needs(*, pixels=MEGAPIXEL, cores=1, labels=(1, 2), **changes):
    index = Index(["cat", "dog"], [Row("a", "train", "a.jpg", "", labels)])
    own = {"dataset": {"kind": "demo", "name": "x"}, "device": "cpu", "shards": 16, **changes}
    return needed_memory(index, Settings(**own), NETWORKS, pixels=pixels, cores=cores)


def above_process(found):
    """Bytes by pixel of the jobs of whole photos, without what a process takes of itself."""
    sizes = {rule: need.size for rule, need in found.items() if not rule.startswith("train_")}
    return {rule: (size - memory._PROCESS) / MEGAPIXEL for rule, size in sizes.items()}


# Constants


@pytest.mark.parametrize("maps", [1, 2])
def test_a_dense_crf_holds_what_is_estimated(maps):
    image = np.tile(scene(0)[0], (4, 4, 1))
    labels = np.arange(image[..., 0].size).reshape(image.shape[:2]) // 1000 % 3
    DenseCRF(image).refine_labels(labels, num_labels=3, iterations=1)  # compiles
    tracemalloc.start()
    DenseCRF(image).refine_labels(np.stack([labels] * maps), num_labels=3, iterations=1)
    found = tracemalloc.get_traced_memory()[1] / labels.size
    tracemalloc.stop()
    assert 0.5 < found / (memory._CRF + memory._CRF_LABEL * 3 * maps) < 1.5


@pytest.mark.parametrize("radius", [3, 5, 8])
def test_a_random_walk_holds_what_is_estimated(radius):
    cams, edges = torch.rand(2, 40, 50), torch.rand(40, 50)
    found = peak_bytes(lambda: random_walk(cams, edges, radius=radius, exp_times=2)) / edges.numel()
    assert 0.5 < found / (memory._PAIR * np.pi * radius**2) < 1.5


# Formulas


def test_networks_take_the_largest_view_and_its_mirror_image():
    found = above_process(needs(cams={"scales": [1.0, 0.5, 2.0]}))
    assert found["evaluate_classifier"] == 2 * 3 + (3 + 3) * 12 + 2 * 1.25 * 200
    assert found["cams"] == 2 * 3 + (3 * 5.25 + 3 * 4) * 12 + 4 * 2 * 1.25 * 200
    halved = above_process(needs(cams={"scales": [1.0, 0.5, 2.0]}, precision="bf16"))
    assert found["cams"] - halved["cams"] == pytest.approx(0.4 * 4 * 2 * 1.25 * 200)
    assert above_process(needs(pseudo_labels={"scale": 1}))["random_walk"] == found["evaluate_classifier"]
    assert above_process(needs(pseudo_labels={"scale": 1, "radius": 12}))["random_walk"] == pytest.approx(
        54 * np.pi * 9
    )


def test_predictions_hold_scores_of_all_classes_and_crfs():
    scales = {"scales": [1.0, 0.1]}
    plain = {**scales, "crf": {"enabled": False}}
    without, one, four = (
        above_process(needs(prediction=prediction, cores=cores))["predictions"]
        for prediction, cores in ((plain, 8), (scales, 1), (scales, 8))
    )
    crf, ahead = 210 + 28 * 3 + 2 * 4 * 3, 2 * (3 + 1.01 * 12)
    assert one == pytest.approx(without + crf)
    assert four == pytest.approx(without + 3 * ahead + crf)  # photos that its threads have read
    on_gpu = {"device": "cuda", "cores": 8, "labels": ()}
    found = [above_process(needs(prediction=prediction, **on_gpu))["predictions"] for prediction in (scales, plain)]
    assert found[0] - found[1] == pytest.approx(4 * crf)
    squared = needs(prediction={**plain, "square": 100})["predictions"].size
    assert squared < needs(prediction=plain)["predictions"].size / 1.4


def test_a_photo_of_many_labels_takes_more_for_its_crf():
    few, many = (above_process(needs(labels=labels))["irn_labels"] for labels in ((), (1, 2)))
    assert many - few == 2 * 2 * 28


def test_labels_without_a_walk_take_a_crf_at_most():
    for method in ("crf", "none"):
        found = above_process(needs(labels=(1, 2), pseudo_labels={"method": method}))
        assert found["random_walk"] == pytest.approx(210 + 28 * 3)


def test_all_grows_with_the_photo():
    small, large = needs(), needs(pixels=12 * MEGAPIXEL)
    for rule, need in small.items():
        if rule.startswith("train_"):
            assert large[rule] == need
        else:
            base = memory._PLAIN_PROCESS if rule == "superpixels" else memory._PROCESS
            assert large[rule].size - base == pytest.approx(12 * (need.size - base))


def test_jobs_at_the_same_time():
    jobs = {rule: (need.threads, need.jobs) for rule, need in needs(cores=8, shards=6).items()}
    assert jobs.pop("predictions") == (4, 2) and jobs.pop("evaluate_classifier") == (1, 1)
    assert all(jobs.pop(f"train_{stage}") == (8, 1) for stage in NETWORKS)
    assert jobs == dict.fromkeys(("superpixels", "cams", "irn_labels", "random_walk"), (1, 6))
    assert needs(cores=3)["predictions"][1:] == (3, 1)
    assert needs(cores=3, prediction={"crf": {"enabled": False}})["predictions"][1:] == (1, 3)


def test_what_a_gpu_holds_does_not_count(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    found = needs(device="auto", cores=8)
    assert found == needs(device="cuda", cores=8)
    assert not any(rule.startswith("train_") for rule in found)
    assert above_process(found)["evaluate_classifier"] == 24 * 3 + (25 + 3) * 12  # a batch is chosen among 16 photos
    assert found["cams"][1:] == (4, 1) and found["irn_labels"][1:] == (1, 8)
    assert "train_irn" in needs(device="cpu")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert needs(device="auto") == needs()


def test_trainings_hold_what_a_step_saves():
    assert needs()["train_irn"].size == pytest.approx(3.8e9)
    assert needs(precision="bf16")["train_irn"].size == pytest.approx(0.8e9 + 0.6 * 3e9)


# What is told


@pytest.fixture
def machine(monkeypatch):
    """A machine with 8 GB."""
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4000, "SC_PHYS_PAGES": 2_000_000}[name])


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            {"cams": Need(9e9, 1, 1), "superpixels": Need(7e9, 1, 9)},
            "Warning: rule cams needs about 9.0 GB of memory, this machine has 8.0 GB; smaller scales need less, or "
            "smaller photos (of your own: dataset.max_side).",
        ),
        (
            {"cams": Need(9e9, 1, 1), "train_irn": Need(1e10, 2, 1)},
            "Warning: rule train_irn needs about 10.0 GB of memory, this machine has 8.0 GB; a smaller batch_size or "
            "crop, memory: lean or precision: bf16 need less.",
        ),
        (
            {"train_irn": Need(7e9, 8, 1), "cams": Need(3e9, 1, 8)},
            "Warning: 8 jobs of rule cams at the same time need about 3.0 GB of memory each, this machine has 8.0 GB; "
            "start with --cores 2.",
        ),
        (
            {"predictions": Need(3e9, 4, 4)},
            "Warning: 4 jobs of rule predictions at the same time need about 3.0 GB of memory each, this machine has "
            "8.0 GB; start with --cores 8.",
        ),
        ({"train_irn": Need(7e9, 8, 1), "cams": Need(1e9, 1, 8)}, ""),
        ({}, ""),
    ],
)
def test_what_is_told(found, told, machine, capsys):
    warn_of_memory(found)
    assert capsys.readouterr().err.strip() == told
