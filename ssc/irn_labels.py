"""Confident labels for IRN: what two dense-CRF passes over the CAMs agree on."""

from pathlib import Path

import numpy as np
import torch

from ssc import archive
from ssc.cams import argmax_labels, read_cams, upsample
from ssc.conventions import IGNORE
from ssc.crf import DenseCRF
from ssc.data.index import Row, read_index
from ssc.data.transforms import read_image
from ssc.parallel import parallel_map
from ssc.progress import track
from ssc.provenance import result_identity


def confident_labels(image: np.ndarray, classes: np.ndarray, cams: torch.Tensor, settings: dict) -> np.ndarray:
    """Labels that two CRF passes agree on (IRN labels).

    One pass starts from the argmax with a high background score and says where foreground is certain, the other
    from one with a low score and says where background is.

    Args:
        image: uint8 (H, W, 3).
        classes: ids (K,) of the classes present.
        cams: (K, H, W) in 0..1.
        settings: the `irn_labels` section of the config.

    Returns:
        int64 (H, W): class id where the first pass says foreground, 0 where both say background, else 255.
    """
    if len(classes) == 0:
        return np.zeros(image.shape[:2], np.int64)
    crf = DenseCRF(
        image,
        gaussian=(settings["crf"]["gaussian_sxy"], settings["crf"]["gaussian_weight"]),
        bilateral=tuple(settings["crf"][f"bilateral_{name}"] for name in ("sxy", "srgb", "weight")),
    )
    foreground, background = crf.refine_labels(
        np.stack([argmax_labels(cams, settings[key]) for key in ("foreground", "background")]),
        num_labels=len(classes) + 1,
        confidence=settings["crf"]["confidence"],
        iterations=settings["crf"]["iterations"],
    )
    labels = np.concatenate([[0], classes])[foreground]
    labels[foreground == 0] = IGNORE
    labels[(foreground == 0) & (background == 0)] = 0
    return labels


def write_irn_labels(
    *, index: str | Path, shard: str, cams: str | Path, output: str | Path, settings: dict, threads: int = 1
) -> None:
    """Write the confident labels of one shard of the training split as an archive of palette PNGs.

    Args:
        index, shard, cams: the images and the shard's CAM archive.
        output: archive to write.
        settings: the `irn_labels` section of the config.
        threads: images refined at the same time.
    """
    cam_archive = archive.Archive(cams)

    def refine(row_and_cams: tuple) -> tuple[Row, np.ndarray]:
        row, (classes, maps) = row_and_cams
        image = read_image(row.image)
        return row, confident_labels(image, classes, upsample(maps, image.shape[:2]), settings)

    rows = read_index(index).shard("train", shard)
    keys = {f"{row.id}.png": row.key_with(cam_archive.read_bytes(f"{row.id}.npz")) for row in rows}
    with archive.resume(output, identity=result_identity(__name__, settings), keys=keys) as out:
        rows = [row for row in rows if f"{row.id}.png" not in out]
        jobs = parallel_map(refine, ((row, read_cams(cam_archive, row.id)) for row in rows), threads)
        for row, labels in track(jobs, f"IRN labels {shard}", len(rows)):
            out.add_labels(row.id, labels)
