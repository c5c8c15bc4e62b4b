"""Photos with 16 bits a value, of which the highest 8 that are in use are taken.

Of colours Pillow keeps the higher byte alone, which leaves a photo dark where a camera has filled 10, 12 or 14 of the
bits. There the lower byte is had too: by the layout of the other byte order, in which it is the higher one.
"""

import re
import sys
from collections.abc import Callable

import numpy as np
from PIL import Image

_CAMERA_BITS = (8, 10, 12, 14, 16)

# Tags of TIFF.
_BITS, _PHOTOMETRIC, _PLANES = 258, 262, 284
_WHITE_IS_ZERO, _SEPARATE = 0, 2

# Layouts of colours in a file, as Pillow names them: channels, and the order of the bytes (little, big, the machine's).
_LAYOUT = re.compile(r"(RGB[AX]?|[RGBA]);16([LBN])")
_OTHER_ORDER = {"L": "B", "B": "L", "N": {"little": "B", "big": "L"}[sys.byteorder]}


def mend_planes(image: Image.Image) -> None:
    """Let Pillow read an open TIFF that holds colours of 16 bits plane by plane, which it would take for 8 bits."""
    if image.format == "TIFF" and 16 in image.tag_v2.get(_BITS, ()):
        order = "L" if image.tag_v2.prefix == b"II" else "B"
        _change_layouts(image, lambda layout: f"{layout};16{order}" if layout in ("R", "G", "B", "A") else layout)


def has_wide_colours(image: Image.Image) -> bool:
    """Whether an open photo, whose pixels are not read yet, has colours of 16 bits."""
    return image.mode in ("RGB", "RGBA") and any(";16" in layout for layout in _layouts(image))


def stretch_colours(image: Image.Image, reopen: Callable[[], Image.Image]) -> Image.Image:
    """A photo of `has_wide_colours`, with its pixels, whose brightest colour fills the 8 bits.

    Args:
        image: the photo; of each value the higher byte.
        reopen: opens it once more.

    Raises:
        ValueError: the lower bytes are needed, and Pillow cannot give them.
    """
    higher = np.asarray(image)
    if higher[..., :3].max() >> 6:  # more than 14 bits
        return image
    with reopen() as again:
        # Of planes that are compressed Pillow's decoder chooses the bytes itself.
        closed = again.format == "TIFF" and again.tag_v2.get(_PLANES) == _SEPARATE and len(again.tile) == 1
        if closed or not all(map(_LAYOUT.fullmatch, _layouts(again))):
            raise ValueError("its colours fill few of their 16 bits; saved with 8 bits it can be")
        _change_layouts(again, lambda layout: layout[:-1] + _OTHER_ORDER[layout[-1]])
        again.load()
        values = higher.astype(np.uint16) << 8 | np.asarray(again)
    colours, alpha = values[..., :3], values[..., 3:]
    parts = [highest_bits(part) for part in (colours, alpha) if part.size]
    return Image.fromarray(np.concatenate(parts, axis=2))


def grey_of_eight_bits(image: Image.Image) -> Image.Image:
    """A grey photo of 16 bits, with its pixels, whose brightest value fills the 8 bits."""
    grey = highest_bits(np.asarray(image).astype(np.uint16))
    inverted = image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    return Image.fromarray(255 - grey if inverted else grey)


def highest_bits(values: np.ndarray) -> np.ndarray:
    """Of uint16 the highest 8 of the 8, 10, 12, 14 or 16 bits that hold the largest, uint8."""
    bits = next(bits for bits in _CAMERA_BITS if values.max() < 1 << bits)
    return (values >> (bits - 8)).astype(np.uint8)


def _layouts(image: Image.Image) -> list[str]:
    """How the parts of an open photo lie in its file."""
    return [str(tile.args[0] if isinstance(tile.args, tuple) else tile.args) for tile in image.tile]


def _change_layouts(image: Image.Image, change: Callable[[str], str]) -> None:
    image.tile = [
        tile._replace(
            args=(change(tile.args[0]), *tile.args[1:]) if isinstance(tile.args, tuple) else change(tile.args)
        )
        for tile in image.tile
    ]
