"""The rule `cams`: class activation maps of one shard of the training photos."""

from pathlib import Path

import numpy as np
import torch

from ssc import archive
from ssc.archive import Archive
from ssc.cams import average_over_superpixels, multi_scale_cams
from ssc.data.index import Row, read_index
from ssc.losses import normalise_cam
from ssc.models.classifier import CAMClassifier
from ssc.models.weights import load_part, network_words
from ssc.runtime.device import autocast, select_device, select_precision
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import track
from ssc.stages.batching import Photo, infer, pixel_budget, stack_views
from ssc.workflow import cache
from ssc.workflow.provenance import fingerprint
from ssc.workflow.settings import CAMs


def write_cams(
    *,
    index: str | Path,
    shard: str,
    weights: str | Path,
    superpixels: str | Path | None,
    output: str | Path,
    settings: CAMs,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 1,
) -> None:
    """Write the CAMs of one shard of the training split: `<id>.npz` with `classes` (K,) int16 and `cams` (K, h, w)
    float16 in 0..1 at stride 4, for the K classes present, each divided by its maximum + 1e-5.

    Args:
        index: the index.
        shard: `<k>-of-<n>`.
        weights: weight file with the part `classifier`.
        superpixels: the shard's archive of superpixels, for `refine: superpixels`.
        output: archive to write.
        settings: the section `cams`.
        device, precision: see the config.
        threads: photos read, and results compressed, at the same time.
    """
    device = select_device(device)
    precision = select_precision(precision, device)
    model = load_part(weights, "classifier", CAMClassifier, device=device)
    model.drs_at_inference = settings.drs
    rows = read_index(index).shard("train", shard)
    regions = Archive(superpixels) if settings.refine == "superpixels" else None

    def activate(photos: list[Photo]) -> list[tuple[Row, np.ndarray]]:
        with autocast(device, precision):
            batch = multi_scale_cams(model, stack_views(photos, device), photos[0].image.shape[:2])
        return [(photo.row, present(photo.row, cams).cpu().numpy()) for photo, cams in zip(photos, batch, strict=True)]

    def present(row: Row, cams: torch.Tensor) -> torch.Tensor:
        cams = cams[[label - 1 for label in row.labels]]
        if regions and row.labels:
            cams = average_over_superpixels(cams, regions.labels(row.id))
        return normalise_cam(cams)

    def encode(row_and_cams: tuple[Row, np.ndarray]) -> tuple[Row, bytes]:
        row, cams = row_and_cams
        classes = np.array(row.labels, np.int16)
        return row, archive.encode_arrays(classes=classes, cams=cams.astype(np.float16))

    keys = {f"{row.id}.npz": row.key_with(*([regions.read_bytes(f"{row.id}.png")] if regions else [])) for row in rows}
    own = fingerprint(__name__, settings, {"precision": precision}, files=[weights], words=network_words(weights))
    with cache.resume(output, fingerprint=own, keys=keys) as out:
        rows = [row for row in rows if f"{row.id}.npz" not in out]
        found = infer(activate, rows, settings.scales, pixels=pixel_budget(device), threads=threads)
        for row, data in track(parallel_map(encode, found, threads), f"CAMs {shard}", len(rows)):
            out.add_bytes(f"{row.id}.npz", data)
