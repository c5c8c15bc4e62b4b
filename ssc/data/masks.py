"""Ground truth as label maps: (H, W) uint8, 0 background, 1..C classes, 255 ignored."""

import math
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as rle_api

from ssc.constants import IGNORE, voc_palette
from ssc.data.index import Row
from ssc.data.photos import Size, open_photo, shrunk_size, upright_size
from ssc.runtime.errors import InputError

_FORMATS = ("PNG", "TIFF", "BMP", "GIF")  # JPEG would change the labels
_KIND = "a mask is an 8-bit palette or greyscale PNG of class ids, or one of VOC's colours"
_CODE = np.array([1 << 16, 1 << 8, 1], np.int32)  # a colour as a number
_CODES, _LABELS = np.unique(np.reshape(voc_palette(), (256, 3)) @ _CODE, return_index=True)
_LABELS = _LABELS.astype(np.uint8)


def read_mask(path: str | Path) -> np.ndarray:
    """Read a label map (H, W), uint8, from a palette or greyscale image, or from one of VOC's colours.

    Raises:
        InputError: the file is absent, no image, or has other colours or 16 bits.
    """
    with open_mask(path) as image:
        try:
            pixels = np.asarray(image)
        except (OSError, SyntaxError) as error:  # Pillow reports a wrong PNG checksum as the latter.
            raise InputError(f"{path} is damaged ({error}); restore it.") from None
    return pixels.astype(np.uint8) if pixels.ndim == 2 else _labels_of_colours(pixels, path)


def read_labels(path: str | Path, row: Row, num_classes: int) -> np.ndarray:
    """Read a label map that somebody has made for a photo: (H, W) of the photo's size, 0..C, 255 where there is none.

    A map of the photo before it was shrunk (`dataset.max_side`) is shrunk too.

    Raises:
        InputError: the map cannot be read, holds another label, has VOC's colours in another order, or another size.
    """
    labels = read_mask(path)
    if any(value != label for value, label in palette_labels(path).items()):
        raise InputError(
            f"{path} has a palette in another order than VOC's, so that it shows other classes than its numbers say; "
            "save it in colours (RGB), or with VOC's palette as it is."
        )
    if (wrong := labels[(labels > num_classes) & (labels != IGNORE)]).size:
        raise InputError(f"{path} holds the label {wrong[0]}; use 0..{num_classes} and {IGNORE}.")
    with open_photo(row.image) as photo:
        size = upright_size(photo)
    if labels.shape == size:
        return labels
    if max(labels.shape) <= max(size) or shrunk_size(labels.shape, max(size)) != size:
        found, photo = (f"{width}x{height}" for height, width in (labels.shape, size))
        raise InputError(f"{path} is {found}, its photo {row.image} {photo}; restore the pair.")
    return np.asarray(Image.fromarray(labels).resize(size[::-1], Image.Resampling.NEAREST))


def render_instances(
    annotations: list[dict],
    class_of: dict[int, int],
    height: int,
    width: int,
    *,
    overlaps: str = "smallest_on_top",
    crowds: str = "ignore",
) -> np.ndarray:
    """Paint the COCO annotations of one image into a label map.

    What nothing covers is background, so an image without annotations is all 0.

    Args:
        annotations: with `category_id`, `segmentation` (polygons or run lengths without `outline_fault`) and perhaps
            `iscrowd`.
        class_of: class id 1..C of each category id.
        height, width: size of the image in pixels.
        overlaps: `smallest_on_top`, so that a cup stays visible on its table, the later annotation among equal areas;
            or `last_on_top`, in the order of the annotations [R].
        crowds: regions that outline a group roughly are to `ignore` (255) where no single instance covers them, or
            `background` [R].

    Returns:
        labels (H, W), uint8.
    """
    groups, instances = [], []
    for annotation in annotations:
        rle = _run_lengths(annotation["segmentation"], height, width)
        if annotation.get("iscrowd"):
            groups.append((IGNORE if crowds == "ignore" else 0, rle))
        else:
            instances.append((class_of[annotation["category_id"]], rle))
    if overlaps == "smallest_on_top":
        instances.sort(key=lambda instance: rle_api.area(instance[1]), reverse=True)
    labels = np.zeros((height, width), np.uint8)
    for label, rle in groups + instances:
        labels[rle_api.decode(rle).view(bool)] = label
    return labels


