"""The rule `cam_labels`: pseudo-labels and confidence masks of one shard of the training photos, of the CAMs alone."""

from pathlib import Path

import numpy as np
import torch

from ssc import archive
from ssc.archive import Archive
from ssc.cams import full_cams
from ssc.crf import refine_labels
from ssc.data.index import Row, read_index
from ssc.data.photos import read_image
from ssc.pseudo_labels import half_mask, label_confidence
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import track
from ssc.seeds import argmax_labels
from ssc.stages.cam_threshold import settle
from ssc.stages.label_archives import label_archives
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
        cam_threshold: see `ssc.stages.cam_threshold.settle`.
        threads: photos labelled at the same time.

    Raises:
        InputError: a corrected label map is unusable, see `ssc.data.masks.read_labels`.
    """
    settings = settle(settings, cam_threshold)
    table, cam_archive = read_index(index), Archive(cams)

    def label(row: Row) -> tuple[np.ndarray, np.ndarray]:
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

    own = fingerprint(__name__, settings.model_copy(update={"corrected": None}))  # which have one, their keys say
    with label_archives(
        table.shard("train", shard),
        cams=cam_archive,
        corrected=settings.corrected,
        num_classes=table.num_classes,
        output=output,
        confidence=confidence,
        fingerprint=own,
    ) as (rows, store):
        for encoded in track(parallel_map(encode, rows, threads), f"pseudo-labels {shard}", len(rows)):
            store(*encoded)
