"""Small pictures of all photos and of what lies over them, in files that a page loads when they are scrolled to.

A file is a script, since a page that is opened from a disk may load scripts but no data. Photos and layers are stored
apart, for the browser to lay one over the other: blended pictures would take three times the room.
"""

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from skimage.util import img_as_ubyte

from ssc.archive import Archive
from ssc.cams import resize_maps
from ssc.data.index import Row
from ssc.data.photos import Size, read_for_resize
from ssc.data.transforms import resize_image, resize_labels
from ssc.report.pictures import Layer, heat_layer, label_layer
from ssc.runtime.parallel import parallel_map
from ssc.runtime.progress import track

PHOTOS_PER_FILE = 200

_SIDE = 240  # of a thumbnail, its longer one, in pixels
_QUALITY = 70  # of photos, on WebP's scale of 100


class Source(NamedTuple):
    """Where one kind of layers comes from.

    Attributes:
        archive: of CAMs or of label maps.
        split: whose photos it is of.
    """

    archive: Archive
    split: str

    def covers(self, row: Row) -> bool:
        """Whether there is a layer of a photo."""
        return row.split == self.split and row.id in self.archive


def write_thumbnails(rows: Sequence[Row], sources: Mapping[str, Source], folder: Path, *, threads: int = 1) -> set[int]:
    """Write the thumbnails of photos to `folder`/0.js, 1.js, ..., each of `PHOTOS_PER_FILE` photos; one is in memory.

    A file calls the function `thumbnails` of the page with its number and a list by photo: of the photo and, in the
    order of the sources, of its layers the WebP as base64, null where there is none.

    Args:
        rows: the photos, in the order in which the page shows them.
        sources: `cams`, `pseudo_labels`, `predictions`, as far as there are any.
        folder: an empty one.
        threads: photos that are drawn at the same time.

    Returns:
        The labels that the layers show, 255 (undecided) among them.

    Raises:
        InputError: a photo or an archive cannot be read.
    """

    def draw(row: Row) -> tuple[list[str | None], set[int]]:
        image, size = read_for_resize(row.image, lambda own: fit(own, _SIDE))
        labels = set()
        layers = dict(_layers(row, sources, size, labels))
        own = [webp(resize_image(image, size)), *(layers.get(name) for name in sources)]
        return [base64.b64encode(each).decode() if each else None for each in own], labels

    shown, drawn = set(), track(parallel_map(draw, rows, threads), "thumbnails", len(rows))
    for number in range(-(-len(rows) // PHOTOS_PER_FILE)):
        pictures = []
        for own, labels in islice(drawn, PHOTOS_PER_FILE):
            pictures.append(own)
            shown |= labels
        text = json.dumps(pictures, separators=(",", ":"))
        (folder / f"{number}.js").write_text(f"thumbnails({number},{text})\n", encoding="utf-8")
    return shown


def _layers(row: Row, sources: Mapping[str, Source], size: Size, shown: set[int]) -> Iterator[tuple[str, bytes]]:
    """The layers of a photo as WebP; their labels are added to `shown`."""
    for name, source in sources.items():
        if not source.covers(row):
            continue
        if name == "cams":
            _, cams = source.archive.cams(row.id)
            if len(cams):  # half the size will do: a CAM is coarser still
                half = tuple(-(-side // 2) for side in size)
                yield name, webp(_rgba(heat_layer(resize_maps(torch.from_numpy(cams), half))))
        else:
            labels = resize_labels(source.archive.labels(row.id), size)
            shown.update(np.unique(labels).tolist())
            yield name, webp(_rgba(label_layer(labels)), lossless=True)


def fit(size: Size, side: int) -> Size:
    """(height, width) of a photo, made smaller if its longer side exceeds `side`."""
    scale = min(1, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def webp(picture: np.ndarray, *, lossless: bool = False) -> bytes:
    """A picture, uint8 (H, W, 3) or, with opacity, (H, W, 4), as WebP."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "webp", quality=_QUALITY, lossless=lossless)
    return buffer.getvalue()


def _rgba(layer: Layer) -> np.ndarray:
    """A layer as one picture, uint8 (H, W, 4)."""
    colours, opacity = layer
    return np.dstack([colours, img_as_ubyte(opacity)])
