"""The rule `cam_labels`: pseudo-labels and confidence masks of one shard of the training photos, of the CAMs alone."""

from pathlib import Path

import numpy as np
import torch

from ssc import archive
from ssc.archive import Archive
from ssc.cams import full_cams
from ssc.constants import IGNORE
from ssc.crf import refine_labels
from ssc.data.corrected import corrected_files
from ssc.data.index import Row, read_index
from ssc.data.masks import read_labels
from ssc.data.photos import read_image
from ssc.pseudo_labels import half_mask, label_confidence
from ssc.runtime.files import read_json
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import track
from ssc.seeds import argmax_labels
from ssc.workflow import cache
from ssc.workflow.provenance import fingerprint
from ssc.workflow.settings import PseudoLabels


def write_cam_labels(
    *,
    index: str | Path,
    shard: str,
    cams: str | Path,
    output: str | Path,
    confidence: str | Path,
    settings: PseudoLabels,
    cam_threshold: str | Path | None = None,
    threads: int = 1,
) -> None:
    """Labels of the CAMs of one shard of the training split, and confidence masks, as archives of PNGs.

    The CAMs at the photo's size, as seeds are made of them, are labelled by their argmax with the background threshold.
    With `method: crf` these labels are refined by one pass of the dense CRF, as those for IRN are. Confident are, of
    each label's pixels, those where its CAM, or the threshold, stands out most from the others.

    Args:
        index, shard, cams: the images and the shard's CAM archive.
        output: archive of pseudo-labels (0..C).
        confidence: archive of masks (1 = confident).
        settings: the section `pseudo_labels`, with `method` `crf` or `none`.
        cam_threshold: what `ssc.stages.cam_threshold.write_cam_threshold` wrote; None where `threshold` is a number.
        threads: photos labelled at the same time.

    Raises:
        InputError: a corrected label map is unusable, see `ssc.data.masks.read_labels`.
    """
    if cam_threshold:
        settings = settings.model_copy(update={"threshold": read_json(cam_threshold)["threshold"]})
    table, cam_archive = read_index(index), Archive(cams)
    rows = table.shard("train", shard)
    corrected = corrected_files(settings.corrected, rows)

    def label(row: Row) -> tuple[np.ndarray, np.ndarray]:
        if row.id in corrected:
            labels = read_labels(corrected[row.id], row, table.num_classes)
            return labels, labels != IGNORE
        image, arrays = read_image(row.image), cam_archive.arrays(row.id)
        classes, maps = arrays["classes"].astype(np.int64), full_cams(arrays, image.shape[:2])
        labels = argmax_labels(maps, settings.threshold)
        if not len(classes):
            everything = np.ones(labels.shape, bool)
            return labels, half_mask(labels.shape, row.id) if settings.unlabelled == "half" else everything
        if settings.method == "crf":
            crf = settings.crf.options()
            labels = refine_labels(image, labels, len(classes) + 1, settings.crf.confidence, **crf)
        scores = torch.cat([torch.full((1, *labels.shape), settings.threshold), maps]).numpy()
        mask = label_confidence(scores, labels, settings.keep, rounding=settings.rounding)
        return np.concatenate([[0], classes])[labels], mask

    def encode(row: Row) -> tuple[Row, bytes, bytes]:
        labels, mask = label(row)
        return row, archive.encode_labels(labels), archive.encode_labels(mask.astype(np.uint8))

    def decides(row: Row) -> list[bytes]:
        mended = corrected.get(row.id)
        return [cam_archive.read_bytes(f"{row.id}.npz"), *([mended.read_bytes()] if mended else [])]

    keys = {f"{row.id}.png": row.key_with(*decides(row)) for row in rows}
    own = fingerprint(__name__, settings.model_copy(update={"corrected": None}))  # which have one, their keys say
    with (
        cache.resume(output, fingerprint=own, keys=keys) as out,
        cache.resume(confidence, fingerprint=own, keys=keys) as masks,
    ):
        rows = [row for row in rows if f"{row.id}.png" not in out or f"{row.id}.png" not in masks]
        for row, labels, mask in track(parallel_map(encode, rows, threads), f"pseudo-labels {shard}", len(rows)):
            out.add_bytes(f"{row.id}.png", labels)
            masks.add_bytes(f"{row.id}.png", mask)
