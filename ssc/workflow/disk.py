"""What a run needs before it begins, above all on the disk: meant to be right within a half.

Bytes of a photo's results were measured on VOC and on the demo; the networks are asked (`ssc.workflow.network_sizes`).
"""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ssc.constants import STRIDE
from ssc.data.index import Index
from ssc.data.photos import open_photo
from ssc.runtime.errors import InputError
from ssc.runtime.parallel import processors
from ssc.runtime.progress import log, told_bytes
from ssc.workflow.experiments import made_stages, ready, selects_on_val
from ssc.workflow.memory import needed_memory, warn_of_memory
from ssc.workflow.network_sizes import network_sizes
from ssc.workflow.settings import Settings
from ssc.workflow.stage_table import RULES, TRAININGS, stage_of

_SAMPLE = 64  # photos whose headers tell the size of all
_UNKNOWN = 500 * 375  # pixels of a photo that cannot be read: VOC's

# Bytes of a member of an archive: those that do not depend on the photo (names, palette), and the content. Label maps
# of VOC take 0.02 to 0.04 bytes a pixel, those of the demo's small scenes 0.07; a CAM's cell 1.6, float16 deflated.
_MEMBER = 1_100
_LABEL = 0.06
_CELL = {"float16": 1.7, "float32": 3.4}
_COPY = 0.65  # bytes a pixel of a photo that was shrunk (dataset.max_side), whose JPEG is a good one

_REPORT = 10e6  # pictures, tables, logs
_SLACK = 1.25  # archives are written under another name before the old ones go

# By what is estimated, the rule that writes it.
RULES_OF = {
    **{name: name for name in ("masks", "superpixels", "warm_start", "cams", "irn_labels", "predictions")},
    "cross_validation": "cross_validate",
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
    for stage in ("irn_labels", "irn"):
        missing[stage] *= settings.pseudo_labels.method == "irn"
    missing["cross_validation"] *= "cross_validation" in made_stages(settings)
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
        "cross_validation": 2 * weights["classifier"],
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


def check_room(
    index: Index,
    settings: Settings,
    folder: str | Path,
    *,
    owners: Mapping[str, str] | None = None,
    cores: int | None = None,
) -> str:
    """Compare what a run still needs with what there is. Headers of some photos are read, and names below `folder`.

    Results that are there are taken for finished. Too little memory is a warning, since it may be another machine that
    computes. Weights that are downloaded, and what lies in `data`, are not counted.

    Args:
        index: the images, shrunk by `dataset.max_side` or not yet.
        settings: of the experiment that runs; `dataset.check_space: false` turns the error into a line in the log.
        folder: results/<data set>; it need not exist.
        owners: by stage, the experiment in whose folder its results lie; by default that of the settings.
        cores: processors that the jobs share; by default those of this process.

    Returns:
        The estimate in one line, which the log has too.

    Raises:
        InputError: the disk has less room than what is still to be written, or no network can be built of the settings.
    """
    photos = photo_sizes(index, settings)
    missing = missing_results(settings, Path(folder), owners=owners or {})
    networks = network_sizes(settings, index.num_classes)
    weights = {stage: network.weights for stage, network in networks.items()}
    whole = needed_space(index, settings, photos.mean, weights)
    spaces = {stage: size * missing[stage] for stage, size in whole.items()}
    spaces["checkpoint"] = 3 * max(map(spaces.get, weights))  # with Adam's moments; it goes when the training has ended
    spaces["report"] = _REPORT
    spaces["photos"] = len(index.rows) * _COPY * photos.shrunk
    needed = _SLACK * sum(spaces.values())
    disk = next(place for place in (Path(folder).absolute(), *Path(folder).absolute().parents) if place.exists())
    free = shutil.disk_usage(disk).free
    largest = " and ".join(sorted(spaces, key=spaces.get, reverse=True)[:2])
    told = f"Results still need about {told_bytes(needed)}, most of it {largest}; {disk} has {told_bytes(free)} free."
    log.info(told)
    if needed > free:
        hint = "free some, link results/ to another disk"
        if settings.dataset.check_space:
            raise InputError(f"{told[:-1]}; {hint}, or set dataset.check_space: false if the estimate is wrong.")
        log.warning("Warning: that is too little; %s.", hint)
    memory = needed_memory(index, settings, networks, pixels=photos.largest, cores=cores or processors())
    # What stands ready as a folder is read, whatever its size, and not computed.
    computed = [stage for stage in made_stages(settings) if missing.get(stage) and not ready(settings, stage)]
    made = {RULES_OF[stage] for stage in computed}
    made |= {"evaluate_classifier"} if "cams" in made else set()
    warn_of_memory({rule: need for rule, need in memory.items() if rule in made})
    return told


class PhotoSizes(NamedTuple):
    """Height times width of photos as the stages see them.

    Attributes:
        mean, largest: in pixels.
        shrunk: mean of those that are still to be shrunk to this size, where others count as 0.
    """

    mean: float
    largest: float
    shrunk: float


def photo_sizes(index: Index, settings: Settings) -> PhotoSizes:
    """Sizes of some photos, evenly spaced over the index, that are shrunk as `dataset.max_side` asks."""
    limit = getattr(settings.dataset, "max_side", None) or math.inf
    seen, shrunk = [], []
    for row in index.rows[:: max(1, -(-len(index.rows) // _SAMPLE))]:
        try:
            with open_photo(row.image) as photo:
                factor = min(1.0, limit / max(photo.size))
                seen.append(math.prod(photo.size) * factor**2)
        except InputError:
            continue
        shrunk.append(seen[-1] if factor < 1 else 0)
    if not seen:
        return PhotoSizes(_UNKNOWN, _UNKNOWN, 0)
    return PhotoSizes(sum(seen) / len(seen), max(seen), sum(shrunk) / len(seen))
