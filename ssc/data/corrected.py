"""Pseudo-labels that a person has mended: `<image id>.png`, label maps as masks are, in a folder of their own."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ssc.constants import IGNORE
from ssc.data.folder import files_below, is_own
from ssc.data.index import Index, Row
from ssc.data.masks import palette_labels, read_mask
from ssc.data.photos import open_photo, upright_size
from ssc.runtime.errors import InputError
from ssc.runtime.progress import tell

_KEY = "pseudo_labels.corrected"


def corrected_files(folder: str | Path | None, rows: Iterable[Row]) -> dict[str, Path]:
    """The file of each photo that has one, by image id."""
    found = {row.id: Path(folder) / f"{row.id}.png" for row in rows} if folder else {}
    return {name: path for name, path in found.items() if path.is_file()}


def read_corrected(path: str | Path, row: Row, num_classes: int) -> np.ndarray:
    """Labels (H, W) of the photo's size, 0..C, 255 where there is none.

    A larger map of the same shape is that of a photo that was shrunk (`dataset.max_side`), and is shrunk too.

    Raises:
        InputError: the map cannot be read, holds another label, has VOC's colours in another order, or another shape
            than the photo.
    """
    labels = read_mask(path)
    if any(value != label for value, label in palette_labels(path).items()):
        raise InputError(
            f"{path} has a palette in another order than VOC's, so that it shows other classes than its numbers say; "
            "save it in colours (RGB), or with VOC's palette as it is."
        )
    if (wrong := labels[(labels > num_classes) & (labels != IGNORE)]).size:
        raise InputError(f"{path} holds the label {wrong[0]}; use 0..{num_classes} and {IGNORE}.")
    with open_photo(row.image) as photo:
        height, width = upright_size(photo)
    if labels.shape == (height, width):
        return labels
    factor = max(labels.shape) / max(height, width)
    if factor < 1 or abs(labels.shape[0] - factor * height) > factor or abs(labels.shape[1] - factor * width) > factor:
        raise InputError(
            f"{path} is {labels.shape[1]}x{labels.shape[0]}, its photo {row.image} {width}x{height}; mend it at the "
            "photo's size."
        )
    return np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))


def check_corrected(index: Index, folder: str | Path) -> None:
    """Check all files of a folder, and say how many photos they are of.

    Raises:
        InputError: the folder is absent or empty, a file is of no photo, or see `read_corrected`.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{_KEY}: {folder} is no folder; correct its path.")
    rows = {f"{row.id}.png": row for row in reversed(index.rows)}  # of two splits with one name, train
    names = sorted(filter(is_own, files_below(folder)))
    if not names:
        raise InputError(f"{_KEY}: {folder} is empty; put the mended masks there, named <image id>.png.")
    if strays := [name for name in names if name not in rows]:
        raise InputError(
            f"{_KEY}: {folder}/{strays[0]} is of no photo; a mended mask is named after its photo, such as "
            f"{index.rows[0].id}.png."
        )
    unlabelled = []
    for name in names:
        shown = {*np.unique(read_corrected(Path(folder) / name, rows[name], index.num_classes)).tolist()}
        if more := shown - {0, IGNORE, *rows[name].labels}:
            unlabelled.append(f"{name}, which shows {index.classes[min(more) - 1]}")
    used = [name for name in names if rows[name].split == "train"]
    told = f"{len(used)} training photos have a corrected mask in {folder}."
    if idle := [name for name in names if name not in used]:
        told += f" Those of {len(idle)} others, such as {idle[0]}, are not used: no network is trained on these photos."
    tell(told)
    if unlabelled:
        tell(f"Warning: {len(unlabelled)} of them show what their photos' labels lack, such as {unlabelled[0]}.")
