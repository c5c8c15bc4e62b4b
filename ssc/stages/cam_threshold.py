"""The rule `cam_threshold`: the background threshold that a run's CAMs have without masks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssc.archive import Archive
from ssc.data.index import read_index
from ssc.runtime.errors import InputError
from ssc.runtime.files import read_json, write_json
from ssc.runtime.progress import track
from ssc.seeds import background_threshold
from ssc.workflow.section import Section
from ssc.workflow.settings import IRNLabels, PseudoLabels, Seeds

_BINS = 256
# By how much the thresholds of a section are larger where they are `auto`: as their defaults, 0.3, 0.1 and 0.25, are to
# the seeds' 0.2.
_FACTORS = {
    Seeds: {"threshold": 1.0},
    IRNLabels: {"foreground_threshold": 1.5, "background_threshold": 0.5},
    PseudoLabels: {"threshold": 1.25},
}


def write_cam_threshold(*, index: str | Path, cams: Sequence[str | Path], output: str | Path) -> None:
    """Write the `ssc.seeds.background_threshold` of the largest CAM at each cell of stride 4, as JSON: `threshold`,
    0..1. All photos with labels count alike, whatever their size.

    Args:
        index: the index; its training split is used.
        cams: shard archives of CAMs.
        output: JSON file to write.

    Raises:
        InputError: no photo has a CAM.
    """
    archive, shares = Archive(*cams), np.zeros(_BINS)
    for row in track(read_index(index).split("train"), "threshold of the CAMs"):
        classes, maps = archive.cams(row.id)
        if len(classes):
            shares += np.histogram(maps.max(axis=0), _BINS, (0, 1))[0] / maps[0].size
    if not shares.any():
        raise InputError("No training photo has a label, so that no CAM tells a threshold; write numbers for `auto`.")
    write_json(output, {"threshold": background_threshold(shares)})


def settle(settings: Section, cam_threshold: str | Path | None) -> Section:
    """A section of `_FACTORS` with numbers where its thresholds are `auto`.

    Args:
        settings: the section.
        cam_threshold: what `write_cam_threshold` wrote; None where no threshold is `auto`.
    """
    if not cam_threshold:
        return settings
    threshold, factors = read_json(cam_threshold)["threshold"], _FACTORS[type(settings)]
    if isinstance(settings, PseudoLabels) and settings.method != "irn":  # of the CAMs themselves, as seeds are
        factors = _FACTORS[Seeds]
    automatic = {key: factor for key, factor in factors.items() if getattr(settings, key) == "auto"}
    return settings.model_copy(update={key: min(1.0, factor * threshold) for key, factor in automatic.items()})
