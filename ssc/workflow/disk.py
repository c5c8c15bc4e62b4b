"""What a run needs, on the disk and in memory, before it begins: plain formulas, meant to be right within a half.

The constants were measured on VOC photos and on the demo; the tests compare them with archives, networks and training
steps.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from ssc.constants import STRIDE
from ssc.data.index import Index
from ssc.runtime.errors import InputError
from ssc.runtime.progress import log
from ssc.workflow.experiments import step_names

_SAMPLE = 64  # photos whose headers tell the size of all
_UNKNOWN = 500 * 375  # pixels of a photo that cannot be read: VOC's

# Bytes of a member of an archive: those that do not depend on the photo (names, palette), and the content. Label maps
# of VOC take 0.02 to 0.04 bytes a pixel, those of the demo's small scenes 0.07; a CAM's cell 1.6, float16 deflated.
_MEMBER = 1_100
_LABEL = 0.06
_CELL = 1.7

_REPORT = 10e6  # pictures, tables, logs
_SLACK = 1.25  # archives are written under another name before the old ones go

# Numbers of a network with its head, rounded up, and of the reconstruction net.
_PARAMETERS = {
    "tiny": 0.5e6, "resnet18": 11.8e6, "resnet34": 21.9e6, "resnet50": 25.2e6, "resnet101": 44.2e6, "vgg16": 37.9e6,
}  # fmt: skip
_RECONSTRUCTION = 72  # times the square of its width

# Bytes that a training step in fp32 saves for its backward pass, by pixel of the window: DeepLabV2 by output stride;
# the classifier with ResNet-50 by `memory`, as `ssc memory` tells; IRN, with any backbone, since that is frozen.
_SEGMENTATION = {
    "tiny": {4: 330, 8: 190, 16: 165}, "resnet18": {8: 890, 16: 570, 32: 520}, "resnet34": {8: 1410, 16: 790, 32: 720},
    "resnet50": {8: 3870, 16: 2020, 32: 1790}, "resnet101": {8: 7140, 16: 2840, 32: 2610}, "vgg16": {8: 3300, 16: 1930},
}  # fmt: skip
_CLASSIFIER = {"fast": 2_250, "lean": 1_070}
_IRN = 900

_PROCESS = 0.8e9  # Python with PyTorch and compiled kernels
_SUPERPIXELS = 155  # bytes of memory by pixel of a photo
_SCORES = 40  # the same, by class: scores, their softmax, and the dense CRF


def needed_space(index: Index, settings: dict, pixels: float) -> dict[str, float]:
    """Bytes that a run writes below results/<data set>/, by what they are.

    Args:
        index: the images.
        settings: a completed configuration, of one experiment.
        pixels: mean height times width of the photos.
    """
    train, predicted = index.split("train"), index.split(settings["prediction"]["split"])
    masked = sum(bool(row.mask) for row in {*train, *predicted})
    present = sum(len(row.labels) for row in train)
    label_map = _MEMBER + _LABEL * pixels
    networks = 1 + (settings["segmentation"]["training"] == "cotraining")
    classifier = settings["classifier"]
    weights = {
        "classifier": 4 * (_PARAMETERS[classifier["backbone"]] + _RECONSTRUCTION * classifier["cdr"]["width"] ** 2),
        "irn": 4 * _PARAMETERS[settings["irn"]["backbone"]],
        "segmentation": networks * 4 * _PARAMETERS[settings["segmentation"]["backbone"]],
    }
    return {
        "masks": masked * label_map,
        "superpixels": len(train) * label_map,
        "CAMs": len(train) * _MEMBER + present * pixels / STRIDE**2 * _CELL,
        "IRN labels": len(train) * label_map,
        "pseudo-labels": 2 * len(train) * label_map,  # and confidence masks
        "predictions": len(step_names(settings["prediction"])) * len(predicted) * label_map,
        "weights": sum(weights.values()) + 4 * _PARAMETERS[classifier["backbone"]],  # and the warm start
        "checkpoint": 3 * max(weights.values()),  # with Adam's two moments; it goes when the training has ended
        "report": _REPORT,
    }


def needed_memory(settings: dict, *, num_classes: int, pixels: float) -> dict[str, float]:
    """Bytes of memory of the largest jobs, by rule; trainings where they run on the CPU.

    Args:
        settings: a completed configuration, of one experiment.
        num_classes: number C of foreground classes.
        pixels: height times width of the largest photo.
    """
    prediction = settings["prediction"]
    enlarged = pixels * max(1.0, *prediction["scales"]) ** 2
    photos = 4 if prediction["crf"]["enabled"] else 1  # at the same time; see rule predictions
    needed = {
        "superpixels": _PROCESS + _SUPERPIXELS * pixels,
        "predictions": _PROCESS + _SCORES * (num_classes + 1) * max(enlarged, photos * pixels),
    }
    if settings["device"] == "cpu" or (settings["device"] == "auto" and not shutil.which("nvidia-smi")):
        halved = 0.6 if settings["precision"] == "bf16" else 1.0
        classifier, irn, segmentation = (settings[name] for name in ("classifier", "irn", "segmentation"))
        deep = _SEGMENTATION[classifier["backbone"]]
        share = deep[16] / _SEGMENTATION["resnet50"][16]
        networks = 1 + (segmentation["training"] == "cotraining")
        steps = {
            "train_classifier": (classifier, share * _CLASSIFIER[settings["memory"]]),
            "train_irn": (irn, _IRN),
            "train_segmentation": (
                segmentation,
                networks * _SEGMENTATION[segmentation["backbone"]][segmentation["output_stride"]],
            ),
        }
        for rule, (section, saved) in steps.items():
            needed[rule] = _PROCESS + halved * saved * section["crop"] ** 2 * section["batch_size"]
    return needed


def missing_space(
    needed: Mapping[str, float], settings: dict, folder: Path, *, makers: Mapping[str, str]
) -> dict[str, float]:
    """What of `needed_space` is still to be written: that of results which are not below `folder` yet."""

    def made(stage: str) -> Path:
        return folder / makers.get(stage, settings["experiment"])

    def share(archives: Path) -> float:
        shards = settings["shards"]
        there = sum((archives / f"{number}-of-{shards}.zip").exists() for number in range(1, shards + 1))
        return 1 - there / shards

    split = settings["prediction"]["split"]
    trainings = ("classifier", "irn", "segmentation")
    untrained = [stage for stage in trainings if not (made(stage) / f"{stage}.safetensors").exists()]
    shares = {
        "masks": share(folder / "masks" / split),
        "superpixels": share(folder / "superpixels"),
        "CAMs": share(made("cams") / "cams"),
        "IRN labels": share(made("irn_labels") / "irn_labels"),
        "pseudo-labels": share(made("pseudo_labels") / "pseudo_labels"),
        "predictions": share(made("predictions") / "predictions" / split),
        "weights": len(untrained) / len(trainings),
        "checkpoint": float(bool(untrained)),
        "report": 1.0,
    }
    return {what: needed[what] * shares[what] for what in needed}


def check_room(index: Index, settings: dict, folder: str | Path, *, makers: Mapping[str, str] | None = None) -> str:
    """Compare what a run still needs with what there is. Headers of some photos are read, and names below `folder`.

    Results that are there are taken for finished. Too little memory is a warning in the log, since it may be another
    machine that computes. Weights that are downloaded, and what lies in `data`, are not counted.

    Args:
        index: the images.
        settings: a completed configuration, of the experiment that runs. With `dataset.check_space: false` too little
            room is told in the log alone.
        folder: results/<data set>; it need not exist.
        makers: by stage, the experiment in whose folder its results lie; by default that of the settings.

    Returns:
        The estimate in a sentence, which the log has too.

    Raises:
        InputError: the disk has less room than what is still to be written.
    """
    sizes = _pixel_counts(index)
    spaces = missing_space(
        needed_space(index, settings, sum(sizes) / len(sizes)), settings, Path(folder), makers=makers or {}
    )
    needed = _SLACK * sum(spaces.values())
    disk = next(place for place in (Path(folder).absolute(), *Path(folder).absolute().parents) if place.exists())
    free = shutil.disk_usage(disk).free
    largest = sorted(spaces, key=spaces.get, reverse=True)[:2]
    told = (
        f"Results still need about {_told(needed)}, most of it {' and '.join(largest)}; {disk} has {_told(free)} free."
    )
    log.info(told)
    if needed > free:
        mend = "free some, link results/ to another disk, or set dataset.check_space: false if the estimate is wrong."
        if settings["dataset"]["check_space"]:
            raise InputError(f"{told.removesuffix('.')}; {mend}")
        log.warning("Warning: that is too little; %s", mend.partition(", or")[0])
    memory = needed_memory(settings, num_classes=index.num_classes, pixels=max(sizes))
    rule = max(memory, key=memory.get)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory[rule] > there:
        log.warning(
            "Warning: rule %s needs about %s of memory, this machine has %s; a smaller batch_size or crop, "
            "memory: lean or precision: bf16 need less.",
            rule, _told(memory[rule]), _told(there),
        )  # fmt: skip
    return told


def _pixel_counts(index: Index) -> list[int]:
    """Height times width of some photos, evenly spaced over the index."""
    counts = []
    for row in index.rows[:: max(1, -(-len(index.rows) // _SAMPLE))]:
        try:
            with Image.open(row.image) as image:
                counts.append(image.width * image.height)
        except OSError:
            continue
    return counts or [_UNKNOWN]


def _told(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
