"""Inference of the segmentation network, or of a co-trained pair: scales, mirror images, optional dense CRF."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from ssc.crf import refine_probabilities
from ssc.data.transforms import normalise, scaled_size, scaled_views
from ssc.models.deeplab import DeepLabV2, mean_logits

_CRF_MEAN = (122.675, 116.669, 104.008)


def view_scales(scales: Sequence[float]) -> list[float]:
    """Scales of the views of a photo: all of `scales`, and 1 if several lack it."""
    return [*scales] if len(scales) == 1 or 1 in scales else [*scales, 1.0]


def photo_views(image: np.ndarray, scales: Sequence[float], *, square: int | None = None) -> list[torch.Tensor]:
    """Network inputs (3, h, w) of a photo (H, W, 3) uint8, one for each of `view_scales`.

    A view is the photo resized; with `square` the photo becomes a square of that side first, and it is the normalised
    square that is resized, bilinearly and without smoothing [R].
    """
    if square is None:
        return scaled_views(image, view_scales(scales))
    resized = Image.fromarray(image).resize((square, square), Image.Resampling.BILINEAR)
    base = normalise(np.asarray(resized))[None]
    sizes = [scaled_size((square, square), scale) for scale in view_scales(scales)]
    return [F.interpolate(base, size=size, mode="bilinear", align_corners=False)[0] for size in sizes]


def fuse(scores: torch.Tensor | Iterable[torch.Tensor], how: str = "mean_probability") -> torch.Tensor:
    """One map of a photo's views.

    Args:
        scores: logits (V, K, H, W), or V >= 1 maps (K, H, W) that are made one by one.
        how: `mean_probability`, the mean of their softmax, or `max_logit`, the largest logit of each class [R].

    Returns:
        (K, H, W): probabilities, or logits.
    """
    if how not in ("mean_probability", "max_logit"):
        raise ValueError(f"how is {how!r}, not mean_probability or max_logit")
    total, count = None, 0
    for own in scores:
        own = own.softmax(dim=0) if how == "mean_probability" else own
        if total is not None:
            own = total + own if how == "mean_probability" else torch.maximum(total, own)
        total, count = own, count + 1
    return total / count if how == "mean_probability" else total


def batch_probabilities(
    networks: Sequence[DeepLabV2],
    views: Sequence[torch.Tensor],
    *,
    size: tuple[int, int],
    scales: Sequence[float] = (1.0,),
    flip: bool = True,
    how: str = "mean_probability",
    precision: str = "fp32",
) -> Iterator[list[torch.Tensor]]:
    """Class probabilities (K, H, W) of each of B photos of `size` (H, W) after each step but the CRF.

    A single scale is 1, or the only one; then all scales are fused; then these and their mirror images. One pass
    serves all. `views` (B, 3, h, w) lie on the networks' device, one for each of `view_scales`.
    """
    single = view_scales(scales).index(1.0) if len(scales) > 1 else 0
    plain, mirrored = [], []
    for number, view in enumerate(views):
        both = flip and number < len(scales)
        with torch.no_grad():
            logits = mean_logits(networks, torch.cat([view, view.flip(-1)]) if both else view, precision=precision)
        plain.append(logits[: len(view)])
        if both:
            mirrored.append(logits[len(view) :].flip(-1))
    steps = [[plain[single]]]
    if len(scales) > 1:
        steps.append(plain[: len(scales)])
    if flip:
        steps.append([*plain[: len(scales)], *mirrored])
    grid = size if how == "mean_probability" else plain[single].shape[-2:]
    for photo in range(len(views[0])):
        fused = [fuse((_resize(each[photo], grid) for each in step), how) for step in steps]
        yield fused if how == "mean_probability" else [_resize(each, size).softmax(dim=0) for each in fused]


def _resize(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def probabilities(
    networks: Sequence[DeepLabV2],
    image: np.ndarray,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = True,
    square: int | None = None,
    how: str = "mean_probability",
    precision: str = "fp32",
) -> list[torch.Tensor]:
    """`batch_probabilities` of one photo (H, W, 3) uint8: (K, H, W) after each step."""
    device = next(networks[0].parameters()).device
    views = [view[None].to(device) for view in photo_views(image, scales, square=square)]
    options = {"size": image.shape[:2], "scales": scales, "flip": flip, "how": how, "precision": precision}
    return next(batch_probabilities(networks, views, **options))


def wrapped_colours(image: np.ndarray) -> np.ndarray:
    """What the released CRF sees of a photo, uint8 (H, W, 3): its colours less their mean, cut to integers modulo 256,
    so that a colour below the mean becomes a bright one [R]."""
    return np.trunc(image.astype(np.float32) - np.float32(_CRF_MEAN)).astype(np.int32).astype(np.uint8)


def refined_probabilities(image: np.ndarray, scores: np.ndarray, crf: Mapping, *, colours: str = "photo") -> np.ndarray:
    """Class probabilities (K, H, W) after the dense CRF; see `predict_steps` for the arguments."""
    seen = wrapped_colours(image) if colours == "wrapped" else image
    return refine_probabilities(seen, scores, **crf)


def refined_labels(image: np.ndarray, scores: np.ndarray, crf: Mapping, *, colours: str = "photo") -> np.ndarray:
    """Labels (H, W) of class probabilities (K, H, W) after the dense CRF."""
    return refined_probabilities(image, scores, crf, colours=colours).argmax(axis=0)


def predict_steps(
    networks: Sequence[DeepLabV2],
    image: np.ndarray,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = True,
    square: int | None = None,
    how: str = "mean_probability",
    crf: Mapping | None = None,
    colours: str = "photo",
    precision: str = "fp32",
) -> list[np.ndarray]:
    """Label maps (H, W) of a photo (H, W, 3) uint8 after each test-time step; the last is the prediction.

    The steps are those of `probabilities` and, with `crf`, the dense CRF on top of them.

    Args:
        networks: one network or a co-trained pair, in evaluation mode.
        image: the photo.
        scales, flip: of the test-time views.
        square: see `photo_views`.
        how: see `fuse`.
        crf: keyword arguments of `ssc.crf.refine_probabilities`, or None.
        colours: that it sees: of the `photo`, or `wrapped`, see `wrapped_colours`.
        precision: `fp32` or `bf16`.
    """
    options = {"scales": scales, "flip": flip, "square": square, "how": how, "precision": precision}
    scores = probabilities(networks, image, **options)
    labels = [each.argmax(dim=0).cpu().numpy() for each in scores]
    if crf is not None:
        labels.append(refined_labels(image, scores[-1].cpu().numpy(), crf, colours=colours))
    return labels
