"""Geometry of training samples, applied to a photo and its label maps alike; numpy and Pillow only.

Every random choice is drawn from the generator passed in, so that a sample depends on (seed, epoch, position)
alone and not on the number of loader workers.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from ssc.errors import InputError

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

# What Pillow raises on damaged files; struct.error comes from EXIF.
_UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)


def read_image(path: str | Path) -> np.ndarray:
    """Photo as uint8 (H, W, 3), turned upright by its EXIF orientation.

    16-bit values become their high byte; transparency is dropped.

    Raises:
        InputError: the file is absent, no readable image, or has 32 bits per pixel, whose range is not known.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise InputError(f"The image {path} does not exist; the index is older than the data, make it again.") from None
    except _UNREADABLE as error:
        raise InputError(f"The image {path} cannot be read ({error}); replace it or take it out of the data.") from None
    if upright.mode in ("I", "F"):
        raise InputError(f"The image {path} has 32-bit grey values; save it with 8 or 16 bits.")
    if upright.mode.startswith("I;16"):
        # Pillow's conversion to RGB would clip at 255.
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    return np.asarray(upright.convert("RGB"))


def normalise(image: np.ndarray) -> torch.Tensor:
    """uint8 (H, W, 3) to an ImageNet-normalised float32 tensor (3, H, W)."""
    scaled = (image.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bicubic resize of uint8 (H, W, 3) to `size` = (height, width)."""
    if image.shape[:2] == tuple(size):
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest-neighbour resize of an integer map (H, W) to `size` = (height, width); pixel centres are matched."""
    if labels.shape == tuple(size):
        return labels
    rows = ((np.arange(size[0]) + 0.5) * labels.shape[0] / size[0]).astype(np.intp)
    columns = ((np.arange(size[1]) + 0.5) * labels.shape[1] / size[1]).astype(np.intp)
    return labels[rows[:, None], columns]


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(height, width) times `scale`, rounded, at least one pixel."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def random_crop(
    arrays: Sequence[np.ndarray], fills: Sequence[int], size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """The same random `size` x `size` window of all arrays (H, W[, 3]); beyond the border it holds `fills`.

    An array smaller than the window is placed at a random position inside it.
    """
    height, width = arrays[0].shape[:2]
    target, source = [], []
    for side in (height, width):
        space = size - side
        offset = int(rng.integers(0, abs(space) + 1))
        length = min(side, size)
        target.append(slice(offset, offset + length) if space > 0 else slice(0, length))
        source.append(slice(0, length) if space > 0 else slice(offset, offset + length))
    crops = []
    for array, fill in zip(arrays, fills, strict=True):
        crop = np.full((size, size, *array.shape[2:]), fill, array.dtype)
        crop[tuple(target)] = array[tuple(source)]
        crops.append(crop)
    return crops


def augment(
    image: np.ndarray,
    labels: Sequence[np.ndarray],
    *,
    scale: float,
    fills: Sequence[int],
    crop: int,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Resize by `scale`, mirror with probability 1/2, crop.

    Args:
        image: uint8 (H, W, 3).
        labels: integer maps (H, W) that move with the image.
        scale: factor for both sides.
        fills: label outside the image, one per map; outside, the normalised image is 0.
        crop: side of the square window.
        rng: source of the random choices.

    Returns:
        Normalised image (3, crop, crop) and int64 maps (crop, crop).
    """
    size = scaled_size(image.shape[:2], scale)
    arrays = [resize_image(image, size), *(resize_labels(array, size) for array in labels)]
    if rng.random() < 0.5:
        arrays = [array[:, ::-1] for array in arrays]
    inside = np.ones(size, np.bool_)
    window, inside, *maps = random_crop([arrays[0], inside, *arrays[1:]], [0, 0, *fills], crop, rng)
    return normalise(window) * torch.from_numpy(inside), [torch.from_numpy(m.astype(np.int64)) for m in maps]
