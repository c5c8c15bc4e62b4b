"""Inference of the segmentation network, or of a co-trained pair: scales, mirror images, optional dense CRF."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ssc import archive
from ssc.crf import refine_probabilities
from ssc.data.index import read_index
from ssc.data.transforms import normalise, read_image, resize_image, scaled_size
from ssc.device import select_device
from ssc.models.deeplab import DeepLabV2, mean_logits
from ssc.progress import track
from ssc.steps import step_names
from ssc.weights import load_part, read_header

# The constants of the paper's test-time CRF, for callers without a configuration.
CRF_DEFAULTS = {
    "iterations": 10,
    "gaussian_sxy": 1,
    "gaussian_weight": 3,
    "bilateral_sxy": 67,
    "bilateral_srgb": 3,
    "bilateral_weight": 4,
}


def load_networks(path: str | Path, *, device: torch.device | str = "cpu") -> list[DeepLabV2]:
    """The segmentation network of a weight file, or both networks of a co-trained pair, in evaluation mode.

    Raises:
        InputError: the file holds no segmentation network, or its tensors do not fit.
    """
    paired = "segmentation_2" in read_header(path)["parts"]
    names = ["segmentation", "segmentation_2"] if paired else ["segmentation"]
    return [load_part(path, name, DeepLabV2, device=device) for name in names]


@torch.no_grad()
def view_probabilities(
    networks: Sequence[DeepLabV2], image: np.ndarray, *, scale: float = 1.0, flip: bool = True, precision: str = "fp32"
) -> torch.Tensor:
    """Class probabilities (V, K, H, W) that a photo (H, W, 3) uint8 gets from its view at one scale.

    Softmax of the networks' mean logits; with `flip` V is 2, the second being that of the mirror image, mirrored back.
    """
    size = image.shape[:2]
    view = normalise(resize_image(image, scaled_size(size, scale)))
    views = torch.stack([view, view.flip(-1)] if flip else [view]).to(next(networks[0].parameters()).device)
    scores = mean_logits(networks, views, size=size, precision=precision).softmax(dim=1)
    return torch.stack([scores[0], scores[1].flip(-1)]) if flip else scores


def probabilities(
    networks: Sequence[DeepLabV2],
    image: np.ndarray,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = True,
    precision: str = "fp32",
) -> list[torch.Tensor]:
    """Class probabilities (K, H, W) of a photo (H, W, 3) uint8 after each step but the CRF (see `step_names`).

    A single scale is 1, or the only one; then the mean over all scales; then the mean over these and their mirror
    images. One pass serves all of them.
    """
    single = 1.0 if len(scales) > 1 else scales[0]
    total, first = 0, None
    for scale in scales:
        views = view_probabilities(networks, image, scale=scale, flip=flip, precision=precision)
        total = total + views
        if scale == single:
            first = views[0]
    if first is None:
        first = view_probabilities(networks, image, scale=single, flip=False, precision=precision)[0]
    means = [first]
    if len(scales) > 1:
        means.append(total[0] / len(scales))
    if flip:
        means.append(total.mean(dim=0) / len(scales))
    return means


def predict_steps(
    networks: Sequence[DeepLabV2], image: np.ndarray, settings: dict, *, precision: str = "fp32"
) -> dict[str, np.ndarray]:
    """Label maps (H, W) of a photo (H, W, 3) uint8 after each test-time step, by its name; the last is the prediction.

    Args:
        networks: one network or a co-trained pair, in evaluation mode.
        image: the photo.
        settings: the `prediction` section of the config (scales, flip, crf).
        precision: see the config.
    """
    scores = probabilities(networks, image, scales=settings["scales"], flip=settings["flip"], precision=precision)
    labels = [each.argmax(dim=0).cpu().numpy() for each in scores]
    crf = settings["crf"]
    if crf["enabled"]:
        refined = refine_probabilities(
            image,
            scores[-1].cpu().numpy(),
            iterations=crf["iterations"],
            gaussian=(crf["gaussian_sxy"], crf["gaussian_weight"]),
            bilateral=(crf["bilateral_sxy"], crf["bilateral_srgb"], crf["bilateral_weight"]),
        )
        labels.append(refined.argmax(axis=0))
    return dict(zip(step_names(settings), labels, strict=True))


def predict_labels(
    networks: Sequence[DeepLabV2], image: np.ndarray, settings: dict, *, precision: str = "fp32"
) -> np.ndarray:
    """The prediction alone: the last of `predict_steps`."""
    return list(predict_steps(networks, image, settings, precision=precision).values())[-1]


def write_predictions(
    *,
    index: str | Path,
    split: str,
    shard: str,
    weights: str | Path,
    output: str | Path,
    steps: str | Path,
    settings: dict,
    device: str = "auto",
    precision: str = "auto",
) -> None:
    """Predict one shard of a split into archives of palette PNGs.

    Args:
        index, split, shard: the images.
        weights: weight file with the part `segmentation`, and `segmentation_2` of a co-trained pair.
        output: archive to write: the predictions.
        steps: archive to write: what the steps before the last gave, as `<step>/<image id>.png`.
        settings: the `prediction` section of the config.
        device, precision: see the config.
    """
    networks = load_networks(weights, device=select_device(device))
    with archive.write(output) as out, archive.write(steps) as before:
        for row in track(read_index(index).shard(split, shard), f"predictions {shard}"):
            found = predict_steps(networks, read_image(row.image), settings, precision=precision)
            _, labels = found.popitem()
            out.add_labels(row.id, labels)
            for name, step_labels in found.items():
                before.add_labels(f"{name}/{row.id}", step_labels)
