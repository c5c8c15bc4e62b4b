"""Geometry of training samples, applied to a photo and its label maps alike; numpy and Pillow only.

Every random choice is drawn from the generator passed in, so that a sample depends on (seed, epoch, position)
alone and not on the number of loader workers.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from ssc.constants import MEAN, STD
from ssc.data.photos import Size


def normalise(image: np.ndarray) -> torch.Tensor:
    """uint8 (H, W, 3) to an ImageNet-normalised float32 tensor (3, H, W)."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
    planes /= 255
    planes -= np.float32(MEAN)[:, None, None]
    planes /= np.float32(STD)[:, None, None]
    return torch.from_numpy(planes)


def scaled_view(image: np.ndarray, scale: float) -> torch.Tensor:
    """Network input (3, h, w) of a photo (H, W, 3) uint8 at `scale` times its size."""
    return normalise(resize_image(image, scaled_size(image.shape[:2], scale)))


def scaled_views(image: np.ndarray, scales: Sequence[float]) -> list[torch.Tensor]:
    """`scaled_view` for each of some scales."""
    return [scaled_view(image, scale) for scale in scales]


def resize_image(image: np.ndarray, size: Size) -> np.ndarray:
    """Bicubic resize of uint8 (H, W, 3) to `size` = (height, width)."""
    if image.shape[:2] == tuple(size):
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))


def resize_labels(labels: np.ndarray, size: Size) -> np.ndarray:
    """Nearest-neighbour resize of an integer map (H, W) to `size` = (height, width); pixel centres are matched."""
    if labels.shape == tuple(size):
        return labels
    return _labels_in_window(labels, size, [range(side) for side in size])


def _labels_in_window(labels: np.ndarray, size: Size, window: Sequence[range]) -> np.ndarray:
    """Rows and columns `window` of a label map resized to `size`."""
    rows, columns = (
        ((np.asarray(part) + 0.5) * old / new).astype(np.intp)
        for part, old, new in zip(window, labels.shape, size, strict=True)
    )
    return labels[rows[:, None], columns]


def _image_in_window(image: np.ndarray, size: Size, window: Sequence[range]) -> np.ndarray:
    """Rows and columns `window` of `resize_image(image, size)`, for a part of its cost.

    Pillow too resizes along the rows first and rounds between its two passes. Each pass here sees a whole side, so that
    its coefficients are those of the whole photo: Pillow's own `box` goes through single precision and changes them.
    The pixels are thus the same, but for photos over twice as high as wide: those Pillow may shrink in height first.
    """
    rows, columns = window
    height, width = image.shape[:2]
    scale = height / size[0]
    reach = 2 * max(scale, 1) + 2  # of the bicubic kernel, in rows of the photo
    first, last = max(0, int(rows.start * scale - reach)), min(height, int(rows.stop * scale + reach) + 1)
    wide = Image.fromarray(image[first:last])
    if width != size[1]:
        wide = wide.resize((size[1], last - first), Image.Resampling.BICUBIC)
    part = wide.crop((columns.start, 0, columns.stop, last - first))
    if height != size[0]:
        strip = Image.new("RGB", (len(columns), height))
        strip.paste(part, (0, first))
        first, part = 0, strip.resize((len(columns), size[0]), Image.Resampling.BICUBIC)
    return np.asarray(part)[rows.start - first : rows.stop - first]


def scaled_size(size: Size, scale: float) -> Size:
    """(height, width) times `scale`, rounded, at least one pixel."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def random_window(size: Size, crop: int, rng: np.random.Generator) -> tuple[list[range], list[slice]]:
    """A random `crop` x `crop` window of a picture: its rows and columns, and where they lie in the window.

    A picture smaller than the window is placed at a random position inside it.
    """
    window, place = [], []
    for side in size:
        offset = int(rng.integers(0, abs(crop - side) + 1))
        length = min(side, crop)
        start, inside = (offset, 0) if side >= crop else (0, offset)
        window.append(range(start, start + length))
        place.append(slice(inside, inside + length))
    return window, place


def random_part(size: Size, *, area: Sequence[float], aspect: Sequence[float], rng: np.random.Generator) -> list[range]:
    """Rows and columns of a random part of a picture: its share of the area and its width over its height are drawn
    from two ranges, the latter evenly in its logarithm; after ten parts that do not fit, the middle [R]."""
    for _ in range(10):
        pixels, shape = size[0] * size[1] * rng.uniform(*area), np.exp(rng.uniform(*np.log(aspect)))
        sides = round((pixels / shape) ** 0.5), round((pixels * shape) ** 0.5)
        if all(0 < side <= whole for side, whole in zip(sides, size, strict=True)):
            starts = [int(rng.integers(0, whole - side + 1)) for side, whole in zip(sides, size, strict=True)]
            return [range(start, start + side) for start, side in zip(starts, sides, strict=True)]
    sides = min(size[0], round(size[1] / aspect[0])), min(size[1], round(size[0] * aspect[1]))
    starts = [(whole - side) // 2 for side, whole in zip(sides, size, strict=True)]
    return [range(start, start + side) for start, side in zip(starts, sides, strict=True)]


def augment_part(
    image: np.ndarray, labels: Sequence[np.ndarray], *, part: Sequence[range], crop: int, rng: np.random.Generator
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Resize a part of a photo to a square, bilinearly, and mirror it with probability 1/2; nothing is padded.

    Args:
        image: uint8 (h, w, 3), of any resolution.
        labels: integer maps (H, W) that move with the image.
        part: rows and columns of the maps.
        crop: side of the square.
        rng: source of the random choice.

    Returns:
        Normalised image (3, crop, crop) and int64 maps (crop, crop).
    """
    step = -1 if rng.random() < 0.5 else 1
    rows, columns = part
    down, across = (own / whole for own, whole in zip(image.shape, labels[0].shape, strict=False))
    top, bottom, left, right = (
        round(edge * factor)
        for sides, factor in ((rows, down), (columns, across))
        for edge in (sides.start, sides.stop)
    )
    photo = Image.fromarray(image[top:bottom, left:right]).resize((crop, crop), Image.Resampling.BILINEAR)
    maps = [resize_labels(own[rows.start : rows.stop, columns.start : columns.stop], (crop, crop)) for own in labels]
    tensors = [torch.from_numpy(own[:, ::step].astype(np.int64)) for own in maps]
    return normalise(np.asarray(photo)[:, ::step]), tensors


def augment(
    image: np.ndarray,
    labels: Sequence[np.ndarray],
    *,
    size: Size,
    fills: Sequence[int],
    crop: int,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Resize, mirror with probability 1/2, crop; only the pixels that the crop keeps are computed.

    Args:
        image: uint8 (h, w, 3), of any resolution.
        labels: integer maps (H, W) that move with the image.
        size: (height, width) to resize to.
        fills: label outside the image, one per map; outside, the normalised image is 0.
        crop: side of the square window.
        rng: source of the random choices.

    Returns:
        Normalised image (3, crop, crop) and int64 maps (crop, crop).
    """
    mirrored = rng.random() < 0.5
    window, place = random_window(size, crop, rng)
    if mirrored:
        rows, columns = window
        window = [rows, range(size[1] - columns.stop, size[1] - columns.start)]
    step = -1 if mirrored else 1
    out = torch.zeros(3, crop, crop)
    out[:, place[0], place[1]] = normalise(_image_in_window(image, size, window)[:, ::step])
    maps = []
    for array, fill in zip(labels, fills, strict=True):
        full = torch.full((crop, crop), fill)
        full.numpy()[tuple(place)] = _labels_in_window(array, size, window)[:, ::step]
        maps.append(full)
    return out, maps
