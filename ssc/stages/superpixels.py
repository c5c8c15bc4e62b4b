"""The rule `superpixels`: superpixels of one shard of the training photos."""

from pathlib import Path

import numpy as np

from ssc.data.index import Row, read_index
from ssc.data.photos import read_image
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import track
from ssc.superpixels import superpixels
from ssc.workflow import cache
from ssc.workflow.provenance import fingerprint
from ssc.workflow.settings import Superpixels


def write_superpixels(
    *, index: str | Path, shard: str, output: str | Path, settings: Superpixels, threads: int = 1
) -> None:
    """Write the superpixels of one shard of the training split as an archive of label PNGs `<id>.png`.

    Args:
        index, shard: the images.
        output: archive to write.
        settings: the section `superpixels`.
        threads: images segmented at the same time.
    """

    def segment(row: Row) -> tuple[Row, np.ndarray]:
        return row, superpixels(read_image(row.image), **settings.model_dump())

    rows = read_index(index).shard("train", shard)
    keys = {f"{row.id}.png": row.key for row in rows}
    with cache.resume(output, fingerprint=fingerprint(__name__, settings), keys=keys) as out:
        rows = [row for row in rows if f"{row.id}.png" not in out]
        for row, labels in track(parallel_map(segment, rows, threads), f"superpixels {shard}", len(rows)):
            out.add_labels(row.id, labels)
