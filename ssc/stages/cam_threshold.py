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

_BINS = 256


def write_cam_threshold(*, index: str | Path, cams: Sequence[str | Path], output: str | Path) -> None:
    """Write the `ssc.seeds.background_threshold` of the strongest CAM at the cells of stride 4, as JSON: `threshold`
    (0..1) and `images`, the number of photos. All photos with labels count alike, whatever their size.

    Args:
        index: the index; its training split is used.
        cams: shard archives of CAMs.
        output: JSON file to write.

    Raises:
        InputError: no photo has a CAM.
    """
    archive, shares, images = Archive(*cams), np.zeros(_BINS), 0
    for row in track(read_index(index).split("train"), "threshold of the CAMs"):
        classes, maps = archive.cams(row.id)
        if len(classes):
            shares += np.histogram(maps.max(axis=0), _BINS, (0, 1))[0] / maps[0].size
            images += 1
    if not images:
        raise InputError("No training photo has a label, so that no CAM tells a threshold; write numbers for `auto`.")
    write_json(output, {"threshold": background_threshold(shares), "images": images})


def settle(settings: Section, cam_threshold: str | Path | None) -> Section:
    """The section with numbers where its thresholds are `auto`.

    Args:
        settings: a section of the configuration.
        cam_threshold: what `write_cam_threshold` wrote; None where no threshold is `auto`.
    """
    return settings.settled(read_json(cam_threshold)["threshold"]) if cam_threshold else settings
