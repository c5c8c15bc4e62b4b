"""Class activation maps by multi-scale inference."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ssc import archive
from ssc.conventions import STRIDE
from ssc.data.index import Row, read_index
from ssc.device import autocast, select_device, select_precision
from ssc.inference import Photo, infer, pixel_budget, stack_views
from ssc.losses import region_means
from ssc.models.classifier import CAMClassifier
from ssc.parallel import parallel_map
from ssc.progress import track
from ssc.provenance import result_identity
from ssc.weights import load_part

_EPS = 1e-5


@torch.no_grad()
def multi_scale_cams(model: CAMClassifier, views: Sequence[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
    """Unnormalised activation maps of B photos of equal size: sum over scales and mirror images of relu(f).

    Args:
        model: classifier in evaluation mode.
        views: normalised photos (B, 3, h, w) on the model's device, one tensor per scale.
        size: (H, W) of the photos.

    Returns:
        (B, C, ceil(H / 4), ceil(W / 4)), float32.
    """
    grid = tuple(-(-side // STRIDE) for side in size)
    total = 0
    for view in views:
        _, features = model(torch.cat([view, view.flip(-1)]))
        activation = features.float().relu()
        activation = activation[: len(view)] + activation[len(view) :].flip(-1)
        total = total + F.interpolate(activation, size=grid, mode="bilinear", align_corners=False)
    return total


def upsample(cams: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Maps (K, h, w) at stride 4 to (K, H, W): bilinear by four, cut to `size` = (H, W); K may be 0."""
    # As K images of one channel: torch takes an empty batch, but no image without channels.
    full = F.interpolate(cams[:, None].float(), scale_factor=STRIDE, mode="bilinear", align_corners=False)[:, 0]
    return full[:, : size[0], : size[1]]


def resize_maps(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear resize of maps (K, h, w) to (K, *size); maps of that size are returned as they are."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def argmax_labels(cams: torch.Tensor, background: float) -> np.ndarray:
    """Position of the largest of [background, cams] at each pixel: (K, H, W) to int64 (H, W) in 0..K.

    Ties go to the background.
    """
    if len(cams) == 0:
        return np.zeros(cams.shape[1:], np.int64)
    values, positions = cams.max(dim=0)
    return torch.where(values > background, positions + 1, 0).numpy()


def average_over_superpixels(cams: torch.Tensor, regions: np.ndarray) -> torch.Tensor:
    """Replace every activation by the mean over its superpixel, measured at full resolution.

    Args:
        cams: (K, h, w) at stride 4, K >= 1.
        regions: superpixels (H, W), labels >= 0.

    Returns:
        (K, h, w): the mean of the superpixel at the centre of each cell.
    """
    full = upsample(cams, regions.shape)
    labels = torch.from_numpy(regions.astype(np.int64)).to(full.device).expand(len(full), -1, -1)
    rows, columns = (
        (torch.arange(cells) * STRIDE + STRIDE // 2).clamp(max=side - 1)
        for cells, side in zip(cams.shape[-2:], regions.shape, strict=True)
    )
    return region_means(full, labels)[:, rows[:, None], columns]


def read_cams(cams: archive.Archive, image_id: str) -> tuple[np.ndarray, torch.Tensor]:
    """Class ids (K,) and CAMs (K, h, w) float32 of one image from an archive of `extract_cams`."""
    arrays = cams.arrays(image_id)
    return arrays["classes"].astype(np.int64), torch.from_numpy(arrays["cams"].astype(np.float32))


def extract_cams(
    *,
    index: str | Path,
    shard: str,
    weights: str | Path,
    superpixels: str | Path | None,
    output: str | Path,
    settings: dict,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 1,
) -> None:
    """Write the CAMs of one shard of the training split: `<id>.npz` with `classes` (K,) int16 and `cams`
    (K, h, w) float16 in 0..1 at stride 4, for the K classes present, each divided by its maximum + 1e-5.

    Args:
        index: the index.
        shard: `<k>-of-<n>`.
        weights: weight file with the part `classifier`.
        superpixels: the shard's archive of superpixels, for `refine: superpixels`.
        output: archive to write.
        settings: the `cams` section of the config.
        device, precision: see the config.
        threads: photos read, and results compressed, at the same time.
    """
    device = select_device(device)
    precision = select_precision(precision, device)
    model = load_part(weights, "classifier", CAMClassifier, device=device)
    model.drs_at_inference = settings["drs"]
    rows = read_index(index).shard("train", shard)
    if settings["refine"] == "superpixels":
        regions = archive.Archive(superpixels)

    def activate(photos: list[Photo]) -> list[tuple[Row, np.ndarray]]:
        with autocast(device, precision):
            batch = multi_scale_cams(model, stack_views(photos, device), photos[0].image.shape[:2])
        return [(photo.row, present(photo.row, cams).cpu().numpy()) for photo, cams in zip(photos, batch, strict=True)]

    def present(row: Row, cams: torch.Tensor) -> torch.Tensor:
        cams = cams[[label - 1 for label in row.labels]]
        if len(cams):
            if settings["refine"] == "superpixels":
                cams = average_over_superpixels(cams, regions.labels(row.id))
            cams = cams / (cams.amax(dim=(1, 2), keepdim=True) + _EPS)
        return cams

    def encode(row_and_cams: tuple[Row, np.ndarray]) -> tuple[Row, bytes]:
        row, cams = row_and_cams
        classes = np.array(row.labels, np.int16)
        return row, archive.encode_arrays(classes=classes, cams=cams.astype(np.float16))

    refined = settings["refine"] == "superpixels"
    keys = {f"{row.id}.npz": row.key_with(*([regions.read_bytes(f"{row.id}.png")] if refined else [])) for row in rows}
    identity = result_identity(__name__, {"settings": settings, "precision": precision}, [weights])
    with archive.resume(output, identity=identity, keys=keys) as out:
        rows = [row for row in rows if f"{row.id}.npz" not in out]
        found = infer(activate, rows, settings["scales"], pixels=pixel_budget(device), threads=threads)
        for row, data in track(parallel_map(encode, found, threads), f"CAMs {shard}", len(rows)):
            out.add_bytes(f"{row.id}.npz", data)
