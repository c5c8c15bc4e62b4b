"""Copies of large photos, for which a run has neither memory nor use."""

import hashlib
from dataclasses import replace
from pathlib import Path

from PIL import Image

from ssc.data.index import Index, Row
from ssc.data.masks import read_mask
from ssc.data.photos import Size, open_photo, read_for_resize, upright_size
from ssc.runtime.files import atomic
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import tell, track


def shrink(index: Index, folder: str | Path, *, max_side: int, threads: int = 8) -> Index:
    """Index of the photos and masks at a size of at most `max_side` pixels; the larger ones are copied, upright.

    Args:
        index: all images, whose files are good.
        folder: for the copies, `<image id>.jpg` and, of a mask, `<image id>.png`.
        max_side: of a photo's longer side.
        threads: files read at the same time.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    found = parallel_map(lambda row: _shrunk(row, Path(folder), max_side), index.rows, threads)
    rows = list(track(found, "photos", len(index.rows)))
    if copies := sum(new is not old for new, old in zip(rows, index.rows, strict=True)):
        tell(f"{copies} photos are larger than {max_side} pixels (dataset.max_side); copies of that size are used.")
    return Index(index.classes, rows)


def _shrunk(row: Row, folder: Path, max_side: int) -> Row:
    with open_photo(row.image) as photo:
        if max(upright_size(photo)) <= max_side:
            return row

    def target(size: Size) -> Size:
        return tuple(max(1, round(side * max_side / max(size))) for side in size)

    pixels, size = read_for_resize(row.image, target)
    copy = folder / f"{row.id}.jpg"
    with atomic(copy) as temporary:
        small = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.LANCZOS)
        small.save(temporary, "jpeg", quality=95, subsampling="4:4:4")
    mask = row.mask
    if mask:
        mask = str(folder / f"{row.id}.png")
        with atomic(mask) as temporary:
            Image.fromarray(read_mask(row.mask)).resize(size[::-1], Image.Resampling.NEAREST).save(temporary, "png")
    digest = hashlib.sha256(f"{row.digest} {max_side}".encode()).hexdigest()[:32]
    return replace(row, image=str(copy), mask=mask, digest=digest)
