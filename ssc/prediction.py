"""Inference of the segmentation network, or of a co-trained pair: scales, mirror images, optional dense CRF."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ssc import archive
from ssc.crf import refine_probabilities
from ssc.data.index import Row, read_index
from ssc.data.transforms import scaled_view
from ssc.device import select_device, select_precision
from ssc.inference import Photo, infer, pixel_budget, stack_views
from ssc.models.deeplab import DeepLabV2, mean_logits
from ssc.parallel import parallel_map
from ssc.progress import track
from ssc.provenance import result_identity
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
    """Class probabilities (B, K, H, W) of B photos of `size` (H, W) after each step but the CRF (see `step_names`).

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


def crf_labels(image: np.ndarray, scores: np.ndarray, crf: dict) -> np.ndarray:
    """Label map (H, W) of a photo (H, W, 3) uint8 and class probabilities (K, H, W), refined by `prediction.crf`."""
    refined = refine_probabilities(
        image,
        scores,
        iterations=crf["iterations"],
        gaussian=(crf["gaussian_sxy"], crf["gaussian_weight"]),
        bilateral=(crf["bilateral_sxy"], crf["bilateral_srgb"], crf["bilateral_weight"]),
    )
    return refined.argmax(axis=0)


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
    if settings["crf"]["enabled"]:
        labels.append(crf_labels(image, scores[-1].cpu().numpy(), settings["crf"]))
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
    threads: int = 1,
) -> None:
    """Predict one shard of a split into archives of palette PNGs.

    Args:
        index, split, shard: the images.
        weights: weight file with the part `segmentation`, and `segmentation_2` of a co-trained pair.
        output: archive to write: the predictions.
        steps: archive to write: what the steps before the last gave, as `<step>/<image id>.png`.
        settings: the `prediction` section of the config.
        device, precision: see the config.
        threads: photos read, and results refined and compressed, at the same time.
    """
    device = select_device(device)
    precision = select_precision(precision, device)
    networks = load_networks(weights, device=device)
    options = {"scales": settings["scales"], "flip": settings["flip"], "precision": precision}

    def predict(photos: list[Photo]) -> list[tuple[Row, np.ndarray, list[np.ndarray], np.ndarray | None]]:
        size = photos[0].image.shape[:2]
        scores = batch_probabilities(networks, stack_views(photos, device), size=size, **options)
        labels = [each.argmax(dim=1).cpu().numpy() for each in scores]
        last = scores[-1].cpu().numpy() if settings["crf"]["enabled"] else [None] * len(photos)
        return [
            (photo.row, photo.image, maps, final) for photo, *maps, final in zip(photos, *labels, last, strict=True)
        ]

    def encode(predicted: tuple[Row, np.ndarray, list[np.ndarray], np.ndarray | None]) -> tuple[Row, list[bytes]]:
        row, image, labels, scores = predicted
        if scores is not None:
            labels = [*labels, crf_labels(image, scores, settings["crf"])]
        return row, [archive.encode_labels(each) for each in labels]

    rows = read_index(index).shard(split, shard)
    *early, _ = step_names(settings)
    names = {row.id: [f"{step}/{row.id}.png" for step in early] for row in rows}
    identity = result_identity(__name__, {"settings": settings, "precision": precision}, [weights])
    keys = {f"{row.id}.png": row.key for row in rows}
    early_keys = {name: row.key for row in rows for name in names[row.id]}
    with (
        archive.resume(output, identity=identity, keys=keys) as out,
        archive.resume(steps, identity=identity, keys=early_keys) as before,
    ):
        rows = [row for row in rows if f"{row.id}.png" not in out or any(name not in before for name in names[row.id])]
        found = infer(predict, rows, view_scales(settings["scales"]), pixels=pixel_budget(device), threads=threads)
        for row, maps in track(parallel_map(encode, found, threads), f"predictions {shard}", len(rows)):
            out.add_bytes(f"{row.id}.png", maps[-1])
            for name, data in zip(names[row.id], maps[:-1], strict=True):
                before.add_bytes(name, data)
