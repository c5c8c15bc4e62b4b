"""The two archives of a shard's pseudo-labels, whatever makes these: label maps and confidence masks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ssc.archive import Archive, encode_labels
from ssc.constants import IGNORE
from ssc.data.corrected import corrected_files
from ssc.data.index import Row
from ssc.data.masks import read_labels
from ssc.workflow import cache

Store = Callable[[Row, bytes, bytes], None]


@contextmanager
def label_archives(
    rows: Sequence[Row],
    *,
    cams: Archive,
    corrected: str | None,
    num_classes: int,
    output: str | Path,
    confidence: str | Path,
    fingerprint: str,
) -> Iterator[tuple[list[Row], Store]]:
    """Open both archives for writing; label maps that were mended are in them from the start, all their pixels but
    those of 255 confident.

    Args:
        rows: the photos.
        cams: their CAMs, which decide on their labels.
        corrected: folder of mended label maps; None for none.
        num_classes: C.
        output: archive of label maps (0..C).
        confidence: archive of masks (1 = confident).
        fingerprint: of all that decides on the labels of all photos, see `ssc.workflow.cache.resume`.

    Yields:
        The photos whose labels are still to be made, and what stores label map and mask of one as encoded PNGs.

    Raises:
        InputError: a mended label map is unusable, see `ssc.data.masks.read_labels`.
    """
    mended = corrected_files(corrected, rows)

    def key(row: Row) -> str:
        contents = [mended[row.id].read_bytes()] if row.id in mended else []
        return row.key_with(cams.read_bytes(f"{row.id}.npz"), *contents)

    keys = {f"{row.id}.png": key(row) for row in rows}
    with (
        cache.resume(output, fingerprint=fingerprint, keys=keys) as out,
        cache.resume(confidence, fingerprint=fingerprint, keys=keys) as masks,
    ):

        def store(row: Row, labels: bytes, mask: bytes) -> None:
            out.add_bytes(f"{row.id}.png", labels)
            masks.add_bytes(f"{row.id}.png", mask)

        missing = [row for row in rows if f"{row.id}.png" not in out or f"{row.id}.png" not in masks]
        for row in missing:
            if row.id in mended:
                labels = read_labels(mended[row.id], row, num_classes)
                store(row, encode_labels(labels), encode_labels((labels != IGNORE).astype(np.uint8)))
        yield [row for row in missing if row.id not in mended], store
