"""Inference of the segmentation network: scales, mirror images, optional dense CRF."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ssc import archive
from ssc.crf import refine_probabilities
from ssc.data.index import read_index
from ssc.data.transforms import normalise, read_image, resize_image, scaled_size
from ssc.device import autocast, select_device
from ssc.models.deeplab import DeepLabV2
from ssc.progress import track
from ssc.weights import load_part

# The constants of the paper's test-time CRF, for callers without a configuration.
CRF_DEFAULTS = {
    "iterations": 10,
    "gaussian_sxy": 1,
    "gaussian_weight": 3,
    "bilateral_sxy": 67,
    "bilateral_srgb": 3,
    "bilateral_weight": 4,
}


@torch.no_grad()
def probabilities(
    model: DeepLabV2, image: np.ndarray, *, scales: Sequence[float] = (1.0,), flip: bool = True, precision: str = "fp32"
) -> torch.Tensor:
    """Class probabilities (K, H, W) of a photo (H, W, 3) uint8: softmax averaged over scales and mirror images."""
    device = next(model.parameters()).device
    size = image.shape[:2]
    total = torch.zeros((), device=device)
    for scale in scales:
        view = normalise(resize_image(image, scaled_size(size, scale)))
        views = torch.stack([view, view.flip(-1)] if flip else [view]).to(device)
        with autocast(device, precision):
            logits = model(views)
        scores = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False).softmax(dim=1)
        total = total + ((scores[0] + scores[1].flip(-1)) / 2 if flip else scores[0])
    return total / len(scales)


def predict_labels(model: DeepLabV2, image: np.ndarray, settings: dict, *, precision: str = "fp32") -> np.ndarray:
    """Label map (H, W) of a photo (H, W, 3) uint8.

    Args:
        model: network in evaluation mode.
        image: the photo.
        settings: the `prediction` section of the config (scales, flip, crf).
        precision: see the config.
    """
    scores = probabilities(model, image, scales=settings["scales"], flip=settings["flip"], precision=precision)
    crf = settings["crf"]
    if not crf["enabled"]:
        return scores.argmax(dim=0).cpu().numpy()
    refined = refine_probabilities(
        image,
        scores.cpu().numpy(),
        iterations=crf["iterations"],
        gaussian=(crf["gaussian_sxy"], crf["gaussian_weight"]),
        bilateral=(crf["bilateral_sxy"], crf["bilateral_srgb"], crf["bilateral_weight"]),
    )
    return refined.argmax(axis=0)


def write_predictions(
    *,
    index: str | Path,
    split: str,
    shard: str,
    weights: str | Path,
    output: str | Path,
    settings: dict,
    device: str = "auto",
    precision: str = "auto",
) -> None:
    """Predict one shard of a split into an archive of palette PNGs.

    Args:
        index, split, shard: the images.
        weights: weight file with the part `segmentation`.
        output: archive to write.
        settings: the `prediction` section of the config.
        device, precision: see the config.
    """
    model = load_part(weights, "segmentation", DeepLabV2, device=select_device(device))
    with archive.write(output) as out:
        for row in track(read_index(index).shard(split, shard), f"predictions {shard}"):
            out.add_labels(row.id, predict_labels(model, read_image(row.image), settings, precision=precision))
