"""Photos: which files are taken, how they lie, and their pixels."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from ssc.runtime.errors import InputError

Size = tuple[int, int]  # (height, width)

# Pillow reads more; among the rest are formats whose reader starts another program (EPS).
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")

# What Pillow raises on damaged files; struct.error comes from EXIF.
UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)

_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I;16B", "I;16L", "I;16N"}
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap the sides


def open_photo(path: str | Path) -> Image.Image:
    """Open a photo: its header is read, its pixels are not yet.

    Raises:
        InputError: the file is absent, cannot be read, is none of `FORMATS`, holds several pictures or grey values
            whose range is not known, or says to have more pixels than Pillow would ever decode (179 million).
    """
    try:
        image = Image.open(path, formats=FORMATS)
        # A phone's MPO is a JPEG with others behind it, such as a preview; the first one is the photo.
        several = image.format != "MPO" and getattr(image, "is_animated", False)
    except FileNotFoundError:
        raise InputError(f"The image {path} does not exist; restore it or take it out of the data.") from None
    except UNREADABLE as error:
        raise unreadable(path, error) from None
    if several:
        raise InputError(f"The image {path} holds several pictures ({image.format}); save the one that is meant.")
    if image.mode in ("I", "F"):
        raise InputError(f"The image {path} has 32-bit grey values; save it with 8 or 16 bits.")
    if image.mode not in _MODES:
        raise InputError(f"The image {path} has colours of the kind {image.mode}; save it as RGB.")
    return image


def upright_size(image: Image.Image) -> Size:
    """(height, width) of an open photo once it is turned by its EXIF orientation.

    In a PNG that may stand behind the pixels, so that Pillow decodes one.
    """
    width, height = image.size
    return (width, height) if image.getexif().get(ExifTags.Base.Orientation) in _TURNED else (height, width)


def unreadable(path: str | Path, error: Exception) -> InputError:
    """The error of a photo over which Pillow has tripped."""
    if isinstance(error, OSError) and Path(path).is_file() and Path(path).stat().st_size == 0:
        error = "it is empty"
    return InputError(f"The image {path} cannot be read ({error}); replace it or take it out of the data.")


def read_image(path: str | Path) -> np.ndarray:
    """Photo as uint8 (H, W, 3), turned upright by its EXIF orientation.

    16-bit values become their high byte; transparency is dropped.

    Raises:
        InputError: the file is absent, damaged, or none that `open_photo` takes.
    """
    return read_for_resize(path, lambda size: size)[0]


def read_for_resize(path: str | Path, target: Callable[[Size], Size]) -> tuple[np.ndarray, Size]:
    """A photo as `read_image` gives it, but no larger than it must be, and the size that it is to get.

    A JPEG is decoded at a half, a quarter or an eighth of its sides, where that leaves at least `target` on both:
    it is cheaper and needs no more than the pixels that a resize to `target` would average anyway.

    Args:
        path: the photo.
        target: function of the photo's own upright size that gives the size wanted.

    Returns:
        uint8 (h, w, 3) and what `target` gave.

    Raises:
        InputError: see `read_image`.
    """
    with open_photo(path) as image:
        try:
            wanted = _reduce_jpeg(image, target) if image.format in ("JPEG", "MPO") else None
            ImageOps.exif_transpose(image, in_place=True)
            upright = image
        except UNREADABLE as error:
            raise unreadable(path, error) from None
    if upright.mode.startswith("I;16"):
        # Pillow's conversion to RGB would clip at 255.
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    pixels = np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))
    return pixels, wanted or target(pixels.shape[:2])


def _reduce_jpeg(image: Image.Image, target: Callable[[Size], Size]) -> Size:
    """Set the scale at which an open JPEG will be decoded; the size wanted of the upright photo."""
    upright = upright_size(image)
    wanted = target(upright)
    image.draft(None, wanted[::-1] if upright == image.size[::-1] else wanted)
    return wanted
