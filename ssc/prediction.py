"""Inference of the segmentation network, or of a co-trained pair: scales, mirror images, optional dense CRF."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ssc.crf import refine_probabilities
from ssc.data.transforms import scaled_view
from ssc.models.deeplab import DeepLabV2, mean_logits

TEST_CRF = {"iterations": 10, "gaussian": (1, 3), "bilateral": (67, 3, 4)}
"""The paper's dense CRF at test time, as keyword arguments of `ssc.crf.refine_probabilities`."""


def view_scales(scales: Sequence[float]) -> list[float]:
    """Scales of the views that `batch_probabilities` takes: all of `scales`, and 1 if several lack it."""
    return [*scales] if len(scales) == 1 or 1 in scales else [*scales, 1.0]


@torch.no_grad()
def view_probabilities(
    networks: Sequence[DeepLabV2],
    views: torch.Tensor,
    *,
    size: tuple[int, int],
    flip: bool = True,
    precision: str = "fp32",
) -> torch.Tensor:
    """Class probabilities (V, B, K, H, W) that photos of `size` (H, W) get from their views (B, 3, h, w) at one scale.

    Softmax of the networks' mean logits; with `flip` V is 2, the second being that of the mirror image, mirrored back.
    """
    both = torch.cat([views, views.flip(-1)]) if flip else views
    scores = mean_logits(networks, both, size=size, precision=precision).softmax(dim=1)
    return torch.stack([scores[: len(views)], scores[len(views) :].flip(-1)]) if flip else scores[None]


def batch_probabilities(
    networks: Sequence[DeepLabV2],
    views: Sequence[torch.Tensor],
    *,
    size: tuple[int, int],
    scales: Sequence[float] = (1.0,),
    flip: bool = True,
    precision: str = "fp32",
) -> list[torch.Tensor]:
    """Class probabilities (B, K, H, W) of B photos of `size` (H, W) after each step but the CRF.

    A single scale is 1, or the only one; then the mean over all scales; then the mean over these and their mirror
    images. One pass serves all. `views` (B, 3, h, w) lie on the networks' device, one for each of `view_scales`.
    """
    single = 1.0 if len(scales) > 1 else scales[0]
    total, first = 0, None
    for number, (scale, view) in enumerate(zip(view_scales(scales), views, strict=True)):
        averaged = number < len(scales)
        scores = view_probabilities(networks, view, size=size, flip=flip and averaged, precision=precision)
        if averaged:
            total = total + scores
        if scale == single:
            first = scores[0]
    means = [first]
    if len(scales) > 1:
        means.append(total[0] / len(scales))
    if flip:
        means.append(total.mean(dim=0) / len(scales))
    return means


def probabilities(
    networks: Sequence[DeepLabV2],
    image: np.ndarray,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = True,
    precision: str = "fp32",
) -> list[torch.Tensor]:
    """`batch_probabilities` of one photo (H, W, 3) uint8: (K, H, W) after each step."""
    device = next(networks[0].parameters()).device
    views = [scaled_view(image, scale)[None].to(device) for scale in view_scales(scales)]
    found = batch_probabilities(networks, views, size=image.shape[:2], scales=scales, flip=flip, precision=precision)
    return [scores[0] for scores in found]


def predict_steps(
    networks: Sequence[DeepLabV2],
    image: np.ndarray,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = True,
    crf: Mapping | None = None,
    precision: str = "fp32",
) -> list[np.ndarray]:
    """Label maps (H, W) of a photo (H, W, 3) uint8 after each test-time step; the last is the prediction.

    The steps are those of `probabilities` and, with `crf`, the dense CRF on top of them.

    Args:
        networks: one network or a co-trained pair, in evaluation mode.
        image: the photo.
        scales, flip: of the test-time views.
        crf: keyword arguments of `ssc.crf.refine_probabilities`, or None.
        precision: `fp32` or `bf16`.
    """
    scores = probabilities(networks, image, scales=scales, flip=flip, precision=precision)
    labels = [each.argmax(dim=0).cpu().numpy() for each in scores]
    if crf is not None:
        labels.append(refine_probabilities(image, scores[-1].cpu().numpy(), **crf).argmax(axis=0))
    return labels
