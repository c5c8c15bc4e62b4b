"""What a run needs, on the disk and in memory, before it begins: meant to be right within a half.

Bytes of a photo's results were measured on VOC and on the demo; the networks are asked (`ssc.workflow.training_size`).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from PIL import Image

from ssc.constants import STRIDE
from ssc.data.index import Index
from ssc.runtime.errors import InputError
from ssc.runtime.files import file_digest, read_json, write_json
from ssc.runtime.progress import log
from ssc.workflow.experiments import selects_on_val
from ssc.workflow.settings import Settings
from ssc.workflow.stage_table import RULES, TRAININGS, stage_of

_SAMPLE = 64  # photos whose headers tell the size of all
_UNKNOWN = 500 * 375  # pixels of a photo that cannot be read: VOC's

# Bytes of a member of an archive: those that do not depend on the photo (names, palette), and the content. Label maps
# of VOC take 0.02 to 0.04 bytes a pixel, those of the demo's small scenes 0.07; a CAM's cell 1.6, float16 deflated.
_MEMBER = 1_100
_LABEL = 0.06
_CELL = {"float16": 1.7, "float32": 3.4}

_REPORT = 10e6  # pictures, tables, logs
_SLACK = 1.25  # archives are written under another name before the old ones go

_PROCESS = 0.8e9  # Python with PyTorch and compiled kernels
_SUPERPIXELS = 155  # bytes of memory by pixel of a photo
_SCORES = 40  # the same, by class: scores, their softmax, and the dense CRF

# By what is estimated, the rule that writes it.
RULES_OF = {
    **{name: name for name in ("masks", "superpixels", "warm_start", "cams", "irn_labels", "predictions")},
    "pseudo_labels": "random_walk",
    **{stage: f"train_{stage}" for stage in TRAININGS},
}


def missing_results(settings: Settings, folder: Path, *, owners: Mapping[str, str]) -> dict[str, float]:
    """Share of each stage's files, 0..1, that is still to be written below `folder`.

    Ready weights are used where they are; of other ready files archives are made.
    """
    own = settings.classifier
    names = {"split": settings.prediction.split, "seed": settings.seed}
    names |= {"backbone": own.backbone, "stride": own.output_stride}
    shards = [f"{number}-of-{settings.shards}" for number in range(1, settings.shards + 1)]
    missing = {}
    for stage, rule in RULES_OF.items():
        pattern = next(iter(RULES[rule].outputs.values()))
        below = folder if stage_of(rule).shared else folder / owners.get(stage, settings.experiment)
        paths = {below / pattern.format(shard=shard, **names) for shard in shards}
        missing[stage] = sum(not path.exists() for path in paths) / len(paths)
    for stage in TRAININGS:
        missing[stage] *= getattr(settings.ready, stage) is None
    missing["warm_start"] *= "warm_start" in (own.weights, settings.irn.weights, settings.segmentation.weights)
    return missing


def needed_space(index: Index, settings: Settings, pixels: float, weights: Mapping[str, float]) -> dict[str, float]:
    """Bytes of each stage's results.

    Args:
        index: the images.
        settings: of the experiment.
        pixels: mean height times width of the photos.
        weights: bytes of the trainings' weight files.
    """
    train, predicted = index.split("train"), index.split(settings.prediction.split)
    selecting = index.split("val") if selects_on_val(settings) else []
    label_map = _MEMBER + _LABEL * pixels
    present = sum(len(row.labels) for row in train)
    return {
        "masks": sum(bool(row.mask) for row in {*train, *predicted, *selecting}) * label_map,
        "superpixels": len(train) * label_map,
        "cams": len(train) * _MEMBER + present * _cam_cells(settings, pixels) * _CELL[settings.cams.dtype],
        "irn_labels": len(train) * label_map,
        "pseudo_labels": 2 * len(train) * label_map,  # and confidence masks
        "predictions": len(settings.prediction.steps()) * len(predicted) * label_map,
        "warm_start": weights["classifier"],
        **weights,
    }


def _cam_cells(settings: Settings, pixels: float) -> float:
    """Cells of a photo's CAM of one class: at stride 4, and with `stride: 1` those that the map is made of."""
    cells = pixels / STRIDE**2
    if settings.cams.stride == 1 and settings.ready.cams:
        cells += pixels
    elif settings.cams.stride == 1 and settings.cams.refine == "superpixels":
        cells += 0.05 * pixels  # few values, deflated
    elif settings.cams.stride == 1:
        cells += sum(scale**2 for scale in settings.cams.scales) * pixels / settings.classifier.output_stride**2
    return cells


