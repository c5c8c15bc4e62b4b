"""Memory that the jobs of a run need: meant to be right within a half.

Bytes by pixel are those of processes that were measured at photos of 0.2 to 12 megapixels; the networks are asked
(`ssc.workflow.network_sizes`).
"""

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ssc.constants import STRIDE
from ssc.data.index import Index
from ssc.runtime.progress import tell, told_bytes
from ssc.workflow.network_sizes import NetworkSize
from ssc.workflow.settings import Settings

_PROCESS = 0.8e9  # Python with PyTorch and compiled kernels
_PLAIN_PROCESS = 0.2e9  # without PyTorch

# Bytes by pixel.
_PHOTO, _VIEW = 3, 12  # uint8 and float32, of three colours
_SCORES = 4  # float32, by class
_SUPERPIXELS = 155
_CRF, _CRF_LABEL = 210, 28  # by label and map, too
_PAIR = 54  # of the random walk: by pixel at stride 4 and neighbour within its radius

_WORKING = 1.25  # what a network takes over the results that it holds: its operations need some room of their own
_BF16 = 0.6  # what of it is left in bf16
_THREADS = 4  # of a job that has several, see the rules
_AHEAD = 16  # photos among which a GPU's batch is found, see `ssc.stages.batching`


class Need(NamedTuple):
    """What the jobs of a rule need.

    Attributes:
        size: bytes of memory of the largest.
        threads: of each.
        jobs: that may run at the same time.
    """

    size: float
    threads: int
    jobs: int


def needed_memory(
    index: Index, settings: Settings, networks: Mapping[str, NetworkSize], *, pixels: float, cores: int
) -> dict[str, Need]:
    """What the rules need that take whole photos and, where they run on the CPU, the trainings. What a GPU holds is not
    counted.

    Args:
        index: the images.
        settings: of the experiment.
        networks: their sizes, by training.
        pixels: height times width of the largest photo.
        cores: processors that jobs share; GPUs, without `--resources gpu=<n>`, have one job at a time.
    """
    gpu = settings.device.startswith("cuda") or (settings.device == "auto" and bool(shutil.which("nvidia-smi")))
    walk, prediction = settings.pseudo_labels, settings.prediction
    several = min(_THREADS, cores)
    of_network = ("cams", "evaluate_classifier", "random_walk", "predictions")
    threads = {"superpixels": 1, "irn_labels": 1, **dict.fromkeys(of_network, several if gpu else 1)}
    threads["predictions"] = several if gpu or prediction.crf.enabled else 1
    halved = _BF16 if settings.precision == "bf16" else 1.0

    def inference(rule: str, stage: str, scales: Sequence[float], side: int | None = None) -> float:
        """Photos and their views, of which some are read ahead, and the network with the largest view, mirrored too."""
        area, held = side**2 if side else pixels, 2 * threads[rule] + (_AHEAD if gpu else 0)
        largest, all_scales = max(scales) ** 2, sum(scale**2 for scale in scales)
        network = 0 if gpu else 2 * largest * _WORKING * halved * networks[stage].bytes_per_pixel
        return held * _PHOTO * pixels + ((held + 1) * all_scales + 3 * largest) * _VIEW * area + network * area

    def refinement(labels: int) -> float:
        """A dense CRF."""
        return (_CRF + _CRF_LABEL * labels) * pixels

    present = max((len(row.labels) for row in index.rows), default=0)
    scores = _SCORES * (index.num_classes + 1) * pixels
    fused = (len(prediction.steps()) + 3) * scores
    predicted = max(inference("predictions", "segmentation", prediction.scales, prediction.square), fused)
    if prediction.crf.enabled:
        # Threads beside a network on the CPU wait for it.
        predicted += (several if gpu else 1) * (refinement(index.num_classes + 1) + 2 * scores)
    walked = 0 if gpu else _PAIR * math.pi * (walk.radius * walk.scale / STRIDE) ** 2 * pixels
    labelled = refinement(present + 1)  # at most, where no network does it
    if walk.method == "irn":
        labelled = max(inference("random_walk", "irn", [walk.scale]), walked)
    sizes = {
        "superpixels": _PLAIN_PROCESS + _SUPERPIXELS * pixels,
        "cams": _PROCESS + inference("cams", "classifier", settings.cams.scales),
        "evaluate_classifier": _PROCESS + inference("evaluate_classifier", "classifier", [1.0]),
        "irn_labels": _PROCESS + refinement(2 * (present + 1)),
        "random_walk": _PROCESS + labelled,
        "predictions": _PROCESS + predicted,
    }
    needs = {}
    for rule, size in sizes.items():
        alone = rule == "evaluate_classifier" or (gpu and rule in of_network)
        needs[rule] = Need(size, threads[rule], 1 if alone else min(settings.shards, cores // threads[rule]))
    if not gpu:
        for stage, network in networks.items():
            needs[f"train_{stage}"] = Need(_PROCESS + halved * network.saved, cores, 1)
    return needs


def warn_of_memory(needs: Mapping[str, Need]) -> None:
    """Say where this machine has less memory than the largest job needs, or than the jobs that run at the same time do;
    it may be another machine that computes."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    has = f"this machine has {told_bytes(there)}"
    alone = max(needs, key=lambda rule: needs[rule].size, default=None)
    together = max(needs, key=lambda rule: needs[rule].size * needs[rule].jobs, default=None)
    if alone and needs[alone].size > there:
        less = "smaller scales need less, or smaller photos (of your own: dataset.max_side)"
        if alone.startswith("train_"):
            less = "a smaller batch_size or crop, memory: lean or precision: bf16 need less"
        tell(f"Warning: rule {alone} needs about {told_bytes(needs[alone].size)} of memory, {has}; {less}.")
    elif together and needs[together].size * needs[together].jobs > there:
        size, threads, jobs = needs[together]
        several = f"{jobs} jobs of rule {together} at the same time need about {told_bytes(size)} of memory each"
        tell(f"Warning: {several}, {has}; start with --cores {int(there / size) * threads}.")
