"""Inputs of the benchmarks: drawn photos and real ones, CAM-like blobs, edge maps with thin ridges."""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt

from benchmarks.harness import ROOT
from ssc.data.demo import scene
from ssc.runtime.errors import InputError

VOC_PHOTO = (375, 500)  # height and width of most photos of VOC
VOC_GRID = (94, 125)  # its grid at stride 4


@cache
def drawn_photo(height: int, width: int, number: int = 0) -> np.ndarray:
    """Photo `number` of the demo, drawn at this size: uint8 (height, width, 3)."""
    image, _ = scene(number, size=max(height, width))
    return image[:height, :width]


def photos_of(folder: Path | None, size: tuple[int, int] = VOC_PHOTO, most: int = 8) -> tuple[list[np.ndarray], str]:
    """Up to `most` photos of `size` = (height, width), and what they are.

    Taken from `folder`; without one from the VOC photos of the folder that SSC_SHARED names, where there are any; else
    drawn.

    Raises:
        InputError: `folder` holds no JPEG of this size.
    """
    real = shared("data/voc") if folder is None else folder
    found = []
    if real:
        for path in sorted(real.rglob("*.jpg")):
            with Image.open(path) as image:
                if len(found) < most and image.size == size[::-1]:
                    found.append(np.array(image.convert("RGB")))  # writable
    if folder and not found:
        raise InputError(f"{folder} holds no JPEG of {size[1]} x {size[0]} pixels; name a folder that does.")
    if found:
        return found, f"{len(found)} photos"
    return [drawn_photo(*size, number) for number in range(most)], f"{most} drawn scenes"


def shared(path: str) -> Path | None:
    """`path` in the folder that SSC_SHARED names (`shared` beside the repository without it), where it exists."""
    found = Path(os.environ.get("SSC_SHARED", ROOT.parent / "shared")) / path
    return found if found.exists() else None


def blobs(height: int, width: int, count: int, *, seed: int = 0) -> torch.Tensor:
    """CAM-like maps, float32 (count, height, width) in 0..1: a large bump and a small one over a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    maps = []
    for _ in range(count):
        values = 0.05 * rng.random((height, width))
        for share, peak in ((0.25, 1.0), (0.1, 0.6)):
            centre_y, centre_x = rng.uniform(0.2, 0.8, 2) * (height, width)
            distance = ((y - centre_y) / (share * height)) ** 2 + ((x - centre_x) / (share * width)) ** 2
            values = np.maximum(values, peak * np.exp(-distance / 2))
        maps.append(values / values.max())
    return torch.from_numpy(np.array(maps, np.float32))


def cells(height: int, width: int, count: int, *, seed: int = 0) -> np.ndarray:
    """A partition into `count` cells, each the pixels nearest to its seed point: int64 (height, width)."""
    rng = np.random.default_rng(seed)
    seeds = np.ones((height, width), bool)
    labels = np.zeros((height, width), np.int64)
    chosen = rng.choice(height * width, count, replace=False)
    seeds.flat[chosen] = False
    labels.flat[chosen] = np.arange(count)
    nearest = distance_transform_edt(seeds, return_distances=False, return_indices=True)
    return labels[tuple(nearest)]


def ridges(partition: np.ndarray, *, seed: int = 0) -> torch.Tensor:
    """Class boundaries as IRN finds them, float32 (height, width) in 0..1: thin ridges of varied height between the
    cells of a partition, over a little noise."""
    rng = np.random.default_rng(seed)
    inside = np.ones(partition.shape, bool)
    inside[:, 1:] &= partition[:, 1:] == partition[:, :-1]
    inside[1:] &= partition[1:] == partition[:-1]
    distance, nearest = distance_transform_edt(inside, return_indices=True)
    heights = rng.uniform(0.5, 1.0, int(partition.max()) + 1)[partition[tuple(nearest)]]
    values = np.maximum(heights * np.exp(-(distance**2)), 0.05 * rng.random(partition.shape))
    return torch.from_numpy(values.astype(np.float32))


def batch_of_regions(size: int, batch: int, count: int = 64) -> torch.Tensor:
    """Superpixels like those of a batch, int64 (batch, size, size) with `count` regions in each."""
    return torch.from_numpy(np.stack([cells(size, size, count, seed=seed) for seed in range(batch)]))


def present_classes(batch: int, num_classes: int, present: Sequence[int] | int = 2) -> torch.Tensor:
    """Image labels (batch, num_classes) with `present` classes each, other ones from image to image."""
    labels = torch.zeros(batch, num_classes)
    for image in range(batch):
        labels[image, [(image + 7 * k) % num_classes for k in range(present)]] = 1
    return labels
