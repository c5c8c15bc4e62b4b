"""The rule `cams`: class activation maps of one shard of the training photos."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ssc import archive
from ssc.archive import Archive
from ssc.cams import average_over_superpixels, cell_centres, scale_activations, sum_scales, upsample
from ssc.constants import EPSILON
from ssc.data.index import Row, read_index
from ssc.data.transforms import scaled_views
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
    """Write the CAMs of one shard of the training split: `<id>.npz` with `classes` (K,) int16 and `cams` (K, h, w) in
    0..1 at stride 4, for the K classes present, each divided by its maximum + 1e-5; of type `settings.dtype`.

    With `stride: 1` also what `ssc.cams.full_cams` makes the maps at the photo's size of: their terms `scale_0`, ...
    at the network's stride, a thirtieth of the size of the maps, or, refined by superpixels, `high_res` (K, H, W).

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

    def activate(photos: list[Photo]) -> list[tuple[Row, dict[str, torch.Tensor]]]:
        with autocast(device, precision):
            scales = scale_activations(model, stack_views(photos, device))
        results = []
        for number, photo in enumerate(photos):
            present = [each[number, [label - 1 for label in photo.row.labels]] for each in scales]
            own = regions.labels(photo.row.id) if regions else None
            maps = maps_of_photo(present, photo.image.shape[:2], stride=settings.stride, regions=own)
            results.append((photo.row, maps))
        return results

    def encode(row_and_maps: tuple[Row, dict[str, torch.Tensor]]) -> tuple[Row, bytes]:
        row, maps = row_and_maps
        arrays = {name: each.cpu().numpy().astype(settings.dtype) for name, each in maps.items()}
        return row, archive.encode_arrays(classes=np.array(row.labels, np.int16), **arrays)

    keys = {f"{row.id}.npz": row.key_with(*([regions.read_bytes(f"{row.id}.png")] if regions else [])) for row in rows}
    own = fingerprint(__name__, settings, {"precision": precision}, files=[weights], words=network_words(weights))
    with cache.resume(output, fingerprint=own, keys=keys) as out:
        rows = [row for row in rows if f"{row.id}.npz" not in out]
        views = partial(scaled_views, scales=settings.scales)
        found = infer(activate, rows, views, pixels=pixel_budget(device), threads=threads)
        for row, data in track(parallel_map(encode, found, threads), f"CAMs {shard}", len(rows)):
            out.add_bytes(f"{row.id}.npz", data)


def maps_of_photo(
    scales: Sequence[torch.Tensor], size: tuple[int, int], *, stride: int, regions: np.ndarray | None
) -> dict[str, torch.Tensor]:
    """What is stored of a photo's activations, by name; see `write_cams`.

    Args:
        scales: of `ssc.cams.scale_activations`, (K, h', w') for each scale: those of the classes present, maybe none.
        size: (H, W) of the photo.
        stride: 1 for maps at the photo's size beside those of stride 4.
        regions: superpixels (H, W) to average over; None for none.
    """
    terms = [each[:, None] for each in scales]  # torch resizes no photos rather than no channels
    cams = sum_scales(terms, size)[:, 0]
    full = sum_scales(terms, size, stride=1)[:, 0] if stride == 1 else None
    if regions is not None and len(cams):
        cams = cell_centres(average_over_superpixels(upsample(cams, size), regions))
        full = average_over_superpixels(full, regions) if stride == 1 else None
    found = {"cams": normalise_cam(cams)}
    if stride == 1 and regions is not None:
        found["high_res"] = normalise_cam(full)
    elif stride == 1:
        maximum = full.amax(dim=(-2, -1), keepdim=True) + EPSILON
        found |= {f"scale_{number}": scale / maximum for number, scale in enumerate(scales)}
    return found
