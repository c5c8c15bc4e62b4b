"""Class activation maps by multi-scale inference."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ssc.constants import STRIDE
from ssc.losses import region_means

_FULL_STRIDE = 16  # of the release: a map at the photo's size is stretched to the next multiple of it and cut


@torch.no_grad()
def scale_activations(model: nn.Module, views: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Activations of B photos of equal size at each scale: relu(f) of a view plus that of its mirror image.

    Args:
        model: a `ssc.models.CAMClassifier`, or another that gives logits and features, in evaluation mode.
        views: normalised photos (B, 3, h, w) on the model's device, one tensor per scale.

    Returns:
        (B, C, h', w') float32 for each scale, at the network's own stride.
    """
    found = []
    for view in views:
        _, features = model(torch.cat([view, view.flip(-1)]))
        activation = features.float().relu()
        found.append(activation[: len(view)] + activation[len(view) :].flip(-1))
    return found


def sum_scales(activations: Sequence[torch.Tensor], size: tuple[int, int], *, stride: int = STRIDE) -> torch.Tensor:
    """Sum over scales of `scale_activations`, each resized bilinearly to one grid.

    Args:
        activations: (B, C, h', w') for each scale.
        size: (H, W) of the photos.
        stride: 4 for the grid of the random walk; 1 for the photo's own, as the release makes seeds and IRN labels:
            stretched to the next multiple of 16, then cut, so that a map is shifted by up to 12 pixels at the right and
            bottom [R].

    Returns:
        (B, C, ceil(H / stride), ceil(W / stride)), unnormalised.
    """
    cells = tuple(-(-side // stride) for side in size)
    grid = cells if stride > 1 else tuple(-(-side // _FULL_STRIDE) * _FULL_STRIDE for side in size)
    total = sum(F.interpolate(each, size=grid, mode="bilinear", align_corners=False) for each in activations)
    return total[..., : cells[0], : cells[1]]


def multi_scale_cams(
    model: nn.Module, views: Sequence[torch.Tensor], size: tuple[int, int], *, stride: int = STRIDE
) -> torch.Tensor:
    """Unnormalised activation maps of B photos of equal size: sum over scales and mirror images of relu(f).

    See `scale_activations` and `sum_scales` for the arguments.

    Returns:
        (B, C, ceil(H / stride), ceil(W / stride)), float32.
    """
    return sum_scales(scale_activations(model, views), size, stride=stride)


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


def average_over_superpixels(maps: torch.Tensor, regions: np.ndarray) -> torch.Tensor:
    """Replace every activation (K, H, W) by the mean over its superpixel; K >= 1, labels (H, W) >= 0."""
    labels = torch.from_numpy(regions.astype(np.int64)).to(maps.device)
    return region_means(maps, labels.expand(len(maps), -1, -1))


def cell_centres(maps: torch.Tensor) -> torch.Tensor:
    """Maps (K, H, W) at the centres of the cells of stride 4: (K, ceil(H / 4), ceil(W / 4))."""
    rows, columns = (
        (torch.arange(-(-side // STRIDE)) * STRIDE + STRIDE // 2).clamp(max=side - 1) for side in maps.shape[-2:]
    )
    return maps[:, rows[:, None], columns]


def full_cams(arrays: Mapping[str, np.ndarray], size: tuple[int, int]) -> torch.Tensor:
    """CAMs (K, H, W) at the size of the photo, in 0..1, float32: what seeds and IRN labels are made of.

    Args:
        arrays: of an image's member of a CAM archive, see `ssc.stages.cams`: `high_res` is taken as it is; of
            `scale_0`, `scale_1`, ... the sum is taken (`cams.stride: 1`); else `cams`, at stride 4, is enlarged.
        size: (H, W).
    """
    if "high_res" in arrays:
        return torch.from_numpy(arrays["high_res"].astype(np.float32))
    scales = [torch.from_numpy(arrays[key].astype(np.float32)) for key in arrays if key.startswith("scale_")]
    if not scales:
        return upsample(torch.from_numpy(arrays["cams"].astype(np.float32)), size)
    return sum_scales([each[:, None] for each in scales], size, stride=1)[:, 0].clamp(max=1)
