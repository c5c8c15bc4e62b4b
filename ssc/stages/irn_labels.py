"""The rule `irn_labels`: confident labels of one shard of the training photos, for the training of IRN."""

from pathlib import Path

import numpy as np

from ssc.archive import Archive
from ssc.cams import full_cams
from ssc.data.index import Row, read_index
from ssc.data.photos import read_image
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import track
from ssc.seeds import confident_labels
from ssc.stages.cam_threshold import settle
from ssc.workflow import cache
from ssc.workflow.provenance import fingerprint
from ssc.workflow.settings import IRNLabels


def write_irn_labels(
    *,
    index: str | Path,
    shard: str,
    cams: str | Path,
    output: str | Path,
    settings: IRNLabels,
    cam_threshold: str | Path | None = None,
    threads: int = 1,
) -> None:
    """Write the confident labels of one shard of the training split as an archive of palette PNGs `<id>.png`.

    Args:
        index, shard, cams: the images and the shard's CAM archive.
        output: archive to write.
        settings: the section `irn_labels`.
        cam_threshold: see `ssc.stages.cam_threshold.settle`.
        threads: images refined at the same time.
    """
    archive = Archive(cams)
    settings = settle(settings, cam_threshold)

    def refine(row: Row) -> tuple[Row, np.ndarray]:
        image = read_image(row.image)
        arrays = archive.arrays(row.id)
        labels = confident_labels(
            image,
            arrays["classes"].astype(np.int64),
            full_cams(arrays, image.shape[:2]),
            foreground_threshold=settings.foreground_threshold,
            background_threshold=settings.background_threshold,
            confidence=settings.crf.confidence,
            crf=settings.crf.options(),
        )
        return row, labels

    rows = read_index(index).shard("train", shard)
    keys = {f"{row.id}.png": row.key_with(archive.read_bytes(f"{row.id}.npz")) for row in rows}
    with cache.resume(output, fingerprint=fingerprint(__name__, settings), keys=keys) as out:
        rows = [row for row in rows if f"{row.id}.png" not in out]
        for row, labels in track(parallel_map(refine, rows, threads), f"IRN labels {shard}", len(rows)):
            out.add_labels(row.id, labels)
