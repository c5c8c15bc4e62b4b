"""A plain folder of photos with one CSV of image labels: the way to bring one's own data."""

import csv
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from ssc.data.index import SPLITS, Index, Row, class_ids, read_classes
from ssc.runtime.errors import InputError


def index_folder(
    root: str | Path,
    *,
    images: str = "images",
    labels: str = "labels.csv",
    masks: str | None = None,
    classes: str | None = None,
) -> Index:
    """Index a folder by its CSV of image labels; photos that the CSV does not list are left out.

    The CSV (UTF-8) has the columns `image` (path below the images folder, with its exact name), `labels`
    (class names joined by `;`, may be empty) and optionally `split` (`train`, `val` or `test`; `train` where
    empty). The image id is that path without its extension.

    Args:
        root: the folder that the other paths are relative to.
        images: folder of the photos.
        labels: the CSV.
        masks: folder of ground-truth label maps `<image id>.png`, used where one exists; None for none.
        classes: file of class names, one per line, in the order of their ids; None takes `classes.txt` where
            it exists and otherwise the sorted names found in the CSV.

    Raises:
        InputError: a file or folder is missing, no photo has a mask, or a line of the CSV has the wrong cells, names
            an absent photo, a photo twice, an unknown split or an unknown class.
    """
    root = Path(root)
    for folder in (images, masks):
        if folder is not None and not (root / folder).is_dir():
            raise InputError(f"The folder {root / folder} does not exist; correct its path in the config.")
    table = list(_read_labels(root / labels))
    if classes is not None or (root / "classes.txt").exists():
        names = read_classes(root / (classes or "classes.txt"))
    else:
        names = sorted({name for *_, found in table for name in found})
    if not names:
        raise InputError(f"{root / labels} names no class; fill its column 'labels'.")

    # One listing per folder that the CSV names: a look-up per image takes minutes on network disks.
    @cache
    def listing(folder: str) -> frozenset[str]:
        try:
            with os.scandir(folder) as entries:
                return frozenset(entry.name for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()

    def exists(path: str) -> bool:
        folder, name = os.path.split(path)
        return name in listing(folder)

    rows, lines = [], {}
    for where, image, split, found in table:
        image_id = str(image.with_suffix(""))
        if image_id in lines:
            raise InputError(f"{where}: image id {image_id!r} is taken by {lines[image_id]}; rename the photo.")
        lines[image_id] = where
        photo = f"{root / images}/{image}"
        if not exists(photo):
            near = _otherwise_written(photo, listing)
            hint = f" (but {near!r}, written otherwise)" if near else ""
            raise InputError(f"{where}: {photo} does not exist{hint}; correct the path or drop the line.")
        mask = f"{root / masks}/{image_id}.png" if masks is not None else ""
        if not exists(mask):
            mask = ""
        rows.append(Row(image_id, split, photo, mask, class_ids(found, names, where=where)))
    if masks is not None and rows and not any(row.mask for row in rows):
        raise InputError(f"{root / masks} holds no mask of a photo; name them <image id>.png, or drop dataset.masks.")
    return Index(names, rows)


def _otherwise_written(path: str, listing: Callable[[str], Iterable[str]]) -> str | None:
    """A name in the same folder that differs in case or in its Unicode form, such as one a Mac has written."""

    def plain(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold()

    folder, wanted = os.path.split(path)
    return next((name for name in sorted(listing(folder)) if plain(name) == plain(wanted)), None)


def _read_labels(path: Path) -> Iterator[tuple[str, PurePosixPath, str, list[str]]]:
    """Yield (where it stands, image path, split, class names) for each line of the CSV."""
    try:
        # Spreadsheets put a byte order mark in front, which "utf-8-sig" drops.
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            header = set(reader.fieldnames or ())
            # A misspelt `split` must not turn validation images into training images.
            if not {"image", "labels"} <= header <= {"image", "labels", "split"}:
                raise InputError(
                    f"{path} has the columns {reader.fieldnames}; expected image, labels and perhaps split."
                )
            for cells in reader:
                where = f"{path}, line {reader.line_num}"
                if None in cells or None in cells.values():
                    raise InputError(f"{where}: expected {len(header)} cells; quote cells that hold a comma.")
                image, split = PurePosixPath(cells["image"]), cells.get("split") or "train"
                if not image.name or image.is_absolute() or ".." in image.parts:
                    raise InputError(f"{where}: image {cells['image']!r} is no path below the images folder.")
                if split not in SPLITS:
                    raise InputError(f"{where}: unknown split {split!r}; use one of {', '.join(SPLITS)}.")
                found = [name.strip() for name in cells["labels"].split(";") if name.strip()]
                yield where, image, split, found
    except FileNotFoundError:
        raise InputError(f"The label table {path} does not exist; make it or correct its path.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8; save it as 'CSV UTF-8'.") from None
    except csv.Error as error:
        raise InputError(f"{path} is not a valid CSV ({error}); correct its quotes.") from None
