"""Pseudo-labels: a random walk of the CAMs over the class-boundary map of IRN; the most certain of their pixels."""

import numpy as np
import torch
from torch.nn import functional as F

from ssc.affinity import random_walk
from ssc.cams import resize_maps, upsample
from ssc.constants import EPSILON, STRIDE
from ssc.data.transforms import scaled_size, scaled_view
from ssc.models.irn import IRN
from ssc.runtime.device import autocast


def edge_map(
    model: IRN,
    image: np.ndarray,
    *,
    scale: float = 1.0,
    pad: int | None = None,
    mirror: str = "probability",
    precision: str = "fp32",
) -> torch.Tensor:
    """Class-boundary probabilities of a photo: mean over the photo and its mirror image.

    Args:
        model: IRN in evaluation mode.
        image: uint8 (H, W, 3).
        scale: factor by which the photo is resized first.
        pad: least side of what the network sees: the normalised photo, and its mirror image, get zeros at the right and
            bottom, and the map is cut afterwards; the network's group norms see them. 512 in the release on VOC, where
            no photo is larger; None for none.
        mirror: `probability` for the mean of both probabilities, `logit` for that of the logits [R].
        precision: see the config.

    Returns:
        (ceil(H' / 4), ceil(W' / 4)) in 0..1 for the resized photo (H', W').
    """
    view = scaled_view(image, scale).to(next(model.parameters()).device)
    return edge_maps(model, view[None], pad=pad, mirror=mirror, precision=precision)[0]


@torch.no_grad()
def edge_maps(
    model: IRN, views: torch.Tensor, *, pad: int | None = None, mirror: str = "probability", precision: str = "fp32"
) -> torch.Tensor:
    """`edge_map` of B photos of equal size, given normalised and resized as (B, 3, H', W') on the model's device."""
    if mirror not in ("probability", "logit"):
        raise ValueError(f"mirror is {mirror!r}, not probability or logit")
    height, width = views.shape[-2:]
    both = torch.cat([views, views.flip(-1)])
    if pad:
        both = F.pad(both, (0, max(0, pad - width), 0, max(0, pad - height)))
    with autocast(views.device, precision):
        logits = model.edges(both)
    edges = logits.float()[:, 0, : -(-height // STRIDE), : -(-width // STRIDE)]
    if mirror == "probability":
        edges = edges.sigmoid()
    mean = (edges[: len(views)] + edges[len(views) :].flip(-1)) / 2
    return mean.sigmoid() if mirror == "logit" else mean


def walk_scores(
    cams: torch.Tensor,
    edges: torch.Tensor,
    size: tuple[int, int],
    *,
    scale: float = 1.0,
    radius: int = 5,
    beta: float = 10.0,
    exp_times: int = 8,
    divide: str = "before",
) -> torch.Tensor:
    """Propagated CAMs at full resolution, divided by their overall maximum.

    Args:
        cams: (K, h, w), K >= 1; resized to the grid of `edges` where they differ.
        edges: (h', w'), from `edge_map` at `scale`.
        size: (H, W) of the photo.
        scale: factor of the photo's size at which the walk runs.
        radius, beta, exp_times: of `ssc.affinity.random_walk`.
        divide: by the maximum `before` or `after` [R] the scores are enlarged to the photo.

    Returns:
        (K, H, W) in 0..1.
    """
    cams = resize_maps(cams, tuple(edges.shape))
    scores = random_walk(cams, edges, radius=radius, beta=beta, exp_times=exp_times)
    if divide == "before":
        scores = scores / scores.max().clamp(min=EPSILON)
    full = resize_maps(upsample(scores, scaled_size(size, scale)), size)
    return full / full.max().clamp(min=EPSILON) if divide == "after" else full


def confidence_mask(scores: np.ndarray, keep: float = 0.5, *, rounding: str = "up") -> np.ndarray:
    """The most certain pixels of each predicted class, by the margin between the two best scores.

    Args:
        scores: (K, H, W), background included, K >= 1.
        keep: fraction of each predicted class's pixels that is kept.
        rounding: `up`, where ties at the border are kept as well, or `down`, where of these the first are [R].

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
        if rounding == "down":
            kept = np.argsort(-margin[inside], kind="stable")[: int(keep * inside.sum())]
            mask.flat[np.flatnonzero(inside)[kept]] = True
        else:
            count = int(np.ceil(keep * inside.sum()))
            if count:
                mask |= inside & (margin >= np.partition(margin[inside], -count)[-count])
    return mask


def label_confidence(scores: np.ndarray, labels: np.ndarray, keep: float = 0.5, *, rounding: str = "up") -> np.ndarray:
    """`confidence_mask` of labels that need not be the argmax of the scores: of each label's pixels those that are kept
    where its score stands out most from the best other one.

    Args:
        scores: (K, H, W) in 0..1, background included, K >= 1.
        labels: positions among the scores (H, W), int in 0..K - 1.
        keep, rounding: see `confidence_mask`.

    Returns:
        bool (H, W).
    """
    chosen = labels == np.arange(len(scores))[:, None, None]
    return confidence_mask(scores + 2.0 * chosen, keep, rounding=rounding)  # above all others, by as much more


def half_mask(size: tuple[int, int], name: str) -> np.ndarray:
    """A random half of the pixels (H, W), bool, rounded down, which the photo's name draws [R]."""
    mask = np.arange(size[0] * size[1]) < size[0] * size[1] // 2
    np.random.default_rng(list(name.encode())).shuffle(mask)
    return mask.reshape(size)
