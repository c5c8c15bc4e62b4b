"""Ground truth as label maps: (H, W) uint8, 0 background, 1..C classes, 255 ignored."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as rle_api

from ssc import archive
from ssc.conventions import IGNORE
from ssc.data.coco import class_of_category, image_id, read_instances
from ssc.data.index import Row
from ssc.data.photos import Size, open_photo, upright_size
from ssc.errors import InputError
from ssc.provenance import file_digest, result_identity

_FORMATS = ("PNG", "TIFF", "BMP", "GIF")  # JPEG would change the labels


def write_masks(rows: Iterable[Row], num_classes: int, output: str | Path) -> None:
    """Write the ground truth of all rows that have one into a shard archive, as `<image id>.png`.

    A mask is a palette or greyscale image of labels, or the instances JSON that lists the image (see
    `render_instances`). Each JSON is read once.

    Args:
        rows: images, of any split.
        num_classes: number C of foreground classes.
        output: the archive.

    Raises:
        InputError: a mask or photo cannot be read, the two differ in size, or a mask holds a value other than
            0..C and 255.
    """
    renderer, digest = cache(_instances_renderer), cache(file_digest)
    rows = [row for row in rows if row.mask]
    keys = {f"{row.id}.png": _key(row, digest) for row in rows}
    with archive.resume(output, identity=result_identity(__name__, {"classes": num_classes}), keys=keys) as writer:
        for row in rows:
            if f"{row.id}.png" in writer:
                continue
            labels = renderer(row.mask)(row.id) if row.mask.endswith(".json") else read_mask(row.mask)
            _check(labels, row, num_classes)
            writer.add_labels(row.id, labels)


def _key(row: Row, digest: Callable[[str], str]) -> str:
    """Key of a mask in its archive: its file counts; where that is absent, reading it will say so."""
    return replace(row, labels=()).key_with(digest(row.mask).encode() if Path(row.mask).is_file() else b"")


def read_mask(path: str | Path) -> np.ndarray:
    """Read a label map (H, W), uint8, from a palette or greyscale image.

    Raises:
        InputError: the file is absent, no image, or has colour channels or 16 bits.
    """
    with open_mask(path) as image:
        try:
            return np.asarray(image).astype(np.uint8)
        except (OSError, SyntaxError) as error:  # Pillow reports a wrong PNG checksum as the latter.
            raise InputError(f"{path} is damaged ({error}); restore it.") from None


def render_instances(annotations: list[dict], class_of: dict[int, int], height: int, width: int) -> np.ndarray:
    """Paint the COCO annotations of one image into a label map.

    Crowd regions, which outline a group roughly, are ignored (255) where no single instance covers them.
    Instances are painted from the largest to the smallest, so that a cup stays visible on its table; among
    equal areas the later annotation lies on top. What nothing covers is background, so an image without
    annotations is all 0.

    Args:
        annotations: with `category_id`, `iscrowd` and `segmentation` (polygons or a run-length encoding).
        class_of: class id 1..C of each category id.
        height, width: size of the image in pixels.

    Returns:
        labels (H, W), uint8.

    Raises:
        InputError: an annotation has no segmentation, or one of another size.
    """
    crowds, instances = [], []
    for annotation in annotations:
        rle = _run_lengths(annotation["segmentation"], height, width)
        if annotation["iscrowd"]:
            crowds.append((IGNORE, rle))
        else:
            instances.append((class_of[annotation["category_id"]], rle))
    instances.sort(key=lambda instance: rle_api.area(instance[1]), reverse=True)
    labels = np.zeros((height, width), np.uint8)
    for label, rle in crowds + instances:
        labels[rle_api.decode(rle).view(bool)] = label
    return labels


def _run_lengths(segmentation: list | dict, height: int, width: int) -> dict:
    """The segmentation as one compressed run-length encoding, which is what pycocotools computes with."""
    if not segmentation:
        raise InputError("an annotation has no segmentation; masks cannot be made from boxes alone.")
    if isinstance(segmentation, list):
        return rle_api.merge(rle_api.frPyObjects(segmentation, height, width))
    if list(segmentation["size"]) != [height, width]:
        size = "x".join(map(str, segmentation["size"]))
        raise InputError(f"a segmentation is {size} in an image of {height}x{width}; restore the JSON.")
    if isinstance(segmentation["counts"], list):
        return rle_api.frPyObjects(segmentation, height, width)
    return segmentation


def _instances_renderer(path: str) -> Callable[[str], np.ndarray]:
    """Read an instances JSON; return the function from image id to label map."""
    instances = read_instances(path)
    class_of = class_of_category(instances)
    images = {image_id(image["file_name"]): image for image in instances["images"]}
    annotations = defaultdict(list)
    for annotation in instances["annotations"]:
        annotations[annotation["image_id"]].append(annotation)

    def render(name: str) -> np.ndarray:
        if name not in images:
            raise InputError(f"{path} does not list the image {name!r}; make the index again.")
        image = images[name]
        try:
            return render_instances(annotations[image["id"]], class_of, image["height"], image["width"])
        except InputError as error:
            raise InputError(f"{path}, image {name!r}: {error}") from None

    return render


def open_mask(path: str | Path) -> Image.Image:
    """Open a label map: its header is read, its pixels are not yet.

    Raises:
        InputError: the file is absent, no image of a format that keeps labels, or has colour channels or 16 bits.
    """
    try:
        image = Image.open(path, formats=_FORMATS)
    except FileNotFoundError:
        raise InputError(f"The mask {path} does not exist; restore it.") from None
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is not a readable image ({error}); restore it.") from None
    if image.mode not in ("P", "L", "1"):
        raise InputError(f"{path} has mode {image.mode}; a mask is an 8-bit palette or greyscale PNG of class ids.")
    return image


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


def _check(labels: np.ndarray, row: Row, num_classes: int) -> None:
    with open_photo(row.image) as photo:
        check_size(row, labels.shape, upright_size(photo))
    wrong = labels[(labels > num_classes) & (labels != IGNORE)]
    if wrong.size:
        raise InputError(f"The mask {row.mask} of {row.id} holds {wrong[0]}; use 0..{num_classes} and {IGNORE}.")
