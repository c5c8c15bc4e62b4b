"""Pseudo-labels: a random walk of the CAMs over the class-boundary map of IRN."""

from pathlib import Path

import numpy as np
import torch

from ssc import archive
from ssc.affinity import random_walk
from ssc.cams import argmax_labels, read_cams, resize_maps, upsample
from ssc.data.index import read_index
from ssc.data.transforms import normalise, read_image, resize_image, scaled_size
from ssc.device import autocast, select_device
from ssc.models.irn import IRN
from ssc.progress import track
from ssc.weights import load_part


@torch.no_grad()
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
    device = next(model.parameters()).device
    view = normalise(resize_image(image, scaled_size(image.shape[:2], scale)))
    with autocast(device, precision):
        logits, _ = model(torch.stack([view, view.flip(-1)]).to(device))
    edges = logits.float().sigmoid()[:, 0]
    return (edges[0] + edges[1].flip(-1)) / 2


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
) -> None:
    """Random walk over one shard of the training split: pseudo-labels and confidence masks as archives of PNGs.

    Args:
        index, shard, cams: the images and the shard's CAM archive.
        weights: weight file with the part `irn`.
        output: archive of pseudo-labels (0..C).
        confidence: archive of masks (1 = confident).
        settings: the `pseudo_labels` section of the config.
        device, precision: see the config.
    """
    device = select_device(device)
    model = load_part(weights, "irn", IRN, device=device)
    cam_archive = archive.Archive(cams)
    rows = read_index(index).shard("train", shard)
    with archive.write(output) as out, archive.write(confidence) as masks:
        for row in track(rows, f"pseudo-labels {shard}"):
            image = read_image(row.image)
            classes, maps = read_cams(cam_archive, row.id)
            labels, mask = np.zeros(image.shape[:2], np.int64), np.ones(image.shape[:2], bool)
            if len(classes):
                edges = edge_map(model, image, scale=settings["scale"], precision=precision)
                scores = walk_scores(maps.to(device), edges, image.shape[:2], settings).cpu()
                labels = np.concatenate([[0], classes])[argmax_labels(scores, settings["background"])]
                ground = torch.full((1, *scores.shape[1:]), settings["background"])
                mask = confidence_mask(torch.cat([ground, scores]).numpy(), settings["keep"])
            out.add_labels(row.id, labels)
            masks.add_labels(row.id, mask.astype(np.uint8))
