"""Pseudo-labels: a random walk of the CAMs over the class-boundary map of IRN."""

from pathlib import Path

import numpy as np
import torch

from ssc import archive
from ssc.affinity import random_walk
from ssc.cams import argmax_labels, read_cams, resize_maps, upsample
from ssc.data.index import Row, read_index
from ssc.data.transforms import scaled_size, scaled_view
from ssc.device import autocast, select_device, select_precision
from ssc.inference import Photo, infer, pixel_budget, stack_views
from ssc.models.irn import IRN
from ssc.parallel import parallel_map
from ssc.progress import track
from ssc.provenance import result_identity
from ssc.weights import load_part


def edge_map(model: IRN, image: np.ndarray, *, scale: float = 1.0, precision: str = "fp32") -> torch.Tensor:
    """Class-boundary probabilities of a photo: mean over the photo and its mirror image.

    Args:
        model: IRN in evaluation mode.
        image: uint8 (H, W, 3).
        scale: factor by which the photo is resized first.
        precision: see the config.

    Returns:
        (ceil(H' / 4), ceil(W' / 4)) in 0..1 for the resized photo (H', W').
    """
    view = scaled_view(image, scale).to(next(model.parameters()).device)
    return edge_maps(model, view[None], precision=precision)[0]


@torch.no_grad()
def edge_maps(model: IRN, views: torch.Tensor, *, precision: str = "fp32") -> torch.Tensor:
    """`edge_map` of B photos of equal size, given normalised and resized as (B, 3, H', W') on the model's device."""
    with autocast(views.device, precision):
        logits, _ = model(torch.cat([views, views.flip(-1)]))
    edges = logits.float().sigmoid()[:, 0]
    return (edges[: len(views)] + edges[len(views) :].flip(-1)) / 2


def walk_scores(cams: torch.Tensor, edges: torch.Tensor, size: tuple[int, int], settings: dict) -> torch.Tensor:
    """Propagated CAMs at full resolution, divided by their overall maximum.

    Args:
        cams: (K, h, w), K >= 1; resized to the grid of `edges` where they differ.
        edges: (h', w'), from `edge_map` at `settings["scale"]`.
        size: (H, W) of the photo.
        settings: the `pseudo_labels` section of the config.

    Returns:
        (K, H, W) in 0..1.
    """
    cams = resize_maps(cams, tuple(edges.shape))
    scores = random_walk(cams, edges, radius=settings["radius"], beta=settings["beta"], exp_times=settings["exp_times"])
    full = upsample(scores / scores.max().clamp(min=1e-5), scaled_size(size, settings["scale"]))
    return resize_maps(full, size)


def confidence_mask(scores: np.ndarray, keep: float = 0.5) -> np.ndarray:
    """The most certain pixels of each predicted class, by the margin between the two best scores.

    Args:
        scores: (K, H, W), background included, K >= 1.
        keep: fraction of each predicted class's pixels that is kept, rounded up; ties at the border are kept.

    Returns:
        bool (H, W).
    """
    scores = np.asarray(scores)
    if len(scores) == 1:
        return np.ones(scores.shape[1:], bool)
    second, first = np.partition(scores, -2, axis=0)[-2:]
    margin, best = first - second, scores.argmax(axis=0)
    mask = np.zeros(margin.shape, bool)
    for label in np.unique(best):
        inside = best == label
        count = int(np.ceil(keep * inside.sum()))
        if count:
            mask |= inside & (margin >= np.partition(margin[inside], -count)[-count])
    return mask


def write_pseudo_labels(
    *,
    index: str | Path,
    shard: str,
    cams: str | Path,
    weights: str | Path,
    output: str | Path,
    confidence: str | Path,
    settings: dict,
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
        settings: the `pseudo_labels` section of the config.
        device, precision: see the config.
        threads: photos read, and results finished, at the same time.
    """
    device = select_device(device)
    precision = select_precision(precision, device)
    model = load_part(weights, "irn", IRN, device=device)
    cam_archive = archive.Archive(cams)
    rows = read_index(index).shard("train", shard)

    def walk(photos: list[Photo]) -> list[tuple[Row, np.ndarray, torch.Tensor]]:
        cams = [read_cams(cam_archive, photo.row.id) for photo in photos]
        size = photos[0].image.shape[:2]
        edges = [None] * len(photos)
        if any(len(classes) for classes, _ in cams):
            (views,) = stack_views(photos, device)
            edges = edge_maps(model, views, precision=precision)
        return [
            (
                photo.row,
                classes,
                walk_scores(maps.to(device), edge, size, settings).cpu() if len(classes) else torch.zeros(0, *size),
            )
            for photo, (classes, maps), edge in zip(photos, cams, edges, strict=True)
        ]

    def encode(walked: tuple[Row, np.ndarray, torch.Tensor]) -> tuple[Row, bytes, bytes]:
        row, classes, scores = walked
        labels = np.concatenate([[0], classes])[argmax_labels(scores, settings["background"])]
        ground = torch.full((1, *scores.shape[1:]), settings["background"])
        mask = confidence_mask(torch.cat([ground, scores]).numpy(), settings["keep"])
        return row, archive.encode_labels(labels), archive.encode_labels(mask.astype(np.uint8))

    keys = {f"{row.id}.png": row.key_with(cam_archive.read_bytes(f"{row.id}.npz")) for row in rows}
    identity = result_identity(__name__, {"settings": settings, "precision": precision}, [weights])
    options = {"identity": identity, "keys": keys}
    with archive.resume(output, **options) as out, archive.resume(confidence, **options) as masks:
        rows = [row for row in rows if f"{row.id}.png" not in out or f"{row.id}.png" not in masks]
        found = infer(walk, rows, [settings["scale"]], pixels=pixel_budget(device), threads=threads)
        for row, labels, mask in track(parallel_map(encode, found, threads), f"pseudo-labels {shard}", len(rows)):
            out.add_bytes(f"{row.id}.png", labels)
            masks.add_bytes(f"{row.id}.png", mask)
