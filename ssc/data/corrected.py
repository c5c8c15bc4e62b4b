"""Pseudo-labels that a person has mended: `<image id>.png`, label maps as masks are, in a folder of their own."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ssc.constants import IGNORE
from ssc.data.folder import files_below, is_own
from ssc.data.index import Index, Row
from ssc.data.masks import read_labels
from ssc.runtime.errors import InputError
from ssc.runtime.progress import tell

_KEY = "pseudo_labels.corrected"


def corrected_files(folder: str | Path | None, rows: Iterable[Row]) -> dict[str, Path]:
    """The file of each photo that has one, by image id."""
    found = {row.id: Path(folder) / f"{row.id}.png" for row in rows} if folder else {}
    return {name: path for name, path in found.items() if path.is_file()}


def check_corrected(index: Index, folder: str | Path) -> None:
    """Check all files of a folder, and say how many photos they are of.

    Raises:
        InputError: the folder is absent or empty, a file is of no photo, or see `read_labels`.
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
        shown = {*np.unique(read_labels(Path(folder) / name, rows[name], index.num_classes)).tolist()}
        if more := shown - {0, IGNORE, *rows[name].labels}:
            unlabelled.append(f"{name}, which shows {index.classes[min(more) - 1]}")
    used = [name for name in names if rows[name].split == "train"]
    told = f"{len(used)} training photos have a corrected mask in {folder}."
    if idle := [name for name in names if name not in used]:
        told += f" Those of {len(idle)} others, such as {idle[0]}, are not used: no network is trained on these photos."
    tell(told)
    if unlabelled:
        tell(f"Warning: {len(unlabelled)} of them show what their photos' labels lack, such as {unlabelled[0]}.")
