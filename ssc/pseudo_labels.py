"""Pseudo-labels: a random walk of the CAMs over the class-boundary map of IRN."""

import numpy as np
import torch

from ssc.affinity import random_walk
from ssc.cams import resize_maps, upsample
from ssc.constants import EPSILON
from ssc.data.transforms import scaled_size, scaled_view
from ssc.models.irn import IRN
from ssc.runtime.device import autocast


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


def walk_scores(
    cams: torch.Tensor,
    edges: torch.Tensor,
    size: tuple[int, int],
    *,
    scale: float = 1.0,
    radius: int = 5,
    beta: float = 10.0,
    exp_times: int = 8,
) -> torch.Tensor:
    """Propagated CAMs at full resolution, divided by their overall maximum.

    Args:
        cams: (K, h, w), K >= 1; resized to the grid of `edges` where they differ.
        edges: (h', w'), from `edge_map` at `scale`.
        size: (H, W) of the photo.
        scale: factor of the photo's size at which the walk runs.
        radius, beta, exp_times: of `ssc.affinity.random_walk`.

    Returns:
        (K, H, W) in 0..1.
    """
    cams = resize_maps(cams, tuple(edges.shape))
    scores = random_walk(cams, edges, radius=radius, beta=beta, exp_times=exp_times)
    full = upsample(scores / scores.max().clamp(min=EPSILON), scaled_size(size, scale))
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
