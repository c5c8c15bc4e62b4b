"""YOLO's segmentation labels: a text file per image, a polygon per connected region."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import yaml

from ssc.interop.exports.masks import Mask, regions
from ssc.interop.exports.outlines import polygon
from ssc.runtime.errors import InputError
from ssc.runtime.files import write_text


def write_yolo(folder: Path, masks: Iterable[Mask], classes: Sequence[str], *, split: str) -> None:
    """Write `labels/<split>/<id>.txt`, the photos being in `images/<split>`, and `data.yaml`.

    A line is a region: its class, from 0 without the background, and x / W, y / H of its polygon's corners. YOLO wants
    a split to train on and one to measure on: both are the one that there is.

    Raises:
        InputError: an id has a folder named images, by which YOLO finds its labels.
    """
    settings = {"train": f"images/{split}", "val": f"images/{split}", "names": dict(enumerate(classes))}
    write_text(folder / "data.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    for mask in masks:
        if "images" in PurePosixPath(mask.id).parts[:-1]:
            raise InputError(
                f"{mask.id}: YOLO would look for its labels beside its folder images; choose another format."
            )
        height, width = mask.labels.shape
        lines = []
        for region in regions(mask.labels):
            corners = polygon(region) / (width, height)
            lines.append(" ".join([str(region.label - 1), *(f"{value:.7g}" for value in corners.ravel())]))
        path = folder / "labels" / split / f"{mask.id}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))
