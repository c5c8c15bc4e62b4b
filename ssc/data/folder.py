"""A plain folder of photos with one CSV of image labels: the way to bring one's own data."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ssc.data.index import Index, Row, class_ids
from ssc.data.label_table import plain, read_label_table
from ssc.data.photos import photo_suffixes
from ssc.runtime.errors import InputError, refuse
from ssc.runtime.progress import tell

# Hidden files, among them those that a Mac adds to each (`._1.jpg`), and thumbnails of network disks.
_NOT_OWN = re.compile(r"\.|@eaDir$|__MACOSX$")


def index_folder(
    root: str | Path,
    *,
    images: str = "images",
    labels: str = "labels.csv",
    masks: str | None = None,
    classes: str | None = None,
) -> Index:
    """Index a folder by its CSV of image labels; photos that the CSV does not list are left out, and counted.

    The CSV (see `ssc.data.label_table`) has the columns `image` (path below the images folder), `labels` (class names,
    may be empty) and optionally `split` (`train`, `val` or `test`; `train` where empty). The image id is that path
    without its extension. A path that differs from a photo's only in case or in its Unicode form means that photo.

    Args:
        root: the folder that the other paths are relative to.
        images: folder of the photos.
        labels: the CSV.
        masks: folder of ground-truth label maps `<image id>.png`, used where one exists; None for none.
        classes: file of class names, one per line, in the order of their ids; None takes `classes.txt` where
            it exists and otherwise the sorted names found in the CSV.

    Raises:
        InputError: a file or folder is missing, no photo has a mask, or the CSV has faults: of its own, or lines that
            name an absent photo or two photos of one id. All lines are told.
    """
    root = Path(root)
    for folder in (images, masks):
        if folder is not None and not (root / folder).is_dir():
            raise InputError(f"The folder {root / folder} does not exist; correct its path in the config.")
    if classes is None and (root / "classes.txt").exists():
        classes = "classes.txt"
    table = root / labels
    names, entries = read_label_table(table, classes=None if classes is None else root / classes)
    if not names:
        raise InputError(f"{table} names no class; fill its column 'labels'.")
    photos, truth = {*files_below(root / images)}, {*files_below(root / masks)} if masks is not None else set()
    alike = defaultdict(list)
    for name in photos:
        alike[plain(name)].append(name)
    rows, lines, faults = [], {}, []
    for entry in entries:
        where, name = f"line {entry.line}", str(entry.image)
        found = [name] if name in photos else sorted(alike[plain(name)])
        image_id = str(PurePosixPath((found or [name])[0]).with_suffix(""))
        if len(found) > 1:
            faults.append(f"{where}: {name} may be any of {', '.join(found)}; write the name exactly")
        elif not found:
            faults.append(f"{where}: {root / images}/{name} does not exist; correct the path or drop the line")
        elif image_id in lines:
            line, other = lines[image_id]
            mend = (
                f"{other} in line {line}; write both alike" if other == found[0] else f"line {line}; rename the photo"
            )
            faults.append(f"{where}: image id {image_id!r} is taken by {mend}")
        else:
            lines[image_id], mask = (entry.line, found[0]), f"{image_id}.png"
            labels = class_ids(entry.labels, names, where=f"{table}, {where}")
            mask = f"{root / masks}/{mask}" if mask in truth else ""
            rows.append(Row(image_id, entry.split, f"{root / images}/{found[0]}", mask, labels))
    refuse(table, faults)
    _tell_left_out(root / images, photos, {row.image for row in rows}, table)
    if masks is not None and rows:
        _tell_masks(root / masks, truth, rows)
    return Index(names, rows)


def files_below(folder: str | Path) -> dict[str, Path]:
    """All files below a folder, by their path relative to it."""
    # One listing: a look-up per photo takes minutes on network disks.
    return {
        (path := Path(parent, name)).relative_to(folder).as_posix(): path
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
    }


def is_own(name: str) -> bool:
    """Whether one of `files_below` is neither hidden nor a thumbnail that a program has made."""
    return not any(map(_NOT_OWN.match, PurePosixPath(name).parts))


def own_photos(names: Iterable[str]) -> list[str]:
    """Those of `files_below` that are photos of one's own, sorted."""
    suffixes = photo_suffixes()
    return sorted(name for name in names if PurePosixPath(name).suffix.lower() in suffixes and is_own(name))


def _tell_left_out(folder: Path, photos: set[str], taken: set[str], table: Path) -> None:
    left = [name for name in own_photos(photos) if f"{folder}/{name}" not in taken]
    if left:
        tell(f"{len(left)} photos of {folder} are not in {table} and are left out, such as {left[0]}.")


def _tell_masks(folder: Path, masks: set[str], rows: Iterable[Row]) -> None:
    """Say which photos have no mask and which masks no photo, whose names may be written otherwise."""
    without = [row for row in rows if not row.mask]
    strays = sorted(masks - {f"{row.id}.png" for row in rows})
    if len(without) == len(rows):
        seen = f", not as {strays[0]!r}" if strays else ""
        raise InputError(f"{folder} holds no mask of a photo; name them <image id>.png{seen}, or drop dataset.masks.")
    if strays:
        tell(
            f"{len(strays)} files of {folder} are no photo's mask, such as {strays[0]}, and {len(without)} photos have "
            f"none{f', such as {without[0].id}' if without else ''}; a mask is called <image id>.png."
        )
    elif without:
        tell(f"{len(without)} of {len(rows)} photos have no mask in {folder}, such as {without[0].id}.")