def needed_memory(settings: Settings, num_classes: int, pixels: float, saved: Mapping[str, float]) -> dict[str, float]:
    """Bytes of memory of the largest jobs, by rule; trainings where they run on the CPU.

    Args:
        settings: of the experiment.
        num_classes: number C of foreground classes.
        pixels: height times width of the largest photo.
        saved: bytes that a step in fp32 saves for its backward pass, by training.
    """
    prediction = settings.prediction
    enlarged = pixels * max(1.0, *prediction.scales) ** 2
    photos = 4 if prediction.crf.enabled else 1  # at the same time; see rule predictions
    needed = {
        "superpixels": _PROCESS + _SUPERPIXELS * pixels,
        "predictions": _PROCESS + _SCORES * (num_classes + 1) * max(enlarged, photos * pixels),
    }
    if settings.device == "cpu" or (settings.device == "auto" and not shutil.which("nvidia-smi")):
        halved = 0.6 if settings.precision == "bf16" else 1.0
        needed |= {f"train_{stage}": _PROCESS + halved * size for stage, size in saved.items()}
    return needed


def check_room(index: Index, settings: Settings, folder: str | Path, *, owners: Mapping[str, str] | None = None) -> str:
    """Compare what a run still needs with what there is. Headers of some photos are read, and names below `folder`.

    Results that are there are taken for finished. Too little memory is a warning in the log, since it may be another
    machine that computes. Weights that are downloaded, and what lies in `data`, are not counted.

    Args:
        index: the images.
        settings: of the experiment that runs; `dataset.check_space: false` turns the error into a line in the log.
        folder: results/<data set>; it need not exist.
        owners: by stage, the experiment in whose folder its results lie; by default that of the settings.

    Returns:
        The estimate in one line, which the log has too.

    Raises:
        InputError: the disk has less room than what is still to be written, or no network can be built of the settings.
    """
    sizes = _pixel_counts(index)
    missing = missing_results(settings, Path(folder), owners=owners or {})
    weights, saved = training_sizes(settings, index.num_classes)
    whole = needed_space(index, settings, sum(sizes) / len(sizes), weights)
    spaces = {stage: size * missing[stage] for stage, size in whole.items()}
    spaces["checkpoint"] = 3 * max(map(spaces.get, weights))  # with Adam's moments; it goes when the training has ended
    spaces["report"] = _REPORT
    needed = _SLACK * sum(spaces.values())
    disk = next(place for place in (Path(folder).absolute(), *Path(folder).absolute().parents) if place.exists())
    free = shutil.disk_usage(disk).free
    largest = " and ".join(sorted(spaces, key=spaces.get, reverse=True)[:2])
    told = f"Results still need about {_told(needed)}, most of it {largest}; {disk} has {_told(free)} free."
    log.info(told)
    if needed > free:
        hint = "free some, link results/ to another disk"
        if settings.dataset.check_space:
            raise InputError(f"{told[:-1]}; {hint}, or set dataset.check_space: false if the estimate is wrong.")
        log.warning("Warning: that is too little; %s.", hint)
    saved = {stage: size for stage, size in saved.items() if missing[stage]}
    memory = needed_memory(settings, index.num_classes, max(sizes), saved)
    rule = max(memory, key=memory.get)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory[rule] > there:
        log.warning(
            "Warning: rule %s needs about %s of memory, this machine has %s; a smaller batch_size or crop, "
            "memory: lean or precision: bf16 need less.",
            rule, _told(memory[rule]), _told(there),
        )  # fmt: skip
    return told


def check_networks(settings: Settings) -> None:
    """Build the networks of all trainings, on torch's meta device.

    Raises:
        InputError: one cannot be built of the settings.
    """
    training_sizes(settings, num_classes=1)


def training_sizes(settings: Settings, num_classes: int) -> tuple[dict[str, int], dict[str, int]]:
    """What `ssc.workflow.training_size.measure_trainings` returns, measured once and kept below `~/.cache/ssc`.

    It takes three seconds, since torch has to load its compiler for networks of no content, and is asked at each start.

    Raises:
        InputError: settings of which no network can be built.
    """
    package = Path(__file__).parents[1]
    code = [*package.glob("models/*.py"), *(package / name for name in ("affinity.py", "losses.py", "constants.py"))]
    known = [
        {stage: getattr(settings, stage).model_dump(mode="json") for stage in TRAININGS},
        [settings.memory, num_classes, version("torch"), version("timm")],
        [file_digest(path) for path in sorted([*code, package / "workflow" / "training_size.py"])],
    ]
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111, which may raise
    place = Path(caches) / "ssc" / f"training_sizes_{key}.json"
    with suppress(OSError, InputError, LookupError, TypeError):  # not there, or damaged
        kept = read_json(place)
        return kept["weights"], kept["saved"]
    from ssc.workflow.training_size import measure_trainings  # with torch, which the reading of the workflow can spare

    weights, saved = measure_trainings(settings, num_classes)
    with suppress(OSError):  # without a home, measured each time
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, {"weights": weights, "saved": saved})
    return weights, saved


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
