"""A trained segmentation network as a function of photos: what `ssc.load` gives and `ssc predict` runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ssc.cams import resize_maps
from ssc.data.photos import read_image, shrunk_size
from ssc.data.shrink import shrink_photo
from ssc.models.deeplab import load_networks
from ssc.models.weights import read_header
from ssc.prediction import probabilities, refined_probabilities
from ssc.report.pictures import PALETTE, css_colour, overlay
from ssc.runtime.device import any_size, select_device
from ssc.runtime.files import read_json
from ssc.workflow.settings import Prediction

_AS_IT_IS = {"scales": [1.0], "flip": False, "crf": {"enabled": False}}


@dataclass(frozen=True)
class Segmentation:
    """What a photo shows.

    Attributes:
        image: the photo, uint8 (H, W, 3), upright.
        labels: uint8 (H, W), 0 background, 1..C classes.
        probabilities: float32 (C + 1, H, W), 0..1; they sum to 1 at each pixel.
        classes: the C + 1 names, the first being `background`.
    """

    image: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    classes: tuple[str, ...]

    @property
    def overlay(self) -> np.ndarray:
        """The labels in colours over the photo, uint8 (H, W, 3)."""
        return overlay(self.image, self.labels)

    def regions(self) -> Iterator[tuple[str, float, float, str]]:
        """Name, share of the photo (0..1), mean probability (0..1) and colour (#rrggbb) of each class that it shows."""
        for label in np.unique(self.labels).tolist():
            shown = self.labels == label
            confidence = float(self.probabilities[label][shown].mean())
            yield self.classes[label], float(shown.mean()), confidence, css_colour(PALETTE[label])


class Segmenter:
    """The segmentation network of a weight file, or both networks of a co-trained pair.

    Args:
        networks: in evaluation mode, on their device.
        classes: names of the C foreground classes.
        settings: test-time scales, mirror images, fusion and CRF.
        max_side: larger photos are seen with a longer side of as many pixels; None takes them as they are.
    """

    def __init__(
        self, networks: Sequence[nn.Module], classes: Sequence[str], settings: Prediction, max_side: int | None = None
    ):
        self.networks, self.classes = networks, ("background", *classes)
        self.settings, self.max_side = settings, max_side

    def predict(self, photo: str | Path | np.ndarray) -> Segmentation:
        """Segment a photo: a file, or uint8 (H, W, 3). The result has its size, in whatever size it was seen.

        Raises:
            InputError: the file is absent, damaged, or no photo.
        """
        image = photo if isinstance(photo, np.ndarray) else read_image(photo)
        large = self.max_side is not None and max(image.shape[:2]) > self.max_side
        seen = shrink_photo(image, shrunk_size(image.shape[:2], self.max_side)) if large else image
        own = self.settings
        options = {"scales": own.scales, "flip": own.flip, "square": own.square, "how": own.fuse}
        with any_size():
            scores = probabilities(self.networks, seen, **options)[-1].cpu().numpy()
        if own.crf.enabled:
            scores = refined_probabilities(seen, scores, own.crf.options(), colours=own.crf.colours)
        scores = resize_maps(torch.from_numpy(scores), image.shape[:2]).numpy()
        return Segmentation(image, scores.argmax(axis=0).astype(np.uint8), scores, self.classes)


def load(weights: str | Path, *, device: str = "auto", settings: Prediction | None = None) -> Segmenter:
    """Load a trained segmentation network.

    What the run did whose `manifest.json` lies beside the weights is done here too: photos are seen at its
    `dataset.max_side`, with its test-time views and CRF.

    Args:
        weights: `segmentation.safetensors` of a run.
        device: `auto`, `cpu`, `cuda` or `cuda:<n>`.
        settings: of the views and the CRF; None takes the run's, or without a manifest the photo at its own size alone.

    Raises:
        InputError: the file or the device cannot be used.
    """
    networks = load_networks(weights, device=select_device(device))
    settings = settings or settings_beside(weights)
    max_side = _config_beside(weights).get("dataset", {}).get("max_side")
    return Segmenter(networks, read_header(weights)["facts"]["classes"], settings, max_side)


def settings_beside(weights: str | Path) -> Prediction:
    """Test-time settings of the run that the weights lie in; see `load`."""
    config = _config_beside(weights)
    return Prediction.model_validate(config["prediction"] if config else _AS_IT_IS)


def _config_beside(weights: str | Path) -> dict:
    """The configuration of the run that the weights lie in; empty where no manifest is, or one of another program."""
    manifest = Path(weights).with_name("manifest.json")
    config = read_json(manifest).get("config") if manifest.is_file() else None
    return config if isinstance(config, dict) and "prediction" in config else {}
