"""Pictures of label maps, activations and regions, uint8 (H, W, 3)."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from skimage.color import gray2rgb
from skimage.morphology import dilation
from skimage.segmentation import find_boundaries
from skimage.util import img_as_ubyte

from ssc.constants import IGNORE, voc_palette

# Colours, uint8 (H, W, 3), and their opacity (H, W) in 0..1.
Layer = tuple[np.ndarray, np.ndarray]

PALETTE = np.array(voc_palette(), np.uint8).reshape(256, 3)
IGNORE_COLOUR = (211, 211, 211)
_LINE_COLOUR = (255, 235, 59)


def css_colour(colour: Sequence[int]) -> str:
    """A colour, red, green and blue in 0..255, as `#rrggbb`."""
    return "#" + bytes(int(value) for value in colour).hex()


def colourise(labels: np.ndarray) -> np.ndarray:
    """Label map (H, W) with values 0..255 as a picture in the VOC palette, uint8 (H, W, 3); background is black.

    Raises:
        ValueError: a label lies outside 0..255.
    """
    if labels.size and not 0 <= labels.min() <= labels.max() <= 255:
        raise ValueError(f"labels lie in {labels.min()}..{labels.max()}, not in 0..255")
    return PALETTE[labels]


def overlay(image: np.ndarray, labels: np.ndarray, alpha: float = 0.55) -> np.ndarray:
    """Labels above 0 blended over their photo, as `label_layer` has them.

    Args:
        image: uint8 (H, W, 3).
        labels, alpha: see `label_layer`.

    Returns:
        uint8 (H, W, 3); the photo itself where the label is 0.

    Raises:
        ValueError: the shapes differ, or a label lies outside 0..255.
    """
    if image.shape != (*labels.shape, 3):
        raise ValueError(f"image {image.shape} and labels {labels.shape} differ in size")
    return _blend(image, *label_layer(labels, alpha))


def label_layer(labels: np.ndarray, alpha: float = 0.55) -> Layer:
    """What labels above 0 lay over their photo; the outermost pixels of each region are stronger.

    Args:
        labels: integers (H, W) in 0..255; 255 (ignored) is drawn light grey, other labels in the VOC palette.
        alpha: opacity of the colours, 0..1.

    Raises:
        ValueError: a label lies outside 0..255.
    """
    colours = colourise(labels)
    colours[labels == IGNORE] = IGNORE_COLOUR
    return colours, np.where(find_boundaries(labels), (1 + alpha) / 2, alpha) * (labels > 0)


def heat(image: np.ndarray, cams: torch.Tensor) -> np.ndarray:
    """Largest of the CAMs (K, H, W) at each pixel as a heat map over the photo, which shows where it is low."""
    return _blend(image, *heat_layer(cams)) if len(cams) else image


def heat_layer(cams: torch.Tensor) -> Layer:
    """What `heat` lays over the photo; there must be a CAM."""
    strongest = cams.amax(dim=0).clamp(0, 1).numpy()
    return matplotlib.colormaps["turbo"](strongest, bytes=True)[..., :3], 0.25 + 0.5 * strongest


def outlines(image: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """The photo with a line, one pixel wide, where the regions (H, W) of neighbouring pixels differ."""
    # `find_boundaries` marks the pixels on both sides, too much for a small picture of many regions.
    return np.where((dilation(regions) > regions)[..., None], np.uint8(_LINE_COLOUR), image)


def grey(values: torch.Tensor) -> np.ndarray:
    """Map (h, w) in 0..1 as a grey picture, uint8 (h, w, 3)."""
    return gray2rgb(img_as_ubyte(values.cpu().numpy()))


def _blend(image: np.ndarray, colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    image = image.astype(np.float32)
    return np.rint(image + opacity[..., None] * (colours - image)).astype(np.uint8)
