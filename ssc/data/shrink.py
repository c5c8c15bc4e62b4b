"""Copies of large photos, for which a run has neither memory nor use."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ssc.data.index import Index, Row
from ssc.data.masks import read_mask
from ssc.data.photos import Size, open_photo, read_for_resize, shrunk_size, upright_size
from ssc.runtime.files import atomic, file_digest
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import tell, track


def shrink(index: Index, folder: str | Path, *, max_side: int, code: object = None, threads: int = 8) -> Index:
    """Index of the photos and masks at a size of at most `max_side` pixels; the larger ones are copied, upright.

    What was copied before is linked from the hidden folder `.<folder>` beside, since Snakemake empties the other.

    Args:
        index: all images, whose files are good.
        folder: for the copies, `<image id>.jpg` and, of a mask, `<image id>.png`.
        max_side: of a photo's longer side.
        code: another JSON value when the code that makes copies is another.
        threads: files read at the same time.
    """
    folder = Path(folder)
    kept = folder.with_name(f".{folder.name}")
    for place in (folder, kept):
        place.mkdir(parents=True, exist_ok=True)
    found = parallel_map(lambda row: _shrunk(row, folder, kept, max_side, code), index.rows, threads)
    rows, names = [], set()
    for row, used in track(found, "photos", len(index.rows)):
        rows.append(row)
        names.update(used)
    for stale in kept.iterdir():
        if stale.name not in names and stale.is_file():
            stale.unlink()
    if copies := sum(new is not old for new, old in zip(rows, index.rows, strict=True)):
        tell(f"{copies} photos are larger than {max_side} pixels (dataset.max_side); copies of that size are used.")
    return Index(index.classes, rows)


def shrink_photo(image: np.ndarray, size: Size) -> np.ndarray:
    """A photo uint8 (H, W, 3) at a smaller `size` = (height, width)."""
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.LANCZOS))


def _shrunk(row: Row, folder: Path, kept: Path, max_side: int, code: object) -> tuple[Row, list[str]]:
    """The row of the copy, and the names under which its files are kept."""
    with open_photo(row.image) as photo:
        upright = upright_size(photo)
    if max(upright) <= max_side:
        return row, []

    def copy_photo(path: Path) -> None:
        small = shrink_photo(*read_for_resize(row.image, partial(shrunk_size, max_side=max_side)))
        Image.fromarray(small).save(path, "jpeg", quality=95, subsampling="4:4:4")

    def copy_mask(path: Path) -> None:
        small = Image.fromarray(read_mask(row.mask)).resize(
            shrunk_size(upright, max_side)[::-1], Image.Resampling.NEAREST
        )
        small.save(path, "png")

    digest = hashlib.sha256(f"{row.digest} {max_side}".encode()).hexdigest()[:32]
    sources = [row.id, digest, code]
    kinds = [(folder / f"{row.id}.jpg", copy_photo, sources)]
    if row.mask:
        kinds.append((folder / f"{row.id}.png", copy_mask, [*sources, file_digest(row.mask)]))
    names = []
    for copy, make, own in kinds:
        names.append(hashlib.sha256(json.dumps(own).encode()).hexdigest()[:32] + copy.suffix)
        _make_once(copy, kept / names[-1], make)
    copies = [str(copy) for copy, _, _ in kinds]
    return replace(row, image=copies[0], mask=copies[-1] if row.mask else "", digest=digest), names


def _make_once(path: Path, kept: Path, make: Callable[[Path], None]) -> None:
    if not kept.exists():
        with atomic(kept) as temporary:
            make(temporary)
    with atomic(path) as temporary:
        try:
            os.link(kept, temporary)
        except OSError:  # no hard links there
            shutil.copyfile(kept, temporary)
