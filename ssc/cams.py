"""Class activation maps by multi-scale inference."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from ssc.constants import STRIDE
from ssc.losses import region_means
from ssc.models.classifier import CAMClassifier


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
