"""Photos: which files are taken, how they lie, and their pixels."""

import struct
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ssc.data.sixteen_bits import grey_of_eight_bits, has_wide_colours, mend_planes, stretch_colours
from ssc.runtime.errors import InputError

if find_spec("pillow_heif"):  # an extra: the format of phones
    import pillow_heif

    pillow_heif.register_heif_opener()

Size = tuple[int, int]  # (height, width)

# Pillow reads more; among the rest are formats whose reader starts another program (EPS).
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000", "HEIF")

# What Pillow raises on damaged files; struct.error comes from EXIF.
UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)

_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I", "I;16", "I;16B", "I;16L", "I;16N"}
_HEIF = frozenset({".heic", ".heif"})
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SUBFILE = 254  # tag of TIFF; bit 0: a smaller copy of another page
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap the sides
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_photo(path: str | Path) -> Image.Image:
    """Open a photo: its header is read, its pixels are not yet.

    Raises:
        InputError: the file is absent, cannot be read, is none of `FORMATS`, holds several pictures or values whose
            range is not known, or says to have more pixels than Pillow would ever decode (179 million).
    """
    try:
        image = Image.open(path, formats=_readable_formats())
        several = _holds_several(image)
    except FileNotFoundError:
        raise InputError(f"The image {path} does not exist; restore it or take it out of the data.") from None
    except UNREADABLE as error:
        raise unreadable(path, error) from None
    if several:
        raise InputError(f"The image {path} holds several pictures ({image.format}); save the one that is meant.")
    if image.mode in ("I", "F") and not _is_pgm(image):
        raise InputError(
            f"The image {path} has grey values with a sign, in 32 bits or in floating point, whose range is not known; "
            "save it with 8 or 16 bits."
        )
    if image.mode not in _MODES:
        raise InputError(f"The image {path} has colours of the kind {image.mode}; save it as RGB.")
    mend_planes(image)
    return image


def _holds_several(image: Image.Image) -> bool:
    """Whether an open file holds more than a photo and smaller copies of it."""
    # A phone's MPO is a JPEG with others behind it, such as a preview; the first one is the photo.
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return False
    if image.format != "TIFF":
        return True
    copies = 0
    for page in range(1, image.n_frames):
        image.seek(page)
        copies += image.tag_v2.get(_SUBFILE, 0) & 1
    image.seek(0)
    return copies < image.n_frames - 1


def _is_pgm(image: Image.Image) -> bool:
    """Whether an open photo is a PGM of more than 8 bits, whose largest value Pillow stretches to 65535."""
    return image.mode == "I" and image.format == "PPM"


def photo_suffixes() -> frozenset[str]:
    """Endings, in small letters, of the names of files that `open_photo` takes."""
    Image.init()
    # Those of phones are photos even where no plugin reads them, which is then told.
    return frozenset(suffix for suffix, name in Image.EXTENSION.items() if name in FORMATS) | _HEIF


def _readable_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow reads, with its plugins."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def orientation(image: Image.Image) -> int | None:
    """EXIF orientation, 1..8, of an open photo; None where its EXIF data is broken.

    In a PNG it may stand behind the pixels, so that Pillow decodes one.
    """
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except UNREADABLE:
        return None


def upright_size(image: Image.Image) -> Size:
    """(height, width) of an open photo once it is turned by its EXIF orientation."""
    if image.format == "TIFF":  # its reader has turned the size already, and says so when it has the pixels
        image.load()
    width, height = image.size
    return (width, height) if orientation(image) in _TURNED else (height, width)


def unreadable(path: str | Path, error: Exception) -> InputError:
    """The error of a photo over which Pillow has tripped."""
    path = Path(path)
    if isinstance(error, OSError) and path.is_file() and path.stat().st_size == 0:
        error = "it is empty"
    elif isinstance(error, UnidentifiedImageError) and _starts(path) in _TIFF_STARTS:
        return InputError(
            f"The image {path} is a TIFF that is damaged, or of a kind that is not read, such as colours in floating "
            "point, in 32 bits or in five channels; save it as RGB with 8 or 16 bits."
        )
    elif path.suffix.lower() in _HEIF and "HEIF" not in _readable_formats():
        return InputError(f"The image {path} is HEIF; install pillow-heif, which reads it, or save it as JPEG.")
    return InputError(f"The image {path} cannot be read ({error}); replace it or take it out of the data.")


def _starts(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def read_image(path: str | Path) -> np.ndarray:
    """Photo as uint8 (H, W, 3), turned upright by its EXIF orientation, where that can be read.

    Of values in 16 bits the highest 8 of the 10, 12, 14 or 16 bits that hold the brightest are taken, as a camera fills
    them. What is transparent shows white.

    Raises:
        InputError: the file is absent, damaged, or none that `open_photo` takes.
    """
    return read_for_resize(path, lambda size: size)[0]


def shrunk_size(size: Size, max_side: int) -> Size:
    """The size in the same proportions whose longer side is `max_side` pixels."""
    return tuple(max(1, round(side * max_side / max(size))) for side in size)


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
            wide = has_wide_colours(image)
            image.load()  # by which the readers of some formats turn it themselves
            turn = _TURN.get(orientation(image))
            pixels = _rgb(stretch_colours(image, partial(open_photo, path)) if wide else image)
            array = np.asarray(pixels if turn is None else pixels.transpose(turn))
        except UNREADABLE as error:
            raise unreadable(path, error) from None
    return array, wanted or target(array.shape[:2])


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):  # Pillow's conversion to RGB would clip at 255
        image = grey_of_eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _reduce_jpeg(image: Image.Image, target: Callable[[Size], Size]) -> Size:
    """Set the scale at which an open JPEG will be decoded; the size wanted of the upright photo."""
    upright = upright_size(image)
    wanted = target(upright)
    image.draft(None, wanted[::-1] if upright == image.size[::-1] else wanted)
    return wanted