def outline_fault(segmentation: object, height: int, width: int) -> str | None:
    """What is wrong with the segmentation of an annotation of COCO; None if nothing is, or there is none.

    pycocotools reads beyond its memory where run lengths do not cover the image.
    """
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        for polygon in segmentation:
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
                return "a polygon is no list of three or more pairs of coordinates"
            if not all(isinstance(value, int | float) and math.isfinite(value) for value in polygon):
                return "a coordinate of a polygon is no number"
        return None
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        return "its segmentation is neither polygons nor a run-length encoding"
    size, counts = segmentation["size"], segmentation["counts"]
    if size != [height, width]:
        return f"its run lengths are of the size {size} in an image of {[height, width]}"
    lengths = counts if isinstance(counts, list) else _decompress(counts)
    if not all(isinstance(length, int) and length >= 0 for length in lengths) or sum(lengths) != height * width:
        return f"its run lengths do not add up to the image's {height * width} pixels"
    return None


def _decompress(counts: object) -> list[int]:
    """Run lengths of the compressed text of COCO, in groups of five bits; from the fourth on the difference to the one
    before the last. What is no such text gives no lengths."""
    lengths, value, shift = [], 0, 0
    for code in counts.encode() if isinstance(counts, str) else b"":
        bits = code - 48
        if not 0 <= bits < 64:
            return []
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value, shift = 0, 0
    return [] if shift else lengths


def _run_lengths(segmentation: list | dict, height: int, width: int) -> dict:
    """The segmentation as one compressed run-length encoding, which is what pycocotools computes with."""
    if isinstance(segmentation, list):
        return rle_api.merge(rle_api.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return rle_api.frPyObjects(segmentation, height, width)
    return segmentation


def open_mask(path: str | Path) -> Image.Image:
    """Open a label map: its header is read, its pixels are not yet.

    Raises:
        InputError: the file is absent, no image of a format that keeps labels, or has 16 bits or channels that are not
            red, green and blue.
    """
    try:
        image = Image.open(path, formats=_FORMATS)
    except FileNotFoundError:
        raise InputError(f"The mask {path} does not exist; restore it.") from None
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is not a readable image ({error}); restore it.") from None
    if image.mode not in ("P", "L", "1", "RGB", "RGBA"):
        raise InputError(f"{path} has mode {image.mode}; {_KIND}.")
    return image


def palette_labels(path: str | Path) -> dict[int, int]:
    """The labels that the values of a label map are by the colours of its palette; none where a colour is not VOC's.

    Raises:
        InputError: see `read_mask`.
    """
    with open_mask(path) as image:
        palette = image.getpalette() if image.mode == "P" else None
    if not palette:
        return {}
    colours = np.zeros((256, 3), np.int32)
    colours.reshape(-1)[: len(palette)] = palette
    codes, values = colours @ _CODE, np.unique(read_mask(path))
    found = np.searchsorted(_CODES, codes[values]).clip(max=len(_CODES) - 1)
    if (_CODES[found] != codes[values]).any():
        return {}
    return dict(zip(values.tolist(), _LABELS[found].tolist(), strict=True))


def _labels_of_colours(pixels: np.ndarray, path: str | Path) -> np.ndarray:
    """Labels (H, W) of colours (H, W, 3 or 4), as painting programs and CVAT write those of a palette."""
    if pixels.shape[2] == 4 and (pixels[..., 3] < 255).any():
        raise InputError(f"{path} has transparent pixels; paint them as background, as a class, or as what is ignored.")
    codes = pixels[..., :3] @ _CODE
    found = np.searchsorted(_CODES, codes).clip(max=len(_CODES) - 1)
    if (wrong := codes[_CODES[found] != codes]).size:
        raise InputError(f"{path} has the colour #{wrong[0]:06x}, which is no class's in VOC's palette; {_KIND}.")
    return _LABELS[found]


def check_size(row: Row, mask: Size, photo: Size) -> None:
    """Check that a mask (height, width) fits the upright photo of its row.

    Raises:
        InputError: it does not.
    """
    if mask != photo:
        raise InputError(
            f"The mask {row.mask} is {mask[1]}x{mask[0]}, its photo {row.image} {photo[1]}x{photo[0]}; "
            "restore the pair."
        )
