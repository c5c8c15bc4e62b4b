"""Photos of one shard on their way through a network: read ahead in threads, batched by size on a GPU."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from ssc.data.index import Row
from ssc.data.photos import read_image
from ssc.runtime.device import any_size
from ssc.runtime.parallel import batch_map, parallel_map

Result = TypeVar("Result")

_PIXELS = 4 * 2**20  # of network input in a batch, both mirror images counted
_AHEAD = 16  # photos among which those of equal size are found


@dataclass(frozen=True)
class Photo:
    """A photo made ready for a network.

    Attributes:
        row: its line of the index.
        image: uint8 (H, W, 3).
        views: normalised (3, h, w), such as one per scale.
    """

    row: Row
    image: np.ndarray
    views: list[torch.Tensor]


def infer(
    network: Callable[[list[Photo]], list[Result]],
    rows: Sequence[Row],
    views: Callable[[np.ndarray], list[torch.Tensor]],
    *,
    pixels: int,
    pad: int = 0,
    threads: int = 1,
) -> Iterator[Result]:
    """What a network makes of the photos of `rows`, in their order.

    Args:
        network: photos of equal size to a result for each.
        rows: the photos; they are read while the network works.
        views: network inputs (3, h, w) of a photo uint8 (H, W, 3), of the same sizes for photos of the same size.
        pad: least side of what the network sees of a view.
        pixels: most pixels of network input in a batch, see `pixel_budget`; 0 lets each photo through alone.
        threads: photos read at the same time.
    """
    if not pixels:
        # Sums in a large network are cut by threads: with one, a result does not depend on the processors of a job.
        torch.set_num_threads(1)

    def work(photos: list[Photo]) -> list[Result]:
        with any_size():
            return network(photos)

    def read(row: Row) -> Photo:
        image = read_image(row.image)
        return Photo(row, image, views(image))

    def room(photo: Photo) -> int:
        sizes = [[max(side, pad) for side in view.shape[1:]] for view in photo.views]
        return max(1, pixels // max(2 * height * width for height, width in sizes))

    return batch_map(
        work,
        parallel_map(read, rows, threads),
        key=lambda photo: photo.image.shape,
        room=room,
        ahead=_AHEAD if pixels else 1,
    )


def pixel_budget(device: torch.device) -> int:
    """Pixels in a batch: some megapixels on a GPU, which fit small ones; none on the CPU.

    There a batch gains nothing with a large network, and rounding may make a photo's result depend on its shard.
    """
    return _PIXELS if device.type == "cuda" else 0


def stack_views(photos: Sequence[Photo], device: torch.device) -> list[torch.Tensor]:
    """Views (B, 3, h, w) of photos of equal size, one tensor per scale."""
    return [torch.stack(views).to(device) for views in zip(*(photo.views for photo in photos), strict=True)]
