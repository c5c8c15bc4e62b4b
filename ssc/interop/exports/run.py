"""Masks of a run as files that other tools read: what all formats have in common."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssc.constants import IGNORE
from ssc.data.index import SPLITS, read_index
from ssc.data.photos import Size, open_photo, upright_size
from ssc.interop.exports.coco import write_coco
from ssc.interop.exports.cvat import write_cvat
from ssc.interop.exports.label_studio import write_label_studio
from ssc.interop.exports.masks import Mask
from ssc.interop.exports.voc import write_voc
from ssc.interop.exports.yolo import write_yolo
from ssc.interop.folders import label_maps, stage_archives
from ssc.runtime.errors import InputError
from ssc.runtime.files import atomic_folder, locate
from ssc.runtime.progress import track

# By format, what writes masks into a folder, and where in it the photos lie.
_FORMATS: dict[str, tuple[Callable, str]] = {
    "voc": (write_voc, "JPEGImages"),
    "coco": (write_coco, "images"),
    "yolo": (write_yolo, "images/{split}"),
    "label-studio": (write_label_studio, "images"),
    "cvat": (write_cvat, "images"),
}


class Summary(NamedTuple):
    """What was written.

    Attributes:
        images: their number.
        ignored: share of pixels that are 255, 0..1, in the mean of the images.
    """

    images: int
    ignored: float


def export_run(run: str | Path, *, what: str, to: str, out: str | Path, segmentation: str | None = None) -> Summary:
    """Write masks of a run, and copies of their photos, in the format of another tool: see docs/exporting.md.

    Args:
        run: folder of the run, results/<data set>/<experiment>.
        what: `pseudo-labels`, `predictions`, or `predictions/<split>` where there are those of several splits.
        to: `voc`, `coco`, `yolo`, `label-studio` or `cvat`.
        out: folder to make, absent or empty; it appears when all is in it.
        segmentation: `rle` or `polygons`, for `coco` only; None is `rle`.

    Raises:
        InputError: the folder is not empty; the run is none, or has not made the masks; a mask is missing, of other
            classes or of another size than its photo; a photo is missing; there is no room; or the format cannot have a
            class or an id.
    """
    run, out = locate(Path.cwd(), run), Path(out).resolve()
    if segmentation and to != "coco":
        raise InputError(f"--segmentation is for --to coco, which has two kinds of masks; leave it out for {to}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already and is no empty folder; name another, or move it away.")
    if out.is_mount():
        raise InputError(f"{out} is a disk of its own, which cannot be replaced; name a folder in it.")
    if not (run.parent / "index.tsv").is_file():
        raise InputError(f"{run} is not the folder of a run; name one, results/<data set>/<experiment>.")
    table = read_index(run.parent / "index.tsv")
    stage, archives = _stage(run, what)
    split = stage.partition("/")[2] or "train"
    maps = label_maps(*archives)
    photos = {row.id: run.parents[2] / row.image for row in table.split(split)}
    if not photos:
        raise InputError(f"{run.parent / 'index.tsv'} lists no image of split {split}; run snakemake to its end.")
    if missing := [name for name in photos if name not in maps]:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise InputError(f"{archives[0].parent} lacks the mask of {missing[0]}{more}; run snakemake to its end.")
    _check_photos(photos.values(), out)
    write, folder = _FORMATS[to]
    ignored = []

    def masks(copies: Path) -> Iterator[Mask]:
        for name, photo in track(photos.items(), f"{what} to {to}"):
            labels = maps[name]()
            with open_photo(photo) as opened:
                _check_labels(name, labels, upright_size(opened), table.num_classes)
            copy = copies / f"{name}{photo.suffix.lower().replace('.jpeg', '.jpg')}"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(photo, copy)
            ignored.append((labels == IGNORE).mean())
            yield Mask(name, copy.relative_to(copies).as_posix(), labels)

    options = {"segmentation": segmentation} if segmentation else {}
    with atomic_folder(out) as partial:
        write(partial, masks(partial / folder.format(split=split)), table.classes, split=split, **options)
    return Summary(len(photos), float(np.mean(ignored)))


def _stage(run: Path, what: str) -> tuple[str, list[Path]]:
    """The stage that the masks are of, and its archives."""
    named = {"pseudo-labels": ["pseudo_labels"], "predictions": [f"predictions/{split}" for split in SPLITS]}
    found = {stage: archives for stage in named.get(what, [what]) if (archives := stage_archives(run, stage))}
    if not found:
        raise InputError(
            f"{run} has no {what}, and no manifest that says where they are; run snakemake to its end, or name the "
            "experiment that has made them."
        )
    if len(found) > 1:
        raise InputError(f"{run} has {' and '.join(found)}; choose by --what {next(iter(found))}, for example.")
    ((stage, archives),) = found.items()
    if len(cuts := sorted({path.stem.partition("-of-")[2] for path in archives})) > 1:
        raise InputError(
            f"{archives[0].parent} is cut into {' and into '.join(cuts)} shards; delete the older archives."
        )
    return stage, archives


def _check_photos(photos: Iterable[Path], out: Path) -> None:
    """Check that all photos are there, and that the disk has room for them."""
    needed = 0
    for photo in photos:
        if not photo.is_file():
            raise InputError(f"The image {photo} does not exist; restore it or take it out of the data.")
        needed += photo.stat().st_size
    disk = next(folder for folder in out.parents if folder.exists())
    if (free := shutil.disk_usage(disk).free) < needed:
        sizes = f"{needed / 1e9:.1f} GB, and {disk} has {free / 1e9:.1f} GB free"
        raise InputError(f"The photos take {sizes}; make room, or name a folder on another disk.")


def _check_labels(name: str, labels: np.ndarray, photo: Size, num_classes: int) -> None:
    if labels.shape != photo:
        sizes = " and ".join(f"{width}x{height}" for height, width in (labels.shape, photo))
        raise InputError(f"The mask and the photo of {name} are {sizes}; restore the photo, or run snakemake again.")
    if (wrong := labels[(labels > num_classes) & (labels != IGNORE)]).size:
        raise InputError(
            f"The mask of {name} holds the label {wrong[0]} of {num_classes} classes; run snakemake again."
        )
