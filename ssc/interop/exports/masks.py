"""What all formats are written from: the label map of an image, its connected regions, and runs of equal pixels."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.measure import label as connected

from ssc.constants import IGNORE


class Mask(NamedTuple):
    """An image to export.

    Attributes:
        id: of the image, unique; it may hold slashes.
        photo: path of its photo below the folder of the photos.
        labels: (H, W), 0 background, 1..C classes, 255 ignored.
    """

    id: str
    photo: str
    labels: np.ndarray


class Region(NamedTuple):
    """Pixels of one class that are connected by their sides.

    Attributes:
        label: the class, 1..C.
        left: column of the first pixel of its bounding box.
        top: row of that pixel.
        shape: (h, w) bool, the region in its bounding box.
    """

    label: int
    left: int
    top: int
    shape: np.ndarray


def regions(labels: np.ndarray) -> Iterator[Region]:
    """Regions of a label map (H, W), in the order of their first pixels; background and ignored pixels are in none."""
    parts = connected(np.where(labels == IGNORE, 0, labels), background=0, connectivity=1)
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        shape = parts[box] == number
        yield Region(int(labels[box][shape][0]), box[1].start, box[0].start, shape)


def run_lengths(mask: np.ndarray) -> np.ndarray:
    """Lengths of the runs of a mask (h, w), row by row: of False, of True and so on; the first may be 0."""
    changes = np.flatnonzero(np.diff(mask.ravel(), prepend=False))
    return np.diff(changes, prepend=0, append=mask.size)
