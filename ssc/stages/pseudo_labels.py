"""The rule `random_walk`: pseudo-labels and confidence masks of one shard of the training photos."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from ssc import archive
from ssc.archive import Archive
from ssc.data.index import Row, read_index
from ssc.data.transforms import scaled_views
from ssc.models.irn import IRN
from ssc.models.weights import load_part, network_words
from ssc.pseudo_labels import confidence_mask, edge_maps, half_mask, walk_scores
from ssc.runtime.device import select_device, select_precision
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import track
from ssc.seeds import argmax_labels
from ssc.stages.batching import Photo, infer, pixel_budget, stack_views
from ssc.stages.cam_threshold import settle
from ssc.stages.label_archives import label_archives
from ssc.workflow.provenance import fingerprint
from ssc.workflow.settings import PseudoLabels


def write_pseudo_labels(
    *,
    index: str | Path,
    shard: str,
    cams: str | Path,
    weights: str | Path,
    output: str | Path,
    confidence: str | Path,
    settings: PseudoLabels,
    cam_threshold: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 1,
) -> None:
    """Random walk over one shard of the training split: pseudo-labels and confidence masks as archives of PNGs.

    Args:
        index, shard, cams: the images and the shard's CAM archive.
        weights: weight file with the part `irn`.
        output: archive of pseudo-labels (0..C).
        confidence: archive of masks (1 = confident).
        settings: the section `pseudo_labels`.
        cam_threshold: see `ssc.stages.cam_threshold.settle`.
        device, precision: see the config.
        threads: photos read, and results finished, at the same time.

    Raises:
        InputError: a corrected label map is unusable, see `ssc.data.masks.read_labels`.
    """
    settings = settle(settings, cam_threshold)
    table = read_index(index)
    device = select_device(device)
    precision = select_precision(precision, device)
    model = load_part(weights, "irn", IRN, device=device)
    cam_archive = Archive(cams)
    walk = settings.model_dump(include={"scale", "radius", "beta", "exp_times", "divide"})

    def propagate(photos: list[Photo]) -> list[tuple[Row, np.ndarray, torch.Tensor]]:
        found = [cam_archive.cams(photo.row.id) for photo in photos]
        size = photos[0].image.shape[:2]
        edges = [None] * len(photos)
        if any(len(classes) for classes, _ in found):
            (views,) = stack_views(photos, device)
            edges = edge_maps(model, views, pad=settings.pad, mirror=settings.mirror, precision=precision)
        results = []
        for photo, (classes, maps), edge in zip(photos, found, edges, strict=True):
            maps = torch.from_numpy(maps).to(device)
            scores = walk_scores(maps, edge, size, **walk).cpu() if len(classes) else torch.zeros(0, *size)
            results.append((photo.row, classes, scores))
        return results

    def encode(walked: tuple[Row, np.ndarray, torch.Tensor]) -> tuple[Row, bytes, bytes]:
        row, classes, scores = walked
        labels = np.concatenate([[0], classes])[argmax_labels(scores, settings.threshold)]
        if len(classes) or settings.unlabelled == "all":
            background = torch.full((1, *labels.shape), settings.threshold)
            mask = confidence_mask(torch.cat([background, scores]).numpy(), settings.keep, rounding=settings.rounding)
        else:
            mask = half_mask(labels.shape, row.id)
        return row, archive.encode_labels(labels), archive.encode_labels(mask.astype(np.uint8))

    own = fingerprint(
        __name__,
        settings.model_copy(update={"corrected": None}),  # which photos have one, their keys say
        {"precision": precision},
        files=[weights],
        words=network_words(weights),
    )
    with label_archives(
        table.shard("train", shard),
        cams=cam_archive,
        corrected=settings.corrected,
        num_classes=table.num_classes,
        output=output,
        confidence=confidence,
        fingerprint=own,
    ) as (rows, store):
        found = infer(
            propagate,
            rows,
            partial(scaled_views, scales=[settings.scale]),
            pixels=pixel_budget(device),
            pad=settings.pad or 0,
            threads=threads,
        )
        for encoded in track(parallel_map(encode, found, threads), f"pseudo-labels {shard}", len(rows)):
            store(*encoded)
